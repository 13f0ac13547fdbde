"""Check that the import names `agents` and `representation` are this distribution's packages.

Other distributions use the name `agents`, too: openai-agents installs a package of that name into the same folder. The
two stay top-level packages because static tools (mypy, editors) do not follow the import hook by which an editable
install would present the two folders as subpackages of deeptraffic.
"""

from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("agents", "representation")


def check_import_names() -> None:
    """Raise ImportError that names the remedy if one of the packages is another distribution's, or mixed with one."""
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
    from importlib.metadata import packages_distributions

    others = [owner for owner in packages_distributions().get(name, ()) if owner != "deeptraffic"]
    owner = f", which {' and '.join(sorted(set(others)))} installed" if others else ""
    return f"the import name {name!r} does not stand for deeptraffic's package but for {file}{owner}"
