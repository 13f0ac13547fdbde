"""Label-efficiency curve: mph of distilled students over labelled decisions, by the pretraining of their encoder.

    deeptraffic report labels             # pretrains, trains and scores what is missing; the same command resumes

An experiment `pretext-NAME` pretrains an encoder per seed on unlabelled decisions
(`representation/beyond/pretraining.py`). Students of `deeptraffic train distil` are trained from it with
each budget of labelled decisions, those whose teacher values are used, and scored on reporting seeds. Students of the
same seed share traffic, the order of minibatches, and the random weights from which pretraining started, so
differences to no pretraining are paired by seed.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from rich.console import Console

from agents.algorithms.distil.student import StudentNetworkPolicy, StudentPolicy
from agents.analysis.tables import csv_content, markdown_table
from agents.config import TrainConfig
from agents.loader import load_policy
from agents.perception import encoder_settings
from agents.progress import CountedProgress
from agents.run import RunFolder
from agents.settings import build_config
from agents.trainer import train
from deeptraffic.envs.arguments import MAX_STEPS
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.figure import curve_style, empty_figure, label_counts, save_figure, style_axes
from deeptraffic.run_dir import source_commit, write_atomically, write_json
from representation.beyond.pretraining import RUNS as UNLABELLED_RUNS
from representation.beyond.pretraining import Pretraining
from representation.catalog import folder_name, pretrain
from representation.data.recording import RecordingConfig
from representation.experiment import PooledMetric

PRETRAININGS = ("none", "autoencoder", "masked", "next-latent", "contrastive")
FINE_TUNED, FROZEN = "fine-tuned", "frozen"
ROUNDS, RUNS = 5, 500
# of `agents.algorithms.distil.config.DistilConfig`: small minibatches, so that a small budget has enough steps
STUDENT = {"batch_size": 128, "learning_rate": 2e-3, "learning_rate_end": 6e-5, "buffer_rounds": ROUNDS}
SCORE = "reporting.json"  # in a run's evaluation folder
PAGE, TABLE, FIGURE = "LABELS.md", "labels.csv", "figures/label-efficiency.png"
COLUMNS = ("pretraining", "encoder", "labels", "seed", "mean_mph", "median_mph", "p10_mph", "cpu_seconds", "commit")
Line = dict[str, Any]


@dataclass(frozen=True)
class Budget:
    """A budget of labelled decisions: `ROUNDS` rounds of DAgger, all of which are kept.

    num_envs: episodes of a round
    n_epochs: passes over all rounds so far after each, chosen on tuning seeds, the same for every pretraining
    """

    num_envs: int
    n_epochs: int

    @property
    def labels(self) -> int:
        """Number of labelled decisions."""
        return ROUNDS * self.num_envs * MAX_STEPS


BUDGETS = (Budget(9, 8), Budget(30, 4), Budget(90, 2), Budget(299, 1))


def label_curve(
    output: str | Path,
    folder: str | Path = "runs",
    seeds: Sequence[int] = range(3),
    frozen: Sequence[Budget] = (),
    budgets: Sequence[Budget] = BUDGETS,
    scale: float = 1.0,
    console: Console | None = None,
) -> list[Line]:
    """Pretrain, train and score what is missing; write the table after every student; return its lines.

    Args:
        output: the CSV
        folder: of runs/pretrain and runs/labels
        frozen: budgets that students with a frozen encoder are trained with, too
        scale: fraction of the data and epochs of pretraining
    """
    folder, quiet = Path(folder), Console(quiet=True)
    lines: list[Line] = []
    asked = [(FINE_TUNED, budget) for budget in budgets] + [(FROZEN, budget) for budget in frozen]
    total = len(seeds) * len(PRETRAININGS) * len(asked)
    with CountedProgress("label efficiency", "students", "...", total, 0, console) as progress:
        for seed in seeds:
            for name in PRETRAININGS:
                experiment = f"pretext-{name}"
                source = folder / "pretrain" / folder_name(experiment, seed)
                made = pretrain(experiment, source, (), scale, folder / "pretrain" / "recordings", quiet, seed)
                for way, budget in asked:
                    config = student_config(source / made.weights[0], budget, seed, way == FROZEN)
                    run = RunFolder(folder / "labels" / f"{name}-{way}-{budget.labels}-{seed}")
                    line = {"pretraining": name, "encoder": way, "labels": budget.labels, "seed": seed}
                    line |= _scored(run, config, quiet)
                    lines.append(line)
                    write_atomically(Path(output), csv_content(sorted(lines, key=_place), COLUMNS))
                    progress.print(
                        f"{name}, {way}, {budget.labels:,} labels, seed {seed}: mean {line['mean_mph']:.2f} mph"
                    )
                    progress.bar.update(progress.task, advance=1, note=name)
    return sorted(lines, key=_place)


def student_config(weights: Path, budget: Budget, seed: int, frozen: bool = False) -> TrainConfig:
    """Return the configuration of a student's training; its last network is kept, without evaluations."""
    settings = {
        **STUDENT,
        **encoder_settings(weights),
        "encoder.trainable": not frozen,
        "num_envs": budget.num_envs,
        "n_epochs": budget.n_epochs,
        "total_timesteps": budget.labels,
        "checkpoint_every": budget.labels,
        "evaluation_runs": 0,
        "seed": seed,
    }
    return build_config("distil", settings=settings)


