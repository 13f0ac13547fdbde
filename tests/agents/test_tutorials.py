"""The tutorial on driving agents runs from top to bottom at a reduced size, and is stored with its outputs."""

import json
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[2] / "agents" / "tutorials" / "07_driving_agents.ipynb"
MAX_BYTES = 1_000_000  # it holds a film


def execute(scale: str, folder: Path) -> None:
    """Run the notebook in a folder of its own."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    environment = {**os.environ, "DEEPTRAFFIC_TUTORIAL_SCALE": scale, "OMP_NUM_THREADS": "1"}
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)


def test_the_tutorial_runs_at_a_reduced_size(tmp_path: Path) -> None:
    execute("0.02", tmp_path)


@pytest.mark.slow
def test_the_tutorial_runs_at_full_size(tmp_path: Path) -> None:
    execute("1", tmp_path)


def test_the_tutorial_is_stored_with_its_pictures_and_film_and_without_errors() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    cells = json.loads(text)["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    films = [output for output in outputs if "<video" in "".join(output.get("data", {}).get("text/html", []))]
    assert len(pictures) >= 5 and len(films) == 1
    assert all(output["output_type"] != "error" for output in outputs)
    assert all(cell["execution_count"] for cell in cells if cell["cell_type"] == "code")
    assert len(text) < MAX_BYTES
