"""Files of everything in the lab's page, as the command line reads them; the page writes them in `tests/lab`."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.champions.registry import CHAMPIONS, FOLDER
from deeptraffic.policies.lab_file import HEAD

CONTENT = (FOLDER / CHAMPIONS["champion-pqn"].file).read_bytes()


def write(path: Path, learner: Any, arrays: bytes = b"1234" + CONTENT) -> Path:
    text = json.dumps({"page": {}, "learner": learner}).encode()
    path.write_bytes(HEAD + len(text).to_bytes(8, "little") + text + arrays)
    return path


def learner_of(offset: int) -> dict[str, Any]:
    return {"done": 3, "file": {"__bytes__": ["Uint8Array", offset, len(CONTENT)]}}


def test_the_network_of_a_saved_lab_is_scored_and_exported(run: Callable[..., Any], tmp_path: Path) -> None:
    everything = write(tmp_path / "deeptraffic.lab", learner_of(4))
    scores = [json.loads(run("evaluate", name, "--json").out)["score"] for name in (everything, "champion-pqn")]
    assert scores[0] == scores[1]
    assert "PQN" in run("inspect", everything).out or "pqn" in run("inspect", everything).out


@pytest.mark.parametrize(
    ("learner", "reason"),
    [
        (None, "it holds no network; train one in the lab"),
        ({}, "is damaged; save it again"),
        ({"file": {"__bytes__": ["Uint8Array", "0", 9]}}, "is damaged; save it again"),
        (learner_of(40), "network|header|bytes"),
    ],
)
def test_a_saved_lab_without_a_network_is_refused(
    learner: Any, reason: str, run: Callable[..., Any], tmp_path: Path
) -> None:
    result = run("evaluate", write(tmp_path / "mine.lab", learner))
    assert result.code != 0 and re.search(reason, result.err)


def test_a_lab_of_another_version_is_refused(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "old.lab").write_bytes(b"deeptraffic-lab 0\n" + bytes(20))
    result = run("evaluate", tmp_path / "old.lab")
    assert result.code != 0 and "saved by another version of the lab" in result.err
