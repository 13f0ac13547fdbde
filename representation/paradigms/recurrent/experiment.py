"""Experiments with recurrent networks: hidden speeds, and driving under a sensor that loses frames.

    >>> policy = SequencePolicy(model, DEGRADED, "gru")               # model: an `ActionModel`
    >>> evaluate_open(policy, runs=1000).median_mph

The policy corrupts the contest's grid itself: the same frames are lost however many envs run side by side. Each
agent has a recurrent state of its own, reset when its run starts.

Letters in shapes: B envs, T decisions, n values of one step, S values of one state.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from matplotlib.axes import Axes
from numpy.typing import NDArray
from sklearn.metrics import root_mean_squared_error
from torch import Tensor

from deeptraffic.envs.observations import make_observation
from deeptraffic.envs.reward import mean_speed_mph
from deeptraffic.evaluation.play import PolicyRunner
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.evaluation.score import Score
from deeptraffic.figure import BLUE, GREY, ORANGE, empty_figure, style_axes
from deeptraffic.policies.base import Policy
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Action
from deeptraffic.sim.state import I64
from representation.comparison import NetworkComparison, Way
from representation.data.recording import Recording, RecordingConfig, record
from representation.data.sequences import (
    DEGRADED,
    FULL,
    LANES,
    NO_ACTION,
    SensorConfig,
    expert_actions,
    hidden_speeds,
    lane_features,
    sequence_inputs,
    step_inputs,
)
from representation.encoder import Encoder
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays, FitConfig, Trainable
from representation.paradigms.feedforward.model import DenseEncoder
from representation.paradigms.recurrent.model import RecurrentEncoder, StatefulEncoder
from representation.paradigms.recurrent.sequence_model import ActionModel, SpeedModel
from representation.plots import draw_bars, save_plot


class SequencePolicy(Policy):
    """Drives by the network's most likely action.

    Args:
        model: trained on rows (T, n) of this sensor
        sensor: the degraded sensor
        label: name in tables
        seed: of the frames that are lost
    """

    def __init__(self, model: ActionModel, sensor: SensorConfig, label: str, seed: int = 0) -> None:
        self.model, self.sensor_config, self.label, self.seed = model.eval().cpu(), sensor, label, seed
        self.observation = make_observation("grid")
        self.decisions = 0
        self.before: I64 = np.zeros(0, np.int64)
        self.memory = torch.zeros(0)

    def reset(self, agent_indices: I64) -> None:
        """Empty the memories of these agents."""
        missing = int(np.max(agent_indices, initial=-1)) + 1 - self.before.size
        if missing > 0:
            self.before = np.concatenate([self.before, np.zeros(missing, np.int64)])
            empty = self._empty(missing)
            self.memory = torch.cat([self.memory, empty]) if self.memory.numel() else empty
        self.before[agent_indices] = NO_ACTION
        self.memory[torch.from_numpy(agent_indices)] = self._empty(len(agent_indices))

    def act(self, obs: NDArray[np.floating], agent_indices: I64) -> I64:
        """Return the actions (B,) for grids (B, 4, H, L) of the agents with these indices (B,)."""
        draws = np.random.default_rng([self.seed, self.decisions]).random(self.before.size)[agent_indices]
        self.decisions += 1
        step = step_inputs(
            self.sensor_config, lane_features(obs), self.before[agent_indices], draws >= self.sensor_config.drop_rate
        )  # (B, n)
        with torch.no_grad():
            logits = self._answer(torch.from_numpy(step), torch.from_numpy(agent_indices))  # (B, 5)
        actions = logits.argmax(1).numpy().astype(np.int64)
        self.before[agent_indices] = actions
        return actions

    def _answer(self, step: Tensor, agent_indices: Tensor) -> Tensor:
        encoder = self.model.encoder
        if isinstance(encoder, StatefulEncoder):
            features, self.memory[agent_indices] = encoder.step(step, self.memory[agent_indices])
        else:
            self.memory[agent_indices] = torch.cat([self.memory[agent_indices][:, 1:], step[:, None]], 1)  # (B, K, n)
            features = encoder(self.memory[agent_indices])
        return self.model.head(features)

    def _empty(self, count: int) -> Tensor:
        encoder = self.model.encoder
        if isinstance(encoder, StatefulEncoder):
            return encoder.initial_state(count).detach()
        return torch.zeros(count, *(encoder.observation_space.shape or ()))


def record_policy(policy: Policy, config: RecordingConfig) -> Recording:
    """Return a recording of a policy's runs; `config.drivers` is ignored."""
    rules = config.road.build()
    sim = Simulator(rules, config.runs)
    sim.reset_open(config.seeds)
    sim.step(sim.idle)  # to the first decision
    runner, shape = PolicyRunner(policy, sim), (config.runs, config.decisions)
    states = np.empty((config.runs, config.decisions + 1), sim.games.dtype)
    actions, rewards = np.empty(shape, np.int64), np.empty(shape)
    for t in range(config.decisions):
        states[:, t] = sim.games
        actions[:, t] = runner.decide(0)
        sim.step(actions[:, t])
        rewards[:, t] = sim.games["reward"]
    states[:, -1] = sim.games
    return Recording(config, rules, states, actions, rewards, mean_speed_mph(rewards))


