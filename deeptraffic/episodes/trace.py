"""Episode traces: files of a few kilobytes from which an episode is replayed exactly.

A trace holds no images, but the inputs of the simulation: the rules, the state that the reset depends on, and the
actions of all agents. Recorder, viewer and the web page's tracks re-simulate it (`Episode.replay`).

File format, version 1: a NumPy .npz archive (a zip of .npy arrays, no pickles), conventionally named *.trace, of

meta: () str, JSON with
    format "deeptraffic-trace", version 1
    rules: all fields of `Rules`
    start: stream (the random stream's state before the reset), run (the reset number) and action (the pending action
        before the reset, which the 2017 rules carry over)
    frames, label (name of the policy)
    sensor: lanes_side, patches_ahead and patches_behind of the policy; null if unknown
    checksum: CRC-32 of the float64 positions x (N,), y (N,) at frames 10, 20, ..., in order
actions: (D,) uint8, the decisions 0..4 of all agents in the order in which they are due: the ego car's where
    frame % decision_period is 0, agent i's where it is i * agent_stagger
checks: (K, N, 2) int16, x and y [px], rounded, at the ends of frames 10, 20, ...; each as the difference to the
    previous one, which compresses better
"""

import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.run_dir import whole_file
from deeptraffic.settings import check_integer, check_real
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.random import MODULUS, open_run_streams
from deeptraffic.sim.rules import Action, RoadConfig, Rules, Sensor

FORMAT, VERSION = "deeptraffic-trace", 1
CHECK_FRAMES = 10
MAX_FRAMES = 1_000_000
MAX_LABEL = 200  # [letters]
MAX_BYTES = 64 * 1024 * 1024  # of a file and of what it unpacks to
FAR_AWAY = 32000.0  # [px] positions are clipped to this


class TraceError(ValueError):
    """A trace cannot be read or replayed; the message gives the reason and a remedy."""


class Start(NamedTuple):
    """Initial conditions of an episode.

    stream: state of the random stream before the reset, 1..2147483646
    run: the reset number
    action: the pending action before the reset
    """

    stream: int
    run: int
    action: int = int(Action.NOTHING)

    @classmethod
    def open(cls, seed: int) -> "Start":
        """Return the start of an open run."""
        return cls(*open_run_streams(seed))

    @classmethod
    def official(cls, rules: Rules) -> "Start":
        """Return the start of the first official run; later ones depend on the actions in those before."""
        sim = Simulator(rules, 1, threads=1)
        sim.start_program(1)
        return cls(int(sim.state.rng[0]), 1)

    @classmethod
    def of(cls, sim: Simulator, run: int, env_index: int = 0) -> "Start":
        """Return the start of the episode that `sim.reset(run, env_index)` would now begin."""
        return cls(int(sim.state.rng[env_index]), run, int(sim.state.action[env_index]))

    def reset(self, sim: Simulator, env_index: int = 0) -> None:
        """Start this episode in one env of a simulator."""
        sim.state.rng[env_index] = self.stream
        sim.state.action[env_index] = self.action
        sim.reset(self.run, [env_index])


class Trace(NamedTuple):
    """A recorded episode; fields as in the file, `checks` (K, N, 2) int16 as positions [px]."""

    rules: Rules
    start: Start
    frames: int
    actions: NDArray[np.uint8]
    checks: NDArray[np.int16]
    checksum: int
    label: str
    sensor: Sensor | None = None

    def save(self, path: str | Path) -> Path:
        """Write the file; return its path."""
        path = Path(path)
        meta = {
            "format": FORMAT,
            "version": VERSION,
            "rules": self.rules._asdict(),
            "start": self.start._asdict(),
            "frames": self.frames,
            "label": self.label[:MAX_LABEL],
            "sensor": None if self.sensor is None else self.sensor._asdict(),
            "checksum": self.checksum,
        }
        steps = np.diff(self.checks, axis=0, prepend=np.zeros((1, *self.checks.shape[1:]), np.int16))
        with whole_file(path) as unfinished, unfinished.open("wb") as file:
            text = np.array(json.dumps(meta, separators=(",", ":")))
            np.savez_compressed(file, meta=text, actions=self.actions, checks=steps.astype(np.int16))
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Trace":
        """Read an untrusted file; raise TraceError if it is not a valid trace."""
        path = Path(path)
        try:
            meta, actions, steps = _read(path)
            return _build(meta, actions, steps)
        except TraceError as error:
            raise TraceError(f"{path.name}: {error}") from error
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            raise TraceError(f"{path.name} is not a readable trace ({error}); record it again") from error


