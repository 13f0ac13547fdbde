"""The WebAssembly module against the native functions that it was made from: equal to the last bit."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.algorithms.deepqlearn.learner import DeepQLearn
from agents.settings import build_config
from deeptraffic.evaluation.protocol import evaluate_official, evaluate_open
from deeptraffic.evaluation.statistics import run_score
from deeptraffic.policies import exponential
from deeptraffic.policies.builtin import play_constant
from deeptraffic.policies.convnetjs.read import ConvNetJSFile, network_from_json
from deeptraffic.policies.file import pack_convnetjs, pack_policy, policy_content, read_policy
from deeptraffic.policies.gap import choose_gaps
from deeptraffic.policies.layers import Dense, Flatten
from deeptraffic.policies.network import Network
from deeptraffic.render.overlays import input_cells, safety_cells
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RoadConfig, Sensor
from deeptraffic.sim.runs import Runs
from deeptraffic.sim.state import game_dtype

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
TRACES = sorted(path.stem for path in GOLDEN.glob("*.npz"))
FILES = sorted((ROOT / "agents" / "champions").glob("*.safetensors"))
CHAMPIONS = [path for path in FILES if b'"deeptraffic_policy"' in path.read_bytes()]  # not the planner's own file
SUBMISSIONS = {"mit_basic_trained": 0, "mit_default_trained": 0, "tanh_window_2_trained": 5}


def encode(data: bytes | np.ndarray) -> str:
    return base64.b64encode(data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes()).decode()


def decode(text: str, dtype: Any = np.float64) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype)


def submission(name: str) -> tuple[bytes, dict[str, float]]:
    """A golden submission as a policy file's content, and its official scores by the number of other agents."""
    records = json.loads((GOLDEN / "submission_networks.json").read_text("utf-8"))
    record = next(each for each in records if each["name"] == name)
    sensor = Sensor(record["lanesSide"], record["patchesAhead"], record["patchesBehind"])
    file = ConvNetJSFile(name, network_from_json(record["net"]), sensor, record["temporal_window"], 0)
    return policy_content(pack_convnetjs(file)), record["official_scores_2018"]


# --- the game ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRACES)
def test_module_equals_golden_trace(name: str, ask: Any, tests_of: Any) -> None:
    golden = tests_of("sim/test_golden.py")
    trace = golden.load_trace(GOLDEN / f"{name}.npz")
    resets = [k + 1 if trace.is_2017 else int(episode["seed"]) for k, episode in enumerate(trace.episodes)]
    found = ask(
        "replay",
        rules=int(trace.meta["rules"]),
        otherAgents=trace.other_agents,
        sensor=list(trace.sensor),
        programSeed=trace.program_seed,
        frames=trace.meta["frames"],
        resets=resets,
        actions=list(golden.planned_actions(trace)),
    )
    for episode, parts in zip(trace.episodes, found, strict=True):
        begun, shown, decided = map(decode, parts)
        frames = trace.meta["frames"]
        recorded = [np.atleast_2d(episode[each].reshape(frames, -1)) for each in golden.PER_FRAME]
        shown = shown.reshape(frames, -1)
        assert golden.same(shown[:, :-1], np.concatenate(recorded, axis=1))
        assert golden.same(begun[2:], np.concatenate([episode[f"init_{each}"] for each in golden.VEHICLES]))
        decided = decided.reshape(len(episode["decision_frame"]), -1)
        for k, each in enumerate(("decision_frame", "decision_action", "decision_reward")):
            assert golden.same(decided[:, k], episode[each])
        assert golden.same(decided[:, 3:], episode["decision_obs"])
        if trace.is_2017:
            assert golden.same(begun[:2], [episode["rng_before_reset"], episode["rng_after_reset"]])
            assert golden.same(shown[:, -1], episode["pending_action"])


