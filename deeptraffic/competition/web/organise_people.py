"""The organiser's pages on people and submissions: accounts, links, disqualification, re-evaluation, the final."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from deeptraffic.competition.store import accounts, finals, organise, reevaluations
from deeptraffic.competition.store.board import Board
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.members import membership
from deeptraffic.competition.store.records import Person
from deeptraffic.competition.store.submissions import find_submission, history
from deeptraffic.competition.web.answers import see
from deeptraffic.competition.web.board_views import PER_PAGE, table_text
from deeptraffic.competition.web.forms import Form, SentForm
from deeptraffic.competition.web.public import context_of
from deeptraffic.competition.web.rendering import page
from deeptraffic.competition.web.site import competition_of, not_found, organiser_of, site_of

router = APIRouter(prefix="/organise/c/{key}")


def page_number(request: Request) -> int:
    """Return which page of a list is asked for, from 1."""
    text = request.query_params.get("page", "1")
    return max(1, int(text)) if text.isascii() and text.isdecimal() and len(text) < 7 else 1


# --- people -------------------------------------------------------------------------------------------------------


@router.get("/people")
def people(request: Request) -> Response:
    """Accounts: looked up, imported, given links, closed."""
    return _people(request)


def _people(request: Request, wrong: str = "", links: list[tuple[Person, str]] | None = None) -> Response:
    organiser_of(request)
    found, site, number = competition_of(request), site_of(request), page_number(request)
    text = request.query_params.get("q", "")[:80]
    rows, total = accounts.search_people(site.db, text, PER_PAGE, (number - 1) * PER_PAGE)
    made = [(person, site.address(request, f"/link/{secret}")) for person, secret in links or []]
    return page(
        request,
        "organise/people.html",
        422 if wrong else 200,
        **context_of(request, found),
        rows=[(person, membership(site.db, found.id, person.id)) for person in rows],
        total=total,
        q=text,
        page=number,
        pages=max(1, -(-total // PER_PAGE)),
        address=lambda other: f"/organise/c/{found.key}/people?q={text}&page={other}",
        wrong=wrong,
        links=made,
        links_text=table_text(
            ("name", "contact", "link"), ((person.name, person.contact, link) for person, link in made)
        ),
    )


@router.post("/people/import")
def import_people(request: Request, form: SentForm) -> Response:
    """Make accounts from CSV, and show their one-time links this once."""
    person, found = organiser_of(request), competition_of(request)
    text = form.content.decode("utf-8", "replace") if form.content else form.fields.get("csv", "")
    try:
        return _people(request, links=accounts.import_people(site_of(request).db, found.id, text, person.name))
    except RequestError as error:
        return _people(request, error.message)


@router.post("/people/{act}")
def judge_person(request: Request, act: str, form: SentForm) -> Response:
    """Give a person a new link; close or open the account; disqualify or take that back."""
    actor, found, db = organiser_of(request), competition_of(request), site_of(request).db
    person, reason = accounts.find_person(db, form.text("person")), form.text("reason")
    if person is None:
        raise not_found()
    if act == "link":
        return _people(request, links=[(person, accounts.new_link(db, person.id, actor.name))])
    if act == "block":
        accounts.block(db, person.id, actor.name, reason)
    elif act == "unblock":
        accounts.unblock(db, person.id, actor.name, reason)
    elif act == "disqualify":
        organise.disqualify_member(db, found.id, person.id, actor.name, reason)
    elif act == "requalify":
        organise.requalify_member(db, found.id, person.id, actor.name, reason)
    else:
        raise not_found()
    return see(
        f"/organise/c/{found.key}/people", {"block": "blocked", "unblock": "unblocked"}.get(act, f"{act[:-1]}ied")
    )


# --- submissions --------------------------------------------------------------------------------------------------


@router.get("/submissions")
def submissions(request: Request) -> Response:
    """All submissions, the newest first."""
    organiser_of(request)
    found, site, number = competition_of(request), site_of(request), page_number(request)
    rows, total = history(site.db, found.id, None, PER_PAGE, (number - 1) * PER_PAGE)
    names = {one.person_id: accounts.get_person(site.db, one.person_id).name for one in rows}
    return page(
        request,
        "organise/submissions.html",
        **context_of(request, found),
        rows=rows,
        names=names,
        total=total,
        page=number,
        pages=max(1, -(-total // PER_PAGE)),
        address=lambda other: f"/organise/c/{found.key}/submissions?page={other}",
    )


@router.post("/submissions/{act}")
def judge_submission(request: Request, act: str, form: SentForm) -> Response:
    """Disqualify a submission with a reason, or take that back."""
    actor, found, db = organiser_of(request), competition_of(request), site_of(request).db
    submission = find_submission(db, form.text("entry"))
    if submission is None or submission.competition_id != found.id or act not in ("disqualify", "requalify"):
        raise not_found()
    if act == "disqualify":
        organise.disqualify(db, submission.key, actor.name, form.text("reason"))
    else:
        organise.requalify(db, submission.key, actor.name, form.text("reason"))
    return see(f"/organise/c/{found.key}/submissions", f"{act[:-1]}ied")


# --- re-evaluation ------------------------------------------------------------------------------------------------


@router.get("/again")
def again(request: Request) -> Response:
    """Re-evaluations: begun, looked at, applied or discarded."""
    organiser_of(request)
    found, db = competition_of(request), site_of(request).db
    batches = [reevaluations.preview(db, batch) for batch in reevaluations.open_batches(db, found.id)]
    return page(request, "organise/again.html", **context_of(request, found), batches=batches)


@router.post("/again/{act}")
def evaluate_again(request: Request, act: str, form: SentForm) -> Response:
    """Score one or all submissions anew; apply or discard what came of it."""
    actor, found, db = organiser_of(request), competition_of(request), site_of(request).db
    if act == "begin":
        keys = form.text("entries").split() or None
        if keys is None and form.text("all") != "yes":
            raise RequestError("which", "name the submissions by their keys, or choose all")
        reevaluations.begin(db, found.id, keys, actor.name)
        return see(f"/organise/c/{found.key}/again", "started")
    if form.text("batch") not in reevaluations.open_batches(db, found.id):
        raise not_found()
    if act == "apply":
        reevaluations.apply(db, form.text("batch"), actor.name)
    elif act == "discard":
        reevaluations.discard(db, form.text("batch"), actor.name)
    else:
        raise not_found()
    return see(f"/organise/c/{found.key}/again", "applied" if act == "apply" else "discarded")


# --- the final ----------------------------------------------------------------------------------------------------


@router.get("/final")
def final(request: Request) -> Response:
    """The final: who drives in it, how far it is."""
    return _final(request)


def _final(request: Request, board: Board | None = None) -> Response:
    organiser_of(request)
    found = competition_of(request)
    standing = finals.preview(site_of(request).db, found.id)
    return page(request, "organise/final.html", **context_of(request, found), final=standing, board=board)


FINAL_NOTES = {"begin": "final", "retry": "final", "cancel": "discarded", "reveal": "revealed"}


@router.post("/final/{act}")
def run_final(request: Request, act: str, form: SentForm) -> Response:
    """Begin, look at, reveal or cancel the final."""
    actor, found, db = organiser_of(request), competition_of(request), site_of(request).db
    acts = {"begin": finals.begin, "retry": finals.retry, "cancel": finals.cancel, "reveal": finals.reveal}
    if act == "look":
        return _final(request, finals.hidden_board(db, found.id, actor.name))
    if act not in acts:
        raise not_found()
    _check_sure(form)
    acts[act](db, found.id, actor.name)
    return see(f"/organise/c/{found.key}/final", FINAL_NOTES[act])


def _check_sure(form: Form) -> None:
    if form.text("sure") != "yes":
        raise RequestError("sure", "say that you are sure: this changes what everybody sees")
