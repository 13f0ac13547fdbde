"""Episodes driven by a policy, to be watched, rewound, saved as traces, or rendered.

>>> episode = policy_episode(make_builtin("gap"), RULES_2018, Start.open(1))
>>> record_frames(episode_frames(episode, Painter(RULES_2018)), "gap.mp4", fps=30)
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from deeptraffic.episodes.decision import last_decision
from deeptraffic.episodes.episode import DEFAULT_FRAMES, Episode
from deeptraffic.episodes.trace import Start
from deeptraffic.evaluation.play import PolicyRunner, Progress
from deeptraffic.policies.base import Policy
from deeptraffic.render.painter import Painter
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Rules

GAP = 4  # [pixels] between roads side by side


def policy_episode(policy: Policy, rules: Rules, start: Start, frames: int = DEFAULT_FRAMES) -> Episode:
    """Return an episode that the policy drives, with an empty memory at its start."""
    episode = Episode(rules, start, frames=frames, label=policy.label, sensor=policy.sensor)
    episode.decide = decide_with(policy, episode.sim)
    return episode


def decide_with(policy: Policy, sim: Simulator) -> Callable[[Simulator, int], int]:
    """Return a function that asks the policy for the decision of an agent of `sim`, a simulator with one env."""
    runner = PolicyRunner(policy, sim)
    return lambda _, agent: int(runner.decide(agent)[0])


def frames_side_by_side(
    episodes: Sequence[Episode], painters: Sequence[Painter], every: int = 2, progress: Progress | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Play episodes to their ends at the same time and yield images of all of them side by side."""
    films = [episode_frames(episode, painter, every) for episode, painter in zip(episodes, painters, strict=True)]
    for images in zip(*films, strict=True):
        between = np.zeros((images[0].shape[0], GAP, 3), np.uint8)
        yield np.concatenate([part for image in images for part in (between, image)][1:], axis=1)
        if progress:
            progress(episodes[0].frame, episodes[0].frames)


def episode_frames(
    episode: Episode, painter: Painter, every: int = 2, progress: Progress | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Play an episode to its end and yield images (H, W, 3) of every `every`-th frame and of the last."""
    while episode.advance():
        if episode.frame % every == 0 or episode.frame == episode.frames:
            yield painter.paint(episode.state, decision=last_decision(episode))
        else:
            painter.observe(episode.state)
        if progress:
            progress(episode.frame, episode.frames)
