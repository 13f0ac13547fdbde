"""Every trace recorded from the published game, frame by frame: each value equal, bit for bit.

Bits are compared, so that -0.0 is not 0.0; only one NaN is as good as another, as in the game's own language.
A trace is checked by dropping its .npz into tests/golden.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.random import seed_stream
from deeptraffic.sim.rules import RoadConfig, Sensor
from deeptraffic.sim.state import NOBODY

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
TRACES = sorted(GOLDEN.glob("*.npz"))
EVERY_TRACE = pytest.mark.parametrize("path", TRACES, ids=[path.stem for path in TRACES])

VEHICLES = ("x", "y", "following_speed", "speed_factor", "lane")
PER_FRAME = (*VEHICLES, "scroll", "rng", "passed")
PER_DECISION = ("decision_frame", "decision_action", "decision_obs", "decision_reward")
SHORT = {
    **{"x": "x", "y": "y", "following_speed": "c", "speed_factor": "a", "lane": "lane"},
    **{"scroll": "E", "rng": "g", "passed": "passed"},
}
ARRAYS = {*PER_FRAME, *PER_DECISION, *(f"init_{name}" for name in VEHICLES)}
ONLY_2018 = {"seed"}
ONLY_2017 = {"pending_action", "rng_before_reset", "rng_after_reset"}
META = {"rules", "lanes_side", "patches_ahead", "patches_behind", "frames", "episodes", "policy"}
META_KNOWN = META | {"other_agents", "rng_seed"}
POLICY = re.compile(r"action = \(n\*(\d+)\+(\d+)\) % 5")


class Trace(NamedTuple):
    """A recorded file: its meta data and, per episode, its arrays by name."""

    name: str
    meta: dict[str, Any]
    episodes: list[dict[str, np.ndarray]]

    @property
    def is_2017(self) -> bool:
        return int(self.meta["rules"]) == 2017

    @property
    def other_agents(self) -> int:
        return self.meta.get("other_agents", 0)

    @property
    def sensor(self) -> Sensor:
        return Sensor(*(self.meta[name] for name in ("lanes_side", "patches_ahead", "patches_behind")))

    @property
    def program_seed(self) -> int:
        return self.meta.get("rng_seed", 1)


def load_trace(path: Path) -> Trace:
    """Read a trace and make sure that nothing in it would go unchecked."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}  # each access unpacks anew
    assert "meta" in arrays, f"{path.name} has no meta"
    meta = json.loads(str(arrays.pop("meta")))
    assert set(meta) >= META, f"{path.name}: meta lacks {sorted(META - set(meta))}"
    assert set(meta) <= META_KNOWN, f"{path.name}: nothing checks meta's {sorted(set(meta) - META_KNOWN)}"
    episodes = []
    for k in range(meta["episodes"]):
        prefix = f"ep{k}_"
        taken = [name for name in arrays if name.startswith(prefix)]
        episodes.append({name.removeprefix(prefix): arrays.pop(name) for name in taken})
    assert not arrays, f"{path.name}: nothing checks {sorted(arrays)}"
    trace = Trace(path.name, meta, episodes)
    expected = ARRAYS | (ONLY_2017 if trace.is_2017 else ONLY_2018)
    for k, episode in enumerate(episodes):
        assert set(episode) == expected, f"{path.name}, episode {k}: differs in {sorted(set(episode) ^ expected)}"
    return trace


def same(actual: Any, recorded: Any) -> bool:
    """Equal to the last bit, the sign of a zero included; only NaNs count as one."""
    return np.array_equal(bits(actual), bits(recorded))


def bits(values: Any) -> np.ndarray:
    """The values' 64 bits as float64, with the same bits for each NaN."""
    floats = np.array(values, np.float64)
    floats[np.isnan(floats)] = np.nan
    return floats.view(np.int64)


def planned_actions(trace: Trace) -> Iterator[int]:
    """The actions of the trace's policy, decision after decision, over all its episodes and agents."""
    match = POLICY.match(trace.meta["policy"])
    if match is None:  # another policy: what it did is recorded
        yield from (int(action) for episode in trace.episodes for action in episode["decision_action"])
        return
    factor, offset = map(int, match.groups())
    for n in range(sum(len(episode["decision_action"]) for episode in trace.episodes)):
        yield (n * factor + offset) % 5


