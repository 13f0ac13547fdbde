"""The import name `agents`, which openai-agents uses too: a clash is named with its remedy when a command starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOREIGN = '"""Agents that talk."""\nfrom .run import Runner\n'
METADATA = "Metadata-Version: 2.1\nName: openai-agents\nVersion: 1.0\n"


def command(*folders: Path) -> "subprocess.CompletedProcess[str]":
    """Start a command with these folders first on the path."""
    program = (
        f"import sys; sys.path[:0] = {[str(folder) for folder in folders]}; sys.argv = ['deeptraffic', 'bench', '-h']"
    )
    start = [sys.executable, "-c", f"{program}; from deeptraffic.cli import main; main()"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(start, capture_output=True, text=True, check=False, cwd=folders[0], env=environment)


def install_foreign(site: Path) -> None:
    """Write what an installation of openai-agents leaves in a folder."""
    package = site / "agents"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text(FOREIGN)
    (package / "run.py").write_text("class Runner: ...\n")
    info = site / "openai_agents-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "RECORD").write_text("agents/__init__.py,,\nagents/run.py,,\n")


def install_ours(site: Path) -> None:
    """Write this distribution's packages into a folder, `agents` alone as files that can be overwritten."""
    site.mkdir(exist_ok=True)
    for name in ("deeptraffic", "representation"):
        (site / name).symlink_to(ROOT / name)
    (site / "agents").mkdir()
    for name in ("__init__.py", "run.py"):
        (site / "agents" / name).write_text((ROOT / "agents" / name).read_text())


def test_a_foreign_package_that_is_found_first_is_named(tmp_path: Path) -> None:
    install_foreign(tmp_path)
    run = command(tmp_path, ROOT)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("error: the import name 'agents' does not stand for deeptraffic's package but for ")
    assert (
        f"{tmp_path / 'agents' / '__init__.py'}, which openai-agents installed; install deeptraffic in a " in run.stderr
    )


@pytest.mark.parametrize("left", ["overwritten", "uninstalled"])
def test_files_that_another_distribution_overwrote_or_took_away_are_noticed(tmp_path: Path, left: str) -> None:
    install_ours(tmp_path / "site")
    assert command(tmp_path / "site").returncode == 0  # as installed
    if left == "overwritten":
        install_foreign(tmp_path / "site")
    else:
        for path in (tmp_path / "site" / "agents").glob("*.py"):
            path.unlink()
    run = command(tmp_path / "site")
    assert (run.returncode, run.stdout) == (1, "")
    assert "another distribution was installed over it or uninstalled from it; " in run.stderr
    assert "pip install --force-reinstall --no-deps deeptraffic" in run.stderr
