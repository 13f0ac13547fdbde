"""PPO for a team: the network drives the ego car and its copies in the traffic, and learns from all their decisions.

In a contest the other agents are copies of the ego car's network, and the score is the mean speed over all of them. A
network that was trained alone gets into its own way there. Here every agent that decides plays with the network being
trained (parameter sharing, as in Gupta et al. 2017, doi:10.1007/978-3-319-71682-4_5), each with its own observations at
its own frames, and each one's decisions are learned from.

    >>> config = build_config("team_ppo", settings={"road.other_agents": 10})
    >>> make_model(config, make_games(config)).learn(config.total_timesteps)

What a driver is paid for a decision, until its next one: `team_share` parts the mean speed over all driven cars, which
is what the contest counts, and the rest its own speed; both as the game's own reward, (N - 60) / 20 with N the speed
summed over 30 frames [px/frame]. Of the mean, one driver moves an eleventh, amid the luck of ten others: with half of
each, a team of eleven came as far in a quarter of the decisions that the mean alone took.

Where a game is cut or a rollout ends, which is at the ego cars' decision, the other agents' last decisions have run for
a share f of a period: they are paid for that share, and the value of what the agent sees at that moment follows,
discounted by gamma ** f.

Letters in shapes: T rounds, B games, D drivers. A column of the rollout buffer is one driver of one game, game b's
driver d at d * B + b.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv

from agents.team_games import TeamVecEnv
from agents.warm_start import WarmPPO
from deeptraffic.sim.state import F64

F32 = NDArray[np.float32]
Dones = NDArray[np.bool_]


class TeamPPO(WarmPPO):
    """PPO on a `TeamVecEnv`.

    Args:
        policy, env, settings: as for PPO; n_steps are rounds, in each of which every driver decides once
        batch_size: decisions of one gradient step, of all drivers of all games
        team_share: weight of the team's mean speed in the reward, from 0 to 1
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        n_steps: int = 16,
        batch_size: int = 1024,
        team_share: float = 0.5,
        **settings: Any,
    ) -> None:
        self.team_share = team_share
        rows = env.num_envs * n_steps if env is not None else batch_size  # SB3 knows of one driver a game
        super().__init__(policy, env, n_steps=n_steps, batch_size=rows, **settings)
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
                n_envs=self.env.drivers * self.env.num_envs,
            )

    # --- a rollout --------------------------------------------------------------------------------------------------

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Play rounds and fill the buffer with the decisions of all drivers; False if the callback ends training."""
        assert isinstance(env, TeamVecEnv), "a team's games are a TeamVecEnv"
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        env.begin_rollout()
        rollout = Rollout(env, rollout_buffer, self.team_share, self.gamma)
        for step in range(n_rollout_steps):
            ended = self._play_round(env, rollout, step)
            self.num_timesteps += env.drivers * env.num_envs
            self._update_info_buffer(ended)
            callback.update_locals({"dones": rollout.dones})
            if not callback.on_step():
                return False
        views = [self._last_obs, *(env.glance(driver) for driver in range(1, env.drivers))]
        rollout.finish(np.stack([self._values(view) for view in views]))
        callback.on_rollout_end()
        return True

    def _play_round(self, env: TeamVecEnv, rollout: "Rollout", step: int) -> list[dict[str, Any]]:
        """Let every driver decide once, run to the ego cars' next decision; return the infos of games that ended."""
        obs: Any = self._last_obs
        starts = self._last_episode_starts
        for driver in range(env.drivers):
            rollout.pay_for_decision_before(step, driver)
            with torch.no_grad():
                chosen, values, log_chances = self.policy(obs_as_tensor(obs, self.device))
            actions = chosen.cpu().numpy()
            rollout.note(step, driver, obs, actions, starts, values, log_chances)
            if driver < env.drivers - 1:
                obs = env.take_turn(actions)
        last_obs, own, dones, infos = env.step(actions)
        self._last_obs, self._last_episode_starts = last_obs, dones  # type: ignore[assignment]
        ended = np.flatnonzero(dones)
        values_at_end = np.stack([self._values(view) for view in env.last_views]) if ended.size else None
        rollout.end_round(step, own, dones, values_at_end)
        return [infos[row] for row in ended]

    def _values(self, obs: Any) -> F32:
        """The critic's values (k,) of observations (k, ...)."""
        with torch.no_grad():
            return self.policy.predict_values(obs_as_tensor(obs, self.device))[:, 0].cpu().numpy()


