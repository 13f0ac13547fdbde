"""Weights files: one `.safetensors` file of a network's parameters, with a JSON header that describes the network.

    >>> save_module("unet.safetensors", net.state_dict(), {"architecture": {"name": "segmentation", "width": 16}})
    >>> tensors, facts = read_weights("unet.safetensors")

For an encoder, the header's facts are: format "deeptraffic-encoder", version 1; architecture {name, features_dim,
kwargs}; observation {space, observed}; summary (how it was trained). The normalisation is among the tensors (`offset`,
`scale`). The file is never a pickle; its reader builds the network from the name of its architecture.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deeptraffic.run_dir import write_atomically
from deeptraffic.weights import pack_tensors, unpack_tensors

KEY = "deeptraffic_representation"  # of the facts in the header's metadata


def module_content(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """Return the content of a weights file: the same bytes for the same weights and facts."""
    return pack_tensors({name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}, KEY, facts)


def save_module(path: str | Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a weights file, whole or not at all."""
    write_atomically(Path(path), module_content(tensors, facts))


def read_weights(source: str | Path | bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (tensors, facts) of a weights file, by its path or its content.

    Raises ValueError if it cannot be read or is no file of this package.
    """
    name = "these bytes" if isinstance(source, bytes) else repr(str(source))
    try:
        tensors, metadata = unpack_tensors(source)
        facts = json.loads(metadata[KEY])
    except FileNotFoundError:
        raise ValueError(f"there is no weights file {name}; `deeptraffic pretrain NAME` writes one") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{name} is no weights file of this package, or a corrupted one ({type(error).__name__}: {error}); "
            "write it again with `deeptraffic pretrain`"
        ) from error
    return {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, facts


def parameter_count(module: torch.nn.Module) -> int:
    """Return the number of trainable parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())
