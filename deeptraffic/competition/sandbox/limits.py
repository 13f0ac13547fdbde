"""Resource limits of a submission, passed to the child process when it starts."""

import math
from dataclasses import dataclass, fields

MEGABYTE = 1 << 20
MAX_CPU_SECONDS = 600  # of any evaluation


@dataclass(frozen=True)
class Limits:
    """Limits of one child process; an error names the one that was exceeded.

    memory: [bytes] of address space beyond what the child holds before it reads the submission
    cpu_seconds: processor time of all decisions together
    wall_seconds: from the first byte of the submission to the last answer
    answer_seconds: without an answer until the child is killed
    start_seconds: until the child is locked down; the first start on a machine compiles for a minute
    operations: multiplications per decision; 2 million take one or two milliseconds
    activations: values computed per decision, inputs and intermediate results included; each may cost an exponential
    state_values: values of a vehicle's recurrent state and history; 100 envs of 11 vehicles then take 440 MB
    """

    memory: int = 1024 * MEGABYTE
    cpu_seconds: int = MAX_CPU_SECONDS
    wall_seconds: float = 1800.0
    answer_seconds: float = 30.0
    start_seconds: float = 300.0
    operations: int = 2_000_000
    activations: int = 100_000
    state_values: int = 50_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"{field.name} must be a finite number above 0, got {value!r}")


EVALUATION = Limits()
VALIDATION = Limits(memory=512 * MEGABYTE, cpu_seconds=15, wall_seconds=120.0, answer_seconds=120.0)  # 16 MB take 1 s
