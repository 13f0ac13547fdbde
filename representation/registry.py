"""Registry of encoders: the one list from which command line, configuration and weights files choose by name."""

import importlib
from pathlib import Path
from typing import Any

from gymnasium import spaces

from representation.encoder import Encoder, architecture_name
from representation.weights import read_weights

# name -> module:class, imported when it is asked for, so that an encoder may itself be made of others
ENCODERS: dict[str, str] = {
    "dense": "representation.paradigms.feedforward.model:DenseEncoder",
    "conv": "representation.paradigms.convolutional.model:ConvEncoder",
    "recurrent": "representation.paradigms.recurrent.model:RecurrentEncoder",
    "memory": "representation.beyond.memory:MemoryEncoder",
    "discriminator": "representation.paradigms.gan.model:DiscriminatorEncoder",
    "attention": "representation.beyond.attention:AttentionEncoder",
    "combined": "representation.beyond.combined:CombinedEncoder",
    "capsules": "representation.beyond.capsules:CapsuleEncoder",
}


def encoder_class(name: str) -> type[Encoder]:
    """Return an encoder's class; ValueError for a name that does not exist."""
    if name not in ENCODERS:
        raise ValueError(f"there is no encoder {name!r}; choose one of {', '.join(ENCODERS)}")
    module, _, class_name = ENCODERS[name].partition(":")
    found = getattr(importlib.import_module(module), class_name)
    assert issubclass(found, Encoder) and found.name == name, f"{ENCODERS[name]} is not an encoder named {name!r}"
    return found


def make_encoder(name: str, observation_space: spaces.Space, features_dim: int = 64, **architecture: Any) -> Encoder:
    """Return a new encoder; ValueError for a name that does not exist or arguments that it does not have."""
    make = encoder_class(name)
    try:
        return make(observation_space, features_dim, **architecture)
    except TypeError as error:
        raise ValueError(f"encoder {name!r} cannot be made with {architecture}: {error}") from error


def load_encoder(source: str | Path | bytes) -> Encoder:
    """Return the encoder in a weights file's path or content, marked as pretrained; see `Encoder.load`."""
    return encoder_class(architecture_name(read_weights(source)[1])).load(source)
