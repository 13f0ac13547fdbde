"""Calls a compiled loop on rows of a simulator: spread over threads for many rows, directly for a single one."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from deeptraffic.sim.engine import Simulator, run_in_chunks
from deeptraffic.sim.state import I64


class RowLoop:
    """A compiled loop(rules, *fixed, games, rows, agent, *per_row), where per_row[j] is an array of len(rows) entries.

    Args:
        loop: as above
        fixed: what it takes after the rules, such as a Sensor
        agent: whose view it writes
    """

    def __init__(self, loop: Callable[..., None], fixed: tuple[Any, ...], agent: int) -> None:
        self.loop, self.fixed, self.agent = loop, fixed, agent
        self.is_compiled = False  # until the first call, which says so if it takes long

    def __call__(self, sim: Simulator, rows: I64, *per_row: NDArray[Any]) -> None:
        """Run the loop over rows."""
        if rows.size == 1 and self.is_compiled:
            self.loop(sim.table, *self.fixed, sim.games, rows, self.agent, *per_row)
        else:
            run_in_chunks(sim, self.loop, rows, per_row, self.fixed, (self.agent,))
            self.is_compiled = True
