"""Cache of machine code in the user's cache folder, with one file for each function and signature.

Numba's own cache discards a function when its file changes, but not when a function or constant that it imports does:
it would run yesterday's rules. Here a file is found by a digest of all that the machine code depends on
(`deeptraffic.sim.code_digest`). Numba's cache also lies beside the sources, and two processes that save at once can
exchange two signatures' code; here it lies in the user's cache folder (NUMBA_CACHE_DIR overrides it).
"""

import hashlib
import os
import pickle
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import types
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.dispatcher import Dispatcher
from numba.core.serialize import dumps

from deeptraffic.sim.code_digest import digest

VERSIONS = (numba.__version__, llvmlite.__version__, np.__version__, sys.version)


class CodeCache(NullCache):
    """Compiled code of one function, a file for each signature; what cannot be read or written is compiled anew."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        function, root = dispatcher.py_func, cache_folder()
        assert root is not None
        source = Path(function.__code__.co_filename)
        place = hashlib.sha256(str(source.parent).encode()).hexdigest()[:16]
        self.dispatcher = dispatcher
        self.folder = root / f"{source.parent.name}-{place}"
        self.name = re.sub(r"[^\w.]", "", f"{source.stem}.{function.__qualname__}")

    @property
    def cache_path(self) -> str:
        """The folder of the files."""
        return str(self.folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the machine code for a signature; None if it must be compiled."""
        target_context.refresh()
        build = partial(CompileResult._rebuild, target_context)
        return self.load("code", sig, target_context.codegen(), build)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep machine code."""
        if not data.library.has_dynamic_globals:
            self.save("code", sig, data.codegen, data._reduce())

    def load(self, kind: str, sig: Any, codegen: Any, build: Callable[..., Any]) -> Any:
        """Return build(*payload) of what was saved as `kind` for a signature; None if there is nothing."""
        try:
            key, payload = pickle.loads(self._path(kind, sig, codegen).read_bytes())
            return build(*payload) if key == sig else None
        except FileNotFoundError:
            return None
        except Exception:  # a damaged file can raise anything
            return None

    def save(self, kind: str, sig: Any, codegen: Any, payload: tuple[Any, ...]) -> None:
        """Write a file, and delete those that other sources left of this function."""
        path = self._path(kind, sig, codegen)
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".", delete=False) as file:
                file.write(dumps((sig, payload)))
            os.replace(file.name, path)
            kept = path.name[: -len(path.name.rpartition("-")[2])]
            for old in self.folder.glob(f"{self.name}-*.nbc"):
                if not old.name.startswith(kept):
                    old.unlink(missing_ok=True)

    def flush(self) -> None:
        """Delete the files."""
        for path in self.folder.glob(f"{self.name}-*.nbc"):
            path.unlink(missing_ok=True)

    def _path(self, kind: str, sig: Any, codegen: Any) -> Path:
        functions = [digest(each) for each in functions_among(sig)]
        parts = kind, str(sig), functions, codegen.magic_tuple(), VERSIONS, machinery()
        signature = hashlib.sha256(repr(parts).encode()).hexdigest()[:24]
        return self.folder / f"{self.name}-{digest(self.dispatcher)}-{signature}.nbc"


def functions_among(kinds: Iterable[Any]) -> Iterator[Dispatcher]:
    """Yield the functions that arguments of these types are or hold."""
    for kind in kinds:
        if isinstance(kind, types.Dispatcher):
            yield kind.dispatcher
        elif isinstance(kind, types.BaseTuple):
            yield from functions_among(kind)  # type: ignore[arg-type]


@cache
def machinery() -> str:
    """Return a hash of the sources that decide how functions are compiled."""
    names = "code_cache.py", "code_digest.py", "compiled.py"
    return hashlib.sha256(b"".join(Path(__file__).with_name(name).read_bytes() for name in names)).hexdigest()


@cache
def cache_folder() -> Path | None:
    """Return the folder of machine code: the first that is there or can be made; None if there is none."""
    for folder in _cache_folders():
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return folder
    return None


def _cache_folders() -> Iterator[Path]:
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(given) / "deeptraffic"
    with suppress(RuntimeError):  # there is no home
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        yield Path(base) / "deeptraffic" / "compiled"
    if hasattr(os, "getuid"):
        folder = Path(tempfile.gettempdir()) / f"deeptraffic-compiled-{os.getuid()}"
        with suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()  # of machine code that another user may have put there, nothing is loaded
            if found.st_uid == os.getuid() and found.st_mode & 0o170077 == 0o040000:
                yield folder