class Rollout:
    """Fills a rollout buffer (T, D * B) turn by turn.

    dones: (B,) games that the last round ended
    """

    def __init__(self, env: TeamVecEnv, buffer: RolloutBuffer, team_share: float, gamma: float) -> None:
        self.env, self.buffer, self.team_share, self.gamma = env, buffer, team_share, gamma
        self.dones: Dones = np.zeros(env.num_envs, np.bool_)
        self.period = env.batch.rules.decision_period
        self.discounts = gamma**env.shares  # (D,) of what follows a decision that was cut short
        self._speeds = np.zeros((env.drivers, env.num_envs))  # summed up to each driver's last decision, see `_driven`

    def note(
        self, step: int, driver: int, obs: Any, actions: Any, starts: Any, values: torch.Tensor, log_chances: Any
    ) -> None:
        """Write a decision of one driver in every game."""
        columns = self._columns(driver)
        parts = obs.items() if isinstance(obs, dict) else [(None, obs)]
        for name, part in parts:
            stored: Any = self.buffer.observations if name is None else self.buffer.observations[name]
            stored[step, columns] = part
        self.buffer.actions[step, columns, 0] = actions
        self.buffer.episode_starts[step, columns] = starts
        self.buffer.values[step, columns] = values.flatten().cpu().numpy()
        self.buffer.log_probs[step, columns] = log_chances.cpu().numpy()

    def pay_for_decision_before(self, step: int, driver: int) -> None:
        """Write what a driver's decision of the round before was worth, now that its next one is due."""
        now = self._driven(driver)
        if step and driver:  # the ego car was paid when its round ended
            going_on = ~self.dones
            self._rewards(step - 1, driver)[going_on] = self._reward(now - self._speeds[driver], 1.0)[going_on]
        self._speeds[driver] = now

    def end_round(self, step: int, own: F32, dones: Dones, values_at_end: F32 | None) -> None:
        """Pay the ego cars, and everybody in games that were cut.

        own: (B,) the ego cars' own rewards; values_at_end: (D, ended) of what drivers saw last, None if no game ended
        """
        self.dones = dones
        team = self._reward(self._team() - self._speeds[0], 1.0)
        self._rewards(step, 0)[:] = self.team_share * team + (1.0 - self.team_share) * own
        if values_at_end is not None:
            for driver in range(self.env.drivers):
                if driver:
                    self._rewards(step, driver)[dones] = self._reward_so_far(driver)[dones]
                self._rewards(step, driver)[dones] += self.discounts[driver] * values_at_end[driver]

    def finish(self, last_values: F32) -> None:
        """Pay for the last decisions as far as they have run, and compute returns; last_values (D, B) of the end."""
        step = self.buffer.buffer_size - 1
        for driver in range(1, self.env.drivers):
            self._rewards(step, driver)[~self.dones] = self._reward_so_far(driver)[~self.dones]
        self.buffer.pos, self.buffer.full = self.buffer.buffer_size, True
        scaled = last_values * (self.discounts / self.gamma if self.gamma else self.discounts)[:, None]  # SB3's gamma
        dones = np.tile(self.dones, self.env.drivers)
        self.buffer.compute_returns_and_advantage(torch.from_numpy(scaled.astype(np.float32)), dones)

    # --- speeds -----------------------------------------------------------------------------------------------------

    def _columns(self, driver: int) -> slice:
        return slice(driver * self.env.num_envs, (driver + 1) * self.env.num_envs)

    def _rewards(self, step: int, driver: int) -> F32:
        """A view of a driver's rewards of a round, (B,)."""
        return self.buffer.rewards[step, self._columns(driver)]

    def _team(self) -> F64:
        return self.env.speed_sums.mean(axis=1)

    def _driven(self, driver: int) -> F64:
        """The speed that a driver is paid for, summed until now, (B,) [px/frame]; of the ego car the team's alone."""
        if driver == 0:
            return self._team()
        return self.team_share * self._team() + (1.0 - self.team_share) * self.env.speed_sums[:, driver]

    def _reward_so_far(self, driver: int) -> F64:
        return self._reward(self._driven(driver) - self._speeds[driver], float(self.env.shares[driver]))

    def _reward(self, speed_sum: F64, share: float) -> F64:
        """The game's reward (N - 60) / 20 for speeds summed over a share of a period (`resume` in kernel.py)."""
        standard = 2.0 * self.period  # N at 40 mph
        return (speed_sum - standard * share) / (standard / 3.0)
