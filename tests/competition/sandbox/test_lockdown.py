"""Lockdown: each protection prevents what it is for, and the report names those that are missing."""

import os
import socket
from collections.abc import Callable

import pytest

from deeptraffic.competition.sandbox import lockdown
from deeptraffic.competition.sandbox.limits import EVALUATION
from deeptraffic.competition.sandbox.lockdown import filter_system_calls, landlock_version, load_seccomp, restrict


def in_fork(act: Callable[[], object]) -> str:
    """What a fork of this process raises when it acts, or what it returns, as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            found = str(act())
        except BaseException as error:
            found = f"{type(error).__name__}: {error}"
        os.write(writing, found.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    return found


needs_landlock = pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock")
needs_seccomp = pytest.mark.skipif(load_seccomp() is None, reason="needs libseccomp2")


@needs_landlock
def test_landlock_takes_files_away() -> None:
    def act() -> object:
        restrict(landlock_version())
        return open("/etc/passwd")

    assert in_fork(act).startswith("PermissionError")


@needs_landlock
@pytest.mark.parametrize("version", range(1, landlock_version() + 1))
def test_every_version_of_landlock_takes_away_what_it_knows(version: int) -> None:
    def act() -> str:
        restrict(version)
        with socket.socket() as server:
            try:
                server.bind(("127.0.0.1", 0))
            except PermissionError:
                return "no port"
        return "a port"

    assert in_fork(act) == ("no port" if version >= 4 else "a port")


@needs_seccomp
def test_seccomp_allows_computing_and_refuses_the_rest() -> None:
    def act() -> list[str]:
        filter_system_calls(load_seccomp())
        assert sum(range(1000)) == 499500 and len(bytearray(1 << 22)) == 1 << 22
        tried: list[Callable[[], object]] = [socket.socket, os.fork, os.getppid, lambda: os.stat("/"), os.getuid]
        refused = []
        for call in tried:
            try:
                call()
            except PermissionError:
                refused.append(call.__name__)
        return refused

    assert in_fork(act) == "['socket', 'fork', '<lambda>']"  # the other two report no errors


def test_child_ends_with_its_parent_even_if_that_died_before() -> None:
    def act() -> None:
        lockdown.die_with_parent(1)  # its parent is another one

    assert in_fork(act) == ""


def test_missing_protections_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockdown, "landlock_version", lambda: 0)
    monkeypatch.setattr(lockdown, "load_seccomp", lambda: None)
    report = dict(line.split("=", 1) for line in in_fork(lambda: "\n".join(_report())).splitlines())
    assert report["landlock"].startswith("False not in force: this kernel has no Landlock")
    assert report["seccomp"].startswith("False not in force: libseccomp.so.2 is not installed")
    assert report["open files"].startswith("True")


def _report() -> list[str]:
    found = lockdown.lock_down(EVALUATION, os.getppid())
    return [f"{protection.name}={protection.in_force} {protection.detail}" for protection in found]


def test_landlock_of_files_alone_is_not_reported_as_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockdown, "landlock_version", lambda: 3)
    monkeypatch.setattr(lockdown, "restrict", lambda version: None)
    with pytest.raises(OSError, match="files alone"):
        lockdown.apply_landlock()
