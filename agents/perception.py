"""Encoders in front of agents: any of `representation.registry.ENCODERS`, from scratch or pretrained, by a setting.

    >>> build_config("ppo", settings={"encoder.name": "conv", "observation.kind": "grid"})       # from scratch
    >>> build_config("ppo", settings=encoder_settings("runs/pretrain/autoencoder/encoder.safetensors"))
    >>> build_config("world_model", settings=encoder_settings("runs/frames"))   # the encoder of a student of distil

A run's configuration holds the encoder's architecture, so that a run folder is read without the weights file that the
encoder was initialised from, and that file's fingerprint, so that a run never starts from another one.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from deeptraffic.envs.observations import Observation, make_observation
from deeptraffic.envs.observations.observation import FrameObservation
from deeptraffic.policies.base import EnvObservation
from deeptraffic.policies.layers import Reshape, Scale
from deeptraffic.policies.torch_export import NetworkBuilder
from deeptraffic.settings import Checked, boolean, integer
from deeptraffic.sim.rules import RoadConfig, Sensor
from deeptraffic.weights import unpack_tensors

NONE = "none"  # no encoder: the agent's own layers read the observation
WEIGHTS_SUFFIX = ".safetensors"
STUDENT = "best.safetensors"  # the best network, in a run folder
OF_STUDENT = "policy.features."  # begins the names of the weights of a student's encoder


@dataclass(frozen=True)
class EncoderConfig(Checked):
    """The network between the observation and the agent.

    name: of the architecture, or "none"
    features_dim: size of the feature vector that the agent gets
    architecture: the encoder's own settings, by name
    weights: file of pretrained weights; "" for random ones
    fingerprint: SHA-256 of that file
    trainable: whether pretrained weights are fine-tuned, or frozen
    """

    name: str = NONE
    features_dim: int = integer(64, 1, 65_536)
    architecture: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""
    fingerprint: str = ""
    trainable: bool = boolean(False)

    def check(self) -> None:
        """Raise ValueError for an architecture that does not exist, or settings without one."""
        if not isinstance(self.architecture, Mapping):
            raise ValueError(f"encoder.architecture={self.architecture!r} is not possible; give settings by name")
        if self.name == NONE:
            self._check_nothing_else()
            return
        from representation.registry import ENCODERS

        if self.name not in ENCODERS:
            raise ValueError(f"encoder.name={self.name!r} does not exist; choose one of none, {', '.join(ENCODERS)}")

    @property
    def is_used(self) -> bool:
        """Whether there is an encoder."""
        return self.name != NONE

    @property
    def is_frozen(self) -> bool:
        """Whether training leaves the encoder as it is."""
        return bool(self.weights) and not self.trainable

    def _check_nothing_else(self) -> None:
        changed = [f.name for f in fields(self) if f.name != "name" and getattr(self, f.name) != _default(f)]
        if changed:
            raise ValueError(
                f"encoder.{changed[0]}={getattr(self, changed[0])!r} has no meaning without an encoder; "
                "give encoder.name, or a weights file by --encoder"
            )


def _default(setting: Any) -> Any:
    return {} if setting.name == "architecture" else setting.default


def encoder_settings(encoder: str | Path) -> dict[str, Any]:
    """Return the settings that `--encoder NAME|WEIGHTS|RUN` stands for.

    A weights file, or the run folder of a student that was distilled through an encoder, brings its architecture and
    the observation that it was trained on. Raises ValueError if it cannot be read.
    """
    path = Path(encoder) / STUDENT if Path(encoder).is_dir() else Path(encoder)
    if path.suffix != WEIGHTS_SUFFIX:
        return {"encoder.name": str(encoder)}
    trained = load_trained(path)
    plan = {
        "encoder.name": trained.name,
        "encoder.features_dim": trained.features_dim,
        "encoder.architecture": trained.architecture,
        "encoder.weights": str(path),
        "encoder.fingerprint": fingerprint(path),
    }
    return plan | {f"observation.{name}": value for name, value in (trained.observed or {}).items()}


def load_trained(path: str | Path) -> Any:
    """Return the encoder in a weights file, or in the best network of a run of distil, marked as pretrained."""
    import torch

    from representation.registry import load_encoder, make_encoder

    path = Path(path)
    settings_file = path.with_name("config.json")
    if path.name != STUDENT or not settings_file.exists():
        return load_encoder(path)
    settings = json.loads(settings_file.read_text(encoding="utf-8"))
    plan, observation = settings["encoder"], make_observation(settings["observation"])
    tensors, _ = unpack_tensors(path)
    named = {name.removeprefix(OF_STUDENT): part for name, part in tensors.items() if name.startswith(OF_STUDENT)}
    if settings["algo"] != "distil" or plan["name"] == NONE:
        raise ValueError(
            f"the run in {str(path.parent)!r} trained no encoder to start from; name a run of distil with --encoder, "
            "or a weights file of `deeptraffic pretrain`"
        )
    space = observation.space(RoadConfig(**settings["road"]).build())
    encoder = make_encoder(plan["name"], space, plan["features_dim"], **plan["architecture"])
    encoder.load_state_dict({name: torch.from_numpy(part) for name, part in named.items()})
    encoder.observed = settings["observation"]
    return encoder.mark_pretrained()


def fingerprint(path: str | Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def encoder_kwargs(config: EncoderConfig, is_new: bool) -> dict[str, Any]:
    """Return what the encoder adds to SB3's `policy_kwargs`.

    is_new: whether training begins, with the weights file; otherwise weights come from a checkpoint or a run

    Raises ValueError if the weights file is not the one that the configuration names.
    """
    if config.name == NONE:
        return {}
    if is_new and config.weights:
        trained = load_trained(config.weights)
        if config.fingerprint and fingerprint(config.weights) != config.fingerprint:
            raise ValueError(f"weights file {config.weights!r} has changed since this run began; name another folder")
        return trained.policy_kwargs(config.trainable)
    kwargs = {"plan": config}
    return {"features_extractor_class": rebuild, "features_extractor_kwargs": kwargs, "normalize_images": True}


def rebuild(observation_space: spaces.Space, plan: EncoderConfig) -> Any:
    """Return a new encoder of the plan's architecture: a `features_extractor_class`."""
    from representation.registry import make_encoder

    encoder = make_encoder(plan.name, observation_space, plan.features_dim, **plan.architecture)
    return encoder.freeze() if plan.is_frozen else encoder


