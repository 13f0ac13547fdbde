"""Value of planning in a learned model and in the true simulator: the same shallow search in each.

For every action the search simulates `depth` decisions: the action first, then those of the policy head. The return
is the sum of the rewards and of the critics' value of the last state. The search takes the action with the greatest

    return / temperature + log p(a | z)

so that the policy head decides between actions of equal returns. The learned model is deterministic and needs one
rollout per action. In the true simulator every action is tried in `rollouts` clones of the game with new random streams
(a clone may not see the future), the same for every action. There the model encodes the clones' true observations and
the true rewards count, so that only the dynamics differ.

    >>> gap = measure_gap(*load_world_model("runs/world"), runs=500)
    >>> for group in gap.groups: print(group.name, group.mean)

Letters in shapes: B envs, A actions, R rollouts, C = B * A * R clones, D latent dimensions.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.algorithms.world_model.agent import WorldModelAgent
from agents.algorithms.world_model.config import WorldModelConfig
from agents.algorithms.world_model.losses import softmax_policy
from agents.algorithms.world_model.networks import WorldModel
from agents.analysis.comparison_figures import save_intervals
from agents.config import TrainConfig
from agents.run import RunFolder
from agents.sb3 import SB3Learner
from agents.trainer import make_learner, restore_checkpoint
from deeptraffic.envs.observations import Observation, Observer
from deeptraffic.evaluation.comparison import Estimate, GroupStatistics, PairStatistics, compare
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.policies.base import Access, Policy
from deeptraffic.run_dir import write_json
from deeptraffic.settings import Checked, integer
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.random import MODULUS
from deeptraffic.sim.state import I64

ALONE, LEARNED, TRUE = "no planning", "in learned model", "in true simulator"
LEAST_PROBABILITY = 1e-9  # probabilities are clipped to it before their logarithm


@dataclass(frozen=True)
class Search(Checked):
    """Configuration of the search.

    depth: decisions ahead
    rollouts: R, clones of each action in the true simulator
    seed: of the clones' traffic
    """

    depth: int = integer(3, 1, 100)
    rollouts: int = integer(16, 1, 10_000)
    seed: int = integer(0, 0, 2**31 - 1)


@dataclass(frozen=True)
class PlanningGap:
    """Means with intervals, and paired differences on the same runs [mph]."""

    groups: list[GroupStatistics]
    pairs: list[PairStatistics]

    def sentences(self) -> list[str]:
        """Return a line for each policy, and one for each pair."""
        lines = [_sentence(group.name, group.mean, "") for group in self.groups]
        return lines + [_sentence(f"{pair.first} - {pair.second}", pair.difference, "+") for pair in self.pairs]


def _sentence(name: str, mph: Estimate, sign: str) -> str:
    low, high = mph.interval
    return f"{name}: {mph.value:{sign}.2f} mph ({low:{sign}.2f} to {high:{sign}.2f})"


def load_world_model(folder: str | Path) -> tuple[WorldModelAgent, TrainConfig]:
    """Return the model of a run's latest checkpoint; ValueError if the run trains something else, or has none yet."""
    run = RunFolder(folder)
    config, checkpoint = run.config(), run.newest_checkpoint()
    if not isinstance(config.agent, WorldModelConfig):
        raise ValueError(f"the run in {str(folder)!r} trains {config.algo}; name the run of a world_model")
    if checkpoint is None:
        raise ValueError(f"the run in {str(folder)!r} has no checkpoint yet; train until its first one")
    learner = make_learner(config, is_new=False)
    restore_checkpoint(checkpoint, learner)
    assert isinstance(learner, SB3Learner) and isinstance(learner.model, WorldModelAgent)
    return learner.model, config


def measure_gap(
    agent: WorldModelAgent, config: TrainConfig, search: Search | None = None, runs: int = 500, seed_set: str = "tuning"
) -> PlanningGap:
    """Score the policy head alone, planning in the learned model and planning in the true simulator on the same runs.

    Raises ValueError for roads with other agents, whose decisions a clone cannot reproduce, or for a temporal window.
    """
    if config.road.other_agents or config.observation.temporal_window or config.observation.latency:
        raise ValueError("roads with other agents, and observations with a temporal window, cannot be cloned")
    search = search or Search()
    agent.policy.set_training_mode(False)
    policies = {
        ALONE: SearchPolicy(agent.policy, config),
        LEARNED: SearchPolicy(agent.policy, config, LearnedWorld(agent.policy, agent.config, search)),
        TRUE: SearchPolicy(agent.policy, config, TrueWorld(agent.policy, agent.config, search, config.observation)),
    }
    scores = {
        name: evaluate_open(policy, config.road, runs=runs, seed_set=seed_set) for name, policy in policies.items()
    }
    return PlanningGap(*compare({name: score.run_scores[None] for name, score in scores.items()}))


