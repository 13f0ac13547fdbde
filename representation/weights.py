"""The weights file: one `.safetensors` file with a JSON header that says what network the numbers belong to.

    >>> save_module("unet.safetensors", net.state_dict(), {"architecture": {"name": "segmentation", "width": 16}})
    >>> tensors, facts = read_weights("unet.safetensors")

For an encoder, the header's facts are: format "deeptraffic-encoder", version 1; architecture {name, features_dim,
kwargs}; observation {space, observed}; summary (how it was trained). The normalisation is among the tensors (`offset`,
`scale`). It is never a pickle; what reads it decides by name, in `representation.registry`, what is built.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from deeptraffic.run_dir import write_atomically
from representation.encoder import Encoder, describe_space

FORMAT, VERSION = "deeptraffic-encoder", 1
KEY = "deeptraffic_representation"  # of the facts in the header's metadata


def module_content(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """Return the content of a weights file: the same bytes for the same weights and facts."""
    from safetensors.torch import save

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(plain, metadata={KEY: json.dumps(facts, sort_keys=True)})  # one entry: the order of several is random


def save_module(path: str | Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a weights file, whole or not at all."""
    write_atomically(Path(path), module_content(tensors, facts))


def read_weights(source: str | Path | bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (tensors, facts) of a weights file, by its path or its content.

    Raises ValueError if it cannot be read or is no file of this package.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    name = "these bytes" if isinstance(source, bytes) else repr(str(source))
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        facts = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][KEY])
    except FileNotFoundError:
        raise ValueError(f"there is no weights file {name}; `deeptraffic pretrain NAME` writes one") from None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{name} is no weights file of this package, or a damaged one ({type(error).__name__}: {error}); "
            "write it again with `deeptraffic pretrain`"
        ) from error
    return tensors, facts


# --- encoders ---------------------------------------------------------------------------------------------------------


def encoder_content(encoder: Encoder) -> bytes:
    """Return the content of an encoder's file."""
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": {
            "name": encoder.name,
            "features_dim": encoder.features_dim,
            "kwargs": encoder.architecture,
        },
        "observation": {"space": describe_space(encoder.observation_space), "observed": encoder.observed},
        "summary": encoder.summary,
    }
    return module_content(encoder.state_dict(), facts)


def write_encoder(path: str | Path, encoder: Encoder) -> None:
    """Write an encoder's file, whole or not at all."""
    write_atomically(Path(path), encoder_content(encoder))


def load_encoder(source: str | Path | bytes) -> Encoder:
    """Return the encoder in a file's path or content, marked as pretrained.

    Raises ValueError if it is no encoder's file, or its weights are not those of the architecture that it names.
    """
    from representation.registry import make_encoder

    tensors, facts = read_weights(source)
    if facts.get("format") != FORMAT or facts.get("version") != VERSION:
        raise ValueError(
            f"this file holds {facts.get('format')!r} version {facts.get('version')!r}, not an encoder "
            f"({FORMAT!r} version {VERSION}); encoders are written by `Encoder.save` and `deeptraffic pretrain`"
        )
    try:
        plan, seen = facts["architecture"], facts["observation"]
        space = space_of(seen["space"])
        encoder = make_encoder(plan["name"], space, plan["features_dim"], **plan["kwargs"])
        encoder.load_state_dict(tensors)
    except (RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"the weights do not fit the architecture that the file names ({error})") from error
    encoder.observed, encoder.summary = seen["observed"], facts["summary"]
    return encoder.mark_pretrained()


def space_of(described: Mapping[str, Any]) -> spaces.Space:
    """Return the space that `describe_space` described; its bounds are those that a network does not ask about."""
    if "shape" not in described:
        return spaces.Dict({name: space_of(part) for name, part in described.items()})
    shape = tuple(int(side) for side in described["shape"])
    if described["dtype"] == "uint8":
        return spaces.Box(0, 255, shape, np.uint8)
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


def parameter_count(module: torch.nn.Module) -> int:
    """Return how many numbers a module learns."""
    return sum(parameter.numel() for parameter in module.parameters())
