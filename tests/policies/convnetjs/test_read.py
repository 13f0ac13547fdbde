"""Original submissions come in as they drove: layers, settings, spellings, and refusals that name the line."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeptraffic.evaluation.protocol import evaluate_official
from deeptraffic.policies.convnetjs.parse import MAX_CHARACTERS, ConvNetJSError
from deeptraffic.policies.convnetjs.read import network_from_json, read_convnetjs
from deeptraffic.sim.rules import Sensor

GOLDEN = Path(__file__).parents[2] / "golden"
NETWORKS = [
    pytest.param(record, id=f"{path.stem}-{record['name']}")
    for path in sorted(GOLDEN.glob("convnetjs_*.json"))
    for record in json.loads(path.read_text())
]
SUBMISSIONS = {record["name"]: record for record in json.loads((GOLDEN / "submission_networks.json").read_text())}
SCORES = [
    (name, int(others), score) for name, s in SUBMISSIONS.items() for others, score in s["official_scores_2018"].items()
]
CASES: dict[str, float] = json.loads((GOLDEN / "submissions" / "scores.json").read_text())

TEMPLATE = """//<![CDATA[
// a submission in the spelling of the game's own page
lanesSide = {lanesSide};
patchesAhead = {patchesAhead};
patchesBehind = {patchesBehind};
trainIterations = 10000;
otherAgents = 3; // max of 10

var num_inputs = (lanesSide * 2 + 1) * (patchesAhead + patchesBehind);
var num_actions = 5;
var temporal_window = {temporal_window};
var network_size = num_inputs * temporal_window + num_actions * temporal_window + num_inputs;

var layer_defs = [];
    layer_defs.push({{
    type: 'input', out_sx: 1, out_sy: 1, out_depth: network_size
}});
layer_defs.push({{ type: 'fc', num_neurons: 10, activation: 'relu' }});
layer_defs.push({{ type: 'regression', num_neurons: num_actions }});

var tdtrainer_options = {{ learning_rate: 0.001, momentum: 0.0, batch_size: 64, decay: 0.01 }};
var opt = {{}};
opt.temporal_window = temporal_window;
opt.experience_size = 3000;
opt.gamma = 0.7;
opt.epsilon_test_time = 0.0;
opt.layer_defs = layer_defs;
opt.tdtrainer_options = tdtrainer_options;

brain = new deepqlearn.Brain(num_inputs, num_actions, opt);

learn = function (state, lastReward) {{
    brain.backward(lastReward);
    var action = brain.forward(state);

    draw_net();
    draw_stats();

    return action;
}}

//]]>

/*###########*/
if (brain) {{
brain.value_net.fromJSON({weights});
}}
"""


def written(name: str = "mit_basic_trained", **changes: Any) -> str:
    """A submission's text; changes replace settings of the template."""
    record = SUBMISSIONS[name]
    return TEMPLATE.format(**(record | {"weights": json.dumps(record["net"])} | changes))


def numbers(values: Any) -> np.ndarray:
    """A list, or an object from index strings to numbers, as an array."""
    return np.array(values if isinstance(values, list) else [values[str(i)] for i in range(len(values))], float)


@pytest.mark.parametrize("record", NETWORKS)
def test_convnetjs_network_gives_the_original_librarys_outputs(record: dict[str, Any]) -> None:
    program = network_from_json(record["net"]).assemble()
    assert len(record["inputs"]) == len(record["outputs"]) > 0
    for x, y in zip(record["inputs"], record["outputs"], strict=True):
        np.testing.assert_allclose(program.run(numbers(x)), numbers(y), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("name", "others", "score"), SCORES[5:6] + SCORES[8:9], ids=str)
def test_submission_scores_as_in_the_original_game(name: str, others: int, score: float) -> None:
    assert evaluate_official(read_convnetjs(written(name), name).policy(), other_agents=others).score == score


