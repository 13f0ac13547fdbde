"""Games in which one learner drives the ego car and every other agent that decides, turn by turn.

By the 2018 rules the ego car decides in frame 0 of each period of 30 and other agent i in frame 3 i, so that each sees
what the ones before it have done; agent 10's frame never comes. Whoever decides late in a frame's order executes what
was decided in it: agent k's action is agents k..A's and the ego car's too.

    >>> env = TeamVecEnv(64, other_agents=3, observation="gaps", stagger=True)
    >>> obs = env.reset()                            # of the ego cars, (B, 42)
    >>> obs = env.take_turn(actions)                 # carried out; what agents 1 see, (B, 42). As often for 2 and 3
    >>> obs, rewards, dones, infos = env.step(actions)   # the last agent's: back to the ego cars, as any VecEnv's

Letters in shapes: B games, A other agents, D drivers (the ego car and the agents that decide).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.batch import JUST_RESET, report_envs
from deeptraffic.envs.observations import Observer
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv, Info
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import run_in_chunks
from deeptraffic.sim.kernel import drive
from deeptraffic.sim.state import F64, I64, NOBODY, Games


@compiled
def drive_turn(rules: NDArray[Any], speed_sums: F64, games: Games, rows: I64, actions: I64) -> None:
    """Run each row to the next decision; add what each driven vehicle counts at each frame's end [px/frame]."""
    for k in range(rows.size):
        game, sums = games[rows[k]], speed_sums[rows[k]]
        drive(rules[0], game, actions[k], game.frame + 1)
        while game.waiting == NOBODY:
            for i in range(sums.size):
                sums[i] += max(0.0, game.following_speed[i] * game.speed_factor[i])
            drive(rules[0], game, actions[k], game.frame + 1)


class TeamVecEnv(DeepTrafficVecEnv):
    """B games whose drivers take turns; arguments as for `DeepTrafficVecEnv`, without `others`.

    drivers: D, at most 10
    turn: the driver whose decision is due in all games, 0 for the ego car
    speed_sums: (B, A + 1) float64 [px/frame] what each driven vehicle has counted in the contest's score since
        `begin_rollout`, summed over frames
    shares: (D,) of a driver's decision period that has been played when the ego car decides
    last_views: what each driver saw at last of the games that the last `step` ended, D observations of (ended, ...)
    """

    def __init__(self, num_envs: int, *arguments: Any, **options: Any) -> None:
        super().__init__(num_envs, *arguments, **options)
        rules = self.batch.rules
        self.drivers = 1 + min(rules.other_agents, (rules.decision_period - 1) // rules.agent_stagger)
        others = range(1, self.drivers)
        self.observers = [
            self.batch.observer,
            *(Observer(rules, self.batch.observation, self.num_envs, agent) for agent in others),
        ]
        self.shares = 1.0 - np.arange(self.drivers) * rules.agent_stagger / rules.decision_period
        self.turn = 0
        self.speed_sums = np.zeros((self.num_envs, rules.other_agents + 1))
        self.last_views: list[Any] = []
        self._taken = np.full((self.drivers, self.num_envs), JUST_RESET)

    def begin_rollout(self) -> None:
        """Count speeds from zero, so that sums of a rollout do not depend on those before it."""
        self.speed_sums[:] = 0.0

    # --- Stable-Baselines3's interface ------------------------------------------------------------------------------

    def reset(self) -> Any:
        """Start all games; return what the ego cars see."""
        self.turn, self.speed_sums[:] = 0, 0.0
        self._forget(self.batch.env_indices)
        return super().reset()

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[Info]]:
        """Carry out the last drivers' actions and run to the ego cars' decision; return as any VecEnv.

        Rewards are the ego cars' own, of the whole round.
        """
        given, self._given = self._given, None
        if given is None or self.turn != self.drivers - 1:
            raise RuntimeError(f"driver {self.turn} of {self.drivers} is next: take_turn(actions) up to the last one")
        self._drive(given)
        self.turn = 0
        run_in_chunks(self.batch.sim, report_envs, self.batch.env_indices, (), (self.batch.report,))
        rewards, dones = self.batch.finish_step(self.batch.env_indices)
        returned = self._finish(rewards, dones, self._taken[0].copy())
        self._forget(np.flatnonzero(dones))
        return returned

    def get_state(self) -> dict[str, Any]:
        """As `DeepTrafficVecEnv.get_state`, between rounds: with what the other drivers remember."""
        observers = {str(agent): self.observers[agent].get_state() for agent in range(1, self.drivers)}
        return super().get_state() | {
            "observers": observers,
            "speed_sums": self.speed_sums.copy(),
            "taken": self._taken.copy(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `get_state` returned, at the ego cars' turn."""
        super().set_state(state)
        for agent in range(1, self.drivers):
            self.observers[agent].set_state(state["observers"][str(agent)])
        self.turn, self.speed_sums[:], self._taken[:] = 0, state["speed_sums"], state["taken"]

    # --- turns ------------------------------------------------------------------------------------------------------

    def take_turn(self, actions: NDArray[Any]) -> Any:
        """Carry out the actions (B,) of the drivers whose turn it is; return what the next ones see, (B, ...)."""
        given = self.batch.checked_actions(actions)
        if self.turn == self.drivers - 1:
            raise RuntimeError(f"driver {self.turn} is the last of {self.drivers}: step(actions) ends the round")
        self._drive(given)
        self.turn += 1
        return self.observers[self.turn].observe(self.batch.sim, None, self._taken[self.turn])

    def glance(self, driver: int) -> Any:
        """Return what another agent sees now, between two of its decisions, (B, ...)."""
        obs = self.observers[driver].observe(self.batch.sim, None, self._taken[driver])
        self._taken[driver] = JUST_RESET  # its past has moved on already
        return obs

    # --- inside -----------------------------------------------------------------------------------------------------

    def _drive(self, given: I64) -> None:
        self._taken[self.turn] = given
        run_in_chunks(self.batch.sim, drive_turn, self.batch.env_indices, (given,), (self.speed_sums,))

    def _forget(self, rows: I64) -> None:
        """Empty the other drivers' pasts; the batch does so for the ego cars."""
        self._taken[:, rows] = JUST_RESET
        for observer in self.observers[1:]:
            observer.reset(rows)

    def _last_infos(self, ended: I64, given: I64) -> list[Info]:
        """As of any game, and note what each driver sees."""
        infos = super()._last_infos(ended, given)
        views = [info["terminal_observation"] for info in infos]
        own = {name: np.stack([v[name] for v in views]) for name in views[0]} if isinstance(views[0], dict) else views
        others = zip(self.observers[1:], self._taken[1:], strict=True)
        self.last_views = [
            own if isinstance(own, dict) else np.stack(own),
            *(observer.observe(self.batch.sim, ended, taken[ended]) for observer, taken in others),
        ]
        return infos