def _scored(run: RunFolder, config: TrainConfig, console: Console) -> Line:
    """Return a student's score on reporting seeds, after training and scoring it if that is missing."""
    path = run.evaluation / SCORE
    if not path.exists():
        result = train(config, run.path, console)
        policy = load_policy(run.path)
        if isinstance(policy, StudentNetworkPolicy):  # torch reads the images of all runs at once, which is faster
            policy = StudentPolicy(policy.config, policy.student, policy.label, dict(policy.notes))
        score = evaluate_open(policy, config.road, runs=RUNS, seed_set="reporting")
        content = {
            "mean_mph": round(score.mean_mph, 3),
            "median_mph": round(score.median_mph, 3),
            "p10_mph": round(float(np.percentile(score.run_scores, 10)), 3),
            "cpu_seconds": round(result.cpu_seconds, 1),
            "commit": (source_commit() or "")[:12],
        }
        write_json(path, content)
    return json.loads(path.read_text(encoding="utf-8"))


def _place(line: Mapping[str, Any]) -> tuple[str, int, int, int]:
    return line["encoder"], PRETRAININGS.index(line["pretraining"]), line["labels"], line["seed"]


# --- the page ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curves:
    """Scores of students by pretraining and labels.

    points: (encoder, pretraining, labels) -> mph by seed, beside no pretraining's
    averages: (encoder, pretraining) -> the same, averaged over the budgets that have all seeds
    """

    points: dict[tuple[str, str, int], PooledMetric]
    averages: dict[tuple[str, str], PooledMetric]

    @classmethod
    def of(cls, lines: Iterable[Line]) -> "Curves":
        """Return the curves of a table; a comparison takes the seeds that all its students have."""
        mph: dict[tuple[str, str, int], dict[int, float]] = {}
        for line in lines:
            key = line["encoder"], line["pretraining"], int(line["labels"])
            mph.setdefault(key, {})[int(line["seed"])] = float(line["mean_mph"])
        pairs = {key: (scores, mph.get((key[0], "none", key[2]), {})) for key, scores in mph.items()}
        points = {key: _paired([pair]) for key, pair in pairs.items()}
        averages = {}
        for way in dict.fromkeys(key[:2] for key in pairs):
            most = max(len(point.seeds) for key, point in points.items() if key[:2] == way)
            full = [key for key, point in points.items() if key[:2] == way and len(point.seeds) == most]
            averages[way] = _paired([pairs[key] for key in full])
        return cls(
            {key: point for key, point in points.items() if point.seeds},
            {way: average for way, average in averages.items() if average.seeds},
        )

    @property
    def labels(self) -> list[int]:
        """The budgets."""
        return sorted({labels for _, _, labels in self.points})


