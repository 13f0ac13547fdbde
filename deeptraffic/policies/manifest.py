"""Manifest of a policy file: everything about a policy but its weights, as JSON that is checked field by field.

    >>> manifest = read_manifest(text)                      # ValueError names the field, the value and the remedy
    >>> write_manifest(manifest)                            # the same text again

A field is a dataclass field that carries its limits, so that check, JSON form and `manifest.schema.json` (for readers
in other languages; `manifest_schema()` makes it) have one source. FORMAT.md documents the format.
"""

import json
import math
import re
from dataclasses import MISSING, Field, dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar, Literal, NoReturn

from deeptraffic.policies.base import EnvObservation
from deeptraffic.policies.layer import BIG, MAX_VALUE, Layer, check_keys, layer_from_json
from deeptraffic.policies.layers import LAYER_KINDS
from deeptraffic.policies.network import MAX_LAYERS
from deeptraffic.policies.network_policy import ACTIONS, MAX_SEED, input_size
from deeptraffic.settings import REQUIRED, check_value, choice, integer, real, reals
from deeptraffic.sim.rules import CONTESTS, MAX_LANES_SIDE, MAX_OTHER_AGENTS, MAX_ROWS, Sensor

FORMAT_VERSION = 1
MAX_FACTS = 64
MAX_FACT_TEXT = 1000  # [characters]
# No control characters and no marks that turn the direction of writing: a label is shown in terminals and web pages.
PRINTABLE = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028-\\u202e\\u2066-\\u2069]*$"
UTC_TIME = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"
FACT_NUMBER = {"type": "number", "minimum": -BIG, "maximum": BIG}
FACT_TEXT = {"type": "string", "maxLength": MAX_FACT_TEXT, "pattern": PRINTABLE}
OPTIONS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "maxProperties": 32,
    "propertyNames": {"pattern": "^[a-z_]{1,32}$"},
    "additionalProperties": {
        "anyOf": [{"type": "string", "maxLength": 32, "pattern": PRINTABLE}, FACT_NUMBER, {"type": "boolean"}]
    },
}
FACTS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "maxProperties": MAX_FACTS,
    "propertyNames": {"minLength": 1, "maxLength": 64, "pattern": PRINTABLE},
    "additionalProperties": {
        "anyOf": [FACT_TEXT, FACT_NUMBER, {"type": "boolean"}, {"type": "array", "items": FACT_NUMBER, "maxItems": 64}]
    },
}


def text(limit: int, pattern: str = PRINTABLE, at_least: int = 0, default: Any = MISSING) -> Any:
    """A field that is a string of at_least to limit characters."""
    schema = {"type": "string", "minLength": at_least, "maxLength": limit, "pattern": pattern}
    return field(default=default, metadata={"schema": schema})


def _check(where: str, value: Any, schema: dict[str, Any]) -> Any:
    """As `check_value`, for strings and for options too."""
    if schema.get("type") == "object":
        return _check_options(where, value)
    return _check_text(where, value, schema) if schema.get("type") == "string" else check_value(where, value, schema)


def _check_options(where: str, value: Any) -> dict[str, Any]:
    """Return an object of options; ValueError unless it has the form of `OPTIONS_SCHEMA`."""
    if not isinstance(value, dict) or len(value) > OPTIONS_SCHEMA["maxProperties"]:
        raise ValueError(f"{where} must be an object of at most {OPTIONS_SCHEMA['maxProperties']} options")
    for name, option in value.items():
        if not isinstance(name, str) or not re.fullmatch(OPTIONS_SCHEMA["propertyNames"]["pattern"], name):
            raise ValueError(f"{where}: an option's name must be 1 to 32 small letters, got {name!r:.80}")
        if isinstance(option, str):
            _check_text(f"{where}.{name}", option, {"maxLength": 32, "pattern": PRINTABLE})
        elif not isinstance(option, bool):
            check_value(f"{where}.{name}", option, FACT_NUMBER)
    return dict(value)


def _check_text(where: str, value: Any, schema: dict[str, Any]) -> str:
    low, high = schema.get("minLength", 0), schema["maxLength"]
    if not isinstance(value, str) or not low <= len(value) <= high:
        raise ValueError(f"{where} must be a string of {low} to {high} characters, got {value!r:.80}")
    lone_surrogates = any("\ud800" <= character <= "\udfff" for character in value)
    if lone_surrogates or not re.fullmatch(schema["pattern"], value):
        wanted = "a time such as 2026-01-31T12:00:00Z" if UTC_TIME in schema["pattern"] else "printable characters"
        raise ValueError(f"{where} must be {wanted}, got {value!r:.80}")
    return value


