"""The registry of algorithms: it is the only list, and it costs nothing to read."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agents.registry import ALGORITHMS, LEADS, PRESET_NAMES, WARM_STARTABLE, Entry, read_entry
from agents.sb3 import SB3Algorithm, torch_part
from deeptraffic.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "agents" / "algorithms"


def test_every_module_of_the_folder_is_listed_by_its_name() -> None:
    modules = {path.stem for path in FOLDER.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert modules - {"__init__"} == set(ALGORITHMS)


def test_one_file_makes_an_algorithm_and_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "new.py").write_text('raise ImportError\nENTRY = Entry("new", "offline", "of a test", LEADS)\n')
    assert read_entry(tmp_path / "new.py") == Entry("new", "offline", "of a test", LEADS)


@pytest.mark.parametrize("entry", ALGORITHMS.values(), ids=lambda entry: entry.name)
def test_an_entry_says_what_its_module_does(entry: Entry) -> None:
    algorithm = entry.load()
    assert sys.modules[f"agents.algorithms.{entry.name}"].ENTRY == entry
    assert set(algorithm.presets) <= set(entry.presets)
    if isinstance(part := torch_part(entry.name), SB3Algorithm):
        assert (part.initialise is not None) == entry.can_warm_start
    assert algorithm.config.__doc__ and algorithm.config.__doc__.startswith("Hyperparameters of ")


def test_help_names_all_algorithms_and_presets() -> None:
    help_text = " ".join(CliRunner().invoke(app, ["train", "--help"], terminal_width=200).stdout.split())
    for name in (*ALGORITHMS, *PRESET_NAMES):
        assert re.search(rf"\b{name}\b", help_text), name
    assert f"{', '.join(WARM_STARTABLE)} is initialised from" in help_text


@pytest.mark.parametrize("source", ["ALGORITHM = None\n", 'ENTRY = Entry("other", "policy-based", "", RETURNS)\n'])
def test_a_module_without_an_entry_of_its_name_is_refused_with_a_remedy(tmp_path: Path, source: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(ValueError, match=r"mine\.py must define ENTRY = Entry\('mine', \.\.\.\)"):
        read_entry(path)


def test_the_page_of_agents_names_all_algorithms() -> None:
    page = (ROOT / "agents" / "README.md").read_text(encoding="utf-8")
    assert [name for name in ALGORITHMS if f"`{name}`" not in page] == []


def test_reading_the_registry_loads_no_heavy_library() -> None:
    heavy = {"torch", "stable_baselines3", "numba"}
    program = f"import sys, deeptraffic.cli.train; print(*({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (found.returncode, found.stdout.split()) == (0, []), found.stderr
