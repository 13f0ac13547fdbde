"""Registry of the experiments, in the order of the lecture. `deeptraffic pretrain NAME` runs one of them."""

import importlib
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from deeptraffic.settings import parse_setting
from representation.experiment import Experiment, ExperimentResult, TrainingJob, run_experiment

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
    "dense-speed": "representation.experiments.dense:DenseSpeed",
    "dense-scene": "representation.experiments.dense:DenseScene",
    "conv-scene": "representation.experiments.conv_scene:ConvScene",
    "conv-manoeuvre": "representation.experiments.conv_video:ConvManoeuvre",
    "conv-invariance": "representation.experiments.conv_invariance:ConvInvariance",
    "conv-detection": "representation.experiments.conv_detection:ConvDetection",
    "recurrent-speed": "representation.experiments.recurrent:RecurrentSpeed",
    "recurrent-drive": "representation.experiments.recurrent:RecurrentDrive",
    "traffic-model": "representation.experiments.traffic:Traffic",
    "segmentation": "representation.experiments.segmentation:Segmentation",
    "grid-predictor": "representation.experiments.forecast:GridPrediction",
    "forecaster": "representation.experiments.forecast:Forecast",
    "captioner": "representation.experiments.captioner:Captioner",
    "autoencoder": "representation.experiments.autoencoder:AutoencoderExperiment",
    "denoising": "representation.experiments.autoencoder:Denoising",
    "vae": "representation.experiments.autoencoder:Variational",
    "scene-gan": "representation.experiments.gan:SceneGan",
    "conditional-gan": "representation.experiments.gan:ConditionalGan",
    "pix2pix": "representation.experiments.gan_frames:LabelsToFrames",
    "gan-perception": "representation.experiments.gan_frames:GanPerception",
    "attention-lanes": "representation.experiments.attention:AttentionLanes",
    "combined-speed": "representation.experiments.attention:CombinedSpeed",
    "transfer": "representation.experiments.transfer:TransferExperiment",
    "memory-speed": "representation.experiments.memory:MemorySpeed",
    "capsule-scene": "representation.experiments.capsules:CapsuleScene",
    "meta-learning": "representation.experiments.meta:MetaLearning",
    "multi-task": "representation.experiments.multitask:MultiTaskExperiment",
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


def pretrain(
    name: str,
    folder: str | Path | None = None,
    settings: Sequence[str] = (),
    scale: float = 1.0,
    cache: str | Path | None = None,
    console: Console | None = None,
) -> ExperimentResult:
    """Run an experiment and return its result.

    Args:
        name: of the experiment
        folder: to work in; None for runs/pretrain/NAME
        settings: fields of `representation.fit.FitConfig`, "key=value" each
        scale: fraction of the full data and epochs, in (0, 10]
        cache: folder of cached recordings
    """
    if not 0 < scale <= 10:
        raise ValueError(f"scale must be in (0, 10], got {scale}")
    experiment = find_experiment(name)
    job = TrainingJob(
        Path(folder or Path("runs") / "pretrain" / name), scale, dict(parse_setting(text) for text in settings)
    )
    job.cache, job.console = Path(cache) if cache else None, console
    return run_experiment(experiment, job)
