"""An uploaded file into a competition: the page's form and the JSON API end here."""

from starlette.exceptions import HTTPException
from starlette.requests import Request

from deeptraffic.competition.sandbox import validation
from deeptraffic.competition.sandbox.errors import InvalidSubmission, PlatformError
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.records import Competition, Person, Submission
from deeptraffic.competition.store.submissions import accept, quota
from deeptraffic.competition.web.site import member_of, site_of

MAX_NAME = 200  # [characters] of a file's name


def admit(request: Request, person: Person) -> Person:
    """Return who uploads; called before the body is read, so that nobody fills the memory with what is refused."""
    wait = site_of(request).limiter.wait("uploads", f"person {person.id}")
    if wait:
        seconds = int(wait) + 1
        raise HTTPException(429, f"Too many uploads; try again in {seconds} s.", {"Retry-After": str(seconds)})
    return person


def take(request: Request, competition: Competition, person: Person, filename: str, content: bytes) -> Submission:
    """Check a file and accept it; raises RequestError, also for what is wrong with the file, or HTTPException 503.

    Who may submit at all is asked before a child process is started for the file.
    """
    site = site_of(request)
    _check_early(request, competition, person, content)
    try:
        upload = validation.validate(content, plain_name(filename))
    except InvalidSubmission as error:
        raise RequestError(error.code, str(error)) from None
    except PlatformError:
        raise HTTPException(503, "The file could not be checked just now; nothing was counted. Try again.") from None
    return accept(site.db, competition.id, person.id, upload)


def _check_early(request: Request, competition: Competition, person: Person, content: bytes) -> None:
    site, config = site_of(request), competition.config
    if not content:
        raise RequestError("empty", "no file came; choose one and send it again")
    if len(content) > config.max_bytes:
        raise RequestError(
            "size", f"the file has {len(content):,} bytes; at most {config.max_bytes:,} are accepted here"
        )
    if member_of(request, competition) is None and person.role != "baseline":
        return  # accept says so
    used = quota(site.db, competition.id, person.id)
    if used["total"] >= config.total_limit:
        raise RequestError("quota_total", f"you have used all {config.total_limit} submissions of this competition")


def plain_name(filename: str) -> str:
    """Return a file's name as it may be stored and shown: its last part, without what is invisible or turns writing."""
    last = filename.replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[-MAX_NAME:].strip() or "submission"
