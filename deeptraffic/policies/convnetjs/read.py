"""The original game's files: read a submission, JavaScript text with ConvNetJS weights, as the policy that drove there.

    >>> submission = read_convnetjs(Path("net.js").read_text("utf-8"), "net")
    >>> evaluate_official(submission.policy(), other_agents=submission.other_agents)

The text is parsed (`parse.py`) and never executed: a bounded subset of it is evaluated (`evaluate.py`). It reads what
the game used: the settings that the code assigns, a `learn` that hands everything to the network, and the weights that
were loaded last, whose JSON brings its own layers. As in the game, a network may read only the first of the inputs that
the settings give, and only its first five outputs count.
"""

import json
import math
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from deeptraffic.policies import layers as v
from deeptraffic.policies.convnetjs.effects import BrainSettings
from deeptraffic.policies.convnetjs.evaluate import Script, evaluate
from deeptraffic.policies.convnetjs.parse import ConvNetJSError, parse
from deeptraffic.policies.convnetjs.values import UNDEFINED, JSObject, Unknown
from deeptraffic.policies.layer import MAX_VALUE, Layer, Tensors
from deeptraffic.policies.network import Network, all_finite
from deeptraffic.policies.network_policy import ACTIONS, NetworkPolicy, input_size
from deeptraffic.sim.rules import MAX_LANES_SIDE, MAX_OTHER_AGENTS, MAX_ROWS, Sensor

DEFAULT_TEMPORAL_WINDOW = 1.0  # of the library, where the file sets none
DEFAULT_EPSILON = 0.01  # of the library at test time, where the file sets none
FLOOR = -99999.0  # the library's pooling starts its search at this value
MAX_VOL = MAX_VALUE


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
    source = parse(text)
    script = evaluate(source.root)
    brain = _brain(script)
    network = _read_weights(brain, source.weights)
    return _combine(script, brain, network, label)


def _brain(script: Script) -> BrainSettings:
    """The Brain that the code builds, with weights; ConvNetJSError if there is none that can be known."""
    found = script.settings.get("brain")
    if isinstance(found, Unknown):
        raise ConvNetJSError(found.line, f"brain depends on {found.reason}")
    if script.brain is None:
        raise ConvNetJSError(
            script.lines.get("brain", 1), "no brain = new deepqlearn.Brain(num_inputs, num_actions, opt)"
        )
    if script.brain.unknown is not None:
        unknown = script.brain.unknown
        raise ConvNetJSError(unknown.line, f"how the Brain drives depends on {unknown.reason}")
    return script.brain


def _read_weights(brain: BrainSettings, texts: list[tuple[str, int]]) -> Network:
    """The network that the last call of fromJSON gave to the Brain."""
    given, line = brain.weights, brain.weights_line
    if given is None:
        raise ConvNetJSError(
            brain.line,
            "the Brain that is built here gets no weights: brain.value_net.fromJSON({...}) is missing; train in the "
            "game, then save",
        )
    if isinstance(given, JSObject) and given.unknown is None and isinstance(given.get("layers"), float):
        body, line = texts[int(given["layers"])]
        return network_from_json(_read_json(body, line), line)
    if unknown := _find_unknown(given):
        raise ConvNetJSError(unknown.line, f"the weights depend on {unknown.reason}; save them from the game")
    return network_from_json(given, line)


