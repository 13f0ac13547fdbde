"""Encoders by name: the one list from which command line, configuration and weights files choose."""

from typing import Any

from gymnasium import spaces

from representation.beyond.attention import AttentionEncoder
from representation.beyond.capsules import CapsuleEncoder
from representation.beyond.combined import CombinedEncoder
from representation.beyond.memory import MemoryEncoder
from representation.encoder import Encoder
from representation.paradigms.conv import ConvEncoder
from representation.paradigms.dense import DenseEncoder
from representation.paradigms.gan import DiscriminatorEncoder
from representation.paradigms.recurrent import RecurrentEncoder

ENCODERS: dict[str, type[Encoder]] = {
    kind.name: kind
    for kind in (
        DenseEncoder,
        ConvEncoder,
        RecurrentEncoder,
        MemoryEncoder,
        DiscriminatorEncoder,
        AttentionEncoder,
        CombinedEncoder,
        CapsuleEncoder,
    )
}


def make_encoder(name: str, observation_space: spaces.Space, features_dim: int = 64, **architecture: Any) -> Encoder:
    """Return a new encoder; ValueError for a name that does not exist or arguments that it does not have."""
    if name not in ENCODERS:
        raise ValueError(f"there is no encoder {name!r}; choose one of {', '.join(ENCODERS)}")
    try:
        return ENCODERS[name](observation_space, features_dim, **architecture)
    except TypeError as error:
        raise ValueError(f"encoder {name!r} cannot be made with {architecture}: {error}") from error
