"""A plain install does what README says, and what lacks a library names the extra that installs it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deeptraffic.extras import EXTRAS, require_extra

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_EXTRAS = f"""
import importlib, importlib.machinery, sys
HIDDEN = {sorted({name for libraries in EXTRAS.values() for name in libraries})}
class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Finder
"""
SMALL = "--set total_timesteps=2000 --set evaluation_runs=2 --set num_envs=2 --set batch_size=8"
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
    f"train pqn -o pqn --score {SMALL}",
    f"train ppo -o ppo {SMALL}",
    f"train ppo -o ppo {SMALL.replace('2000', '4000')}",
    "compare gap ppo --runs 4 -o compared",
    "demo -o demo --set total_timesteps=2000 --set evaluation_runs=2",
    "lab -o site",
]
LACK = {
    "train a2c -o run": "agents",
    "train ppo --set backend=torch -o run": "agents",
    "record gap -o run.mp4 --seconds 1": "video",
    "inspect champion-solo --plot first.png": "agents",
    "pretrain autoencoder": "agents",
    "sweep none.toml": "sweep",
    "serve": "competition",
    "competition show": "competition",
    "evaluate gap idle --ray local": "ray",
}


@pytest.fixture(scope="module")
def plain(run_prepared: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Imports that failed, by module, and exit code, output and errors by command, without libraries of extras."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "original.js").write_bytes((ROOT / "tests" / "golden" / "epsilon.js").read_bytes())
    return run_prepared(WITHOUT_EXTRAS, folder, (*WORK, *LACK))


@pytest.mark.parametrize("command", WORK)
def test_a_plain_install_runs_the_command(command: str, plain: Any) -> None:
    code, _, errors = plain[1][command]
    assert code == 0, errors


@pytest.mark.parametrize("command", ["train pqn", "compare gap", "demo"])
def test_a_command_that_does_less_names_the_extra_in_one_line(command: str, plain: Any) -> None:
    errors = next(outcome[2] for line, outcome in plain[1].items() if line.startswith(command))
    assert "is not installed; pip install 'deeptraffic[agents]'" in errors
    assert errors.count("pip install") == (2 if command == "demo" else 1)


@pytest.mark.parametrize("command", LACK)
def test_a_command_that_lacks_a_library_names_its_extra(command: str, plain: Any) -> None:
    code, out, errors = plain[1][command]
    assert (code, out) == (1, "")
    assert f"pip install 'deeptraffic[{LACK[command]}]'" in errors


def test_every_module_that_lacks_a_library_names_its_extra(plain: Any) -> None:
    failed = plain[0]
    assert [name for name, error in failed.items() if "pip install 'deeptraffic[" not in error] == []
    assert {"deeptraffic.envs.aec_env", "agents.sb3"} <= failed.keys()


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
