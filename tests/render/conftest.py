"""Games to look at: short drives whose course is always the same."""

import os
from collections.abc import Callable

import numpy as np
import pytest

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018, Rules
from deeptraffic.sim.state import NOBODY

Drive = Callable[..., Simulator]


def drive_frames(sim: Simulator, frames: int, each: Callable[[Simulator], object] | None = None) -> None:
    """Drive by the rules' test policy, calling `each` at the end of every frame."""
    decision = 0
    for _ in range(frames):
        sim.step_frame(decision * 7919 % 5)
        while sim.state.waiting[0] != NOBODY:
            decision += 1
            sim.step_frame((decision * 7919 + 13) % 5)
        if each is not None:
            each(sim)


@pytest.fixture
def drive() -> Drive:
    """Return a function (frames, rules, each) -> Simulator after that many frames of open run 1."""

    def run(frames: int, rules: Rules = RULES_2018, each: Callable[[Simulator], object] | None = None) -> Simulator:
        sim = Simulator(rules, 1, threads=1)
        sim.reset_open([1])
        drive_frames(sim, frames, each)
        return sim

    return run


@pytest.fixture
def noise_frames() -> list[np.ndarray]:
    """Return 30 images of a moving square, (40, 60, 3) uint8."""
    frames = []
    for k in range(30):
        frame = np.full((40, 60, 3), 30, np.uint8)
        frame[10:20, k : k + 10] = (250, 80, 60)
        frames.append(frame)
    return frames
