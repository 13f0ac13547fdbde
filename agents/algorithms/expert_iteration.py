"""Expert iteration: learn from paired rollouts in the true simulator which action is better, act by it, and repeat.

The simulator is used only while training: the resulting network sees the sensor's cells alone and is as legal in a
contest as any other. It acts in many parallel envs; in a fraction of the states where a lane change is possible, every
candidate action is tried out on copies of the simulator (`agents.paired_rollouts`), in which the network chooses all
later actions. The network is regressed on the differences (by how much a candidate exceeds the mean of the candidates):
one rollout is noisy, but a regression over many thousand averages the randomness of the traffic out. State values are
learned from the envs' rewards.

With other agents, all of them are the network's copies, and each one's candidates are valued by the team's return. A
lane change may then matter though the deciding car cannot make it: by the rules of 2018, the vehicles that come after
it in a frame's order execute it too.

Sources: Anthony, Tian and Barber 2017, "Thinking Fast and Slow with Deep Learning and Tree Search", arXiv:1705.08439
(a search improves a network that guides the search); Lagoudakis and Parr 2003, "Reinforcement Learning as
Classification" (rollouts improve a policy, a learner generalises them).

    >>> config = build_config("expert_iteration", settings=["total_timesteps=1000000"])
    >>> model = make_model(config, make_vec_env(config))         # learn(), predict(), save() and load(), as SB3's
    >>> model.learn(config.total_timesteps)

Letters in shapes: T decisions of each env in a round, B envs, N labelled states, D cells, K candidate actions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agents.algorithms.pqn.torch_learner import lambda_returns
from agents.compiled.network import F32
from agents.config import NetworkConfig
from agents.exploration import explore
from agents.export import TrainedPolicy, Weights
from agents.lane_gradients import GradientSteps, Loss
from agents.lane_network import CANDIDATES, LanePolicy, load_lane_network
from agents.paired_rollouts import PairedRollouts, RolloutSettings, candidate_masks, draw_streams
from agents.registry import LEADS, Entry
from agents.rounds import RoundLearner
from agents.sb3 import SB3Algorithm
from agents.sb3_state import as_tensors
from agents.team_env import TeamVecEnv
from agents.warm_start import InitPolicy, policy_weights
from deeptraffic.policies.network_policy import NetworkPolicy
from deeptraffic.settings import Settings, choice, integer, integers, real
from deeptraffic.sim.rules import Sensor
from deeptraffic.sim.state import I64

if TYPE_CHECKING:
    from agents.config import TrainConfig

TO_72_MPH: Settings = {
    "num_envs": 1024,
    "torch_threads": 2,
    "total_timesteps": 960_000,
    "evaluate_every": 140_000,
    "checkpoint_every": 480_000,
}


@dataclass(frozen=True)
class ExpertConfig(NetworkConfig):
    """Hyperparameters of expert iteration.

    gamma, max_grad_norm, hidden, activation, lane_units: as in `NetworkConfig`, with this algorithm's own defaults
    n_steps: decisions of each env in a round
    label_fraction: fraction of the states with a choice in which the candidate actions are tried out
    rollouts: of each candidate in such a state
    depth: decisions of a rollout
    rollout_lambda: weight of longer returns in a rollout, see `agents.paired_rollouts`
    value_lambda: weight of longer returns in the targets of state values
    exploration_eps: probability of a random candidate, for each env
    buffer_rounds: rounds whose labelled states are learned from
    batch_size: labelled states of one gradient step
    value_fraction: states of the round whose values a gradient step learns from, as a fraction of the labelled ones
    n_epochs: passes over the labelled states, after each round
    advantage_coef, value_coef: weights of the losses; value_coef=0: rollouts count their own rewards alone
    advantage_scale: [reward] error of an advantage up to which its loss is quadratic, beyond it linear (Huber)
    average_rate: rate of the moving average of the network that chooses the actions, per gradient step
    """

    gamma: float = real(0.95, 0.0, 1.0)
    max_grad_norm: float = real(1.0, 1e-6, 1e6)
    hidden: tuple[int, ...] = integers((256, 128), 1, 4096, 0, 8)
    activation: str = choice("relu", "tanh", "relu")
    lane_units: int = integer(64, 1, 1024)
    n_steps: int = integer(67, 1, 4096)
    label_fraction: float = real(1.0, 1e-6, 1.0)
    rollouts: int = integer(1, 1, 4096)
    depth: int = integer(6, 1, 200)
    rollout_lambda: float = real(0.8, 0.0, 1.0)
    value_lambda: float = real(0.8, 0.0, 1.0)
    exploration_eps: float = real(0.05, 0.0, 1.0)
    buffer_rounds: int = integer(8, 1, 1000)
    batch_size: int = integer(512, 1, 1_000_000)
    value_fraction: float = real(1.0, 0.01, 10.0)
    n_epochs: int = integer(1, 1, 100)
    advantage_coef: float = real(4.0, 0.0, 1000.0)
    value_coef: float = real(0.075, 0.0, 1000.0)
    advantage_scale: float = real(1.0, 1e-6, 1000.0)
    average_rate: float = real(0.002, 1e-6, 1.0)

    def check(self) -> None:
        """Raise ValueError if rollouts would use values that are not learned."""
        if not self.value_coef and self.rollout_lambda < 1.0:
            raise ValueError(
                f"rollout_lambda={self.rollout_lambda} weighs values that are not learned with value_coef=0; "
                "set rollout_lambda=1 or a greater value_coef"
            )

    def check_run(self, run: "TrainConfig") -> None:
        """Raise ValueError if the observation, the reward, the device or a team does not fit."""
        self.check_lanes(run)
        if run.device == "cuda":
            raise ValueError("device='cuda': expert_iteration trains in compiled code on the CPU; set device=cpu")
        if run.envs.reward != "mit":
            raise ValueError(f"reward={run.envs.reward!r}: expert_iteration learns from 'mit'; leave reward out")
        if run.road.other_agents and self.value_coef:
            raise ValueError(
                f"value_coef={self.value_coef} with other_agents={run.road.other_agents}: a team learns from "
                "rollouts alone; set value_coef=0 and rollout_lambda=1"
            )


@dataclass
class LabelledStates:
    """Labelled states of the last rounds, the oldest first.

    cells: (N, D) float16 of each round; free road and no road are exact, speeds to 0.05%
    returns: (N, K) float32 of each candidate
    """

    cells: list[Tensor] = field(default_factory=list)
    returns: list[Tensor] = field(default_factory=list)

    def add(self, cells: Tensor, returns: Tensor, keep: int) -> None:
        """Add a round, and drop all but the newest `keep`."""
        self.cells, self.returns = [*self.cells, cells.half()][-keep:], [*self.returns, returns.float()][-keep:]

    def state(self) -> dict[str, Any]:
        """Return the states and their labels, for a checkpoint."""
        return {"cells": self.cells, "returns": self.returns}

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.cells, self.returns = as_tensors(saved["cells"]), as_tensors(saved["returns"])


@dataclass
class ExpertRollout:
    """A rollout of all envs, one entry per decision.

    labelled: (N, D) float16 of states in which candidates were tried out; returns: (N, K) of the candidates
    cells: (B, D) float32 that were decided on; values: (B,) float32 of these states, and once more of the last ones
    rewards: (B,) float32; dones: (B,) whether the episode ended
    ended: (B,) float32 values of the states in which episodes ended, 0 elsewhere
    """

    labelled: list[Tensor] = field(default_factory=list)
    returns: list[Tensor] = field(default_factory=list)
    cells: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    rewards: list[Tensor] = field(default_factory=list)
    dones: list[Tensor] = field(default_factory=list)
    ended: list[Tensor] = field(default_factory=list)


class ExpertIteration(RoundLearner):
    """Expert iteration by paired rollouts, with Stable-Baselines3's interface.

    Args:
        policy, env, common (policy_kwargs, seed, device, verbose, tensorboard_log): as for `RoundLearner`; env is a
            `DeepTrafficVecEnv` of the sensor's cells, policy_kwargs are those of `LanePolicy`
        sensor: of the cells
        config: see `ExpertConfig`
        learning_rate: a constant, or a function of the fraction of training that remains
    """

    policy: LanePolicy

    # parameters: the keywords of SB3's algorithms
    def __init__(
        self,
        policy: str | type[LanePolicy],
        env: VecEnv | None,
        sensor: Sensor | None = None,
        config: ExpertConfig | None = None,
        learning_rate: float | Callable[[float], float] = 1e-3,
        **common: Any,
    ) -> None:
        super().__init__(policy, env, learning_rate, **common)
        self.config, self.sensor = config or ExpertConfig(), sensor or Sensor()
        self.labelled = LabelledStates()
        self.rollouts: PairedRollouts | None = None

    # --- one round ------------------------------------------------------------------------------------------------

    def _make_rollouts(self) -> PairedRollouts:
        config = self.config
        settings = (config.depth, config.gamma, config.rollout_lambda, config.value_coef > 0.0)
        return PairedRollouts(self.policy.average, RolloutSettings(Sensor(*self.sensor), *settings))

    def _batch(self) -> Any:
        """The envs as a `EnvBatch`, whose simulator the rollouts copy."""
        assert self.env is not None
        return self.env.get_attr("batch", [0])[0]

    def _collect(self, callback: BaseCallback) -> ExpertRollout | None:
        """Make n_steps decisions of every agent, and try candidates out; None if the callback ends the training."""
        assert self.env is not None
        rollout, rollouts = ExpertRollout(), self.rollouts or self._make_rollouts()
        self.rollouts = rollouts
        self.policy.set_training_mode(False)
        callback.on_rollout_start()
        for _ in range(self.config.n_steps):
            obs: Any = self._last_obs
            for agent in range(self.num_agents - 1):
                obs = self._team().take_turn(self._decide(obs, agent, rollouts, rollout))
            actions = self._decide(obs, self.num_agents - 1, rollouts, rollout)
            self._last_obs, rewards, dones, infos = self.env.step(actions)  # type: ignore[assignment]
            self._last_episode_starts = dones
            self.num_timesteps += self.env.num_envs * self.num_agents
            if self.config.value_coef:
                self._add(rollout, obs, rewards, dones, infos)
            self._update_info_buffer([infos[env_index] for env_index in np.flatnonzero(dones)])
            callback.update_locals(locals())
            if not callback.on_step():
                return None
        if self.config.value_coef:
            rollout.values.append(self._values(np.array(self._last_obs)))
        self.labelled.add(torch.cat(rollout.labelled), torch.cat(rollout.returns), self.config.buffer_rounds)
        callback.on_rollout_end()
        return rollout

    @property
    def num_agents(self) -> int:
        """Number of agents of an env that the network controls and learns from."""
        return self.env.num_agents if isinstance(self.env, TeamVecEnv) else 1

    def _team(self) -> TeamVecEnv:
        assert isinstance(self.env, TeamVecEnv), "several agents take turns"
        return self.env

    def _decide(self, obs: Any, agent: int, rollouts: PairedRollouts, rollout: ExpertRollout) -> I64:
        """Try candidates out for the agent whose turn it is; return its epsilon-greedy actions (B,)."""
        labelled, returns = self._label_states(agent, rollouts)
        rollout.labelled.append(torch.from_numpy(obs[labelled]).half())
        rollout.returns.append(torch.from_numpy(returns))
        advantages, values = self.policy.average.evaluate(obs)
        rollout.values.append(torch.from_numpy(values))
        return CANDIDATES[explore(advantages.argmax(1), self.config.exploration_eps, len(CANDIDATES))]

    def _label_states(self, agent: int, rollouts: PairedRollouts) -> tuple[I64, F32]:
        """Try the candidates out in a fraction of the envs with a choice; return (env indices (N,), returns (N, K)).

        The return of a lane change that the safety system would refuse the ego car is that of accelerating.
        """
        sim = self._batch().sim
        possible = candidate_masks(sim, sim.env_indices, CANDIDATES, agent)
        wanted = np.random.random(len(possible)) < self.config.label_fraction
        labelled = np.flatnonzero(wanted & (possible.sum(1) > 1))
        random = np.random.default_rng(np.random.randint(2**31))  # from the stream that checkpoints keep
        streams = draw_streams(random, labelled.size, self.config.rollouts)
        found = rollouts.returns(sim, labelled, possible[labelled], CANDIDATES[:, None], streams, agent).mean(2)
        return labelled, np.where(np.isnan(found), found[:, :1], found).astype(np.float32)

    def _values(self, cells: F32) -> Tensor:
        """Return the averaged network's values (B,) of cells (B, D)."""
        return torch.from_numpy(self.policy.average.evaluate(cells)[1])

    def _add(self, rollout: ExpertRollout, obs: Any, rewards: Any, dones: Any, infos: list[dict[str, Any]]) -> None:
        """Add one decision of all envs; a truncated episode does not terminate: its last state's value counts."""
        ended = torch.zeros(len(obs))
        if dones.any():
            last = np.stack([infos[env_index]["terminal_observation"] for env_index in np.flatnonzero(dones)])
            ended[torch.from_numpy(dones)] = self._values(last)
        rollout.cells.append(torch.from_numpy(obs))
        rollout.rewards.append(torch.from_numpy(rewards))
        rollout.dones.append(torch.from_numpy(dones))
        rollout.ended.append(ended)

    def _value_targets(self, rollout: ExpertRollout) -> Tensor:
        """Return the lambda returns (T, B) of a rollout."""
        config, dones = self.config, torch.stack(rollout.dones)
        rewards = torch.stack(rollout.rewards)
        following = torch.where(dones, torch.stack(rollout.ended), torch.stack(rollout.values[1:]))
        if self._n_updates == 0:
            following += self._centre_values(float(rewards.mean()), float(following.mean()))
        return lambda_returns(rewards, following, dones, config.gamma, config.value_lambda)

    def _centre_values(self, mean_reward: float, mean_value: float) -> float:
        """Shift all values so that their mean is the discounted sum of the mean reward; return the shift.

        A new network has no values; one that was initialised from a policy is near already, and hardly moved.
        """
        shift = mean_reward / max(1.0 - self.config.gamma, 1e-3) - mean_value
        for network in (self.policy.network, self.policy.average):
            network.shift_values(shift)
        return shift

    # --- learning -------------------------------------------------------------------------------------------------

    def _train(self, rollout: ExpertRollout) -> None:
        """Take the gradient steps of a round: on all labelled states, and on the values of others."""
        cells, returns = torch.cat(self.labelled.cells), torch.cat(self.labelled.returns)
        visited = torch.cat(rollout.cells) if rollout.cells else None
        targets = self._value_targets(rollout).flatten().float() if rollout.cells else None
        config, learning_rate = self.config, self.lr_schedule(self._current_progress_remaining)
        loss = Loss(config.advantage_coef, config.value_coef, config.advantage_scale)
        steps = GradientSteps(self.policy, loss, learning_rate, config.max_grad_norm, config.average_rate)
        for _ in range(self.config.n_epochs):
            order = torch.from_numpy(np.random.permutation(len(cells)))
            for batch in order.split(self.config.batch_size):
                states = None
                if visited is not None and targets is not None:
                    count = max(1, round(config.value_fraction * len(batch)))
                    others = torch.from_numpy(np.random.randint(len(visited), size=count))
                    states = visited[others].numpy(), targets[others].numpy()
                losses = steps.step(cells[batch].float().numpy(), returns[batch].numpy(), states)
        self._n_updates += self.config.n_epochs
        self.logger.record("train/advantage_loss", losses[0])
        self.logger.record("train/value_loss", losses[1])

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "labelled", "rollouts"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy"], []


