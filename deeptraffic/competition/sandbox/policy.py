"""A submission at the wheel: looks like any policy to the evaluation, and runs in a locked child process.

    >>> with SandboxedPolicy(submission.content) as policy:
    ...     evaluate_official(policy, other_agents=10)      # the same score as in this process, to the last digit

What passes is observations one way and actions the other; rules, seeds, scores and the simulator stay here.
"""

import os
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from deeptraffic.competition.sandbox import records, wire
from deeptraffic.competition.sandbox.cores import SharedCore
from deeptraffic.competition.sandbox.faults import SubmissionFault
from deeptraffic.competition.sandbox.intake import MAX_LABEL, check_cost
from deeptraffic.competition.sandbox.ipc import play_runs
from deeptraffic.competition.sandbox.limits import DRIVING, Limits
from deeptraffic.competition.sandbox.lock import Layer
from deeptraffic.competition.sandbox.process import ChildProcess
from deeptraffic.policies.base import OfficialLoop, Policy
from deeptraffic.sim.rules import Action
from deeptraffic.sim.state import F64, I64, Games

MOST_ACTION = max(Action)


class SandboxedPolicy(Policy):
    """A `Policy` (deeptraffic/policies/base.py) in a child process; a context manager.

    Args:
        content: a policy file, as `intake.check` gives it
        limits: what it may use

    `decisions` holds what it decided since the last reset wherever it drove in one game: of all agents, in the order in
    which they were due, one byte each.

    Raises SubmissionFault for whatever the submission does wrong, now or in a later call, and PlatformFault for
    whatever is our own.
    """

    def __init__(self, content: bytes, limits: Limits = DRIVING) -> None:
        self.limits, self.decisions = limits, bytearray()
        self.child = ChildProcess("drive", limits)
        self.core = SharedCore(self.child.pid)
        try:
            record = records.read_report(self.child.ask(wire.SUBMISSION, content))
            self._take_facts(record)
        except BaseException:
            self.close()
            raise

    def _take_facts(self, record: dict[str, Any]) -> None:
        try:
            self.label = records.plain_text(record.get("label"), MAX_LABEL)
            self.observation = records.sensor(record)
            self.rules, self.other_agents = records.rules(record), records.other_agents(record)
            operations, values = records.whole(record, "operations"), records.whole(record, "values")
            self.vehicle_numbers = records.whole(record, "vehicle_numbers")
        except ValueError as error:
            raise SubmissionFault("answer", f"the policy's process gave a report that cannot be: {error}") from None
        check_cost(operations, values, self.vehicle_numbers, self.limits)

    @property
    def layers(self) -> list[Layer]:
        """The protections, and whether each is in force."""
        return self.child.layers

    def attach(self, sim: Any) -> None:
        """Tell the child how many agents drive in each game."""
        agents = sim.rules.other_agents + 1
        needed, room = 8 * self.vehicle_numbers * sim.num_envs * agents, self.limits.memory // 2
        if needed > room:
            raise SubmissionFault(
                "memory",
                f"the memories of {sim.num_envs * agents} cars take {needed >> 20} MB, at most {room >> 20} MB: make "
                "the temporal window or the recurrent layers smaller",
            )
        self.child.ask(wire.ATTACH, columns=agents, most=0)
        self.agents, self.period = agents, sim.rules.decision_period

    def reset(self, rows: I64) -> None:
        """Empty the memories of these slots, and `decisions`."""
        self.decisions.clear()
        self.child.ask(wire.RESET, rows.astype(np.int64).tobytes(), len(rows), most=0)

    def act(self, obs: F64, rows: I64) -> I64:
        """Return the actions (B,) for obs (B, D) float64 of the drivers with slots `rows` (B,)."""
        count, columns = obs.shape
        answer = self.child.ask(wire.ACT, rows.tobytes() + obs.tobytes(), count, columns, count)
        if len(answer) != count or max(answer) > MOST_ACTION:
            raise self.child.wrong_answer()
        if count == 1:
            self.decisions += answer
        return np.frombuffer(answer, np.uint8).astype(np.int64)

    def official_loop(self) -> OfficialLoop:
        """Return the loop that plays whole runs in compiled code, asking the child for each decision."""
        return self._play_runs

    def _play_runs(
        self, rules: NDArray[Any], games: Games, first_run: int, frames: int, sums: F64, passed: I64
    ) -> None:
        most = sums.size * self.agents * (frames // self.period + 2)
        nonces, decisions = np.frombuffer(os.urandom(8 * most), np.int64), np.empty(most, np.uint8)
        line = self.child.hold_line()
        run = (rules, games, first_run, frames, sums, passed)
        with self.core.held():
            ended, count = play_runs(line, nonces, decisions, *self.observation, *run)
        self.child.hang_up(ended)
        self.decisions += decisions[:count].tobytes()

    def close(self) -> None:
        """End the child."""
        self.child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
