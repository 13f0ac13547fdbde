"""State of a torch learner to the last bit: its tensors as arrays, and the random streams of Stable-Baselines3."""

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm


def as_tensors(value: Any) -> Any:
    """Return nested dicts and lists with tensors in place of their arrays, which share the memory."""
    if isinstance(value, dict):
        return {name: as_tensors(part) for name, part in value.items()}
    if isinstance(value, list):
        return [as_tensors(part) for part in value]
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def as_arrays(value: Any) -> Any:
    """Return nested dicts and lists with copies of their tensors and arrays, as arrays."""
    if isinstance(value, dict):
        return {name: as_arrays(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_arrays(part) for part in value]
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    return value.copy() if isinstance(value, np.ndarray) else value


# --- random streams -----------------------------------------------------------------------------------------------


def random_state(model: BaseAlgorithm) -> dict[str, Any]:
    """Return the global streams that SB3 draws from."""
    _, keys, position, has_gauss, gauss = np.random.get_state()
    streams = {
        "torch": torch.get_rng_state(),
        "numpy": keys,
        "numpy_position": [int(position), int(has_gauss), float(gauss)],
        "actions": model.action_space.np_random.bit_generator.state,
    }
    return streams | ({"cuda": torch.cuda.get_rng_state()} if model.device.type == "cuda" else {})


def restore_random(model: BaseAlgorithm, streams: dict[str, Any]) -> None:
    """Set the global streams that SB3 draws from."""
    torch.set_rng_state(torch.from_numpy(streams["torch"]))
    if model.device.type == "cuda" and "cuda" in streams:
        torch.cuda.set_rng_state(torch.from_numpy(streams["cuda"]))
    np.random.set_state(("MT19937", streams["numpy"], *streams["numpy_position"]))
    model.action_space.np_random.bit_generator.state = streams["actions"]