@pytest.mark.parametrize(("rules", "others"), [(2018, 0), (2018, 3), (2017, 0)])
def test_a_policy_that_drives_frame_by_frame_meets_the_native_game(rules: int, others: int, ask: Any) -> None:
    content, _ = submission("tanh_window_2_trained")
    road, seed, frames = RoadConfig(rules=rules, other_agents=others), 123_456_789_012, 700
    found = ask("live", policy=encode(content), rules=rules, otherAgents=others, seed=seed, frames=frames)
    policy, sim = read_policy(content).policy(), Simulator(road.build(), threads=1)
    policy.attach(sim)
    policy.reset(np.arange(others + 1))
    sim.reset_open([seed])
    agent = sim.run_to_frame(frames)[0]
    while agent >= 0:
        actions = policy.act(sim.sense(policy.sensor, int(agent)), np.array([agent]))
        agent = sim.run_to_frame(frames, actions)[0]
    game = decode(found["game"], game_dtype(road.build()))
    for name in game.dtype.names or ():
        np.testing.assert_array_equal(game[name], sim.games[name], err_msg=name)
    sim.step([1])
    actions = np.empty(1, np.int64)
    choose_gaps(sim.sense(Sensor()), 7, 50, road.build().empty, actions)
    assert (found["speed"], found["gap"]) == (sim.speed_mph()[0], actions[0])
    seen = input_cells(road.build(), sim.state[0], Sensor())
    assert found["first"] == [seen.column[0], seen.line[0]]


@pytest.mark.parametrize("rules", [2018, 2017])
def test_what_the_page_shows_of_a_game_is_what_the_window_shows(rules: int, ask: Any) -> None:
    content, _ = submission("tanh_window_2_trained")
    frames, sensor, config = list(range(20, 900, 37)), Sensor(3, 50, 10), RoadConfig(rules=rules).build()
    shown = ask("look", policy=encode(content), rules=rules, seed=3, frames=frames, sensor=list(sensor))
    sim, blocks = Simulator(config, threads=1), 0
    for frame, found in zip(frames, shown, strict=True):
        sim.games[:] = np.frombuffer(base64.b64decode(found["game"]), game_dtype(config))
        scene = sim.state[0]
        cells = safety_cells(config, scene)
        parts = (cells.column.tolist(), cells.line.tolist(), cells.value.tolist())
        assert found["safety"] == [[column, line, bool(value)] for column, line, value in zip(*parts, strict=True)]
        blocks += sum(cells.value)
        assert found["score"] == run_score(sim.games["score_sum"], frame)[0]
        for vehicle, hidden in enumerate(found["hidden"]):
            kept = scene["cells"].copy()
            scene["cells"][kept == vehicle + 1] = 0
            assert decode(hidden).tolist() == input_cells(config, scene, sensor).value.tolist()
            scene["cells"][:] = kept
    assert blocks > 20


# --- evaluations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rules", "others", "score"), [(2018, 0, 51.57), (2018, 10, 58.65), (2017, 0, 51.5)])
def test_official_score_of_idle(rules: int, others: int, score: float, ask: Any) -> None:
    found = ask("evaluate", policy=0, rules=rules, otherAgents=others)
    assert found["score"] == score
    sim = Simulator(RoadConfig(rules=rules, other_agents=others).build(), threads=1)
    sim.start_program(1)
    runs = Runs.official(sim, 1, found["runs"], found["frames"])
    play_constant(runs, 0)
    assert found["passed"] == runs.passed.tolist() and found["speedSums"] == runs.speed_sums.tolist()


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_official_score_of_a_submission_is_the_original_games(name: str, ask: Any) -> None:
    others = SUBMISSIONS[name]
    content, scores = submission(name)
    found = ask("evaluate", policy=encode(content), otherAgents=others)
    native = evaluate_official(read_policy(content).policy(), other_agents=others)
    assert found["score"] == native.score == scores[str(others)]
    assert found["scores"] == native.run_scores.tolist() and found["passed"] == native.run_passed.tolist()
    assert found["progress"][-1] == 500 and len(found["progress"]) > 2


