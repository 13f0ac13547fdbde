"""Errors of the store: a request that the rules do not allow, an unavailable database, and a lost lease."""


class RequestError(ValueError):
    """A request that the rules do not allow; nothing was changed.

    code: a fixed word for programs, such as quota_day
    subject: the key of the object concerned, such as the earlier submission of the same file
    """

    def __init__(self, code: str, message: str, subject: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.subject = code, message, subject


class Unavailable(RuntimeError):
    """The database cannot answer now; nothing was changed, and a later try may succeed.

    code: busy, full or down
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class LeaseLost(RuntimeError):
    """A report about a job whose lease has expired: the job belongs to another worker, or was cancelled."""
