"""Lockdown of an untrusted process on Linux: resource limits, namespaces, user, capabilities, Landlock and seccomp.

Each protection is irreversible, and each alone would stop most of what untrusted code could try; a machine that refuses
one (an old kernel, an unprivileged container) is left with the others, and the report says so.

    >>> for protection in lock_down(limits, os.getppid()):
    ...     print(protection.name, protection.in_force, protection.detail)

Functions that take something away raise OSError where the machine does not allow it.
"""

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deeptraffic.competition.sandbox.limits import Limits

if sys.platform != "win32":  # where nothing is locked down, see `require_linux`
    import resource

    _libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> int:
    """Return the result of a C function; OSError of errno if it is negative."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


# --- the whole lockdown -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Protection:
    """One protection, whether it is in force, and a detail for people."""

    name: str
    in_force: bool
    detail: str


def lock_down(limits: Limits, parent: int) -> list[Protection]:
    """Give up, irreversibly, everything that computing actions does not need; return what became of each protection.

    parent: the process whose death kills this one
    """
    root = os.geteuid() == 0
    die_with_parent(parent)
    return [_apply(*step) for step in _steps(limits, parent, root)]


def _steps(limits: Limits, parent: int, root: bool) -> list[tuple[str, Callable[[], object], str]]:
    """All protections, as name, action and detail, in the only order in which each can still be applied."""
    megabytes, library = limits.memory >> 20, load_seccomp()
    return [
        ("memory", lambda: limit_memory(limits.memory), f"at most {megabytes} MB beyond its own code"),
        ("processor time", lambda: limit_cpu(limits.cpu_seconds), f"at most {limits.cpu_seconds} s"),
        ("core files", limit_core, "none is written"),
        ("namespaces", leave_namespaces, "an empty network, and no shared memory of other processes"),
        ("root folder", change_root, "sees only an empty folder"),
        ("processes", limit_processes, "no process and no thread can be started"),
        ("user", drop_user if root else _keep_user, "a user of its own, which owns nothing"),
        ("capabilities", drop_capabilities, "none is left"),
        ("new privileges", refuse_new_privileges, "none can be gained"),
        ("memory of others", make_undumpable, "its memory cannot be read by other children"),
        ("landlock", apply_landlock, "no file, TCP port, abstract socket or signal to another process"),
        ("parent", lambda: die_with_parent(parent), "it is killed when its parent ends"),
        ("open files", limit_files, "nothing more can be opened, no file can grow"),
        ("seccomp", lambda: filter_system_calls(library), "only the system calls that computing needs"),
    ]


def _keep_user() -> None:
    raise OSError("the worker is not root, so its children run as the same user; the other protections separate them")


def _apply(name: str, action: Callable[[], object], detail: str) -> Protection:
    try:
        action()
    except OSError as error:
        return Protection(name, False, f"not in force: {error.strerror or error}")
    return Protection(name, True, detail)


# --- resource limits ----------------------------------------------------------------------------------------------


def limit_memory(extra: int) -> None:
    """Allow `extra` bytes of address space beyond what is used now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    _limit(resource.RLIMIT_AS, used + extra)


def limit_cpu(seconds: int) -> None:
    """Allow so many seconds of processor time beyond what is used now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = max(1, round(used.ru_utime + used.ru_stime + seconds))
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))


def limit_files() -> None:
    """Open no more files, sockets or pipes, and let no file grow."""
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, 0)
    _limit(resource.RLIMIT_MSGQUEUE, 0)


def limit_processes() -> None:
    """Start no process and no thread; root is exempt, so `drop_user` must follow."""
    _limit(resource.RLIMIT_NPROC, 0)


def limit_core() -> None:
    """Write no core file and lock no memory."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_MEMLOCK, 0)


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


# --- user, capabilities, namespaces -------------------------------------------------------------------------------

CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUSER = 0x40000000, 0x08000000, 0x10000000
PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 3, 4, 24, 38
CAPABILITY_VERSION = 0x20080522
LAST_CAPABILITY = 63
FIRST_CHILD_USER = 3_000_000_000  # a child's user id is this plus its pid: above what distributions and containers use
NOBODY = 65534


def die_with_parent(parent: int) -> None:
    """Be killed when the parent dies; call it again after a change of user, which resets it."""
    checked(_libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0))
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)  # it died before


def leave_namespaces() -> None:
    """Enter an empty network and an empty IPC namespace; without root, through a user namespace."""
    spaces = CLONE_NEWNET | CLONE_NEWIPC
    checked(_libc.unshare(spaces if os.geteuid() == 0 else spaces | CLONE_NEWUSER))


def change_root() -> None:
    """Make the working directory the root of all paths."""
    os.chroot(".")
    os.chdir("/")


def drop_user() -> int:
    """Become a user that owns nothing and that no other process has; return its id."""
    os.setgroups([])
    for number in (FIRST_CHILD_USER + os.getpid(), NOBODY):
        try:
            os.setresgid(number, number, number)
            os.setresuid(number, number, number)
            return number
        except OSError as error:
            refused = error
    raise refused


