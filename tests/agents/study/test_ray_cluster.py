"""Calls on a cluster end once each: with a result, or lost with their machines; errors of the function are raised."""

import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agents.study.ray_cluster import Calls, Done, Lost, connect, cores

spec = importlib.util.spec_from_file_location("fake_ray", Path(__file__).with_name("fake_ray.py"))
assert spec and spec.loader
fake_ray: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake_ray)


def ended(calls: Calls) -> list[Done | Lost]:
    outcomes = []
    while calls.running:
        outcomes += calls.wait(1.0)
    return outcomes


def test_every_call_ends_once_under_its_key() -> None:
    calls = Calls(fake_ray.FakeRay(), pow)
    for key in range(5):
        calls.start(f"call {key}", key, 2)
    assert ended(calls) == [Done(f"call {key}", key**2) for key in range(5)]


def test_call_whose_machines_die_is_lost_and_the_others_are_not() -> None:
    calls = Calls(fake_ray.FakeRay(lost=(1,)), abs)
    for key in range(3):
        calls.start(key, -key)
    assert ended(calls) == [Done(0, 0), Lost(1, "node died"), Done(2, 2)]


def test_ray_repeats_after_a_death_and_never_after_an_error() -> None:
    ray = fake_ray.FakeRay()
    Calls(ray, abs)
    assert ray.options == {"num_cpus": 1, "max_retries": 3, "retry_exceptions": False}


def test_error_of_the_function_is_raised() -> None:
    calls = Calls(fake_ray.FakeRay(), lambda: fake_ray.RayTaskError("a bug"))
    calls.start(0)
    with pytest.raises(fake_ray.RayTaskError, match="a bug"):
        calls.wait(1.0)


def test_waiting_for_nothing_takes_its_time() -> None:
    started = time.monotonic()
    assert Calls(fake_ray.FakeRay(), abs).wait(0.05) == []
    assert time.monotonic() - started >= 0.05  # or a driver without machines would spin


def test_cancelled_calls_are_ended_by_force_and_forgotten() -> None:
    ray = fake_ray.FakeRay()
    calls = Calls(ray, abs)
    calls.start(0, 1)
    calls.start(1, 1)
    calls.cancel()
    assert ray.cancelled == 2
    assert calls.running == {}


def test_cluster_without_machines_has_no_cores() -> None:
    assert [cores(fake_ray.FakeRay(number)) for number in (0, 3)] == [0, 3]


def test_missing_ray_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"deeptraffic\[ray\]"):
        connect("local")


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray: ray")
def test_address_where_no_cluster_answers_is_named_at_once() -> None:
    address = "127.0.0.1:1"
    program = (
        f"from agents.study.ray_cluster import connect\ntry: connect({address!r})\nexcept RuntimeError as e: print(e)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert f"no Ray cluster answers at {address!r}" in found.stdout, found.stderr
