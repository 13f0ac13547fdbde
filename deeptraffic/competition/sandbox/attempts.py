"""What a stranger's code would try if it ever ran in a child: each attempt returns if it succeeded, raises if not.

Used by `doctor.py`, and by the tests, which try much more. Nothing here runs in an evaluation.
"""

import ctypes
import os
import resource
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass

RLIMIT_LEEWAY = 64 << 20  # [bytes]
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Targets:
    """What the attempts are aimed at.

    file: a file that everybody may read; port: TCP on the loopback, where somebody listens
    worker: number of the process that started the child; segment: number of a piece of System V shared memory, or -1
    memory: [bytes] that the child may use
    """

    file: str
    port: int
    worker: int
    segment: int
    memory: int


def read_file(targets: Targets) -> None:
    """Read a file that everybody may read."""
    with open(targets.file, "rb") as file:
        file.read()


def read_worker(targets: Targets) -> None:
    """Read the worker's environment, where a database's password may be."""
    with open(f"/proc/{targets.worker}/environ", "rb") as file:
        file.read()


def list_folder(targets: Targets) -> None:
    """See names in the root folder."""
    if not os.listdir("/"):
        raise FileNotFoundError("an empty folder")


def write_file(targets: Targets) -> None:
    """Make a file in the working folder."""
    with open("made", "wb") as file:
        file.write(b"x")


def connect(targets: Targets) -> None:
    """Connect to a server on this machine."""
    with socket.socket() as client:
        client.settimeout(1.0)
        client.connect(("127.0.0.1", targets.port))


def listen(targets: Targets) -> None:
    """Listen on a port."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()


def send_datagram(targets: Targets) -> None:
    """Send a datagram, as a question about a name would be sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", targets.port))


def start_process(targets: Targets) -> None:
    """Fork."""
    if os.fork() == 0:
        os._exit(0)


def start_thread(targets: Targets) -> None:
    """Start a thread."""
    threading.Thread(target=int).start()


def run_program(targets: Targets) -> None:
    """Run another program."""
    subprocess.run(["/bin/true"], check=True)


def leave_session(targets: Targets) -> None:
    """Leave the group that the watchdog kills."""
    os.setsid()


def signal_worker(targets: Targets) -> None:
    """Send the worker a signal (number 0, which only asks whether one may)."""
    os.kill(targets.worker, 0)


def become_root(targets: Targets) -> None:
    """Become root again."""
    os.setuid(0)
    if os.getuid() != 0:
        raise PermissionError("another user still")


def raise_limits(targets: Targets) -> None:
    """Lift its limits."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def take_memory(targets: Targets) -> None:
    """Take more memory than it may."""
    bytearray(targets.memory + RLIMIT_LEEWAY)


def attach_shared_memory(targets: Targets) -> None:
    """Look into shared memory of another process."""
    if targets.segment < 0:
        raise OSError("this machine gave none to try with")
    _libc.shmat.restype = ctypes.c_void_p
    if _libc.shmat(targets.segment, None, 0o10000) == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def see_environment(targets: Targets) -> None:
    """Find variables that the worker was started with."""
    if not os.environ:
        raise KeyError("no variable")


def spin(targets: Targets) -> None:
    """Use processor time for ever."""
    while True:
        pass


def sleep(targets: Targets) -> None:
    """Do nothing for ever; sleeping may be refused, waiting for a lock is not."""
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


ATTEMPTS: dict[str, Callable[[Targets], None]] = {
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
    "lift its limits": raise_limits,
    "take too much memory": take_memory,
    "find the worker's variables": see_environment,
}


def refusal_of(attempt: Callable[[Targets], None], targets: Targets) -> str | None:
    """Return how an attempt was refused, None if it succeeded."""
    try:
        attempt(targets)
    except MemoryError:
        return "out of memory"
    except KeyError as error:
        return str(error.args[0])
    except Exception as error:  # whatever a refusal makes of the code that meets it
        return str(getattr(error, "strerror", None) or error or type(error).__name__)
    return None
