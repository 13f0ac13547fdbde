"""Which protections really hold on this machine: each is tried, none is assumed.

    >>> for layer in check_protections():
    ...     print(layer.name, layer.works, layer.sentence)

Three questions: does each layer alone prevent what it is for; does a child that is locked in as for an evaluation get
anywhere with what a stranger would try; and does the watchdog end a child that spins or sleeps.
"""

import ctypes
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace

from deeptraffic.competition.sandbox import wire
from deeptraffic.competition.sandbox.attempts import ATTEMPTS, Targets
from deeptraffic.competition.sandbox.faults import SubmissionFault
from deeptraffic.competition.sandbox.limits import MEGABYTE, Limits
from deeptraffic.competition.sandbox.lock import Layer
from deeptraffic.competition.sandbox.probing import ALONE, BREACHED, MISSING
from deeptraffic.competition.sandbox.process import ChildProcess

TRYING = Limits(memory=64 * MEGABYTE, cpu_seconds=30, answer_seconds=60.0, wall_seconds=300.0)
BRIEF = replace(TRYING, cpu_seconds=1, answer_seconds=1.0)
IPC_RMID = 0
_libc = ctypes.CDLL(None, use_errno=True)


def check_protections() -> list[Layer]:
    """Return what was tried: its name, whether the protection holds, and a sentence. Takes some seconds."""
    with targets() as aims, ChildProcess("probe", TRYING) as locked:
        return [*try_layers(locked, aims), *try_all(locked, aims), *try_watchdog(aims)]


def try_layers(locked: ChildProcess, aims: Targets) -> list[Layer]:
    """Return what became of each layer in a locked child, and whether it alone prevents what it is for."""
    with ChildProcess("probe one layer", TRYING) as child:
        found = ask(child, list(ALONE), aims)
    return [judge(layer, found.get(layer.name)) for layer in locked.layers]


def judge(layer: Layer, status: object) -> Layer:
    """Return a locked child's report on a layer together with that layer's own test."""
    if status == MISSING or not layer.works:
        return Layer(layer.name, False, layer.sentence if not layer.works else "cannot be put in force alone")
    if status == BREACHED:
        return Layer(layer.name, False, "in force, but it did not prevent what it is for")
    return layer


def try_all(locked: ChildProcess, aims: Targets) -> list[Layer]:
    """Return what a child that is locked in as for an evaluation gets to."""
    found = ask(locked, list(ATTEMPTS), aims)
    return [
        Layer(f"cannot {name}", found.get(name) is not None, str(found.get(name) or "IT SUCCEEDED"))
        for name in ATTEMPTS
    ]


def try_watchdog(aims: Targets) -> list[Layer]:
    """Return whether children that spin and that sleep are ended."""
    return [
        _ends(name, limits, aims) for name, limits in (("spin", replace(BRIEF, answer_seconds=30.0)), ("sleep", BRIEF))
    ]


def _ends(name: str, limits: Limits, aims: Targets) -> Layer:
    try:
        with ChildProcess("probe", limits) as child:
            ask(child, [name], aims)
    except SubmissionFault as fault:
        return Layer(f"cannot {name} for ever", fault.code == "time", fault.sentence)
    return Layer(f"cannot {name} for ever", False, "IT SUCCEEDED")


def ask(child: ChildProcess, names: list[str], aims: Targets) -> dict[str, object]:
    """Return a probing child's answer."""
    question = json.dumps({"names": names, "targets": asdict(aims)}).encode()
    answer = json.loads(child.ask(wire.SUBMISSION, question))
    assert isinstance(answer, dict)
    return answer


@contextmanager
def targets() -> Iterator[Targets]:
    """Give something to aim at: a file for everybody, a server on the loopback, a piece of shared memory."""
    _libc.shmget.restype = ctypes.c_int
    segment = _libc.shmget(0, 4096, 0o1666)
    try:
        with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
            os.chmod(folder, 0o755)
            file = os.path.join(folder, "everybody")
            with open(file, "w", encoding="ascii") as opened:
                opened.write("for everybody")
            os.chmod(file, 0o644)
            yield Targets(file, server.getsockname()[1], os.getpid(), segment, TRYING.memory)
    finally:
        if segment >= 0:
            _libc.shmctl(segment, IPC_RMID, None)
