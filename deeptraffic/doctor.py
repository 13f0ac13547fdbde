"""Diagnosis of this machine: Python, libraries, name clashes, threads, caches, display, video encoder, disk.

>>> for finding in examine_machine():
...     print(finding.name, finding.state, finding.detail)

Each finding comes from a test, not from a setting; what is not good says what helps. Nothing that could clash is
imported before its own test, so that the diagnosis runs on a machine on which nothing else does.
"""

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from deeptraffic.extras import EXTRAS, missing_libraries, remedy

GOOD, WEAK, BAD = "good", "weak", "bad"
OLDEST, NEWEST = (3, 11), (3, 13)  # versions of Python
LIBRARIES = ("numpy", "numba", "gymnasium", "pygame-ce", "safetensors", "pillow", "torch", "stable-baselines3")
LITTLE_DISK = 2_000_000_000  # [bytes] free
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
ROOT = Path(__file__).parents[1]
PACKAGES = ("agents", "representation")


@dataclass(frozen=True)
class Finding:
    """One part; state: good, weak (works, less well than it could) or bad."""

    name: str
    state: str
    detail: str


def examine_machine() -> Iterator[Finding]:
    """Test everything; yield one finding after another."""
    checks: dict[str, Callable[[], tuple[str, str]]] = {
        "deeptraffic": package_state,
        "python": python_state,
        "libraries": libraries_state,
        "extras": extras_state,
        "import names": import_names_state,
        "pygame": pygame_state,
        "threads": threads_state,
        "compiled code": compiled_state,
        "display": display_state,
        "video encoder": encoder_state,
        "GPU": gpu_state,
        "disk": disk_state,
        "environment": environment_state,
    }
    for name, check in checks.items():
        try:
            yield Finding(name, *check())
        except Exception as error:  # whatever a broken installation raises is the finding
            yield Finding(name, BAD, f"{type(error).__name__}: {error}")


def package_state() -> tuple[str, str]:
    """Version and place of this package."""
    import deeptraffic

    return GOOD, f"version {deeptraffic.__version__} in {ROOT}"


def python_state() -> tuple[str, str]:
    """Version and build of Python."""
    text = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.maxsize < 2**32:
        return BAD, f"{text}, 32 bits; numba needs 64: install a 64-bit Python"
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        versions = f"{'.'.join(map(str, OLDEST))} to {'.'.join(map(str, NEWEST))}"
        return WEAK, f"{text}, which is not tested; versions {versions} are"
    return GOOD, text


def libraries_state() -> tuple[str, str]:
    """Versions of the main libraries."""
    found = {name: version for name in LIBRARIES if (version := _version(name))}
    return GOOD, ", ".join(f"{name} {version}" for name, version in found.items())


