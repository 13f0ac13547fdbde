"""Experiments with autoencoders: reconstruction, denoising and sampling.

Denoising is also scored in mph, by the built-in `gap` on the cells of the noisy sensor, with and without a denoiser;
`deeptraffic join` puts the denoiser in front of any network over the sensor's cells, as one policy file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.envs.observations import PRESETS, Observation
from deeptraffic.envs.observations.grid import CHANNELS, OCCUPIED, OWN, SPEED
from deeptraffic.evaluation.protocol import evaluate_seeds
from deeptraffic.evaluation.seeds import SEED_SETS
from deeptraffic.policies.base import Policy
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.sim.rules import FULL_SPEED, RULES_2018, RoadConfig
from representation.data.labels import SCENES, scene_class
from representation.data.recording import Recording, observe, observe_runs
from representation.encoders.dense import DenseEncoder
from representation.experiment import RUNS_OF_A_SEED, Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays, FitConfig, FitResult
from representation.paradigms.autoencoder.denoiser import WINDOW, GridDenoiser
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
from representation.paradigms.autoencoder.model import Autoencoder, VariationalAutoencoder
from representation.perception import PerceptionPolicy
from representation.plots import Labels, save_map, save_roads
from representation.probe import probe

OBSERVED = {"kind": "grid", "patches_ahead": 30, "patches_behind": 10}
SHAPE = (4, 40, 7)
WEIGHTS = "encoder.safetensors"
RUNS = {"train": 1000, "validation": 80, "test": 200}
DECISIONS = 12  # of each run: a scene is much like the one before it, so more runs teach more
WARM_UP = 2000  # steps over which the VAE's KL term gains its weight
NOISY = "noisy"  # observation
DENOISER, OWN_NAME = "denoiser.safetensors", "denoising autoencoder"
EVERY = 3  # [decisions]
EVALUATION_RUNS = 150
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
        model = job.new(lambda: Autoencoder(new_encoder(self.code), "grid", (256,)))
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
        save_map(features, labels, job.folder / "autoencoder-map.png")
        return Plot("autoencoder-map.png", "The codes of held-out scenes, projected by t-SNE; training used no labels.")


@dataclass(frozen=True)
class GridFilter:
    """A filter of noisy grids without a network, in the place of a perception model.

    restore: the last grids (B, 4 T, H, W) -> the present one, cells above 0.5 occupied
    """

    observation: Observation
    restore: Callable[[Grids], Grids]

    def perceive(self, obs: Grids) -> NDArray[np.float64]:
        """Return the sensor's cells."""
        return grid_to_cells(self.restore(obs), RULES_2018.empty)


