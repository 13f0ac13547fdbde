"""The original game's weights in the module: policy files as the package reads them, and back."""

import base64
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeptraffic.policies.convnetjs.parse import ConvNetJSError
from deeptraffic.policies.convnetjs.read import _fit as fit
from deeptraffic.policies.convnetjs.read import network_from_json
from deeptraffic.policies.file import read_policy

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def records() -> dict[str, Any]:
    """The library's own networks, of every kind of layer, and those of submissions."""
    found = {}
    for path in [*sorted(GOLDEN.glob("convnetjs_*.json")), GOLDEN / "submission_networks.json"]:
        for record in json.loads(path.read_text("utf-8")):
            found[f"{path.stem}-{record['name']}"] = record["net"]
    return found


RECORDS = records()


@pytest.mark.parametrize("unread", [0, 2])
@pytest.mark.parametrize("name", RECORDS)
def test_weights_are_read_as_by_the_package(name: str, unread: int, ask: Any, tmp_path: Path) -> None:
    record = RECORDS[name]
    inputs = math.prod(record["layers"][0][key] for key in ("out_sx", "out_sy", "out_depth")) + unread
    given = {"lanes_side": 0, "patches_ahead": inputs, "patches_behind": 0, "temporal_window": 0}
    given |= {"other_agents": 3, "epsilon": 0.25, "random_actions": [0.2] * 5, "label": "naïve"}
    try:
        expected = fit(network_from_json(record), inputs, 1)
    except ConvNetJSError as error:
        with pytest.raises(AssertionError, match=re.escape(str(error).partition(": ")[2][:30])):
            ask("convnetjs", weights=record, given=given)
        return
    found = ask("convnetjs", weights=record, given=given)
    path = tmp_path / "network.safetensors"
    path.write_bytes(base64.b64decode(found["file"]))
    file = read_policy(path)
    assert file.network.layers == expected.layers
    assert file.network.tensors.keys() == expected.tensors.keys()
    for tensor, values in expected.tensors.items():
        assert np.array_equal(file.network.tensors[tensor], values)
    assert (file.manifest.epsilon, file.manifest.random_actions, file.manifest.label) == (0.25, (0.2,) * 5, "naïve")


@pytest.mark.parametrize("name", [name for name in RECORDS if name.startswith("submission")])
def test_weights_are_written_as_they_were_read(name: str, ask: Any) -> None:
    record = RECORDS[name]
    inputs = record["layers"][0]["out_depth"]
    given = {"lanes_side": 0, "patches_ahead": inputs, "patches_behind": 0, "temporal_window": 0}
    given |= {"other_agents": 0, "epsilon": 0.0, "random_actions": [], "label": "again"}
    before, after = network_from_json(record), network_from_json(ask("convnetjs", weights=record, given=given)["again"])
    assert after.layers == before.layers
    assert all(np.array_equal(after.tensors[name], values) for name, values in before.tensors.items())
