"""A plain install does what README says, and what lacks a library names the extra that installs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deeptraffic.extras import EXTRAS, require_extra

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_EXTRAS = f"""
import importlib, importlib.machinery, json, sys
HIDDEN = {sorted({name for libraries in EXTRAS.values() for name in libraries})}
class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Finder
"""
IMPORTS = """
import pkgutil
failed = {}
for package in ("deeptraffic", "agents", "representation"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if module.name.rpartition(".")[2] not in ("env", "__main__") and "migrations" not in module.name:
            try:
                importlib.import_module(module.name)
            except ImportError as error:
                failed[module.name] = str(error)
print(json.dumps(failed))
"""
COMMANDS = """
import contextlib, io
from deeptraffic.cli import main
outcomes = []
for words in json.loads(sys.stdin.read()):
    sys.argv, out, err = ["deeptraffic", *words], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    outcomes.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(outcomes))
"""
WORK = [
    "--version",
    "evaluate gap champion-solo --protocol open --runs 2 --json",
    "evaluate champion --protocol open --runs 2",
    "evaluate original.js --protocol open --runs 2",
    "inspect champion",
    "record champion-solo -o run.gif --seconds 1",
    "record champion-solo -o run.webp --seconds 1 --layer attention",
    "record gap -o run.trace --seconds 1",
    "export champion-solo -o solo.safetensors",
    "export champion-ppo --original ppo.js --no-check",
    "import ppo.js -o again.safetensors",
]
LACK = {
    "train ppo -o run": "agents",
    "demo -o demo": "agents",
    "lab -o site": "agents",
    "record gap -o run.mp4 --seconds 1": "video",
    "inspect champion-solo --plot first.png": "agents",
    "pretrain autoencoder": "agents",
    "compare gap champion-solo --runs 4": "agents",
    "sweep none.toml": "sweep",
    "serve": "competition",
    "competition show": "competition",
    "evaluate gap idle --ray local": "ray",
}


def without_extras(program: str, folder: Path, stdin: str = "") -> Any:
    """Run a program in a process that finds no library of an extra; return the JSON that it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WITHOUT_EXTRAS + program]
    run = subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Exit code, output and errors of each command."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "original.js").write_bytes((ROOT / "tests" / "golden" / "epsilon.js").read_bytes())
    words = [line.split() for line in (*WORK, *LACK)]
    return dict(zip((*WORK, *LACK), without_extras(COMMANDS, folder, json.dumps(words)), strict=True))


@pytest.mark.parametrize("command", WORK)
def test_a_plain_install_runs_the_command(command: str, outcomes: dict[str, Any]) -> None:
    code, _, errors = outcomes[command]
    assert code == 0, errors


@pytest.mark.parametrize("command", LACK)
def test_a_command_that_lacks_a_library_names_its_extra(command: str, outcomes: dict[str, Any]) -> None:
    code, out, errors = outcomes[command]
    assert (code, out) == (1, "")
    assert f"pip install 'deeptraffic[{LACK[command]}]'" in errors


def test_every_module_that_lacks_a_library_names_its_extra(tmp_path: Path) -> None:
    failed = without_extras(IMPORTS, tmp_path)
    assert [name for name, error in failed.items() if "pip install 'deeptraffic[" not in error] == []
    assert {"deeptraffic.envs.aec_env", "agents.trainer"} <= failed.keys()


def test_imports_of_others_fail_as_ever() -> None:
    program = (
        "import importlib.util, deeptraffic; from deeptraffic.extras import EXTRAS; EXTRAS['x'] = ('no_such',)\n"
        "assert importlib.util.find_spec('no_such') is None\n"
        "import no_such"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert run.stderr.endswith("ModuleNotFoundError: No module named 'no_such'\n")


def test_what_an_extra_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "video", ("no_such", "neither"))
    with pytest.raises(ImportError, match=r"no_such, neither: not installed; pip install 'deeptraffic\[video\]'"):
        require_extra("video")