@dataclass(frozen=True, kw_only=True)
class _Section:
    """An object of the manifest with flat fields."""

    where: ClassVar[str]

    def __post_init__(self) -> None:
        for f in fields(self):
            value = _check(f"{self.where}.{f.name}", getattr(self, f.name), f.metadata["schema"])
            object.__setattr__(self, f.name, value)

    def to_json(self) -> dict[str, Any]:
        """The object as it stands in the manifest, defaults included."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, kw_only=True)
class ObservationRecord(_Section):
    """What the network reads.

    kind: "vector", the sensor's cells; features computed from them, such as lane gaps, are layers of the network
    lanes_side, patches_ahead, patches_behind: the sensor
    temporal_window: T earlier decisions behind the present observation, as the original Brain stacks them
    """

    where: ClassVar[str] = "observation"

    kind: Literal["vector"] = choice("vector", "vector")
    lanes_side: int = integer(REQUIRED, 0, MAX_LANES_SIDE)
    patches_ahead: int = integer(REQUIRED, 0, MAX_ROWS)
    patches_behind: int = integer(REQUIRED, 0, MAX_ROWS)
    temporal_window: int = integer(0, 0, 100)

    @property
    def sensor(self) -> Sensor:
        """The window of cells."""
        return Sensor(self.lanes_side, self.patches_ahead, self.patches_behind)

    @property
    def inputs(self) -> int:
        """Size of the network's input."""
        return input_size(self.sensor, self.temporal_window)

    @property
    def observed(self) -> Sensor:
        """What a `NetworkPolicy` observes."""
        return self.sensor


@dataclass(frozen=True, kw_only=True)
class EnvObservationRecord(_Section):
    """What the network reads, where it is another observation of the environments than a sensor's cells.

    kind, options: of `deeptraffic.envs.observations`; an option is a string, an integer, a number or a boolean
    size: n, of the flat observation: of an image its rows, then columns, then channels; of a dict its parts by name
    temporal_window: T earlier decisions behind the present observation, each n values and the action taken
    """

    where: ClassVar[str] = "observation"

    kind: str = text(32, "^[a-z_]+$", 1)
    options: dict[str, Any] = field(metadata={"schema": OPTIONS_SCHEMA})
    size: int = integer(REQUIRED, 1, MAX_VALUE)
    temporal_window: int = integer(0, 0, 100)

    @property
    def sensor(self) -> Sensor:
        """The window of cells that it is computed from."""
        return self.observed.sensor

    @property
    def inputs(self) -> int:
        """Size of the network's input."""
        return input_size(self.observed, self.temporal_window)

    @property
    def observed(self) -> EnvObservation:
        """What a `NetworkPolicy` observes."""
        return EnvObservation(self.kind, self.options, self.size)


@dataclass(frozen=True, kw_only=True)
class ActionRecord(_Section):
    """How outputs become an action.

    rule: "argmax", the first of the largest outputs; "sample", drawn with the softmax of the outputs as probabilities
    seed: of the draws of "sample"; 0 with argmax
    """

    where: ClassVar[str] = "action"

    rule: Literal["argmax", "sample"] = choice("argmax", "argmax", "sample")
    seed: int = integer(0, 0, MAX_SEED)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rule == "argmax" and self.seed != 0:
            raise ValueError(f"action.seed must be 0 with the rule argmax, got {self.seed}; or use the rule sample")


