"""Captioning (paradigm 4, encoder-decoder): a sentence that describes the scene and the decision.

Source: Vinyals, Toshev, Bengio and Erhan 2015, "Show and tell: A neural image caption generator", arXiv:1411.4555,
equations 10 to 12: the features of a convolutional encoder initialise a recurrent decoder, which reads the previous
word and predicts the next, trained on -log p(word | words before, scene). It reads the features again at every word, as
in Cho et al. 2014, arXiv:1406.1078, equation 1.

    >>> captioner = SceneCaptioner()
    >>> fit(captioner, {"obs": grids, "action": actions, "words": describe(grids, actions)}, ..., FitConfig())
    >>> captioner.caption(grids[:1], actions[:1])
    ['slow car two cells ahead, left lane free, changing left']

Letters in shapes: B scenes, D features, U units of the decoder, W words, V words in the vocabulary.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Action
from representation.data.captions import SLOTS, TOKEN, VOCABULARY, WORDS, sentence, slots
from representation.data.recording import observe
from representation.encoder import Observation
from representation.fit import Batch
from representation.registry import make_encoder
from representation.saved_model import SavedModel

START = TOKEN["."]  # what is read before the first word: the end of the sentence before
GRID = (4, 60, 7)


class SceneCaptioner(SavedModel):
    """An encoder of the scene, the decision as a further input, and a GRU that generates words.

    Args:
        shape: of one observation, a grid of the contest's sensor by default
        encoder: name of its architecture in `representation.registry.ENCODERS`
        features_dim: D
        units: U
        words: W, the longest sentence, including its end mark
        architecture: the encoder's further arguments
    """

    kind = "deeptraffic-captioner"

    def __init__(
        self,
        shape: Sequence[int] = GRID,
        encoder: str = "conv",
        features_dim: int = 128,
        units: int = 96,
        words: int = WORDS,
        **architecture: Any,
    ) -> None:
        super().__init__(
            shape=list(shape), encoder=encoder, features_dim=features_dim, units=units, words=words, **architecture
        )
        self.words = words
        space = spaces.Box(-np.inf, np.inf, tuple(shape), np.float32)
        self.encoder = make_encoder(encoder, space, features_dim, **architecture)
        self.level = nn.LayerNorm(features_dim)
        self.start = nn.Linear(features_dim + len(Action), units)
        self.embedding = nn.Embedding(len(VOCABULARY), 32)
        self.cell = nn.GRUCell(32 + units, units)
        self.read = nn.Linear(units, len(VOCABULARY))

    def context(self, obs: Observation, actions: Tensor) -> Tensor:
        """Return the context (B, U) of scenes and decisions (B,)."""
        features = self.level(self.encoder(obs))  # (B, D)
        decided = functional.one_hot(actions, len(Action)).to(features.dtype)  # (B, 5)
        return torch.tanh(self.start(torch.cat([features, decided], 1)))

    def step(self, word: Tensor, state: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return (scores of the next word (B, V), next state (B, U)) after a word (B,)."""
        state = self.cell(torch.cat([self.embedding(word), context], 1), state)
        return self.read(state), state

    def forward(self, obs: Observation, actions: Tensor, words: Tensor) -> Tensor:
        """Return the logits of each word given the true words before it, (B, W, V)."""
        context, before, scores = self.context(obs, actions), torch.full_like(words[:, 0], START), []
        state = context
        for position in range(words.shape[1]):
            score, state = self.step(before, state, context)
            scores.append(score)
            before = words[:, position]
        return torch.stack(scores, 1)  # (B, W, V)

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (nats per word up to the end mark, accuracy of those words) on obs, action, words."""
        words = batch["words"]  # (B, W)
        scores = self(batch["obs"], batch["action"], words)
        ended = (words == TOKEN["."]).cumsum(1) - (words == TOKEN["."]).long()  # marks before each word
        counts = (ended == 0).float()  # (B, W), 1 up to the first end mark
        nats = functional.cross_entropy(scores.transpose(1, 2), words, reduction="none")
        right = ((scores.argmax(2) == words) * counts).sum() / counts.sum()
        return (nats * counts).sum() / counts.sum(), {"words_right": right}

    def write(self, obs: Any, actions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return greedily decoded words, (B, W), for NumPy observations and decisions (B,)."""

        def words(obs: Observation, actions: Tensor) -> Tensor:
            context, written = self.context(obs, actions), [torch.full_like(actions, START)]
            state = context
            for _ in range(self.words):
                scores, state = self.step(written[-1], state, context)
                written.append(scores.argmax(1))
            return torch.stack(written[1:], 1)

        return self.in_chunks(words, obs, actions)

    def caption(self, obs: Any, actions: NDArray[np.int64]) -> list[str]:
        """Return a sentence for each NumPy observation (B, ...) and decision (B,)."""
        return [sentence(words) for words in self.write(obs, actions)]


def narrator(path: str | Path) -> Callable[[Simulator, int], str]:
    """Return a function (simulator of one env at a decision, the decision) -> sentence, by a captioner's file."""
    captioner = SceneCaptioner.load(path)

    def say(sim: Simulator, action: int) -> str:
        return captioner.caption(observe(sim.rules, sim.games, "grid"), np.array([action]))[0]

    return say


# --- metrics ----------------------------------------------------------------------------------------------------------


def exact_match(written: Sequence[str], true: Sequence[str]) -> float:
    """Return the fraction of sentences that match word for word."""
    return float(np.mean([a == b for a, b in zip(written, true, strict=True)]))


def slot_f1(written: Sequence[str], true: Sequence[str]) -> dict[str, float]:
    """Return F1 of the slots that sentences state (`data.captions.slots`), by slot and, as "all", together.

    F1 = 2 * correct / (stated + true), where a statement is correct if the true sentence makes it too.
    """
    right, stated = Counter[str](), Counter[str]()
    for one, other in zip(written, true, strict=True):
        says, should = slots(one), slots(other)
        for slot, _ in says & should:
            right[slot] += 2
        for slot, _ in [*says, *should]:
            stated[slot] += 1
    f1 = {slot: right[slot] / max(1, stated[slot]) for slot in SLOTS}
    return {"all": sum(right.values()) / max(1, sum(stated.values())), **f1}
