"""Decoders: they overfit outputs of their own shape, and refuse impossible ones."""

import pytest
import torch

from representation.paradigms.autoencoder.decoders import DECODERS, make_decoder


@pytest.mark.parametrize(("name", "shape"), [("dense", (5,)), ("conv", (2, 10, 7)), ("recurrent", (6, 3))])
def test_a_decoder_draws_eight_different_outputs_from_eight_features(name: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    features, wanted = torch.eye(8), torch.randn(8, *shape)
    decoder = make_decoder(name, 8, shape)
    optimizer = torch.optim.Adam(decoder.parameters(), 0.01)
    for _ in range(200):
        loss = (decoder(features) - wanted).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.02 * wanted.pow(2).mean()


def test_impossible_outputs_and_names_are_refused() -> None:
    with pytest.raises(ValueError, match="there is no decoder 'oracle'; choose one of dense, conv, recurrent"):
        make_decoder("oracle", 8, (3,))
    for shape in ((), (0,), (3000, 3000)):
        with pytest.raises(ValueError, match="must have 1 to 4,000,000 values in all"):
            make_decoder("dense", 8, shape)
    with pytest.raises(ValueError, match="cannot be made with"):
        make_decoder("dense", 8, (3,), depth=2)
    assert list(DECODERS) == ["dense", "conv", "recurrent"]
