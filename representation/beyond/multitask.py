"""Multi-task learning: one encoder shared by several tasks.

    >>> tasks = (Task("scene", 5), Task("best lane", 7), Task("speed ahead"))
    >>> model = MultiTask(encoder, tasks)
    >>> fit(model, {"obs": obs, "scene": ..., "best lane": ..., "speed ahead": ...}, validation, FitConfig())
    >>> model.answers(held_out_obs)["scene"]               # (N, 5) logits; (N,) for a regression

Source: Caruana 1997, "Multitask learning", doi:10.1023/A:1007379606734: hard parameter sharing. The tasks' losses are
weighted by learned uncertainties (Kendall, Gal and Cipolla 2018, "Multi-task learning using uncertainty to weigh
losses", arXiv:1705.07115, equation 10).

Letters in shapes: N examples, B of a minibatch, D features, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from representation.data.labels import SCENES, best_lane, scene_class
from representation.data.recording import Recording
from representation.encoder import Encoder
from representation.fit import Batch, Trainable

HORIZON = 5  # [decisions] over which "speed ahead" is a mean: 2.5 seconds at 60 frames a second
SPEED_MEAN, SPEED_DEVIATION = 60.0, 10.0  # [mph] for the standardisation of speeds


@dataclass(frozen=True)
class Task:
    """A task. name: of its labels in a batch; classes: K, or 0 for regression; mean, deviation: of its targets."""

    name: str
    classes: int = 0
    mean: float = 0.0
    deviation: float = 1.0


def driving_tasks(lanes: int = 7) -> tuple[Task, ...]:
    """Return three driving tasks: class of the scene, best lane, speed ahead."""
    speed = Task("speed ahead", 0, SPEED_MEAN, SPEED_DEVIATION)
    return (Task("scene", len(SCENES)), Task("best lane", lanes), speed)


def driving_labels(recording: Recording) -> dict[str, NDArray[Any]]:
    """Return the labels of all decisions with a recorded future, (R * (T - 4),) each; see `driven_states`."""
    states = driven_states(recording)
    count = states.shape[1]
    ahead = np.mean([recording.speeds[:, k : k + count] for k in range(HORIZON)], axis=0)
    return {
        "scene": scene_class(recording.rules, states).ravel(),
        "best lane": best_lane(recording.rules, states).ravel(),
        "speed ahead": ahead.ravel().astype(np.float32),
    }


def driven_states(recording: Recording) -> NDArray[Any]:
    """Return the states (R, T - 4) that five decisions follow."""
    return recording.states[:, : recording.speeds.shape[1] - HORIZON + 1]


class MultiTask(Trainable):
    """An encoder with one dense layer per task.

    loss = sum over tasks of exp(-s) * L + s / 2, where L is the cross-entropy or half the squared error, and s the
    learned logarithm of the task's noise. A single task has weight 1.

    Args:
        encoder: shared
        tasks: one or more
    """

    def __init__(self, encoder: Encoder, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.encoder, self.tasks = encoder, tuple(tasks)
        self.heads = nn.ModuleList(nn.Linear(encoder.features_dim, max(1, task.classes)) for task in self.tasks)
        self.log_noise = nn.Parameter(torch.zeros(len(self.tasks)), requires_grad=len(self.tasks) > 1)

    def forward(self, obs: Any) -> dict[str, Tensor]:
        """Return each task's answer: logits (B, K), or the value (B,) in its unit."""
        features = self.encoder(obs)  # (B, D)
        answers = {}
        for task, head in zip(self.tasks, self.heads, strict=True):
            answer = head(features)  # (B, K) or (B, 1)
            answers[task.name] = answer if task.classes else task.mean + task.deviation * answer[:, 0]
        return answers

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (the weighted sum, each task's own loss) on obs (B, ...) and each task's labels (B,)."""
        losses = self._losses(batch)
        stacked = torch.stack(list(losses.values()))  # (tasks,)
        return (torch.exp(-self.log_noise) * stacked + 0.5 * self.log_noise).sum(), losses

    def validation(self, batch: Batch) -> dict[str, Tensor]:
        """Return the plain sum of the tasks' losses, by which the best epoch is chosen, and each of them."""
        losses = self._losses(batch)
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def answers(self, obs: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Return the answers to NumPy observations (N, ...): logits (N, K), or values (N,)."""
        with torch.no_grad():
            features = torch.from_numpy(self.encoder.encode(obs))  # (N, D)
            out = {}
            for task, head in zip(self.tasks, self.heads, strict=True):
                answer = head(features).numpy()
                out[task.name] = answer if task.classes else task.mean + task.deviation * answer[:, 0]
        return out

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        answers, losses = self(batch["obs"]), {}
        for task in self.tasks:
            answer, truth = answers[task.name], batch[task.name]
            if task.classes:
                losses[task.name] = functional.cross_entropy(answer, truth)
            else:
                losses[task.name] = 0.5 * ((answer - truth) / task.deviation).pow(2).mean()
        return losses
