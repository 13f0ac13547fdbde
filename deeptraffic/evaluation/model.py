"""Policies of other libraries: whatever chooses actions is evaluated as any policy.

>>> import deeptraffic
>>> deeptraffic.evaluate(model, observation="gaps").score            # a Stable-Baselines3 model, a torch module ...
72.31
>>> deeptraffic.evaluate(lambda obs: np.ones(len(obs), int), "gaps", protocol="open", runs=100).mean_mph
"""

import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.envs.arguments import ACTIONS
from deeptraffic.envs.observations import OBSERVATIONS, PRESETS, Observation, ObservationLike, make_observation
from deeptraffic.evaluation.batch import PROTOCOLS
from deeptraffic.evaluation.play import Progress
from deeptraffic.evaluation.protocol import evaluate_official, evaluate_open
from deeptraffic.evaluation.score import Score
from deeptraffic.policies.base import Policy
from deeptraffic.sim.rules import RoadConfig
from deeptraffic.sim.state import I64

MOST_PARTS = 4  # of a dict that an error lists


# parameters: options of the evaluation, each with a default and given by name
def evaluate(
    model: Any,
    observation: ObservationLike | None = None,
    *,
    protocol: str = "official",
    rules: int = 2018,
    other_agents: int = 0,
    runs: int = 1000,
    seed_set: str = "tuning",
    progress: Progress | None = None,
) -> Score:
    """Return the score of a policy of any kind: the contest's official one, or that of open runs.

    Args:
        model: see `as_policy`
        observation: what it observes, as in `gymnasium.make`: a kind, a mapping of kind and options, or an Observation
        protocol: "official" (500 runs in a row, `score` to the contest's last digit) or "open" (independent runs)
        rules: of the contest, 2018 or 2017
        other_agents: 0 to 10, which the same model drives
        runs, seed_set: of the protocol open
        progress: is called now and then with frames played and frames in total

    Raises ValueError if it cannot observe that, or returns anything but actions.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    policy = as_policy(model, observation, rules=rules, other_agents=other_agents)
    if protocol == "official":
        return evaluate_official(policy, rules, other_agents, progress)
    return evaluate_open(policy, rules, other_agents, runs, seed_set, progress=progress)


def as_policy(
    model: Any,
    observation: ObservationLike | None = None,
    label: str | None = None,
    rules: int = 2018,
    other_agents: int = 0,
) -> Policy:
    """Return a model as a policy.

    model: a `Policy`; an object with predict(obs, state, episode_start, deterministic) as Stable-Baselines3's have,
        recurrent ones included; a torch module (obs (B, ...) float32 -> (B, 5) values or logits); or a function of
        obs (B, ...) that returns actions (B,) or values (B, 5), of which the highest counts
    observation: None takes the one that the model's `observation_space` fits, or its attribute `observation`
    label: name in tables; None for the model's own, or its class's

    Raises ValueError with the remedy if the model is none of these, or does not observe that.
    """
    if isinstance(model, Policy):
        if observation is not None:
            raise ValueError(f"policy {model.label} says itself what it observes; leave out observation")
        return model
    if isinstance(model, type) or not (callable(model) or hasattr(model, "predict")):
        raise ValueError(
            "a model must be a deeptraffic.policies.base.Policy, have a method predict(obs) as Stable-Baselines3's do, "
            f"or be a function from observations to actions, got {model!r:.80}"
        )
    space = getattr(model, "action_space", None)
    if space is not None and not (isinstance(space, spaces.Discrete) and space.n == ACTIONS):
        raise ValueError(f"the model's action space must be Discrete({ACTIONS}), got {space}; train it on this task")
    given = observation if observation is not None else getattr(model, "observation", None)
    seen = _observation_of(model, given, RoadConfig(rules=rules, other_agents=other_agents))
    name = label or getattr(model, "label", None) or getattr(model, "__name__", None) or type(model).__name__
    return ModelPolicy(model, seen, str(name), rules, other_agents)


class ModelPolicy(Policy):
    """A model of another library, asked for the decisions of many agents at once; see `as_policy`."""

    def __init__(self, model: Any, observation: Observation, label: str, rules: int, other_agents: int) -> None:
        self.model, self.observation, self.label = model, observation, label
        self.rules, self.other_agents = rules, other_agents
        self._ask = _asking(model)
        self._memory = Memory()

    def reset(self, agent_indices: I64) -> None:
        """Clear the recurrent states of these agents."""
        self._memory.reset(agent_indices)

    def act(self, obs: Any, agent_indices: I64) -> I64:
        """Return the actions (B,) for observations (B, ...)."""
        answer = self._ask(obs, self._memory, agent_indices)
        found = np.asarray(answer.detach().cpu() if hasattr(answer, "detach") else answer)
        if found.shape == (len(agent_indices), ACTIONS):
            self.values = found.astype(np.float64)
            return self.values.argmax(1)
        if found.shape != agent_indices.shape or not np.issubdtype(found.dtype, np.number):
            raise ValueError(
                f"{self.label} returned {_shape(answer)} for {len(agent_indices)} observations; it must return an "
                f"action in [0, {ACTIONS - 1}] for each, (B,), or the values of all actions, (B, {ACTIONS})"
            )
        return found.astype(np.int64)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the recurrent states."""
        return self._memory.get_state()

    def set_state(self, state: Any) -> None:
        """Continue from what `get_state` returned."""
        self._memory.set_state(state)