def _find_unknown(value: Any) -> Unknown | None:
    """The first unknown value inside a value that the code builds."""
    work, seen = [value], set()
    while work:
        value = work.pop()
        if isinstance(value, Unknown):
            return value
        if isinstance(value, list | dict) and id(value) not in seen:
            seen.add(id(value))
            unknown: Unknown | None = getattr(value, "unknown", None)
            if unknown is not None:
                return unknown
            work.extend(value.values() if isinstance(value, dict) else value)
    return None


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
    """Reader of ConvNetJS's JSON; plain enough for `deeptraffic/lab/javascript.py`, which translates it for a page."""

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
            weight, self.empty = np.zeros((outputs, 1)), False  # of the one value that stands for none: a bias is left
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
            places = [str(i) for i in range(len(numbers))]
            missing = [place for place in places if place not in numbers]
            if len(missing) > 0:
                raise ValueError(f"{self.where} lacks weight {missing[0]}")
            numbers = [numbers[place] for place in places]
        if not isinstance(numbers, list) or len(numbers) != count:
            have = len(numbers) if isinstance(numbers, list) else "no"
            raise ValueError(f"{self.where} must have {count} weights, got {have}: the sizes do not agree")
        numbers = [0.0 if n is None else n for n in numbers]
        if not all(is_number(n) for n in numbers):
            raise ValueError(f"{self.where} holds a weight that is not a number")
        values = np.array(numbers, float)
        if not all_finite(values):
            raise ValueError(f"{self.where} holds a weight that is not finite")
        return values


def whole(record: dict[str, Any], key: str, otherwise: int | None = None) -> int:
    """Entry `key`, an integer in [0, MAX_VOL]."""
    value: Any = record.get(key, otherwise)
    if not is_number(value) or not 0 <= value <= MAX_VOL or value != int(value):
        raise ValueError(f"{key} must be an integer in [0, {MAX_VOL}], got {value!r:.40}")
    return int(value)


def real(record: dict[str, Any], key: str) -> float:
    """Entry `key`, a finite number."""
    value: Any = record.get(key)
    if not is_number(value) or not math.isfinite(value):
        raise ValueError(f"{key} must be a finite number, got {value!r:.40}")
    return float(value)


def is_number(value: Any) -> bool:
    """Whether a value is a number (true and false are none here)."""
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- settings -----------------------------------------------------------------------------------------------------


def _combine(script: Script, brain: BrainSettings, network: Network, label: str) -> ConvNetJSFile:
    limits = {"lanesSide": MAX_LANES_SIDE, "patchesAhead": MAX_ROWS, "patchesBehind": MAX_ROWS}
    sensor = Sensor(*(_setting(script, name, limit) for name, limit in limits.items()))
    others = _setting(script, "otherAgents", MAX_OTHER_AGENTS, 0.0)
    given = brain.opt.get("temporal_window", UNDEFINED)
    window = _whole("temporal_window", given, 100, brain.line, DEFAULT_TEMPORAL_WINDOW)
    num_inputs = _whole("num_inputs", brain.num_inputs, MAX_VOL, brain.line)
    if num_inputs != sensor.size and network.inputs > sensor.size:  # of earlier inputs it scales the actions
        raise ConvNetJSError(
            brain.line,
            f"the Brain is built for {num_inputs} inputs, but lanesSide={sensor.lanes_side}, "
            f"patchesAhead={sensor.patches_ahead} and patchesBehind={sensor.patches_behind} give {sensor.size}",
        )
    if (actions := _whole("num_actions", brain.num_actions, MAX_VOL, brain.line)) != ACTIONS:
        raise ConvNetJSError(brain.line, f"num_actions must be {ACTIONS}, got {actions}")
    network = _fit(network, input_size(sensor, window), brain.weights_line)
    random = _random_actions(brain.opt, brain.line)
    return ConvNetJSFile(label, network, sensor, window, others, _facts(script, brain.opt), *random)


def _setting(script: Script, name: str, limit: int, default: Any = UNDEFINED) -> int:
    value = script.settings.get(name, UNDEFINED)
    if value is UNDEFINED and default is UNDEFINED:
        raise ConvNetJSError(script.lines.get(name, 1), f"{name} is not set, but the game needs it")
    return _whole(name, value, limit, script.lines.get(name, 1), default)


def _whole(name: str, value: Any, limit: int, line: int, default: Any = UNDEFINED) -> int:
    """A setting that is an integer in [0, limit]."""
    value = _known(name, value, default)
    if not is_number(value) or not 0 <= value <= limit or value != int(value):
        raise ConvNetJSError(line, f"{name} must be an integer in [0, {limit}], got {_shown(value)}")
    return int(value)


