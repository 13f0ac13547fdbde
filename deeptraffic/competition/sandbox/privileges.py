"""What a process can give up apart from files: its user, its capabilities, its namespaces, its resources.

Each function takes one thing away for ever and raises OSError where this machine does not let it.
"""

import ctypes
import os
import resource
import signal

CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUSER = 0x40000000, 0x08000000, 0x10000000
PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 3, 4, 24, 38
CAPABILITY_VERSION = 0x20080522
LAST_CAPABILITY = 63
OWN_USERS = 3_000_000_000  # far above what distributions and containers give out: one user per child, number + pid
NOBODY = 65534

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Be killed when the worker dies; call it again after a change of user, which forgets it."""
    _checked(_libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0))
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)  # it died before


def leave_namespaces() -> None:
    """Enter an empty network and an empty table of shared memory; a process that is not root, as a user of its own."""
    spaces = CLONE_NEWNET | CLONE_NEWIPC
    _checked(_libc.unshare(spaces if os.geteuid() == 0 else spaces | CLONE_NEWUSER))


def enclose_in_folder() -> None:
    """Make the working directory the root of all paths."""
    os.chroot(".")
    os.chdir("/")


def drop_user() -> int:
    """Become a user of its own, who owns nothing and whom nobody else is; return its number."""
    os.setgroups([])
    for number in (OWN_USERS + os.getpid(), NOBODY):
        try:
            os.setresgid(number, number, number)
            os.setresuid(number, number, number)
            return number
        except OSError as error:
            refused = error
    raise refused


def drop_capabilities() -> None:
    """Give up every capability, those that a namespace of its own gave it included."""
    for capability in range(LAST_CAPABILITY + 1):
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails where it is gone already
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()))


def give_up_new_privileges() -> None:
    """Never gain a privilege again, by no set-user-id program either."""
    _checked(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def hide_memory() -> None:
    """Let no other process of the same user read or trace this one, and leave no core file."""
    _checked(_libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))


def is_hidden() -> bool:
    """Whether `hide_memory` is in force."""
    return bool(_libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0)


def limit_memory(beyond: int) -> None:
    """Allow so many bytes of address space more than are used now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    _limit(resource.RLIMIT_AS, used + beyond)


def limit_cpu(seconds: int) -> None:
    """Allow so many seconds of processor time more than were used until now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = max(1, round(used.ru_utime + used.ru_stime + seconds))
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))


def limit_files() -> None:
    """Open nothing more, no file, no socket, no pipe, and let no file grow."""
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, 0)
    _limit(resource.RLIMIT_MSGQUEUE, 0)


def limit_processes() -> None:
    """Start no process and no thread; root is exempt, so `drop_user` must follow."""
    _limit(resource.RLIMIT_NPROC, 0)


def limit_core() -> None:
    """Leave no core file and lock no memory."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_MEMLOCK, 0)


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
