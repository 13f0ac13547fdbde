"""The command tree: every command in the order in which help lists it, imported only when it is used.

Commands run only if the import names `agents` and `representation` are this distribution's packages: other
distributions use the name `agents`, too. openai-agents installs a package of that name into the same folder. The
two stay top-level packages because static tools (mypy, editors) do not follow the import hook by which an editable
install would present the two folders as subpackages of deeptraffic.
"""

import ast
import importlib
from pathlib import Path
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

import deeptraffic

FOLDER = Path(__file__).parent
# Help is plain text: rich would read "[default: 2]" and the like as markup, and print nothing in its place.
PLAIN: dict[str, Any] = {"rich_markup_mode": None}


class CommandGroup(NamedTuple):
    """A command with subcommands.

    help: one line
    commands: "module.function" of each, in deeptraffic/cli
    """

    name: str
    help: str
    commands: tuple[str, ...]


COMMANDS: tuple[str | CommandGroup, ...] = (
    "train.demo",
    "train.train",
    "evaluate.evaluate",
    "compare.compare",
    "dataset.dataset",
    "benchmark.benchmark",
    "others.others",
    "sweep.sweep",
    "sweep.figures",
    "imagine.imagine",
    "record.record",
    "watch.watch",
    "watch.play",
    "files.export",
    "files.import_",
    "files.join",
    "files.inspect",
    "represent.pretrain",
    "represent.probe",
    "lab.lab",
    "serve.serve",
    "serve.worker",
    "submit.submit",
    "doctor.doctor",
    "measure.bench",
    "vision.bench_vision",
    CommandGroup(
        "report",
        "Reports: where policies lose speed, the perception models, the encoders, the labels that pretraining saves.",
        ("report.losses", "report.representation", "report.driving", "report.labels"),
    ),
    CommandGroup(
        "competition",
        "Organise a competition: settings, people, scores, the final, backups.",
        (
            "competition.create",
            "competition.show",
            "competition.change",
            "competition.admin_link",
            "competition.invite",
            "competition.accounts",
            "competition.baseline",
            "competition.pause",
            "competition.resume",
            "competition.disqualify",
            "competition_class.class_list",
            "competition_class.teams",
            "competition_class.extend",
            "competition_class.same_networks",
            "competition_class.co_organisers",
            "competition_class.grades",
            "competition_class.forget",
            "competition_scores.reevaluate",
            "competition_scores.finalize",
            "competition.export",
            "competition.backup",
            "competition.restore",
        ),
    ),
)


class LazyCommand(TyperCommand):
    """A command whose module is imported when its arguments are parsed; its name and summary are known before.

    target: "module.function" in deeptraffic/cli; the function's docstring is the command's help
    """

    def __init__(self, target: str) -> None:
        self.module, _, self.function = target.partition(".")
        super().__init__(self.function.rstrip("_").replace("_", "-"), rich_markup_mode=None)

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the first sentence of the function's docstring, read from the source without importing it."""
        tree = ast.parse((FOLDER / f"{self.module}.py").read_text(encoding="utf-8"))
        functions = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == self.function)
        return " ".join((ast.get_docstring(next(functions)) or "").partition("\n\n")[0].split())

    def load(self) -> TyperCommand:
        """Import the module and return the command itself."""
        from deeptraffic.cli.terminal import reported
        from deeptraffic.doctor import check_import_names

        if self.name != "doctor":  # which tests them
            check_import_names()
        function = getattr(importlib.import_module(f"deeptraffic.cli.{self.module}"), self.function)
        single = typer.Typer(add_completion=False, **PLAIN)
        single.command(self.name)(reported(function))
        command = typer.main.get_command(single)
        assert isinstance(command, TyperCommand)
        return command

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Parse the arguments with the command itself, which the returned context then runs."""
        from deeptraffic.cli.terminal import reported

        return reported(self.load)().make_context(*args, **kwargs)


class LazyGroup(TyperGroup):
    """A command whose subcommands are lazy."""

    def __init__(self, commands: Any = None, **attributes: Any) -> None:
        super().__init__(**attributes)
        for item in commands or COMMANDS:
            if isinstance(item, CommandGroup):
                self.add_command(
                    LazyGroup(item.commands, name=item.name, help=item.help, no_args_is_help=True, **PLAIN)
                )
            else:
                self.add_command(LazyCommand(item))

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the whole help, which is one line."""
        return self.help or ""


app = typer.Typer(
    cls=LazyGroup,
    name="deeptraffic",
    help="MIT DeepTraffic: train driving agents, score them as the contest did, watch them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    **PLAIN,
)


def print_version(asked: bool) -> None:
    """Print the version and stop, if asked."""
    if asked:
        typer.echo(f"deeptraffic {deeptraffic.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=print_version, is_eager=True, help="Print the version."),
) -> None:
    """Options of the whole command."""