class Denoising(Experiment):
    """The denoising autoencoder on the sensor of the observation `noisy`, over several decisions."""

    name, paradigm = "denoising", "autoencoder"
    summary = "Reconstructs the true cells from four decisions of a sensor with misses, ghosts and errors of speed."
    source = "Vincent et al. 2008, doi:10.1145/1390156.1390294"
    config = FitConfig(epochs=12, batch_size=64, learning_rate=3e-3, learning_rate_end=1e-5, patience=0)
    runs = {"train": 1000, "validation": 15, "test": 60}

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, compare with medians over space and time, and drive with the noisy sensor."""
        train, validation, test = (noisy_scenes(job, split, runs) for split, runs in self.runs.items())
        arrays = denoising_arrays(*train), denoising_arrays(*validation)
        model = job.train(GridDenoiser, *arrays, self.config, DENOISER)
        size = max(
            FILTERS, key=lambda size: occupancy_iou(median_filtered(present(validation[0]), size), validation[1])
        )
        filters: Ways = {
            "noisy sensor": present,
            "best median filter": lambda grids: median_filtered(present(grids), size),
            "median over time": over_time,
        }
        cells = model.cells(test[0])
        grids = test[1].copy()
        grids[:, OCCUPIED], grids[:, SPEED] = cells.occupied, cells.speed / FULL_SPEED * cells.occupied
        denoised = {OWN_NAME: grids, **{name: way(test[0]) for name, way in filters.items()}}
        metrics = [*self._metrics(denoised, test[1]), self._driving(job, model, filters)]
        chosen = slice(None, None, max(1, len(test[1]) // SHOWN))
        lines = {"true": test[1][chosen][:SHOWN]}
        lines |= {name: denoised[name][chosen][:SHOWN] for name in ("noisy sensor", "median over time", OWN_NAME)}
        save_roads(lines, job.folder / "denoising.png")
        caption = "Held-out scenes, the readings of the noisy sensor, and two ways to denoise them."
        return ExperimentResult(metrics, [Plot("denoising.png", caption)], [DENOISER])

    def _metrics(self, denoised: Mapping[str, Grids], truth: Grids) -> list[Metric]:
        iou = {name: occupancy_iou(grids, truth) for name, grids in denoised.items()}
        speed = {name: speed_rmse(grids, truth) for name, grids in denoised.items()}
        noise = PRESETS[NOISY].options
        note = f"{len(truth):,} scenes; {noise['miss_rate']:.0%} of cells missed, {noise['ghost_rate']:.0%} "
        note += f"ghosts, speeds with an error of {noise['speed_noise']:.0f} mph; {WINDOW + 1} decisions"
        speeds = "cells classified as free count as speed 0"
        return [
            Metric("IoU of occupied cells, denoised", iou.pop(OWN_NAME), iou, note=note),
            Metric("RMSE of speeds, denoised", speed.pop(OWN_NAME), speed, "mph", higher_is_better=False, note=speeds),
        ]

    def _driving(self, job: TrainingJob, model: GridDenoiser, filters: Ways) -> Metric:
        count, first, gap = job.scaled(EVALUATION_RUNS, 10), job.seed * RUNS_OF_A_SEED, make_builtin("gap")
        seeds = SEED_SETS["reporting"][first : first + count]

        def mph(policy: Policy) -> float:
            return evaluate_seeds(policy, RoadConfig(), seeds).mean_mph

        seen = model.observation
        values = {name: mph(PerceptionPolicy(GridFilter(seen, way), gap)) for name, way in filters.items()}
        exact, value = mph(gap), mph(PerceptionPolicy(model, gap))
        regained = (value - values["noisy sensor"]) / (exact - values["noisy sensor"])
        note = f"policy gap, {count} runs; exact sensor {exact:.2f} mph; {regained:.0%} regained"
        return Metric("mean speed with the noisy sensor", value, values, "mph", note=note)


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
            lambda: VariationalAutoencoder(new_encoder(128), "grid", (256,), self.latents, warm_up=job.scaled(WARM_UP))
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


def noisy_scenes(job: TrainingJob, split: str, runs: int) -> tuple[Grids, Grids]:
    """Return (the last noisy grids (N, 4 T, 60, 7), the clean one (N, 4, 60, 7)) of `runs` runs at the job's scale."""
    recording = job.record(split, runs, least=5, decisions=66, drivers=("gap",))
    noisy, clean = (observe_runs(recording, seen, EVERY) for seen in (GridDenoiser().observed, "grid"))
    return noisy.reshape(-1, *noisy.shape[2:]), clean.reshape(-1, *clean.shape[2:])


def denoising_arrays(noisy: Grids, clean: Grids) -> Arrays:
    """Return the training batch; the ego lane is the middle one."""
    speed, lane = FULL_SPEED * clean[:, SPEED], np.full(len(clean), clean.shape[3] // 2)
    return {"obs": noisy, "occupied": clean[:, OCCUPIED] > 0.5, "speed": speed, "lane": lane}


def present(grids: Grids) -> Grids:
    """Return the last grid of each window (N, 4 T, H, W), (N, 4, H, W)."""
    return grids[:, -CHANNELS:]


def over_time(grids: Grids) -> Grids:
    """Return the median of each cell over the window, at the present place of the road."""
    window = grids.reshape(len(grids), -1, CHANNELS, *grids.shape[2:])  # (N, T, 4, H, W)
    out = present(grids).copy()
    own = out[:, OWN] > 0.5
    for channel in (OCCUPIED, SPEED):
        out[:, channel] = np.where(own, out[:, channel], np.median(window[:, :, channel], 1))
    return out


def mean_speeds(train: Grids, test: Grids) -> NDArray[np.float32]:
    """Return test grids in which every car has the mean speed of training."""
    guess = test.copy()
    guess[:, SPEED] = train[:, SPEED][train[:, OCCUPIED] > 0.5].mean()
    return guess