def drop_capabilities() -> None:
    """Drop every capability, also those that a user namespace granted."""
    for capability in range(LAST_CAPABILITY + 1):
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails where it is dropped already
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    checked(_libc.capset(header, (ctypes.c_uint32 * 6)()))


def refuse_new_privileges() -> None:
    """Never gain a privilege again, not even by a set-user-id program."""
    checked(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def make_undumpable() -> None:
    """Let no process of the same user read or trace this one, and write no core file."""
    checked(_libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))


def is_undumpable() -> bool:
    """Whether `make_undumpable` is in force."""
    return bool(_libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0)


# --- Landlock -----------------------------------------------------------------------------------------------------
# Source: Documentation/userspace-api/landlock.rst and include/uapi/linux/landlock.h of Linux. The C library has no
# wrapper, so the three system calls are made by number; the numbers are the same on every architecture.

CREATE_RULESET, RESTRICT_SELF = 444, 446
VERSION_FLAG = 1
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # version: file system rights that it knows, as the lowest n bits
NET_BIND_AND_CONNECT = 0b11  # from version 4 on
SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11  # from version 6 on


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


def landlock_version() -> int:
    """Return the version of the kernel's Landlock interface, 0 if it has none or it is switched off."""
    return max(0, _syscall(CREATE_RULESET, None, 0, VERSION_FLAG))


def apply_landlock() -> None:
    """Restrict this process by Landlock; OSError also where the kernel's version restricts files alone."""
    version = landlock_version()
    if not version:
        raise OSError("this kernel has no Landlock (Linux 5.13 or later, with landlock among its security modules)")
    restrict(version)
    if version < 6:
        raise OSError(f"version {version} of this kernel restricts files alone; signals and sockets from Linux 6.12 on")


def restrict(version: int) -> None:
    """Give up everything that a version (at least 1) of Landlock can take away."""
    files = (1 << FILE_RIGHTS[min(version, max(FILE_RIGHTS))]) - 1
    rules = _Ruleset(
        files=files,
        net=NET_BIND_AND_CONNECT if version >= 4 else 0,
        scoped=SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0,
    )
    known = 24 if version >= 6 else 16 if version >= 4 else 8  # [bytes] an older kernel refuses a longer record
    handle = checked(_syscall(CREATE_RULESET, ctypes.byref(rules), known, 0))
    try:
        refuse_new_privileges()
        checked(_syscall(RESTRICT_SELF, handle, 0))
    finally:
        os.close(handle)


def _syscall(number: int, *arguments: object) -> int:
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(_libc.syscall(ctypes.c_long(number), *given))


# --- seccomp ------------------------------------------------------------------------------------------------------
# Source: seccomp_init(3), seccomp_rule_add(3), seccomp_load(3) of libseccomp (Debian: libseccomp2). Optional: whatever
# it refuses another protection refuses, too; it closes what those leave open, such as file names, and future calls.

REFUSE = 0x00050000 | errno.EPERM  # SCMP_ACT_ERRNO
ALLOW = 0x7FFF0000  # SCMP_ACT_ALLOW
LIBRARY = "libseccomp.so.2"

# Reading and writing the two pipes, memory, time, the end.
ALLOWED = (
    *("read", "write", "readv", "writev", "close"),
    *("munmap", "mremap", "brk", "madvise"),
    *("futex", "rseq", "set_robust_list", "sched_yield", "sched_getaffinity", "getrandom"),
    *("clock_gettime", "clock_getres", "gettimeofday", "time", "getrusage"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"),
    *("getpid", "gettid", "exit", "exit_group"),
)
MAPPING = ("mmap", "mprotect")  # allowed where their third argument, the protection, makes nothing executable
PROT_EXEC, MASKED_EQ = 4, 7  # the latter is SCMP_CMP_MASKED_EQ


class _Comparison(ctypes.Structure):
    """A condition on one argument: (value & datum_a) == datum_b."""

    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


def load_seccomp() -> ctypes.CDLL | None:
    """Return the library, None where it is not installed; call it before `change_root`."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    rule: list[Any] = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p]
    library.seccomp_rule_add_array.argtypes = rule
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    return library


def filter_system_calls(library: ctypes.CDLL | None) -> None:
    """Refuse every system call but ALLOWED and MAPPING from here on."""
    if library is None:
        raise OSError(f"{LIBRARY} is not installed (optional; Debian: apt install libseccomp2)")
    rules = library.seccomp_init(REFUSE)
    if not rules:
        raise OSError(errno.ENOMEM, "seccomp_init failed")
    not_executable = _Comparison(2, MASKED_EQ, PROT_EXEC, 0)
    for name in (*ALLOWED, *MAPPING):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # not every architecture has all of them
            count = int(name in MAPPING)
            library.seccomp_rule_add_array(rules, ALLOW, number, count, ctypes.byref(not_executable))
    code = library.seccomp_load(rules)
    if code < 0:
        raise OSError(-code, os.strerror(-code))