def _version(distribution: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(distribution)
    return None


def extras_state() -> tuple[str, str]:
    """Which extras are installed."""
    lacking = [extra for extra in EXTRAS if missing_libraries(extra)]
    there = [extra for extra in EXTRAS if extra not in lacking]
    text = f"installed: {', '.join(there) or 'none'}"
    return GOOD, f"{text}; others by {remedy(','.join(lacking))}" if lacking else text


def import_names_state() -> tuple[str, str]:
    """Whether the import names stand for this distribution's packages."""
    check_import_names()
    return GOOD, f"deeptraffic, {' and '.join(PACKAGES)} are this package's"


def pygame_state() -> tuple[str, str]:
    """Whether pygame-ce is installed, and pygame is not."""
    fix = "pip uninstall -y pygame pygame-ce, then pip install pygame-ce"
    if _version("pygame"):
        return BAD, f"pygame is installed, too, and the two overwrite each other's files; {fix}"
    import pygame

    if not hasattr(pygame, "Window"):
        return BAD, f"pygame.Window is missing: files of pygame are left; {fix}"
    return GOOD, f"pygame-ce {_version('pygame-ce')}"


def threads_state() -> tuple[str, str]:
    """Number of threads, and the cores that they share."""
    from deeptraffic.sim.engine import Simulator
    from deeptraffic.sim.rules import RoadConfig

    threads, cores = Simulator(RoadConfig().build()).threads, os.cpu_count() or 1
    text = f"{threads} on {cores} cores"
    with suppress(OSError, ValueError):
        quota, period = CPU_QUOTA.read_text(encoding="ascii").split()
        if threads > (allowed := max(1, int(quota) // int(period))):
            return WEAK, f"{text}, of which this container may use {allowed}; set DEEPTRAFFIC_THREADS={allowed}"
    return GOOD, text


def compiled_state() -> tuple[str, str]:
    """Whether the simulator is compiled, and kept."""
    import numba

    from deeptraffic.sim.code_cache import cache_folder

    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return BAD, "NUMBA_DISABLE_JIT is set: everything runs as plain Python, hundreds of times slower; unset it"
    folder = cache_folder()
    if folder is None or not os.access(folder, os.W_OK):
        return WEAK, "no folder to keep compiled code in, so every start compiles; set NUMBA_CACHE_DIR to one"
    files = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return GOOD, f"{sum(files) / 1e6:.0f} MB in {folder}"


def display_state() -> tuple[str, str]:
    """Whether there is a display for windows."""
    from deeptraffic.render.window import has_display, open_display

    if has_display():
        return GOOD, f"SDL's driver {open_display()}"
    return WEAK, "none, so watch and play open no window; record writes videos and images, and lab is a web page"


def encoder_state() -> tuple[str, str]:
    """Whether mp4 can be written."""
    if find_spec("imageio_ffmpeg") is None:
        return WEAK, f"none, so record writes .gif, .webp and .png, no .mp4; {remedy('video')}"
    import imageio_ffmpeg

    return GOOD, f"ffmpeg {imageio_ffmpeg.get_ffmpeg_version()}"


def gpu_state() -> tuple[str, str]:
    """Device of torch."""
    if find_spec("torch") is None:
        return GOOD, f"torch is not installed; training needs it: {remedy('agents')}"
    import torch

    if torch.cuda.is_available():
        return GOOD, f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return GOOD, f"none for torch {torch.__version__}, which trains on the CPU"


def disk_state() -> tuple[str, str]:
    """Free space where runs and temporary files are written."""
    places = {"here": Path.cwd(), "for temporary files": Path(tempfile.gettempdir())}
    free = {name: shutil.disk_usage(path).free for name, path in places.items()}
    text = ", ".join(f"{size / 1e9:.1f} GB free {name}" for name, size in free.items())
    return WEAK if min(free.values()) < LITTLE_DISK else GOOD, text


def environment_state() -> tuple[str, str]:
    """Whether an environment steps."""
    import gymnasium

    started = time.perf_counter()
    env = gymnasium.make("deeptraffic:DeepTraffic2018-v0")
    env.reset(seed=1)
    env.step(env.action_space.sample())
    return GOOD, f"made and stepped in {time.perf_counter() - started:.1f} s"


# --- import names ---------------------------------------------------------------------------------------------------


def check_import_names() -> None:
    """Raise ImportError that names the remedy if one of the packages is another distribution's, or mixed with one.

    Other distributions use the name `agents`, too: openai-agents installs a package of that name into the same folder.
    """
    for name in PACKAGES:
        spec = find_spec(name)
        origin = Path(spec.origin) if spec and spec.origin else None
        expected = ROOT / name / "__init__.py"
        if origin is not None and not (expected.exists() and origin.samefile(expected)):
            raise ImportError(f"{_says_whose(name, origin)}; {_REMEDY}")
        if origin is None or "DeepTraffic" not in origin.read_text(encoding="utf-8"):
            raise ImportError(
                f"{_says_whose(name, expected)}: another distribution was installed over it or uninstalled from it; "
                f"{_REMEDY}"
            )


_REMEDY = (
    "install deeptraffic in a virtual environment of its own, or uninstall the other distribution (pip uninstall "
    "openai-agents) and then reinstall this one (pip install --force-reinstall --no-deps deeptraffic)"
)


def _says_whose(name: str, file: Path) -> str:
    """Return which package is not ours, and whose it is where that is known."""
    others = [owner for owner in metadata.packages_distributions().get(name, ()) if owner != "deeptraffic"]
    owner = f", which {' and '.join(sorted(set(others)))} installed" if others else ""
    return f"the import name {name!r} does not stand for deeptraffic's package but for {file}{owner}"
