"""The doctor tries every protection: it says so where one holds, and where one does not."""

from collections.abc import Iterator

import pytest

from deeptraffic.competition.sandbox import process
from deeptraffic.competition.sandbox.attempts import ATTEMPTS, refusal_of
from deeptraffic.competition.sandbox.doctor import TRYING, check_protections, targets, try_all, try_layers
from deeptraffic.competition.sandbox.nursery import PROGRAM, Nursery
from deeptraffic.competition.sandbox.probing import ALONE
from deeptraffic.competition.sandbox.process import ChildProcess

# Layers that do nothing, in a nursery of its own; one that cannot be put in force.
WEAKENED = PROGRAM.replace(
    "main()",
    """
from deeptraffic.competition.sandbox import lock, privileges as p, probing
for name in ("limit_files", "limit_memory", "limit_processes", "enclose_in_folder", "leave_namespaces", "drop_user"):
    setattr(p, name, lambda *_: None)
for module in (lock, probing):
    module.restrict = lambda *_: None
    module.allow_few_calls = lambda *_: None
def refuse(*_):
    raise OSError("this machine has none")
p.hide_memory = refuse
main()
""",
)
WEAK = {"open files", "memory", "processes", "root folder", "namespaces", "user", "landlock", "seccomp"}


@pytest.fixture(scope="module")
def weak_nursery() -> Iterator[Nursery]:
    nursery = Nursery(WEAKENED)
    yield nursery
    nursery.close()


def test_whatever_a_stranger_would_try_is_refused_on_this_machine() -> None:
    found = check_protections()
    tried = [layer for layer in found if layer.name.startswith("cannot")]
    assert len(tried) == len(ATTEMPTS) + 2
    in_force = {layer.name for layer in found if layer.works}
    # Shared memory that everybody may read is kept away by these two alone, which a container may not have.
    open_by_nature = set() if in_force & {"namespaces", "seccomp"} else {"cannot look into shared memory"}
    assert {layer.name for layer in tried if not layer.works} <= open_by_nature
    assert {layer.name for layer in found} >= set(ALONE)
    assert all(layer.sentence for layer in found)


def test_layers_that_do_nothing_or_are_missing_are_found_out(
    weak_nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "nursery", lambda: weak_nursery)
    with targets() as aims, ChildProcess("probe", TRYING) as child:
        layers = {layer.name: layer for layer in try_layers(child, aims)}
        succeeded = {layer.name for layer in try_all(child, aims) if not layer.works}
    assert {name for name in WEAK if layers[name].works} == set()
    assert layers["landlock"].sentence == "in force, but it did not prevent what it is for"
    assert (layers["memory of others"].works, layers["memory of others"].sentence[:12]) == (False, "not in force")
    assert layers["core files"].works
    assert {"cannot read a file", "cannot start a process", "cannot take too much memory"} <= succeeded


def test_attempts_succeed_where_nothing_is_locked() -> None:
    with targets() as aims:
        for name in (
            "read a file",
            "see names of files",
            "connect to a server",
            "send a datagram",
            "signal the worker",
        ):
            assert refusal_of(ATTEMPTS[name], aims) is None, name
