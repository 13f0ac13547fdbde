"""Registry of the experiments, in the order of the lecture. `deeptraffic pretrain NAME` runs one of them."""

import importlib
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from deeptraffic.settings import parse_setting
from representation.experiment import MAX_SEED, Experiment, ExperimentResult, TrainingJob, run_experiment

PARADIGMS = (
    "feed-forward network",
    "convolutional network",
    "recurrent network",
    "encoder-decoder",
    "autoencoder",
    "generative adversarial network",
    "beyond",
)

# name on the command line -> module:class, imported when it is asked for
EXPERIMENTS: dict[str, str] = {
    "dense-speed": "representation.paradigms.feedforward.experiment:DenseSpeed",
    "dense-scene": "representation.paradigms.feedforward.experiment:DenseScene",
    "conv-scene": "representation.paradigms.convolutional.experiment:ConvScene",
    "conv-manoeuvre": "representation.paradigms.convolutional.experiment:ConvManoeuvre",
    "conv-detection": "representation.paradigms.convolutional.detection_experiment:ConvDetection",
    "recurrent-speed": "representation.paradigms.recurrent.experiment:RecurrentSpeed",
    "scene-model": "representation.paradigms.recurrent.scene_experiment:SceneGeneration",
    "traffic-model": "representation.paradigms.recurrent.traffic_experiment:Traffic",
    "segmentation": "representation.paradigms.encoder_decoder.segmentation_experiment:Segmentation",
    "grid-predictor": "representation.paradigms.encoder_decoder.forecast_experiment:GridPrediction",
    "captioner": "representation.paradigms.encoder_decoder.caption_experiment:Captioner",
    "autoencoder": "representation.paradigms.autoencoder.experiment:AutoencoderExperiment",
    "denoising": "representation.paradigms.autoencoder.experiment:Denoising",
    "vae": "representation.paradigms.autoencoder.experiment:Variational",
    "scene-gan": "representation.paradigms.gan.experiment:SceneGan",
    "conditional-gan": "representation.paradigms.gan.experiment:ConditionalGan",
    "pix2pix": "representation.paradigms.gan.pix2pix_experiment:LabelsToFrames",
    "attention-lanes": "representation.beyond.experiments:AttentionLanes",
    "combined-speed": "representation.beyond.experiments:CombinedSpeed",
    "transfer": "representation.beyond.transfer:TransferExperiment",
    "memory-speed": "representation.beyond.experiments:MemorySpeed",
    "capsule-scene": "representation.beyond.experiments:CapsuleScene",
    "meta-learning": "representation.beyond.meta:MetaLearning",
    "pretext-none": "representation.beyond.pretraining:NoPretraining",
    "pretext-autoencoder": "representation.beyond.pretraining:AutoencoderPretraining",
    "pretext-masked": "representation.beyond.pretraining:MaskedPretraining",
    "pretext-next-latent": "representation.beyond.pretraining:NextLatentPretraining",
    "pretext-contrastive": "representation.beyond.pretraining:ContrastivePretraining",
}


def find_experiment(name: str) -> Experiment:
    """Return an experiment by name; ValueError for one that does not exist."""
    if name not in EXPERIMENTS:
        raise ValueError(f"there is no experiment {name!r}; choose one of {', '.join(EXPERIMENTS)}")
    module, _, kind = EXPERIMENTS[name].partition(":")
    experiment = getattr(importlib.import_module(module), kind)()
    assert isinstance(experiment, Experiment) and experiment.name == name, (
        f"{EXPERIMENTS[name]} is no experiment named {name}"
    )
    return experiment


def folder_name(name: str, seed: int) -> str:
    """Return the name of the folder of an experiment's seed."""
    return f"{name}-seed-{seed}" if seed else name


def pretrain(
    name: str,
    folder: str | Path | None = None,
    settings: Sequence[str] = (),
    scale: float = 1.0,
    cache: str | Path | None = None,
    console: Console | None = None,
    seed: int = 0,
) -> ExperimentResult:
    """Run an experiment and return its result.

    Args:
        name: of the experiment
        folder: to work in; None for runs/pretrain and `folder_name`
        settings: fields of `representation.fit.FitConfig`, "key=value" each
        scale: fraction of the full data and epochs, in (0, 10]
        cache: folder of cached recordings
        seed: of initial weights, shuffling and recorded runs
    """
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed must be an integer in [0, {MAX_SEED}], got {seed}")
    if not 0 < scale <= 10:
        raise ValueError(f"scale must be in (0, 10], got {scale}")
    experiment = find_experiment(name)
    where = Path(folder or Path("runs") / "pretrain" / folder_name(name, seed))
    job = TrainingJob(where, scale, seed, dict(parse_setting(text) for text in settings))
    job.cache, job.console = Path(cache) if cache else None, console
    return run_experiment(experiment, job)
