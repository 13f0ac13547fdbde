"""POLICY on the command line: a built-in name, a policy file, or a run folder. The one place that tells them apart."""

import json
from pathlib import Path

from agents.champions.registry import CHAMPIONS, load_champion
from deeptraffic.policies.base import Policy
from deeptraffic.policies.builtin import BUILTINS, make_builtin
from deeptraffic.policies.convnetjs.read import ConvNetJSFile, read_convnetjs
from deeptraffic.policies.file import read_policy

POLICY_NAMES = (*BUILTINS, *CHAMPIONS)
LISTED = ", ".join(POLICY_NAMES)
POLICY_HELP = f"A built-in policy ({LISTED}), a policy file or original .js file, or a training run's folder."
OTHERS_HELP = "Other agents on the road, 0 to 10, driven by copies of the policy."
OWN = "the policy's own"  # what an option that is not given stands for
DEFAULT_RULES = 2018


def resolve_policy(name: str, rules: int | None = None, seed: int = 0) -> Policy:
    """Return the policy that a name stands for.

    rules: that it will drive under; None for its own (built-ins: 2018)
    seed: of policies that draw, such as `random`

    Raises ValueError if there is no such policy, naming what there is.
    """
    path = Path(name)
    if name in CHAMPIONS:
        return load_champion(name)
    if name in BUILTINS:
        return make_builtin(name, DEFAULT_RULES if rules is None else rules, seed)
    if path.is_dir():
        from agents import deepqlearn_run
        from agents.run import is_run_folder, load_policy

        if not is_run_folder(path):
            raise ValueError(f"folder {name!r} holds no training run (no config.json); name the folder of a run")
        return deepqlearn_run.load_policy(path) if is_deepqlearn(path) else load_policy(path)
    if path.is_file():
        return load_policy_file(path)
    raise ValueError(
        f"there is no policy {name!r}: it is no built-in name ({LISTED}), and no file or folder of that name exists "
        "here"
    )


def is_deepqlearn(folder: Path) -> bool:
    """Whether a run folder is one of deepqlearn, by its configuration."""
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("algo") == "deepqlearn"
    except (ValueError, AttributeError):
        return False  # whoever loads it says what is wrong


def load_policy_file(path: Path) -> Policy:
    """Return the policy in a policy file, or in a submission to the original game."""
    if path.suffix == ".js":
        return read_original(path).policy()
    return read_policy(path).policy()


def read_original(path: Path) -> ConvNetJSFile:
    """Return what an original game's file says."""
    try:
        return read_convnetjs(path.read_text(encoding="utf-8"), path.stem)
    except UnicodeDecodeError:
        raise ValueError(f"{str(path)!r} is no UTF-8 text; save the submission as a text file") from None
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from None


def trained_for(policy: Policy) -> tuple[int, int]:
    """Return (rules, other agents) that a policy was made for."""
    return policy.rules, policy.other_agents