# --- the simulator ----------------------------------------------------------------------------------------------------


class SimulatorReplay:
    """One trace driven through the simulator, with a note of where each comparison was made."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.sim = Simulator(RoadConfig(rules=int(trace.meta["rules"]), other_agents=trace.other_agents).build())
        self.actions = planned_actions(trace)
        self.where = trace.name

    def check(self, name: str, actual: Any, recorded: Any) -> None:
        assert same(actual, recorded), f"{self.where}: {name} is {actual!r}, recorded {recorded!r}"

    def run(self) -> None:
        self.sim.start_program(self.trace.program_seed)
        for k, episode in enumerate(self.trace.episodes):
            self.begin(k, episode)
            decisions = 0
            for frame in range(self.trace.meta["frames"]):
                self.where = f"{self.trace.name}, episode {k}, frame {frame}"
                decisions = self.frame(episode, frame, decisions)
            assert decisions == len(episode["decision_frame"]), f"{self.where}: {decisions} decisions"

    def begin(self, k: int, episode: dict[str, np.ndarray]) -> None:
        self.where = f"{self.trace.name}, reset of episode {k}"
        state = self.sim.state
        if self.trace.is_2017:
            self.check("rng before reset", state.rng[0], episode["rng_before_reset"])
        self.sim.reset(k + 1 if self.trace.is_2017 else int(episode["seed"]))
        if self.trace.is_2017:
            self.check("rng after reset", state.rng[0], episode["rng_after_reset"])
        for name in VEHICLES:
            self.check(name, getattr(state, name)[0], episode[f"init_{name}"])

    def frame(self, episode: dict[str, np.ndarray], frame: int, decisions: int) -> int:
        state = self.sim.state
        agent = int(self.sim.step_frame()[0])
        while agent != NOBODY:
            action = next(self.actions)
            self.check("decision frame", frame, episode["decision_frame"][decisions])
            self.check("action", action, episode["decision_action"][decisions])
            self.check("obs", self.sim.sense(self.trace.sensor, agent)[0], episode["decision_obs"][decisions])
            reward = state.reward[0] if agent == 0 else np.nan
            self.check("reward", reward, episode["decision_reward"][decisions])
            decisions += 1
            agent = int(self.sim.step_frame(action)[0])
        for name in PER_FRAME:
            self.check(name, getattr(state, name)[0], episode[name][frame])
        if self.trace.is_2017:
            self.check("pending action", state.action[0], episode["pending_action"][frame])
        return decisions


def test_golden_traces_are_there() -> None:
    assert TRACES, f"{GOLDEN} holds no .npz: the traces that judge the simulator are missing"


@EVERY_TRACE
def test_simulator_equals_golden_trace(path: Path) -> None:
    SimulatorReplay(load_trace(path)).run()


@EVERY_TRACE
def test_stepping_by_periods_meets_golden_decisions_of_the_ego_car(path: Path) -> None:
    trace = load_trace(path)
    sim = Simulator(RoadConfig(rules=int(trace.meta["rules"]), other_agents=trace.other_agents).build(), threads=1)
    sim.start_program(trace.program_seed)
    for k, episode in enumerate(trace.episodes):
        sim.reset(k + 1 if trace.is_2017 else int(episode["seed"]))
        is_ego = ~np.isnan(episode["decision_reward"])
        actions = period_actions(episode, is_ego, trace.other_agents)
        sim.step([0])
        for j, n in enumerate(np.flatnonzero(is_ego)):
            assert sim.state.frame[0] == episode["decision_frame"][n]
            assert same(sim.state.reward[0], episode["decision_reward"][n]), f"period {j}"
            assert same(sim.sense(trace.sensor)[0], episode["decision_obs"][n]), f"period {j}"
            if j + 1 < len(actions):
                sim.step(actions[j][None])
        finish_run(sim, actions[-1], trace.meta["frames"])  # the next reset goes on from this run's stream


def finish_run(sim: Simulator, actions: np.ndarray, frames: int) -> None:
    while sim.state.frame[0] < frames:
        sim.run_to_frame(frames, actions[max(sim.state.waiting[0], 0)])


def period_actions(episode: dict[str, np.ndarray], is_ego: np.ndarray, other_agents: int) -> np.ndarray:
    """(periods, A + 1) what each agent decides in each period; the last period may be cut before its end."""
    actions = np.zeros((int(is_ego.sum()), other_agents + 1), np.int64)
    first_frame = episode["decision_frame"][is_ego][0]
    for frame, action in zip(episode["decision_frame"], episode["decision_action"], strict=True):
        period, clock = divmod(int(frame - first_frame), 30)
        actions[period, clock // 3] = action
    return actions


# --- the second implementation, so that it may judge where no trace was recorded --------------------------------------


@EVERY_TRACE
def test_second_implementation_equals_golden_trace(path: Path, reference: ModuleType) -> None:
    trace = load_trace(path)
    replay_in_reference(trace, reference)


def replay_in_reference(trace: Trace, reference: ModuleType) -> None:
    road = reference.Road(is_2018=not trace.is_2017, other_agents=trace.other_agents)
    cars, speed_map, game = (array[0] for array in reference.make_world(road))
    actions = planned_actions(trace)
    reference.start_program(road, cars, game, seed_stream(trace.program_seed))
    for k, episode in enumerate(trace.episodes):
        reference.reset(road, cars, game, k + 1 if trace.is_2017 else int(episode["seed"]))
        decisions = 0
        for frame in range(trace.meta["frames"]):
            agent = reference.before_decision(road, cars, speed_map, game)
            if agent >= 0:
                obs = reference.sense(road, speed_map, cars[agent], *trace.sensor)
                reward = game["reward"] if agent == 0 else np.nan
                assert same(obs, episode["decision_obs"][decisions]), f"episode {k}, frame {frame}: obs"
                assert same(reward, episode["decision_reward"][decisions]), f"episode {k}, frame {frame}: reward"
                game["d"] = next(actions)
                decisions += 1
            reference.after_decision(road, cars, speed_map, game, agent)
            for name in PER_FRAME:
                value = cars[SHORT[name]] if name in VEHICLES else game[SHORT[name]]
                assert same(value, episode[name][frame]), f"episode {k}, frame {frame}: {name}"
        assert decisions == len(episode["decision_frame"])


# --- the reader of traces ---------------------------------------------------------------------------------------------


def spoil(path: Path, change: Callable[[dict[str, Any]], Any], to: Path) -> Path:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    change(arrays)
    np.savez(to, **arrays)
    return to


def without_frames(arrays: dict[str, Any]) -> None:
    meta = json.loads(str(arrays["meta"]))
    del meta["frames"]
    arrays["meta"] = np.array(json.dumps(meta))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda arrays: arrays.pop("meta"), "no meta"),
        (without_frames, "lacks.*frames"),
        (lambda arrays: arrays.pop("ep0_scroll"), "episode 0.*scroll"),
        (lambda arrays: arrays.update(ep0_wind=np.zeros(3)), "wind"),
        (lambda arrays: arrays.update(ep99_x=np.zeros(3)), "ep99_x"),
    ],
    ids=["no meta", "meta without frames", "array missing", "array unknown", "episode unknown"],
)
def test_incomplete_golden_file_is_refused(change: Callable[[dict], Any], complaint: str, tmp_path: Path) -> None:
    path = spoil(TRACES[0], change, tmp_path / "spoilt.npz")
    with pytest.raises(AssertionError, match=complaint):
        load_trace(path)


def test_one_wrong_bit_in_a_golden_trace_is_found(tmp_path: Path) -> None:
    def change(arrays: dict[str, Any]) -> None:
        arrays["ep0_y"][400, 7] = np.nextafter(arrays["ep0_y"][400, 7], 0.0)

    path = spoil(TRACES[-1], change, tmp_path / "spoilt.npz")
    with pytest.raises(AssertionError, match="episode 0, frame 400: y is"):
        SimulatorReplay(load_trace(path)).run()