# --- making and reading -------------------------------------------------------------------------------------------


def make(agent: ExpertConfig, env: Any, common: dict[str, Any]) -> ExpertIteration:
    """Return a new model."""
    sensor = env.batch.observation.sensor
    named = {name: common[name] for name in ("learning_rate", "seed")}
    network = {
        "net_arch": list(agent.hidden),
        "sensor": sensor,
        "lane_units": agent.lane_units,
        "activation": agent.activation,
    }
    return ExpertIteration(LanePolicy, env=env, sensor=sensor, config=agent, policy_kwargs=network, **named)


def weights(model: ExpertIteration) -> Weights:
    """Return the layers of the averaged network, with its value head for a planner."""
    return model.policy.average.weights()


def initialise(model: ExpertIteration, policy: InitPolicy) -> None:
    """Initialise a new model from a policy with a layer shared by all lanes; ValueError if it has none.

    A run's network brings its values of states along; those of a policy file start as a constant.
    """
    if not isinstance(policy, NetworkPolicy):
        raise ValueError(f"init: {policy.label!r} is no network over the sensor's cells; name one that is")
    values = policy.value_head if isinstance(policy, TrainedPolicy) else {}
    model.policy.initialise_from(load_lane_network(policy_weights(policy) | values, policy.observation))


ENTRY = Entry("expert_iteration", "model-based", "learning from rollouts in the simulator", LEADS, can_warm_start=True)
ALGORITHM = SB3Algorithm(
    config=ExpertConfig,
    make=make,
    weights=weights,
    initialise=initialise,
    plays_team=lambda road: road.other_agents > 0,
    state=lambda model: model.labelled.state(),
    restore=lambda model, saved: model.labelled.restore(saved),
    defaults={
        "kind": "vector",
        "dtype": "float32",
        "num_envs": 512,
        "total_timesteps": 1_000_000,
        "evaluate_every": 100_000,
        "checkpoint_every": 500_000,
    },
    presets={"fast": TO_72_MPH},
)
