"""Convolutions: shapes on any picture, one filter everywhere, and readings that do or do not care about places."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from representation.encoders.conv import ConvEncoder, conv_layers
from representation.weights import parameter_count


def box(*shape: int) -> spaces.Box:
    return spaces.Box(0.0, 1.0, shape, np.float32)


@pytest.mark.parametrize(
    ("shape", "maps"),
    [
        ((4, 60, 7), (32, 8, 7)),
        ((3, 84, 84), (32, 11, 11)),
        ((1, 1, 42), (32, 1, 6)),
        ((2, 3, 2), (32, 3, 2)),
        ((1, 1, 1), (32, 1, 1)),
    ],
)
def test_layers_halve_long_sides_and_leave_short_ones(shape: tuple[int, int, int], maps: tuple[int, int, int]) -> None:
    layers, promised = conv_layers(shape, (16, 32, 32))
    assert promised == maps
    assert layers(torch.zeros(2, *shape)).shape == (2, *maps)


def test_a_layer_computes_the_sum_of_the_equation() -> None:
    layers, _ = conv_layers((2, 4, 4), (1,))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 2, 4, 4, generator=generator)
    weight, bias = layers[0].weight, layers[0].bias
    assert isinstance(weight, torch.Tensor) and isinstance(bias, torch.Tensor)
    by_hand = bias[0] + (weight[0] * x[0, :, 0:3, 1:4]).sum()  # the place (1, 2), s = 1, p = 1
    assert layers[0](x)[0, 0, 1, 2].item() == pytest.approx(by_hand.item(), abs=1e-6)


def test_what_moves_in_the_picture_moves_in_the_maps() -> None:
    torch.manual_seed(0)
    layers, _ = conv_layers((1, 8, 8), (4, 4))
    picture = torch.zeros(1, 1, 8, 8)
    picture[0, 0, 3, 3] = 1.0
    moved = torch.roll(picture, 1, 2)
    assert torch.allclose(torch.roll(layers(picture), 1, 2)[..., 2:7, :], layers(moved)[..., 2:7, :], atol=1e-6)


@pytest.mark.parametrize("reading", ["max", "mean"])
def test_features_of_the_whole_picture_do_not_depend_on_places(reading: str) -> None:
    torch.manual_seed(0)
    encoder = ConvEncoder(box(1, 8, 8), 6, channels=(4,), reading=reading)
    pictures = np.zeros((2, 1, 8, 8), np.float32)
    pictures[0, 0, 2, 2] = pictures[1, 0, 5, 4] = 1.0
    first, second = encoder.encode(pictures)
    assert np.allclose(first, second, atol=1e-6)
    empty = encoder.encode(np.zeros((1, 1, 8, 8), np.float32))[0]
    assert not np.allclose(first, empty, atol=1e-4)


def test_a_stack_of_pictures_is_read_as_one_with_all_channels() -> None:
    encoder = ConvEncoder(box(3, 4, 20, 7))
    assert encoder.layers[0].in_channels == 12
    assert encoder.encode(np.zeros((5, 3, 4, 20, 7), np.float32)).shape == (5, 64)


def test_a_filter_costs_as_little_on_a_large_picture_as_on_a_small_one() -> None:
    large, small = (ConvEncoder(box(4, side, side), reading="max") for side in (80, 20))
    assert parameter_count(large) == parameter_count(small)


def test_layers_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"channels=\(\) is not possible"):
        ConvEncoder(box(4, 8, 8), channels=())
    with pytest.raises(ValueError, match="kernel_size must be odd and at least 1, got 4"):
        ConvEncoder(box(4, 8, 8), kernel_size=4)
    with pytest.raises(ValueError, match="reading='sum' does not exist; choose one of flat, max, mean"):
        ConvEncoder(box(4, 8, 8), reading="sum")


def test_windows_say_where_filters_look() -> None:
    """A lane of a road seen from above is 4 of 28 columns, and the last filter sees a whole lane."""
    windows = [[4, 6, 2, 4, 1, 1], [35, 1, 1, 1, 0, 0], [1, 7, 1, 1, 0, 3]]
    encoder = ConvEncoder(box(2, 70, 28), 6, channels=(3, 4, 5), windows=windows, reading="max")
    assert encoder.maps == (5, 1, 7)
    assert [layer.weight.shape for layer in encoder.layers[::2]] == [(3, 2, 4, 6), (4, 3, 35, 1), (5, 4, 1, 7)]
    assert ConvEncoder.load(encoder.content()).maps == encoder.maps
    with pytest.raises(ValueError, match="6 integers for each of 2 layers"):
        ConvEncoder(box(2, 70, 28), channels=(3, 4), windows=windows)
    with pytest.raises(ValueError, match="a filter of .36, 1. does not fit into .35, 7.; change windows of layer 1"):
        ConvEncoder(box(2, 70, 28), channels=(3, 4), windows=[windows[0], [36, 1, 1, 1, 0, 0]])
