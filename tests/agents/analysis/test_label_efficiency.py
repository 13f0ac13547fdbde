"""The label-efficiency curve: a student per pretraining, budget and seed, made once; intervals paired by seed."""

import csv
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from agents.analysis import label_efficiency
from agents.analysis.label_efficiency import (
    BUDGETS,
    COLUMNS,
    FINE_TUNED,
    FROZEN,
    Budget,
    Curves,
    Line,
    label_curve,
    read_table,
    write_page,
)
from agents.analysis.tables import csv_content
from agents.run import RunFolder
from deeptraffic.cli.app import app
from representation.beyond import pretraining


def test_budgets_are_those_of_the_page() -> None:
    assert [budget.labels for budget in BUDGETS] == pytest.approx([3_000, 10_000, 30_000, 100_000], rel=0.006)


def test_every_student_is_a_line_and_is_not_trained_twice(
    tmp_path: Path, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_efficiency, "RUNS", 4)
    monkeypatch.setattr(label_efficiency, "PRETRAININGS", ("none", "masked"))
    monkeypatch.setattr(pretraining, "RUNS", {"train": 8, "validation": 8})
    small = Budget(1, 1)

    def curve() -> list[Line]:
        return label_curve(tmp_path / "labels.csv", tmp_path, [0], [small], [small], scale=0.02, console=quiet)

    lines = curve()
    made = [(line["encoder"], line["pretraining"], line["labels"]) for line in lines]
    assert made == [(way, name, small.labels) for way in (FINE_TUNED, FROZEN) for name in ("none", "masked")]
    assert all(30.0 < line["mean_mph"] < 80.0 for line in lines)
    config = RunFolder(tmp_path / "labels" / f"masked-{FROZEN}-{small.labels}-0").config()
    assert config.encoder.is_frozen and config.encoder.weights.endswith("pretext-masked/encoder.safetensors")
    with (tmp_path / "labels.csv").open() as file:
        assert next(csv.reader(file)) == list(COLUMNS)
    monkeypatch.setattr(label_efficiency, "train", None)
    assert curve() == lines


def line(name: str, labels: int, seed: int, mph: float) -> Line:
    return {"pretraining": name, "encoder": FINE_TUNED, "labels": labels, "seed": seed, "mean_mph": mph} | {
        "cpu_seconds": 60.0
    }


def crafted() -> list[Line]:
    """Masked gains 1.0, 1.1 and 0.9 at 3,000 labels; 2.0, 0.0 and 1.0 at 10,000."""
    lines = []
    for seed, base in enumerate((60.0, 62.0, 64.0)):
        lines += [line("none", 3_000, seed, base), line("none", 10_000, seed, base + 4.0)]
        lines += [line("masked", 3_000, seed, base + (1.0, 1.1, 0.9)[seed])]
        lines += [line("masked", 10_000, seed, base + 4.0 + (2.0, 0.0, 1.0)[seed])]
    return lines


def test_differences_are_paired_by_seed() -> None:
    curves = Curves.of(crafted())
    near, far = (curves.points[FINE_TUNED, "masked", labels] for labels in (3_000, 10_000))
    # t(0.975, 2 degrees of freedom) = 4.3027; deviations 0.1 and 1 of three seeds
    assert near.difference == pytest.approx((1.0, 1.0 - 0.43027 / 3**0.5, 1.0 + 0.43027 / 3**0.5), abs=1e-4)
    assert far.difference == pytest.approx((1.0, 1.0 - 4.3027 / 3**0.5, 1.0 + 4.3027 / 3**0.5), abs=1e-3)
    assert curves.averages[FINE_TUNED, "masked"].values == pytest.approx([63.5, 64.55, 66.95])


def test_comparisons_take_the_seeds_that_all_their_students_have(tmp_path: Path) -> None:
    lines = [one for one in crafted() if (one["pretraining"], one["labels"], one["seed"]) != ("none", 10_000, 1)]
    curves = Curves.of(lines)
    assert curves.points[FINE_TUNED, "masked", 3_000].seeds == [0, 1, 2]
    assert curves.points[FINE_TUNED, "masked", 10_000].seeds == [0, 2]
    assert curves.averages[FINE_TUNED, "masked"].values == pytest.approx([61.0, 63.1, 64.9])  # 3,000 alone has all
    assert "| 3,000 labels | 10,000 labels (seeds: 2) |" in write_page(lines, tmp_path)[0].read_text()
    assert not Curves.of([line("masked", 3_000, 0, 60.0)]).points  # without no pretraining there is no comparison


def test_the_page_is_bold_where_the_interval_excludes_0(tmp_path: Path) -> None:
    page, figure = write_page(crafted(), tmp_path)
    text = page.read_text()
    assert "| masked | 63.00, **+1.00 [+0.75, +1.25]** | 67.00, +1.00 [-1.48, +3.48] |" in text
    assert "Of 2 differences at single budgets, 1 exclude 0, where 0.1 would by chance: `masked` helps at 3,000" in text
    assert "3 seeds, or as many as the table says; 12 CPU minutes" in text
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_the_command_draws_a_table_that_exists(tmp_path: Path) -> None:
    columns = [name for name in COLUMNS if name in crafted()[0]]
    (tmp_path / "labels.csv").write_bytes(csv_content(crafted(), columns))
    made = CliRunner().invoke(app, ["report", "labels", "--no-missing", "-o", str(tmp_path)])
    assert made.exit_code == 0, made.output
    files = [Path(line.strip()).name for line in made.stdout.split()]
    assert files == ["labels.csv", "LABELS.md", "label-efficiency.png"]
    refused = CliRunner().invoke(app, ["report", "labels", "--no-missing", "-o", str(tmp_path / "new")])
    assert refused.exit_code == 2 and "there is no table" in refused.output


def test_a_table_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no table .*; run `deeptraffic report labels` first"):
        read_table(tmp_path / "labels.csv")