@pytest.mark.parametrize("changes", [{}, {"epsilon": 0.3}, {"action": {"rule": "sample", "seed": 7}}])
def test_open_score_of_a_policy_is_the_native_one(changes: dict[str, Any], ask: Any) -> None:
    content, _ = submission("mit_basic_trained")
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    manifest = json.loads(header["__metadata__"]["deeptraffic_policy"]) | changes
    header["__metadata__"]["deeptraffic_policy"] = json.dumps(manifest)
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + content[8 + length :]
    for others in (0, 2):
        options = {"protocol": "open", "runs": 60, "otherAgents": others}
        found = ask("evaluate", policy=encode(content), **options)
        native = evaluate_open(read_policy(content).policy(), runs=60, other_agents=others)
        assert found["scores"] == native.run_scores.tolist() and found["passed"] == native.run_passed.tolist()
        assert found["score"] == native.score
    if "epsilon" in changes:
        native = evaluate_official(read_policy(content).policy())
        assert ask("evaluate", policy=encode(content))["scores"] == native.run_scores.tolist()


def test_an_evaluation_can_be_cancelled(ask: Any) -> None:
    assert ask("cancel") == "AbortError"


# --- networks ---------------------------------------------------------------------------------------------------------


def compare_layers(content: bytes, inputs: np.ndarray, ask: Any) -> None:
    found = ask("run", policy=encode(content), inputs=[encode(each) for each in inputs])
    program = read_policy(content).network.assemble()
    assert decode(found["table"], np.int64).tolist() == program.net.table.ravel().tolist()
    np.testing.assert_array_equal(decode(found["weights"]), program.net.weights)
    memory, expected = np.zeros(program.memory), []
    for each in inputs:
        program.run(each, memory)
        expected += program.values()
    np.testing.assert_array_equal(decode(found["values"]), np.concatenate(expected))


def test_every_layer_computes_the_native_values(ask: Any, tests_of: Any) -> None:
    module = tests_of("policies/test_network.py")
    for name, (size, layers) in {**module.EXACT, **module.CLOSE}.items():
        shape = Network(size, layers, module.make(size, layers).tensors).shapes()[-1]
        layers = (*layers, *([Flatten()] if len(shape) > 1 else []), Dense(outputs=5))
        network = module.make(size, layers)
        content = policy_content(pack_policy(network, Sensor(0, size, 0), name))
        compare_layers(content, module.inputs_of(network), ask)


@pytest.mark.parametrize("path", CHAMPIONS, ids=lambda path: path.stem)
def test_champions_compute_the_native_values(path: Path, ask: Any) -> None:
    file = read_policy(path)
    if not isinstance(file.manifest.observation.observed, Sensor):
        with pytest.raises(AssertionError, match="cannot compute the observation"):
            ask("run", policy=encode(path.read_bytes()), inputs=[])
        return
    random = np.random.default_rng(0)
    cells = np.where(random.random((3, file.network.inputs)) < 0.8, 1.0, random.random((3, file.network.inputs)))
    compare_layers(path.read_bytes(), cells, ask)


@pytest.mark.parametrize("name", ["tanh_window_2_trained", "champion-solo", "champion"])
def test_outputs_are_foreseen_without_a_trace_and_weights_are_those_of_each_unit(name: str, ask: Any) -> None:
    champions = {path.stem: path for path in CHAMPIONS}
    content = champions[name].read_bytes() if name in champions else submission(name)[0]
    found = ask("inspect", policy=encode(content), seed=3)
    assert found["same"] and found["asked"] == 5
    errors = [error for error in found["errors"] if error is not None]
    assert len(errors) >= 2 and max(errors) < 1e-6


