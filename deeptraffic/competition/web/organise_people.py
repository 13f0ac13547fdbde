"""Organiser's pages on people and submissions: accounts, links, disqualification, re-evaluation, the final."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from deeptraffic.competition.models import Person
from deeptraffic.competition.store import accounts, finals, organise
from deeptraffic.competition.store.board import Board, csv_text
from deeptraffic.competition.store.competitions import membership
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.submissions import find_submission, history, same_networks
from deeptraffic.competition.web.board_pages import PER_PAGE, context_of, page_links
from deeptraffic.competition.web.organise_class import person_in_class
from deeptraffic.competition.web.rendering import page, redirect
from deeptraffic.competition.web.site import (
    Form,
    SentForm,
    competition_of,
    not_found,
    organiser_of,
    page_number,
    site_of,
    user_of,
)

router = APIRouter(prefix="/organise/c/{key}")


# --- people -------------------------------------------------------------------------------------------------------


@router.get("/people")
def people(request: Request) -> Response:
    """Accounts: search, import, one-time links, closing."""
    return _people(request)


def _people(request: Request, wrong: str = "", links: list[tuple[Person, str]] | None = None) -> Response:
    organiser_of(request)
    found, site, number = competition_of(request), site_of(request), page_number(request)
    text = request.query_params.get("q", "")[:80]
    where = None if user_of(request).is_chief else found.id
    rows, total = accounts.search_people(site.db, text, PER_PAGE, (number - 1) * PER_PAGE, where)
    made = [(person, site.address(request, f"/link/{secret}")) for person, secret in links or []]
    return page(
        request,
        "organise/people.html",
        422 if wrong else 200,
        **context_of(request, found),
        rows=[(person, membership(site.db, found.id, person.id)) for person in rows],
        q=text,
        **page_links(f"/organise/c/{found.key}/people", number, total, q=text),
        wrong=wrong,
        links=made,
        links_text=csv_text(
            ("name", "contact", "link"), ((person.name, person.contact, link) for person, link in made)
        ),
    )


@router.post("/people/import")
def import_people(request: Request, form: SentForm) -> Response:
    """Create accounts from CSV, and show their one-time links this once."""
    person, found = organiser_of(request), competition_of(request)
    text = form.content.decode("utf-8", "replace") if form.content else form.fields.get("csv", "")
    try:
        return _people(request, links=accounts.import_people(site_of(request).db, found.id, text, person.name))
    except RequestError as error:
        return _people(request, error.message)


@router.post("/people/{act}")
def change_person(request: Request, act: str, form: SentForm) -> Response:
    """Create a new link for a person; close or reopen the account; disqualify the person or revoke that."""
    actor, found, db = organiser_of(request), competition_of(request), site_of(request).db
    person = person_in_class(request, form.text("person"), manage=act in ("link", "block", "unblock"))
    reason, place = form.text("reason"), None if actor.is_organiser else found.id
    if act == "link":
        return _people(request, links=[(person, accounts.new_link(db, person.id, actor.name, place))])
    if act == "block":
        accounts.block(db, person.id, actor.name, reason, place)
    elif act == "unblock":
        accounts.unblock(db, person.id, actor.name, reason, place)
    elif act == "disqualify":
        organise.disqualify_member(db, found.id, person.id, actor.name, reason)
    elif act == "requalify":
        organise.requalify_member(db, found.id, person.id, actor.name, reason)
    else:
        raise not_found()
    done = {"block": "blocked", "unblock": "unblocked"}.get(act, f"{act[:-1]}ied")
    return redirect(f"/organise/c/{found.key}/people/{person.key}", done)


# --- submissions --------------------------------------------------------------------------------------------------


@router.get("/submissions")
def submissions(request: Request) -> Response:
    """All submissions, the newest first."""
    organiser_of(request)
    found, site, number = competition_of(request), site_of(request), page_number(request)
    rows, total = history(site.db, found.id, None, PER_PAGE, (number - 1) * PER_PAGE)
    return page(
        request,
        "organise/submissions.html",
        **context_of(request, found),
        rows=rows,
        same=same_networks(site.db, found.id),
        **page_links(f"/organise/c/{found.key}/submissions", number, total),
    )


@router.post("/submissions/{act}")
def change_submission(request: Request, act: str, form: SentForm) -> Response:
    """Disqualify a submission with a reason, or revoke that."""
    actor, found, db = organiser_of(request), competition_of(request), site_of(request).db
    submission = find_submission(db, form.text("entry"))
    if submission is None or submission.competition_id != found.id or act not in ("disqualify", "requalify"):
        raise not_found()
    if act == "disqualify":
        organise.disqualify(db, submission.key, actor.name, form.text("reason"))
    else:
        organise.requalify(db, submission.key, actor.name, form.text("reason"))
    return redirect(f"/organise/c/{found.key}/submissions", f"{act[:-1]}ied")


# --- re-evaluation ------------------------------------------------------------------------------------------------


@router.get("/reevaluate")
def reevaluations(request: Request) -> Response:
    """Re-evaluations: begin, preview, apply or discard."""
    organiser_of(request)
    found, db = competition_of(request), site_of(request).db
    batches = [organise.preview_reevaluation(db, batch) for batch in organise.open_reevaluations(db, found.id)]
    return page(request, "organise/reevaluate.html", **context_of(request, found), batches=batches)


@router.post("/reevaluate/{act}")
def reevaluate(request: Request, act: str, form: SentForm) -> Response:
    """Evaluate one or all submissions again; apply or discard the new results."""
    actor, found, db = organiser_of(request), competition_of(request), site_of(request).db
    if act == "begin":
        keys = form.text("entries").split() or None
        if keys is None and form.text("all") != "yes":
            raise RequestError("which", "name the submissions by their keys, or choose all")
        organise.begin_reevaluation(db, found.id, keys, actor.name)
        return redirect(f"/organise/c/{found.key}/reevaluate", "started")
    if form.text("batch") not in organise.open_reevaluations(db, found.id):
        raise not_found()
    if act == "apply":
        organise.apply_reevaluation(db, form.text("batch"), actor.name)
    elif act == "discard":
        organise.discard_reevaluation(db, form.text("batch"), actor.name)
    else:
        raise not_found()
    return redirect(f"/organise/c/{found.key}/reevaluate", "applied" if act == "apply" else "discarded")


# --- the final ----------------------------------------------------------------------------------------------------


@router.get("/final")
def final(request: Request) -> Response:
    """The final: its entries and its progress."""
    return _final(request)


def _final(request: Request, board: Board | None = None) -> Response:
    organiser_of(request)
    found = competition_of(request)
    progress = finals.preview(site_of(request).db, found.id)
    return page(request, "organise/final.html", **context_of(request, found), final=progress, board=board)


FINAL_NOTES = {"begin": "final", "retry": "final", "cancel": "discarded", "reveal": "revealed"}


@router.post("/final/{act}")
def run_final(request: Request, act: str, form: SentForm) -> Response:
    """Begin, preview, retry, reveal or cancel the final."""
    actor, found, db = organiser_of(request), competition_of(request), site_of(request).db
    acts = {"begin": finals.begin, "retry": finals.retry, "cancel": finals.cancel, "reveal": finals.reveal}
    if act == "look":
        return _final(request, finals.hidden_board(db, found.id, actor.name))
    if act not in acts:
        raise not_found()
    _check_sure(form)
    acts[act](db, found.id, actor.name)
    return redirect(f"/organise/c/{found.key}/final", FINAL_NOTES[act])


def _check_sure(form: Form) -> None:
    if form.text("sure") != "yes":
        raise RequestError("sure", "confirm the action: it changes what everybody sees")
