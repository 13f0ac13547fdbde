"""Drivers of the other agents in a single-agent environment: copies of a policy, or a plain function."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium.spaces.utils import flatdim
from numpy.typing import ArrayLike

from deeptraffic.envs.arguments import ACTIONS, check_action
from deeptraffic.envs.observations import Observation, Observer, make_observation, select_env
from deeptraffic.envs.observations.vector import VectorObservation
from deeptraffic.policies.base import EnvObservation, Policy
from deeptraffic.policies.builtin import builtin_from_fields, make_builtin
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.state import I64

Others = Policy | Callable[[Any], Any] | str | Mapping[str, Any]


class OtherDrivers:
    """Decides for the other agents of a simulator's envs.

    Args:
        others: a policy, which observes what its own `observation` says, the name of a built-in one (or a mapping of
            its fields, as JSON keeps it), or a function from one observation to an action
        sim: the simulator that they drive in
        observation: of a plain function

    The policy knows agent i of env b by agent index b * (A + 1) + i. Agent 10 never decides.
    """

    def __init__(self, others: Others, sim: Simulator, observation: Observation) -> None:
        if isinstance(others, str | Mapping):
            others = built_in(others, sim.rules.year)
        self.policy = others if isinstance(others, Policy) else None
        self.function: Any = others
        if self.policy is None and (isinstance(others, type) or not callable(others)):
            raise ValueError(
                "others must be a deeptraffic.policies.base.Policy, the name of a built-in one, a function from an "
                f"observation to an action, or None, got {others!r:.80}"
            )
        if self.policy is not None:
            self.policy.attach(sim)
        agents = range(1, sim.rules.other_agents + 1)
        self.observers = [observer_of(self.policy or observation, sim, agent) for agent in agents]
        self.taken = np.full((len(agents) + 1, sim.num_envs), -1)

    def reset(self, env_indices: I64) -> None:
        """Reset the memories of these envs."""
        self.taken[:, env_indices] = -1
        for observer in self.observers:
            observer.reset(env_indices)
        if self.policy is not None:
            agent_indices = env_indices[:, None] * len(self.taken) + np.arange(1, len(self.taken))
            self.policy.reset(agent_indices.ravel())

    def decide(self, sim: Simulator, agent: int, env_indices: I64) -> I64:
        """Return the actions of `agent` in these envs, which are all at its decision, (len(env_indices),)."""
        obs = self.observers[agent - 1].observe(sim, env_indices, self.taken[agent, env_indices])
        if self.policy is not None:
            actions = np.asarray(self.policy.act(obs, env_indices * len(self.taken) + agent), np.int64)
        else:
            actions = np.array([self._ask(agent, select_env(obs, k)) for k in range(env_indices.size)])
        if actions.shape != env_indices.shape or actions.min() < 0 or actions.max() >= ACTIONS:
            raise ValueError(
                f"others must return one action in [0, {ACTIONS - 1}] per env, got {actions!r:.80} for agent {agent}"
            )
        self.taken[agent, env_indices] = actions
        return actions

    def get_state(self) -> dict[str, Any]:
        """Return copies of the state kept per env, the policy's memory included."""
        return {
            "taken": self.taken.copy(),
            "observers": {str(k): observer.get_state() for k, observer in enumerate(self.observers)},
            "policy": self.policy.get_state() if self.policy is not None else {},
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        self.taken[:] = state["taken"]
        for k, observer in enumerate(self.observers):
            observer.set_state(state["observers"][str(k)])
        if self.policy is not None:
            self.policy.set_state(state["policy"])

    def _ask(self, agent: int, obs: Any) -> int:
        try:
            return check_action(self.function(obs))
        except ValueError as error:
            raise ValueError(f"others, for agent {agent}: {error}") from error


def built_in(others: str | Mapping[str, Any], year: int) -> Policy:
    """Return a built-in policy by its name or its fields; ValueError if there is none."""
    try:
        return make_builtin(others, year) if isinstance(others, str) else builtin_from_fields(others)
    except ValueError as error:
        raise ValueError(f"others: {error}") from error


def policy_observation(policy: Policy) -> Observation:
    """Return what a policy observes; ValueError if it asks for an observation that does not exist."""
    seen = policy.observation
    if isinstance(seen, EnvObservation):
        return make_observation({"kind": seen.kind, **seen.options})
    return seen if isinstance(seen, Observation) else VectorObservation(*seen)


class FlatObserver(Observer):
    """Computes the observations that a policy asks for by name, flat: (B, n) float64."""

    def observe(self, sim: Simulator, env_indices: ArrayLike | None = None, actions: ArrayLike | None = None) -> Any:
        """Return observations of these envs (all by default), a new (B, n) array; see `Observer.observe`."""
        return self.observation.flat(super().observe(sim, env_indices, actions))


def observer_of(seer: Policy | Observation, sim: Simulator, agent: int) -> Observer:
    """Return the observer of an agent that a policy drives, or that has this observation."""
    if not isinstance(seer, Policy):
        return Observer(sim.rules, seer, sim.num_envs, agent)
    observation, asked = policy_observation(seer), seer.observation
    if not isinstance(asked, EnvObservation):
        return Observer(sim.rules, observation, sim.num_envs, agent)
    observer = FlatObserver(sim.rules, observation, sim.num_envs, agent)
    size = flatdim(observer.space)
    if size != asked.size:
        raise ValueError(f"policy {seer.label} reads {asked.size} values, but {asked.kind} has {size} on this road")
    return observer