def is_trace(path: str | Path) -> bool:
    """Whether a file has the members of a trace; reads only the archive's directory."""
    path = Path(path)
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return {"meta.npy", "actions.npy", "checks.npy"} <= set(archive.namelist())


def rounded_positions(scene: np.void) -> NDArray[np.int16]:
    """Return x and y of all vehicles in the checks' format, (N, 2) int16 [px]."""
    positions = np.stack([scene["x"], scene["y"]], axis=1)
    return np.rint(np.nan_to_num(positions, nan=FAR_AWAY).clip(-FAR_AWAY, FAR_AWAY)).astype(np.int16)


def _read(path: Path) -> tuple[dict[str, Any], NDArray[Any], NDArray[Any]]:
    """Return the members of the archive after a check of their sizes."""
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
            raise TraceError(f"unpacks to more than {MAX_BYTES >> 20} MiB, the limit of a trace")
    with np.load(path, allow_pickle=False) as arrays:
        return json.loads(str(arrays["meta"])), arrays["actions"], arrays["checks"]


def _build(meta: dict[str, Any], actions: NDArray[Any], steps: NDArray[Any]) -> Trace:
    if meta.get("format") != FORMAT or meta.get("version") != VERSION:
        raise TraceError(f"is not of format {FORMAT} version {VERSION}; record it again with this version")
    rules = rules_from_json(meta["rules"])
    start = Start(*(check_integer(name, meta["start"][name], low, high) for name, low, high in _START_LIMITS))
    frames = check_integer("frames", meta["frames"], 1, MAX_FRAMES)
    if actions.dtype != np.uint8 or actions.ndim != 1 or (actions > max(Action)).any():
        raise TraceError(f"actions are {actions.dtype} {actions.shape}, or not in 0..4; record it again")
    if steps.dtype != np.int16 or steps.shape != (frames // CHECK_FRAMES, rules.vehicles, 2):
        raise TraceError(f"checks are {steps.dtype} {steps.shape}, which does not fit {frames} frames; record it again")
    checks = np.cumsum(steps, axis=0, dtype=np.int16)
    label, checksum = str(meta["label"])[:MAX_LABEL], check_integer("checksum", meta["checksum"], 0, 2**32 - 1)
    return Trace(rules, start, frames, actions, checks, checksum, label, _sensor(meta.get("sensor")))


_FREE_FIELDS = (
    "other_agents",
    "lanes",
    "vehicles",
    "rows",
    "decision_period",
    "traffic_factor_min",
    "traffic_factor_range",
)
_START_LIMITS = (("stream", 1, MODULUS - 1), ("run", 0, MODULUS - 1), ("action", 0, max(Action)))


def rules_from_json(record: dict[str, Any]) -> Rules:
    """Return `Rules` from an untrusted JSON record.

    Compiled code does not check them, so they must be those of a `RoadConfig`; raises TraceError for all others.
    """
    if set(record) != set(Rules._fields):
        odd = sorted(set(record) ^ set(Rules._fields))
        raise TraceError(f"rules have missing or unknown fields: {', '.join(odd)}; record it again with this version")
    try:
        threshold, slope = (check_real(name, record[name], 0, 1) for name in ("turn_threshold", "turn_slope"))
        config = RoadConfig(
            rules=record["year"],
            lane_change_rate=1.0 - threshold,
            **{name: record[name] for name in _FREE_FIELDS},
        )
        rules = config.build()._replace(turn_threshold=threshold, turn_slope=slope)
    except (ValueError, TypeError) as error:
        raise TraceError(f"rules are not possible: {error}") from error
    for name, value in rules._asdict().items():
        if type(record[name]) is not type(value) or record[name] != value:
            raise TraceError(f"rules.{name} must be {value!r} on this road, got {record[name]!r}")
    return rules


def _sensor(record: dict[str, Any] | None) -> Sensor | None:
    return None if record is None else Sensor(*(record[name] for name in Sensor._fields)).check()
