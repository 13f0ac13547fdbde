"""The original game's files: read a submission, JavaScript text with ConvNetJS weights, as the policy that drove there.

    >>> submission = read_convnetjs(Path("net.js").read_text("utf-8"), "net")
    >>> evaluate_official(submission.policy(), other_agents=submission.other_agents)

The text is parsed, never executed (`parse.py`). It reads what the game used: the settings that
the code assigns, a `learn` that hands everything to the network, and the weights, whose JSON brings its own layers.
"""

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from deeptraffic.policies import layers as v
from deeptraffic.policies.convnetjs.parse import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    ConvNetJSError,
    JSSettings,
    is_number,
    tokenize,
)
from deeptraffic.policies.layers import Layer, Tensors
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import ACTIONS, NetworkPolicy, input_size
from deeptraffic.sim.rules import MAX_LANES, MAX_OTHER_AGENTS, MAX_ROWS, Sensor

WEIGHTS = re.compile(r"brain\s{0,9}\.\s{0,9}value_net\s{0,9}\.\s{0,9}fromJSON\s{0,9}\(")
CONFLICT = re.compile(r"^(<<<<<<<|=======|>>>>>>>)", re.MULTILINE)
HTML = re.compile(r"\s{0,999}<(!doctype|html|head|body|script|div|p|pre)\b", re.IGNORECASE)
DEFAULT_TEMPORAL_WINDOW = 1  # of the library, where the file sets none
DEFAULT_EPSILON = 0.01  # of the library at test time, where the file sets none
FLOOR = -99999.0  # the library's pooling starts its search at this value
MAX_VOL = v.MAX_VALUE


@dataclass(frozen=True)
class ConvNetJSFile:
    """What a submission's file says.

    label: its name; network, sensor, temporal_window: of the policy; other_agents: copies that its author drove with
    facts: settings that driving does not need, as the file gives them
    epsilon, random_actions: of random actions, as `NetworkPolicy` takes them
    """

    label: str
    network: Network
    sensor: Sensor
    temporal_window: int
    other_agents: int
    facts: dict[str, Any] = field(default_factory=dict)
    epsilon: float = 0.0
    random_actions: tuple[float, ...] = ()

    def policy(self) -> NetworkPolicy:
        """Return the policy."""
        return NetworkPolicy(
            self.label,
            self.network,
            self.sensor,
            self.temporal_window,
            other_agents=self.other_agents,
            epsilon=self.epsilon,
            random_actions=self.random_actions,
        )


