"""Optional dependencies: the extra that installs each library, and import errors that name it.

Where a module of this package imports a library that is not installed, the ImportError says what to do:

    >>> import deeptraffic.envs.aec_env
    ModuleNotFoundError: pettingzoo is not installed; pip install 'deeptraffic[agents]'

Imports by other packages fail as they always do.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import FrameType, ModuleType

EXTRAS: dict[str, tuple[str, ...]] = {
    "agents": (
        "torch",
        "stable_baselines3",
        "sb3_contrib",
        "pettingzoo",
        "tensorboard",
        "matplotlib",
        "sklearn",
        "scipy",
    ),
    "competition": (
        "fastapi",
        "starlette",
        "jinja2",
        "uvicorn",
        "sqlalchemy",
        "alembic",
        "multipart",
        "fontTools",
        "confusable_homoglyphs",
    ),
    "postgres": ("psycopg",),
    "sweep": ("optuna",),
    "data": ("minari", "h5py"),
    "ray": ("ray",),
    "bench": ("highway_env",),
    "video": ("imageio_ffmpeg", "moviepy", "cv2"),
    "docs": ("zensical", "mkdocstrings_handlers", "griffe", "latex2mathml", "yaml"),
}  # extra -> import names of the libraries that it adds
OWN = ("deeptraffic", "agents", "representation")


def extra_of(library: str) -> str | None:
    """Return the extra that installs a library, by its import name; None if no extra does."""
    return next((extra for extra, libraries in EXTRAS.items() if library in libraries), None)


def absence(library: str) -> str:
    """Return "LIBRARY is not installed" and the command that installs it; "" if it is installed."""
    return "" if find_spec(library) else f"{library} is not installed; {remedy(extra_of(library) or '')}"


def missing_libraries(extra: str) -> list[str]:
    """Return the import names of an extra's libraries that are not installed."""
    return [library for library in EXTRAS[extra] if find_spec(library) is None]


def require_extra(extra: str) -> None:
    """Raise ImportError, which names the remedy, unless all libraries of an extra are installed."""
    if missing := missing_libraries(extra):
        raise ImportError(f"{', '.join(missing)}: not installed; {remedy(extra)}")


def remedy(extra: str) -> str:
    """Return the command that installs an extra."""
    return f"pip install 'deeptraffic[{extra}]'"


class MissingLibraryFinder:
    """The last finder of `sys.meta_path`, asked for what no other finds: names the extra of a library."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Raise ModuleNotFoundError if a module of this package imports a library of an extra; else return None."""
        extra = extra_of(name)
        if extra is not None and _importer(sys._getframe(1)).partition(".")[0] in OWN:
            raise ModuleNotFoundError(absence(name), name=name)
        return None


def _importer(frame: FrameType | None) -> str:
    """Return the name of the module whose import statement this is; "" for a mere question by `find_spec`."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if not name.startswith("importlib"):
            return name
        if name == "importlib.util":
            return ""
        frame = frame.f_back
    return ""


def name_missing_extras() -> None:
    """Let this package's imports of libraries that are not installed name the extra."""
    if MissingLibraryFinder not in sys.meta_path:
        sys.meta_path.append(MissingLibraryFinder)
