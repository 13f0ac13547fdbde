"""The page: every metric beside its baselines, plots copied, the driving table grouped by encoder."""

import json
from pathlib import Path

import pytest

from representation.catalog import EXPERIMENTS, find_experiment
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob, run_experiment
from representation.report import HEAD, driving_section, row, write_report

FOLDER = Path(__file__).resolve().parents[2] / "representation"

METRICS = [
    Metric("error", 2.0, {"mean": 3.0}, "mph", higher_is_better=False, goal=2.5, note="10 runs"),
    Metric("accuracy", 0.5, {"majority": 0.6}, goal=0.97),
    Metric("samples", 12.0),
]

TABLE = """encoder,way,observation,access,seed,median_mph,mean_mph,p10_mph,decisions,cpu_seconds,commit
conv,frozen,pixels,open,0,68.0,67.0,60.0,300000,9.0,abc
conv,frozen,pixels,open,1,70.0,69.0,62.0,300000,11.0,abc
"""


class Sample(Experiment):
    name, paradigm = "sample", "autoencoder"
    summary, source = "Learns nothing.", "nobody 2026"

    def run(self, job: TrainingJob) -> ExperimentResult:
        (job.folder / "loss.png").write_bytes(b"png")
        return ExperimentResult(METRICS, [Plot("loss.png", "its loss")])


@pytest.fixture
def page(tmp_path: Path) -> Path:
    run_experiment(Sample(), TrainingJob(tmp_path / "results" / "sample"))
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "driving.csv").write_text(TABLE)
    return write_report(tmp_path / "results", tmp_path / "page")


def test_a_figure_is_bold_where_it_beats_its_baselines_and_ticked_where_it_reaches_its_goal(page: Path) -> None:
    text = page.read_text()
    assert "| error (lower is better) (10 runs) | **2 mph** | mean 3 | 2.5 ✓ |" in text
    assert "| accuracy | 0.5 | majority 0.6 | 0.97 ✗ |" in text
    assert "| samples | 12 | – | – |" in text
    assert "## Autoencoder" in text


def test_pictures_lie_beside_the_page_under_the_experiments_name(page: Path) -> None:
    assert "![its loss](figures/sample-loss.png)" in page.read_text()
    assert (page.parent / "figures" / "sample-loss.png").read_bytes() == b"png"


def test_the_same_figures_are_there_for_programs(page: Path) -> None:
    content = json.loads((page.parent / "report.json").read_text())
    assert content["sample"]["metrics"][0]["value"] == 2.0


def test_the_driving_table_has_one_row_per_encoder_and_way(page: Path) -> None:
    row = "| conv | frozen | pixels (open) | 2 | 68.00 | 67.00 to 69.00 | 69.00 | 61.00 | 10 |"
    assert row in page.read_text()


def test_a_page_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there are no results under"):
        write_report(tmp_path, tmp_path)


def test_the_stored_page_shows_the_metrics_of_report_json() -> None:
    page, content = (FOLDER / "REPORT.md").read_text(), json.loads((FOLDER / "report.json").read_text())
    for name, section in content.items():
        assert f"### `{name}`\n\n{section['summary']} Source: {section['source']}." in page
        for metric in section["metrics"]:
            assert row(Metric(**metric)) in page
    assert page.startswith(HEAD)
    assert driving_section((FOLDER / "driving.csv").read_text()) in page


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_stored_page_describes_experiments_as_the_catalogue_does(name: str) -> None:
    section, experiment = json.loads((FOLDER / "report.json").read_text())[name], find_experiment(name)
    assert (section["summary"], section["source"]) == (experiment.summary, experiment.source)
