"""Curriculum of scenes from a GAN: training episodes also start where the agent is weakest at the moment.

    >>> outcome = study_curriculum()                       # in runs/pretrain/gan-curriculum, with scene-gan's weights
    >>> for metric in outcome.metrics: print(metric.describe())

At intervals a search draws scenes, plays them with the current policy, and moves toward noise whose scenes are slower
(an evolution strategy in the noise of the GAN, as in Volz et al. 2018, arXiv:1805.00728). A fraction of the episodes
then starts in the worst scenes found. The idea, on replayed levels, is from Jiang, Grefenstette and Rocktaeschel 2021,
"Prioritized level replay", arXiv:2010.03934, section 3. Evaluations start as always.

`GanCurriculum` compares training with and without it; its result lies beside those of the perception experiments, so
that their report shows it.

Letters in shapes: B scenes, Z noise dimensions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from agents.config import TrainConfig, build_config
from agents.sb3 import make_model, make_policy, make_vec_env
from agents.trainer import crosses, torch_threads
from deeptraffic.envs.observations import Observation, Observer
from deeptraffic.envs.reward import reward_of
from deeptraffic.evaluation.protocol import evaluate_official, evaluate_open
from deeptraffic.figure import BLUE, GREY, ORANGE, SKY, empty_figure, save_figure, style_axes
from deeptraffic.settings import Checked, integer, real
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import FULL_SPEED_MPH, Rules
from deeptraffic.sim.state import F64, I64, Games
from representation.data.rasters import decode_rasters, rasterise
from representation.data.recording import RecordingConfig, record
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob, run_experiment
from representation.paradigms.gan.experiment import SceneGan
from representation.paradigms.gan.model import NOISE, SceneGAN, load_gan

Draw = Callable[[F64], Games]  # noise (B, Z) -> states before frame 0, (B,)
Play = Callable[[Games], F64]  # states -> speed of the agent in the next decisions [mph], (B,)

DPI = 80  # of plots in the report
ALONE, DRAWN, RECORDED = "without it", "worst generated scenes", "worst recorded scenes"
SEEDS = (0, 1, 2)
DECISIONS = 150_000


@dataclass(frozen=True)
class CurriculumConfig(Checked):
    """Search for scenes to start training episodes in.

    fraction: of the episodes that start in scenes found
    every: [decisions] of training between two searches
    scenes: drawn in each round; rounds: of a search
    kept: scenes that a search returns
    step_size: of a round away from the noise of the worst scenes: 0 none, 1 to new noise
    decisions: for which a scene is played
    """

    fraction: float = real(0.5, 0.0, 1.0)
    every: int = integer(20_000, 1, 10**12)
    scenes: int = integer(512, 2, 100_000)
    rounds: int = integer(3, 1, 100)
    kept: int = integer(128, 1, 100_000)
    step_size: float = real(0.5, 0.0, 1.0)
    decisions: int = integer(10, 1, 1_000)

    def check(self) -> None:
        """Raise ValueError if a search draws fewer scenes than it keeps."""
        if self.kept > self.scenes * self.rounds:
            raise ValueError(f"kept={self.kept} is more than scenes={self.scenes} x rounds={self.rounds}; lower kept")


@dataclass(frozen=True)
class WorstScenes:
    """Result of a search, the worst scene first.

    states: (kept,) before frame 0; speeds: (kept,) of the agent [mph]; first_speeds: in the scenes of the first round
    """

    states: Games
    speeds: F64
    first_speeds: F64


def drawn_scenes(gan: SceneGAN, rules: Rules) -> Draw:
    """Return a function that draws states from a GAN."""
    return lambda noise: decode_rasters(rules, gan.draw(noise), seed=_seed_of(noise)).states


def recorded_scenes(states: NDArray[Any]) -> Draw:
    """Return a function that draws among recorded states (n,), the baseline without a GAN; noise seeds the choice."""
    return lambda noise: states[np.random.default_rng(_seed_of(noise)).integers(len(states), size=len(noise))]


def worst_scenes(draw: Draw, play: Play, config: CurriculumConfig, random: np.random.Generator) -> WorstScenes:
    """Search for scenes in which the agent is slow.

    The first round draws scenes from noise z, the next ones from sqrt(1 - step_size**2) z + step_size e, where z is
    noise of the worst quarter so far and e new noise, so that the sum stays normal.
    """
    noise = random.normal(size=(config.scenes, NOISE))
    states, speeds, places = [], [], []
    for _ in range(config.rounds):
        states.append(draw(noise))
        speeds.append(play(states[-1]))
        places.append(noise)
        worst = np.argsort(np.concatenate(speeds), kind="stable")[: max(1, config.scenes // 4)]
        parents = np.concatenate(places)[random.choice(worst, config.scenes)]
        noise = np.sqrt(1.0 - config.step_size**2) * parents + config.step_size * random.normal(size=parents.shape)
    all_speeds = np.concatenate(speeds)
    kept = np.argsort(all_speeds, kind="stable")[: config.kept]
    return WorstScenes(np.concatenate(states)[kept], all_speeds[kept], speeds[0])


def speed_from(model: BaseAlgorithm, rules: Rules, observation: Observation, decisions: int) -> Play:
    """Return a function that plays a model from states, deterministically: its mean speed over some decisions [mph]."""

    def play(states: Games) -> F64:
        sim = Simulator(rules, len(states))
        sim.set_state(states.view(np.recarray))
        observer, total = Observer(rules, observation, len(states)), np.zeros(len(states))
        sim.step(sim.idle)
        actions: I64 | None = None
        for _ in range(decisions):
            obs = observer.observe(sim, actions=actions)
            actions = np.asarray(model.predict(obs, deterministic=True)[0], np.int64)
            sim.step(actions)
            total += reward_of("speed", sim.games["reward"], None)
        return FULL_SPEED_MPH * total / decisions

    return play


class Curriculum(BaseCallback):
    """Searches between rollouts, and starts a fraction of the episodes in the scenes found.

    searches: (decisions of training, result) of each search
    """

    def __init__(self, draw: Draw, config: TrainConfig, curriculum: CurriculumConfig) -> None:
        super().__init__()
        self.draw, self.config, self.curriculum = draw, config, curriculum
        self.random = np.random.default_rng([config.seed, curriculum.scenes])
        self.searches: list[tuple[int, WorstScenes]] = []
        self.last = 0

    def starts(self, rows: I64) -> tuple[I64, Games]:
        """Return the rows that start in scenes found, and these scenes: a `deeptraffic.envs.batch.Starts`."""
        states = self.searches[-1][1].states
        some = rows[self.random.random(rows.size) < self.curriculum.fraction]
        chosen = states[self.random.integers(len(states), size=some.size)]
        chosen["rng"] = self.random.integers(1, 2**31 - 1, size=some.size)  # traffic differs each time
        return some, chosen

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        now = self.model.num_timesteps
        if self.searches and not crosses(self.last, now, self.curriculum.every):
            return
        self.last = now
        batch = self.training_env.batch  # type: ignore[attr-defined]
        play = speed_from(self.model, batch.rules, self.config.observation, self.curriculum.decisions)
        self.searches.append((now, worst_scenes(self.draw, play, self.curriculum, self.random)))
        batch.starts = self.starts


def train_on_worst_scenes(
    config: TrainConfig, draw: Draw | None, curriculum: CurriculumConfig
) -> tuple[BaseAlgorithm, list[tuple[int, WorstScenes]]]:
    """Train an agent and return it, with its searches.

    draw: draws scenes; None for the usual starts only, in otherwise the same training
    """
    with torch_threads(config.torch_threads):
        env = make_vec_env(config)
        model = make_model(config, env)
        callback = None if draw is None else Curriculum(draw, config, curriculum)
        model.learn(config.total_timesteps, callback, log_interval=None)  # type: ignore[arg-type]
    return model, [] if callback is None else callback.searches


def _seed_of(noise: F64) -> int:
    return int(np.abs(noise[:, 0]).sum() * 1e6) % (2**31)


# --- the study --------------------------------------------------------------------------------------------------------


class GanCurriculum(Experiment):
    """PPO on lane gaps with half of its episodes started in a GAN's worst scenes, against the same budget without.

    A third condition uses the worst of recorded scenes, to separate the GAN's effect from the curriculum's.
    """

    name, paradigm = "gan-curriculum", "generative adversarial network"
    summary = "Trains PPO on generated scenes in which a search finds the policy weakest; evaluated on normal starts."
    source = "Volz et al. 2018, arXiv:1805.00728; Jiang et al. 2021, arXiv:2010.03934, section 3"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train each condition with every seed; compare official runs, and open runs on reporting seeds."""
        budget = job.scaled(DECISIONS, least=5_000)
        official: dict[str, list[F64]] = {}
        runs: dict[str, list[F64]] = {}
        searches: list[tuple[int, WorstScenes]] = []
        for name, draw in self._conditions(job).items():
            for seed in SEEDS:
                config = build_config("ppo", settings={"total_timesteps": budget, "seed": 1000 * seed})
                scores, speeds, found = train_and_score(config, draw, job)
                official.setdefault(name, []).append(scores)
                runs.setdefault(name, []).append(speeds)
                searches = found if name == DRAWN and seed == SEEDS[0] else searches
        plot = draw_study(job.folder / "curriculum.png", runs, searches)
        note = f"PPO on lane gaps, {budget:,} decisions, {len(SEEDS)} seeds"
        metrics: list[Metric] = []
        for kind, scored in (("official", official), ("open", runs)):
            counted = f"{note}, {scored[ALONE][0].size:,} runs each"
            metrics += [_tenth(scored, kind, counted), _mean(scored, kind, counted)]
        metrics.append(_found(searches))
        return ExperimentResult(metrics, [plot])

    def _conditions(self, job: TrainingJob) -> Mapping[str, Draw | None]:
        weights = job.folder.parent / SceneGan.name / SceneGan.weights
        if not weights.exists():
            raise ValueError(
                f"there is no GAN of scenes at {str(weights)!r}; run `deeptraffic pretrain scene-gan` first"
            )
        recording = record(RecordingConfig(runs=job.scaled(200, least=20)), job.cache)
        rasters = rasterise(recording.rules, recording.states.reshape(-1))
        real = decode_rasters(recording.rules, rasters).states
        drawn = drawn_scenes(load_gan(weights), recording.rules)
        return {ALONE: None, RECORDED: recorded_scenes(real), DRAWN: drawn}