class Memory:
    """Recurrent states of agents, as Stable-Baselines3's `predict` takes and returns them.

    parts: (layers, agents, units) each
    is_new: (agents,) whether an agent's episode starts
    """

    def __init__(self) -> None:
        self.parts: tuple[NDArray[Any], ...] = ()
        self.is_new = np.ones(0, np.bool_)

    def reset(self, agent_indices: I64) -> None:
        """Start new episodes of these agents."""
        self._grow(int(agent_indices.max(initial=-1)) + 1)
        self.is_new[agent_indices] = True

    def take(self, agent_indices: I64) -> tuple[tuple[NDArray[Any], ...] | None, NDArray[np.bool_]]:
        """Return the states of these agents, None before the first, and whether their episodes start."""
        self._grow(int(agent_indices.max(initial=-1)) + 1)
        return tuple(part[:, agent_indices] for part in self.parts) or None, self.is_new[agent_indices]

    def put(self, agent_indices: I64, after: tuple[NDArray[Any], ...] | None) -> None:
        """Keep the states after a decision; None of a model without any."""
        if after is None:
            return
        if not self.parts:
            self.parts = tuple(np.zeros((len(part), self.is_new.size, part.shape[2]), np.float32) for part in after)
        for kept, part in zip(self.parts, after, strict=True):
            kept[:, agent_indices] = part
        self.is_new[agent_indices] = False

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the states."""
        return {"is_new": self.is_new.copy()} | {str(k): part.copy() for k, part in enumerate(self.parts)}

    def set_state(self, state: Any) -> None:
        """Continue from what `get_state` returned."""
        self.is_new = state["is_new"].copy()
        self.parts = tuple(state[str(k)].copy() for k in range(len(state) - 1))

    def _grow(self, agents: int) -> None:
        missing = agents - self.is_new.size
        if missing > 0:
            self.is_new = np.concatenate([self.is_new, np.ones(missing, np.bool_)])
            self.parts = tuple(np.pad(part, ((0, 0), (0, missing), (0, 0))) for part in self.parts)


# --- the kinds of models ----------------------------------------------------------------------------------------------

Asking = Callable[[Any, Memory, I64], Any]
"""(observations (B, ...), memory, agent indices (B,)) -> actions (B,) or values (B, 5)."""


def _asking(model: Any) -> Asking:
    """Return how a model is asked."""
    if hasattr(model, "predict"):
        names = inspect.signature(model.predict).parameters
        if {"state", "episode_start", "deterministic"} <= set(names):
            return lambda obs, memory, indices: _predicted(model, obs, memory, indices)
        return lambda obs, memory, indices: model.predict(obs)
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        return lambda obs, memory, indices: _computed(torch, model, obs)
    return lambda obs, memory, indices: model(obs)


def _predicted(model: Any, obs: Any, memory: Memory, agent_indices: I64) -> Any:
    before, starts = memory.take(agent_indices)
    actions, after = model.predict(obs, state=before, episode_start=starts, deterministic=True)
    memory.put(agent_indices, after)
    return actions


def _computed(torch: Any, module: Any, obs: Any) -> Any:
    """Return what a torch module computes, on its own device and in its own mode of evaluation."""
    first = next(iter(module.parameters()), torch.zeros(1))
    tensors = (
        {name: torch.as_tensor(part, device=first.device) for name, part in obs.items()}
        if (isinstance(obs, dict))
        else torch.as_tensor(obs, dtype=first.dtype, device=first.device)
    )
    was_training = module.training
    module.eval()
    with torch.no_grad():
        values = module(tensors)
    module.train(was_training)
    return values


def _shape(answer: Any) -> str:
    shape = getattr(answer, "shape", None)
    return f"{answer!r:.60}" if shape is None else f"an array of shape {tuple(shape)}"


# --- what it observes -------------------------------------------------------------------------------------------------


def _observation_of(model: Any, given: Any, road: RoadConfig) -> Observation:
    """Return the observation of a model; ValueError if it does not fit the model's space, or is not known."""
    wanted, rules = getattr(model, "observation_space", None), road.build()
    if given is not None:
        observation = make_observation(given)
        if wanted is not None and not _fits(wanted, observation.space(rules)):
            raise ValueError(
                f"the model observes {_words(wanted)}, but {observation.kind} is {_words(observation.space(rules))}; "
                "name the observation, with its options, that it was trained on"
            )
        return observation
    if wanted is None:
        raise ValueError(
            f"say what the model observes: observation={'|'.join(OBSERVATIONS)}, or a mapping of kind and options"
        )
    known = {name: make_observation(name) for name in (*OBSERVATIONS, *PRESETS)}
    fitting = [name for name, each in known.items() if _fits(wanted, each.space(rules))]
    same = [name for name in fitting if known[name].space(rules) == wanted] or fitting
    if same:
        return known[same[0]]
    have = ", ".join(f"{name} {_words(known[name].space(rules))}" for name in OBSERVATIONS)
    raise ValueError(
        f"the model observes {_words(wanted)}, and no observation has that by default ({have}); "
        "name it with the options that it was trained on, such as observation={'kind': 'gaps', 'lanes_side': 2}"
    )


def _fits(wanted: spaces.Space, space: spaces.Space) -> bool:
    """Whether observations of a space can be given to a model with another, bounds and order of channels aside."""
    if isinstance(wanted, spaces.Dict) and isinstance(space, spaces.Dict):
        return set(wanted) == set(space) and all(_fits(wanted[name], space[name]) for name in space)
    if wanted.shape is None or space.shape is None:
        return False
    return sorted(wanted.shape) == sorted(space.shape)


def _words(space: spaces.Space) -> str:
    if isinstance(space, spaces.Dict) and len(space) > MOST_PARTS:
        return f"a dict of {len(space)} parts"
    if isinstance(space, spaces.Dict):
        return "{" + ", ".join(f"{name}: {_words(part)}" for name, part in space.items()) + "}"
    return f"{space.shape}"
