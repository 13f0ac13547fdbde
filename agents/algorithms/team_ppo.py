"""Multi-agent PPO: one network controls the ego car and its copies in the traffic, and learns from all their decisions.

In a contest the other agents are copies of the ego car's network, and the score is the mean speed over all of them. A
network that was trained alone obstructs itself there. Here every agent that decides uses the network being trained
(parameter sharing, as in Gupta et al. 2017, doi:10.1007/978-3-319-71682-4_5), with its own observations at its own
frames, and each one's decisions are learned from.

    >>> config = build_config("team_ppo", settings={"road.other_agents": 10})
    >>> make_model(config, make_vec_env(config)).learn(config.total_timesteps)

The reward of an agent's decision, until its next one, is `team_weight` times the mean speed over all controlled cars,
which is what the contest counts, plus the rest times its own speed; both in units of the contest's reward,
(N - 60) / 20 with N the speed summed over 30 frames [px/frame]. One agent moves the mean by an eleventh only, amid the
randomness of ten others: with half of each, a team of eleven needed a quarter of the decisions that it needed with the
mean alone.

Where an episode is truncated or a rollout ends, which is at the ego cars' decision, the other agents' last decisions
have run for a fraction f of a period: their reward is that of the fraction, and the value of what the agent sees at
that moment follows, discounted by gamma ** f.

Letters in shapes: T rounds, B envs, D deciding agents. A column of the rollout buffer is one agent of one env, agent
d of env b at d * B + b.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv

from agents.algorithms.ppo.config import WarmStartConfig
from agents.algorithms.ppo.torch_learner import CriticWarmupPPO, initialise
from agents.registry import PROBABILITIES, Entry
from agents.sb3 import SB3Algorithm
from agents.sb3_network import actor_weights
from agents.team_env import TeamVecEnv, deciding_agents
from deeptraffic.settings import real
from deeptraffic.sim.state import F64

if TYPE_CHECKING:
    from agents.config import TrainConfig

F32 = NDArray[np.float32]
Dones = NDArray[np.bool_]


@dataclass(frozen=True)
class TeamPPOConfig(WarmStartConfig):
    """Hyperparameters of PPO for a team, see `WarmStartConfig`.

    n_steps, batch_size, ...: as for PPO; every deciding agent of an env decides in each of its n_steps rounds
    team_weight: weight of the team's mean speed in an agent's reward; the rest is its own
    """

    team_weight: float = real(0.5, 0.0, 1.0)

    def check_run(self, run: "TrainConfig") -> None:
        """Raise ValueError if the observation is the same for all agents, or a rollout holds less than a batch."""
        super().check_run(run)
        if run.observation.ego_only:
            kind = run.observation.kind
            raise ValueError(f"observation.kind={kind!r} does not show which car decides; choose another for team_ppo")

    def learning_agents(self, run: "TrainConfig") -> int:
        """Return how many agents of an env decide."""
        return deciding_agents(run.road.build())


class TeamPPO(CriticWarmupPPO):
    """PPO on a `TeamVecEnv`.

    Args:
        policy, env, settings: as for PPO; n_steps are rounds, in each of which every deciding agent decides once
        batch_size: decisions of one gradient step, of all agents of all envs
        team_weight: weight of the team's mean speed in the reward, from 0 to 1
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        n_steps: int = 16,
        batch_size: int = 1024,
        team_weight: float = 0.5,
        **settings: Any,
    ) -> None:
        self.team_weight = team_weight
        rollout_size = env.num_envs * n_steps if env is not None else batch_size  # SB3 counts one agent per env
        super().__init__(policy, env, n_steps=n_steps, batch_size=rollout_size, **settings)
        self.batch_size = batch_size

    def _setup_model(self) -> None:
        super()._setup_model()
        if isinstance(self.env, TeamVecEnv):
            self.rollout_buffer = type(self.rollout_buffer)(
                self.n_steps,
                self.observation_space,
                self.action_space,
                device=self.device,
                gamma=self.gamma,
                gae_lambda=self.gae_lambda,
                n_envs=self.env.num_agents * self.env.num_envs,
            )

    # --- a rollout --------------------------------------------------------------------------------------------------

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Play rounds and fill the buffer with the decisions of all agents; False if the callback ends training."""
        assert isinstance(env, TeamVecEnv), "TeamPPO needs a TeamVecEnv"
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        env.begin_rollout()
        rollout = TeamRollout(env, rollout_buffer, self.team_weight, self.gamma)
        for step in range(n_rollout_steps):
            ended = self._play_round(env, rollout, step)
            self.num_timesteps += env.num_agents * env.num_envs
            self._update_info_buffer(ended)
            callback.update_locals({"dones": rollout.dones})
            if not callback.on_step():
                return False
        views = [self._last_obs, *(env.observe_agent(agent) for agent in range(1, env.num_agents))]
        rollout.finish(np.stack([self._values(view) for view in views]))
        callback.on_rollout_end()
        return True

    def _play_round(self, env: TeamVecEnv, rollout: "TeamRollout", step: int) -> list[dict[str, Any]]:
        """Let every agent decide once, run to the ego cars' next decision; return the infos of ended episodes."""
        obs: Any = self._last_obs
        starts = self._last_episode_starts
        for agent in range(env.num_agents):
            rollout.reward_last_decision(step, agent)
            with torch.no_grad():
                chosen, values, log_probs = self.policy(obs_as_tensor(obs, self.device))
            actions = chosen.cpu().numpy()
            rollout.add(step, agent, (obs, actions, starts, values, log_probs))
            if agent < env.num_agents - 1:
                obs = env.take_turn(actions)
        last_obs, own, dones, infos = env.step(actions)
        self._last_obs, self._last_episode_starts = last_obs, dones  # type: ignore[assignment]
        ended = np.flatnonzero(dones)
        values_at_end = np.stack([self._values(view) for view in env.terminal_obs]) if ended.size else None
        rollout.end_round(step, own, dones, values_at_end)
        return [infos[b] for b in ended]

    def _values(self, obs: Any) -> F32:
        """The critic's values (k,) of observations (k, ...)."""
        with torch.no_grad():
            return self.policy.predict_values(obs_as_tensor(obs, self.device))[:, 0].cpu().numpy()


