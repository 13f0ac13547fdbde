"""macOS and Windows: everything but the competition's server and its sandbox works without what only Linux has.

Modules of this package see an operating system that lacks modules and functions; the standard library and others, which
are their own on each system, see Linux.
"""

import ast
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deeptraffic.run_dir import lock_folder

ROOT = Path(__file__).resolve().parent.parent
UNIX_MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog", "readline", "curses")
LINUX = {
    "os": "sched_getaffinity sched_setaffinity pidfd_open memfd_create unshare setns posix_fadvise pipe2 eventfd "
    "getresuid setresuid copy_file_range getrandom O_PATH O_TMPFILE",
    "select": "epoll",
    "socket": "SOCK_CLOEXEC SO_PEERCRED",
    "signal": "SIGPWR SIGSTKFLT sigtimedwait signalfd",
}
UNIX = {
    "os": "fork forkpty killpg setsid wait3 wait4 WNOHANG WIFEXITED getuid geteuid getgid getegid getpgid setuid nice "
    "getloadavg register_at_fork uname chown fchown lchown fchdir chroot statvfs sysconf pread pwrite mkfifo sync "
    "sendfile set_blocking O_NOFOLLOW O_DIRECTORY O_CLOEXEC O_NONBLOCK fdatasync",
    "select": "poll kqueue",
    "socket": "AF_UNIX SOCK_SEQPACKET send_fds recv_fds SO_REUSEPORT",
    "signal": "SIGHUP SIGQUIT SIGKILL SIGUSR1 SIGUSR2 SIGCHLD SIGALRM SIGPIPE SIGSTOP SIGCONT SIGXCPU SIGTSTP SIGWINCH "
    "alarm setitimer pause pthread_sigmask sigwait",
    "time": "tzset clock_gettime",
}
SYSTEMS: dict[str, tuple[tuple[str, ...], tuple[dict[str, str], ...]]] = {
    "darwin": ((), (LINUX,)),
    "win32": (UNIX_MODULES, (LINUX, UNIX)),
}
PROGRAM = """
import builtins, ctypes, importlib, types

OWN, SYSTEM = ("deeptraffic", "agents", "representation"), %r
MODULES, MISSING = %r

class Proxy(types.ModuleType):
    def __init__(self, real, missing, values):
        super().__init__(real.__name__)
        self.__dict__.update(values, _real=real, _missing=missing)
    def __getattr__(self, name):
        if name in self._missing:
            raise AttributeError(f"{SYSTEM} has no {self._real.__name__}.{name}")
        return getattr(self._real, name)

class Library(ctypes.CDLL):
    def __init__(self, name, *args, **kwargs):
        if name is None and SYSTEM == "win32":
            raise TypeError("no library without a name")
        super().__init__(name, *args, **kwargs)

VALUES = {"sys": {"platform": SYSTEM}, "ctypes": {"CDLL": Library}}
names = {*MISSING, *VALUES}
PROXIES = {name: Proxy(importlib.import_module(name), MISSING.get(name, ()), VALUES.get(name, {})) for name in names}
msvcrt = types.ModuleType("msvcrt")
msvcrt.locking, msvcrt.LK_NBLCK = lambda handle, mode, count: None, 2
real = builtins.__import__

def imported(name, globals=None, locals=None, fromlist=(), level=0):
    if str((globals or {}).get("__name__", "")).partition(".")[0] not in OWN or level:
        return real(name, globals, locals, fromlist, level)
    if name == "msvcrt" and SYSTEM == "win32":
        return msvcrt
    if name.partition(".")[0] in MODULES:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    found = real(name, globals, locals, fromlist, level)
    return PROXIES.get(found.__name__, found)

builtins.__import__ = imported
"""
WORK = [
    "evaluate champion-solo --protocol open --runs 2 --json",
    "compare gap champion-solo --runs 4 -o compared",
    "report losses gap --runs 2 -o losses",
    "record champion-solo -o run.mp4 --seconds 1",
    "train ppo -o run --set total_timesteps=2000 --set evaluation_runs=2 --set num_envs=2 --set batch_size=32",
    "train ppo -o run --set total_timesteps=4000 --set evaluation_runs=2 --set num_envs=2 --set batch_size=32",
    "evaluate run --protocol open --runs 2",
    "export run -o mine.safetensors",
    "lab -o site",
    "competition create course --data there",
    "competition show --data there --json",
    "competition invite --data there",
    "competition backup --data there -o backup.sqlite3",
]
NEEDS_LINUX = [
    "serve --data there",
    "worker --database-url sqlite:///x.sqlite3",
    "doctor --data there",
    "competition baseline gap mine.safetensors --data there",
]


