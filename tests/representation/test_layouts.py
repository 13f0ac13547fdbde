"""Rows, pictures and sequences: the shape that a space promises is the shape that an observation takes."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from representation.layouts import as_image, as_sequence, as_vector, image_shape, sequence_shape, vector_size


def box(*shape: int) -> spaces.Box:
    return spaces.Box(-1.0, 1.0, shape, np.float32)


SPACES: dict[str, tuple[Any, int, tuple[int, ...], tuple[int, ...]]] = {
    "row": (box(6), 6, (1, 1, 6), (1, 6)),
    "window": (box(3, 6), 18, (1, 3, 6), (3, 6)),
    "picture": (box(4, 5, 7), 140, (4, 5, 7), (5, 28)),
    "pictures": (box(2, 4, 5, 7), 280, (8, 5, 7), (2, 140)),
    "vehicles": (spaces.Dict(ego=box(5), vehicles=box(8, 6), mask=spaces.MultiBinary(8)), 61, (1, 1, 61), (8, 6)),
    "parts": (spaces.Dict(a=box(2), b=box(2, 2)), 6, (1, 1, 6), (1, 6)),
}


@pytest.mark.parametrize("name", SPACES)
def test_every_form_has_the_shape_that_the_space_promises(name: str) -> None:
    space, numbers, picture, sequence = SPACES[name]
    assert (vector_size(space), image_shape(space), sequence_shape(space)) == (numbers, picture, sequence)
    samples = [space.sample() for _ in range(3)]
    obs: Any = torch.from_numpy(np.stack(samples)) if not isinstance(space, spaces.Dict) else {}
    for part in getattr(space, "spaces", {}):
        obs[part] = torch.from_numpy(np.stack([sample[part] for sample in samples])).float()
    assert as_vector(obs).shape == (3, numbers)
    assert as_image(obs).shape == (3, *picture)
    assert as_sequence(obs).shape == (3, *sequence)


def test_a_pictures_sequence_is_its_lines_and_a_windows_is_its_pictures() -> None:
    picture = torch.arange(2 * 3 * 4).reshape(1, 2, 3, 4)
    assert as_sequence(picture)[0, 1].tolist() == picture[0, :, 1].flatten().tolist()
    window = torch.arange(5 * 2 * 3 * 4).reshape(1, 5, 2, 3, 4)
    assert as_sequence(window)[0, 4].tolist() == window[0, 4].flatten().tolist()
