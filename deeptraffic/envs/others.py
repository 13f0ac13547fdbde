"""Who drives the other agents of a single-agent environment: copies of a policy, or a plain function."""

from collections.abc import Callable
from typing import Any

import numpy as np

from deeptraffic.envs.observations import Observation, Observer
from deeptraffic.envs.observations.vector import VectorObservation
from deeptraffic.envs.settings import check_action
from deeptraffic.policies.base import Policy
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Action
from deeptraffic.sim.state import I64

Others = Policy | Callable[[Any], Any]


class OtherDrivers:
    """Decides for the other agents of a simulator's games.

    Args:
        others: a policy, which observes what its own `observation` says, or a function from one observation, of the
            kind that `config` names, to an action
        sim: the simulator that they drive in
        config: what a plain function observes

    Agent i of game b has the policy's memory slot b * (A + 1) + i. Agent 10 never decides.
    """

    def __init__(self, others: Others, sim: Simulator, config: Observation) -> None:
        self.policy = others if isinstance(others, Policy) else None
        self.function: Any = others
        if self.policy is None and not callable(others):
            raise ValueError(
                f"others={others!r} cannot drive; give a deeptraffic.policies.base.Policy, "
                "a function from an observation to an action, or None"
            )
        if self.policy is not None:
            config = policy_observation(self.policy)
            self.policy.attach(sim)
        agents = range(1, sim.rules.other_agents + 1)
        self.observers = [Observer(sim.rules, config, sim.num_envs, agent) for agent in agents]
        self.taken = np.full((len(agents) + 1, sim.num_envs), -1)

    def reset(self, rows: I64) -> None:
        """Forget everything of these rows."""
        self.taken[:, rows] = -1
        for observer in self.observers:
            observer.reset(rows)
        if self.policy is not None:
            slots = rows[:, None] * len(self.taken) + np.arange(1, len(self.taken))
            self.policy.reset(slots.ravel())

    def get_state(self) -> dict[str, Any]:
        """Return copies of what is remembered of each game, but for the policy's own memory."""
        return {
            "taken": self.taken.copy(),
            "observers": {str(k): observer.get_state() for k, observer in enumerate(self.observers)},
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        self.taken[:] = state["taken"]
        for k, observer in enumerate(self.observers):
            observer.set_state(state["observers"][str(k)])

    def decide(self, sim: Simulator, agent: int, rows: I64) -> I64:
        """Return the decisions of `agent`, for whom all these rows wait, (len(rows),)."""
        obs = self.observers[agent - 1].observe(sim, rows, self.taken[agent, rows])
        if self.policy is not None:
            actions = np.asarray(self.policy.act(obs, rows * len(self.taken) + agent), np.int64)
        else:
            actions = np.array([self._ask(agent, _pick(obs, k)) for k in range(rows.size)])
        if actions.shape != rows.shape or actions.min() < 0 or actions.max() >= len(Action):
            raise ValueError(
                f"others decided on {actions!r} for agent {agent}; give one action from 0 to {len(Action) - 1} per game"
            )
        self.taken[agent, rows] = actions
        return actions

    def _ask(self, agent: int, obs: Any) -> int:
        try:
            return check_action(self.function(obs))
        except ValueError as error:
            raise ValueError(f"others decided for agent {agent}: {error}") from error


def policy_observation(policy: Policy) -> Observation:
    """Return what a policy observes."""
    seen = policy.observation
    return seen if isinstance(seen, Observation) else VectorObservation(*seen)


def _pick(obs: Any, k: int) -> Any:
    return {name: part[k] for name, part in obs.items()} if isinstance(obs, dict) else obs[k]
