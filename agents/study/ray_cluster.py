"""Calls on a Ray cluster (Moritz et al. 2018, arXiv:1712.05889): started, awaited, made again when a machine dies.

    >>> with connected("auto") as ray:                     # or HOST:PORT, local
    ...     calls = Calls(ray, evaluate_pack)
    ...     calls.start(0, pack, plan)
    ...     ready = calls.wait(5.0)                        # [Done(0, [...])], or [Lost(0, "...")]

Ray itself makes a call again if the process or the machine that ran it is gone; a call's result comes once, whatever
happens. An error in the function itself is raised here, and not tried again: it would come again.

Every machine of the cluster needs the same version of this package. A call takes one core.
"""

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

LOCAL = "local"
ANSWER_WITHIN = 10.0  # [s] a cluster's head
RETRIES = 3  # of a call, by Ray, before it is lost


@dataclass(frozen=True)
class Done:
    """A call's result."""

    key: Any
    value: Any


@dataclass(frozen=True)
class Lost:
    """A call that Ray gave up: its process or machine died each time."""

    key: Any
    reason: str


def connect(address: str) -> Any:
    """Connect this process to a cluster, and return the module `ray`.

    address: "auto" for the cluster that this machine belongs to, HOST:PORT of its head, or "local" for one of this
    machine's cores that lives and dies with this process

    Raises ImportError without Ray, RuntimeError if no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    try:
        import ray
    except ImportError:
        raise ImportError("Ray is not installed; pip install 'deeptraffic[ray]', here and on the cluster") from None
    alone: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        _knock(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **alone)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            f"no Ray cluster answers at {address!r} ({str(error).splitlines()[0]:.200}); start one with "
            "`ray start --head`, set RAY_AUTH_MODE=token if it asks for a token, or give --ray local"
        ) from error
    return ray


def _knock(address: str) -> None:
    """Raise OSError if nobody is at HOST:PORT, for which Ray would wait minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "://" not in address:
        socket.create_connection((host, int(port)), timeout=ANSWER_WITHIN).close()


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect, as `connect`, and leave the cluster in the end; calls that still run there are ended.

    Meanwhile standard output goes to standard error: Ray prints there what happens to machines.
    """
    ray = connect(address)
    try:
        with redirect_stdout(sys.stderr):
            yield ray
    finally:
        ray.shutdown()


def cores(ray: Any) -> int:
    """Return how many calls the cluster's living machines can make side by side."""
    return int(ray.cluster_resources().get("CPU", 0))


class Calls:
    """Calls of one function.

    Args:
        ray: the module, connected
        function: of a module that the cluster's machines have; its arguments and results are data
    """

    def __init__(self, ray: Any, function: Callable[..., Any]) -> None:
        self.ray = ray
        self.remote = ray.remote(num_cpus=1, max_retries=RETRIES, retry_exceptions=False)(function)
        self.running: dict[Any, Any] = {}  # reference -> key

    def start(self, key: Any, *arguments: Any) -> None:
        """Make a call, whose outcome will bear this key."""
        self.running[self.remote.remote(*arguments)] = key

    def wait(self, seconds: float, other: Any = None) -> list[Done | Lost]:
        """Return what has ended, waiting at most so long for a first one, or for `other`, a reference of Ray's."""
        watched = [*self.running, other] if other is not None else list(self.running)
        if not watched:
            time.sleep(seconds)
            return []
        self.ray.wait(watched, num_returns=1, timeout=seconds)
        if not self.running:
            return []
        ready, _ = self.ray.wait(list(self.running), num_returns=len(self.running), timeout=0)
        return [self._take(reference) for reference in ready]

    def _take(self, reference: Any) -> Done | Lost:
        key = self.running.pop(reference)
        try:
            return Done(key, self.ray.get(reference))
        except self.ray.exceptions.RayTaskError:
            raise  # an error of the function; Ray gives it the error's own type too
        except self.ray.exceptions.RayError as error:
            return Lost(key, (str(error).splitlines() or [type(error).__name__])[0])

    def cancel(self) -> None:
        """End all calls."""
        for reference in self.running:
            self.ray.cancel(reference, force=True)
        self.running = {}