def _paired(pairs: Sequence[tuple[dict[int, float], dict[int, float]]]) -> PooledMetric:
    """Return the mean of (mph by seed, mph of no pretraining by seed) over budgets, at the seeds that all have."""
    seeds = sorted(set.intersection(*(set(scores) for pair in pairs for scores in pair)))
    values, baseline = ([float(np.mean([pair[k][seed] for pair in pairs])) for seed in seeds] for k in (0, 1))
    return PooledMetric("mean speed", seeds, values, {"none": baseline}, "mph")


def read_table(path: Path) -> list[Line]:
    """Return the lines of a table; ValueError if there is none."""
    if not path.exists():
        raise ValueError(f"there is no table {str(path)!r}; run `deeptraffic report labels` first")
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def write_page(lines: Sequence[Line], folder: Path) -> list[Path]:
    """Write page and figure of a table into a folder; return their paths."""
    curves = Curves.of(lines)
    (folder / FIGURE).parent.mkdir(parents=True, exist_ok=True)
    figure = save_curves(curves, folder / FIGURE)
    ways = list(dict.fromkeys(way for way, _, _ in curves.points))
    seeds = len({line["seed"] for line in lines})
    minutes = sum(float(line["cpu_seconds"]) for line in lines) / 60.0
    text = HEAD.format(
        seeds=seeds,
        runs=RUNS,
        rounds=ROUNDS,
        unlabelled=UNLABELLED_RUNS["train"] * RecordingConfig.decisions,
        passes=Pretraining.config.epochs,
        batch=Pretraining.config.batch_size,
        epochs=", ".join(str(budget.n_epochs) for budget in BUDGETS),
        minutes=f"{minutes:.0f}",
        figure=FIGURE,
    )
    sections = "\n".join(_section(curves, way) for way in ways)
    write_atomically(folder / PAGE, f"{text}\n{sections}\n{_verdict(curves)}".encode())
    return [folder / PAGE, figure]


HEAD = """# Does pretraining save labels?

`deeptraffic report labels` makes this page: {seeds} seeds, or as many as the table says; {minutes} CPU minutes of
training for the students.

One encoder of images (`conv`, 8, 16 and 16 filters, 64 features; two grey images of 35 x 21 pixels, one decision apart)
is pretrained without labels in five ways, each with the same initial weights, {unlabelled:,} unlabelled decisions of
built-in policies, {passes} epochs and batches of {batch}: `none` (random weights), `autoencoder`, `masked` (half of the
blocks), `next-latent` (features after the action, by a target network) and `contrastive` (InfoNCE over successive
decisions). A student is then distilled from `champion-solo` by DAgger in {rounds} rounds, each budget of labelled
decisions anew, and fine-tunes the encoder. Passes over its labels after each round, {epochs} from the smallest budget
to the largest, are the same for all pretrainings: for the two smallest budgets the best on tuning runs of another
training seed, mostly without pretraining; for the two largest what their cost allows. The choice matters: with half
as many passes, that seed's pretrained students were ahead at the smallest budget (62.7 to 64.1 mph against 62.6).

Every value is the mean of {runs} reporting runs [mph], the same for all, averaged over seeds; in brackets is the 95%
interval of the difference to `none` (Student's t over seeds, paired by seed). A difference is **bold** where that
interval excludes 0. [labels.csv](labels.csv) has every student.

![Mean speed of students over labelled decisions, and differences to no pretraining.]({figure})

*Left: means. Right: differences to no pretraining. Bands and bars: 95% intervals over seeds.*
"""


def _section(curves: Curves, way: str) -> str:
    """Return the table of students with fine-tuned or frozen encoders."""
    labels = sorted({key[2] for key in curves.points if key[0] == way})
    seeds = {count: len(curves.points[way, "none", count].seeds) for count in labels}
    fewer = {count: f" (seeds: {seeds[count]})" if seeds[count] < max(seeds.values()) else "" for count in labels}
    rows = [
        ["pretraining", *(f"{count:,} labels{fewer[count]}" for count in labels), "mean of the budgets with all seeds"]
    ]
    for name in PRETRAININGS:
        if (way, name) not in curves.averages:
            continue
        points = {count: curves.points.get((way, name, count)) for count in labels}
        cells = [_cell(point, name) if point else "–" for point in points.values()]
        rows.append([name, *cells, _cell(curves.averages[way, name], name)])
    return f"## {way[0].upper()}{way[1:]} encoders\n\n{markdown_table(rows, left=len(rows[0]))}"