def write_gap(
    agent: WorldModelAgent, config: TrainConfig, search: Search, runs: int, seed_set: str, folder: Path
) -> tuple[dict[str, Any], list[str], list[Path]]:
    """Measure the gap and write planning.json and planning.png; return the JSON values, sentences and files."""
    gap = measure_gap(agent, config, search, runs, seed_set)
    content = {"search": asdict(search), "seed_set": seed_set, "runs": runs, **asdict(gap)}
    write_json(folder / "planning.json", content)
    return content, gap.sentences(), [folder / "planning.json", save_intervals(gap.groups, folder / "planning.png")]


# --- search ---------------------------------------------------------------------------------------------------------


@dataclass
class LearnedWorld:
    """Rollouts in the learned dynamics."""

    model: WorldModel
    config: WorldModelConfig
    search: Search

    def attach(self, sim: Simulator) -> None:
        """The simulator is not used."""

    def returns(self, latents: Tensor) -> Tensor:
        """Return the predicted return of each action, (B, A)."""
        actions = self.model.num_actions
        states = latents.repeat_interleave(actions, 0)  # (B * A, D)
        chosen = torch.arange(actions, device=latents.device).repeat(len(latents))
        total = torch.zeros(len(states), device=latents.device)
        for step in range(self.search.depth):
            reward = self.model.reward_head(states).gather(1, chosen[:, None])[:, 0]
            total += self.config.gamma**step * reward
            states = self.model.imagine(states, chosen)
            chosen = self.model.policy_head(states).argmax(1)
        total += self.config.gamma**self.search.depth * state_values(self.model, states, self.config.temperature)
        return total.view(len(latents), actions)


class TrueWorld:
    """Rollouts in clones of the true simulator."""

    def __init__(self, model: WorldModel, config: WorldModelConfig, search: Search, observation: Observation) -> None:
        self.model, self.config, self.search, self.observation = model, config, search, observation
        self.random = np.random.default_rng(search.seed)
        self.sim: Simulator | None = None

    def attach(self, sim: Simulator) -> None:
        """Attach the simulator whose envs are cloned."""
        self.sim = sim
        self.clones = Simulator(sim.rules, sim.num_envs * self.model.num_actions * self.search.rollouts, sim.threads)
        self.observer = Observer(sim.rules, self.observation, self.clones.num_envs)

    def returns(self, latents: Tensor) -> Tensor:
        """Return the mean return of each action's clones, (B, A)."""
        assert self.sim is not None, "attach a simulator first"
        shape = (len(latents), self.model.num_actions, self.search.rollouts)
        streams = self.random.integers(1, MODULUS - 1, size=(shape[0], 1, shape[2]))  # common to all actions
        self.clones.games[:] = self.sim.games[np.arange(shape[0]).repeat(shape[1] * shape[2])]
        self.clones.games["rng"] = np.broadcast_to(streams, shape).ravel()
        actions = np.broadcast_to(np.arange(shape[1])[:, None], shape).ravel()
        total = torch.zeros(len(actions))
        for step in range(self.search.depth):
            self.clones.step(actions)
            total += self.config.gamma**step * torch.from_numpy(self.clones.games["reward"]).float()
            states = self.model.encode(self.model.obs_to_tensor(self.observer.observe(self.clones))[0])
            actions = self.model.policy_head(states).argmax(1).cpu().numpy()
        values = state_values(self.model, states, self.config.temperature).cpu()
        total += self.config.gamma**self.search.depth * values
        return total.view(shape).mean(2).to(latents.device)


def state_values(model: WorldModel, latents: Tensor, temperature: float) -> Tensor:
    """Return the critics' values of states (B, D) under the policy of their preferences, (B,)."""
    values = model.target_values(latents)
    return (softmax_policy(values, temperature) * values).sum(1)


class SearchPolicy(Policy):
    """The policy head, improved by a search if there is one."""

    def __init__(self, model: WorldModel, config: TrainConfig, world: LearnedWorld | TrueWorld | None = None) -> None:
        assert isinstance(config.agent, WorldModelConfig)
        self.model, self.world, self.observation = model, world, config.observation
        self.temperature = config.agent.temperature
        self.label = "world model" if world is None else f"world model in a {type(world).__name__}"

    def attach(self, sim: Simulator) -> None:
        """Use a simulator."""
        if self.world is not None:
            self.world.attach(sim)

    @property
    def access(self) -> Access:
        """Access to the simulator: privileged if the search runs in it."""
        return "privileged" if isinstance(self.world, TrueWorld) else super().access

    @torch.no_grad()
    def act(self, obs: Any, agent_indices: I64) -> I64:
        """Return the actions (B,) for observations (B, ...) of all environments."""
        latents = self.model.encode(self.model.obs_to_tensor(obs)[0])
        scores = torch.softmax(self.model.policy_head(latents), 1).clamp(min=LEAST_PROBABILITY).log()  # (B, A)
        if self.world is not None:
            scores = scores + self.world.returns(latents) / self.temperature
        return scores.argmax(1).cpu().numpy()
