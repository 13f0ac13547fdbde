"""Escape attempts: what untrusted code would try if it ever ran in a child, for `deeptraffic doctor --data FOLDER`.

A locked-down child makes every attempt. To test one protection alone, an unlocked child forks; the fork applies that
protection and makes the attempts that it should prevent. Nothing here runs in an evaluation.
"""

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from deeptraffic.competition.sandbox import lockdown
from deeptraffic.competition.sandbox.messages import Channel

if sys.platform != "win32":
    import resource

    _libc = ctypes.CDLL(None, use_errno=True)
EXTRA_MEMORY = 64 << 20  # [bytes] asked for beyond what a child may use


@dataclass(frozen=True)
class AttackTargets:
    """What the attempts are aimed at.

    file: readable by every user; port: a TCP server on the loopback interface
    worker: id of the process that started the child; segment: id of a System V shared memory segment, or -1
    memory: [bytes] that the child may use
    """

    file: str
    port: int
    worker: int
    segment: int
    memory: int


Attempt = Callable[[AttackTargets], None]  # returns if it succeeded, raises if not


# --- roles of a child ---------------------------------------------------------------------------------------------

HELD, BREACHED, MISSING = range(3)  # exit status of a fork that tests one protection


def serve_locked(channel: Channel) -> None:
    """Make the attempts that are asked for; answer how each was refused, null for one that succeeded."""
    while True:
        asked = json.loads(channel.receive().content)
        targets, known = AttackTargets(**asked["targets"]), ATTEMPTS | ENDLESS_ATTEMPTS
        channel.report({name: refusal_of(known[name], targets) for name in asked["names"]})


def serve_unlocked(channel: Channel) -> None:
    """Test each protection that is asked for alone; answer the exit status of the fork that tested it."""
    while True:
        asked = json.loads(channel.receive().content)
        targets = AttackTargets(**asked["targets"])
        channel.report({name: run_alone(PROTECTION_TESTS[name], targets) for name in asked["names"]})


def refusal_of(attempt: Attempt, targets: AttackTargets) -> str | None:
    """Return how an attempt was refused, None if it succeeded."""
    try:
        attempt(targets)
    except MemoryError:
        return "out of memory"
    except KeyError as error:
        return str(error.args[0])
    except Exception as error:  # a refusal may surface as any error
        return str(getattr(error, "strerror", None) or error or type(error).__name__)
    return None


def run_alone(test: Callable[[AttackTargets], bool], targets: AttackTargets) -> int:
    """Return HELD, BREACHED or MISSING: whether a protection held in a fork of this process."""
    fork = os.fork()
    if fork == 0:
        try:
            os._exit(HELD if test(targets) else BREACHED)
        except OSError:
            os._exit(MISSING)
        finally:
            os._exit(BREACHED)
    status = os.waitpid(fork, 0)[1]
    if os.WIFSIGNALED(status):  # as it should be for the two protections that kill
        return BREACHED if os.WCOREDUMP(status) else HELD
    return os.WEXITSTATUS(status)


# --- attempts -----------------------------------------------------------------------------------------------------


def read_file(targets: AttackTargets) -> None:
    """Read a file that every user may read."""
    with open(targets.file, "rb") as file:
        file.read()


def read_worker(targets: AttackTargets) -> None:
    """Read the worker's environment, which may hold a database's password."""
    with open(f"/proc/{targets.worker}/environ", "rb") as file:
        file.read()


def list_folder(targets: AttackTargets) -> None:
    """List the root folder."""
    if not os.listdir("/"):
        raise FileNotFoundError("an empty folder")


def write_file(targets: AttackTargets) -> None:
    """Create a file in the working folder."""
    with open("made", "wb") as file:
        file.write(b"x")


def connect(targets: AttackTargets) -> None:
    """Connect to a server on this machine."""
    with socket.socket() as client:
        client.settimeout(1.0)
        client.connect(("127.0.0.1", targets.port))


def listen(targets: AttackTargets) -> None:
    """Listen on a port."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()


def send_datagram(targets: AttackTargets) -> None:
    """Send a datagram, as a DNS query would."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", targets.port))


def start_process(targets: AttackTargets) -> None:
    """Fork."""
    if os.fork() == 0:
        os._exit(0)


def start_thread(targets: AttackTargets) -> None:
    """Start a thread."""
    threading.Thread(target=int).start()


def run_program(targets: AttackTargets) -> None:
    """Run another program."""
    subprocess.run(["/bin/true"], check=True)


def leave_session(targets: AttackTargets) -> None:
    """Leave the process group that the watchdog kills."""
    os.setsid()


def signal_worker(targets: AttackTargets) -> None:
    """Send the worker a signal (number 0, which only checks the permission)."""
    os.kill(targets.worker, 0)


def become_root(targets: AttackTargets) -> None:
    """Become root again."""
    os.setuid(0)
    if os.getuid() != 0:
        raise PermissionError("another user still")


