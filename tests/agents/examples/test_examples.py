"""Every example runs as it stands, at small size, from an environment to a score; without its library it is skipped."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

import agents.examples
import deeptraffic
from deeptraffic.evaluation.score import Score

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(agents.examples.__path__[0])
SMALL: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "sb3_maskable_ppo": (("sb3_contrib",), {"total_timesteps": 512, "num_envs": 4}),
    "torchrl_ppo": (("torchrl",), {"total_timesteps": 512, "frames_per_batch": 256}),
    "tianshou_dqn": (("tianshou",), {"total_timesteps": 800, "num_envs": 2}),
    "pettingzoo_self_play": (("pettingzoo",), {"episodes": 2, "other_agents": 1}),
    "minari_cloning": (("minari", "h5py"), {"episodes": 4, "steps": 20}),
    "optuna_search": (("optuna",), {"trials": 2, "total_timesteps": 2048}),
    "rllib_ppo": (("ray.rllib",), {"iterations": 1, "batch": 256}),
    "tracking_wandb": (("wandb",), {"tracker": "wandb", "total_timesteps": 4096}),
    "tracking_mlflow": (("mlflow",), {"tracker": "mlflow", "total_timesteps": 4096}),
}


@pytest.fixture(autouse=True)
def few_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Score on ten open runs, and keep files of trackers and data sets in a folder that goes."""
    evaluate = deeptraffic.evaluate

    def evaluate_few(model: Any, observation: Any = None, other_agents: int = 0) -> Score:
        return evaluate(model, observation, protocol="open", runs=10, other_agents=other_agents)

    monkeypatch.setattr(deeptraffic, "evaluate", evaluate_few)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


@pytest.mark.parametrize("name", SMALL)
def test_an_example_trains_and_ends_with_a_score(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    libraries, settings = SMALL[name]
    for library in libraries:
        try:
            importlib.import_module(library)
        except ImportError as error:
            pytest.skip(f"{library} is not installed ({error})")
    module = importlib.import_module(f"agents.examples.{name.partition('_wandb')[0].partition('_mlflow')[0]}")
    module.main(**settings)
    assert re.search(r"\d\d\.\d\d mph official", capfd.readouterr().out)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_tested_and_listed(path: Path) -> None:
    tested = {name.partition("_wandb")[0].partition("_mlflow")[0] for name in SMALL} | {"cleanrl_ppo"}
    assert path.stem in tested and f"(examples/{path.name})" in (ROOT / "agents" / "README.md").read_text()
    assert path.stem == "cleanrl_ppo" or len(path.read_text().splitlines()) <= 100
    assert f"    python -m agents.examples.{path.stem}" in path.read_text()