@pytest.mark.slow
@pytest.mark.parametrize(("name", "others", "score"), SCORES, ids=str)
def test_every_submission_scores_as_in_the_original_game(name: str, others: int, score: float) -> None:
    assert evaluate_official(read_convnetjs(written(name), name).policy(), other_agents=others).score == score


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_file_scores_as_in_the_original_game(name: str) -> None:
    submission = read_convnetjs((GOLDEN / "submissions" / name).read_text("utf-8"), name)
    score = evaluate_official(submission.policy(), other_agents=submission.other_agents).score
    assert (submission.epsilon, score) == (0.0, CASES[name])


def test_settings_are_read_with_their_arithmetic() -> None:
    submission = read_convnetjs(written("random_window_2"), "mine")
    assert submission.sensor == Sensor(2, 10, 3)
    assert submission.temporal_window == 2
    assert submission.other_agents == 3
    assert submission.network.inputs == 65 * 3 + 5 * 2
    assert submission.facts["trainIterations"] == 10000
    assert submission.facts["tdtrainer_options.learning_rate"] == 0.001
    assert submission.facts["gamma"] == 0.7


def same(text: str) -> None:
    """The text reads as the network of the template."""
    plain, other = (read_convnetjs(t, "x") for t in (written(), text))
    assert other.sensor == plain.sensor
    assert all(np.array_equal(plain.network.tensors[k], other.network.tensors[k]) for k in plain.network.tensors)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n", "\r\n"),
        ("//<![CDATA[", "\ufeff//<![CDATA["),
        ("/*###########*/\nif (brain) {\n", ""),
        ("lanesSide = ", "var lanesSide="),
        ("var num_inputs", "let num_inputs"),
        ("var num_actions = 5;", "const num_actions = 2 * 3 - 1, unused = -4.5e-3"),
        ("trainIterations = 10000;", "/* a comment\n over lines */ trainIterations = 1e4"),
        ("return action;", "return action"),
        ("opt.gamma = 0.7;", "opt.gamma = 0.7; console.log('gamma', opt.gamma);"),
        ("var action = brain.forward(state);", "let action=brain . forward( state )"),
        ("decay: 0.01 }", "decay: 0.01, method: 'adadelta', eps: 1e-6, ro: 0.95, }"),
        ("opt.gamma = 0.7;", "opt.gamma = 0.7; opt.random_action_distribution = [0.2, 0.2, 0.2, 0.2, 0.2];"),
        ("var layer_defs = [];", "var layer_defs = [{type: 'input', out_depth: network_size},];"),
        ("learn = function (state, lastReward)", "learn = function(s0, r)"),
        ("\n}\n", "\n}\n// trailing\nvar version = 2;\n"),
        ("num_inputs = (lanesSide", "num_inputs = (7 * lanesSide"),  # drives alike without a temporal window
        ("opt.gamma = 0.7;", "opt.gamma = secret / 0; opt.epsilon_min = 0x10 % NaN;"),
        ("opt.gamma = 0.7;", "alert('hello' + 2); console.log(opt, layer_defs[0].type + 1, document.title);"),
        ("opt.gamma = 0.7;", "for (var i = 0; i < 3; i++) { layer_defs.push(i); if (i == 1) break; }"),
        ("opt.gamma = 0.7;", "function unused(x) { lanesSide = x; brain = null; }"),
        ("opt.gamma = 0.7;", "if (typeof document !== 'undefined') { var c = document.body; if (c) { c.width = 4; } }"),
        ("opt.gamma = 0.7;", "opt.gamma = (n => { let f = 1; while (n > 1) { f *= n--; } return f; })(5);"),
        ("opt.gamma = 0.7;", "Object.assign({}, 1); class Unused { go() { return 1; } }"),
        ("lanesSide = 1;", "lanesSide = Math.floor([0.5, 1.5].map(x => x * 1)[1]) || 4;"),
        ("lanesSide = 1;", "window.lanesSide = true ? parseInt('1 lane') : window.innerWidth;"),
        ("lanesSide = 1;", "var n = 0; for (const k of [1, 2]) { if (k % 2) { n += k; } } lanesSide = n;"),
        ("lanesSide = 1;", '// brain.value_net.fromJSON({"layers": [\nlanesSide = 1;'),
        ("var opt = {};", "var opt = {...{}, temporal_window: 9};"),
        ("draw_net();", "if (lastReward > 2) { console.log('fast', state.length); best = lastReward; }"),
        ("brain.backward(lastReward);", "brain.backward(lastReward * 10 - 3); brain.epsilon_test_time = 0.0;"),
        ("return action;", "var answer = action; return answer;"),
        ("if (brain) {", 'if (brain) { brain.value_net.fromJSON({"layers": [1]}); }\nif (brain) {'),
    ],
)
def test_spellings_of_real_files_read_alike(old: str, new: str) -> None:
    text = written()
    assert old in text
    changed = text.replace(old, new) if old == "\n" else text.replace(old, new, 1)
    if "function(s0, r)" in new:
        changed = changed.replace("backward(lastReward)", "backward(r)").replace("forward(state)", "forward(s0)")
    if not new:
        changed = changed.rstrip().removesuffix("}")
    if new.startswith("\n}\n//"):
        changed = text.rstrip("\n") + new.removeprefix("\n}")
    same(changed)