def _known(name: str, value: Any, default: Any = UNDEFINED) -> Any:
    """A setting's value, the default for undefined; ConvNetJSError where it is computed from what is not evaluated."""
    if isinstance(value, Unknown):
        raise ConvNetJSError(value.line, f"{name} depends on {value.reason}; write its value")
    return default if value is UNDEFINED else value


def _shown(value: Any) -> str:
    """A value of the code as an error message shows it."""
    if value is UNDEFINED:
        return "undefined"
    return f"{int(value)}" if is_number(value) and float(value).is_integer() else f"{value!r:.40}"


def _fit(network: Network, given: int, line: int) -> Network:
    """The network on all given inputs, of which it may read the first alone, and with one output per action."""
    layers, tensors = network.layers, network.tensors
    if network.inputs > given:
        raise ConvNetJSError(
            line,
            f"the weights are for {network.inputs} inputs, but the settings give {given}: code and weights are of "
            "different trainings",
        )
    if network.outputs < ACTIONS:
        raise ConvNetJSError(line, f"the network must have {ACTIONS} outputs, one per action, got {network.outputs}")
    if network.inputs < given:
        if layers[0].kind != "dense":
            raise ConvNetJSError(
                line,
                f"the weights are for {network.inputs} of {given} inputs, which only a fully connected layer reads; "
                f"the first is {layers[0].kind}",
            )
        layers = (v.Slice(start=0, stop=network.inputs), *layers)
        numbers = ((name.split("."), tensor) for name, tensor in tensors.items())
        tensors = {f"{int(number) + 1}.{name}": tensor for (number, name), tensor in numbers}
    if network.outputs > ACTIONS:
        layers = (*layers, v.Slice(start=0, stop=ACTIONS))
    try:
        return Network(given, layers, tensors)
    except ValueError as error:
        raise ConvNetJSError(line, f"the weights: {error}") from None


def _random_actions(opt: JSObject, line: int) -> tuple[float, tuple[float, ...]]:
    """Return the probability of a random action while the Brain is evaluated, and the actions' probabilities."""
    epsilon = _known("epsilon_test_time", opt.get("epsilon_test_time", UNDEFINED), DEFAULT_EPSILON)
    if not is_number(epsilon) or math.isnan(epsilon):
        raise ConvNetJSError(line, f"epsilon_test_time must be a number in [0, 1], got {_shown(epsilon)}")
    epsilon = float(min(1, max(0, epsilon)))  # the library compares it with a number in [0, 1)
    given = opt.get("random_action_distribution", UNDEFINED)
    if epsilon == 0.0 or given is UNDEFINED or given == []:
        return epsilon, ()
    if unknown := _find_unknown(given):
        raise ConvNetJSError(unknown.line, f"random_action_distribution depends on {unknown.reason}; write its value")
    valid = isinstance(given, list) and len(given) == ACTIONS and all(is_number(x) and 0 <= x <= 1 for x in given)
    if not valid:
        raise ConvNetJSError(
            line, f"random_action_distribution must be {ACTIONS} probabilities, one per action, got {given!r:.60}"
        )
    return epsilon, tuple(float(x) for x in given)


def _facts(script: Script, opt: JSObject) -> dict[str, Any]:
    """Settings that driving does not need, by name: the numbers and strings among them that are known."""
    trainer = opt.get("tdtrainer_options")
    found: dict[str, Any] = {"trainIterations": script.settings.get("trainIterations")} | opt
    if isinstance(trainer, JSObject) and trainer.unknown is None:
        found |= {f"tdtrainer_options.{name}": value for name, value in trainer.items()}
    facts: dict[str, Any] = {}
    for name, value in found.items():
        if is_number(value) and math.isfinite(value) and name != "temporal_window":
            facts[name] = int(value) if value.is_integer() and abs(value) < 2**53 else value
        elif isinstance(value, str) and name.startswith("tdtrainer_options."):
            facts[name] = value
        elif name == "random_action_distribution" and isinstance(value, list):
            facts[name] = [x for x in value if is_number(x)]
    return facts
