"""Multi-task learning: one encoder shared by three tasks against one encoder per task.

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
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deeptraffic.figure import empty_figure, save_figure, style_axes
from representation.data.labels import SCENES, best_lane, scene_class
from representation.data.recording import Recording, RecordingConfig, observe, record
from representation.encoder import Encoder
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays, Batch, FitConfig, Trainable
from representation.metrics import macro_f1, rmse
from representation.paradigms.convolutional.model import ConvEncoder
from representation.plots import REPORT_DPI, draw_bars
from representation.weights import parameter_count

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


OBSERVED = {"kind": "grid", "patches_ahead": 30, "patches_behind": 10}
SHAPE = (4, 40, 7)
DECISIONS = 16
RUNS = {"train": 600, "validation": 100, "test": 250}
FEW = 40  # runs
SHARED, SEPARATE = "one encoder", "separate encoders"
WEIGHTS = "encoder.safetensors"


@dataclass(frozen=True)
class TaskPredictions:
    """Predictions of a training on test scenes by task, the number of parameters, and the CPU time [s]."""

    answers: dict[str, NDArray[np.float32]]
    parameters: int
    cpu_seconds: float


class MultiTaskExperiment(Experiment):
    """Three tasks on a grid: class of the scene, best lane, speed ahead."""

    name, paradigm = "multi-task", "beyond"
    summary = "One encoder with three heads (scene, best lane, speed ahead) against an encoder for each task."
    source = "Caruana 1997, doi:10.1023/A:1007379606734; Kendall et al. 2018, arXiv:1705.07115, equation 10"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train both ways on many runs and on few, and compare predictions, size and time."""
        train, validation, test = (scenes(job, split) for split in RUNS)
        few_runs = job.scaled(FEW, 4)
        per_run = len(train["obs"]) // job.scaled(RUNS["train"], 8)
        few = {name: array[: few_runs * per_run] for name, array in train.items()}
        metrics, scores = [], {}
        for amount, data, epochs, seeds in (("many", train, 10, (0,)), ("few", few, 40, (0, 1, 2))):
            ways = self._ways(job, amount, (data, validation, test), epochs, seeds)
            scores[amount] = {way: [grade(one.answers, test) for one in trained] for way, trained in ways.items()}
            metrics += self._metrics(amount, len(data["obs"]), scores[amount], train, test)
        metrics += self._costs(ways)
        save_scores(scores, job)
        caption = (
            "Scores on held-out runs after training on many and on few scenes: one encoder with three heads, or three."
        )
        return ExperimentResult(metrics, [Plot("multi-task.png", caption)], [WEIGHTS])

    def _ways(
        self, job: TrainingJob, amount: str, sets: tuple[Arrays, Arrays, Arrays], epochs: int, seeds: Sequence[int]
    ) -> dict[str, list[TaskPredictions]]:
        ways: dict[str, list[TaskPredictions]] = {SHARED: [], SEPARATE: []}
        for seed in seeds:
            config = FitConfig(epochs=epochs, batch_size=128, learning_rate=2e-3, patience=0, seed=seed)
            tasks = driving_tasks()
            ways[SHARED].append(self._train(job, f"{amount}-shared-{seed}", tasks, sets, config))
            parts = [self._train(job, f"{amount}-{task.name}-{seed}", (task,), sets, config) for task in tasks]
            answers = {name: answer for part in parts for name, answer in part.answers.items()}
            size, time = sum(part.parameters for part in parts), sum(part.cpu_seconds for part in parts)
            ways[SEPARATE].append(TaskPredictions(answers, size, time))
        return ways

    def _train(
        self, job: TrainingJob, name: str, tasks: Sequence[Task], sets: tuple[Arrays, Arrays, Arrays], config: FitConfig
    ) -> TaskPredictions:
        torch.manual_seed(config.seed)
        encoder = ConvEncoder(spaces.Box(0.0, 1.0, SHAPE, np.float32), 64, channels=(8, 16))
        encoder.observed = dict(OBSERVED)
        model = MultiTask(encoder, tasks)
        chosen = [task.name for task in tasks]
        train, validation = ({key: data[key] for key in ("obs", *chosen)} for data in sets[:2])
        result = job.fit(name.replace(" ", "-"), model, train, validation, replace(config, patience=6))
        if name == "many-shared-0":
            encoder.summary = result.summary(self.name)
            encoder.save(job.folder / WEIGHTS)
        return TaskPredictions(model.answers(sets[2]["obs"]), parameter_count(model), result.cpu_seconds)

    def _metrics(
        self,
        amount: str,
        count: int,
        scores: dict[str, list[dict[str, float]]],
        train: Arrays,
        test: Arrays,
    ) -> list[Metric]:
        metrics = []
        plain = grade(simplest_answers(train, test), test)
        for task in driving_tasks():
            mean = {way: float(np.mean([one[task.name] for one in each])) for way, each in scores.items()}
            what = "macro-F1" if task.classes else "RMSE"
            simple = "majority class" if task.classes else "the mean"
            metrics.append(
                Metric(
                    f"{task.name}, {what}, from {amount} scenes",
                    mean[SHARED],
                    {SEPARATE: mean[SEPARATE], simple: plain[task.name]},
                    "" if task.classes else "mph",
                    higher_is_better=bool(task.classes),
                    note=f"{count:,} training scenes; mean of {len(scores[SHARED])} seeds",
                )
            )
        return metrics

    def _costs(self, ways: dict[str, list[TaskPredictions]]) -> list[Metric]:
        one, three = ways[SHARED][0], ways[SEPARATE][0]
        seconds = {way: float(np.mean([each.cpu_seconds for each in trained])) for way, trained in ways.items()}
        return [
            Metric("parameters", one.parameters, {SEPARATE: three.parameters}, higher_is_better=False),
            Metric(
                "CPU time of training on few scenes",
                seconds[SHARED],
                {SEPARATE: seconds[SEPARATE]},
                "s",
                higher_is_better=False,
            ),
        ]


