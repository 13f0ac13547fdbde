"""Expert iteration: learn from paired rollouts in the true simulator which action pays, drive by it, and do it again.

The simulator teaches, but only while training: the network that comes of it sees the sensor's cells alone and is as
legal in a contest as any other. It plays many games; in a share of the states where a lane change is possible, every
candidate action is tried out on copies of the game (`agents.paired_rollouts`), with the network driving on. The network
learns the differences (how much better than the mean of the candidates), for one rollout says little, but a regression
over many thousand averages the luck of the traffic away. States' values it learns from the games' own rewards.

With other agents, all of them are the network's copies, and the decisions of each are tried out for what they are worth
to the team. A lane change may then be worth something though the deciding car cannot make it: by the rules of 2018,
whoever comes after it executes it too.

Sources: Anthony, Tian and Barber 2017, "Thinking Fast and Slow with Deep Learning and Tree Search", arXiv:1705.08439
(a search teaches a network that guides the search); Lagoudakis and Parr 2003, "Reinforcement Learning as
Classification" (rollouts improve a policy, a learner generalises them).

    >>> config = build_config("expert_iteration", settings=["total_timesteps=1000000"])
    >>> model = make_model(config, make_games(config))           # learn(), predict(), save() and load(), as SB3's
    >>> model.learn(config.total_timesteps)

Letters in shapes: T decisions of each game in a round, B games, N labelled states, D cells, K candidate actions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from agents.expert_config import ExpertConfig
from agents.exploration import explore
from agents.lane_network import CANDIDATES, MIRRORED, LanePolicy, mirror_cells
from agents.paired_rollouts import PairedRollouts, draw_streams, worth_trying
from agents.pqn import lambda_returns
from agents.rounds import RoundLearner
from agents.team_games import TeamVecEnv
from deeptraffic.sim.rules import Sensor
from deeptraffic.sim.state import I64

Pair = tuple[Tensor, Tensor]


@dataclass
class Lessons:
    """What rounds of rollouts taught, the oldest first.

    cells: (N, D) float16 of each round's labelled states; free road and no road are exact, speeds to 0.05%
    returns: (N, K) float32 what each candidate is worth there
    """

    cells: list[Tensor] = field(default_factory=list)
    returns: list[Tensor] = field(default_factory=list)

    def add(self, cells: Tensor, returns: Tensor, keep: int) -> None:
        """Note a round, and forget all but the newest `keep`."""
        self.cells, self.returns = [*self.cells, cells.half()][-keep:], [*self.returns, returns.float()][-keep:]

    def state(self) -> dict[str, Any]:
        """Return everything, for a checkpoint."""
        return {"cells": self.cells, "returns": self.returns}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.cells, self.returns = list(saved["cells"]), list(saved["returns"])


@dataclass
class Round:
    """What all games did in a round, one entry per decision.

    lessons: (N, D) float16 of states in which candidates were tried out; returns: (N, K) of what each was worth
    cells: (B, D) float32 that were decided on; rewards: (B,) float32; next_values: (B,) of the states that came of it
    dones: (B,) whether the game ended
    """

    lessons: list[Tensor] = field(default_factory=list)
    returns: list[Tensor] = field(default_factory=list)
    cells: list[Tensor] = field(default_factory=list)
    rewards: list[Tensor] = field(default_factory=list)
    next_values: list[Tensor] = field(default_factory=list)
    dones: list[Tensor] = field(default_factory=list)


class ExpertIteration(RoundLearner):
    """Expert iteration by paired rollouts, with Stable-Baselines3's interface.

    Args:
        policy, env, common (policy_kwargs, seed, device, verbose, tensorboard_log): as for `RoundLearner`; env is a
            `DeepTrafficVecEnv` of the sensor's cells, policy_kwargs are those of `LanePolicy`
        sensor: of the cells
        config: see `ExpertConfig`
        learning_rate: a number, or a function of the share of training that remains
    """

    policy: LanePolicy

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
        self.experience = Lessons()
        self.rollouts: PairedRollouts | None = None

    # --- one round ------------------------------------------------------------------------------------------------

    def _make_rollouts(self) -> PairedRollouts:
        config, batch = self.config, self._batch()
        settings = (config.depth, config.gamma, config.rollout_lambda)
        return PairedRollouts(batch.rules, self.sensor, self._drive, *settings, batch.sim.threads)

    def _batch(self) -> Any:
        """The games as a `EnvBatch`, whose simulator the rollouts copy."""
        assert self.env is not None
        return self.env.get_attr("batch", [0])[0]

    def _drive(self, cells: NDArray[np.float32]) -> tuple[I64, NDArray[np.float32]]:
        """Return (actions (B,), values (B,)) of the averaged network."""
        advantages, values = self.policy.average.judge(cells)
        return CANDIDATES[advantages.argmax(1)], values if self.config.value_coef else np.zeros_like(values)

    def _collect(self, callback: BaseCallback) -> Round | None:
        """Play n_steps decisions of every driver, and try candidates out; None if the callback ends the training."""
        assert self.env is not None
        played, rollouts = Round(), self.rollouts or self._make_rollouts()
        self.rollouts = rollouts
        self.policy.set_training_mode(False)
        callback.on_rollout_start()
        for _ in range(self.config.n_steps):
            seen: Any = self._last_obs
            for driver in range(self.drivers - 1):
                seen = self._team().take_turn(self._decide(seen, driver, rollouts, played))
            actions = self._decide(seen, self.drivers - 1, rollouts, played)
            self._last_obs, rewards, dones, infos = self.env.step(actions)  # type: ignore[assignment]
            self._last_episode_starts = dones
            self.num_timesteps += self.env.num_envs * self.drivers
            if self.config.value_coef:
                self._note(played, seen, rewards, dones, infos)
            self._update_info_buffer([infos[row] for row in np.flatnonzero(dones)])
            callback.update_locals(locals())
            if not callback.on_step():
                return None
        self.experience.add(torch.cat(played.lessons), torch.cat(played.returns), self.config.rounds_kept)
        callback.on_rollout_end()
        return played

    @property
    def drivers(self) -> int:
        """How many cars of a game the network drives and learns from."""
        return self.env.drivers if isinstance(self.env, TeamVecEnv) else 1

    def _team(self) -> TeamVecEnv:
        assert isinstance(self.env, TeamVecEnv), "several drivers take turns"
        return self.env

    def _decide(self, seen: Any, driver: int, rollouts: PairedRollouts, played: Round) -> I64:
        """Try candidates out for the driver whose turn it is; return its actions (B,), some of them at random."""
        chosen, returned = self._try_out(driver, rollouts)
        played.lessons.append(torch.from_numpy(seen[chosen]).half())
        played.returns.append(torch.from_numpy(returned))
        best = np.searchsorted(CANDIDATES, self._drive(seen)[0])
        return CANDIDATES[explore(best, self.config.exploration_eps, len(CANDIDATES))]

    def _try_out(self, driver: int, rollouts: PairedRollouts) -> tuple[I64, NDArray[np.float32]]:
        """Try the candidates out in a share of the games where there is a choice; return (rows (N,), returns (N, K)).

        A lane change that the safety system would refuse the ego car is worth what going on is worth.
        """
        sim = self._batch().sim
        possible = worth_trying(sim, sim.rows, CANDIDATES, driver)
        wanted = np.random.random(len(possible)) < self.config.label_share
        rows = np.flatnonzero(wanted & (possible.sum(1) > 1))
        random = np.random.default_rng(np.random.randint(2**31))  # from the stream that checkpoints keep
        streams = draw_streams(random, rows.size, self.config.rollouts)
        found = rollouts.returns(sim, rows, possible[rows], CANDIDATES[:, None], streams, driver).mean(2)
        return rows, np.where(np.isnan(found), found[:, :1], found).astype(np.float32)

    def _note(self, played: Round, seen: Any, rewards: Any, dones: Any, infos: list[dict[str, Any]]) -> None:
        """Note one decision of all games; one that was cut goes on in truth: its last state's value counts."""
        after = np.array(self._last_obs)
        for row in np.flatnonzero(dones):
            after[row] = infos[row]["terminal_observation"]
        values = torch.from_numpy(self._drive(after)[1].copy())
        played.cells.append(torch.from_numpy(seen))
        played.rewards.append(torch.from_numpy(rewards))
        played.next_values.append(values)
        played.dones.append(torch.from_numpy(dones))

    def _value_targets(self, played: Round) -> Tensor:
        """Return the lambda returns (T, B) of a round."""
        config, dones = self.config, torch.stack(played.dones)
        rewards, following = torch.stack(played.rewards), torch.stack(played.next_values)
        if self._n_updates == 0:
            following += self._centre(rewards.mean(), following.mean())
        return lambda_returns(rewards, following, dones, config.gamma, config.value_lambda)

    @torch.no_grad()
    def _centre(self, mean_reward: Tensor, mean_value: Tensor) -> Tensor:
        """Raise all values so that their mean is that of earning the mean reward for ever; return by how much.

        A new network knows no values; one that training begins from is near already, and hardly moved.
        """
        rise = mean_reward / max(1.0 - self.config.gamma, 1e-3) - mean_value
        for network in (self.policy.driver, self.policy.average):
            network.raise_values(rise)
        return rise

    # --- learning -------------------------------------------------------------------------------------------------

    def _train(self, played: Round) -> None:
        """Take the gradient steps of a round: on every lesson kept, and on as many of the round's states' values."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        cells, returns = torch.cat(self.experience.cells), torch.cat(self.experience.returns)
        seen = torch.cat(played.cells) if played.cells else None
        targets = self._value_targets(played).flatten() if played.cells else None
        for _ in range(self.config.n_epochs):
            order = torch.from_numpy(np.random.permutation(len(cells)))
            for batch in order.split(self.config.batch_size):
                lesson = (cells[batch].float().to(self.device), returns[batch].to(self.device))
                states = None
                if seen is not None and targets is not None:
                    others = torch.from_numpy(np.random.randint(len(seen), size=len(batch)))
                    states = (seen[others].to(self.device), targets[others].to(self.device))
                losses = self._descend(lesson, states)
        self._n_updates += self.config.n_epochs
        self.logger.record("train/advantage_loss", losses[0])
        self.logger.record("train/value_loss", losses[1])

    def _descend(self, lesson: Pair, states: Pair | None) -> tuple[float, float]:
        """Take one gradient step, every second one in the mirror; return the losses of advantages and values."""
        (cells, returns), config = lesson, self.config
        everything = cells if states is None else torch.cat([cells, states[0]])
        if np.random.random() < 0.5:
            everything, returns = mirror_cells(everything, self.sensor.columns), returns[:, MIRRORED]
        advantages, values = self.policy(everything)
        loss = nn.functional.smooth_l1_loss(
            centred(advantages[: len(cells)]), centred(returns), beta=config.advantage_scale
        )
        value_loss = torch.zeros(())
        if states is not None:
            value_loss = nn.functional.mse_loss(values[len(cells) :], states[1])
        self.policy.optimizer.zero_grad()
        (config.advantage_coef * loss + config.value_coef * value_loss).backward()
        nn.utils.clip_grad_norm_(self.policy.driver.parameters(), config.max_grad_norm)
        self.policy.optimizer.step()
        self.policy.follow(config.average_rate)
        return loss.item(), value_loss.item()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "experience", "rollouts"]


def centred(values: Tensor) -> Tensor:
    """Return (N, K) less each row's mean: what one action is worth more than another, whatever the state is worth."""
    return values - values.mean(1, keepdim=True)
