"""The shipped champions: a network becomes a file, an entry of the registry, a row of the table and a name."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from agents import loader
from agents.analysis.tables import replace_section
from agents.champions import shipping
from agents.champions.pages import END, TABLES, ChampionTable, champions_table, encoders_table, perception_table
from agents.champions.registry import CHAMPIONS, FOLDER, PERCEPTION, Champion, SeedScores, load_champion, read_champions
from agents.champions.shipping import MAX_BYTES, ship_champion, to_float16
from agents.config import TrainConfig
from agents.export import weights_content
from agents.lane_network import LaneNetwork
from agents.loader import load_policy
from agents.settings import build_config
from agents.trainer import train
from deeptraffic.cli import policies
from deeptraffic.cli.app import app
from deeptraffic.evaluation.protocol import evaluate_official, evaluate_open
from deeptraffic.evaluation.statistics import mean_interval
from deeptraffic.policies.base import EnvObservation
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.policies.file import pack_policy, read_policy, write_policy
from deeptraffic.policies.layers import Dense
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import Action, Sensor


def wide_network(units: int, sensor: Sensor) -> Network:
    random = np.random.default_rng(0)
    shapes = {"1.weight": (units, sensor.size), "1.bias": (units,), "2.weight": (5, units), "2.bias": (5,)}
    tensors = {name: random.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    return Network(sensor.size, (Dense(outputs=units), Dense(outputs=5)), tensors)


def planner_weights(folder: Path) -> Path:
    """A network of lanes with values, as a run of expert iteration keeps it."""
    driver = LaneNetwork(Sensor(), 2, [4], "relu")
    driver.initialise()
    path = folder / "weights.safetensors"
    path.write_bytes(weights_content(driver.weights(), {"decisions": "0"}))
    return path


def test_a_run_is_shipped_scored_listed_and_loaded(
    small_config: Callable[..., TrainConfig], quiet: Console, tmp_path: Path
) -> None:
    run, folder = tmp_path / "run", tmp_path / "champions"
    folder.mkdir()
    config = small_config("ppo", kind="gaps", other_agents=2)
    train(config, run, quiet)
    made = ship_champion("champion-ppo", [run], "policy-based", "PPO", ["train it"], runs=6, folder=folder)
    assert read_champions(folder) == {"champion-ppo": made}
    assert made.other_agents == 2 and made.seeds == [config.seed] and made.access == "contest"
    assert 0 < (made.decisions or 0) <= 384 and made.config == config.to_json()
    driver, source = load_champion("champion-ppo", folder), load_policy(run)
    assert driver.label == "champion-ppo"
    scores = [evaluate_open(p, other_agents=2, runs=6, seed_set="reporting") for p in (driver, source)]
    np.testing.assert_array_equal(scores[0].run_speeds, scores[1].run_speeds)
    assert made.reporting["mean_mph"] == scores[0].mean_mph and made.reporting["seed_set"] == "reporting"
    assert made.official_mph == evaluate_official(source, other_agents=2).score
    assert read_policy(folder / made.file).manifest.training["decisions"] == str(made.decisions)


def test_a_large_network_is_rounded_and_checked_and_a_larger_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = Sensor(1, 6, 0)
    monkeypatch.setattr(shipping, "MAX_BYTES", 4000)
    checked = []
    monkeypatch.setattr(shipping, "_check_rounded", lambda full, rounded: checked.append((full, rounded)))
    monkeypatch.setattr(shipping, "evaluate_official", lambda p, other_agents: evaluate_open(p, runs=2))
    source = tmp_path / "wide.safetensors"
    for units, rounds in ((10, 0), (40, 1)):
        write_policy(source, pack_policy(wide_network(units, sensor), sensor, "wide"))
        made = ship_champion("champion", [source], "policy-based", "none", [], runs=2, folder=tmp_path)
        assert len(checked) == rounds and made.decisions is None and made.config == {}
        dtypes = {tensor.dtype for tensor in read_policy(tmp_path / made.file).network.tensors.values()}
        assert dtypes == {np.dtype(np.float16 if rounds else np.float32)}
    write_policy(source, pack_policy(wide_network(100, sensor), sensor, "wide"))
    with pytest.raises(ValueError, match="train a smaller network"):
        ship_champion("champion", [source], "policy-based", "none", [], runs=2, folder=tmp_path)


def test_rounding_that_costs_speed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sensor = Sensor(1, 6, 0)
    network = wide_network(8, sensor)
    full = pack_policy(network, sensor, "full").policy()
    rounded = pack_policy(to_float16(network), sensor, "rounded").policy()
    speeds = {"full": 70.0, "rounded": 69.95}

    class Made:
        def __init__(self, policy: object, **_: object) -> None:
            self.mean_mph = speeds[policy.label]  # type: ignore[attr-defined]

    monkeypatch.setattr(shipping, "evaluate_open", Made)
    shipping._check_rounded(full, rounded)
    speeds["rounded"] = 69.8
    with pytest.raises(ValueError, match="69.80 mph instead of 70.00"):
        shipping._check_rounded(full, rounded)


def test_of_several_training_seeds_the_best_on_tuning_runs_is_shipped_and_all_are_scored(tmp_path: Path) -> None:
    """A constant policy per seed: accelerate is fast, decelerate slow."""
    seen, sources = EnvObservation("gaps", {"shows_speeds": False}, 42), []
    for seed, action in enumerate((Action.DECELERATE, Action.ACCELERATE, Action.NOTHING)):
        tensors = {"1.weight": np.zeros((5, 42), np.float32), "1.bias": np.eye(5, dtype=np.float32)[action]}
        sources.append(tmp_path / f"{seed}.safetensors")
        write_policy(sources[-1], pack_policy(Network(42, (Dense(outputs=5),), tensors), seen, "constant"))
    made = ship_champion(
        "champion-eye",
        sources,
        PERCEPTION,
        "none",
        [],
        seeds=[4, 5, 6],
        teacher="idle",
        runs=6,
        tuning_runs=3,
        folder=tmp_path,
    )
    by_seed = made.by_seed
    assert by_seed is not None and read_champions(tmp_path)["champion-eye"] == made
    assert (by_seed.eye, by_seed.observation) == ("blind", "Lane gaps without speeds.")
    assert by_seed.shipped_seed == 5 and made.seeds == [4, 5, 6]
    idle = evaluate_open(make_builtin("idle"), runs=6, seed_set="reporting").run_scores
    runs = [evaluate_open(load_policy(source), runs=6, seed_set="reporting").run_scores for source in sources]
    assert by_seed.means == [scores.mean() for scores in runs] and by_seed.mean == np.mean(by_seed.means)
    assert by_seed.interval == list(mean_interval(by_seed.means))
    assert by_seed.cost == pytest.approx(idle.mean() - np.mean(runs)) and by_seed.teacher_mean == idle.mean()
    assert by_seed.cost_interval[0] < by_seed.cost < by_seed.cost_interval[1]
    assert by_seed.tuning_means[1] == max(by_seed.tuning_means) and by_seed.multiplications == 210
    assert made.official_mph is None and made.access == "open"  # no official evaluation has a weak sensor
    row = perception_table({"champion-eye": made}).splitlines()[2]
    assert "| 4, 5, 6 |" in row and "| - |" in row and "`blind`: Lane gaps without speeds." in row


def test_seeds_and_teacher_belong_to_perception(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="belong to --kind perception"):
        ship_champion("champion", [tmp_path, tmp_path], "policy-based", "", [], folder=tmp_path)
    with pytest.raises(ValueError, match="2 sources of kind perception have 1 training seeds"):
        ship_champion("champion", [tmp_path, tmp_path], PERCEPTION, "", [], seeds=[3], folder=tmp_path)


def test_a_planner_is_privileged_and_keeps_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "evaluate_official", lambda p, other_agents: evaluate_open(p, runs=1))
    settings = {"rollouts": 2, "depth": 1}
    weights = planner_weights(tmp_path)
    made = ship_champion(
        "champion-planner", [weights], "planner", "planning", [], planner=settings, runs=1, folder=tmp_path
    )
    assert made.access == "privileged" and made.reporting["access"] == "privileged"
    driver = load_champion("champion-planner", tmp_path)
    assert driver.config.rollouts == 2 and driver.config.depth == 1  # type: ignore[attr-defined]
    assert "planning (privileged)" in champions_table(read_champions(tmp_path))


def test_an_unknown_kind_or_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kind='magic' does not exist; choose one of policy-based"):
        ship_champion("champion", [tmp_path], "magic", "", [], folder=tmp_path)
    with pytest.raises(ValueError, match="there is no champion 'champion-flying'"):
        load_champion("champion-flying")


def test_shipped_files_are_small_and_drive_as_the_registry_says() -> None:
    for name, shipped in CHAMPIONS.items():
        assert (FOLDER / shipped.file).stat().st_size < MAX_BYTES
        driver = load_champion(name)
        score = evaluate_open(driver, other_agents=shipped.other_agents, runs=4, seed_set="reporting", frames=400)
        assert score.access == shipped.access and driver.label == name
        assert shipped.reporting["runs"] >= (200 if shipped.planner else 1000) and shipped.commands
    assert {path.name for path in FOLDER.glob("*.safetensors")} == {shipped.file for shipped in CHAMPIONS.values()}


PERCEIVING = [name for name, shipped in CHAMPIONS.items() if shipped.kind == PERCEPTION]


@pytest.mark.parametrize("name", PERCEIVING)
def test_a_champion_that_perceives_is_watched_by_name(name: str, tmp_path: Path) -> None:
    shipped = CHAMPIONS[name]
    assert shipped.by_seed is not None and len(shipped.by_seed.means) == len(shipped.seeds)
    run = CliRunner().invoke(app, ["record", name, "-o", str(tmp_path / "it.png"), "--seconds", "0.3", "--json"])
    assert run.exit_code == 0 and (tmp_path / "it.png").exists(), run.stderr
    run = CliRunner().invoke(app, ["inspect", name, "--json"])
    assert run.exit_code == 0 and json.loads(run.stdout)["parameters"] == shipped.parameters


def test_champions_that_perceive_are_compared_by_name(tmp_path: Path) -> None:
    command = ["compare", *PERCEIVING, "--runs", "2", "-o", str(tmp_path / "figures"), "--json"]
    groups = json.loads(CliRunner().invoke(app, command).stdout)["groups"]
    assert [group["name"] for group in groups] == PERCEIVING


@pytest.mark.parametrize("name", [name for name, shipped in CHAMPIONS.items() if shipped.config])
def test_settings_of_a_champions_training_are_those_of_today(name: str) -> None:
    config = CHAMPIONS[name].config
    assert build_config(config["algo"], settings=config).to_json() == config


@pytest.mark.parametrize("section", TABLES, ids=lambda section: section.begin.strip("<!- >"))
def test_pages_hold_the_tables_of_the_registry(section: ChampionTable) -> None:
    text = section.page.read_text(encoding="utf-8")
    assert text.partition(f"{section.begin}\n")[2].partition(END)[0] == section.table(CHAMPIONS)


def test_a_page_without_a_place_for_the_table_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no place here")
    with pytest.raises(ValueError, match="page.md lacks the lines"):
        replace_section(page, "<!-- here -->", END, "new\n")
    page.write_text(f"a\n<!-- here -->\nold\n{END}\nz\n")
    replace_section(page, "<!-- here -->", END, "new\n")
    assert page.read_text() == f"a\n<!-- here -->\nnew\n{END}\nz\n"


def test_a_champion_is_a_policy_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(name in policies.POLICY_HELP for name in CHAMPIONS)
    champions = {"champion-solo": make_builtin("idle")}
    monkeypatch.setattr(loader, "CHAMPIONS", champions)
    monkeypatch.setattr(loader, "load_champion", champions.get)
    assert load_policy("champion-solo") is champions["champion-solo"]
    with pytest.raises(ValueError, match=f"no built-in name .idle, .*gap, {', '.join(CHAMPIONS)}"):
        load_policy("champion-flying")


def test_the_table_tells_what_is_not_known_by_a_dash() -> None:
    line = Champion(
        "champion",
        "champion.safetensors",
        "policy-based",
        "PPO",
        [],
        {},
        [],
        "tuning runs",
        None,
        None,
        12345,
        10,
        "contest",
        76.5,
        {
            "runs": 5000,
            "median_mph": 76.4,
            "median_interval": [76.3, 76.5],
            "mean_mph": 76.0,
            "mean_interval": [75, 77],
        },
    )
    rows = champions_table(
        {"champion": line, "known": replace(line, decisions=1_000_000, cpu_minutes=12.4)}
    ).splitlines()
    assert "median of 5,000 reporting runs" in rows[0]
    cells = "| 10 | **76.50** | 76.40 (76.30 to 76.50) | 76.00 (75.00 to 77.00) |"
    assert rows[2] == f"| `champion` | PPO {cells} - | - | 12,345 |"
    assert rows[3].endswith("| 1,000,000 | 12.4 | 12,345 |")


def test_the_first_page_shows_the_mean_over_seeds_beside_the_teacher() -> None:
    scores = SeedScores(
        eye="two-frames",
        observation="Two grey images.",
        shipped_seed=1,
        tuning_means=[72.0, 72.2],
        means=[72.1, 72.3],
        mean=72.2,
        interval=[71.0, 73.4],
        teacher="champion-solo",
        teacher_mean=72.66,
        cost=0.46,
        cost_interval=[0.3, 0.6],
        multiplications=600_000,
    )
    seen = replace(CHAMPIONS["champion-solo"], name="champion-cnn", kind=PERCEPTION, algorithm="conv", by_seed=scores)
    row = encoders_table({"champion-solo": CHAMPIONS["champion-solo"], "champion-cnn": seen}).splitlines()[-1]
    assert row == "| `champion-cnn` | Two grey images. | conv | **72.20** (71.00 to 73.40) | 72.66, `champion-solo` |"
    assert "champion-cnn" not in champions_table({**CHAMPIONS, "champion-cnn": seen})
    row = perception_table({"champion-cnn": seen}).splitlines()[-1]
    assert "| 72.20 (71.00 to 73.40) | 0.46 (0.30 to 0.60) | **74.16** |" in row and row.endswith("| 600,000 |")
    few = replace(seen, reporting={**seen.reporting, "runs": 1500})
    assert "(71.00 to 73.40), 1,500 runs |" in encoders_table({"champion-cnn": few}).splitlines()[-1]
    one = replace(few, by_seed=replace(scores, mean=None))
    assert ", one seed, 1,500 runs |" in encoders_table({"champion-cnn": one}).splitlines()[-1]
    assert ", 1,500 runs |" in perception_table({"champion-cnn": few}).splitlines()[-1]