WEIGHTS = "encoder.safetensors"
SPEED_UNIT = 15.0  # [mph] unit of the network's outputs, about the spread of relative speeds
UNITS = 64
HEAD_UNITS = 128
ARRIVAL_SEEDS = {"train": 1, "validation": 2, "test": 3}  # of the frames that are lost

F32 = NDArray[np.float32]
Sequences = dict[str, NDArray]


def with_fixed_seed(make: Callable[[], Encoder]) -> Encoder:
    """Return a new encoder with fixed initial weights."""
    torch.manual_seed(0)
    return make()


def stack_encoder(sensor: SensorConfig, steps: int, features_dim: int = 64) -> DenseEncoder:
    """Return a feed-forward encoder of the last `steps` steps."""
    low, high = float(sensor.space.low.min()), float(sensor.space.high.max())
    return DenseEncoder(spaces.Box(low, high, (steps, sensor.size), np.float32), features_dim, hidden=(256,))


def speed_sequences(job: TrainingJob, split: str, runs: int) -> Sequences:
    """Return rows (R, T, n), target (R, T, 7) [15 mph], and where the target is known."""
    recording = job.record(split, runs)
    speeds, known = hidden_speeds(recording)
    rows = sequence_inputs(recording, DEGRADED, ARRIVAL_SEEDS[split])
    return {"rows": rows, "target": speeds / np.float32(SPEED_UNIT), "known": known}


def estimated_speeds(model: SpeedModel, data: Arrays) -> F32:
    """Return the network's estimates of the speeds, (R, T, 7) [mph]."""
    return np.float32(SPEED_UNIT) * model.predict(torch.from_numpy(data["rows"])).numpy()


def speed_error(model: SpeedModel, data: Arrays) -> float:
    """Return the root mean squared error of the known speeds [mph]."""
    known = data["known"]
    return float(root_mean_squared_error(SPEED_UNIT * data["target"][known], estimated_speeds(model, data)[known]))