def study_curriculum(
    folder: str | Path = Path("runs") / "pretrain" / GanCurriculum.name,
    scale: float = 1.0,
    console: Console | None = None,
) -> ExperimentResult:
    """Run the study in a folder, or return its result from there; scene-gan's folder must lie beside it."""
    return run_experiment(GanCurriculum(), TrainingJob(Path(folder), scale, console=console))


def train_and_score(
    config: TrainConfig, draw: Draw | None, job: TrainingJob
) -> tuple[F64, F64, list[tuple[int, WorstScenes]]]:
    """Return the speeds of official runs and of open runs on reporting seeds [mph], and the searches."""
    curriculum = CurriculumConfig(every=max(1, config.total_timesteps // 8))
    model, searches = train_on_worst_scenes(config, draw, curriculum)
    policy = make_policy(model, config, "curriculum study")
    official = evaluate_official(policy)
    score = evaluate_open(policy, config.road, runs=job.scaled(2000, least=100), seed_set="reporting")
    return official.run_scores, score.run_scores, searches


def draw_study(path: Path, runs: Mapping[str, Sequence[F64]], searches: Sequence[tuple[int, WorstScenes]]) -> Plot:
    """Draw the distributions of run scores, and the speeds in the searches."""
    figure = empty_figure((9.0, 3.6))
    left, right = figure.subplots(1, 2)
    style_axes(left, "Runs from normal starts")
    percent = np.linspace(1, 99, 99)
    for (name, scores), colour, line in zip(runs.items(), (GREY, SKY, BLUE), (":", "--", "-"), strict=True):
        curve = np.mean([np.percentile(speeds, percent) for speeds in scores], axis=0)
        left.plot(percent, curve, line, color=colour, label=name)
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
        path.name, "The same budget with and without the curriculum, and the policy's speed in the scenes found."
    )


def _tenth(runs: Mapping[str, Sequence[F64]], kind: str, note: str) -> Metric:
    values = {name: [np.percentile(scores, 10) for scores in group] for name, group in runs.items()}
    return _metric(f"tenth percentile of {kind} run scores", values, note)


def _mean(runs: Mapping[str, Sequence[F64]], kind: str, note: str) -> Metric:
    values = {name: [scores.mean() for scores in group] for name, group in runs.items()}
    return _metric(f"mean of {kind} run scores", values, note)


def _metric(name: str, values: Mapping[str, Sequence[float]], note: str) -> Metric:
    """Return the metric of drawn scenes beside the others, averaged over seeds, which the note lists."""
    means = {condition: float(np.mean(of_seeds)) for condition, of_seeds in values.items()}
    seeds = "; ".join(
        f"{condition} " + ", ".join(f"{v:.2f}" for v in of_seeds) for condition, of_seeds in values.items()
    )
    return Metric(name, means.pop(DRAWN), means, "mph", note=f"{note}: {seeds}")


def _found(searches: Sequence[tuple[int, WorstScenes]]) -> Metric:
    last = searches[-1][1]
    first = {"scenes without a search": float(last.first_speeds.mean())}
    note = "mean speed over 10 decisions, last search of training"
    return Metric("mean speed in the worst scenes found", float(last.speeds.mean()), first, "mph", False, note=note)
