"""Multimodal encoder: an encoder for each part of a dict observation, fused by a dense layer.

Source: Ngiam et al. 2011, "Multimodal deep learning", ICML, section 3; SB3's CombinedExtractor is of the same form.

    >>> CombinedEncoder(space, 64, parts={"image": "conv", "lanes": {"name": "recurrent", "cell": "gru"}})

Letters in shapes: B observations, D features, P parts.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Self

import torch
from gymnasium import spaces
from torch import Tensor, nn

from representation.encoder import Encoder, Observation, is_image
from representation.registry import make_encoder

WHOLE = "whole"  # name of the only part of an observation that is not a dict


class CombinedEncoder(Encoder):
    """One encoder for each part of the observation; features are relu(W [f_1, ..., f_P] + b).

    Args:
        observation_space: a dict of anything, or anything, which is then one part
        features_dim: D
        parts: for parts by name, an encoder's name in `representation.registry.ENCODERS` or a dict of `name` and its
            arguments; for others, conv for images and grids, dense for the rest
        part_dim: features of each part
    """

    name = "combined"
    normalises_dicts = True

    def __init__(
        self,
        observation_space: spaces.Space,
        features_dim: int = 64,
        parts: Mapping[str, Any] | None = None,
        part_dim: int = 32,
    ) -> None:
        chosen = {name: dict(part) if isinstance(part, Mapping) else part for name, part in (parts or {}).items()}
        super().__init__(observation_space, features_dim, parts=chosen, part_dim=part_dim)
        spaces_ = _parts_of(self.observation_space)
        unknown = [name for name in chosen if name not in spaces_]
        if unknown:
            raise ValueError(f"parts {unknown} are not in the observation; it has {', '.join(spaces_)}")
        self.encoders = nn.ModuleDict(
            {name: _part_encoder(space, chosen.get(name), part_dim) for name, space in spaces_.items()}
        )
        self.join = nn.Linear(part_dim * len(spaces_), features_dim)

    def features(self, obs: Observation) -> Tensor:
        """Return (B, D)."""
        parts = obs if isinstance(obs, dict) else {WHOLE: obs}
        each = [self._part(encoder, parts[name]) for name, encoder in self._encoders()]  # P of (B, part_dim)
        return torch.relu(self.join(torch.cat(each, 1)))

    def fit_normalisation(self, observations: Any) -> Self:
        """Set the normalisation of each part of a dict from (N, ...) observations; else as any encoder."""
        if not isinstance(self.observation_space, spaces.Dict):
            return super().fit_normalisation(observations)
        for name, encoder in self._encoders():
            encoder.fit_normalisation(observations[name])
        return self

    def _encoders(self) -> Iterator[tuple[str, Encoder]]:
        for name, encoder in self.encoders.items():
            assert isinstance(encoder, Encoder)
            yield name, encoder

    def _part(self, encoder: Encoder, part: Tensor) -> Tensor:
        return encoder.features(encoder.normalise(encoder.aligned(part)))  # float32 in 0..1, see `Encoder.forward`


def _parts_of(space: spaces.Space) -> dict[str, spaces.Space]:
    """Return the parts of a space by name, in their order."""
    return dict(sorted(space.spaces.items())) if isinstance(space, spaces.Dict) else {WHOLE: space}


def _part_encoder(space: spaces.Space, choice: Any, part_dim: int) -> Encoder:
    if choice is None:
        choice = "conv" if is_image(space) or len(space.shape or ()) == 3 else "dense"
    arguments = {"name": choice} if isinstance(choice, str) else dict(choice)
    return make_encoder(arguments.pop("name"), space, part_dim, **arguments)
