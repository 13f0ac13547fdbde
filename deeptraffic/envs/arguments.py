"""Checks of the arguments that all environments take when they are made, reset and stepped."""

import operator
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from deeptraffic.envs.reward import REWARDS
from deeptraffic.settings import check_choice, check_integer
from deeptraffic.sim.rules import Action, RoadConfig, Rules

MAX_STEPS = 67  # [decisions] until 2,000 frames have been driven
ACTIONS = len(Action)
ACTION_NAMES = ", ".join(f"{action.value} {action.name.lower()}" for action in Action)


def resolve_rules(rules: int | RoadConfig, other_agents: int = 0) -> Rules:
    """Return the rules named by 2017, 2018 or a RoadConfig, with `other_agents` (a RoadConfig brings its own)."""
    if not isinstance(rules, RoadConfig):
        return RoadConfig(rules=rules, other_agents=other_agents).build()
    if other_agents not in (0, rules.other_agents):
        if rules.other_agents != 0:
            raise ValueError(
                f"other_agents={other_agents} and RoadConfig(other_agents={rules.other_agents}) contradict each other; "
                "give one of them"
            )
        rules = replace(rules, other_agents=other_agents)
    return rules.build()


def check_reward(reward: str) -> str:
    """Return the reward's name if it is one of `REWARDS`."""
    return check_choice("reward", reward, REWARDS)


def check_max_steps(max_steps: int | None) -> int | None:
    """Return the number of steps after which an episode is truncated, None for never."""
    return None if max_steps is None else check_integer("max_steps", max_steps, 1, where=" or None")


def check_action(action: Any) -> int:
    """Return an action, an integer of any type, as int."""
    try:
        given = operator.index(action)
    except TypeError:
        given = -1
    if not 0 <= given < ACTIONS:
        raise ValueError(f"action must be one of {ACTION_NAMES}, got {action!r:.80}")
    return given


def check_options(options: Mapping[str, Any] | None, *known: str) -> Mapping[str, Any]:
    """Return the options of a reset if all of them are known."""
    options = options or {}
    for name in options:
        check_choice("reset option", name, known)
    return options
