"""Which protections of the sandbox are missing on this machine, in a line, and a refusal to run without them."""

import logging

from deeptraffic.competition.sandbox.errors import PlatformError
from deeptraffic.competition.sandbox.limits import EVALUATION
from deeptraffic.competition.sandbox.process import ChildProcess

MORE = "`deeptraffic doctor --data FOLDER` tests each"

log = logging.getLogger("deeptraffic.sandbox")


def missing_protections() -> str:
    """Return which protections a child process lacks, in a line; "" if all are in force. It starts the fork server."""
    try:
        with ChildProcess("evaluate", EVALUATION) as child:
            missing = [protection.name for protection in child.protections if not protection.in_force]
    except PlatformError as error:
        return f"the sandbox does not run on this machine: {error}"
    if not missing:
        return ""
    return f"protections of the sandbox that are missing on this machine: {', '.join(missing)}; {MORE}"


def require_protections() -> None:
    """Raise RuntimeError if a protection is missing."""
    if missing := missing_protections():
        raise RuntimeError(f"{missing}. Without --strict-sandbox it runs all the same")


def log_missing() -> None:
    """Log which protections are missing, if any."""
    if missing := missing_protections():
        log.warning("%s", missing)