class RecurrentSpeed(NetworkComparison):
    """Estimation of hidden speeds from frames without speeds, three in ten of which are lost."""

    name, paradigm = "recurrent-speed", "recurrent network"
    summary = "Estimates the speed of the car ahead in each lane from occupancy alone, with 30% of frames lost."
    source = "Elman 1990; Hochreiter and Schmidhuber 1997; Cho et al. 2014, arXiv:1406.1078"
    metric = Metric("RMSE of hidden speeds", 0.0, unit="mph", higher_is_better=False)
    config = FitConfig(epochs=15, batch_size=8, learning_rate=3e-3, learning_rate_end=2e-4)
    caption = (
        "Hidden speeds. Left: error of a GRU and of feed-forward networks on 1, 4 or 12 frames. Right: one held-out "
        "run; ticks at the bottom are frames that were lost."
    )

    def ways(self, job: TrainingJob) -> dict[str, Way]:
        """Return a GRU, and feed-forward networks on stacks of frames."""
        sets = [
            speed_sequences(job, split, runs) for split, runs in (("train", 600), ("validation", 60), ("test", 200))
        ]
        gru = Way(lambda: SpeedModel(RecurrentEncoder(DEGRADED.space, UNITS), LANES), *sets)
        stacks = {f"MLP, {k} frame{'s' * (k > 1)}": Way(partial(_stack_model, k), *sets) for k in (1, 4, 12)}
        return {"gru": gru, **stacks}

    def score(self, model: Trainable, test: Arrays) -> float:
        """Return the error [mph]."""
        assert isinstance(model, SpeedModel)
        return speed_error(model, test)

    def baselines(self, way: Way) -> dict[str, float]:
        """Return the error of the mean of training."""
        mean = way.train["target"][way.train["known"]].mean()
        return {"the mean": SPEED_UNIT * float(np.sqrt(np.mean((way.test["target"][way.test["known"]] - mean) ** 2)))}

    def draw(self, job: TrainingJob, scores: Mapping[str, float], model: Any, test: Arrays) -> None:
        """Draw the errors, and one run."""
        figure = empty_figure((10.0, 3.8))
        left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.25))
        style_axes(left, "Error on held-out runs")
        draw_bars(left, scores, "gru", "RMSE of hidden speeds [mph], lower is better")
        style_axes(right, "One run: the car ahead in the ego lane")
        draw_run(right, estimated_speeds(model, test), test)
        save_plot(figure, job.folder / f"{self.name}.png")


def _stack_model(steps: int) -> SpeedModel:
    return SpeedModel(stack_encoder(DEGRADED, steps), LANES)


def draw_run(axes: Axes, answer: F32, test: Arrays) -> None:
    """Draw one run's true and estimated relative speed of the car ahead in the ego lane: that with most cars ahead."""
    lane = LANES // 2
    run = int(test["known"][..., lane].sum(1).argmax())
    known = test["known"][run, :, lane]
    time = np.arange(len(known))
    true = np.where(known, SPEED_UNIT * test["target"][run, :, lane], np.nan)
    axes.plot(time, true, color=GREY, lw=5, alpha=0.5, solid_capstyle="round", label="true")
    axes.plot(time, np.where(known, answer[run, :, lane], np.nan), color=BLUE, marker="o", ms=3, label="gru")
    lost = time[test["rows"][run, :, -1] == 0]
    axes.plot(lost, np.full(lost.shape, axes.get_ylim()[0]), "|", color=ORANGE, ms=9, label="frame lost")
    axes.set_xlabel("decision")
    axes.set_ylabel("speed of the car ahead\nminus the own [mph]")
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.16))


# --- driving ----------------------------------------------------------------------------------------------------------


