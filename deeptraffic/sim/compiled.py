"""`compiled`: how this package uses Numba, and a cache that notices changes in every file, not only in its own.

Float64 as IEEE has it: no fast maths, no contraction into fused multiply-adds, a division by zero gives inf or NaN as
the game's own language does. The interpreter's lock is released, so threads run games side by side.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """Compile `function` on its first call for each type of arguments, and keep the machine code on disk.

    Numba throws a cached function away when its own file changes, but not when a function that it calls, in another
    file, does: it would run yesterday's rules. So the stamp that it compares covers all sources that may be inlined.
    """
    dispatcher = njit(cache=True, nogil=True, error_model="numpy")(function)
    index: Any = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if hasattr(index, "_source_stamp"):
        index._source_stamp = (_fingerprint(function.__code__.co_filename), index._source_stamp[-1])
    return dispatcher


@cache
def _fingerprint(filename: str) -> str:
    own = Path(filename)
    package = Path(__file__).parent.parent
    sources = {own, *package.glob("sim/*.py"), *package.glob("policies/**/*.py"), *own.parent.glob("*.py")}
    digest = hashlib.sha256()
    for source in sorted(sources):
        if source.is_file():
            digest.update(source.read_bytes())
    return digest.hexdigest()