@dataclass(frozen=True, kw_only=True)
class PolicyManifest:
    """Everything about a policy but its weights.

    format_version: of the policy file
    rules: the contest it was made for, 2017 or 2018; other_agents: copies that it drove with
    observation, layers, action: what the network reads, its layers, and how its outputs become an action
    epsilon: probability with which a random action replaces the network's, as a Brain's `epsilon_test_time`
    random_actions: probabilities of the five random actions; () for equal ones
    label, author: what tables call it, and who made it
    training: facts by name: strings, numbers, booleans, lists of numbers
    created: UTC, such as 2026-01-31T12:00:00Z; empty if unknown

    Raises ValueError with the field, its value and the limit.
    """

    format_version: int = integer(FORMAT_VERSION, 1, FORMAT_VERSION)
    rules: int = choice(2018, *sorted(CONTESTS))
    other_agents: int = integer(0, 0, MAX_OTHER_AGENTS)
    observation: ObservationRecord | EnvObservationRecord = field(metadata={"section": ObservationRecord})
    layers: tuple[Layer, ...] = field(metadata={"section": Layer})
    action: ActionRecord = field(default=ActionRecord(), metadata={"section": ActionRecord})
    epsilon: float = real(0.0, 0.0, 1.0)
    random_actions: tuple[float, ...] = reals((), 0.0, 1.0, 0, ACTIONS)
    label: str = text(100, at_least=1)
    author: str = text(100, default="")
    training: dict[str, Any] = field(default_factory=dict, metadata={"facts": True})
    created: str = text(20, pattern=f"{UTC_TIME}|^$", default="")

    def __post_init__(self) -> None:
        for f in fields(self):
            if "schema" in f.metadata:
                object.__setattr__(self, f.name, _check(f.name, getattr(self, f.name), f.metadata["schema"]))
        records = (ObservationRecord, EnvObservationRecord)
        if not isinstance(self.observation, records) or not isinstance(self.action, ActionRecord):
            raise ValueError("observation must be an ObservationRecord or EnvObservationRecord, action an ActionRecord")
        object.__setattr__(self, "layers", tuple(self.layers))
        if not 1 <= len(self.layers) <= MAX_LAYERS or not all(isinstance(layer, Layer) for layer in self.layers):
            raise ValueError(f"layers must be 1 to {MAX_LAYERS} layers, got {len(self.layers)}")
        if self.rules == 2017 and self.other_agents:
            raise ValueError(f"other_agents must be 0 with the 2017 rules, got {self.other_agents}")
        if isinstance(self.observation, ObservationRecord) and self.observation.sensor.length == 0:
            raise ValueError("observation: patches_ahead=0 and patches_behind=0 see nothing; raise one of them")
        if len(self.random_actions) not in (0, ACTIONS):
            raise ValueError(f"random_actions must be {ACTIONS} probabilities or none, got {len(self.random_actions)}")
        object.__setattr__(self, "training", dict(check_facts(self.training)))
        _check_time(self.created)

    @property
    def access(self) -> str:
        """Whether an entrant of the contests could know what it sees: "contest", or "open" beyond 3 lanes a side."""
        return "contest" if self.observation.observed.contest else "open"

    def to_json(self) -> dict[str, Any]:
        """The manifest as a JSON object."""
        record = {f.name: getattr(self, f.name) for f in fields(self)}
        return record | {
            "observation": self.observation.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
            "action": self.action.to_json(),
            "random_actions": list(self.random_actions),
        }


def _check_time(value: str) -> None:
    if value:
        try:
            datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"created={value!r} is not a valid time ({error})") from None


def check_facts(facts: Any) -> dict[str, Any]:
    """Return facts about a training, or raise ValueError naming the one that a manifest cannot hold."""
    if not isinstance(facts, dict) or len(facts) > MAX_FACTS:
        raise ValueError(f"training must be an object of at most {MAX_FACTS} facts")
    for name, value in facts.items():
        _check_text("training: name of a fact", name, {"minLength": 1, "maxLength": 64, "pattern": PRINTABLE})
        where = f"training.{name}"
        if isinstance(value, str):
            _check_text(where, value, FACT_TEXT)
        elif isinstance(value, list) and len(value) <= 64:
            for number in value:
                check_value(where, number, FACT_NUMBER)
        elif not isinstance(value, bool | int | float):
            raise ValueError(
                f"{where} must be a string, number, boolean or list of up to 64 numbers, got {value!r:.80}"
            )
        elif not isinstance(value, bool):
            check_value(where, value, FACT_NUMBER)
    return facts


# --- text ---------------------------------------------------------------------------------------------------------


