"""Experiments with autoencoders: reconstruction, denoising and sampling.

Denoising is also scored in mph, by a policy with a noisy sensor, with and without a denoiser:

    >>> policy = NoisySensorPolicy(SensorNoise(), Denoiser(lambda grids: model.reconstruct(grids), threshold=0.45))
    >>> evaluate_open(policy, runs=200, seed_set="reporting").mean_mph

The policy behind the sensor is the built-in `gap`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.envs.observations import ObservationLike, make_observation
from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.policies.base import Policy
from deeptraffic.policies.builtin import GapPolicy
from deeptraffic.sim.rules import RULES_2018
from deeptraffic.sim.state import I64
from representation.data.labels import SCENES, scene_class
from representation.data.recording import Recording, observe
from representation.data.sensor_noise import SensorNoise
from representation.experiment import RUNS_OF_A_SEED, Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import FitConfig, FitResult
from representation.paradigms.autoencoder.grids import (
    FILTERS,
    GridPca,
    Grids,
    best_threshold,
    grid_to_cells,
    median_filtered,
    occupancy_iou,
    speed_rmse,
)
from representation.paradigms.autoencoder.likelihood import SPEED_SD, frequency_nats
from representation.paradigms.autoencoder.model import Autoencoder, DenoisingAutoencoder, VariationalAutoencoder
from representation.paradigms.feedforward.model import DenseEncoder
from representation.plots import Labels, project, save_map, save_roads
from representation.probe import probe


@dataclass(frozen=True)
class Denoiser:
    """Estimates the true grids (B, 4, H, W) from corrupted ones; cells above the threshold count as occupied."""

    restore: Callable[[Grids], Grids]
    threshold: float = 0.5

    def cleaned(self, corrupted: Grids) -> Grids:
        """Return grids with occupancies 0 or 1; cells known without the sensor are unchanged."""
        guess = self.restore(corrupted)
        out = corrupted.copy()
        known = (corrupted[:, OFF_ROAD] > 0.5) | (corrupted[:, OWN] > 0.5)  # (B, H, W)
        out[:, OCCUPIED] = np.where(known, corrupted[:, OCCUPIED], guess[:, OCCUPIED] > self.threshold)
        speed = np.where(known, corrupted[:, SPEED], np.clip(guess[:, SPEED], 0.0, 1.0))
        out[:, SPEED] = speed * out[:, OCCUPIED]
        return out


class NoisySensorPolicy(Policy):
    """The policy `gap` behind a noisy sensor.

    Args:
        noise: of the sensor; None for an exact sensor
        denoiser: None to use the readings as they are
        observed: the kind grid and its window
        seed: of the noise
    """

    def __init__(
        self,
        noise: SensorNoise | None,
        denoiser: Denoiser | None = None,
        observed: ObservationLike = "grid",
        seed: int = 0,
    ) -> None:
        self.noise, self.denoiser, self.seed = noise, denoiser, seed
        self.label = "gap, " + (
            "exact sensor" if noise is None else "noisy sensor" + (", denoised" if denoiser else "")
        )
        self.observation = make_observation(observed)
        self.driver = GapPolicy(RULES_2018.empty, observation=self.observation.sensor)
        self.random = torch.Generator().manual_seed(seed)

    def reset(self, agent_indices: I64) -> None:
        """Restart the noise."""
        self.random.manual_seed(self.seed)

    def act(self, obs: NDArray[Any], agent_indices: I64) -> I64:
        """Return the actions (B,) for true grids (B, 4, P + Q, 7)."""
        grids = obs
        if self.noise is not None:
            grids = self.noise.corrupt(torch.from_numpy(grids), self.random).numpy()
        if self.denoiser is not None:
            grids = self.denoiser.cleaned(grids)
        return self.driver.act(grid_to_cells(grids, RULES_2018.empty), agent_indices)


OBSERVED = {"kind": "grid", "patches_ahead": 30, "patches_behind": 10}
SHAPE = (4, 40, 7)
WEIGHTS = "encoder.safetensors"
RUNS = {"train": 1000, "validation": 80, "test": 200}
DECISIONS = 12  # of each run: a scene is much like the one before it, so more runs teach more
WARM_UP = 2000  # steps over which the VAE's KL term gains its weight
NOISE = SensorNoise(miss=0.3, ghost=0.05, speed_sd=0.1)
EVALUATION_RUNS = 300
SHOWN = 8
MAPPED = 1500
Ways = Mapping[str, Callable[[Grids], Grids]]  # reconstructions by method


def recorded(job: TrainingJob, split: str) -> Recording:
    """Return recorded driving of a split at the job's scale."""
    return job.record(split, RUNS[split], decisions=DECISIONS)


