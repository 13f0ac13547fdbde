"""System calls by a list of the few that numbers need, through libseccomp where it is installed (Debian: libseccomp2).

Source: seccomp_init(3), seccomp_rule_add(3), seccomp_load(3). Optional: everything that this refuses is refused by
another layer too; it also closes what those leave open, such as names of files, and whatever a kernel adds next year.
"""

import ctypes
import errno
import os

REFUSE = 0x00050000 | errno.EPERM  # SCMP_ACT_ERRNO
ALLOW = 0x7FFF0000  # SCMP_ACT_ALLOW
LIBRARY = "libseccomp.so.2"

# Reading and writing the two pipes, memory, time, the end. Memory is mapped, but never made executable.
ALLOWED = (
    *("read", "write", "readv", "writev", "close"),
    *("mmap", "munmap", "mremap", "brk", "madvise", "mprotect"),
    *("futex", "rseq", "set_robust_list", "sched_yield", "sched_getaffinity", "getrandom"),
    *("clock_gettime", "clock_getres", "gettimeofday", "time", "getrusage"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"),
    *("getpid", "gettid", "exit", "exit_group"),
)


def load_seccomp() -> ctypes.CDLL | None:
    """Return the library, None where it is not installed; before the root folder is changed."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_rule_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint]
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
    for name in ALLOWED:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # not every architecture has all of them
            library.seccomp_rule_add(rules, ALLOW, number, 0)
    code = library.seccomp_load(rules)
    if code < 0:
        raise OSError(-code, os.strerror(-code))