def fit_normalisation(extractor: Any, observations: Any) -> None:
    """Fit the normalisation of an encoder that is trained from scratch to observations (N, ...), where it has one."""
    from representation.encoder import Encoder

    if not isinstance(extractor, Encoder) or extractor.is_pretrained or extractor.is_frozen:
        return
    if not isinstance(observations, dict) or extractor.normalises_dicts:
        extractor.fit_normalisation(observations)


# --- policy files -----------------------------------------------------------------------------------------------------


def file_observation(observation: Observation, road: RoadConfig) -> Sensor | EnvObservation:
    """Return what a policy file observes for a network on this: the sensor's cells where layers compute the rest."""
    rules = road.build()
    if observation.layers(rules) is not None and not observation.temporal_window:
        return observation.sensor
    return observation.by_name(rules)


def add_encoder(network: NetworkBuilder, encoder: Any, observation: Observation) -> bool:
    """Append the layers of a policy file that compute an encoder's features; False if no policy file can hold it."""
    if isinstance(encoder.observation_space, spaces.Dict):
        return encoder.reads_dicts and encoder.add_layers(network)
    is_image = isinstance(observation, FrameObservation)
    if is_image and not encoder.reads_images:
        return False
    scale, offset = encoder.scale.cpu().numpy(), encoder.offset.cpu().numpy()
    if is_image:
        offset = offset.transpose(1, 2, 0)  # channels last, as policy files have them
    unit = 255.0 if encoder.observation_space.dtype == np.uint8 else 1.0
    factor = np.broadcast_to(1.0 / (unit * scale), offset.shape)
    network.add(Scale(), {"factor": factor.ravel(), "offset": (-offset / scale).ravel()})
    if is_image:
        network.add(Reshape(shape=offset.shape))
    return encoder.add_layers(network)
