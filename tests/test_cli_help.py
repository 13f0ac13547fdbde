"""The command line's help: nothing lost, nothing said twice, and nothing imported that it does not need."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup
from typer.testing import CliRunner

from deeptraffic.cli.app import LazyCommand, app
from deeptraffic.render.overlays import OVERLAYS
from deeptraffic.render.theme import THEMES, TRAIL_COLOURS

WIDTH = 80  # [columns]
DEFAULT_IN_WORDS = re.compile(r"\[default|\(default|\bdefaults?:|\bby default\b", re.IGNORECASE)
HEAVY = ("numba", "rich", "torch", "pygame", "matplotlib", "stable_baselines3")


def command_tree() -> Iterator[tuple[tuple[str, ...], TyperCommand | TyperGroup]]:
    """Every command with the words that call it, its module imported."""

    def walk(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
        yield words, command.load() if isinstance(command, LazyCommand) else command
        for name, child in getattr(command, "commands", {}).items():
            yield from walk((*words, name), child)

    return walk((), typer.main.get_command(app))


def plain(text: str) -> str:
    """A text in one line; words that a line break parted at their hyphen are joined."""
    return re.sub(r"(?<=\w-) (?=\w)", "", " ".join(text.split()))


def complaints(name: str, text: str | None) -> list[str]:
    """What is wrong with one help text."""
    if not text:
        return [f"{name} has no help"]
    wrong = []
    if not text.rstrip().endswith("."):
        wrong.append(f"{name} ends without a full stop: {text!r}")
    if DEFAULT_IN_WORDS.search(text):
        wrong.append(f"{name} states a default in words: {text!r}; give it as the option's show_default")
    return wrong


def all_complaints(command: Any) -> list[str]:
    found = complaints("the command", command.help)
    for parameter in command.params:
        found += complaints(parameter.name, parameter.help)
    return found


TREE = list(command_tree())


@pytest.mark.parametrize(("words", "command"), TREE, ids=[" ".join(words) or "deeptraffic" for words, _ in TREE])
def test_every_help_text_is_a_sentence_that_is_rendered_whole(words: tuple[str, ...], command: Any) -> None:
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": str(WIDTH)})
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    shown = plain(result.stdout)
    assert all_complaints(command) == []
    assert [line for line in lines if len(line) > WIDTH] == []
    assert not re.search(r"default: *(\(\))?\]|\( *\)|\[ *\]", result.stdout)
    for text in (command.help, *(parameter.help for parameter in command.params)):
        assert plain(text) in shown
    for child in getattr(command, "commands", {}).values():
        assert plain(child.get_short_help_str()) in shown


def test_a_default_is_shown_once_where_there_is_one() -> None:
    shown = plain(CliRunner().invoke(app, ["compare", "--help"], env={"COLUMNS": str(WIDTH)}).stdout)
    others = shown.partition("--other-agents")[2].partition(" --")[0]
    assert others.count("default") == 1 and others.endswith("[default: 0]")
    shown = plain(CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": str(WIDTH)}).stdout)
    assert "--output <path> Run folder. [default: (a new one under runs/)]" in shown


@pytest.mark.parametrize(
    "text", [None, "", "The run folder", "Runs [default: 5].", "Runs (default: 5).", "Five by default.", "Default: 5."]
)
def test_bad_help_is_found(text: str | None) -> None:
    assert len(complaints("--runs", text)) == 1


def test_appearance_options_name_every_choice() -> None:
    shown = plain(CliRunner().invoke(app, ["watch", "--help"], env={"COLUMNS": str(WIDTH)}).stdout)
    overlay, theme = (shown.partition(f"--{name} <str>")[2].partition(" --")[0] for name in ("overlay", "theme"))
    assert set(re.findall(r"[a-z]+", overlay)) >= set(OVERLAYS)
    assert set(re.findall(r"[a-z]+", theme)) >= set(THEMES)
    assert "one of the contest's thirteen" in shown and len(TRAIL_COLOURS) == 13


def test_markup_swallows_a_default_that_plain_help_shows() -> None:
    """The reason for plain help: rich reads brackets as markup."""
    for mode, kept in (("rich", False), (None, True)):
        single = typer.Typer(rich_markup_mode=mode, add_completion=False)

        @single.command()
        def command(output: str = typer.Option("", help="The run folder [default: a new one].")) -> None: ...

        assert ("a new one" in CliRunner().invoke(single, ["--help"]).stdout) == kept


@pytest.mark.parametrize("arguments", ["--help", "--version", "competition --help"])
def test_help_of_the_tree_imports_no_command(arguments: str) -> None:
    program = f"""
import atexit, sys
from deeptraffic.cli import main
sys.argv = ["deeptraffic", *{arguments.split()}]
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
main()
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    modules = set(run.stderr.split())
    assert {name for name in modules if name.split(".")[0] in HEAVY} == set()
    own = {name for name in modules if name.split(".")[0] in ("deeptraffic", "agents", "representation")}
    assert own == {"deeptraffic", "deeptraffic.extras", "deeptraffic.cli", "deeptraffic.cli.app"}


def test_every_function_of_the_tree_exists_once() -> None:
    targets = [(command.module, command.function) for command in lazy_commands(typer.main.get_command(app))]
    assert len(targets) == len(set(targets))
    folder = Path(sys.modules["deeptraffic.cli.app"].__file__ or "").parent
    assert {module for module, _ in targets} <= {path.stem for path in folder.glob("*.py")}


def lazy_commands(group: Any) -> Iterator[LazyCommand]:
    for command in group.commands.values():
        if isinstance(command, LazyCommand):
            yield command
        else:
            yield from lazy_commands(command)


RESULTLESS = {"watch", "serve", "worker"}  # windows and servers


@pytest.mark.parametrize(("words", "command"), TREE, ids=[" ".join(words) or "deeptraffic" for words, _ in TREE])
def test_options_are_those_of_the_other_commands(words: tuple[str, ...], command: Any) -> None:
    if hasattr(command, "commands"):
        return
    options = {name: each for each in command.params for name in each.opts}
    assert "--json" in options or words[0] in RESULTLESS
    assert all(("--output" in each.opts) == ("-o" in each.opts) for each in command.params)
    assert [name for name, each in options.items() if each.default is False and each.secondary_opts] == []


def test_an_option_takes_the_same_in_every_command() -> None:
    kinds: dict[str, set[str]] = {}
    for words, command in TREE:
        for each in getattr(command, "params", ()):
            for name in each.opts:
                if words == ("dataset",) and name == "--output":
                    continue  # a name of Minari's, not a path
                if name.startswith("--") and not hasattr(command, "commands"):
                    kinds.setdefault(name, set()).add(str(each.type_descriptor.annotation))
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}