@pytest.fixture(scope="module", params=["win32", pytest.param("darwin", marks=pytest.mark.slow)])
def elsewhere(request: pytest.FixtureRequest, run_prepared: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Imports that failed, by module, and exit code, output and errors by command, on another operating system."""
    modules, tables = SYSTEMS[request.param]
    missing = {name: {each for table in tables for each in table.get(name, "").split()} for name in UNIX}
    program = PROGRAM % (request.param, (modules, missing))
    return run_prepared(program, tmp_path_factory.mktemp(request.param), (*WORK, *NEEDS_LINUX))


def test_every_module_can_be_imported(elsewhere: Any) -> None:
    assert elsewhere[0] == {}


@pytest.mark.parametrize("command", WORK)
def test_the_command_works(command: str, elsewhere: Any) -> None:
    code, _, errors = elsewhere[1][command]
    assert code == 0, errors[-500:]


@pytest.mark.parametrize("command", NEEDS_LINUX)
def test_what_needs_linux_says_so(command: str, elsewhere: Any) -> None:
    code, _, errors = elsewhere[1][command]
    assert code == 1
    assert "needs Linux" in errors and "container" in errors


def test_a_locked_folder_is_refused_on_windows_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked: set[str] = set()

    def locking(handle: int, mode: int, count: int) -> None:
        """Lock the first byte of a file, as Windows does: by the file, whatever the handle."""
        assert (mode, count, os.lseek(handle, 0, os.SEEK_CUR)) == (2, 1, 0)
        if (name := os.readlink(f"/proc/self/fd/{handle}")) in locked:
            raise PermissionError(13, "Permission denied")
        locked.add(name)

    msvcrt = types.ModuleType("msvcrt")
    msvcrt.__dict__.update(locking=locking, LK_NBLCK=2)
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    monkeypatch.setattr(sys, "platform", "win32")
    (tmp_path / "lock").write_bytes(b"longer than a byte")
    with (
        lock_folder(tmp_path, tmp_path / "lock"),
        pytest.raises(RuntimeError, match="another process is working"),
        lock_folder(tmp_path, tmp_path / "lock"),
    ):
        pass


def texts_without_encoding(tree: ast.AST) -> Iterator[int]:
    """Lines on which a text is read or written in the encoding of the system, which is not UTF-8 on all of them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and not any(keyword.arg == "encoding" for keyword in node.keywords):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            constants = [each.value for each in node.args if isinstance(each, ast.Constant)]
            mode = next((str(value) for value in constants if str(value) and set(str(value)) <= set("rwxabt+")), "r")
            plain_open = isinstance(node.func, ast.Name) and name == "open" and "b" not in mode
            if plain_open or len(node.args) < {"read_text": 1, "write_text": 2}.get(name, 0):
                yield node.lineno


def test_every_text_has_its_encoding() -> None:
    files = [path for package in ("deeptraffic", "agents", "representation") for path in (ROOT / package).rglob("*.py")]
    trees = {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in files}
    assert [f"{path}:{line}" for path, tree in trees.items() for line in texts_without_encoding(tree)] == []


def test_a_text_without_encoding_is_found() -> None:
    code = "a.read_text()\na.write_text(b)\nopen(a)\nopen(a, 'rb')\na.read_text(encoding='utf-8')\nopen(a, 'w')"
    assert list(texts_without_encoding(ast.parse(code))) == [1, 2, 3, 6]


def test_no_file_has_a_name_that_windows_refuses() -> None:
    names = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=True).stdout.split("\n")
    assert [name for name in names if set(name) & set('<>:"|?*\\')] == []
