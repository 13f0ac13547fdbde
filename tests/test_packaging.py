"""The distribution: its packages, its pins, and what a built wheel brings to another folder."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

import deeptraffic
from deeptraffic.extras import EXTRAS

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("deeptraffic", "agents", "representation")
DATA_SUFFIXES = {
    ".csv",
    ".json",
    ".md",
    ".safetensors",
    ".html",
    ".css",
    ".js",
    ".svg",
    ".toml",
    ".yml",
    ".ttf",
    ".wasm",
}
DATA_NAMES = ("py.typed", "-LICENSE.txt")  # ends of other data files' names
PIN = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*")  # a plain version: no local part, no address


def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return dict(tomllib.load(file)["project"])


def distribution_name(requirement: str) -> str:
    """Normalise the name a requirement starts with, as package indexes do."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement.strip())[0]).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line and not line.startswith("#")]
    return {distribution_name(row): row for row in rows}


def requirements() -> list[str]:
    """Requirements of the package and of all its extras, other than references to its own extras."""
    groups = [project()["dependencies"], *project()["optional-dependencies"].values()]
    names = {distribution_name(requirement) for group in groups for requirement in group}
    return sorted(names - {"deeptraffic"})


def package_files() -> set[str]:
    """Every file which an installed DeepTraffic should have, relative to the root."""
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    known = (path for path in files if path.suffix in DATA_SUFFIXES | {".py"} or path.name.endswith(DATA_NAMES))
    wanted = (path for path in known if "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in wanted}


@pytest.mark.parametrize("name", requirements())
def test_every_direct_dependency_is_pinned(name: str) -> None:
    assert name in pins()


def test_constraints_are_plain_versions() -> None:
    assert [row for row in pins().values() if not PIN.fullmatch(row)] == []


def test_every_transitive_dependency_is_pinned() -> None:
    seen, open_names = set(), set(requirements()) & installed()
    while open_names:
        name = open_names.pop()
        seen.add(name)
        required = metadata.requires(name) or []
        plain = {distribution_name(row) for row in required if ";" not in row and not row.startswith("nvidia")}
        open_names |= plain - seen
    assert seen - pins().keys() == set()


def installed() -> set[str]:
    return {distribution_name(each.metadata["Name"]) for each in metadata.distributions()}


def test_every_pin_installs_on_the_python_of_debian_12() -> None:
    pythons = {item.name: SpecifierSet(item.metadata.get("Requires-Python", "")) for item in metadata.distributions()}
    assert [name for name, versions in pythons.items() if "3.11.2" not in versions] == []


def test_libraries_of_the_extras_are_those_of_the_distribution() -> None:
    known = {"cv2": "opencv-python", "sklearn": "scikit-learn", "multipart": "python-multipart"}
    known["mkdocstrings_handlers"] = "mkdocstrings-python"
    dependencies = project()["optional-dependencies"]
    assert list(EXTRAS) == [extra for extra in dependencies if extra not in ("all", "dev")]
    for extra, libraries in EXTRAS.items():
        declared = {distribution_name(row) for row in dependencies[extra]} - {"deeptraffic"}
        assert {distribution_name(known.get(library, library)) for library in libraries} >= declared - {
            "imageio-ffmpeg"
        }
        assert extra == "agents" or "torch" not in libraries


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_console_script_starts_the_command_line() -> None:
    scripts = {script.name: script.value for script in metadata.distribution("deeptraffic").entry_points}
    assert scripts["deeptraffic"] == "deeptraffic.cli:main"


def release_script() -> Any:
    spec = importlib.util.spec_from_file_location("release", ROOT / ".ci" / "release.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_version_is_everywhere_the_same() -> None:
    assert re.findall(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE) == [
        deeptraffic.__version__
    ]
    notes = release_script().notes(ROOT / "CHANGELOG.md", deeptraffic.__version__)
    assert notes.startswith(f"# DeepTraffic {deeptraffic.__version__}\n\n") and len(notes) > 500


def test_the_first_page_works_on_a_package_index() -> None:
    for_index, readme = release_script().for_index, (ROOT / "README.md").read_text(encoding="utf-8")
    relative = re.compile(r"""\]\((?!https?:|#)|src="(?!https?:)""")
    plain, linked = for_index(readme, ""), for_index(readme, "https://example.org/deeptraffic")
    assert relative.search(readme) and not relative.search(plain) and not relative.search(linked)
    assert "Contributing" in plain and "<img" not in plain and "![" not in plain
    assert "[Contributing](https://example.org/deeptraffic/blob/main/CONTRIBUTING.md)" in linked
    assert 'src="https://example.org/deeptraffic/raw/main/deeptraffic/render/champion.webp"' in linked


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel from a copy of the sources, so that the build leaves nothing in the checkout."""
    source = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    output = tmp_path_factory.mktemp("wheel")
    pip_wheel = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    built = subprocess.run([*pip_wheel, "-w", str(output), str(source)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(output.glob("deeptraffic-*.whl"))


def test_wheel_holds_every_module_and_data_file_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == package_files()


def test_packages_declare_that_they_are_typed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:  # PEP 561
        assert {f"{package}/py.typed" for package in PACKAGES} <= set(archive.namelist())


def test_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    program = (
        f"import sys; sys.path.insert(0, {str(site)!r}); "
        f"import deeptraffic, agents, representation, gymnasium; "
        f"print(deeptraffic.__file__); gymnasium.make('DeepTraffic2018-v0').reset(seed=1)"
    )
    command = [sys.executable, "-I", "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert run.returncode == 0, run.stderr
    assert Path(run.stdout.split()[0]).is_relative_to(site)