def scenes(job: TrainingJob, split: str) -> dict[str, NDArray]:
    """Return grids of a split with the labels of the three tasks."""
    config = RecordingConfig(split=split, runs=job.scaled(RUNS[split], 8), decisions=DECISIONS)
    recording = record(config, job.cache)
    states = driven_states(recording).ravel()
    return {"obs": observe(recording.rules, states, OBSERVED), **driving_labels(recording)}


def grade(answers: Arrays, test: Arrays) -> dict[str, float]:
    """Return each task's macro-F1, or root mean square error [mph]."""
    grades = {}
    for task in driving_tasks():
        answer, truth = answers[task.name], test[task.name]
        right = macro_f1(answer.argmax(1), truth, task.classes) if task.classes else rmse(answer, truth)
        grades[task.name] = right
    return grades


def simplest_answers(train: Arrays, test: Arrays) -> dict[str, NDArray]:
    """Return the majority class of training, as scores, and the mean of a regression target, for every test scene."""
    answers: dict[str, NDArray] = {}
    for task in driving_tasks():
        truth, count = train[task.name], len(test["obs"])
        if task.classes:
            answers[task.name] = np.tile(np.bincount(truth, minlength=task.classes), (count, 1))
        else:
            answers[task.name] = np.full(count, truth.mean())
    return answers


def save_scores(scores: dict[str, dict[str, list[dict[str, float]]]], job: TrainingJob) -> None:
    """Plot each task's metric, both ways, from many scenes and from few."""
    tasks = driving_tasks()
    figure = empty_figure((3.6 * len(tasks), 3.0))
    for axes, task in zip(figure.subplots(1, len(tasks)), tasks, strict=True):
        style_axes(axes, task.name)
        values = {
            f"{way}\n{amount} scenes": float(np.mean([one[task.name] for one in each]))
            for amount, ways in scores.items()
            for way, each in ways.items()
        }
        best = (max if task.classes else min)(values, key=lambda name: values[name])
        draw_bars(axes, values, best, "macro-F1" if task.classes else "RMSE [mph], lower is better")
    save_figure(figure, job.folder / "multi-task.png", REPORT_DPI)
