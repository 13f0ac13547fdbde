"""Examples of deployment: systemd accepts the units, and they and the image use paths and options that exist."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from deeptraffic import competition
from deeptraffic.cli.app import app

FOLDER = Path(competition.__file__).parent
ROOT = FOLDER.parents[1]
UNITS = sorted(path.name for pattern in ("*.service", "*.timer") for path in FOLDER.glob(pattern))
PROGRAM = "/usr/local/deeptraffic/bin/deeptraffic"


def options_of(*words: str) -> set[str]:
    """The options of a command."""
    command = typer.main.get_command(app)
    for word in words:
        command = command.get_command(typer.Context(command), word)  # type: ignore[attr-defined]
    command = command.load()  # type: ignore[attr-defined]
    return {option for parameter in command.params for option in parameter.opts}


def test_systemd_accepts_the_units(tmp_path: Path, requires_system: Callable[[str, str], Path]) -> None:
    program = requires_system("systemd", "systemd-analyze")
    for name in UNITS:
        (tmp_path / name).write_text((FOLDER / name).read_text().replace(PROGRAM, "/bin/true"))
    found = subprocess.run([program, "verify", *(tmp_path / name for name in UNITS)], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
    assert len(UNITS) == 3


@pytest.mark.parametrize("name", [name for name in UNITS if name.endswith(".service")])
def test_the_units_commands_have_their_options(name: str) -> None:
    [line] = re.findall(rf"ExecStart={PROGRAM} (.*)", (FOLDER / name).read_text())
    words = [word for word in line.split("--")[0].split() if word]
    assert set(re.findall(r"--[a-z-]+", line)) <= options_of(*words)


def test_the_image_copies_what_exists_and_starts_the_server() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert copied and all((ROOT / word).exists() for word in copied)
    assert set(re.findall(r'"(--[a-z-]+)"', text)) <= options_of("serve")
