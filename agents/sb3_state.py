"""State of a Stable-Baselines3 model to the last bit: its arrays as tensors, and its random streams."""

import json
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm


def as_tensors(value: Any) -> Any:
    """Copy an array, or a dict of arrays, into tensors; texts stay texts."""
    if isinstance(value, dict):
        return {name: as_tensors(part) for name, part in value.items()}
    if isinstance(value, str):
        return value
    return torch.from_numpy(np.array(value, order="C"))


def as_arrays(value: Any) -> Any:
    """Copy a tensor, or a dict of tensors, into arrays; texts stay texts."""
    if isinstance(value, dict):
        return {name: as_arrays(part) for name, part in value.items()}
    if isinstance(value, str):
        return value
    return value.numpy().copy()


# --- random streams -----------------------------------------------------------------------------------------------


def random_state(model: BaseAlgorithm) -> dict[str, Any]:
    """Return the global streams that SB3 draws from."""
    _, keys, position, has_gauss, gauss = np.random.get_state()
    streams = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys, np.int64)),
        "numpy_position": json.dumps([int(position), int(has_gauss), float(gauss)]),
        "actions": json.dumps(model.action_space.np_random.bit_generator.state),
    }
    return streams | ({"cuda": torch.cuda.get_rng_state()} if model.device.type == "cuda" else {})


def restore_random(model: BaseAlgorithm, streams: dict[str, Any]) -> None:
    """Set the global streams that SB3 draws from."""
    torch.set_rng_state(streams["torch"])
    if model.device.type == "cuda" and "cuda" in streams:
        torch.cuda.set_rng_state(streams["cuda"])
    np.random.set_state(("MT19937", streams["numpy"].numpy().astype(np.uint32), *json.loads(streams["numpy_position"])))
    model.action_space.np_random.bit_generator.state = json.loads(streams["actions"])
