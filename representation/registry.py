"""Registry of encoders: command line, configuration and weights files choose from the modules of `encoders` by name."""

import importlib
import pkgutil
from pathlib import Path
from typing import Any

from gymnasium import spaces

from representation import encoders
from representation.encoder import Encoder, architecture_name
from representation.weights import read_weights

# a module's name is its encoder's; it is imported when it is asked for, so that an encoder may itself be made of others
ENCODERS = tuple(module.name for module in pkgutil.iter_modules(encoders.__path__))


def encoder_class(name: str) -> type[Encoder]:
    """Return an encoder's class; ValueError for a name that does not exist."""
    if name not in ENCODERS:
        raise ValueError(f"there is no encoder {name!r}; choose one of {', '.join(ENCODERS)}")
    module = importlib.import_module(f"{encoders.__name__}.{name}")
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Encoder)]
    (found,) = [kind for kind in kinds if getattr(kind, "name", None) == name]
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
