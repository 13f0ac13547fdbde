"""The two ways in which an evaluation ends without a score: by the submission's fault, or by ours."""

from typing import Literal

# What a submission can be refused or ended for:
#   format   no policy file and no original game's file, or a kind of file that is never accepted
#   broken   damaged, or at odds with itself
#   size     more bytes, numbers or multiplications than are accepted
#   memory   it used more memory than a submission may
#   time     it used more time than a submission may
#   answer   it answered something else than actions, or before it was asked
#   crash    its process ended in the middle
FaultCode = Literal["format", "broken", "size", "memory", "time", "answer", "crash"]


class SubmissionFault(ValueError):
    """What a submission did wrong: a code, and a sentence for its author that says what to do."""

    def __init__(self, code: FaultCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code: FaultCode = code
        self.sentence = sentence


class PlatformFault(RuntimeError):
    """What went wrong on our side: nobody's quota pays for it, and another try may well succeed."""
