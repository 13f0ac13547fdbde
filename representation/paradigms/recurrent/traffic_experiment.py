"""Autoregressive traffic model: next-scene prediction, sampled traffic, n-gram baselines.

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
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from deeptraffic.envs.observations.grid import OCCUPIED, OWN, SPEED
from representation.data.tokens import BITS, LANES, PATTERNS, SEGMENTS, TOKENS, VOCABULARY, scene_of, scene_tokens
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Batch, FitConfig, Trainable
from representation.plots import save_roads
from representation.weights import save_module

VIEW_AHEAD, VIEW_BEHIND = 3, 2  # stretches of the scenes before that are in view: traffic falls back toward the rear
EGO_SEGMENT = 15  # of the ego car
PER_BATCH = 64  # runs that are measured at a time


class TrafficModel(Trainable):
    """Two GRUs, over scenes and over the tokens of a scene.

    Args:
        units: D of the GRU over scenes
        writer_units: of the GRU over tokens
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
        history = torch.from_numpy(tokens).to(self.bits_of.device)
        with torch.no_grad():
            outputs, state = self.memory(self._scene(history))
            for _ in range(scenes):
                scene = self._sample(history[:, -2:], outputs[:, -1:], random)  # (B, 1, 21)
                history = torch.cat([history, scene], 1)
                outputs, state = self.memory(self._scene(scene), state)
        return history[:, tokens.shape[1] :].cpu().numpy()

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
        """Return the embedding of each scene, (B, T, D)."""
        return torch.relu(self.read(self.embed(scenes).flatten(2)))

    def _view(self, scenes: Tensor) -> Tensor:
        """Return which lanes were taken near each token's stretch in a scene and the one before, (B, T, 21, W)."""
        lanes = self.bits_of[scenes[..., 1:]]  # (B, T, H, L)
        padded = pad(lanes, (0, 0, VIEW_AHEAD, VIEW_BEHIND))
        near = padded.unfold(2, VIEW_AHEAD + 1 + VIEW_BEHIND, 1).flatten(3)  # (B, T, H, L * window)
        before = pad(near, (0, 0, 0, 0, 1, 0))[:, : near.shape[1]]  # the first scene has none before it
        both = torch.cat([near, before], -1)  # (B, T, H, W)
        assert both.shape[2] == SEGMENTS
        return pad(both, (0, 0, 1, 0))  # the ego car's token reads no segment


def _repeated(memory: Tensor) -> Tensor:
    """Return the memory (B, T, D) beside each token, (B, T, 21, D)."""
    return memory[:, :, None].expand(-1, -1, TOKENS, -1)


WEIGHTS = "traffic-model.safetensors"
GIVEN, CONTINUED = 10, 30  # [scenes] that are given, and that are sampled after them
SHOWN = (0, 2, 4, 6, 8, 12, 16)  # sampled scenes that are drawn
STRENGTHS = (0.3, 1.0, 3.0, 10.0)  # of the n-grams' smoothing, chosen on validation data
LENGTHS = (1, 2, 3)

I64 = NDArray[np.int64]
Contexts = Callable[[I64], tuple[I64, I64]]


