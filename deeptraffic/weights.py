"""Weights on disk: named tensors and metadata in one `.safetensors` file, which holds data and never code.

    >>> content = pack_tensors({"0.weight": weight}, "notes", {"decisions": "1000"})
    >>> tensors, metadata = unpack_tensors(content)

Policy files, whose authors are not trusted, have a stricter reader: `deeptraffic.policies.file`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack_tensors(tensors: Mapping[str, NDArray[Any]], key: str, facts: Any) -> bytes:
    """Return the content of a file: the same bytes for the same tensors and facts.

    key: of the facts, JSON values, in the metadata; it is the only one, since several have no fixed order
    """
    from safetensors.numpy import save

    arrays = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    return save(arrays, metadata={key: json.dumps(facts, sort_keys=True)})


def unpack_tensors(source: str | Path | bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return (tensors, metadata) of a file, by its path or its content.

    Raises FileNotFoundError if there is no such file, ValueError, which says why, if it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return {name: tensor.copy() for name, tensor in tensors.items()}, header.get("__metadata__", {})
