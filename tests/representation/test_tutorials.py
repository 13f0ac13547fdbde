"""The tutorials: every notebook runs from top to bottom at a reduced size, is stored with its outputs, ends in mph."""

import json
import os
import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[2] / "representation" / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MAX_BYTES = 400_000


def execute(path: Path, scale: str, folder: Path) -> None:
    """Run a notebook in a folder of its own."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    environment = {**os.environ, "DEEPTRAFFIC_TUTORIAL_SCALE": scale, "OMP_NUM_THREADS": "1"}
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_tutorial_runs_at_a_reduced_size(path: Path, tmp_path: Path) -> None:
    execute(path, "0.05", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_tutorial_runs_at_full_size(path: Path, tmp_path: Path) -> None:
    execute(path, "1", tmp_path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_tutorial_is_stored_with_its_pictures_and_without_errors_or_paths(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    outputs = [output for cell in json.loads(text)["cells"] for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert all(output["output_type"] != "error" for output in outputs)
    assert len(text) < MAX_BYTES


def printed(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "".join("".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", []))


def test_every_tutorial_ends_in_mph_on_the_same_runs_as_the_teacher() -> None:
    teacher = [re.findall(r"^champion-solo, .*? ([\d.]+) mph$", printed(path), re.MULTILINE) for path in NOTEBOOKS]
    assert len(teacher) == 6 and all(len(speeds) == 1 for speeds in teacher)
    assert len({speeds[0] for speeds in teacher}) == 1, teacher


def test_the_tutorials_lead_from_one_to_the_next() -> None:
    for path, following in pairwise(NOTEBOOKS):
        assert f"({following.name})" in path.read_text(encoding="utf-8")
