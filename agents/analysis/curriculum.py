"""A curriculum of scenes that a GAN draws: training games also start where the agent drives worst at the moment.

    >>> gan = load_gan("runs/pretrain/scene-gan/scene-gan.safetensors")
    >>> model, searches = train_on_worst_scenes(build_config("ppo"), drawn_scenes(gan, RULES_2018), CurriculumConfig())

Now and then the search draws scenes, lets the agent drive on from each, and moves toward noise from which it drives
worse (an evolution strategy in the noise of the GAN, as in Volz et al. 2018, arXiv:1805.00728). A share of the games
that start anew then start in the worst scenes found. Source of the idea, on replayed levels: Jiang, Grefenstette and
Rocktaeschel 2021, "Prioritized level replay", arXiv:2010.03934, section 3. Evaluation is on the road's own starts.

Letters in shapes: B scenes, Z numbers of noise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from agents.config import TrainConfig
from agents.sb3 import make_games, make_model
from agents.training import crosses, torch_threads
from deeptraffic.envs.observations import Observation, Observer
from deeptraffic.envs.settings import reward_of
from deeptraffic.settings import Checked, integer, real
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Rules
from deeptraffic.sim.state import F64, I64, Games
from representation.data.rasters import decode_rasters
from representation.data.recording import FULL_SPEED_MPH
from representation.paradigms.gan import NOISE, SceneGAN

Draw = Callable[[F64], Games]  # noise (B, Z) -> games before frame 0, (B,)
Drive = Callable[[Games], F64]  # games -> how fast the agent drives from there [mph], (B,)


@dataclass(frozen=True)
class CurriculumConfig(Checked):
    """How training starts are searched for.

    share: of the games that start anew, which start in scenes found
    every: [decisions] of training between two searches
    scenes: drawn in each round; rounds: of a search
    kept: scenes that a search finds
    jump: how far a round moves from the worst scenes' noise, 0 not at all, 1 to new noise
    decisions: for which the agent drives on from a scene
    """

    share: float = real(0.5, 0.0, 1.0)
    every: int = integer(20_000, 1, 10**12)
    scenes: int = integer(512, 2, 100_000)
    rounds: int = integer(3, 1, 100)
    kept: int = integer(128, 1, 100_000)
    jump: float = real(0.5, 0.0, 1.0)
    decisions: int = integer(10, 1, 1_000)

    def check(self) -> None:
        """Raise ValueError if a search cannot find as many scenes as it shall keep."""
        if self.kept > self.scenes * self.rounds:
            raise ValueError(f"kept={self.kept} is more than scenes={self.scenes} x rounds={self.rounds}; lower kept")


@dataclass(frozen=True)
class Found:
    """What a search found, the worst first.

    games: (kept,) before frame 0; speeds: (kept,) the agent's [mph]; first_speeds: of the first round's scenes
    """

    games: Games
    speeds: F64
    first_speeds: F64


def drawn_scenes(gan: SceneGAN, rules: Rules) -> Draw:
    """Return the drawing of games by a GAN of scenes."""
    return lambda noise: decode_rasters(rules, gan.draw(noise), seed=_seed_of(noise)).states


def recorded_scenes(states: NDArray[Any]) -> Draw:
    """Return the drawing of games among recorded ones, (n,): the baseline without a GAN; noise only says which."""
    return lambda noise: states[np.random.default_rng(_seed_of(noise)).integers(len(states), size=len(noise))]


def worst_scenes(draw: Draw, drive: Drive, config: CurriculumConfig, random: np.random.Generator) -> Found:
    """Search for scenes in which the agent drives slowly.

    Each round draws `scenes`: the first from new noise z, the next from sqrt(1 - jump**2) z + jump e around the noise z
    of the worst quarter so far, with new noise e, so that it stays normal.
    """
    noise = random.normal(size=(config.scenes, NOISE))
    games, speeds, places = [], [], []
    for _ in range(config.rounds):
        games.append(draw(noise))
        speeds.append(drive(games[-1]))
        places.append(noise)
        worst = np.argsort(np.concatenate(speeds), kind="stable")[: max(1, config.scenes // 4)]
        parents = np.concatenate(places)[random.choice(worst, config.scenes)]
        noise = np.sqrt(1.0 - config.jump**2) * parents + config.jump * random.normal(size=parents.shape)
    all_speeds = np.concatenate(speeds)
    kept = np.argsort(all_speeds, kind="stable")[: config.kept]
    return Found(np.concatenate(games)[kept], all_speeds[kept], speeds[0])


def speed_from(model: BaseAlgorithm, rules: Rules, observation: Observation, decisions: int) -> Drive:
    """Return how a model is driven from games: its mean speed over the next decisions, most likely actions [mph]."""

    def drive(games: Games) -> F64:
        sim = Simulator(rules, len(games))
        sim.set_state(games.view(np.recarray))
        observer, total = Observer(rules, observation, len(games)), np.zeros(len(games))
        sim.step(sim.idle)
        actions: I64 | None = None
        for _ in range(decisions):
            obs = observer.observe(sim, actions=actions)
            actions = np.asarray(model.predict(obs, deterministic=True)[0], np.int64)
            sim.step(actions)
            total += reward_of("speed", sim.games["reward"], None)
        return FULL_SPEED_MPH * total / decisions

    return drive


class Curriculum(BaseCallback):
    """Searches between two rollouts, and has a share of games start in what was found.

    searches: (decisions of training, what was found) of each search
    """

    def __init__(self, draw: Draw, config: TrainConfig, curriculum: CurriculumConfig) -> None:
        super().__init__()
        self.draw, self.config, self.curriculum = draw, config, curriculum
        self.random = np.random.default_rng([config.seed, curriculum.scenes])
        self.searches: list[tuple[int, Found]] = []
        self.last = 0

    def starts(self, rows: I64) -> tuple[I64, Games]:
        """Return which games begin in scenes found, and those: a `deeptraffic.envs.batch.Starts`."""
        games = self.searches[-1][1].games
        some = rows[self.random.random(rows.size) < self.curriculum.share]
        chosen = games[self.random.integers(len(games), size=some.size)]
        chosen["rng"] = self.random.integers(1, 2**31 - 1, size=some.size)  # another future each time
        return some, chosen

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        now = self.model.num_timesteps
        if self.searches and not crosses(self.last, now, self.curriculum.every):
            return
        self.last = now
        batch = self.training_env.batch  # type: ignore[attr-defined]
        drive = speed_from(self.model, batch.rules, self.config.observation, self.curriculum.decisions)
        self.searches.append((now, worst_scenes(self.draw, drive, self.curriculum, self.random)))
        batch.starts = self.starts


def train_on_worst_scenes(
    config: TrainConfig, draw: Draw | None, curriculum: CurriculumConfig
) -> tuple[BaseAlgorithm, list[tuple[int, Found]]]:
    """Train an agent and return it, with the searches that were made.

    draw: where scenes come from; None for the road's own starts alone, the same training otherwise
    """
    with torch_threads(config.torch_threads):
        env = make_games(config)
        model = make_model(config, env)
        callback = None if draw is None else Curriculum(draw, config, curriculum)
        model.learn(config.total_timesteps, callback, log_interval=None)  # type: ignore[arg-type]
    return model, [] if callback is None else callback.searches


def _seed_of(noise: F64) -> int:
    return int(np.abs(noise[:, 0]).sum() * 1e6) % (2**31)