def _cell(metric: PooledMetric, name: str) -> str:
    if name == "none" or metric.difference is None:
        return f"{metric.mean:.2f}"
    difference, low, high = metric.difference
    text = f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]"
    return f"{metric.mean:.2f}, {f'**{text}**' if low > 0 or high < 0 else text}"


def _gain(metric: PooledMetric) -> float:
    return metric.mean - float(np.mean(metric.baselines["none"]))


def _verdict(curves: Curves) -> str:
    """Return which differences exclude 0, in words."""
    compared = {key: metric for key, metric in curves.points.items() if key[1] != "none" and metric.difference}
    found = [
        f"`{name}` {'helps' if metric.verdict == 'better' else 'hurts'} at {labels:,} labels ({way}, "
        f"{_gain(metric):+.2f} mph)"
        for (way, name, labels), metric in compared.items()
        if metric.verdict != "tied"
    ]
    overall = [
        f"`{name}` ({way}, {_gain(metric):+.2f} mph)"
        for (way, name), metric in curves.averages.items()
        if name != "none" and metric.difference and metric.verdict != "tied"
    ]
    sentences = [
        f"Of {len(compared)} differences at single budgets, {len(found)} exclude 0, where {0.05 * len(compared):.1f} "
        f"would by chance: {'; '.join(found) or 'none'}.",
        f"Averaged over the budgets with all seeds, those that exclude 0 are: {', '.join(overall) or 'none'}.",
    ]
    return "## Verdict\n\n" + "\n".join(sentences) + "\n"


def save_curves(curves: Curves, path: Path) -> Path:
    """Draw means, and differences to no pretraining, over labels, with intervals."""
    figure = empty_figure((10.0, 4.4))
    left, right = figure.subplots(1, 2)
    style_axes(left, "Mean speed of students")
    style_axes(right, "Difference to no pretraining")
    for k, name in enumerate(PRETRAININGS):
        own = {
            labels: metric
            for (way, key, labels), metric in sorted(curves.points.items())
            if (way, key) == (FINE_TUNED, name)
        }
        if own:
            _draw_curve(left, own, name, k)
        if own and name != "none":
            _draw_differences(right, own, name, k)
    right.axhline(0.0, color=curve_style(0)["color"], lw=1.2, zorder=1)
    for axes, label in ((left, "mean of reporting runs [mph]"), (right, "difference [mph]")):
        axes.set_xscale("log")
        axes.set_xticks(curves.labels)
        axes.minorticks_off()
        label_counts(axes.xaxis)
        axes.set_xlabel("labelled decisions")
        axes.set_ylabel(label)
    left.legend(frameon=False, loc="lower right")
    return save_figure(figure, path)


def _draw_curve(axes: Axes, own: dict[int, PooledMetric], name: str, k: int) -> None:
    style = curve_style(k)
    axes.plot(list(own), [metric.mean for metric in own.values()], label=name, lw=2.0, **style)
    ends = [metric.interval or (metric.mean, metric.mean) for metric in own.values()]
    axes.fill_between(list(own), *np.transpose(ends), alpha=0.13, color=style["color"], lw=0)


def _draw_differences(axes: Axes, own: dict[int, PooledMetric], name: str, k: int) -> None:
    found = {labels: metric.difference for labels, metric in own.items() if metric.difference}
    if not found:
        return
    means, lows, highs = np.array(list(found.values())).T
    places = np.array(list(found)) * 1.06 ** (k - 2.5)  # side by side
    axes.errorbar(places, means, [means - lows, highs - means], capsize=3, lw=1.5, label=name, **curve_style(k))
