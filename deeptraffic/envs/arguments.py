"""Checks of the arguments that all environments take when they are made, reset and stepped."""

import difflib
import operator
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import gymnasium
import numpy as np

from deeptraffic.envs.observations import OPTIONS
from deeptraffic.envs.reward import REWARDS
from deeptraffic.settings import check_choice, check_integer
from deeptraffic.sim.rules import CONTESTS, MAX_OTHER_AGENTS, Action, RoadConfig, Rules

MAX_STEPS = 67  # [decisions] until 2,000 frames have been driven
ACTIONS = len(Action)
KEYWORDS = (
    *("rules", "other_agents", "observation", "reward", "max_steps", "render_mode", "others"),
    *("render_size", "overlay", "theme", "layers"),
)
ACTION_NAMES = ", ".join(f"{action.value} {action.name.lower()}" for action in Action)


RulesLike = int | RoadConfig | Rules | Mapping[str, Any]


def resolve_rules(rules: RulesLike, other_agents: int = 0) -> Rules:
    """Return the rules named by 2017, 2018, a RoadConfig, or rules that one builds, with `other_agents`.

    A mapping of a RoadConfig's fields, or a list of the values of `Rules`, is taken as well: JSON makes them of these.
    A RoadConfig with other agents of its own brings them.
    """
    road = make_road(rules)
    other_agents = check_integer("other_agents", other_agents, 0, MAX_OTHER_AGENTS)
    if other_agents not in (0, road.other_agents):
        if road.other_agents != 0:
            raise ValueError(
                f"other_agents={other_agents} and RoadConfig(other_agents={road.other_agents}) contradict each other; "
                "give one of them"
            )
        road = replace(road, other_agents=other_agents)
    return road.build()


def make_road(rules: Any) -> RoadConfig:
    """Return the configuration of these rules, see `resolve_rules`."""
    if isinstance(rules, RoadConfig):
        return rules
    if isinstance(rules, Mapping):
        names = [each.name for each in fields(RoadConfig)]
        for name in rules:
            check_choice("name of a setting in rules", name, names)
        return RoadConfig(**rules)
    if isinstance(rules, Sequence) and not isinstance(rules, str) and len(rules) == len(Rules._fields):
        return RoadConfig.of(Rules(*rules))
    try:
        return RoadConfig(rules=rules)
    except ValueError:
        years = ", ".join(map(str, CONTESTS))
        raise ValueError(
            f"rules must be one of {years}, a RoadConfig or a mapping of its fields, got {rules!r:.80}"
        ) from None


def check_reward(reward: str) -> str:
    """Return the reward's name if it is one of `REWARDS`."""
    return check_choice("reward", reward, REWARDS)


def check_max_steps(max_steps: int | None) -> int | None:
    """Return the number of steps after which an episode is truncated, None for never."""
    return None if max_steps is None else check_integer("max_steps", max_steps, 1, 10**12, " or None")


def refuse_unknown(keywords: Mapping[str, Any]) -> None:
    """Raise TypeError, with the right place for it, for a keyword that an environment does not have."""
    for name, value in keywords.items():
        if name in [each.name for each in fields(RoadConfig)]:
            remedy = f"roads are described by rules: rules=deeptraffic.sim.rules.RoadConfig({name}={value!r:.40})"
        elif name in OPTIONS:
            remedy = f"observations have their options with them: observation={{'kind': ..., {name!r}: {value!r:.40}}}"
        else:
            near = difflib.get_close_matches(name, KEYWORDS, 1)
            remedy = f"did you mean {near[0]}?" if near else f"environments have {', '.join(KEYWORDS)}"
        raise TypeError(f"there is no keyword {name!r}; {remedy}")


def check_action(action: Any) -> int:
    """Return an action, an integer of any type or an array of one, as int."""
    try:
        given = operator.index(action.item() if isinstance(action, np.ndarray) and action.size == 1 else action)
    except TypeError:
        given = -1
    if not 0 <= given < ACTIONS:
        raise ValueError(f"action must be one of {ACTION_NAMES}, got {action!r:.80}")
    return given


def check_options(options: Mapping[str, Any] | None, *known: str) -> Mapping[str, Any]:
    """Return the options of a reset that are not None, if all of them are known."""
    options, names = {} if options is None else options, ", ".join(map(repr, known))
    if not isinstance(options, Mapping):
        raise ValueError(f"options must be a mapping of reset options or None, got {options!r:.80}")
    for name in options:
        if not known:
            raise ValueError(f"this environment has no reset options, got {name!r:.80}; leave options out")
        if name not in known:
            raise ValueError(f"reset option must be one of {names}, got {name!r:.80}")
    given = {name: value for name, value in options.items() if value is not None}
    if "official_run" in given:
        given["official_run"] = check_integer("official_run", given["official_run"], 1)
    return given


class AttributeNeedsReset(gymnasium.error.ResetNeeded, AttributeError):
    """An attribute that only an episode has, asked for before the first reset."""


def check_started(is_started: bool, wanted: str) -> None:
    """Raise ResetNeeded where there is no episode yet.

    wanted: the method or attribute that needs one
    """
    if not is_started:
        raise gymnasium.error.ResetNeeded(f"{wanted} needs an episode, and none was started yet: call reset() first")
