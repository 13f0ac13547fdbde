"""Remote calls on a Ray cluster (Moritz et al. 2018, arXiv:1712.05889), repeated when a machine dies.

    >>> with connected("auto") as ray:                     # or HOST:PORT, local
    ...     calls = Calls(ray, evaluate_pack)
    ...     calls.start(0, pack, plan)
    ...     ready = calls.wait(5.0)                        # [Done(0, [...])], or [Lost(0, "...")]

Ray repeats a call if the process or machine that ran it is gone; each call returns exactly one result. An error of the
function itself is raised here and not retried: it would recur.

All machines of the cluster need the same version of this package. A call takes one core.
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

from deeptraffic.extras import require_extra

LOCAL = "local"
CONNECT_TIMEOUT = 10.0  # [s]
RETRIES = 3  # of a call, by Ray, before it is lost


@dataclass(frozen=True)
class Done:
    """A call that returned."""

    key: Any
    value: Any


@dataclass(frozen=True)
class Lost:
    """A call whose process or machine died in every attempt."""

    key: Any
    reason: str


def connect(address: str) -> Any:
    """Connect this process to a cluster, and return the module `ray`.

    address: "auto" for the cluster that this machine belongs to, HOST:PORT of a head, or "local" for a cluster of this
    machine's cores that lives as long as this process

    Raises ImportError without Ray, RuntimeError if no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would send usage reports
    require_extra("ray")
    import ray

    alone: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        _check_port(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **alone)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            f"no Ray cluster answers at {address!r} ({str(error).splitlines()[0]:.200}); start one with "
            "`ray start --head`, set RAY_AUTH_MODE=token if it asks for a token, or give --ray local"
        ) from error
    return ray


def _check_port(address: str) -> None:
    """Raise OSError if nothing listens at HOST:PORT, on which Ray would block for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "://" not in address:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT).close()


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect as `connect` does, and disconnect in the end, which ends running calls.

    Standard output is redirected to standard error, because Ray prints the deaths of machines to it.
    """
    ray = connect(address)
    try:
        with redirect_stdout(sys.stderr):
            yield ray
    finally:
        ray.shutdown()


def cores(ray: Any) -> int:
    """Return how many calls the cluster's live machines can run at once."""
    return int(ray.cluster_resources().get("CPU", 0))


class Calls:
    """Calls of one function.

    Args:
        ray: the module, connected
        function: importable on the cluster's machines; its arguments and results can be pickled
    """

    def __init__(self, ray: Any, function: Callable[..., Any]) -> None:
        self.ray = ray
        self.remote = ray.remote(num_cpus=1, max_retries=RETRIES, retry_exceptions=False)(function)
        self.running: dict[Any, Any] = {}  # reference -> key

    def start(self, key: Any, *arguments: Any) -> None:
        """Start a call; its outcome will have this key."""
        self.running[self.remote.remote(*arguments)] = key

    def wait(self, seconds: float, other: Any = None) -> list[Done | Lost]:
        """Return the calls that ended, after waiting up to this long for one, or for `other`, another Ray reference."""
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
            raise  # an error of the function, of its own type
        except self.ray.exceptions.RayError as error:
            return Lost(key, (str(error).splitlines() or [type(error).__name__])[0])

    def cancel(self) -> None:
        """End all calls."""
        for reference in self.running:
            self.ray.cancel(reference, force=True)
        self.running = {}