def refused(text: str) -> str:
    with pytest.raises(ConvNetJSError) as error:
        read_convnetjs(text, "x")
    return str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "place", "reason"),
    [
        ("draw_net();", "if (lastReward < 0) return 1;", "if (lastReward", "learn does more"),
        ("return action;", "return (action + 1) % 5;", "return (action", "learn does more"),
        ("return action;", "return action == 2 ? 0 : action;", "return action", "computes from the network's answer"),
        ("lanesSide = 1;", "lanesSide = 0;", "brain.value_net", "are for 30 inputs, but the settings give 10"),
        ("lanesSide = 1;", "lanesSide = 51;", "lanesSide = 51", "lanesSide must be an integer in [0, 50], got 51"),
        (
            "lanesSide = 1;",
            "lanesSide = secret;",
            "secret",
            "lanesSide depends on `secret`, which is not defined above",
        ),
        ("lanesSide = 1;", "lanesSide = Math.random();", "Math.random", "lanesSide depends on Math.random"),
        ("lanesSide = 1;", "lanesSide = window.innerWidth;", "window", "`innerWidth`, which is not defined above"),
        ("lanesSide = 1;", "if (document) {\nlanesSide = 1; }", "if (doc", "`document`, which belongs to the page"),
        ("lanesSide = 1;", "lanesSide = 1; sleep(() => { lanesSide = 2; });", "sleep", "lanesSide depends on `sleep`"),
        ("var opt = {};", "var opt = {}; shake(opt);", "shake", "how the Brain drives depends on `shake`"),
        ("opt.gamma = 0.7;", "while (true) {}", "while", "more than 300000 steps"),
        ("opt.gamma = 0.7;", "var s = 'x'; while (true) { s += s; }", "while", "more than 300000 steps"),
        ("opt.gamma = 0.7;", "function f() { f(); } f();", "function f", "nested more than 150 deep"),
        ("opt.gamma = 0.7;", "throw 'no';", "throw", "throws an error"),
        ("opt.gamma = 0.7;", "Math.floor = null;", "Math.floor", "Math is replaced"),
        (
            "learn = function",
            "brain.policy = null;\nlearn = function",
            "brain.policy",
            "brain.policy, which is set here",
        ),
        ("learn = function", "brain = brain || 0;\nvar learned = function", "brain.value_net", "no learn = function"),
        ("draw_net();", "brain.forward(state);", "learn = function", "calls brain.forward 2 times"),
        ("draw_net();", "state[0] = 0;\nreturn brain.forward(state);", "return brain", "learn does more"),
        ("draw_net();", "if (calls++ > 9) { action = 0; }", "if (calls", "what learn changes from call to call"),
        ("otherAgents = 3;", "otherAgents = 30;", "otherAgents", "otherAgents must be an integer in [0, 10], got 30"),
        ("lanesSide = 1;", "<<<<<<< HEAD\nlanesSide = 1;", "<<<<<<<", "merge conflict"),
        ("//<![CDATA[", "<!DOCTYPE html><html>", "<!DOCTYPE", "web page"),
        ("opt.gamma = 0.7;", "opt.gamma = ;", "opt.gamma = ;", "not JavaScript"),
        ('"layer_type": "relu"', '"layer_type": "gru"', "brain.value_net", "gru"),
        ('"out_depth": 10', '"out_depth": 11', "brain.value_net", "11"),
        ('"num_inputs": 30', '"num_inputs": 30, "num_inputs": 30', "brain.value_net", "twice"),
        ('"0": ', '"0": NaN, "x": ', "brain.value_net", "NaN"),
        ('"0": ', '"0": 1e999, "x": ', "brain.value_net", "lacks weight"),
        ('"w": {"0": ', '"w": {"0": 1e999, "0 ": ', "brain.value_net", "lacks weight"),
        ('{"0": ', '{"0": "', "brain.value_net", "never closed"),
        ('{"0": ', '{"0" ', "brain.value_net", "not valid JSON"),
    ],
)
def test_refusals_name_the_line_and_the_reason(old: str, new: str, place: str, reason: str) -> None:
    text = written()
    assert old in text
    text = text.replace(old, new, 1)
    message = refused(text)
    assert message.startswith(f"line {text.count(chr(10), 0, text.index(place)) + 1}:"), message
    assert reason in message


