"""Errors that end an evaluation without a score: the submission's, or the platform's."""

import platform
import sys
from typing import Literal, get_args

# Why a submission is refused:
#   format   neither a policy file nor an original game's file, or a file type that is never accepted
#   broken   damaged or inconsistent
#   size     more bytes, values or multiplications than are accepted
#   memory   used more memory than a submission may
#   time     used more time than a submission may
#   answer   answered something other than actions, or before it was asked
#   crash    its process ended early
ErrorCode = Literal["format", "broken", "size", "memory", "time", "answer", "crash"]
ERROR_CODES: tuple[ErrorCode, ...] = get_args(ErrorCode)


class InvalidSubmission(ValueError):
    """What is wrong with a submission: a code, and a message for its author that says what to do.

    cpu_seconds: processor time that the submission used until then
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.cpu_seconds = 0.0


class PlatformError(RuntimeError):
    """A failure of the platform, not of the submission: it counts against no quota, and a retry may succeed."""


def require_linux() -> None:
    """Raise PlatformError, with the remedy, on any other system: only Linux has what locks a submission down."""
    if sys.platform != "linux":
        system = {"Darwin": "macOS"}.get(platform.system(), platform.system())
        raise PlatformError(
            f"a competition's sandbox needs Linux, and this is {system}; run the server and its workers in a Linux "
            "container, as deeptraffic/competition/GUIDE.md shows"
        )
