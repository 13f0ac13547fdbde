"""Sandboxed policy: a submission that is a policy like any other to the evaluation, and runs in a locked-down child.

    >>> with SandboxedPolicy(upload.content) as policy:
    ...     evaluate_official(policy, other_agents=10)      # the same score as in this process, to the last bit

Only observations and actions cross the process boundary; rules, seeds, scores and the simulator stay here.
"""

import os
from types import TracebackType
from typing import Any, Self

import numpy as np

from deeptraffic.competition.sandbox import messages
from deeptraffic.competition.sandbox.errors import InvalidSubmission
from deeptraffic.competition.sandbox.ipc import play_asking
from deeptraffic.competition.sandbox.limits import EVALUATION, Limits
from deeptraffic.competition.sandbox.process import ChildProcess, SharedCore
from deeptraffic.competition.sandbox.validation import from_report, read_report
from deeptraffic.policies.base import Policy, RunLoop
from deeptraffic.policies.network_policy import agent_keys
from deeptraffic.sim.rules import Action, Sensor
from deeptraffic.sim.runs import Runs
from deeptraffic.sim.state import F64, I64

MOST_ACTION = max(Action)


class SandboxedPolicy(Policy):
    """A policy in a child process; a context manager.

    Args:
        content: a policy file, as `validate` returns it
        limits: of its child process

    `decisions` holds its decisions since the last reset where it drives in one env: of all agents, in the order in
    which they were due, one byte each.

    Raises InvalidSubmission for whatever the submission does wrong, now or in a later call, and PlatformError for every
    other failure.
    """

    def __init__(self, content: bytes, limits: Limits = EVALUATION) -> None:
        self.limits, self.decisions = limits, bytearray()
        self.child = ChildProcess("evaluate", limits)
        self.core = SharedCore(self.child.pid)
        try:
            report = read_report(self.child.ask(messages.SUBMISSION, content))
            self.upload = from_report(content, "", report, limits)
        except BaseException:
            self.close()
            raise
        self.label, self.observation = self.upload.label, self.upload.observation
        self.rules, self.other_agents = self.upload.rules, self.upload.other_agents
        self.epsilon = self.upload.epsilon
        self.agents, self.starts = 1, None

    def attach(self, sim: Any) -> None:
        """Send the child the number of agents per env."""
        agents = sim.rules.other_agents + 1
        needed, room = 8 * self.upload.state_values * sim.num_envs * agents, self.limits.memory // 2
        if needed > room:
            raise InvalidSubmission(
                "memory",
                f"the state of {sim.num_envs * agents} vehicles takes {needed >> 20} MB, at most {room >> 20} MB: make "
                "the temporal window or the recurrent layers smaller",
            )
        self.child.ask(messages.ATTACH, columns=agents, most=0)
        self.agents, self.period, self.starts = agents, sim.rules.decision_period, sim.starts

    def reset(self, agent_indices: I64) -> None:
        """Reset the state of these agents, and `decisions`; the child gets their runs' keys, which hide the seeds."""
        self.decisions.clear()
        keys = agent_keys(self.starts, agent_indices, self.agents)
        content = agent_indices.astype(np.int64).tobytes() + keys.tobytes()
        self.child.ask(messages.RESET, content, len(agent_indices), most=0)

    def act(self, obs: F64, agent_indices: I64) -> I64:
        """Return the actions (B,) for observations (B, D) float64 of the agents with these indices (B,)."""
        count, columns = obs.shape
        answer = self.child.ask(messages.ACT, agent_indices.tobytes() + obs.tobytes(), count, columns, count)
        if len(answer) != count or max(answer) > MOST_ACTION:
            raise self.child.wrong_answer()
        if count == 1:
            self.decisions += answer
        return np.frombuffer(answer, np.uint8).astype(np.int64)

    def official_loop(self) -> RunLoop | None:
        """Return the loop that plays whole runs in compiled code, asking the child for each decision.

        None for an observation that is computed here in Python.
        """
        return self._play if isinstance(self.observation, Sensor) else None

    def _play(self, runs: Runs) -> None:
        most = runs.passed.size * self.agents * (runs.frames // self.period + 2)
        nonces, decisions = np.frombuffer(os.urandom(8 * most), np.int64), np.empty(most, np.uint8)
        endpoint = self.child.endpoint()
        with self.core.held():
            status, count = play_asking(runs, self.observation, endpoint, nonces, decisions)
        self.child.check(status)
        self.decisions += decisions[:count].tobytes()

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the child so far [s]."""
        return self.child.cpu_seconds

    def close(self) -> None:
        """End the child."""
        self.child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