def with_layers(*between: dict[str, Any], inputs: int = 10) -> str:
    """The text of the basic network with layers between its relu and its head, which reads `inputs` numbers."""
    net = json.loads(json.dumps(SUBMISSIONS["mit_basic_trained"]["net"]))
    head = net["layers"][3]
    head["num_inputs"] = inputs
    for vol in head["filters"]:
        vol["w"] = {str(i): vol["w"][str(i)] for i in range(inputs)}
        vol["depth"] = inputs
    net["layers"][3:3] = between
    return written(weights=json.dumps(net))


def pool(size: int, out: int, pad: int = 0) -> dict[str, Any]:
    window = {"sx": size, "sy": size, "stride": 1, "pad": pad, "in_depth": 10}
    return {"layer_type": "pool", "out_depth": 10, "out_sx": out, "out_sy": out, **window}


@pytest.mark.parametrize(("size", "out", "inputs"), [(2, 0, 0), (3, -1, 10)])
def test_window_larger_than_its_input_leaves_the_biases(size: int, out: int, inputs: int) -> None:
    network = read_convnetjs(with_layers(pool(size, out), inputs=inputs), "x").network
    biases = numbers(SUBMISSIONS["mit_basic_trained"]["net"]["layers"][3]["biases"]["w"])
    np.testing.assert_array_equal(network.assemble().run(np.ones(30)), biases)


def test_window_of_one_cell_passes_its_input_on() -> None:
    plain, pooled = (read_convnetjs(t, "x").network.assemble() for t in (written(), with_layers(pool(3, 1, pad=1))))
    np.testing.assert_array_equal(plain.run(np.ones(30)), pooled.run(np.ones(30)))


def test_weight_saved_as_null_is_read_as_zero() -> None:
    record = json.loads(json.dumps(SUBMISSIONS["mit_basic_trained"]["net"]))
    record["layers"][1]["filters"][0]["w"]["7"] = None
    network = read_convnetjs(written(weights=json.dumps(record)), "x").network
    assert network.tensors["1.weight"][0, 7] == 0.0
    assert network.tensors["1.weight"][0, 8] != 0.0


def test_comment_that_is_never_closed_is_named() -> None:
    assert "never closed" in refused(written() + "/*")


