"""Models and objects of the user's own as policies: a Stable-Baselines3 model's .zip, module:object or file.py:object.

    >>> load_own("model.zip")                            # of any algorithm; unpickled, so trust its origin
    >>> load_own("mine.py:Cautious")                     # a Policy, a model, a function, or what makes one

Loading them runs their code; the competition's server loads none.
"""

import functools
import importlib
import importlib.util
import inspect
import os
import re
import sys
import types
from pathlib import Path
from typing import Any

from deeptraffic.envs.observations import ObservationLike
from deeptraffic.evaluation.model import as_policy
from deeptraffic.policies.base import DEFAULT_RULES, Policy
from deeptraffic.policies.file import MAX_FILE
from deeptraffic.policies.file_types import SB3, file_type

OBJECT = re.compile(r"([\w.]+|.*\.py):[A-Za-z_][\w.]*")


def is_own(name: str) -> bool:
    """Whether a name stands for a model or an object of the user's own."""
    return Path(name).suffix.lower() == ".zip" or (OBJECT.fullmatch(name) is not None and not Path(name).exists())


def load_own(name: str, rules: int | None = None, observation: ObservationLike | None = None) -> Policy | None:
    """Return the policy of a model or an object of the user's own; None if the name is of another kind.

    rules: year of the contest; observation: see `deeptraffic.evaluation.model.as_policy`

    Raises ValueError if there is no such object, or it is no model.
    """
    path, year = Path(name), DEFAULT_RULES if rules is None else rules
    if path.suffix.lower() == ".zip" and path.is_file():
        with path.open("rb") as file:
            if file_type(file.read(MAX_FILE), path.name) is not SB3:
                return None
        from agents.sb3_network import read_model

        found: Any = read_model(path)
        label: str | None = path.stem
    elif is_own(name) and path.suffix.lower() != ".zip":
        found, label = import_object(name), None
    else:
        return None
    try:
        return as_policy(found, observation, label, year)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def import_object(name: str) -> Any:
    """Return what package.module:object or file.py:object names; a class or a function without arguments is called."""
    source, _, attribute = name.rpartition(":")
    path = Path(source)
    try:
        if path.suffix == ".py":
            spec = importlib.util.spec_from_file_location(path.stem, path)
            assert spec is not None and spec.loader is not None
            module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            if "" not in sys.path and os.getcwd() not in sys.path:
                sys.path.insert(0, os.getcwd())
            module = importlib.import_module(source)
    except (ImportError, FileNotFoundError) as error:
        raise ValueError(f"{name!r}: {source} cannot be imported ({error}); name a module, or a .py file") from error
    try:
        found = functools.reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        raise ValueError(f"{name!r}: {error}") from None
    return found() if _is_factory(found) else found  # type: ignore[operator]


def _is_factory(found: Any) -> bool:
    """Whether it is a class, or a function that can be called without arguments."""
    if not isinstance(found, type | types.FunctionType):
        return False
    empty = inspect.Parameter.empty
    given = inspect.signature(found).parameters.values()
    return all(each.default is not empty or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in given)