FAULTS: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], Any], str]] = {
    "tensor missing": (lambda header, manifest: header.pop("1.bias"), "tensor 1.bias is missing"),
    "tensor of another shape": (lambda header, manifest: header["1.bias"].update(shape=[2, 5]), "its layer needs"),
    "layer unknown": (
        lambda header, manifest: manifest["layers"].append({"type": "magic"}),
        'unknown layer type "magic"',
    ),
    "layer incomplete": (lambda header, manifest: manifest["layers"][0].pop("outputs"), "dense: outputs is missing"),
    "limit": (lambda header, manifest: manifest["layers"][0].update(outputs=0), "dense.outputs must be"),
    "no manifest": (lambda header, manifest: header.update(__metadata__={}), "has no deeptraffic_policy"),
    "pixels": (lambda header, manifest: manifest.update(observation={"kind": "pixels", "options": {}}), "pixels"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_policy_file_is_refused_with_the_reason(fault: str, ask: Any) -> None:
    spoil, reason = FAULTS[fault]
    content, _ = submission("mit_basic_trained")
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    manifest = json.loads(header["__metadata__"]["deeptraffic_policy"])
    spoil(header, manifest)
    if header["__metadata__"]:
        header["__metadata__"]["deeptraffic_policy"] = json.dumps(manifest)
    text = json.dumps(header).encode()
    with pytest.raises(AssertionError, match=reason):
        ask("run", policy=encode(len(text).to_bytes(8, "little") + text + content[8 + length :]), inputs=[])
    with pytest.raises(AssertionError, match="its header breaks off"):
        ask("run", policy=encode(content[:100]), inputs=[])


def test_exponentials_are_the_native_ones(ask: Any) -> None:
    random = np.random.default_rng(0)
    special = [0.0, -0.0, 1.0, -1.0, 709.8, -745.2, 1e308, -1e308, 5e-324, np.inf, -np.inf, np.nan, 354.9, 0.34657359]
    x = np.concatenate([random.uniform(-750, 750, 30_000), random.normal(size=30_000), special])
    functions = [getattr(exponential, name) for name in ("exp", "sigmoid", "tanh", "tanh_convnetjs", "erf", "power")]

    @compiled
    def compute(values: np.ndarray) -> np.ndarray:
        found = np.empty((6, values.size))
        for k in range(values.size):
            v = values[k]
            found[0, k], found[1, k], found[2, k] = functions_0(v), functions_1(v), functions_2(v)
            found[3, k], found[4, k], found[5, k] = functions_3(v), functions_4(v), functions_5(v, 0.75)
        return found

    functions_0, functions_1, functions_2, functions_3, functions_4, functions_5 = functions
    found, native = decode(ask("activations", x=encode(x))).reshape(6, -1), compute(x)
    same = (found.view(np.int64) == native.view(np.int64)) | (np.isnan(found) & np.isnan(native))
    assert same.all()


# --- the learner ------------------------------------------------------------------------------------------------------

SETTINGS: list[dict[str, Any]] = [
    {"seed": 1},
    {"seed": 5, "layers": [[12, "tanh"], [7, "sigmoid"], [3, "relu"]], "temporal_window": 2, "other_agents": 2},
    {
        "seed": 999_000_000,
        "experience_size": 700,
        "momentum": 0.5,
        "l1_decay": 0.001,
        "epsilon_min": 0.1,
        "rules": 2017,
    },
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_deepqlearn_learns_the_native_weights(settings: dict[str, Any], ask: Any) -> None:
    learner = DeepQLearn(build_config("deepqlearn", settings=settings))
    learner.advance(2_000)
    found = ask("train", settings=settings, decisions=2_000)
    assert decode(found["params"]).tobytes() == learner.brain.params.tobytes()
    native = learner.metrics()
    assert (found["mph"], found["loss"]) == (native["train_mph"], native["loss"])


def test_a_saved_learner_goes_on_as_if_nothing_had_happened(ask: Any) -> None:
    learner = DeepQLearn(build_config("deepqlearn", settings=SETTINGS[1]))
    learner.advance(1_500)
    found = ask("train", settings=SETTINGS[1], decisions=800, rest=700)
    assert decode(found["params"]).tobytes() == learner.brain.params.tobytes()


def test_a_network_trained_in_the_module_scores_the_same_by_the_command_line(
    ask: Any, run: Callable[..., Any], tmp_path: Path
) -> None:
    found = ask("train", settings={"seed": 3, "layers": [[8, "tanh"]]}, decisions=3_000)
    content = base64.b64decode(found["file"])
    path = tmp_path / "trained.safetensors"
    path.write_bytes(content)
    outcome = run("evaluate", path, "--json")
    assert outcome.code == 0, outcome.err
    score = json.loads(outcome.out)
    assert ask("evaluate", policy=encode(content))["scores"] == score["run_scores"]


def test_first_weights_are_numpys(ask: Any) -> None:
    for seed in (0, 7, 2**33 + 1):
        found = decode(ask("normals", seed=seed, count=300_000))  # some 80 of them from the distribution's tails
        assert found.tobytes() == np.random.default_rng(seed).standard_normal(300_000).tobytes()
