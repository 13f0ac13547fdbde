"""Ray backend of a sweep: `deeptraffic sweep CONFIG --ray ADDRESS`, see `agents/study/CLUSTER.md`.

Only the driver, `agents.study.sweep`, writes the study: it sends a trial's number and draws to a machine and stores the
result. No trial is lost with a machine, and each counts once, however often it was started: Ray repeats the call on
another machine, with the same draws and seeds, and returns one result.

    >>> backend = RayTrials(config, "auto")
    >>> backend.start(0, {"gamma": 0.9})
    >>> backend.wait(60.0)                                  # [Finished(0, TrialResult(...))]
"""

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from agents.study.config import SweepConfig
from agents.study.ray_cluster import Calls, Lost, connected, cores
from agents.study.trial import TrialResult, never_stop, run_trial
from agents.study.workers import Died, Event, Finished, Reported
from deeptraffic.run_dir import use_one_thread


class RayTrials:
    """Backend (`agents.study.workers.Backend`) of a cluster's machines.

    Args:
        config: of the sweep
        address: of the cluster, see `agents.study.ray_cluster.connect`
        workers: most trials at once; None for the current number of cores of the cluster
    """

    def __init__(self, config: SweepConfig, address: str, workers: int | None = None) -> None:
        self.config, self.workers = config, workers
        self.session = ExitStack()
        self.ray = self.session.enter_context(connected(address))
        self.calls = Calls(self.ray, trial_call)
        self.mailbox = open_mailbox(self.ray) if config.pruner != "none" else None
        self.reports = self.mailbox.collect.remote() if self.mailbox else None

    def free(self) -> int:
        """Return how many more trials may start now; machines come and go."""
        most = cores(self.ray) if self.workers is None else self.workers
        return max(0, most - len(self.calls.running))

    def start(self, number: int, params: Mapping[str, Any]) -> None:
        """Start a trial, on the next free core."""
        self.calls.start(number, self.config, number, dict(params), self.mailbox)

    def wait(self, seconds: float) -> list[Event]:
        """Return the events since the last call, after waiting up to this long for one."""
        ended = self.calls.wait(seconds, self.reports)
        events: list[Event] = [*self._collect_reports()]
        for one in ended:
            events.append(Died(one.key, one.reason) if isinstance(one, Lost) else Finished(one.key, one.value))
        return events

    def answer(self, number: int, stop: bool) -> None:
        """Answer a trial that reported: whether to stop."""
        if self.mailbox is not None:
            self.mailbox.answer.remote(number, stop)

    def close(self) -> None:
        """End all trials at once."""
        self.calls.cancel()
        self.session.close()

    def _collect_reports(self) -> list[Reported]:
        """Return the mailbox's reports of trials that still run; a trial that was restarted reports again."""
        if self.reports is None or not self.ray.wait([self.reports], timeout=0)[0]:
            return []
        assert self.mailbox is not None
        try:
            reports = self.ray.get(self.reports)
        except self.ray.exceptions.RayActorError:  # the mailbox is gone: trials run on without a pruner
            self.reports = None
            return []
        self.reports = self.mailbox.collect.remote()
        running = set(self.calls.running.values())
        return [Reported(*report) for report in reports if report[0] in running]


class Mailbox:
    """Actor that carries reports from trials to the driver, and answers back; it lives on the driver's machine."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, int, float]] = []  # (number, step, score) not yet collected
        self.arrived = asyncio.Event()
        self.answers: dict[int, asyncio.Future[bool]] = {}

    async def report(self, number: int, step: int, score: float) -> bool:
        """Send a trial's report; return the driver's answer when it arrives."""
        answer = asyncio.get_running_loop().create_future()
        self.answers[number] = answer
        self.reports.append((number, step, score))
        self.arrived.set()
        return await answer

    async def collect(self) -> list[tuple[int, int, float]]:
        """Return the reports since the last call, as soon as there is one."""
        await self.arrived.wait()
        self.arrived.clear()
        reports, self.reports = self.reports, []
        return reports

    async def answer(self, number: int, stop: bool) -> None:
        """Answer a trial's last report."""
        waiting = self.answers.pop(number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(stop)


def open_mailbox(ray: Any) -> Any:
    """Return a new mailbox on the driver's machine, which the sweep needs anyway."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    options = {"num_cpus": 0, "max_concurrency": 10_000, "scheduling_strategy": here}
    return ray.remote(**options)(Mailbox).remote()


# --- on the cluster ---------------------------------------------------------------------------------------------------


def trial_call(config: SweepConfig, number: int, params: Mapping[str, Any], mailbox: Any) -> TrialResult:
    """Run a trial on one core of this machine."""
    use_one_thread()
    report = never_stop if mailbox is None else partial(ask_driver, mailbox, number)
    return run_trial(config, number, params, report)


def ask_driver(mailbox: Any, number: int, step: int, score: float) -> bool:
    """Report to the driver and return whether to stop; if the mailbox is gone, the trial runs on."""
    import ray

    try:
        return bool(ray.get(mailbox.report.remote(number, step, score)))
    except ray.exceptions.RayActorError:
        return False
