"""Layouts of observations: any observation as a vector, an image or a sequence, so that every encoder reads every kind.

| observation                   | vector (B, n) | image (B, C, H, W)      | sequence (B, T, n)                 |
|-------------------------------|---------------|-------------------------|------------------------------------|
| vector (n,)                   | itself        | one row, (1, 1, n)      | one step                           |
| window or list (T, n)         | flattened     | one channel, (1, T, n)  | itself                             |
| image, grid (C, H, W)         | flattened     | itself                  | its rows, far ones first, (H, C*W) |
| window of images (T, C, H, W) | flattened     | channels of all, (T*C)  | its images, flattened              |
| dict, with `vehicles` (K, n)  | all parts     | one row of all parts    | its vehicles                       |
| dict, without                 | all parts     | one row of all parts    | one step of all parts              |

"""

from typing import Any

from gymnasium import spaces
from torch import Tensor, cat, zeros

VEHICLES, MASK = "vehicles", "mask"  # parts of the observation kind kinematics


def as_vector(obs: Any) -> Tensor:
    """Return (B, n); a dict's parts in the order of their names."""
    if isinstance(obs, dict):
        return cat([as_vector(obs[name]) for name in sorted(obs)], dim=1)
    return obs.flatten(1)  # (B, n)


def as_image(obs: Any) -> Tensor:
    """Return (B, C, H, W)."""
    if isinstance(obs, dict) or obs.dim() < 3:
        return as_vector(obs)[:, None, None, :]  # (B, 1, 1, n)
    return obs.reshape(len(obs), -1, *obs.shape[-2:])  # (B, C, H, W)


def as_sequence(obs: Any) -> Tensor:
    """Return (B, T, n)."""
    if isinstance(obs, dict):
        return as_sequence(obs[VEHICLES]) if VEHICLES in obs else as_vector(obs)[:, None, :]
    if obs.dim() == 2:
        return obs[:, None, :]  # (B, 1, n)
    if obs.dim() == 4:
        return obs.transpose(1, 2).flatten(2)  # (B, H, C * W)
    return obs.flatten(2)  # (B, T, n)


# --- shapes of one observation, for building layers -------------------------------------------------------------------


def vector_size(space: spaces.Space) -> int:
    """Return the number of values of one observation."""
    return as_vector(_example(space)).shape[1]


def image_shape(space: spaces.Space) -> tuple[int, int, int]:
    """Return (C, H, W) of one observation as an image."""
    _, channels, height, width = as_image(_example(space)).shape
    return channels, height, width


def sequence_shape(space: spaces.Space) -> tuple[int, int]:
    """Return (T, n) of one observation as a sequence."""
    _, steps, size = as_sequence(_example(space)).shape
    return steps, size


def _example(space: spaces.Space) -> Any:
    """Return one observation of zeros, (1, ...); ValueError for a space that no network reads."""
    if isinstance(space, spaces.Dict):
        return {name: _example(part) for name, part in space.spaces.items()}
    if not isinstance(space, spaces.Box | spaces.MultiBinary) or not space.shape:
        raise ValueError(
            f"observations of {space} cannot be the input of an encoder; choose a numeric kind, such as gaps, grid, "
            "pixels or kinematics"
        )
    return zeros(1, *space.shape)
