"""The memory of the world-model agent: what games did, decision by decision, from which it draws segments.

A segment is T decisions of one game in a row. Decisions after the end of a game that lies within are marked: they are
another game's, and the one that ended it led to a state which nobody remembers.

Letters in shapes: S decisions remembered of each game, G games, B segments, T decisions of a segment.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from deeptraffic.sim.rules import Action

I64 = NDArray[np.int64]
MIRRORED_ACTIONS = np.array([Action.NOTHING, Action.ACCELERATE, Action.DECELERATE, Action.RIGHT, Action.LEFT])
RECORDS = ("actions", "chances", "rewards", "ends")


class Segments(NamedTuple):
    """What was drawn.

    obs: T + 1 entries of (B, ...), or of dicts of such; actions: (T, B) int64
    chances: (T, B) with which the actions were chosen; rewards: (T, B) less the mean of all that is remembered, so
        that values begin near 0 and need not climb to it (Naik et al. 2024, "Reward centering", arXiv:2405.09999)
    valid: (T, B) float32, 1 where the decision and the state it led to are of the segment's game, else 0
    """

    obs: list[Any]
    actions: Tensor
    chances: Tensor
    rewards: Tensor
    valid: Tensor


class SegmentMemory:
    """The last decisions of each of G games.

    Args:
        size: decisions remembered, all games together
        games: G
        space: of one observation
        mirror: (N,) entry k of a mirrored observation is entry mirror[k] of the flat original; None for no mirror
    """

    def __init__(self, size: int, games: int, space: spaces.Space, mirror: I64 | None = None) -> None:
        self.length, self.games, self.mirror = max(2, size // games), games, mirror
        parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
        self.obs = {
            name: np.zeros((self.length, games, *(part.shape or ())), _kept(part)) for name, part in parts.items()
        }
        self.actions = np.zeros((self.length, games), np.int64)
        self.chances, self.rewards = np.ones((2, self.length, games), np.float32)
        self.ends = np.zeros((self.length, games), np.bool_)
        self.steps = 0  # ever added

    @property
    def filled(self) -> int:
        """Decisions of each game that are remembered."""
        return min(self.steps, self.length)

    def add(self, obs: Any, actions: I64, chances: NDArray, rewards: NDArray, ends: NDArray) -> None:
        """Note one decision of every game: what was seen, done, how likely it was, earned, and which games ended."""
        at = self.steps % self.length
        for name, part in self.obs.items():
            part[at] = obs[name] if name else obs
        records = (actions, chances, rewards, ends)
        for name, values in zip(RECORDS, records, strict=True):
            getattr(self, name)[at] = values
        self.steps += 1

    def draw(self, count: int, decisions: int, random: Any, device: torch.device | str = "cpu") -> Segments:
        """Return `count` segments, half of them in the mirror where there is one; random: NumPy's, of any kind."""
        assert self.filled > decisions, "the memory holds no whole segment yet"
        oldest = self.steps - self.filled
        first = oldest + random.randint(self.filled - decisions, size=count)
        times = (first[None] + np.arange(decisions + 1)[:, None]) % self.length  # (T + 1, B)
        rows = random.randint(self.games, size=count)[None]  # (1, B)
        obs = {name: part[times, rows] for name, part in self.obs.items()}  # (T + 1, B, ...)
        actions, chances, rewards, ends = (getattr(self, name)[times[:-1], rows] for name in RECORDS)
        if self.mirror is not None:
            half = count // 2
            seen = obs[""][:, :half].reshape(decisions + 1, half, -1)
            obs[""][:, :half] = seen[:, :, self.mirror].reshape(obs[""][:, :half].shape)
            actions[:, :half] = MIRRORED_ACTIONS[actions[:, :half]]
        rewards = rewards - self.rewards[: self.filled].mean()
        valid = np.cumprod(~ends, axis=0).astype(np.float32)
        tensors = {name: torch.from_numpy(part).to(device) for name, part in obs.items()}
        views = [{n: part[t] for n, part in tensors.items()} for t in range(decisions + 1)]
        parts = (torch.from_numpy(part).to(device) for part in (actions, chances, rewards, valid))
        return Segments([view.get("", view) for view in views], *parts)

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what is remembered, as tensors."""
        kept = {name: torch.from_numpy(getattr(self, name)[: self.filled].copy()) for name in RECORDS}
        obs = {name: torch.from_numpy(part[: self.filled].copy()) for name, part in self.obs.items()}
        return {"steps": self.steps, "obs": obs, **kept}

    def restore(self, saved: dict[str, Any]) -> None:
        """Remember what another memory of the same sizes did."""
        self.steps = saved["steps"]
        for name, part in saved["obs"].items():
            self.obs[name][: len(part)] = part.numpy()
        for name in RECORDS:
            getattr(self, name)[: len(saved[name])] = saved[name].numpy()


def _kept(part: spaces.Space) -> Any:
    """The type in which an observation is remembered: float64 as float32, others as they are."""
    return np.float32 if part.dtype == np.float64 else part.dtype
