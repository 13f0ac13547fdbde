"""What every environment is told when it is made, checked once for all of them, and how an open run is chosen."""

import operator
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from deeptraffic.sim.rules import Action, RoadConfig, Rules

MAX_STEPS = 67  # decisions until 2,000 frames have been driven
ACTIONS = len(Action)
REWARDS = ("mit", "speed", "passed")
OFFICIAL_FRAMES = {2017: 100_000, 2018: 2_000}  # frames of an official run, by contest
RENDER_FPS = 60  # frames of the game per second, as the original runs
FIRST_DRAWN_SEED = 1 << 32  # below, seeds are for people and for evaluations to name


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
    """Return the reward's name if there is such a reward."""
    if reward not in REWARDS:
        raise ValueError(f"reward={reward!r} does not exist; choose one of {', '.join(REWARDS)}")
    return reward


def reward_of(reward: str, mit: Any, passed: Any) -> Any:
    """Return the chosen reward, of one game or (B,) of many.

    mit: (N - 60) / 20, the reward of the decision just reached; passed: vehicles passed since the one before
    """
    if reward == "mit":
        return mit
    if reward == "speed":
        return 0.5 + mit / 6.0  # N = 60 + 20 mit over 30 frames; 20 N / 30 [mph] / 80
    return passed


def check_render_mode(render_mode: str | None, modes: list[str]) -> str | None:
    """Return the render mode if there is such a mode."""
    if render_mode is not None and render_mode not in modes:
        raise ValueError(f"render_mode={render_mode!r} does not exist; choose one of {', '.join(modes)}, or None")
    return render_mode


def check_max_steps(max_steps: int | None) -> int | None:
    """Return the number of steps after which an episode is cut, None for never."""
    if max_steps is None:
        return None
    if isinstance(max_steps, bool) or not isinstance(max_steps, int | np.integer) or max_steps < 1:
        raise ValueError(f"max_steps={max_steps!r} is not possible; give a whole number from 1, or None for no limit")
    return int(max_steps)


def check_action(action: Any) -> int:
    """Return an action, a whole number of any type, as int."""
    try:
        given = operator.index(action)
    except TypeError:
        given = -1
    if not 0 <= given < ACTIONS:
        names = ", ".join(f"{a.value} {a.name.lower()}" for a in Action)
        raise ValueError(f"action={action!r} is not possible; give one whole number: {names}")
    return given


def check_options(options: Mapping[str, Any] | None, known: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the options of a reset if all of them are known."""
    options = options or {}
    for name in options:
        if name not in known:
            raise ValueError(f"unknown reset option {name!r}; known: {', '.join(known)}")
    return options


def draw_open_seed(np_random: np.random.Generator) -> int:
    """Draw the seed of an open run, one that nobody has named."""
    return int(np_random.integers(FIRST_DRAWN_SEED, np.iinfo(np.int64).max))