def grids_of(recording: Recording) -> Grids:
    """Return the grids of all decisions but a run's first, which stands on the starting layout, (N, 4, 40, 7)."""
    return observe(recording.rules, recording.states[:, 1:].ravel(), OBSERVED)


def new_encoder(features_dim: int, hidden: int = 256) -> DenseEncoder:
    """Return an encoder of grids."""
    encoder = DenseEncoder(spaces.Box(0.0, 1.0, SHAPE, np.float32), features_dim, hidden=(hidden,), activation="gelu")
    encoder.observed = dict(OBSERVED)
    return encoder


def keep(experiment: Experiment, job: TrainingJob, model: Autoencoder, result: FitResult) -> list[str]:
    """Write the encoder's file and return its name."""
    model.encoder.summary = result.summary(experiment.name)
    model.encoder.save(job.folder / WEIGHTS)
    return [WEIGHTS]


class AutoencoderExperiment(Experiment):
    """The plain autoencoder, against PCA, which is the best linear one."""

    name, paradigm = "autoencoder", "autoencoder"
    summary = "Compresses a grid of 1,120 values to 32 and reconstructs it, without labels."
    source = "Hinton and Salakhutdinov 2006, doi:10.1126/science.1127647"
    code = 32

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, compare with PCA of the same size, probe the code, and draw."""
        train, validation = grids_of(recorded(job, "train")), grids_of(recorded(job, "validation"))
        test_recording = recorded(job, "test")
        test = grids_of(test_recording)
        model = job.new(lambda: Autoencoder(new_encoder(self.code), "dense", "grid", hidden=(256,)))
        config = FitConfig(epochs=24, batch_size=96, learning_rate=6e-3, learning_rate_end=3e-4)
        result = job.fit("autoencoder", model, {"obs": train}, {"obs": validation}, config)
        weights = keep(self, job, model, result)
        pca = GridPca(train, self.code).tune(validation, validation)
        ways: Ways = {"autoencoder": model.reconstruct, "PCA": pca.reconstruct}
        metrics = self._metrics(ways, train, validation, test)
        metrics += probe(model.encoder, job.scaled(200, 20), job.cache, first=job.seed * RUNS_OF_A_SEED)
        images = [self._reconstructions(job, ways, test), self._map(job, model, test_recording)]
        return ExperimentResult(metrics, images, weights)

    def _metrics(self, ways: Ways, train: Grids, validation: Grids, test: Grids) -> list[Metric]:
        iou, speed = {}, {}
        for name, reconstruct in ways.items():
            threshold = best_threshold(reconstruct(validation), validation)
            returned = reconstruct(test)
            iou[name], speed[name] = occupancy_iou(returned, test, threshold), speed_rmse(returned, test)
        speed["mean speed"] = speed_rmse(mean_speeds(train, test), test)
        note = f"{len(test):,} scenes of held-out runs, {self.code} values each; thresholds chosen on validation runs"
        return [
            Metric("IoU of reconstructed occupied cells", iou.pop("autoencoder"), iou, note=note),
            Metric("RMSE of reconstructed speeds", speed.pop("autoencoder"), speed, "mph", higher_is_better=False),
        ]

    def _reconstructions(self, job: TrainingJob, ways: Ways, test: Grids) -> Plot:
        chosen = test[:: max(1, len(test) // SHOWN)][:SHOWN]
        lines = {"true": chosen, **{name: reconstruct(chosen) for name, reconstruct in ways.items()}}
        save_roads(lines, job.folder / "autoencoder.png")
        return Plot("autoencoder.png", f"Held-out scenes and their reconstructions from {self.code} values.")

    def _map(self, job: TrainingJob, model: Autoencoder, recording: Recording) -> Plot:
        states = recording.states[:, 1:].ravel()
        chosen = states[:: max(1, len(states) // MAPPED)][:MAPPED]
        features = model.encoder.encode(observe(recording.rules, chosen, OBSERVED))
        lanes = [f"lane {lane + 1}" for lane in range(recording.rules.lanes)]
        labels: list[Labels] = [("Scene", scene_class(recording.rules, chosen), SCENES)]
        labels.append(("Own lane", chosen["lane"][:, 0].astype(np.int64), lanes))
        save_map(project(features), labels, job.folder / "autoencoder-map.png")
        return Plot("autoencoder-map.png", "The codes of held-out scenes, projected by t-SNE; training used no labels.")


class Denoising(Experiment):
    """The denoising autoencoder on a noisy sensor."""

    name, paradigm = "denoising", "autoencoder"
    summary = "Reconstructs the true grid from a sensor with misses in 30% and ghosts in 5% of the cells."
    source = "Vincent et al. 2008, doi:10.1145/1390156.1390294"
    code = 64

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, compare with the best median filter, and drive with the noisy sensor."""
        train, validation, test = (grids_of(recorded(job, split)) for split in RUNS)
        model = job.new(
            lambda: DenoisingAutoencoder(
                new_encoder(self.code), "dense", "grid", corrupt=NOISE.corrupt, local=24, hidden=(256,)
            )
        )
        config = FitConfig(epochs=12, batch_size=128, learning_rate=6e-3, learning_rate_end=3e-4)
        result = job.fit("denoising", model, {"obs": train}, {"obs": validation}, config)
        weights = keep(self, job, model, result)
        seen, tested = (corrupted(grids, seed) for seed, grids in enumerate((validation, test)))
        size = max(FILTERS, key=lambda size: occupancy_iou(median_filtered(seen, size), validation))
        pca = GridPca(train, self.code, corrupted(train, 2)).tune(seen, validation)
        ways: dict[str, Denoiser] = {
            "denoising autoencoder": make_denoiser(model.reconstruct, seen, validation),
            "best median filter": Denoiser(lambda grids: median_filtered(grids, size)),
            "PCA of the noisy grid": make_denoiser(pca.reconstruct, seen, validation),
        }
        metrics = [*self._metrics(ways, tested, test), self._driving(job, ways)]
        return ExperimentResult(metrics, [self._plot(job, ways, tested, test)], weights)

    def _metrics(self, ways: Mapping[str, Denoiser], tested: Grids, test: Grids) -> list[Metric]:
        denoised = {"noisy sensor": tested, **{name: way.cleaned(tested) for name, way in ways.items()}}
        iou = {name: occupancy_iou(grids, test) for name, grids in denoised.items()}
        speed = {name: speed_rmse(grids, test) for name, grids in denoised.items()}
        own = "denoising autoencoder"
        note = f"{len(test):,} scenes; misses {NOISE.miss:.0%}, ghosts {NOISE.ghost:.0%}, speeds +-{NOISE.speed_sd:.0%}"
        speeds = "cells classified as free count as speed 0"
        return [
            Metric("IoU of occupied cells, denoised", iou.pop(own), iou, note=note),
            Metric("RMSE of speeds, denoised", speed.pop(own), speed, "mph", higher_is_better=False, note=speeds),
        ]

    def _driving(self, job: TrainingJob, ways: Mapping[str, Denoiser]) -> Metric:
        def mph(noise: SensorNoise | None, way: Denoiser | None = None) -> float:
            driver = NoisySensorPolicy(noise, way, OBSERVED, seed=job.seed)
            return evaluate_open(driver, runs=job.scaled(EVALUATION_RUNS, 10), seed_set="reporting").mean_mph

        values = {"noisy sensor": mph(NOISE), **{name: mph(NOISE, way) for name, way in ways.items()}}
        exact, value = mph(None), values.pop("denoising autoencoder")
        regained = (value - values["noisy sensor"]) / (exact - values["noisy sensor"])
        note = (
            f"policy gap, {job.scaled(EVALUATION_RUNS, 10)} runs; exact sensor {exact:.2f} mph; {regained:.0%} regained"
        )
        return Metric("mean speed with the noisy sensor", value, values, "mph", note=note)

    def _plot(self, job: TrainingJob, ways: Mapping[str, Denoiser], tested: Grids, test: Grids) -> Plot:
        chosen = slice(None, None, max(1, len(test) // SHOWN))
        lines = {"true": test[chosen][:SHOWN], "noisy sensor": tested[chosen][:SHOWN]}
        named = zip(("autoencoder", "median filter"), ways.values(), strict=False)
        lines |= {name: way.cleaned(tested[chosen][:SHOWN]) for name, way in named}
        save_roads(lines, job.folder / "denoising.png")
        return Plot("denoising.png", "Held-out scenes, the readings of the noisy sensor, and two ways to denoise them.")


class Variational(Experiment):
    """The variational autoencoder, whose prior generates new roads."""

    name, paradigm = "vae", "autoencoder"
    summary = "Learns a distribution of road scenes, to sample new ones and to interpolate between them."
    source = "Kingma and Welling 2013, arXiv:1312.6114, equation 10; Burda et al. 2016, arXiv:1509.00519, appendix C"
    latents = 32

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, measure the bound and the latents in use, draw samples and a path between two scenes."""
        train, validation, test = (grids_of(recorded(job, split)) for split in RUNS)
        model = job.new(
            lambda: VariationalAutoencoder(
                new_encoder(128), "dense", "grid", latents=self.latents, warm_up=job.scaled(WARM_UP), hidden=(256,)
            )
        )
        config = FitConfig(epochs=24, batch_size=96, learning_rate=2e-3, learning_rate_end=3e-4, patience=0)
        result = job.fit("vae", model, {"obs": train}, {"obs": validation}, config)
        weights = keep(self, job, model, result)
        return ExperimentResult(self._metrics(model, train, test), self._plots(job, model, test), weights)

    def _metrics(self, model: VariationalAutoencoder, train: Grids, test: Grids) -> list[Metric]:
        bound, kl = model.bound(test)
        baselines = {
            "independent cell frequencies": frequency_nats(train, test),
            "the same, given the ego lane": frequency_nats(train, test, by_lane=True),
        }
        active = int(model.active_units(test).sum())
        note = f"{kl:.1f} nats of it are KL; speeds to {80 * SPEED_SD:.0f} mph; {len(test):,} scenes of held-out runs"
        name = "-ELBO, code length of a scene"
        return [
            Metric(name, bound, baselines, "nats", higher_is_better=False, note=note),
            Metric("active latents", active, unit=f"of {self.latents}", note="variance of the mean above 0.01"),
        ]

    def _plots(self, job: TrainingJob, model: VariationalAutoencoder, test: Grids) -> list[Plot]:
        samples = model.sample(2 * SHOWN, seed=1)
        lines = {"sampled": samples[:SHOWN], "sampled ": samples[SHOWN:], "true": test[:: len(test) // SHOWN][:SHOWN]}
        save_roads(lines, job.folder / "vae-samples.png")
        path = model.interpolate(test[0], test[len(test) // 2], 7)
        ends = {"interpolated": [test[0], *path, test[len(test) // 2]]}
        save_roads(ends, job.folder / "vae-path.png", ["true", *(f"{k / 6:.2f}" for k in range(7)), "true"])
        return [
            Plot("vae-samples.png", "Expected scenes of codes sampled from the prior; faint cars are uncertain ones."),
            Plot("vae-path.png", "Two held-out scenes and the linear interpolation between their codes."),
        ]


def corrupted(grids: Grids, seed: int) -> Grids:
    """Return grids as the noisy sensor reads them, the same for the same seed."""
    return NOISE.corrupt(torch.from_numpy(grids), torch.Generator().manual_seed(seed)).numpy()


def make_denoiser(restore: Callable[[Grids], Grids], seen: Grids, truth: Grids) -> Denoiser:
    """Return a denoiser with the threshold that is best on validation scenes."""
    return Denoiser(restore, best_threshold(restore(seen), truth))


def mean_speeds(train: Grids, test: Grids) -> NDArray[np.float32]:
    """Return test grids in which every car has the mean speed of training."""
    guess = test.copy()
    guess[:, SPEED] = train[:, SPEED][train[:, OCCUPIED] > 0.5].mean()
    return guess
