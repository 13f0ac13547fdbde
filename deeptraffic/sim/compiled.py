"""Just-in-time compilation by Numba, with a cache of machine code in the user's cache folder.

Float64 as IEEE has it: no fast maths, no contraction into fused multiply-adds, a division by zero gives inf or NaN as
the game's own language does. The interpreter's lock is released, so threads run games side by side.

Numba's own cache discards a function when its file changes, but not when a function or constant that it imports does:
it would run yesterday's rules. Here the stamp covers every source file that a module imports, directly or not. Numba's
cache also lies beside the sources, and two processes that save at once can exchange two signatures' code; here it lies
in the user's cache folder (NUMBA_CACHE_DIR overrides it), with one file for each signature.
"""

import hashlib
import os
import pickle
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import njit, types
from numba.core import event
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (__name__.partition(".")[0], "agents", "representation")
IMPORT = re.compile(
    rf"^[ \t]*(?:from|import)[ \t]+((?:{'|'.join(PACKAGES)})\b[\w.]*)(?:[ \t]+import[ \t]+(\([^)]*\)|.*))?", re.M
)

FAST = {"reassoc", "contract", "arcp", "nsz"}

NOTICE = "deeptraffic: compiling for this machine, once; this may take a minute ..."
NOTICE_UNCACHED = "deeptraffic: compiling; set NUMBA_CACHE_DIR to a writable folder, so that the next start need not"


def mangled_record(record: types.Record) -> tuple[str, tuple[int]]:
    """Return what Numba puts into the symbols of functions of a record: a hash of its fields.

    Numba itself takes a number that each process counts anew. Machine code that two processes cached for two roads has
    the same symbols then, and a process that loads both runs the code of one road on the games of the other.
    """
    return "Record", (int(hashlib.sha256(record.name.encode()).hexdigest()[:15], 16),)


types.Record.mangling_args = property(mangled_record)  # type: ignore[method-assign, assignment]


def compiled(function: Callable[..., Any], fast_math: bool | set[str] = False, inline: bool = False) -> Any:
    """Compile `function` on its first call for each type of arguments, and keep the machine code on disk."""
    dispatcher: Any = njit(nogil=True, error_model="numpy", fastmath=fast_math, forceinline=inline)(function)
    if cache_folder() is not None and Path(function.__code__.co_filename).is_file():
        dispatcher._cache = CodeCache(function)
    return dispatcher


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function that is always made part of its callers, as `compiled`: a step of a hot loop."""
    return compiled(function, inline=True)


def learner_compiled(function: Callable[..., Any]) -> Any:
    """Compile a function of a learner, as `compiled`, but its sums may be reordered, so that a vector unit adds them.

    NaN and infinity keep their meaning. The simulator's functions that it calls stay as IEEE has them.
    """
    return compiled(function, FAST)


class CodeCache(NullCache):
    """Machine code of one function, a file for each signature; what cannot be read or written is compiled anew."""

    def __init__(self, function: Callable[..., Any]) -> None:
        source, root = Path(function.__code__.co_filename), cache_folder()
        assert root is not None
        place = hashlib.sha256(str(source.parent).encode()).hexdigest()[:16]
        self.function, self.stamp = function, fingerprint(source)
        self.folder = root / f"{source.parent.name}-{place}"
        self.name = re.sub(r"[^\w.]", "", f"{source.stem}.{function.__qualname__}")

    @property
    def cache_path(self) -> str:
        """The folder of the files."""
        return str(self.folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function for a signature; None if it must be compiled."""
        target_context.refresh()
        try:
            key, payload = pickle.loads(self._path(sig, target_context.codegen()).read_bytes())
            return CompileResult._rebuild(target_context, *payload) if key == sig else None
        except FileNotFoundError:
            return None
        except Exception:  # a damaged file can raise anything
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function, and delete what older sources left of it."""
        if data.lifted or data.library.has_dynamic_globals:
            return
        path = self._path(sig, data.codegen)
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".", delete=False) as file:
                file.write(dumps((sig, data._reduce())))
            os.replace(file.name, path)
            for old in self.folder.glob(f"{self.name}-*.nbc"):
                if not old.name.startswith(f"{self.name}-{self.stamp}-"):
                    old.unlink(missing_ok=True)

    def flush(self) -> None:
        """Delete the files."""
        for path in self.folder.glob(f"{self.name}-*.nbc"):
            path.unlink(missing_ok=True)

    def _path(self, sig: Any, codegen: Any) -> Path:
        code = self.function.__code__
        cells = tuple(cell.cell_contents for cell in self.function.__closure__ or ())
        types = re.sub(r"0x[0-9a-f]+", "", str(sig))  # a function as argument is printed with its address
        parts = (types, codegen.magic_tuple(), numba.__version__, sys.version, code.co_firstlineno, code.co_code)
        digest = hashlib.sha256(repr(parts).encode() + dumps(cells)).hexdigest()[:24]
        return self.folder / f"{self.name}-{self.stamp}-{digest}.nbc"


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


@cache
def fingerprint(source: Path) -> str:
    """Return a hash of a module's source and of all modules of these packages that it imports, directly or not."""
    found, waiting = {source}, [source]
    while waiting:
        for path in _imports(waiting.pop()):
            if path not in found:
                found.add(path)
                waiting.append(path)
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(_read(path))
    return digest.hexdigest()[:16]


@cache
def _read(source: Path) -> bytes:
    return source.read_bytes() if source.is_file() else b""


@cache
def _imports(source: Path) -> tuple[Path, ...]:
    names = set()
    for module, members in IMPORT.findall(_read(source).decode("utf-8", "replace")):
        names |= {module, *(f"{module}.{member}" for member in re.findall(r"\w+", members))}
    bases = [ROOT.joinpath(*name.split(".")) for name in names]
    files = (file for base in bases for file in (base.with_suffix(".py"), base / "__init__.py"))
    return tuple(file for file in files if file.is_file())


class CompilationNotice(event.Listener):
    """Message on standard error when Numba compiles a function of these packages for the first time in a process."""

    said = False

    def on_start(self, event: Any) -> None:
        """Print it."""
        ours = event.data["dispatcher"].py_func.__module__.partition(".")[0] in PACKAGES
        if self.said or not ours:
            return
        self.said = True
        print(NOTICE_UNCACHED if cache_folder() is None else NOTICE, file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        """Nothing to do: the message is a line of its own."""


event.register("numba:compile", CompilationNotice())
