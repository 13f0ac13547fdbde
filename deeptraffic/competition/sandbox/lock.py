"""Lock the present process in, layer by layer, and say of each whether it holds.

Each layer alone would do for most of what a stranger could try; a machine that refuses one of them (an old kernel, a
container without privileges) is left with the others, and the report says so.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from deeptraffic.competition.sandbox import privileges as p
from deeptraffic.competition.sandbox.landlock import landlock_version, restrict
from deeptraffic.competition.sandbox.limits import Limits
from deeptraffic.competition.sandbox.seccomp import allow_few_calls, load_seccomp


@dataclass(frozen=True)
class Layer:
    """One protection: its name, whether it is in force, and a sentence about it."""

    name: str
    works: bool
    sentence: str


def lock_in(limits: Limits, parent: int) -> list[Layer]:
    """Give up, for ever, everything that numbers do not need; return what became of each layer.

    parent: the process whose death ends this one
    """
    root = os.geteuid() == 0
    p.die_with_parent(parent)
    return [_try(name, take, sentence) for name, take, sentence in layers(limits, parent, root)]


def layers(limits: Limits, parent: int, root: bool) -> list[tuple[str, Callable[[], object], str]]:
    """All layers in the only order in which each can still be put in force: name, act, what it means."""
    megabytes, library = limits.memory >> 20, load_seccomp()
    return [
        ("memory", lambda: p.limit_memory(limits.memory), f"at most {megabytes} MB beyond its own code"),
        ("processor time", lambda: p.limit_cpu(limits.cpu_seconds), f"at most {limits.cpu_seconds} s"),
        ("core files", p.limit_core, "none is written"),
        ("namespaces", p.leave_namespaces, "an empty network and no shared memory of others"),
        ("root folder", p.enclose_in_folder, "an empty folder is all there is"),
        ("processes", p.limit_processes, "no process and no thread can be started"),
        ("user", p.drop_user if root else _keep_user, "a user of its own, who owns nothing"),
        ("capabilities", p.drop_capabilities, "none is left"),
        ("new privileges", p.give_up_new_privileges, "none can be gained"),
        ("memory of others", p.hide_memory, "its memory cannot be read by its neighbours"),
        ("landlock", _landlock, "no file, TCP port, abstract socket or stranger's signal"),
        ("parent", lambda: p.die_with_parent(parent), "it dies with its worker"),
        ("open files", p.limit_files, "nothing more can be opened, no file can grow"),
        ("seccomp", lambda: allow_few_calls(library), "only the system calls that numbers need"),
    ]


def _keep_user() -> None:
    raise OSError("the worker is not root, so that its children are the same user; the other layers keep them apart")


def _landlock() -> None:
    version = landlock_version()
    if not version:
        raise OSError("this kernel has no Landlock (Linux 5.13 or later, with landlock among its security modules)")
    restrict(version)
    if version < 6:
        raise OSError(f"version {version} of this kernel restricts files alone; signals and sockets from Linux 6.12 on")


def _try(name: str, take: Callable[[], object], sentence: str) -> Layer:
    try:
        take()
    except OSError as error:
        return Layer(name, False, f"not in force: {error.strerror or error}")
    return Layer(name, True, sentence)
