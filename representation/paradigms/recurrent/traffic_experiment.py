"""Experiment with the autoregressive model of traffic: the next scene given the one before, and sampled traffic."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.rules import Rules
from representation.data.rasters import OWN, VEHICLE, decode_rasters, rasterise, settle
from representation.data.tokens import SceneTokens, place_tokens, scene_tokens
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays, FitConfig
from representation.paradigms.gan.metrics import Sample, two_sample_accuracy
from representation.paradigms.recurrent.ngram import counted_bits
from representation.paradigms.recurrent.scene_model import SceneModel
from representation.plots import save_roads, scene_images

WEIGHTS = "traffic-model.safetensors"
CONTINUED = 20  # scenes that are sampled one after another
COMPARED = 500  # held-out runs whose traffic is continued
PAIRS = np.add.outer(np.arange(0, 60, 6), (0, 1)).ravel()  # decisions of a run's pairs of scenes
SHOWN = (0, 1, 2, 4, 7, 11, 19)  # sampled scenes that are drawn

Flags = NDArray[np.bool_]


class Pairs(NamedTuple):
    """Scenes (B,), and the scene one decision before each."""

    tokens: SceneTokens
    before: SceneTokens

    def arrays(self) -> Arrays:
        """Return the arrays that a model of traffic is trained on."""
        return {**self.tokens._asdict(), **{f"{name}_before": part for name, part in self.before._asdict().items()}}


class Traffic(Experiment):
    """Model of traffic: each scene car by car, given the scene before."""

    name, paradigm = "traffic-model", "recurrent network"
    summary = "Generates the next scene of traffic car by car; sampled traffic continues for 20 decisions."
    source = "Graves 2013, arXiv:1308.0850, section 2; n-grams: Shannon 1948, section 3"
    config = FitConfig(epochs=2, batch_size=32, learning_rate=8e-3, learning_rate_end=2e-4, patience=0)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, measure bits per scene beside n-grams, continue held-out traffic, draw."""
        sets = [pairs(recorded(job, split, runs, PAIRS)[1]) for split, runs in (("train", 1600), ("validation", 120))]
        rules, test = recorded(job, "test", COMPARED, np.concatenate([np.arange(CONTINUED + 1), PAIRS]))
        truth = test.at(np.s_[:, : CONTINUED + 1])
        sets.append(pairs(test.at(np.s_[:, CONTINUED + 1 :])))
        train, validation = sets[0].arrays(), sets[1].arrays()
        model = job.train(lambda: SceneModel(follows=True), train, validation, self.config, WEIGHTS)
        counted = counted_bits([one.tokens for one in sets], [one.before for one in sets])
        note = f"{len(sets[2].tokens.ego):,} scenes of held-out runs"
        bits = float(model.bits(*sets[2]).mean())
        by_time = [truth.at(np.s_[:, k]) for k in range(CONTINUED + 1)]
        real = [place_tokens(rules, scene, 1).states for scene in by_time[1:]]
        states = [place_tokens(rules, scene, 1).states for scene in sampled_traffic(model, by_time[0], CONTINUED)]
        metrics = [
            Metric("bits per scene, given the one before", bits, counted, "bit", False, None, note),
            *closeness(*(np.array([rasterise(rules, some) for some in each]) for each in (real, states))),
        ]
        lines = {}
        for run in range(2):
            for name, each in (("true", real), ("sampled", states)):
                shown = np.array([each[k][run] for k in SHOWN])
                lines[f"run {run + 1}, {name}"] = scene_images(rules, settle(rules, shown))
        save_roads(lines, job.folder / "traffic-model.png", [f"+{k + 1}" for k in SHOWN])
        return ExperimentResult(metrics, [Plot("traffic-model.png", CAPTION)], [WEIGHTS])


CAPTION = (
    "Two held-out runs after one given scene each: the true and the sampled continuation, 1 to 20 decisions later. "
    "Ahead is up; the ego car is red."
)


def recorded(job: TrainingJob, split: str, runs: int, at: NDArray[np.int64]) -> tuple[Rules, SceneTokens]:
    """Return the tokens of legal scenes of runs at some decisions, (R, T, ...)."""
    recording = job.record(split, runs)
    states = recording.states[:, at]
    legal = decode_rasters(recording.rules, rasterise(recording.rules, states.reshape(-1))).states
    return recording.rules, scene_tokens(recording.rules, legal.reshape(states.shape))


def pairs(tokens: SceneTokens) -> Pairs:
    """Return every second scene (R, T) with the one after it."""
    runs, at = (part.ravel() for part in np.indices(tokens.ego[:, ::2].shape[:2]))
    return Pairs(tokens.at((runs, 2 * at + 1)), tokens.at((runs, 2 * at)))


def sampled_traffic(model: SceneModel, start: SceneTokens, scenes: int, seed: int = 0) -> list[SceneTokens]:
    """Return so many sampled scenes (B,), each after the one before, the first after `start` (B,)."""
    out = [start]
    for k in range(scenes):
        out.append(model.sample(len(start.ego), seed + k, before=out[-1]))
    return out[1:]


def closeness(real: NDArray[np.float32], sampled: NDArray[np.float32]) -> list[Metric]:
    """Return how close sampled traffic is to the true one, from rasters (T, B, 5, R, L)."""
    cars, drawn = ((part[:, :, VEHICLE] > 0) & (part[:, :, OWN] < 0) for part in (real, sampled))
    count, drawn_count = (float(part[-1].sum((1, 2)).mean()) for part in (cars, drawn))
    steady = steadiness(drawn[:-1], drawn[1:])
    others = np.roll(cars[1:], 1, axis=1)  # each scene followed by one of another run
    half = len(real[0]) // 2
    apart = two_sample_accuracy(Sample.independent(real[-1][:half]), Sample.independent(sampled[-1][half:]))
    alike = two_sample_accuracy(Sample.independent(real[-1][:half]), Sample.independent(real[-1][half:]))
    after = f"after {len(real)} decisions"
    return [
        Metric(
            f"other vehicles in view {after}, sampled minus true",
            drawn_count - count,
            unit="vehicles",
            note=f"true {count:.2f}, sampled {drawn_count:.2f}",
        ),
        Metric(
            "correlation of a lane's vehicles with the next scene's",
            steady,
            {"the next scene of another run": steadiness(cars[:-1], others)},
            note=f"true traffic {steadiness(cars[:-1], cars[1:]):.3f}",
        ),
        Metric(
            f"two-sample accuracy {after}, real or generated",
            apart,
            higher_is_better=False,
            goal=0.6,
            note=f"real scenes of other runs {alike:.3g}; {half} runs each",
        ),
    ]


def steadiness(before: Flags, after: Flags) -> float:
    """Return the correlation between the vehicles of each lane in scenes (T, B, R, L) and in the scenes after them."""
    return float(np.corrcoef(before.sum(2).ravel(), after.sum(2).ravel())[0, 1])
