"""The report page: metrics of several seeds beside their baselines, plots copied, the claims that it makes."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from representation.catalog import EXPERIMENTS, find_experiment
from representation.experiment import (
    Experiment,
    ExperimentResult,
    Metric,
    Plot,
    TrainingJob,
    run_experiment,
)
from representation.report import PLOTS, Section, report_page, row, stored_sections, write_page, write_report

FOLDER = Path(__file__).resolve().parents[2] / "representation"
BEST, RANDOM = None, "random encoder"  # the baseline that is beaten
LANE = "probe: best lane, macro-F1"
CLAIMS: tuple[tuple[str, str | None, str | None], ...] = (
    ("dense-speed", None, BEST),
    ("conv-manoeuvre", None, BEST),
    ("conv-detection", None, BEST),
    ("conv-detection", "F1 of occupied cells, unseen styles", BEST),
    ("recurrent-speed", None, BEST),
    ("traffic-model", None, BEST),
    ("scene-model", None, BEST),
    ("scene-model", "two-sample accuracy, real or generated", BEST),
    ("scene-model", "fraction of scenes of the requested class", BEST),
    ("denoising", None, BEST),
    ("vae", None, BEST),
    ("segmentation", None, BEST),
    ("grid-predictor", None, BEST),
    ("captioner", None, BEST),
    ("conditional-gan", None, BEST),
    ("pix2pix", None, BEST),
    ("attention-lanes", None, BEST),
    ("combined-speed", None, BEST),
    ("pretext-autoencoder", LANE, RANDOM),
    ("pretext-masked", LANE, RANDOM),
    ("pretext-contrastive", LANE, RANDOM),
)  # experiment, metric (None: the main one) and baseline of every win that a page states

TABLE = """encoder,way,observation,access,seed,median_mph,mean_mph,p10_mph,decisions,cpu_seconds,commit
conv,frozen,pixels,open,0,68.0,67.0,60.0,300000,9.0,abc
conv,frozen,pixels,open,1,70.0,69.0,62.0,300000,11.0,abc
"""


class Sample(Experiment):
    name, paradigm = "sample", "autoencoder"
    summary, source = "Learns nothing.", "nobody 2026"

    def run(self, job: TrainingJob) -> ExperimentResult:
        (job.folder / "loss.png").write_bytes(b"png")
        metrics = [
            Metric("error", 2.0 + 0.1 * job.seed, {"mean": 3.0, "last": 4.0}, "mph", False, goal=2.5, note="10 runs"),
            Metric("accuracy", 0.5 + 0.3 * job.seed, {"majority": 0.6}, goal=0.97),
            Metric("samples", 12.0),
        ]
        return ExperimentResult(metrics, [Plot("loss.png", "its loss")])


@pytest.fixture
def page(tmp_path: Path) -> Path:
    for seed in range(3):
        run_experiment(Sample(), TrainingJob(tmp_path / "results" / f"sample-{seed}", seed=seed))
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "driving.csv").write_text(TABLE)
    return write_report(tmp_path / "results", tmp_path / "page", mixed=True)


def test_only_what_its_interval_tells_from_the_best_baseline_is_bold(page: Path) -> None:
    text = page.read_text()
    assert (
        "| error (lower is better) (10 runs) | **2.1 [1.852, 2.348] mph** | mean 3, last 4 | "
        "-0.9 [-1.148, -0.6516] | 2.5 ✓ |"
    ) in text
    assert "| accuracy | 0.8 [0.05476, 1.545] | majority 0.6 | +0.2 [-0.5452, 0.9452] | 0.97 ✗ |" in text
    assert "| samples | 12 [12, 12] | – | – | – |" in text
    assert "Seeds 0, 1, 2" in text


def test_a_plot_lies_beside_the_page_under_the_experiments_name(page: Path) -> None:
    assert "![its loss](figures/sample-loss.png)" in page.read_text()
    assert (page.parent / "figures" / "sample-loss.png").read_bytes() == b"png"


def test_programs_get_the_values_of_every_seed(page: Path) -> None:
    metric = json.loads((page.parent / "report.json").read_text())["sample"]["metrics"][0]
    assert metric["values"] == pytest.approx([2.0, 2.1, 2.2])
    assert metric["seeds"] == [0, 1, 2] and metric["baselines"]["mean"] == [3.0] * 3
    assert metric["interval"] == pytest.approx([1.852, 2.348], abs=1e-3)


def test_results_of_several_commits_or_of_changed_files_are_refused(page: Path, tmp_path: Path) -> None:
    path = tmp_path / "results" / "sample-1" / "result.json"
    content = json.loads(path.read_text())
    content["versions"]["commit"] = "0" * 40
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"come from 0+, .*, not from one clean commit; .* --mixed"):
        write_report(tmp_path / "results", tmp_path / "page")
    for seed in range(3):
        path = tmp_path / "results" / f"sample-{seed}" / "result.json"
        content["seed"], content["versions"]["commit"] = seed, "0" * 40 + "+changes"
        path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="not from one clean commit"):
        write_report(tmp_path / "results", tmp_path / "page")


def test_the_driving_table_has_one_row_per_encoder_and_way(page: Path) -> None:
    row = "| conv | frozen | pixels (open) | 2 | 68.00 | 67.00 to 69.00 | 69.00 | 61.00 | 10 |"
    assert row in page.read_text()


def test_a_page_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there are no results under"):
        write_report(tmp_path, tmp_path)


# --- the stored page --------------------------------------------------------------------------------------------------


def stored() -> dict[str, Section]:
    return {section.name: section for section in stored_sections(FOLDER / "report.json")}


def test_the_stored_page_is_that_of_report_json_with_the_figures_that_it_shows() -> None:
    page = (FOLDER / "REPORT.md").read_text()
    assert page == report_page(FOLDER), "run `deeptraffic report representation`"
    shown = set(re.findall(rf"\({PLOTS}/(.*?)\)", page + (FOLDER / "LABELS.md").read_text()))
    assert shown == {file.name for file in (FOLDER / PLOTS).iterdir()}
    for section in stored().values():
        for metric in section.metrics:
            assert ("| **" in row(metric)) == metric.wins


def test_a_page_says_which_figures_another_commit_has_drawn(page: Path) -> None:
    content = json.loads((page.parent / "report.json").read_text())
    content["sample"]["drawn"] = "5" * 40
    (page.parent / "report.json").write_text(json.dumps(content))
    assert (
        "CPU minutes on one core. Figures of `sample`: another run of commit 555555555555.\n"
        in write_page(page.parent).read_text()
    )


@pytest.mark.parametrize(("name", "what", "baseline"), CLAIMS)
def test_a_claimed_win_is_one_of_several_seeds(name: str, what: str | None, baseline: str | None) -> None:
    metrics = stored()[name].metrics
    (metric,) = [metric for metric in metrics if metric.name == what] if what else metrics[:1]
    metric = replace(metric, baselines={baseline: metric.baselines[baseline]}) if baseline else metric
    assert metric.verdict == "better", f"{row(metric)}: no longer claim it, on the page or in CLAIMS"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_stored_page_describes_experiments_as_the_catalogue_does(name: str) -> None:
    section, experiment = stored()[name], find_experiment(name)
    assert (section.summary, section.source) == (experiment.summary, experiment.source)
