"""What can be wrong with a call of the store: the caller's fault, ours, or a job that belongs to another worker now."""


class Refusal(ValueError):
    """A person asked for what the rules do not allow; nothing was changed.

    code: a fixed word for programs, such as quota_day
    subject: the key of what it is about, such as the submission that holds the same file
    """

    def __init__(self, code: str, sentence: str, subject: str | None = None) -> None:
        super().__init__(sentence)
        self.code, self.sentence, self.subject = code, sentence, subject


class Unavailable(RuntimeError):
    """The database cannot answer now (locked, full, gone); nothing was changed, and trying again later may work.

    code: busy, full or down
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence


class LeaseLost(RuntimeError):
    """A worker speaks of a job that is no longer its own: its lease ran out, and another worker has the job."""
