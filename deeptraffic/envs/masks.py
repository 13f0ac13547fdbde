"""Action masks: the actions that could have an effect now, by the safety system and the throttle's ends."""

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.kernel import ACCELERATE, DECELERATE, LEFT, NOTHING, RIGHT, turn
from deeptraffic.sim.rules import Action, Rules
from deeptraffic.sim.state import I64, Game, Games

Masks = NDArray[np.int8]  # 1 possible, 0 not: what the `sample` of an action space takes


@compiled
def may_turn(rules: Rules, game: Game, agent: int, side: int) -> bool:
    """Return whether the agent's lane change would be allowed at this instant; the state is left as it was."""
    lane = game.lane[agent]
    allowed = turn(rules, game, agent, side)
    game.lane[agent] = lane
    return allowed


@compiled
def write_masks(rules: NDArray, games: Games, env_indices: I64, agent: int, out: Masks) -> None:
    """Write the agent's possible actions in each env, out (len(env_indices), 5)."""
    for k in range(env_indices.size):
        game = games[env_indices[k]]
        factor = game.speed_factor[agent]
        out[k, NOTHING] = True
        out[k, ACCELERATE] = factor < 2.0
        out[k, DECELERATE] = factor > 0.0
        out[k, LEFT] = may_turn(rules[0], game, agent, -1)
        out[k, RIGHT] = may_turn(rules[0], game, agent, 1)


def action_masks(sim: Simulator, agent: int = 0, env_indices: I64 | None = None) -> Masks:
    """Return which actions of `agent` could have an effect in these envs (all by default), (B, 5) int8 of 1 and 0.

    Valid at this agent's decision: a lane change off the road, or one that the safety system would refuse, is 0, and so
    is a throttle that is at its end. Doing nothing is always possible.
    """
    env_indices = sim.env_indices if env_indices is None else env_indices
    out = np.empty((env_indices.size, len(Action)), np.int8)
    write_masks(sim.table, sim.games, env_indices, agent, out)
    return out
