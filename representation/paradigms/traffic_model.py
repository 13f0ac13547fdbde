"""Autoregressive traffic model: generates the next scene token by token.

p(next scene | scenes before) = product over its 21 tokens of p(token | tokens before it, scenes before). One GRU
encodes the scenes over time; another decodes a scene along the road, and at each segment also reads the same place in
the previous scene and the segments near it in the last two. Source: Graves 2013, "Generating sequences with recurrent
neural networks", arXiv:1308.0850, section 2, for predicting and sampling one token at a time.

    >>> model = TrafficModel()
    >>> model.bits(tokens)                                         # tokens (R, T, 21) -> mean bits per token
    >>> model.generate(tokens[:, :10], scenes=8, seed=0)           # (R, 8, 21), sampled

Letters in shapes: B runs, T scenes, H segments, L lanes, V vocabulary, D units, W segments in view.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from representation.data.tokens import BITS, PATTERNS, SEGMENTS, TOKENS, VOCABULARY
from representation.fit import Batch, Trainable

VIEW_AHEAD, VIEW_BEHIND = 3, 2  # stretches of the scenes before that are in view: traffic falls back toward the rear
PER_BATCH = 64  # runs that are measured at a time


class TrafficModel(Trainable):
    """Two GRUs, over scenes and over the tokens of a scene.

    Args:
        units: D of the one that remembers
        writer_units: of the one that writes
    """

    bits_of: Tensor

    def __init__(self, units: int = 96, writer_units: int = 96) -> None:
        super().__init__()
        self.units = units
        self.embed = nn.Embedding(VOCABULARY + 1, 32)  # the last is what stands before the first token
        self.read = nn.Linear(32 * TOKENS, units)
        self.memory = nn.GRU(units, units, batch_first=True)
        view = 2 * (VIEW_AHEAD + 1 + VIEW_BEHIND) * BITS.shape[1]
        self.look = nn.Linear(2 * 32 + view + units, writer_units)
        self.writer = nn.GRU(writer_units, writer_units, batch_first=True)
        self.start = nn.Linear(units, writer_units)
        self.out = nn.Linear(writer_units, VOCABULARY)
        table = np.concatenate([BITS, np.zeros((VOCABULARY - PATTERNS, BITS.shape[1]), BITS.dtype)])
        self.register_buffer("bits_of", torch.from_numpy(table).float())  # (V, L)

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (mean bits per token of all scenes but the first, nothing more) on tokens (B, T, 21)."""
        tokens = batch["tokens"]
        logits = self(tokens[:, :-1], tokens[:, 1:])  # (B, T - 1, 21, V)
        return cross_entropy(logits.flatten(0, 2), tokens[:, 1:].flatten()) / math.log(2.0), {}

    def forward(self, scenes: Tensor, after: Tensor) -> Tensor:
        """Return logits (B, T, 21, V) of the scenes `after` each of `scenes`, both (B, T, 21)."""
        memory, _ = self.memory(self._scene(scenes))  # (B, T, D)
        before = pad(after[..., :-1], (1, 0), value=VOCABULARY)  # (B, T, 21), shifted by one
        inputs = torch.cat([self.embed(before), self.embed(scenes), self._view(scenes), _repeated(memory)], -1)
        steps = torch.relu(self.look(inputs)).flatten(0, 1)  # (B * T, 21, W)
        first = torch.tanh(self.start(memory)).flatten(0, 1)[None]  # (1, B * T, W)
        written, _ = self.writer(steps, first.contiguous())
        return self.out(written).unflatten(0, memory.shape[:2])

    def bits(self, tokens: NDArray[np.int64]) -> float:
        """Return the mean bits per token of scenes (R, T, 21), given those before."""
        with torch.no_grad():
            pieces = torch.from_numpy(tokens).to(self.bits_of.device).split(PER_BATCH)
            return sum(float(self.loss({"tokens": piece})[0]) * len(piece) for piece in pieces) / len(tokens)

    def generate(self, tokens: NDArray[np.int64], scenes: int, seed: int) -> NDArray[np.int64]:
        """Return sampled scenes (R, scenes, 21) that follow tokens (R, T, 21)."""
        random = torch.Generator().manual_seed(seed)
        past = torch.from_numpy(tokens).to(self.bits_of.device)
        with torch.no_grad():
            outputs, state = self.memory(self._scene(past))
            for _ in range(scenes):
                scene = self._sample(past[:, -2:], outputs[:, -1:], random)  # (B, 1, 21)
                past = torch.cat([past, scene], 1)
                outputs, state = self.memory(self._scene(scene), state)
        return past[:, tokens.shape[1] :].cpu().numpy()

    def _sample(self, scenes: Tensor, memory: Tensor, random: torch.Generator) -> Tensor:
        """Return one scene (B, 1, 21) after the last two (B, 2, 21), from the memory (B, 1, D)."""
        view = [self.embed(scenes)[:, -1], self._view(scenes)[:, -1], memory.expand(-1, TOKENS, -1)]  # (B, 21, ...)
        state = torch.tanh(self.start(memory)).transpose(0, 1).contiguous()  # (1, B, W)
        token = torch.full_like(scenes[:, 0, :1], VOCABULARY)  # (B, 1)
        written = []
        for place in range(TOKENS):
            inputs = torch.cat([self.embed(token), *(part[:, place : place + 1] for part in view)], -1)
            out, state = self.writer(torch.relu(self.look(inputs)), state)
            logits = self.out(out[:, 0])  # (B, V)
            impossible = slice(PATTERNS, None) if place else slice(0, PATTERNS)
            logits[:, impossible] = -math.inf
            token = torch.multinomial(torch.softmax(logits, 1).cpu(), 1, generator=random).to(logits.device)
            written.append(token)
        return torch.cat(written, 1)[:, None]

    def _scene(self, scenes: Tensor) -> Tensor:
        """Return what is read of each scene, (B, T, D)."""
        return torch.relu(self.read(self.embed(scenes).flatten(2)))

    def _view(self, scenes: Tensor) -> Tensor:
        """Return which lanes were taken near each token's stretch in a scene and the one before, (B, T, 21, W)."""
        lanes = self.bits_of[scenes[..., 1:]]  # (B, T, H, L)
        padded = pad(lanes, (0, 0, VIEW_AHEAD, VIEW_BEHIND))
        near = padded.unfold(2, VIEW_AHEAD + 1 + VIEW_BEHIND, 1).flatten(3)  # (B, T, H, L * window)
        before = pad(near, (0, 0, 0, 0, 1, 0))[:, : near.shape[1]]  # the first scene has none before it
        both = torch.cat([near, before], -1)  # (B, T, H, W)
        assert both.shape[2] == SEGMENTS
        return pad(both, (0, 0, 1, 0))  # the ego car's token looks at nothing


def _repeated(memory: Tensor) -> Tensor:
    """Return the memory (B, T, D) beside each token, (B, T, 21, D)."""
    return memory[:, :, None].expand(-1, -1, TOKENS, -1)
