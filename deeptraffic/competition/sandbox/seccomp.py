"""System calls by a list of the few that numbers need, through libseccomp where it is installed (Debian: libseccomp2).

Source: seccomp_init(3), seccomp_rule_add(3), seccomp_load(3). Optional: everything that this refuses is refused by
another layer too; it also closes what those leave open, such as names of files, and whatever a kernel adds next year.
"""

import ctypes
import errno
import os
from typing import Any

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
    """Of one argument: (value & datum_a) == datum_b."""

    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


def load_seccomp() -> ctypes.CDLL | None:
    """Return the library, None where it is not installed; before the root folder is changed."""
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


def allow_few_calls(library: ctypes.CDLL | None) -> None:
    """Refuse every system call but ALLOWED from here on; OSError where that cannot be done."""
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