class Traffic(Experiment):
    """Language model of traffic: 21 tokens per scene, one scene per decision."""

    name, paradigm = "traffic-model", "recurrent network"
    summary = "Generates the next scene of traffic token by token; sampled traffic continues for 30 decisions."
    source = "Graves 2013, arXiv:1308.0850, section 2; n-grams: Shannon 1948, section 3"
    config = FitConfig(epochs=9, batch_size=4, learning_rate=4e-3, learning_rate_end=2e-4)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, measure bits per token beside n-grams, continue held-out traffic, draw."""
        train, validation, test = (
            scene_tokens(job.record(split, runs)) for split, runs in (("train", 400), ("validation", 40), ("test", 100))
        )
        model = job.new(TrafficModel)
        result = job.fit("model", model, {"tokens": train}, {"tokens": validation}, self.config)
        facts = {"architecture": {"name": "traffic-model"}, "summary": result.summary(self.name)}
        save_module(job.folder / WEIGHTS, model.state_dict(), facts)
        sampled = model.generate(test[:, :GIVEN], CONTINUED, seed=0)
        true = test[:, GIVEN : GIVEN + CONTINUED]
        self._draw(job.folder, test, sampled)
        note = f"{test[:, 1:].size:,} tokens of {len(test)} held-out runs"
        bits = Metric("bits per token", model.bits(test), ngrams(train, validation, test), "bit", False, None, note)
        return ExperimentResult([bits, *closeness(true, sampled)], [self._plot()], [WEIGHTS])

    def _plot(self) -> Plot:
        caption = (
            "Two held-out runs after ten given scenes each: the true and the sampled continuation, 1 to 17 decisions "
            "later. Ahead is up; the ego car is orange."
        )
        return Plot("traffic-model.png", caption)

    def _draw(self, folder: Path, test: I64, sampled: I64) -> None:
        lines = {}
        for run in range(2):
            for name, scenes in (("true", test[run, GIVEN:]), ("sampled", sampled[run])):
                lines[f"run {run + 1}, {name}"] = road_grids(scenes[list(SHOWN)])
        save_roads(lines, folder / "traffic-model.png", [f"+{k + 1}" for k in SHOWN])


def ngrams(train: I64, validation: I64, test: I64) -> dict[str, float]:
    """Return bits per token of the best n-gram over the stream, and of one that sees the scene before."""
    ways: dict[str, list[Contexts]] = {
        "n-gram": [partial(contexts_in_stream, length=length) for length in LENGTHS],
        "n-gram across scenes": [contexts_across_scenes],
    }
    found = {}
    for name, some in ways.items():
        counts = [(way, NGram(VOCABULARY).count(*way(train))) for way in some]
        counted = [(way, model.smoothed(strength)) for way, model in counts for strength in STRENGTHS]
        way, best = min(counted, key=lambda pair: pair[1].bits(*pair[0](validation)))
        found[name] = best.bits(*way(test))
    return found


def closeness(true: I64, sampled: I64) -> list[Metric]:
    """Return how close sampled traffic is to the true continuation: vehicles in view, occupancy of lanes over time."""
    (cars, _, speed), (sampled_cars, _, sampled_speed) = scene_of(true), scene_of(sampled)
    count, sampled_count = (float(part.sum((2, 3)).mean()) for part in (cars, sampled_cars))
    drawn = cars[np.random.default_rng(0).permutation(len(cars))]  # each scene followed by one of another run
    unrelated = steadiness(cars[:, :-1], drawn[:, 1:])
    speeds = f"ego speed true {speed.mean():.1f} mph, sampled {sampled_speed.mean():.1f} mph"
    note = f"true {count:.2f}, sampled {sampled_count:.2f} vehicles in view; {speeds}"
    steady = steadiness(sampled_cars[:, :-1], sampled_cars[:, 1:])
    true_steady = f"true traffic {steadiness(cars[:, :-1], cars[:, 1:]):.3f}"
    beside = {"the next scene of another run": unrelated}
    return [
        Metric("vehicles in view, sampled minus true", sampled_count - count, {}, "vehicles", True, None, note),
        Metric("correlation of a lane's vehicles with the next scene's", steady, beside, "", True, None, true_steady),
    ]


def steadiness(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> float:
    """Return the correlation between the vehicles of each lane in scenes (R, T, H, L) and in the scenes after them."""
    return float(np.corrcoef(before.sum(2).ravel(), after.sum(2).ravel())[0, 1])


def road_grids(tokens: I64) -> NDArray[np.float32]:
    """Return scenes of tokens (S, 21) as grids (S, 4, 20, 7) to draw; the speeds of cars are unknown, NaN."""
    cars, lane, _ = scene_of(tokens)
    grids = np.zeros((len(tokens), 4, SEGMENTS, LANES), np.float32)
    grids[:, OCCUPIED], grids[:, SPEED] = cars, np.nan
    grids[np.arange(len(tokens)), OWN, EGO_SEGMENT, lane] = 1.0
    return grids


class NGram:
    """Counts of tokens after contexts of 0 to K tokens.

    Args:
        vocabulary: tokens are 0..vocabulary - 1
        strength: m, pseudo-counts of the shorter context
    """

    def __init__(self, vocabulary: int, strength: float = 2.0) -> None:
        self.vocabulary, self.strength = vocabulary, strength
        self.counts: list[tuple[I64, I64]] = []  # of each length: (sorted keys, counts)

    def count(self, contexts: I64, tokens: I64) -> Self:
        """Learn from tokens (N,) that came after contexts (N, K)."""
        self.counts = []
        for length in range(contexts.shape[1] + 1):
            for key in self._keys(contexts, tokens, length):
                keys, often = np.unique(key, return_counts=True)
                self.counts.append((keys, often))
        return self

    def smoothed(self, strength: float) -> "NGram":
        """Return the same counts with another smoothing."""
        other = NGram(self.vocabulary, strength)
        other.counts = self.counts
        return other

    def bits(self, contexts: I64, tokens: I64) -> float:
        """Return the mean of -log2 p over tokens (N,) after contexts (N, K)."""
        p = np.full(len(tokens), 1.0 / self.vocabulary)
        for length in range(contexts.shape[1] + 1):
            before, both = (
                self._looked_up(2 * length + k, key) for k, key in enumerate(self._keys(contexts, tokens, length))
            )
            p = (both + self.strength * p) / (before + self.strength)
        return float(-np.log2(p).mean())

    def _keys(self, contexts: I64, tokens: I64, length: int) -> tuple[I64, I64]:
        """Return (a key of each context of this length, a key of context and token), (N,) each."""
        key = np.zeros(len(tokens), np.int64)
        for k in range(length):
            key = key * self.vocabulary + contexts[:, k]
        return key, key * self.vocabulary + tokens

    def _looked_up(self, at: int, key: I64) -> I64:
        keys, often = self.counts[at]
        place = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        return np.where(keys[place] == key, often[place], 0)


def contexts_across_scenes(tokens: I64) -> tuple[I64, I64]:
    """Return (contexts (N, 3), tokens (N,)) for an n-gram that sees the scene before, of all scenes but the first.

    Most informative first: the same place in the scene before, the place ahead of it there, the token before.
    """
    before, now = tokens[:, :-1], tokens[:, 1:]
    ahead = np.concatenate([before[..., :1], before[..., :-1]], -1)
    last = np.concatenate([np.zeros_like(now[..., :1]), now[..., :-1]], -1)
    return np.stack([column.ravel() for column in (before, ahead, last)], -1), now.ravel()


def contexts_in_stream(tokens: I64, length: int) -> tuple[I64, I64]:
    """Return (contexts (N, length), tokens (N,)) for a plain n-gram over the stream, of all scenes but the first."""
    stream = tokens.reshape(len(tokens), -1)
    size = stream.shape[1] - TOKENS
    columns = [stream[:, TOKENS - 1 - k : TOKENS - 1 - k + size].ravel() for k in range(length)]
    return np.stack(columns, -1), stream[:, TOKENS:].ravel()
