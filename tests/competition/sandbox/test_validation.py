"""Validation: what an upload holds, which files are refused, and how file types are told apart."""

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
