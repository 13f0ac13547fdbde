"""Shadow of a policy: a copy that is asked what it would decide in other states, while the policy itself drives on."""

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.observations import Observer, select_env
from deeptraffic.envs.other_agents import observer_of
from deeptraffic.policies.base import Policy
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Action, Rules, Sensor
from deeptraffic.sim.state import F64, Games


class Shadow:
    """A copy of a policy, and C copies of the env that it drives in.

    sim: of the copies; set `sim.games` to the states to ask about, after `follow`
    action: that was carried out last, for observations with a temporal window; to be set
    """

    def __init__(self, policy: Policy, rules: Rules, copies: int) -> None:
        self.original, self.policy = policy, copy.deepcopy(policy)
        self.policy.activity = None
        self.sim = Simulator(rules, copies, threads=1)
        self._observer: Observer | None = None
        if not isinstance(policy.observation, Sensor):
            self._observer = observer_of(self.policy, self.sim, 0)
        self.action, self._frame = -1, -1

    def follow(self, sim: Simulator) -> Games:
        """Set all copies to env 0 of a simulator, which waits for the ego car; return them."""
        frame = int(sim.state.frame[0])
        if self._observer is not None and frame <= self._frame:  # another episode
            self._observer.reset()
            self.action = -1
        self._frame = frame
        self.sim.set_state(sim.get_state(np.zeros(1, np.int64)))
        self.sim.starts[:] = sim.starts[:1]
        return self.sim.games

    def outputs(self) -> F64:
        """Return the values (C, 5) by which the policy would choose in each copy, with its present memory.

        A policy without values has 1 for the action that it would choose and 0 for the others.
        """
        obs, memory, agents = self._observe(), self.original.get_state(), self.sim.rules.other_agents + 1
        is_planner = self.policy.access == "privileged"  # it looks into its env, and draws the same numbers for each
        found = np.zeros((self.sim.num_envs, len(Action)))
        known: dict[bytes, int] = {}
        for k in range(self.sim.num_envs):
            one = _one(obs, k)
            key = _bytes(one)
            if key in known and not is_planner:
                found[k] = found[known[key]]  # what is hidden was not seen
                continue
            known[key] = k
            self.policy.attach(self.sim)
            self.policy.set_state(memory)
            action = self.policy.act(one, np.array([k * agents if is_planner else 0]))
            values = self.policy.values
            found[k] = np.arange(len(Action)) == action[0] if values is None else values[0]
        return found

    def _observe(self) -> Any:
        if self._observer is None:
            return self.sim.sense(self.policy.sensor)
        actions = None if self.action < 0 else np.full(self.sim.num_envs, self.action)
        return self._observer.observe(self.sim, actions=actions)


def _one(obs: Any, k: int) -> Any:
    """Return a batch of the k-th observation alone."""
    one = select_env(obs, k)
    return {name: part[None] for name, part in one.items()} if isinstance(one, dict) else one[None]


def _bytes(obs: Any) -> bytes:
    parts: list[NDArray[Any]] = [obs[name] for name in sorted(obs)] if isinstance(obs, dict) else [obs]
    return b"".join(part.tobytes() for part in parts)