def read_json(source: str, what: str) -> Any:
    """Parse JSON strictly: duplicate keys, NaN, Infinity, huge numbers and deep nesting are a ValueError."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{what} holds {constant}, which is not JSON")

    def finite(digits: str) -> float:
        value = float(digits)
        if not math.isfinite(value):
            raise ValueError(f"{what} holds the number {digits:.40}, which is out of range")
        return value

    def parse_integer(digits: str) -> int:
        if len(digits) > 400:
            raise ValueError(f"{what} holds an integer of {len(digits)} digits")
        return int(digits)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = {}
        for name, value in pairs:
            if name in record:
                raise ValueError(f"{what} holds the key {name!r:.80} twice in one object")
            record[name] = value
        return record

    try:
        return json.loads(
            source, parse_constant=refuse, parse_float=finite, parse_int=parse_integer, object_pairs_hook=unique
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"{what} is not valid JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ValueError(f"{what} is nested too deeply") from None


def read_manifest(source: str) -> PolicyManifest:
    """Return the manifest in a JSON text; ValueError names the fault."""
    record = read_json(source, "the manifest")
    if not isinstance(record, dict):
        raise ValueError(f"the manifest is {type(record).__name__}, not an object")
    version = record.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ValueError(f"format_version={version!r:.40}: this package reads up to {FORMAT_VERSION}; update it")
    known: dict[str, Field] = {f.name: f for f in fields(PolicyManifest)}
    for name in ("format_version", "rules", "other_agents", "action"):
        if name not in record:
            raise ValueError(f"the manifest: {name} is missing")
    check_keys("the manifest", record, known, set())
    sections = {
        "observation": _observation(record["observation"]),
        "action": _section(ActionRecord, record["action"]),
        "layers": _layers(record["layers"]),
    }
    return PolicyManifest(**(record | sections))


def _observation(record: Any) -> _Section:
    """Return the record of the observation: the one with options, or a sensor's."""
    has_options = isinstance(record, dict) and "options" in record
    return _section(EnvObservationRecord if has_options else ObservationRecord, record)


def _section(kind: type[_Section], record: Any) -> _Section:
    if not isinstance(record, dict):
        raise ValueError(f"{kind.where} is {type(record).__name__}, not an object")
    check_keys(kind.where, record, {f.name: f for f in fields(kind)}, set())
    return kind(**record)


def _layers(records: Any) -> tuple[Layer, ...]:
    if not isinstance(records, list) or not 1 <= len(records) <= MAX_LAYERS:
        raise ValueError(f"layers must be a list of 1 to {MAX_LAYERS} layers")
    return tuple(layer_from_json(record, LAYER_KINDS, f"layers[{i}]") for i, record in enumerate(records))


def write_manifest(manifest: PolicyManifest) -> str:
    """Return the manifest as compact JSON in ASCII; a policy without random actions is written without their fields."""
    record = manifest.to_json()
    for name in ("epsilon", "random_actions"):
        if not record[name]:
            del record[name]
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


# --- schema -------------------------------------------------------------------------------------------------------


def manifest_schema() -> dict[str, Any]:
    """Return the JSON schema of a manifest, what `manifest.schema.json` holds."""
    layers = {name: _object_schema(kind, {"type": {"const": name}}) for name, kind in sorted(LAYER_KINDS.items())}
    choices = [{"$ref": f"#/$defs/{name}"} for name in layers]
    sections = {
        "observation": {"oneOf": [_object_schema(ObservationRecord), _object_schema(EnvObservationRecord)]},
        "action": _object_schema(ActionRecord),
        "layers": {"type": "array", "minItems": 1, "maxItems": MAX_LAYERS, "items": {"oneOf": choices}},
        "training": FACTS_SCHEMA,
    }
    body = _object_schema(PolicyManifest, sections)
    body["required"] = sorted({*body["required"], "format_version", "rules", "other_agents", "action"} - {"training"})
    title = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Manifest of a DeepTraffic policy"}
    return title | body | {"$defs": layers}


def _object_schema(kind: Any, given: dict[str, Any] | None = None) -> dict[str, Any]:
    properties = dict(given or {})
    required = list(properties)
    for f in fields(kind):
        if f.name not in properties:
            schema = dict(f.metadata["schema"])
            properties[f.name] = schema if f.default is MISSING else schema | {"default": f.default}
            if f.default is MISSING:
                required.append(f.name)
    description = (kind.__doc__ or "").splitlines()[0]
    return {
        "description": description,
        "type": "object",
        "properties": properties,
        "required": sorted(required),
        "additionalProperties": False,
    }
