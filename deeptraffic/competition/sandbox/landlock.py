"""Landlock: a Linux process gives up files, TCP ports and signals for ever, without being root.

Source: Documentation/userspace-api/landlock.rst and include/uapi/linux/landlock.h of Linux. There is no wrapper in the
C library, so the three system calls are made by number; the numbers are the same on every architecture.

    >>> landlock_version()               # 0 where the kernel has none
    7
    >>> restrict(landlock_version())     # from here on no file can be opened, no port bound, no stranger signalled
"""

import ctypes
import os

CREATE_RULESET, RESTRICT_SELF = 444, 446
VERSION_FLAG = 1
PR_SET_NO_NEW_PRIVS = 38

# Rights of the file system that each version of the interface knows, as how many bits from the lowest.
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
NET_BIND_AND_CONNECT = 0b11  # from version 4 on
SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11  # from version 6 on

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


def landlock_version() -> int:
    """Return the version of the kernel's Landlock interface, 0 if it has none or it is switched off."""
    return max(0, _syscall(CREATE_RULESET, None, 0, VERSION_FLAG))


def restrict(version: int) -> None:
    """Give up everything that this version (at least 1) can take away; OSError if the kernel refuses."""
    files = (1 << FILE_RIGHTS[min(version, max(FILE_RIGHTS))]) - 1
    rules = _Ruleset(
        files=files,
        net=NET_BIND_AND_CONNECT if version >= 4 else 0,
        scoped=SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0,
    )
    known = 24 if version >= 6 else 16 if version >= 4 else 8  # [bytes] an older kernel refuses a longer record
    handle = _checked(_syscall(CREATE_RULESET, ctypes.byref(rules), known, 0))
    try:
        _checked(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(_syscall(RESTRICT_SELF, handle, 0))
    finally:
        os.close(handle)


def _syscall(number: int, *arguments: object) -> int:
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(_libc.syscall(ctypes.c_long(number), *given))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
