"""Tables of the command line: readable on 80 columns, with every number whole."""

from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner

from deeptraffic.bench import random_policy
from deeptraffic.cli import terminal
from deeptraffic.cli.app import app
from deeptraffic.cli.terminal import print_table
from deeptraffic.policies.file import policy_content
from deeptraffic.sim.rules import Sensor

LONG = "champion-world-model/champion-autoencoder"
INTERVAL = "72.06 [71.98, 72.15]"


def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, *table: object) -> str:
    monkeypatch.setattr(terminal, "results", Console(width=width))
    print_table(*table)  # type: ignore[arg-type]
    return capsys.readouterr().out


def test_long_name_wraps_within_itself_and_intervals_below_their_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    headings = ("policy", "interquartile mean", "mean", "median", "10% quantile")
    out = printed(monkeypatch, capsys, 80, "title", headings, [(LONG, *[INTERVAL] * 4)])
    lines = [line.split() for line in out.splitlines()]
    assert max(map(len, out.splitlines())) <= 80
    assert [line[0] for line in lines[-3:]] == ["champion-world-", "model/champion-", "autoencoder"]
    assert lines[-3][1:] == ["72.06"] * 4 and lines[-2][1:] == ["[71.98,", "72.15]"] * 4
    assert lines[0] == ["title"] and "interquartile" in lines[1]


def test_nothing_wraps_where_there_is_room(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(monkeypatch, capsys, 120, "", ("policy", "mean of the runs"), [(LONG, INTERVAL)])
    head, _, row = out.splitlines()
    assert head.endswith("mean of the runs") and row.split(maxsplit=1) == [LONG, INTERVAL]


def test_numbers_are_whole_on_a_terminal_too_narrow_for_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = ("71.98 to 72.15", "12,345,678 steps/s")
    out = printed(monkeypatch, capsys, 20, "", ("policy", "95%", "value"), [(LONG, *values)])
    assert all(value in out for value in values) and "…" not in out


def test_a_table_that_does_not_fit_a_narrow_terminal_becomes_a_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    headings = ("policy", "interquartile mean", "mean", "median", "10% quantile")
    out = printed(monkeypatch, capsys, 40, "title", headings, [(LONG, *[INTERVAL] * 4), ("gap", *[INTERVAL] * 4)])
    assert max(map(len, out.splitlines())) <= 40
    assert out.count(f"mean: {INTERVAL}") == 4 and f"10% quantile: {INTERVAL}\n\npolicy: gap\n" in out


def test_markup_in_a_cell_is_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(monkeypatch, capsys, 80, "[red]a", ("", ""), [("[bold]b", Text("c", "green"))])
    assert out.split() == ["[red]a", "[bold]b", "c"]


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "{}", "{}", "gap", "--protocol", "open", "--runs", "2"],
        ["evaluate", "{}", "--protocol", "open", "--runs", "2"],
        ["compare", "{}", "{}", "gap", "--runs", "4"],
        ["others", "{}", "--numbers", "0,10", "--runs", "2"],
    ],
    ids=["evaluate-many", "evaluate", "compare", "others"],
)
def test_tables_of_long_names_fit_eighty_columns(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [Path(f"{LONG}-{number}.safetensors") for number in range(2)]
    files[0].parent.mkdir()
    for number, file in enumerate(files):
        file.write_bytes(policy_content(random_policy(Sensor(1, 4, 0), (4,), number)))
    names = iter(files)
    run = CliRunner().invoke(app, [str(next(names)) if word == "{}" else word for word in command])
    assert run.exit_code == 0, run.stderr
    lines = run.stdout.splitlines()
    assert [line for line in lines if len(line) > 80 or "…" in line] == []
    assert command[0] == "others" or len(files) > command.count("{}") or "0.safetensors" in run.stdout
