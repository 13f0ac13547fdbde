"""The child of `deeptraffic competition doctor`: tries what a stranger would, locked in or behind one layer alone.

For one layer the child is not locked: it forks, and the fork puts that layer in force and tries what it should prevent.
"""

import json
import os
import select
import signal
import time
from collections.abc import Callable

from deeptraffic.competition.sandbox import attempts as a
from deeptraffic.competition.sandbox import privileges as p
from deeptraffic.competition.sandbox.channel import Channel
from deeptraffic.competition.sandbox.landlock import landlock_version, restrict
from deeptraffic.competition.sandbox.seccomp import allow_few_calls, load_seccomp

HELD, BREACHED, MISSING = range(3)  # exit status of a fork
MEMORY = 64 << 20  # [bytes] that the layer of memory allows when it is tried alone


def serve_locked(channel: Channel) -> None:
    """Try what is asked for; answer how each attempt was refused, null for one that succeeded."""
    while True:
        asked = json.loads(channel.receive().content)
        targets = a.Targets(**asked["targets"])
        channel.report({name: a.refusal_of(ENDLESS.get(name) or a.ATTEMPTS[name], targets) for name in asked["names"]})


ENDLESS = {"spin": a.spin, "sleep": a.sleep}


def serve_open(channel: Channel) -> None:
    """Try each layer that is asked for alone; answer the exit status of the fork that tried it."""
    while True:
        asked = json.loads(channel.receive().content)
        targets = a.Targets(**asked["targets"])
        channel.report({name: try_alone(ALONE[name], targets) for name in asked["names"]})


def try_alone(probe: Callable[[a.Targets], bool], targets: a.Targets) -> int:
    """Return HELD, BREACHED or MISSING: whether a layer held in a fork of this process."""
    fork = os.fork()
    if fork == 0:
        try:
            os._exit(HELD if probe(targets) else BREACHED)
        except OSError:
            os._exit(MISSING)
        finally:
            os._exit(BREACHED)
    status = os.waitpid(fork, 0)[1]
    if os.WIFSIGNALED(status):  # as it should be for the two layers that kill
        return BREACHED if os.WCOREDUMP(status) else HELD
    return os.WEXITSTATUS(status)


def _all_refused(targets: a.Targets, *tried: Callable[[a.Targets], None]) -> bool:
    return all(a.refusal_of(attempt, targets) is not None for attempt in tried)


def memory(targets: a.Targets) -> bool:
    """Address space."""
    p.limit_memory(targets.memory)
    return _all_refused(targets, a.take_memory)


def processor_time(targets: a.Targets) -> bool:
    """It is killed after a second."""
    p.limit_cpu(0)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass
    return False


def core_files(targets: a.Targets) -> bool:
    """It ends without leaving a core file."""
    p.limit_core()
    os.abort()


def namespaces(targets: a.Targets) -> bool:
    """Nobody listens in an empty network, and there is no shared memory."""
    p.leave_namespaces()
    return _all_refused(targets, a.connect, a.attach_shared_memory)


def root_folder(targets: a.Targets) -> bool:
    """Files outside cannot be named."""
    if os.geteuid() != 0:
        p.leave_namespaces()  # where it is root enough to change its root folder
    p.enclose_in_folder()
    return _all_refused(targets, a.read_file, a.list_folder)


def processes(targets: a.Targets) -> bool:
    """No fork, no thread."""
    p.limit_processes()
    if os.geteuid() == 0:
        p.drop_user()  # root may always
    return _all_refused(targets, a.start_process, a.start_thread)


def user(targets: a.Targets) -> bool:
    """A stranger to the worker."""
    p.drop_user()
    return _all_refused(targets, a.signal_worker, a.read_worker, a.become_root)


def capabilities(targets: a.Targets) -> bool:
    """None in its lists."""
    p.drop_capabilities()
    with open("/proc/self/status", encoding="ascii") as file:
        sets = [line.split() for line in file if line.startswith(("CapPrm:", "CapEff:", "CapBnd:"))]
    return all(int(bits, 16) == 0 for _, bits in sets[:2])


def new_privileges(targets: a.Targets) -> bool:
    """The kernel says that there will be none."""
    p.give_up_new_privileges()
    with open("/proc/self/status", encoding="ascii") as file:
        return "NoNewPrivs:\t1" in file.read()


def memory_of_others(targets: a.Targets) -> bool:
    """The kernel says that it cannot be dumped."""
    p.hide_memory()
    return p.is_hidden()


def landlock(targets: a.Targets) -> bool:
    """Files, and on newer kernels ports and signals."""
    version = landlock_version()
    if version < 1:
        raise OSError("no Landlock")
    restrict(version)
    tried = [
        a.read_file,
        *([a.connect, a.listen] if version >= 4 else []),
        *([a.signal_worker] if version >= 6 else []),
    ]
    return _all_refused(targets, *tried)


def parent(targets: a.Targets) -> bool:
    """A child dies with its parent."""
    ended, alive = os.pipe()
    middle = os.fork()
    if middle == 0:
        worker = os.getpid()
        if os.fork() == 0:
            p.die_with_parent(worker)
            os.close(ended)
            os.write(alive, b"x")
            time.sleep(60)
            os._exit(0)
        time.sleep(60)
    os.close(alive)
    os.read(ended, 1)  # it lives
    os.kill(middle, signal.SIGKILL)
    os.waitpid(middle, 0)
    return bool(select.select([ended], [], [], 5.0)[0]) and os.read(ended, 1) == b""


def open_files(targets: a.Targets) -> bool:
    """Nothing can be opened."""
    p.limit_files()
    return _all_refused(targets, a.read_file, a.write_file, a.connect)


def seccomp(targets: a.Targets) -> bool:
    """Calls that numbers do not need."""
    allow_few_calls(load_seccomp())
    return _all_refused(targets, a.read_file, a.connect, a.start_process, a.signal_worker)


ALONE: dict[str, Callable[[a.Targets], bool]] = {
    "memory": memory,
    "processor time": processor_time,
    "core files": core_files,
    "namespaces": namespaces,
    "root folder": root_folder,
    "processes": processes,
    "user": user,
    "capabilities": capabilities,
    "new privileges": new_privileges,
    "memory of others": memory_of_others,
    "landlock": landlock,
    "parent": parent,
    "open files": open_files,
    "seccomp": seccomp,
}