def read_convnetjs(text: str, label: str) -> ConvNetJSFile:
    """Read the text of an original game's file.

    Raises ConvNetJSError, a ValueError, that names the line and the reason, for a file that the game could not run
    or a file in which more than the network chooses the actions.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConvNetJSError(1, f"the file has {len(text)} characters; at most {MAX_CHARACTERS} are read")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    _refuse_what_is_no_code(text)
    statement = WEIGHTS.search(text)
    if statement is None:
        line = text.count("\n") + 1
        raise ConvNetJSError(
            line, "no weights: brain.value_net.fromJSON({...}) is missing; train in the game, then save"
        )
    line = text.count("\n", 0, statement.end()) + 1
    body, rest_line = _weights_text(text, statement.end(), line)
    before = tokenize(text[: statement.start()])[:-1]
    after = tokenize(text[statement.end() + len(body) :], rest_line)
    while after[0].text in (")", ";"):
        after.pop(0)
    settings = JSSettings([*before, *after])
    network = network_from_json(_read_json(body, line), line)
    return _combine(settings, network, label, line)


def _refuse_what_is_no_code(text: str) -> None:
    if conflict := CONFLICT.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        raise ConvNetJSError(line, f"{conflict.group()} is a merge conflict's mark; resolve it and save the file again")
    if html := HTML.match(text):
        raise ConvNetJSError(
            text.count("\n", 0, html.start(1)) + 1, "this is a web page, not a submission; save the code in its editor"
        )
    if not text.strip():
        raise ConvNetJSError(1, "the file is empty")


def _weights_text(text: str, start: int, line: int) -> tuple[str, int]:
    """The JSON object from `start` on, up to the brace that closes it, and the line of that brace."""
    depth, quoted = 0, False
    for match in re.compile(r'[{}\[\]"\\]').finditer(text, start):
        mark = match.group()
        if mark == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif mark in "{[":
            depth += 1
        elif mark in "}]":
            depth -= 1
        if depth > MAX_DEPTH:
            raise ConvNetJSError(line, f"the weights are nested more than {MAX_DEPTH} deep")
        if depth <= 0 and not quoted:
            return text[start : match.end()], line + text.count("\n", start, match.end())
    raise ConvNetJSError(line, "the weights break off: brain.value_net.fromJSON({...}) is never closed")


def _read_json(body: str, line: int) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise ConvNetJSError(line, f"the weights hold {constant}, which is not a number; train again")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) < len(pairs):
            raise ConvNetJSError(line, "the weights name a key twice in one object; save them again from the game")
        return record

    try:
        return json.loads(body, parse_constant=refuse, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        place = line + error.lineno - 1
        raise ConvNetJSError(place, f"the weights are not valid JSON: {error.msg} at column {error.colno}") from None


# --- weights ------------------------------------------------------------------------------------------------------


def network_from_json(record: Any, line: int = 1) -> Network:
    """Return the network that ConvNetJS's `Net.fromJSON` would build from this object."""
    try:
        return _NetworkReader(record).read()
    except ConvNetJSError:
        raise
    except ValueError as error:
        raise ConvNetJSError(line, f"the weights: {error}") from None