class TeamRollout:
    """Fills a rollout buffer (T, D * B), agent by agent.

    dones: (B,) whether the last round ended the episode
    """

    def __init__(self, env: TeamVecEnv, buffer: RolloutBuffer, team_weight: float, gamma: float) -> None:
        self.env, self.buffer, self.team_weight, self.gamma = env, buffer, team_weight, gamma
        self.dones: Dones = np.zeros(env.num_envs, np.bool_)
        self.period = env.batch.rules.decision_period
        self.discounts = gamma**env.played_fractions  # (D,) of what follows a decision that was cut short
        self._speeds = np.zeros(
            (env.num_agents, env.num_envs)
        )  # summed up to each agent's last decision, see `_counted_speed`

    def add(self, step: int, agent: int, decision: tuple[Any, Any, Any, torch.Tensor, torch.Tensor]) -> None:
        """Write a decision of one agent in every env: (obs, actions, episode starts, values, log probabilities)."""
        obs, actions, starts, values, log_probs = decision
        columns = self._columns(agent)
        parts = obs.items() if isinstance(obs, dict) else [(None, obs)]
        for name, part in parts:
            stored: Any = self.buffer.observations if name is None else self.buffer.observations[name]
            stored[step, columns] = part
        self.buffer.actions[step, columns, 0] = actions
        self.buffer.episode_starts[step, columns] = starts
        self.buffer.values[step, columns] = values.flatten().cpu().numpy()
        self.buffer.log_probs[step, columns] = log_probs.cpu().numpy()

    def reward_last_decision(self, step: int, agent: int) -> None:
        """Write the reward of an agent's decision of the round before, now that its next one is due."""
        now = self._counted_speed(agent)
        if step and agent:  # the ego car's reward was written when its round ended
            continuing = ~self.dones
            self._rewards(step - 1, agent)[continuing] = self._reward(now - self._speeds[agent], 1.0)[continuing]
        self._speeds[agent] = now

    def end_round(self, step: int, own: F32, dones: Dones, values_at_end: F32 | None) -> None:
        """Write the rewards of the ego cars, and of all agents where the episode was truncated.

        own: (B,) the ego cars' own rewards
        values_at_end: (D, ended) of the agents' last observations; None if no episode ended
        """
        self.dones = dones
        team = self._reward(self._team() - self._speeds[0], 1.0)
        self._rewards(step, 0)[:] = self.team_weight * team + (1.0 - self.team_weight) * own
        if values_at_end is not None:
            for agent in range(self.env.num_agents):
                if agent:
                    self._rewards(step, agent)[dones] = self._reward_so_far(agent)[dones]
                self._rewards(step, agent)[dones] += self.discounts[agent] * values_at_end[agent]

    def finish(self, last_values: F32) -> None:
        """Write the rewards of the last decisions so far, and compute returns; last_values (D, B) of the end."""
        step = self.buffer.buffer_size - 1
        for agent in range(1, self.env.num_agents):
            self._rewards(step, agent)[~self.dones] = self._reward_so_far(agent)[~self.dones]
        self.buffer.pos, self.buffer.full = self.buffer.buffer_size, True
        scaled = last_values * (self.discounts / self.gamma if self.gamma else self.discounts)[:, None]  # SB3's gamma
        dones = np.tile(self.dones, self.env.num_agents)
        self.buffer.compute_returns_and_advantage(torch.from_numpy(scaled.astype(np.float32)), dones)

    # --- speeds -----------------------------------------------------------------------------------------------------

    def _columns(self, agent: int) -> slice:
        return slice(agent * self.env.num_envs, (agent + 1) * self.env.num_envs)

    def _rewards(self, step: int, agent: int) -> F32:
        """A view of an agent's rewards of a round, (B,)."""
        return self.buffer.rewards[step, self._columns(agent)]

    def _team(self) -> F64:
        return self.env.speed_sums.mean(axis=1)

    def _counted_speed(self, agent: int) -> F64:
        """Speed that an agent is rewarded for, summed until now, (B,) [px/frame]; of the ego car the team's alone."""
        if agent == 0:
            return self._team()
        return self.team_weight * self._team() + (1.0 - self.team_weight) * self.env.speed_sums[:, agent]

    def _reward_so_far(self, agent: int) -> F64:
        played = float(self.env.played_fractions[agent])
        return self._reward(self._counted_speed(agent) - self._speeds[agent], played)

    def _reward(self, speed_sum: F64, fraction: float) -> F64:
        """The contest's reward (N - 60) / 20 for speeds summed over a fraction of a period (`resume` in kernel.py)."""
        standard = 2.0 * self.period  # N at 40 mph
        return (speed_sum - standard * fraction) / (standard / 3.0)


def make(agent: TeamPPOConfig, env: Any, common: dict[str, Any]) -> TeamPPO:
    """Return a new model."""
    return TeamPPO(env=env, **common, **agent.settings(), team_weight=agent.team_weight)


ENTRY = Entry("team_ppo", "policy-based", "PPO for all agents at once", PROBABILITIES, can_warm_start=True)
ALGORITHM = SB3Algorithm(
    config=TeamPPOConfig,
    make=make,
    weights=actor_weights,
    initialise=initialise,
    plays_team=lambda road: True,
    defaults={"road.other_agents": 10, "num_envs": 64, "total_timesteps": 2_000_000, "evaluate_every": 200_000},
)
