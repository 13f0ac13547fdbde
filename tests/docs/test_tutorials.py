"""The tutorials: every notebook runs at a reduced size, its answers included, and is stored with its outputs."""

import json
import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from deeptraffic.docs.notebooks import notebook_page

ROOT = Path(__file__).resolve().parents[2]
COURSE = sorted((ROOT / "representation" / "tutorials").glob("*.ipynb"))
AGENTS = ROOT / "agents" / "tutorials" / "07_driving_agents.ipynb"
NOTEBOOKS = [*COURSE, AGENTS]
SCALE = "0.02"  # of the reduced size
MAX_BYTES = 250 * 1024  # of a notebook
MIN_WIDTH = 900  # [pixels] of a picture
ANSWER = re.compile(r"<details><summary>Answer</summary>\n\n(.*?)\n\n</details>", re.DOTALL)
EXERCISE = re.compile(r"^\*\*\d\.\*\*|^\*\*\d\. ", re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text(encoding="utf-8"))["cells"])


def texts(path: Path) -> str:
    return "\n\n".join("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "markdown")


def outputs(path: Path) -> list[dict[str, Any]]:
    return [output for cell in cells(path) for output in cell.get("outputs", [])]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Restore the number of threads that the notebooks set."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("path", [*COURSE, pytest.param(AGENTS, marks=pytest.mark.slow)], ids=lambda path: path.stem)
@pytest.mark.usefixtures("one_thread")
def test_a_tutorial_runs_at_a_reduced_size(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPTRAFFIC_TUTORIAL_SCALE", SCALE)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    code = ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code"]
    for number, source in enumerate([*code, *PYTHON.findall(texts(path))]):
        exec(compile(source, f"{path.name}, code {number}", "exec"), names)


@pytest.mark.slow
@every_notebook
def test_a_tutorial_runs_at_full_size(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    notebook.cells += [nbformat.v4.new_code_cell(code) for code in PYTHON.findall(texts(path))]  # type: ignore[no-untyped-call]
    client = NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env={**os.environ, "OMP_NUM_THREADS": "1"})


@every_notebook
def test_a_tutorial_is_stored_with_large_pictures_and_without_errors(path: Path) -> None:
    import base64
    import io

    from PIL import Image

    pictures = [output["data"]["image/png"] for output in outputs(path) if "image/png" in output.get("data", {})]
    sizes = [Image.open(io.BytesIO(base64.b64decode("".join(picture)))).size for picture in pictures]
    assert sizes and min(width for width, _ in sizes) >= MIN_WIDTH
    assert all(output["output_type"] != "error" for output in outputs(path))
    assert all(cell["execution_count"] for cell in cells(path) if cell["cell_type"] == "code")
    assert len(path.read_bytes()) < MAX_BYTES


@every_notebook
def test_a_tutorial_shows_a_network_a_loss_and_a_training_step(path: Path) -> None:
    code = ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code"]
    by_hand = next(k for k, source in enumerate(code) if "loss" in source and ".backward()" in source)
    assert "optimizer.step()" in code[by_hand] and "nn." in code[by_hand]
    calls = [k for k, source in enumerate(code) if re.search(r"\bfit\(|\btrain\(|\blearn\(", source)]
    assert by_hand < min(calls)


@every_notebook
def test_a_tutorials_formulas_are_drawn_whole_on_the_site(path: Path) -> None:
    formulas = re.findall(r"<math.*?</math>", notebook_page(path, "figures")[0], re.DOTALL)
    assert [formula for formula in formulas if "\\" in formula] == []


@every_notebook
def test_every_exercise_has_a_folded_answer(path: Path) -> None:
    exercises = texts(path).partition("## Exercises")[2]
    assert len(EXERCISE.findall(exercises)) == len(ANSWER.findall(exercises)) >= 3
    assert "ANSWER_" not in exercises


def test_the_last_tutorial_holds_a_film() -> None:
    assert sum("<video" in "".join(output.get("data", {}).get("text/html", [])) for output in outputs(AGENTS)) == 1


def printed(path: Path) -> str:
    return "".join("".join(output.get("text", "")) for output in outputs(path))


def test_every_tutorial_of_the_course_ends_in_mph_on_the_same_runs_as_the_teacher() -> None:
    teacher = [re.findall(r"^champion-solo, .*? ([\d.]+) mph$", printed(path), re.MULTILINE) for path in COURSE]
    assert len(teacher) == 6 and all(len(speeds) == 1 for speeds in teacher)
    assert len({speeds[0] for speeds in teacher}) == 1, teacher


def test_the_tutorials_lead_from_one_to_the_next() -> None:
    for path, following in pairwise(NOTEBOOKS):
        assert f"{following.name})" in "".join(cells(path)[-1]["source"])


@every_notebook
def test_a_tutorial_ends_in_what_was_learned_and_where_the_package_has_it(path: Path) -> None:
    last = "".join(cells(path)[-1]["source"])
    assert last.startswith("## What you learned\n") and "In the package: " in last.replace("\n", " ")