class _NetworkReader:
    def __init__(self, record: Any) -> None:
        layers = record.get("layers") if isinstance(record, dict) else None
        if not isinstance(layers, list) or not 2 <= len(layers) <= 200:
            raise ValueError("no list `layers` of 2 to 200 layers")
        self.records = layers
        self.layers: list[Layer] = []
        self.tensors: Tensors = {}
        self.shape: tuple[int, ...] = (1, 1, 1)  # rows, columns, channels of the value before
        self.flat = True
        self.empty = False  # a window larger than the value before it gave no value at all

    def read(self) -> Network:
        inputs = 0
        for number, record in enumerate(self.records):
            if not isinstance(record, dict):
                raise ValueError(f"layer {number} is not an object")
            kind = record.get("layer_type")
            if (number == 0) != (kind == "input"):
                raise ValueError(f"layer {number} is of type {kind!r:.40}; the first, and it alone, must be the input")
            if kind == "input":
                self.shape = tuple(whole(record, key) for key in ("out_sy", "out_sx", "out_depth"))
                inputs = math.prod(self.shape)
            else:
                self.where = f"layer {number} ({kind!s:.20})"
                self.add(str(kind), record)
                self.check_outputs(record)
        return Network(inputs, tuple(self.layers), self.tensors)

    def add(self, kind: str, record: dict[str, Any]) -> None:
        simple: dict[str, Layer] = {
            "relu": v.Relu(),
            "sigmoid": v.Sigmoid(),
            "tanh": v.Tanh(form="convnetjs"),
        }
        if kind in simple:
            self.append(simple[kind])
        elif kind == "fc":
            self.fully_connected(record)
        elif kind == "conv":
            self.convolution(record)
        elif kind == "pool":
            self.pooling(record)
        elif kind == "maxout":
            self.maxout(record)
        elif kind == "dropout":
            self.append(v.Dropout(factor=real(record, "drop_prob")))
        elif kind == "lrn":
            self.as_image()
            k, alpha, beta = (real(record, key) for key in ("k", "alpha", "beta"))
            self.append(v.Lrn(n=whole(record, "n"), k=k, alpha=alpha, beta=beta))
        elif kind == "softmax":
            self.as_vector()
            self.append(v.Softmax())
        elif kind in ("regression", "svm"):
            self.as_vector()
        else:
            raise ValueError(f"{self.where}: no layer of the original library")

    def append(self, layer: Layer, **tensors: NDArray[np.float64]) -> None:
        self.layers.append(layer)
        for name, tensor in tensors.items():
            self.tensors[f"{len(self.layers)}.{name}"] = tensor

    def as_vector(self) -> None:
        if not self.flat:
            self.append(v.Flatten())
        self.flat = True
        self.shape = (1, 1, math.prod(self.shape))

    def as_image(self) -> None:
        if self.flat and self.shape[:2] != (1, 1):
            self.append(v.Reshape(shape=self.shape))
            self.flat = False

    def fully_connected(self, record: dict[str, Any]) -> None:
        self.as_vector()
        inputs, outputs = 0 if self.empty else self.shape[2], whole(record, "out_depth")
        weight = self.filters(record, outputs, (1, 1, inputs)).reshape(outputs, inputs)
        if self.empty:
            weight, self.empty = (
                np.zeros((outputs, 1)),
                False,
            )  # of the one value that stands for none: the bias is left
        self.append(v.Dense(outputs=outputs), weight=weight, bias=self.biases(record, outputs))
        self.shape = (1, 1, outputs)

    def window(self, record: dict[str, Any]) -> dict[str, Any]:
        size, pad = (whole(record, "sy"), whole(record, "sx")), whole(record, "pad", 0)
        stride = whole(record, "stride")
        if stride == 0:
            raise ValueError(f"{self.where} has stride 0")
        return {"kernel": size, "stride": (stride, stride), "padding": (pad, pad)}

    def convolution(self, record: dict[str, Any]) -> None:
        if self.swallowed(record, whole(record, "out_depth")):
            return
        if self.flat:
            self.append(v.Reshape(shape=self.shape))
            self.flat = False
        filters, window = whole(record, "out_depth"), self.window(record)
        weight = self.filters(record, filters, (*window["kernel"], self.shape[2]))
        self.append(v.Conv2d(filters=filters, **window), weight=weight, bias=self.biases(record, filters))
        self.after_window(window, filters)

    def pooling(self, record: dict[str, Any]) -> None:
        if self.swallowed(record, self.shape[2]):
            return
        if self.flat:
            self.append(v.Reshape(shape=self.shape))
            self.flat = False
        window = self.window(record)
        self.append(v.MaxPool(floor=FLOOR, **window))
        self.after_window(window, self.shape[2])

    def swallowed(self, record: dict[str, Any], channels: int) -> bool:
        """Whether the window does not fit into the value: the library then gives no value, or zeros.

        It computes 0 rows and columns, or a negative number of each, whose product is a count of values never written.
        """
        rows, columns = self.sides(self.window(record))
        if rows > 0 and columns > 0:
            return False
        if rows * columns < 0:
            raise ValueError(f"{self.where} has {rows} rows and {columns} columns, which the library cannot hold")
        self.as_vector()
        count = max(1, rows * columns * channels)
        self.append(v.Dense(outputs=count), weight=np.zeros((count, self.shape[2])), bias=np.zeros(count))
        self.shape, self.empty = (1, 1, count), rows * columns == 0
        return True

    def sides(self, window: dict[str, Any]) -> list[int]:
        """Rows and columns of windows, floor((n + 2 * pad - size) / stride + 1)."""
        sizes = zip(self.shape[:2], window["kernel"], window["stride"], window["padding"], strict=True)
        return [(n + 2 * p - k) // s + 1 for n, k, s, p in sizes]

    def after_window(self, window: dict[str, Any], channels: int) -> None:
        rows, columns = self.sides(window)
        self.shape = (rows, columns, channels)

    def maxout(self, record: dict[str, Any]) -> None:
        group = whole(record, "group_size")
        self.append(v.Maxout(group=group))
        self.shape = (*self.shape[:2], self.shape[2] // group)

    def check_outputs(self, record: dict[str, Any]) -> None:
        now = zip(("out_sy", "out_sx", "out_depth"), self.shape, strict=True)
        said = math.prod(real(record, key) if key in record else side for key, side in now)
        given = 0 if self.empty else math.prod(self.shape)
        if said != given:
            raise ValueError(f"{self.where} declares {said:g} outputs, but has {given}")

    def filters(self, record: dict[str, Any], count: int, shape: tuple[int, int, int]) -> NDArray[np.float64]:
        found = record.get("filters")
        if not isinstance(found, list) or len(found) != count:
            have = len(found) if isinstance(found, list) else "no"
            raise ValueError(f"{self.where} has {have} filters for {count} outputs")
        if count * math.prod(shape) > MAX_VOL * 4:
            raise ValueError(f"{self.where} has {count * math.prod(shape)} weights; at most {MAX_VOL * 4}")
        return np.array([self.vol(f, math.prod(shape)) for f in found]).reshape(count, *shape)

    def biases(self, record: dict[str, Any], count: int) -> NDArray[np.float64]:
        return self.vol(record.get("biases"), count)

    def vol(self, record: Any, count: int) -> NDArray[np.float64]:
        """The values of a Vol: `w` is a list, or an object from index strings to values in any order.

        A value that was not finite when it was saved is stored as null, which the library reads as 0.
        """
        numbers = record.get("w") if isinstance(record, dict) else None
        if isinstance(numbers, dict):
            try:
                numbers = [numbers[str(i)] for i in range(len(numbers))]
            except KeyError as missing:
                raise ValueError(f"{self.where} lacks weight {missing}") from None
        if not isinstance(numbers, list) or len(numbers) != count:
            have = len(numbers) if isinstance(numbers, list) else "no"
            raise ValueError(f"{self.where} must have {count} weights, got {have}: the sizes do not agree")
        numbers = [0.0 if n is None else n for n in numbers]
        if not all(is_number(n) for n in numbers):
            raise ValueError(f"{self.where} holds a weight that is not a number")
        values = np.array(numbers, np.float64)
        if not np.isfinite(values).all():
            raise ValueError(f"{self.where} holds a weight that is not finite")
        return values


def whole(record: dict[str, Any], key: str, default: int | None = None) -> int:
    """Entry `key`, an integer in [0, MAX_VOL]."""
    value: Any = record.get(key, default)
    if not is_number(value) or value != int(value) or not 0 <= value <= MAX_VOL:
        raise ValueError(f"{key} must be an integer in [0, {MAX_VOL}], got {value!r:.40}")
    return int(value)


def real(record: dict[str, Any], key: str) -> float:
    """Entry `key`, a finite number."""
    value: Any = record.get(key)
    if not is_number(value) or not math.isfinite(value):
        raise ValueError(f"{key} must be a finite number, got {value!r:.40}")
    return float(value)


# --- settings -----------------------------------------------------------------------------------------------------


def _combine(settings: JSSettings, network: Network, label: str, weights_line: int) -> ConvNetJSFile:
    brain = settings.brain
    if brain is None:
        raise ConvNetJSError(
            weights_line, "no brain = new deepqlearn.Brain(num_inputs, num_actions, opt) before the weights"
        )
    if not settings.has_learn:
        raise ConvNetJSError(
            weights_line, "no learn = function (state, lastReward) {...}: the game has nothing to call"
        )
    limits = {"lanesSide": MAX_LANES - 1, "patchesAhead": MAX_ROWS, "patchesBehind": MAX_ROWS}
    sensor = Sensor(*(_setting(settings, name, limit) for name, limit in limits.items()))
    others = _setting(settings, "otherAgents", MAX_OTHER_AGENTS, 0)
    opt = brain.opt if isinstance(brain.opt, dict) else {}
    window = opt.get("temporal_window", DEFAULT_TEMPORAL_WINDOW)
    if not is_number(window) or window != int(window) or not 0 <= window <= 100:
        raise ConvNetJSError(brain.line, f"temporal_window must be an integer in [0, 100], got {window!r:.40}")
    if brain.num_inputs != sensor.size:
        raise ConvNetJSError(
            brain.line,
            f"the Brain is built for {brain.num_inputs!r:.40} inputs, but lanesSide={sensor.lanes_side}, "
            f"patchesAhead={sensor.patches_ahead} and patchesBehind={sensor.patches_behind} give {sensor.size}",
        )
    if brain.num_actions != ACTIONS:
        raise ConvNetJSError(brain.line, f"num_actions must be {ACTIONS}, got {brain.num_actions!r:.40}")
    _check_network(network, sensor, int(window), weights_line)
    made = settings.names.get("brain settings", {})  # set on the Brain once it was built
    random = _random_actions(opt | made, brain.line)
    return ConvNetJSFile(label, network, sensor, int(window), others, _facts(settings, opt), *random)


def _random_actions(opt: dict[str, Any], line: int) -> tuple[float, tuple[float, ...]]:
    """Return the probability of a random action while the Brain is evaluated, and the actions' probabilities."""
    epsilon, given = opt.get("epsilon_test_time", DEFAULT_EPSILON), opt.get("random_action_distribution", [])
    if not is_number(epsilon) or math.isnan(epsilon):
        raise ConvNetJSError(line, f"epsilon_test_time must be a number in [0, 1], got {epsilon!r:.40}")
    epsilon = float(min(1, max(0, epsilon)))  # the library compares it with a number in [0, 1)
    if epsilon == 0.0 or given == []:
        return epsilon, ()
    valid = isinstance(given, list) and len(given) == ACTIONS and all(is_number(x) and 0 <= x <= 1 for x in given)
    if not valid:
        raise ConvNetJSError(
            line, f"random_action_distribution must be {ACTIONS} probabilities, one per action, got {given!r:.60}"
        )
    return epsilon, tuple(float(x) for x in given)


def _setting(settings: JSSettings, name: str, limit: int, default: int | None = None) -> int:
    value = settings.names.get(name, default)
    if value is None:
        raise ConvNetJSError(1, f"{name} is not set, but the game needs it")
    if not is_number(value) or value != int(value) or not 0 <= value <= limit:
        raise ConvNetJSError(settings.lines[name], f"{name} must be an integer in [0, {limit}], got {value!r:.40}")
    return int(value)


def _check_network(network: Network, sensor: Sensor, window: int, line: int) -> None:
    expected = input_size(sensor, window)
    if network.inputs != expected:
        raise ConvNetJSError(
            line,
            f"the weights are for {network.inputs} inputs, but the settings (sensor of {sensor.size} cells, temporal "
            f"window {window}) give {expected}: code and weights are of different trainings",
        )
    if network.outputs != ACTIONS:
        raise ConvNetJSError(line, f"the network must have {ACTIONS} outputs, one per action, got {network.outputs}")


def _facts(settings: JSSettings, opt: dict[str, Any]) -> dict[str, Any]:
    """Settings that driving does not need: numbers and strings, by name."""
    facts: dict[str, Any] = {}
    if is_number(settings.names.get("trainIterations")):
        facts["trainIterations"] = settings.names["trainIterations"]
    for name, value in opt.items():
        if name == "tdtrainer_options" and isinstance(value, dict):
            facts |= {f"tdtrainer_options.{key}": x for key, x in value.items() if is_number(x) or isinstance(x, str)}
        elif is_number(value) and name != "temporal_window" and math.isfinite(value):
            facts[name] = value
        elif name == "random_action_distribution" and isinstance(value, list):
            facts[name] = [x for x in value if is_number(x)]
    return facts
