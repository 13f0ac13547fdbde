"""A sweep's trials on a Ray cluster: `deeptraffic sweep CONFIG --ray ADDRESS`, see agents/study/CLUSTER.md.

The driver, `agents.study.sweep`, alone keeps the study: it hands a trial's number and draws to a machine and notes the
result that comes back. A machine that dies takes no trial with it, and a trial counts once however often it was begun:
Ray makes the call again on another machine, with the same draws and the same seeds, and returns one result.

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
from agents.study.workers import Died, Event, Finished, Reported, use_one_thread


class RayTrials:
    """A backend (`agents.study.workers.Backend`) of machines of a cluster.

    Args:
        config: of the sweep
        address: of the cluster, see `agents.study.ray_cluster.connect`
        workers: most trials side by side; None for as many as the cluster has cores at the time
    """

    def __init__(self, config: SweepConfig, address: str, workers: int | None = None) -> None:
        self.config, self.workers = config, workers
        self.session = ExitStack()
        self.ray = self.session.enter_context(connected(address))
        self.calls = Calls(self.ray, trial_call)
        self.mailbox = open_mailbox(self.ray) if config.pruner != "none" else None
        self.letters = self.mailbox.collect.remote() if self.mailbox else None

    def free(self) -> int:
        """How many more trials may start now; machines come and go."""
        most = cores(self.ray) if self.workers is None else self.workers
        return max(0, most - len(self.calls.running))

    def start(self, number: int, params: Mapping[str, Any]) -> None:
        """Start a trial, or have it wait for the next free core."""
        self.calls.start(number, self.config, number, dict(params), self.mailbox)

    def wait(self, seconds: float) -> list[Event]:
        """Return what happened, waiting at most so long for a first event."""
        ended = self.calls.wait(seconds, self.letters)
        events: list[Event] = [*self._reports()]
        for one in ended:
            events.append(Died(one.key, one.reason) if isinstance(one, Lost) else Finished(one.key, one.value))
        return events

    def answer(self, number: int, stop: bool) -> None:
        """Say whether a trial that reported is to stop."""
        if self.mailbox is not None:
            self.mailbox.answer.remote(number, stop)

    def close(self) -> None:
        """End everything at once."""
        self.calls.cancel()
        self.session.close()

    def _reports(self) -> list[Reported]:
        """What the mailbox holds of trials that still run; a trial that began anew reports anew."""
        if self.letters is None or not self.ray.wait([self.letters], timeout=0)[0]:
            return []
        assert self.mailbox is not None
        try:
            letters = self.ray.get(self.letters)
        except self.ray.exceptions.RayActorError:  # the mailbox is gone: trials go on unasked
            self.letters = None
            return []
        self.letters = self.mailbox.collect.remote()
        running = set(self.calls.running.values())
        return [Reported(*letter) for letter in letters if letter[0] in running]


class Mailbox:
    """Carries reports from trials to the driver, and answers back; it lives where the driver does."""

    def __init__(self) -> None:
        self.letters: list[tuple[int, int, float]] = []  # (number, step, score) not yet collected
        self.came = asyncio.Event()
        self.answers: dict[int, asyncio.Future[bool]] = {}

    async def report(self, number: int, step: int, score: float) -> bool:
        """Hand a trial's report in; return the driver's answer once it is there."""
        answer = asyncio.get_running_loop().create_future()
        self.answers[number] = answer
        self.letters.append((number, step, score))
        self.came.set()
        return await answer

    async def collect(self) -> list[tuple[int, int, float]]:
        """Return the reports since the last call, as soon as there is one."""
        await self.came.wait()
        self.came.clear()
        letters, self.letters = self.letters, []
        return letters

    async def answer(self, number: int, stop: bool) -> None:
        """Answer a trial's last report."""
        waiting = self.answers.pop(number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(stop)


def open_mailbox(ray: Any) -> Any:
    """Return a new mailbox on the driver's own machine, which the study does not outlive anyway."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    options = {"num_cpus": 0, "max_concurrency": 10_000, "scheduling_strategy": here}
    return ray.remote(**options)(Mailbox).remote()


# --- on the cluster ---------------------------------------------------------------------------------------------------


def trial_call(config: SweepConfig, number: int, params: Mapping[str, Any], mailbox: Any) -> TrialResult:
    """Run a trial on one core of whatever machine this is."""
    use_one_thread()
    report = never_stop if mailbox is None else partial(ask_driver, mailbox, number)
    return run_trial(config, number, params, report)


def ask_driver(mailbox: Any, number: int, step: int, score: float) -> bool:
    """Report to the driver and return whether to stop; without a mailbox any more, the trial goes on."""
    import ray

    try:
        return bool(ray.get(mailbox.report.remote(number, step, score)))
    except ray.exceptions.RayActorError:
        return False
