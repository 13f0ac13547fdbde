"""The nursery's and the child's side: kernels are made ready, a fork locks itself in and reads what a stranger sent.

Started by `nursery.py` with an empty environment in an empty folder. A child reads requests from one pipe and writes
answers to another (`wire.py`); whatever it prints goes nowhere.
"""

import gc
import json
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, NamedTuple, NoReturn

from deeptraffic.competition.sandbox import driving, probing, reading, wire
from deeptraffic.competition.sandbox.channel import Channel
from deeptraffic.competition.sandbox.limits import Limits
from deeptraffic.competition.sandbox.lock import lock_in

MAX_MESSAGE = 4096  # [bytes]


class Role(NamedTuple):
    """What a child does once it is locked in; only the doctor's own test of single layers is not."""

    serve: Callable[[Channel], None]
    locked: bool = True


ROLES = {
    "drive": Role(driving.serve),
    "read": Role(reading.serve),
    "probe": Role(probing.serve_locked),
    "probe one layer": Role(probing.serve_open, locked=False),
}


def main() -> NoReturn:
    """Make everything ready, then fork a child whenever the worker asks; end when the worker is gone."""
    line = socket.socket(fileno=os.dup(0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    driving.make_ready()
    reading.make_ready()
    os.environ.clear()
    gc.collect()
    gc.freeze()  # so that a child's collections do not copy what it shares with the nursery
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    line.send(b"ready")
    while True:
        message, handles, _, _ = socket.recv_fds(line, MAX_MESSAGE, 2)
        if not message:
            os._exit(0)
        line.send(json.dumps(_do(json.loads(message), handles)).encode())
        for handle in handles:
            os.close(handle)


def _do(request: dict[str, Any], handles: list[int]) -> Any:
    """Answer the worker: a new child's number, or an ended child's status and processor time."""
    if "role" not in request:
        return _reap(request)
    nursery = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        return str(error)
    if pid == 0:
        live(request["role"], Limits(**request["limits"]), nursery, *handles)
    return pid


def _reap(request: dict[str, int]) -> tuple[int, float] | None:
    pid = request.get("kill") or request["reap"]
    if "kill" in request:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            os.killpg(pid, signal.SIGKILL)
    try:
        found, status, used = os.wait4(pid, 0 if "kill" in request else os.WNOHANG)
    except ChildProcessError:
        return 0, 0.0
    return (os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime) if found else None


def live(role: str, limits: Limits, nursery: int, source: int, sink: int) -> NoReturn:
    """Play a role to its end."""
    code = wire.EXIT_CRASH
    try:
        os.setsid()
        close_all_but(source, sink)
        report = lock_in(limits, nursery) if ROLES[role].locked else []
        channel = Channel(source, sink)
        channel.report({"layers": [asdict(layer) for layer in report]})
        ROLES[role].serve(channel)
        code = 0
    except EOFError:
        code = 0  # the worker wants no more
    except MemoryError:
        code = wire.EXIT_MEMORY
    finally:
        os._exit(code)


def close_all_but(*kept: int) -> None:
    """Close every file of this process but some, and 0, 1 and 2, which lead nowhere."""
    ends = [*sorted(kept), os.sysconf("SC_OPEN_MAX")]
    for before, end in zip([2, *ends], ends, strict=False):
        os.closerange(before + 1, end)
