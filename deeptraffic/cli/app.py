"""The application: its commands in the order in which help lists them."""

from collections.abc import Callable

import typer

import deeptraffic
from deeptraffic.cli.compare import compare
from deeptraffic.cli.competition import app as competition
from deeptraffic.cli.evaluate import evaluate
from deeptraffic.cli.files import export, import_, inspect
from deeptraffic.cli.imagine import imagine
from deeptraffic.cli.measure import bench
from deeptraffic.cli.others import others
from deeptraffic.cli.record import record
from deeptraffic.cli.report import app as report
from deeptraffic.cli.represent import pretrain, probe
from deeptraffic.cli.serve import serve, worker
from deeptraffic.cli.submit import submit
from deeptraffic.cli.sweep import figures, sweep
from deeptraffic.cli.terminal import reported
from deeptraffic.cli.train import demo, train
from deeptraffic.cli.watch import play, watch

app = typer.Typer(
    name="deeptraffic",
    help="MIT DeepTraffic: train driving agents, score them as the contest did, watch them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
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


COMMANDS: tuple[Callable[..., None], ...] = (
    demo,
    train,
    evaluate,
    compare,
    others,
    sweep,
    figures,
    imagine,
    record,
    watch,
    play,
    export,
    import_,
    inspect,
    pretrain,
    probe,
    serve,
    worker,
    submit,
    bench,
)
for command in COMMANDS:
    app.command(name=command.__name__.rstrip("_"))(reported(command))
app.add_typer(report, name="report")
app.add_typer(competition, name="competition")
