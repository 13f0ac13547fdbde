"""Vectorised environment in which one learner controls the ego car and every other agent that decides, turn by turn.

By the 2018 rules the ego car (agent 0) decides in frame 0 of each period of 30 and agent i in frame 3 i, so that each
sees what the ones before it have done; agent 10's frame never comes. An action is executed by every vehicle that comes
later in the frame's order, too: agent k's action is agents k..A's and the ego car's.

    >>> env = TeamVecEnv(64, other_agents=3, observation="gaps", stagger=True)
    >>> obs = env.reset()                            # of the ego cars, (B, 42)
    >>> obs = env.take_turn(actions)                 # of agents 1, (B, 42), after the ego cars' actions; so for 2 and 3
    >>> obs, rewards, dones, infos = env.step(actions)   # of the ego cars, after the last agents' actions

Letters in shapes: B envs, A other agents, D deciding agents (the ego car included).
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
from deeptraffic.sim.rules import Rules
from deeptraffic.sim.state import F64, I64, NOBODY, Games


@compiled
def run_turn(rules: NDArray[Any], speed_sums: F64, games: Games, env_indices: I64, actions: I64) -> None:
    """Run each env to its next decision; add what each controlled vehicle counts at each frame's end [px/frame]."""
    for k in range(env_indices.size):
        game, sums = games[env_indices[k]], speed_sums[env_indices[k]]
        drive(rules[0], game, actions[k], game.frame + 1)
        while game.waiting == NOBODY:
            for i in range(sums.size):
                sums[i] += max(0.0, game.following_speed[i] * game.speed_factor[i])
            drive(rules[0], game, actions[k], game.frame + 1)


def deciding_agents(rules: Rules) -> int:
    """Return how many agents of an env decide, the ego car included; the decision frames of further ones never come."""
    return 1 + min(rules.other_agents, (rules.decision_period - 1) // rules.agent_stagger)


class TeamVecEnv(DeepTrafficVecEnv):
    """B envs whose agents take turns; arguments as for `DeepTrafficVecEnv`, without `others`.

    num_agents: D, at most 10
    turn: the agent whose decision is due in all envs, 0 for the ego car
    speed_sums: (B, A + 1) float64 [px/frame] what each controlled vehicle has counted in the contest's score since
        `begin_rollout`, summed over frames
    played_fractions: (D,) of an agent's decision period when the ego car decides
    terminal_obs: the last observation of each agent in the envs that the last `step` ended, D of (ended, ...)
    """

    def __init__(self, num_envs: int, *arguments: Any, **options: Any) -> None:
        super().__init__(num_envs, *arguments, **options)
        rules = self.batch.rules
        self.num_agents = deciding_agents(rules)
        others = range(1, self.num_agents)
        self.observers = [
            self.batch.observer,
            *(Observer(rules, self.batch.observation, self.num_envs, agent) for agent in others),
        ]
        self.played_fractions = 1.0 - np.arange(self.num_agents) * rules.agent_stagger / rules.decision_period
        self.turn = 0
        self.speed_sums = np.zeros((self.num_envs, rules.other_agents + 1))
        self.terminal_obs: list[Any] = []
        self._taken = np.full((self.num_agents, self.num_envs), JUST_RESET)

    def begin_rollout(self) -> None:
        """Count speeds from zero, so that sums of a rollout do not depend on those before it."""
        self.speed_sums[:] = 0.0

    # --- Stable-Baselines3's interface ------------------------------------------------------------------------------

    def reset(self) -> Any:
        """Start all envs; return the ego cars' observations."""
        self.turn, self.speed_sums[:] = 0, 0.0
        self._clear_histories(self.batch.env_indices)
        return super().reset()

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[Info]]:
        """Carry out the last agents' actions and run to the ego cars' decision; return as any VecEnv.

        Rewards are the ego cars' own, of the whole round.
        """
        actions, self._given = self._given, None
        if actions is None or self.turn != self.num_agents - 1:
            raise RuntimeError(f"agent {self.turn} of {self.num_agents} is next: take_turn(actions) up to the last one")
        self._run_turn(actions)
        self.turn = 0
        run_in_chunks(self.batch.sim, report_envs, self.batch.env_indices, (), (self.batch.report,))
        rewards, dones = self.batch.finish_step(self.batch.env_indices)
        returned = self._finish(rewards, dones, self._taken[0].copy())
        self._clear_histories(np.flatnonzero(dones))
        return returned

    def get_state(self) -> dict[str, Any]:
        """As `DeepTrafficVecEnv.get_state`, between rounds: with the histories of the other agents."""
        observers = {str(agent): self.observers[agent].get_state() for agent in range(1, self.num_agents)}
        return super().get_state() | {
            "observers": observers,
            "speed_sums": self.speed_sums.copy(),
            "taken": self._taken.copy(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `get_state` returned, at the ego cars' turn."""
        super().set_state(state)
        for agent in range(1, self.num_agents):
            self.observers[agent].set_state(state["observers"][str(agent)])
        self.turn, self.speed_sums[:], self._taken[:] = 0, state["speed_sums"], state["taken"]

    # --- turns ------------------------------------------------------------------------------------------------------

    def take_turn(self, actions: NDArray[Any]) -> Any:
        """Carry out the actions (B,) of the agents whose turn it is; return the next ones' observations, (B, ...)."""
        actions = self.batch.checked_actions(actions)
        if self.turn == self.num_agents - 1:
            raise RuntimeError(f"agent {self.turn} is the last of {self.num_agents}: step(actions) ends the round")
        self._run_turn(actions)
        self.turn += 1
        return self.observers[self.turn].observe(self.batch.sim, None, self._taken[self.turn])

    def observe_agent(self, agent: int) -> Any:
        """Return the observations (B, ...) of another agent now, between two of its decisions."""
        obs = self.observers[agent].observe(self.batch.sim, None, self._taken[agent])
        self._taken[agent] = JUST_RESET  # its history has moved on already
        return obs

    # --- inside -----------------------------------------------------------------------------------------------------

    def _run_turn(self, actions: I64) -> None:
        self._taken[self.turn] = actions
        run_in_chunks(self.batch.sim, run_turn, self.batch.env_indices, (actions,), (self.speed_sums,))

    def _clear_histories(self, env_indices: I64) -> None:
        """Clear the other agents' histories; the batch does so for the ego cars."""
        self._taken[:, env_indices] = JUST_RESET
        for observer in self.observers[1:]:
            observer.reset(env_indices)

    def _last_infos(self, ended: I64, actions: I64) -> list[Info]:
        """As of `DeepTrafficVecEnv`; keep the terminal observation of each agent."""
        infos = super()._last_infos(ended, actions)
        views = [info["terminal_observation"] for info in infos]
        own = {name: np.stack([v[name] for v in views]) for name in views[0]} if isinstance(views[0], dict) else views
        others = zip(self.observers[1:], self._taken[1:], strict=True)
        self.terminal_obs = [
            own if isinstance(own, dict) else np.stack(own),
            *(observer.observe(self.batch.sim, ended, taken[ended]) for observer, taken in others),
        ]
        return infos
