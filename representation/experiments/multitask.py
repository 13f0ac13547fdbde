"""Experiment on multi-task learning: one shared encoder for three tasks against one encoder per task."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.figure import empty_figure, save_figure, style_axes
from representation.beyond.multitask import MultiTask, Task, driven_states, driving_labels, driving_tasks
from representation.data.recording import RecordingConfig, observe, record
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays, FitConfig
from representation.metrics.predictions import macro_f1, rmse
from representation.paradigms.conv import ConvEncoder
from representation.plots import REPORT_DPI, draw_bars
from representation.weights import parameter_count

OBSERVED = {"kind": "grid", "patches_ahead": 30, "patches_behind": 10}
SHAPE = (4, 40, 7)
DECISIONS = 16
RUNS = {"train": 600, "validation": 100, "test": 250}
FEW = 40  # runs
SHARED, SEPARATE = "one encoder", "separate encoders"
WEIGHTS = "encoder.safetensors"


@dataclass(frozen=True)
class TaskPredictions:
    """Answers of a training on test scenes by task, the numbers that were learned, and the CPU time it took [s]."""

    answers: dict[str, NDArray[np.float32]]
    parameters: int
    cpu_seconds: float


class MultiTaskExperiment(Experiment):
    """Three questions about a grid: which scene, which lane is best, how fast shall we be."""

    name, paradigm = "multi-task", "beyond"
    summary = "One encoder with three heads (scene, best lane, speed ahead) against an encoder for each task."
    source = "Caruana 1997, doi:10.1023/A:1007379606734; Kendall et al. 2018, arXiv:1705.07115, equation 10"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train both ways on many runs and on few, and compare answers, size and time."""
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
    """Return grids of a split with the three answers."""
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
    """Return the majority class of training, as scores, and the mean of a number, for every test scene."""
    answers: dict[str, NDArray] = {}
    for task in driving_tasks():
        truth, count = train[task.name], len(test["obs"])
        if task.classes:
            answers[task.name] = np.tile(np.bincount(truth, minlength=task.classes), (count, 1))
        else:
            answers[task.name] = np.full(count, truth.mean())
    return answers


def save_scores(scores: dict[str, dict[str, list[dict[str, float]]]], job: TrainingJob) -> None:
    """Draw each task's grade, both ways, from many scenes and from few."""
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
