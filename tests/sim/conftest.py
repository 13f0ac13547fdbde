"""Give the tests of the simulator the second implementation of the rules, a plain module beside them."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """Import `reference.py` by its path: tests are no package, so that their names cannot clash."""
    path = Path(__file__).with_name("reference.py")
    spec = importlib.util.spec_from_file_location("rules_reference", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
