"""Checkpoints: arrays, numbers and strings, nested in dicts and lists, in one `.safetensors` file.

    >>> content = pack_state({"counts": np.arange(2), "settings": [{"lr": 0.1}]})
    >>> unpack_state(content)
    {'counts': array([0, 1]), 'settings': [{'lr': 0.1}]}

Such a file holds data and never code, so a run folder from elsewhere does no harm; reading it needs no torch.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.weights import pack_tensors, unpack_tensors

KEY = "state"


def pack_state(state: Any) -> bytes:
    """Return the content of a checkpoint: the same bytes for the same state; tuples become lists."""
    arrays: dict[str, NDArray[Any]] = {}

    def outline(part: Any) -> Any:
        if isinstance(part, np.ndarray):
            name = str(len(arrays))
            arrays[name] = part
            return {"array": name}
        if isinstance(part, dict):
            return {"dict": [[key, outline(value)] for key, value in part.items()]}
        return [outline(value) for value in part] if isinstance(part, list | tuple) else part

    facts = outline(state)
    return pack_tensors(arrays, KEY, facts)


def unpack_state(source: str | Path | bytes) -> Any:
    """Return the state of a checkpoint, by its path or its content; raises ValueError or KeyError if it is damaged."""
    arrays, metadata = unpack_tensors(source)

    def filled(part: Any) -> Any:
        if isinstance(part, dict):
            return arrays[part["array"]] if "array" in part else {key: filled(value) for key, value in part["dict"]}
        return [filled(value) for value in part] if isinstance(part, list) else part

    return filled(json.loads(metadata[KEY]))
