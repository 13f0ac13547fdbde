"""Loader of policies: a built-in name, a champion, a policy file, an original .js file, a .lab, or a run folder.

    >>> load_policy("gap")
    >>> load_policy("runs/ppo-20260101-120000").notes         # rules and other_agents say what it was trained for
    {'decisions': '401408', 'tuning_mean_mph': '70.310', 'tuning_median_mph': '71.520'}

Torch is loaded only for networks that no policy file holds.
"""

import json
from pathlib import Path
from typing import Any

from agents.champions.registry import CHAMPIONS, load_champion
from agents.export import TrainedPolicy, is_torch_network, read_tensors
from agents.own_model import load_own
from agents.registry import entry_of
from agents.run import SNAPSHOTS, RunFolder, is_run_folder
from agents.settings import build_config
from deeptraffic.envs.observations import ObservationLike, make_observation
from deeptraffic.policies.base import DEFAULT_RULES, Policy
from deeptraffic.policies.builtin import BUILTINS, make_builtin
from deeptraffic.policies.convnetjs.read import ConvNetJSFile, read_convnetjs
from deeptraffic.policies.file import KEY, MAX_FILE, PolicyFile, read_policy
from deeptraffic.policies.file_types import EMPTY, FROM_WEIGHTS, SUFFIXES, binary_type, file_type, is_text
from deeptraffic.policies.lab_file import is_lab_file, read_lab_file
from deeptraffic.sim.rules import RoadConfig

POLICY_NAMES = (*BUILTINS, *CHAMPIONS)


# parameters: options of a policy, each with a default
def load_policy(
    name: str | Path,
    rules: int | None = None,
    seed: int = 0,
    epsilon: float | None = None,
    observation: ObservationLike | None = None,
) -> Policy:
    """Return the policy that a name or a path stands for.

    rules: year of the rules it will be run under; None for its own (built-ins: 2018)
    seed: of what a policy draws at random: the actions of `random`, and those of a policy with an epsilon
    epsilon: probability of a random action in each decision; None for the policy's own
    observation: of a model or an object of one's own; None for what it says itself

    A name such as package.module:object or file.py:object is imported, and a Stable-Baselines3 model (.zip) unpickled,
    which runs their code.

    Raises ValueError if there is no such policy, naming what there is, or if its file is damaged.
    """
    policy = load_own(str(name), rules, observation)
    if policy is None:
        policy = _find_policy(name, rules, seed)
        if observation is not None:
            raise ValueError(f"{policy.label} says itself what it observes; leave out --obs")
    policy.set_epsilon(epsilon, seed)
    return policy


def _find_policy(name: str | Path, rules: int | None, seed: int) -> Policy:
    text, path = str(name), Path(name)
    if text in CHAMPIONS:
        return load_champion(text)
    if text in BUILTINS:
        return make_builtin(text, DEFAULT_RULES if rules is None else rules, seed)
    if path.is_dir():
        return load_run(path)
    if path.is_file():
        return load_snapshot(path) if path.resolve().parent.name == SNAPSHOTS else load_file(path)
    raise ValueError(
        f"there is no policy {text!r}: it is no built-in name ({', '.join(POLICY_NAMES)}), and no file or folder of "
        "that name exists here"
    )


def load_snapshot(path: Path) -> Policy:
    """Return the network in a run's folder of snapshots, or else in a policy file, as a policy."""
    folder = path.resolve().parent.parent
    if not is_run_folder(folder):
        return load_file(path)
    settings = RunFolder(folder).settings()
    policy = load_network(path, settings, f"{settings['algo']} at {int(path.stem):,}")
    policy.value_kind = entry_of(settings["algo"]).outputs
    return policy


def load_file(path: Path) -> Policy:
    """Return the policy in a policy file, a submission to the original game, or a file that the lab saved."""
    return read_file(path).policy()


def read_file(path: Path) -> PolicyFile | ConvNetJSFile:
    """Return what such a file holds; ValueError, which names the fault, if it holds no policy."""
    if is_original(path):
        return read_original(path)
    return read_lab_file(path) if is_lab_file(path) else read_policy(path)


def is_original(path: Path) -> bool:
    """Whether a file is one of the original game: it ends in .js, or is text that loads a network's weights."""
    if path.suffix.lower() == ".js":
        return True
    if path.suffix == ".safetensors" or not path.is_file():
        return False
    with path.open("rb") as file:
        return is_text(file.read(4096)) and b"fromJSON" in path.read_bytes()


def read_original(path: Path) -> ConvNetJSFile:
    """Return the submission in an original game's file."""
    content = path.read_bytes()
    if found := EMPTY if not content else binary_type(content):
        raise ValueError(f"{path}: this is {found.name}, not a file of the original game; {found.remedy}")
    try:
        return read_convnetjs(content.decode("utf-8"), path.stem)
    except UnicodeDecodeError:
        raise ValueError(f"{str(path)!r} is no UTF-8 text; save the submission as a text file") from None
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from None


def load_run(path: Path) -> Policy:
    """Return the network of a run folder as a policy; ValueError if the folder holds no run, or no network yet."""
    if not is_run_folder(path):
        raise ValueError(f"folder {str(path)!r} holds no training run (no config.json); {_folder_remedy(path)}")
    run = RunFolder(path)
    settings = run.settings()
    if not run.best_file.exists():
        raise ValueError(f"the run in {str(path)!r} has no network yet; let it train until its first evaluation")
    label = f"{settings['algo']} {path.resolve().name}"
    policy = load_network(run.best_file, settings, label)
    policy.value_kind = entry_of(settings["algo"]).outputs
    if isinstance(policy, TrainedPolicy):
        policy.folder = path
    return policy


def _folder_remedy(path: Path) -> str:
    """Return what helps somebody who named a folder that is no training run, from the files in it."""
    if (path / "saved_model.pb").is_file():
        return f"this is a TensorFlow SavedModel: {FROM_WEIGHTS}"
    files = sorted(file for file in path.iterdir() if file.is_file())
    if policies := [file for file in files if file.suffix in (".safetensors", ".js")]:
        return f"name a file in it, such as {policies[0]}"
    for file in files:
        if file.suffix.lower() in SUFFIXES:
            with file.open("rb") as opened:
                found = file_type(opened.read(MAX_FILE), file.name)
            if found is not None:
                return f"its {file.name} is {found.name}: {found.remedy}"
    return "name the folder of a run"


def load_network(source: Path | bytes, settings: dict[str, Any], label: str) -> Policy:
    """Return the policy of a trained network, in a file or its content (`agents.algorithm.Learner.content`).

    settings: of the training, nested as in `agents.config.TrainConfig.to_json`
    label: name in tables, where the file holds none

    Raises ValueError if the file is damaged.
    """
    weights, metadata = read_tensors(source)
    if KEY in metadata:
        return read_policy(source).policy()
    notes = json.loads(metadata.get("notes", "{}"))
    if is_torch_network(weights):
        algorithm = entry_of(settings["algo"]).load()
        return algorithm.torch_policy(build_config(settings["algo"], settings=settings), weights, label, notes)
    road, observation = RoadConfig(**settings["road"]), make_observation(settings["observation"])
    return TrainedPolicy(label, weights, road, observation, settings["agent"]["activation"], notes)