class RecurrentDrive(Experiment):
    """Imitation of the built-in policy `gap` under a degraded sensor, with and without memory.

    Behaviour cloning on recorded driving, then four rounds of DAgger (Ross et al. 2011, arXiv:1011.0686): the network
    acts, the expert labels the visited states. The same for every network.
    """

    name, paradigm = "recurrent-drive", "recurrent network"
    summary = "Drives from occupancy alone, with 30% of frames lost; imitates a policy with the full sensor."
    source = "Cho et al. 2014, arXiv:1406.1078; DAgger: Ross et al. 2011, arXiv:1011.0686"
    config = FitConfig(epochs=4, batch_size=16, learning_rate=3e-3, learning_rate_end=2e-4)
    last_epochs = 15  # of the last round, on all data
    rounds = 5
    test_runs = 2000

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train with and without memory under the degraded sensor, and under the full one; drive on reporting seeds."""
        scores: dict[str, Score] = {}
        students: list[tuple[str, SensorConfig, Encoder]] = [
            ("full sensor", FULL, with_fixed_seed(partial(stack_encoder, FULL, 1, 128))),
            ("1 frame", DEGRADED, with_fixed_seed(partial(stack_encoder, DEGRADED, 1, 128))),
            ("4 frames", DEGRADED, with_fixed_seed(partial(stack_encoder, DEGRADED, 4, 128))),
            ("gru", DEGRADED, with_fixed_seed(partial(RecurrentEncoder, DEGRADED.space, 96, cell="gru"))),
        ]
        for name, sensor, encoder in students:
            driver = self._taught(job, name, sensor, encoder)
            scores[name] = evaluate_open(driver, runs=job.scaled(self.test_runs, least=50), seed_set="reporting")
        students[-1][2].save(job.folder / WEIGHTS)
        self._draw(job.folder, scores)
        caption = (
            "Mean speed of policies that imitate `gap`: with the full sensor, and with one that shows no speeds and "
            "loses 30% of frames, read by a feed-forward network (1 or 4 frames) and by a GRU."
        )
        return ExperimentResult(self._metrics(scores), [Plot("recurrent-drive.png", caption)], [WEIGHTS])

    def _taught(self, job: TrainingJob, name: str, sensor: SensorConfig, encoder: Encoder) -> SequencePolicy:
        torch.manual_seed(0)
        hidden = (HEAD_UNITS,) if isinstance(encoder, RecurrentEncoder) else ()  # stacks have theirs in the encoder
        model = ActionModel(encoder, len(Action), hidden)
        runs = job.scaled(300, least=8)
        held_out = record(RecordingConfig(split="validation", runs=job.scaled(60, least=8)), job.cache)
        validation = demonstrations(held_out, sensor, seed=2)
        data = demonstrations(record(RecordingConfig(runs=runs), job.cache), sensor, seed=1)
        for number in range(self.rounds):
            folder = f"{name.replace(' ', '-')}-round-{number + 1}"
            is_last = number + 1 == self.rounds
            config = replace(self.config, epochs=self.last_epochs) if is_last else self.config
            job.fit(folder, model, data, validation, config)
            if not is_last:
                own = RecordingConfig(runs=runs, first=100_000 * (number + 1))
                driven = record_policy(SequencePolicy(model, sensor, name, seed=number + 1), own)
                more = demonstrations(driven, sensor, seed=10 + number)
                data = {part: np.concatenate([data[part], more[part]]) for part in data}
        return SequencePolicy(model, sensor, name)

    def _metrics(self, scores: dict[str, Score]) -> list[Metric]:
        mph = {name: score.mean_mph for name, score in scores.items()}
        gap = mph["full sensor"] - mph["1 frame"]
        closed = {name: (mph[name] - mph["1 frame"]) / gap for name in ("gru", "4 frames")}
        low, high = scores["gru"].mean_interval
        note = (
            f"{scores['gru'].runs} open runs on reporting seeds; 95% interval of the GRU's mean {low:.2f} to {high:.2f}"
        )
        beside = {name: mph[name] for name in ("1 frame", "4 frames")}
        full = f"full sensor {mph['full sensor']:.2f} mph, one frame of the degraded sensor {mph['1 frame']:.2f} mph"
        return [
            Metric("mean speed under the degraded sensor (gru)", mph["gru"], beside, "mph", True, None, note),
            Metric(
                "fraction of the gap to the full sensor that is closed",
                closed["gru"],
                {"4 frames": closed["4 frames"]},
                "",
                True,
                0.7,
                full,
            ),
        ]

    def _draw(self, folder: Path, scores: dict[str, Score]) -> None:
        figure = empty_figure((7.0, 3.0))
        axes = figure.add_subplot()
        style_axes(axes, "Driving with less to see")
        mph = {name: score.mean_mph for name, score in scores.items()}
        draw_bars(axes, mph, "gru", "mean speed on held-out runs [mph]", 1.15 * max(mph.values()))
        save_plot(figure, folder / "recurrent-drive.png")


def demonstrations(recording: Recording, sensor: SensorConfig, seed: int) -> Sequences:
    """Return rows (R, T, n) under the sensor, and the expert's action (R, T)."""
    action = expert_actions(recording.rules, recording.states[:, :-1])
    return {"rows": sequence_inputs(recording, sensor, seed), "action": action}