def test_weights_beyond_float64_are_refused() -> None:
    record = json.loads(json.dumps(SUBMISSIONS["mit_basic_trained"]["net"]))
    record["layers"][1]["filters"][0]["w"]["0"] = 123456
    assert "not finite" in refused(written(weights=json.dumps(record).replace("123456", "1e999")))


def test_file_without_weights_says_so() -> None:
    assert "no weights" in refused(written().split("/*###########*/")[0])


def test_the_last_brain_needs_weights_of_its_own() -> None:
    code = written().split("/*####")[0]
    assert "gets no weights" in refused(written() + code)
    same(code + written())


def test_weights_may_be_built_by_code() -> None:
    layers = (
        "var f = []; for (var i = 0; i < 5; i++) { var w = Array(30).fill(0); w[i] = i; f.push({w: w}); }\n"
        "var net = {layers: [{layer_type: 'input', out_sx: 1, out_sy: 1, out_depth: 30},"
        " {layer_type: 'fc', out_depth: 5, filters: f, biases: {w: [1, 2, 3, 4, 5]}}]};\n"
    )
    text = layers + written(weights="net")
    network = read_convnetjs(text, "x").network
    np.testing.assert_array_equal(network.tensors["1.weight"][:, :5], np.diag(np.arange(5.0)))
    message = refused(text.replace("w[i] = i", "w[i] = Math.random()"))
    assert message.startswith("line 1: the weights depend on Math.random")


def test_network_reads_the_first_inputs_and_its_first_five_outputs_count() -> None:
    record = json.loads(json.dumps(SUBMISSIONS["mit_basic_trained"]["net"]))
    plain = network_from_json(record).assemble()
    head = record["layers"][3]
    head["filters"].append(head["filters"][0])
    head["out_depth"] = record["layers"][4]["out_depth"] = 6
    head["biases"]["w"]["5"] = 1e9
    submission = read_convnetjs(written(weights=json.dumps(record), patchesAhead=20), "x")
    network = submission.network
    assert (submission.sensor.size, network.inputs, network.inputs_read, network.outputs) == (60, 60, 30, 5)
    x = np.random.default_rng(0).normal(size=60)
    np.testing.assert_array_equal(network.assemble().run(x), plain.run(x[:30]))


def test_brain_for_other_inputs_drives_alike_unless_it_reads_earlier_decisions() -> None:
    text = written("mit_default_trained")
    same_text = text.replace("num_inputs = (lanesSide", "num_inputs = 1 + (lanesSide")
    assert "the Brain is built for 2 inputs" in refused(same_text)


def test_file_of_the_largest_size_is_read_in_seconds() -> None:
    block = written()[written().index("if (brain)") :]
    text = written() + block * ((MAX_CHARACTERS - len(written())) // len(block))
    start = time.process_time()
    same(text)
    assert time.process_time() - start < 10.0


def test_weights_for_more_inputs_than_the_settings_give_are_refused() -> None:
    text = written("mit_default_trained", weights=json.dumps(SUBMISSIONS["mit_basic_trained"]["net"]))
    assert "for 30 inputs, but the settings give 19" in refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 200_000,
        "x = " + "[" * 200_000,
        "x = " + "-" * 200_000,
        "x = " + "(" * 200_000 + "brain.value_net.fromJSON({})",
        "a = " * 100_000 + "brain.value_net.fromJSON({})",
        "brain.value_net.fromJSON(" + "[" * 200_000,
        "brain.value_net.fromJSON(" + '{"a":' * 200_000 + "}" * 200_000,
        "/*" * 100_000 + "brain.value_net.fromJSON({})",
        "x" * 5_000_000,
        "a" * 17_000_000,
        "\x00\x01\x02",
        "",
    ],
    ids=range(12),
)
def test_hostile_text_is_refused_in_bounded_depth(text: str) -> None:
    assert refused(text).startswith("line ")
