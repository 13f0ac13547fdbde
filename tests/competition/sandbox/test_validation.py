"""Validation: what an upload holds, which files are refused, and how file types are told apart."""

from typing import Any

import numpy as np
import pytest

from deeptraffic.competition.evaluation import idle_policy
from deeptraffic.competition.sandbox.errors import InvalidSubmission
from deeptraffic.competition.sandbox.validation import validate
from deeptraffic.policies.file import pack_policy, policy_content
from deeptraffic.policies.layers import Dense
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import Sensor

CONTENT = policy_content(idle_policy())


def test_an_upload_holds_what_pages_show() -> None:
    upload = validate(CONTENT, "mine.safetensors")
    assert (upload.content, upload.filename, upload.label) == (CONTENT, "mine.safetensors", "idle")
    assert (upload.rules, upload.other_agents, upload.access) == (2018, 0, "contest")
    assert (upload.sensor.size, upload.layers, upload.parameters) == (1, ("dense",), 10)
    assert upload.facts["sensor"] == {"lanes_side": 0, "patches_ahead": 1, "patches_behind": 0}


def test_a_file_that_is_no_policy_is_refused() -> None:
    with pytest.raises(InvalidSubmission):
        validate(CONTENT[:-1], "mine.safetensors")


def test_a_sensor_wider_than_the_road_is_accepted_as_open() -> None:
    tensors = {"1.weight": np.zeros((5, 101), np.float32), "1.bias": np.zeros(5, np.float32)}
    wide = pack_policy(Network(101, (Dense(outputs=5),), tensors), Sensor(50, 1, 0), "wide")
    upload = validate(policy_content(wide), "wide.safetensors")
    assert (upload.sensor, upload.access) == (Sensor(50, 1, 0), "open")


def test_a_relabelled_network_is_known_again_and_another_is_not() -> None:
    def digest(label: str, value: float, dtype: type = np.float32, **settings: Any) -> str:
        tensors = {"1.weight": np.full((5, 1), value, dtype), "1.bias": np.zeros(5, np.float32)}
        network = Network(1, (Dense(outputs=5),), tensors)
        return validate(policy_content(pack_policy(network, Sensor(0, 1, 0), label, **settings)), "a").network

    first = digest("mine", 0.5)
    assert digest("yours", 0.5, author="somebody else", training={"seed": 7}) == first
    assert digest("in other bytes", 0.5, np.float16) == first
    others = {digest("mine", 0.25), digest("mine", 0.5, other_agents=1), digest("mine", 0.5, epsilon=0.1)}
    assert len(others | {first}) == 4


def test_a_check_says_what_processor_time_it_took() -> None:
    assert 0.0 < validate(CONTENT, "mine.safetensors").cpu_seconds < 15.0
    with pytest.raises(InvalidSubmission) as found:
        validate(CONTENT[:-1], "mine.safetensors")
    assert 0.0 < found.value.cpu_seconds < 15.0
