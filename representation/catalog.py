"""Every recipe by name, in the order of the lecture. `deeptraffic pretrain NAME` runs one of them."""

import importlib
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from deeptraffic.settings import parse_setting
from representation.recipe import Job, Outcome, Recipe, run_recipe

PARADIGMS = (
    "feed-forward network",
    "convolutional network",
    "recurrent network",
    "encoder-decoder",
    "autoencoder",
    "generative adversarial network",
    "beyond",
)

# name on the command line -> module:class, imported when asked for
RECIPES: dict[str, str] = {
    "dense-speed": "representation.recipes.dense:DenseSpeed",
    "dense-scene": "representation.recipes.dense:DenseScene",
    "conv-scene": "representation.recipes.conv_scene:ConvScene",
    "conv-manoeuvre": "representation.recipes.conv_video:ConvManoeuvre",
    "conv-invariance": "representation.recipes.conv_invariance:ConvInvariance",
    "conv-detection": "representation.recipes.conv_detection:ConvDetection",
    "recurrent-speed": "representation.recipes.recurrent:RecurrentSpeed",
    "recurrent-drive": "representation.recipes.recurrent:RecurrentDrive",
    "traffic-model": "representation.recipes.traffic:Traffic",
    "segmentation": "representation.recipes.segmentation:Segmentation",
    "grid-predictor": "representation.recipes.forecast:GridPrediction",
    "forecaster": "representation.recipes.forecast:Forecast",
    "captioner": "representation.recipes.captioner:Captioner",
    "autoencoder": "representation.recipes.autoencoder:AutoencoderRecipe",
    "denoising": "representation.recipes.autoencoder:Denoising",
    "vae": "representation.recipes.autoencoder:Variational",
    "scene-gan": "representation.recipes.gan:SceneGan",
    "conditional-gan": "representation.recipes.gan:ConditionalGan",
    "pix2pix": "representation.recipes.gan_frames:LabelsToFrames",
    "gan-perception": "representation.recipes.gan_frames:GanPerception",
    "attention-lanes": "representation.recipes.attention:AttentionLanes",
    "combined-speed": "representation.recipes.attention:CombinedSpeed",
    "transfer": "representation.recipes.transfer:TransferRecipe",
    "memory-speed": "representation.recipes.memory:MemorySpeed",
    "capsule-scene": "representation.recipes.capsules:CapsuleScene",
    "meta-learning": "representation.recipes.meta:MetaLearning",
    "multi-task": "representation.recipes.multitask:MultiTaskRecipe",
}


def find_recipe(name: str) -> Recipe:
    """Return a recipe by name; ValueError for one that does not exist."""
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}; choose one of {', '.join(RECIPES)}")
    module, _, kind = RECIPES[name].partition(":")
    recipe = getattr(importlib.import_module(module), kind)()
    assert isinstance(recipe, Recipe) and recipe.name == name, f"{RECIPES[name]} is no recipe named {name}"
    return recipe


def pretrain(
    name: str,
    folder: str | Path | None = None,
    settings: Sequence[str] = (),
    scale: float = 1.0,
    cache: str | Path | None = None,
    console: Console | None = None,
) -> Outcome:
    """Run a recipe and return its outcome.

    Args:
        name: of the recipe
        folder: to work in; None for runs/pretrain/NAME
        settings: "key=value" each, of `representation.fit.FitConfig`
        scale: share of the full data and epochs, above 0, at most 10
        cache: folder for recordings
    """
    if not 0 < scale <= 10:
        raise ValueError(f"scale={scale} is not possible; give a number above 0, at most 10")
    recipe = find_recipe(name)
    job = Job(Path(folder or Path("runs") / "pretrain" / name), scale, dict(parse_setting(text) for text in settings))
    job.cache, job.console = Path(cache) if cache else None, console
    return run_recipe(recipe, job)