def raise_limits(targets: AttackTargets) -> None:
    """Raise its resource limits."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def take_memory(targets: AttackTargets) -> None:
    """Take more memory than it may."""
    bytearray(targets.memory + EXTRA_MEMORY)


def attach_shared_memory(targets: AttackTargets) -> None:
    """Attach shared memory of another process."""
    if targets.segment < 0:
        raise OSError("this machine has no shared memory to try with")
    _libc.shmat.restype = ctypes.c_void_p
    if _libc.shmat(targets.segment, None, 0o10000) == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def read_environment(targets: AttackTargets) -> None:
    """Find environment variables of the worker."""
    if not os.environ:
        raise KeyError("no variable")


def spin(targets: AttackTargets) -> None:
    """Use processor time forever."""
    while True:
        pass


def sleep(targets: AttackTargets) -> None:
    """Block forever; sleeping may be refused, waiting for a lock is not."""
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


ATTEMPTS: dict[str, Attempt] = {
    "read a file": read_file,
    "read the worker's environment": read_worker,
    "see names of files": list_folder,
    "write a file": write_file,
    "connect to a server": connect,
    "listen on a port": listen,
    "send a datagram": send_datagram,
    "look into shared memory": attach_shared_memory,
    "start a process": start_process,
    "start a thread": start_thread,
    "run a program": run_program,
    "leave the watchdog's group": leave_session,
    "signal the worker": signal_worker,
    "become root": become_root,
    "raise its limits": raise_limits,
    "take too much memory": take_memory,
    "find the worker's variables": read_environment,
}
ENDLESS_ATTEMPTS: dict[str, Attempt] = {"spin": spin, "sleep": sleep}


# --- tests of single protections ----------------------------------------------------------------------------------


def _all_refused(targets: AttackTargets, *attempts: Attempt) -> bool:
    return all(refusal_of(attempt, targets) is not None for attempt in attempts)


def memory(targets: AttackTargets) -> bool:
    """Address space is limited."""
    lockdown.limit_memory(targets.memory)
    return _all_refused(targets, take_memory)


def processor_time(targets: AttackTargets) -> bool:
    """It is killed after a second."""
    lockdown.limit_cpu(0)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass
    return False


def core_files(targets: AttackTargets) -> bool:
    """It ends without leaving a core file."""
    lockdown.limit_core()
    os.abort()


def namespaces(targets: AttackTargets) -> bool:
    """The network is empty, and there is no shared memory."""
    lockdown.leave_namespaces()
    return _all_refused(targets, connect, attach_shared_memory)


def root_folder(targets: AttackTargets) -> bool:
    """Files outside cannot be named."""
    if os.geteuid() != 0:
        lockdown.leave_namespaces()  # where it has the capability to change its root folder
    lockdown.change_root()
    return _all_refused(targets, read_file, list_folder)


def processes(targets: AttackTargets) -> bool:
    """No fork, no thread."""
    lockdown.limit_processes()
    if os.geteuid() == 0:
        lockdown.drop_user()  # root is exempt
    return _all_refused(targets, start_process, start_thread)


def user(targets: AttackTargets) -> bool:
    """It is another user than the worker."""
    lockdown.drop_user()
    return _all_refused(targets, signal_worker, read_worker, become_root)


def capabilities(targets: AttackTargets) -> bool:
    """None is in its sets."""
    lockdown.drop_capabilities()
    with open("/proc/self/status", encoding="ascii") as file:
        sets = [line.split() for line in file if line.startswith(("CapPrm:", "CapEff:", "CapBnd:"))]
    return all(int(bits, 16) == 0 for _, bits in sets[:2])


def new_privileges(targets: AttackTargets) -> bool:
    """The kernel says that there will be none."""
    lockdown.refuse_new_privileges()
    with open("/proc/self/status", encoding="ascii") as file:
        return "NoNewPrivs:\t1" in file.read()


def memory_of_others(targets: AttackTargets) -> bool:
    """The kernel says that it cannot be dumped."""
    lockdown.make_undumpable()
    return lockdown.is_undumpable()


def landlock(targets: AttackTargets) -> bool:
    """Files, and on newer kernels ports and signals."""
    version = lockdown.landlock_version()
    if version < 1:
        raise OSError("no Landlock")
    lockdown.restrict(version)
    attempts = [
        read_file,
        *([connect, listen] if version >= 4 else []),
        *([signal_worker] if version >= 6 else []),
    ]
    return _all_refused(targets, *attempts)


def parent(targets: AttackTargets) -> bool:
    """A child dies with its parent."""
    ended, alive = os.pipe()
    middle = os.fork()
    if middle == 0:
        worker = os.getpid()
        if os.fork() == 0:
            lockdown.die_with_parent(worker)
            os.close(ended)
            os.write(alive, b"x")
            time.sleep(60)
            os._exit(0)
        time.sleep(60)
    os.close(alive)
    os.read(ended, 1)  # it runs
    os.kill(middle, signal.SIGKILL)
    os.waitpid(middle, 0)
    return bool(select.select([ended], [], [], 5.0)[0]) and os.read(ended, 1) == b""


def open_files(targets: AttackTargets) -> bool:
    """Nothing can be opened."""
    lockdown.limit_files()
    return _all_refused(targets, read_file, write_file, connect)


def seccomp(targets: AttackTargets) -> bool:
    """System calls that computing does not need are refused."""
    lockdown.filter_system_calls(lockdown.load_seccomp())
    return _all_refused(targets, read_file, connect, start_process, signal_worker)


PROTECTION_TESTS: dict[str, Callable[[AttackTargets], bool]] = {
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
