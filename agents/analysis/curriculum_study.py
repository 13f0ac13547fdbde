"""Does a curriculum of drawn scenes help a driver? Trained with it and without, judged on unmodified starts.

    >>> outcome = study_curriculum()                       # in runs/pretrain/gan-curriculum, from scene-gan's weights
    >>> for metric in outcome.metrics: print(metric.describe())

The result lies where those of the experiments of perception lie, so that their report shows it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from agents.analysis.curriculum import (
    CurriculumConfig,
    Draw,
    Found,
    drawn_scenes,
    recorded_scenes,
    train_on_worst_scenes,
)
from agents.config import TrainConfig, build_config
from agents.export import make_policy
from agents.sb3 import network_weights
from deeptraffic.evaluation.protocol import evaluate_official, evaluate_open
from deeptraffic.figure import BLUE, GREY, ORANGE, SKY, empty_figure, save_figure, style_axes
from deeptraffic.sim.state import F64
from representation.data.rasters import decode_rasters, rasterise
from representation.data.recording import RecordingConfig, record
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob, run_experiment
from representation.experiments.gan import SceneGan
from representation.paradigms.gan import load_gan

DPI = 80  # of pictures on the report's page
ALONE, DRAWN, RECORDED = "without it", "worst drawn scenes", "worst recorded scenes"
SEEDS = (0, 1, 2)
DECISIONS = 150_000


class GanCurriculum(Experiment):
    """PPO on lane gaps: half of its games start where a GAN's scenes find it weakest, against the same budget without.

    A third way takes the worst of recorded scenes, to tell the GAN's part from the curriculum's.
    """

    name, paradigm = "gan-curriculum", "generative adversarial network"
    summary = "Trains PPO on scenes that a GAN draws and a search finds the driver weakest in; judged on normal starts."
    source = "Volz et al. 2018, arXiv:1805.00728; Jiang et al. 2021, arXiv:2010.03934, section 3"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train each way with every seed; compare speeds in the official runs and in open ones on reporting seeds."""
        budget = job.scaled(DECISIONS, least=5_000)
        official: dict[str, list[F64]] = {}
        runs: dict[str, list[F64]] = {}
        searches: list[tuple[int, Found]] = []
        for way, draw in self._ways(job).items():
            for seed in SEEDS:
                config = build_config("ppo", settings={"total_timesteps": budget, "seed": 1000 * seed})
                scores, speeds, found = train_and_judge(config, draw, job)
                official.setdefault(way, []).append(scores)
                runs.setdefault(way, []).append(speeds)
                searches = found if way == DRAWN and seed == SEEDS[0] else searches
        picture = draw_study(job.folder / "curriculum.png", runs, searches)
        note = f"PPO on lane gaps, {budget:,} decisions, {len(SEEDS)} seeds"
        metrics: list[Metric] = []
        for kind, scored in (("official", official), ("open", runs)):
            counted = f"{note}, {scored[ALONE][0].size:,} runs each"
            metrics += [_tenth(scored, kind, counted), _mean(scored, kind, counted)]
        metrics.append(_found(searches))
        return ExperimentResult(metrics, [picture])

    def _ways(self, job: TrainingJob) -> Mapping[str, Draw | None]:
        weights = job.folder.parent / SceneGan.name / SceneGan.weights
        if not weights.exists():
            raise ValueError(
                f"there is no GAN of scenes at {str(weights)!r}; run `deeptraffic pretrain scene-gan` first"
            )
        recording = record(RecordingConfig(runs=job.scaled(200, least=20)), job.cache)
        pictures = rasterise(recording.rules, recording.states.reshape(-1))
        real = decode_rasters(recording.rules, pictures).states
        drawn = drawn_scenes(load_gan(weights), recording.rules)
        return {ALONE: None, RECORDED: recorded_scenes(real), DRAWN: drawn}


def study_curriculum(
    folder: str | Path = Path("runs") / "pretrain" / GanCurriculum.name,
    scale: float = 1.0,
    console: Console | None = None,
) -> ExperimentResult:
    """Run the study in a folder, or return what it left there; scene-gan's folder must lie beside it."""
    return run_experiment(GanCurriculum(), TrainingJob(Path(folder), scale, console=console))


def train_and_judge(
    config: TrainConfig, draw: Draw | None, job: TrainingJob
) -> tuple[F64, F64, list[tuple[int, Found]]]:
    """Return (scores of the official runs and of open runs on reporting seeds [mph], searches made)."""
    curriculum = CurriculumConfig(every=max(1, config.total_timesteps // 8))
    model, searches = train_on_worst_scenes(config, draw, curriculum)
    policy = make_policy(config, network_weights(model, config), "curriculum study")
    official = evaluate_official(policy)
    score = evaluate_open(policy, config.road, runs=job.scaled(2000, least=100), seed_set="reporting")
    return official.run_scores, score.run_scores, searches


def draw_study(path: Path, runs: Mapping[str, Sequence[F64]], searches: Sequence[tuple[int, Found]]) -> Plot:
    """Draw the distributions of run scores, and what the searches found."""
    figure = empty_figure((9.0, 3.6))
    left, right = figure.subplots(1, 2)
    style_axes(left, "Runs from normal starts")
    percent = np.linspace(1, 99, 99)
    for (way, scores), colour, line in zip(runs.items(), (GREY, SKY, BLUE), (":", "--", "-"), strict=True):
        curve = np.mean([np.percentile(speeds, percent) for speeds in scores], axis=0)
        left.plot(percent, curve, line, color=colour, label=way)
    left.set_xlabel("percentile of runs")
    left.set_ylabel("mph, mean of 3 seeds")
    left.legend(frameon=False)
    style_axes(right, "Searches during training")
    decisions = [at / 1000 for at, _ in searches]
    right.plot(decisions, [found.first_speeds.mean() for _, found in searches], "--", color=GREY, label="scenes drawn")
    right.plot(
        decisions, [found.speeds.mean() for _, found in searches], "-o", color=ORANGE, label="worst scenes found"
    )
    right.set_xlabel("thousand decisions of training")
    right.set_ylabel("mph over the next 10 decisions")
    right.legend(frameon=False)
    save_figure(figure, path, DPI)
    return Plot(
        path.name, "The same budget with and without the curriculum, and how slow the driver is where it looks."
    )


def _tenth(runs: Mapping[str, Sequence[F64]], kind: str, note: str) -> Metric:
    values = {way: [np.percentile(scores, 10) for scores in some] for way, some in runs.items()}
    return _metric(f"tenth percentile of {kind} run scores", values, note)


def _mean(runs: Mapping[str, Sequence[F64]], kind: str, note: str) -> Metric:
    values = {way: [scores.mean() for scores in some] for way, some in runs.items()}
    return _metric(f"mean of {kind} run scores", values, note)


def _metric(name: str, values: Mapping[str, Sequence[float]], note: str) -> Metric:
    """The drawn scenes' number beside the others', seeds averaged and listed."""
    means = {way: float(np.mean(of_seeds)) for way, of_seeds in values.items()}
    seeds = "; ".join(f"{way} " + ", ".join(f"{v:.2f}" for v in of_seeds) for way, of_seeds in values.items())
    return Metric(name, means.pop(DRAWN), means, "mph", note=f"{note}: {seeds}")


def _found(searches: Sequence[tuple[int, Found]]) -> Metric:
    last = searches[-1][1]
    first = {"scenes drawn without a search": float(last.first_speeds.mean())}
    note = "mean speed over 10 decisions, last search of training"
    return Metric("the driver in the worst scenes found", float(last.speeds.mean()), first, "mph", False, note=note)
