"""The repository: nothing tied to one machine, nothing large, no dead links in the README."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_BYTES = 1_000_000
# An absolute path of somebody's machine, or a place which pip, npm or apt downloads from.
MACHINE = re.compile(
    r"(?<![\w./}~-])/(?:root|opt|work|home/\w+|Users/\w+)/|\b[A-Z]:\\Users\\"
    r"|pypi\.org/simple|pythonhosted\.org|registry\.npmjs|deb\.debian\.org|download\.pytorch\.org"
    r"|--(?:extra-)?index-url|--find-links|--trusted-host"
)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def machine_words(text: str) -> list[str]:
    return [match.group() for match in MACHINE.finditer(text)]


def local_links(text: str) -> list[str]:
    links = [first or second for first, second in LINK.findall(text)]
    return [link.partition("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in tracked_files():
        if path != Path(__file__).resolve():  # this file must spell them
            text = path.read_bytes().decode("utf-8", errors="ignore")
            found += [f"{path.relative_to(ROOT)}: {word}" for word in machine_words(text)]
    assert found == []


@pytest.mark.parametrize(
    "text", ["see /root/x", "'/home/anna/x'", "/work/y", "https://files.pythonhosted.org/p", "pip --find-links wheels"]
)
def test_machine_words_are_found(text: str) -> None:
    assert len(machine_words(text)) == 1


@pytest.mark.parametrize("text", ["a/work/y", "https://pytorch.org/get-started/locally/", "docs.page/home/x", "/tmp/x"])
def test_other_paths_are_no_machine_words(text: str) -> None:
    assert machine_words(text) == []


def test_no_tracked_file_is_large() -> None:
    golden = ROOT / "tests" / "golden"
    large = [path for path in tracked_files() if path.stat().st_size > MAX_BYTES and golden not in path.parents]
    assert large == []


def test_an_image_leaves_out_what_git_ignores() -> None:
    assert ROOT / ".dockerignore" in tracked_files()
    git, image = (
        {line.strip("/").removeprefix("**/") for line in (ROOT / name).read_text(encoding="utf-8").splitlines()}
        for name in (".gitignore", ".dockerignore")
    )
    assert {line for line in git if not line.startswith("#")} <= image | {""}


def test_continuous_integration_and_the_container_install_the_programs_of_tests() -> None:
    ci, image = (
        set(re.search(pattern, (ROOT / name).read_text(encoding="utf-8"))[1].split())
        for name, pattern in (
            (".ci/run", r"system_packages=\((.*)\)"),
            ("deeptraffic/container/Dockerfile", r"recommends ([^&]*)&&"),
        )
    )
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"requires_system\(\"([\w.+-]+)\", ", tests)) - {"no-such-package", "dash"}
    assert named and named <= ci <= image


PAGES = [
    *ROOT.glob("*.md"),
    *(page for top in ("deeptraffic", "agents", "representation") for page in (ROOT / top).rglob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_to_files_exist(page: Path) -> None:
    links = local_links(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_local_links_are_found_in_markdown_and_html() -> None:
    text = '[a](x.md#part) ![b](y.png) <img src="z.gif"> [c](https://example.org) [d](#part)'
    assert local_links(text) == ["x.md", "y.png", "z.gif"]
