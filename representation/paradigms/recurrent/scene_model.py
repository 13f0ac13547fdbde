"""Autoregressive model of road scenes and of traffic: a GRU over the cars of a scene, from the far end to the near one.

p(scene) = p(class) p(ego car | class) product over cars of p(distance to the car before | what came before)
p(lane | distance, ...) p(speed factor | lane, ...) p(following speed | factor, ...). So a scene has an exact
probability, and asking for a class is to fix the first token. Source: Graves 2013, "Generating sequences with recurrent
neural networks", arXiv:1308.0850, section 2; within a step, Larochelle and Murray 2011, "The neural autoregressive
distribution estimator", equation 1.

Before each car, the GRU reads for each lane how far back its last car is, where that stands relative to the ego car,
and its speeds. The same reading, at the next car's place, scores the lanes. A model of traffic is the same, given the
scene one decision before: it also reads where the next car of each lane is expected at constant speed.

    >>> model = SceneModel()
    >>> model.bits(tokens)                                         # (B,) bits of each scene of `SceneTokens`
    >>> model.sample(1000, seed=0, classes=BOXED_IN)               # `SceneTokens` of 1,000 scenes
    >>> traffic = SceneModel(follows=True)
    >>> traffic.sample(len(tokens.ego), seed=0, before=tokens)     # a scene after each

Letters in shapes: B scenes, S steps (the cars and the end), L lanes, D units, (M...) any batch shape.
"""

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot, pad

from representation.data.labels import SCENES
from representation.data.tokens import (
    CAR_SIZES,
    CARS,
    EGO_PLACE,
    EGO_SIZES,
    END,
    FACTORS,
    LANES,
    PLACES,
    SceneTokens,
)
from representation.fit import Batch
from representation.paradigms.recurrent.lanes import (
    AHEAD,
    BEHIND,
    LONG,
    NEAR,
    REACH,
    SIDES,
    SLACK,
    STANDS,
    Before,
    LaneReader,
    Lanes,
    lanes_before,
)
from representation.saved_model import SavedModel

CHUNK = 1024  # scenes at a time
SHARP = 10.0  # scale of scores that are looked up, so that they are learned in few steps
DUE = 2  # expected cars that are read
EGO_SIDE = 1  # of SIDES


class SceneModel(SavedModel):
    """Trained on the arrays of `SceneTokens`.

    Args:
        units: D of the GRU
        width: of the layers before each token
        follows: whether each scene is given the one before, "ego_before" and "cars_before" of the arrays
    """

    kind = "scene-model"

    def __init__(self, units: int = 128, width: int = 64, follows: bool = False) -> None:
        super().__init__(units=units, width=width, follows=follows)
        self.follows = follows
        given = 16 * len(EGO_SIZES) if follows else 1
        self.embed = nn.ModuleList([nn.Embedding(size, 16) for size in EGO_SIZES])
        self.ego = nn.ModuleList([_head(given + 16 * k, width, size) for k, size in enumerate(EGO_SIZES)])
        if follows:
            self.due = nn.Embedding(2 * SLACK + 2, 1)
            self.copied = nn.Embedding(2 * SLACK + 2, 1)
            self.arrives = nn.Embedding(2 * SLACK + 2, 1)
            for table in (self.due, self.copied, self.arrives):
                nn.init.zeros_(table.weight)
        self.look = LaneReader(24, 0, follows)
        self.read = nn.Linear(24 * (LANES + 1) + 2 + 16 * len(EGO_SIZES), units)
        self.memory = nn.GRU(units, units, batch_first=True)
        self.distance, self.where = _head(2 * units, 96, CAR_SIZES[0]), nn.Linear(2 * units, AHEAD + BEHIND + 1)
        self.choose, self.score = LaneReader(32, 2 * units, follows), nn.Linear(32, 1)
        self.clear, self.asked = nn.Embedding(REACH + 1, 1), nn.Embedding(len(SCENES) * STANDS * NEAR, 1)
        nn.init.zeros_(self.clear.weight)
        nn.init.zeros_(self.asked.weight)
        with torch.no_grad():  # cars are 34 px long: at first, too, they hardly overlap another or the ego car
            self.clear.weight[:LONG] = -1.0
            self.asked.weight.view(len(SCENES) * STANDS, SIDES, -1)[:, EGO_SIDE, AHEAD - LONG + 1 : AHEAD + LONG] = -1.0
        self.see_factor, self.factor = LaneReader(width, 2 * units, follows), nn.Linear(width, FACTORS)
        self.see_following = LaneReader(width, 2 * units + FACTORS, follows)
        self.following = nn.Linear(width, CAR_SIZES[3])

    # --- probabilities ------------------------------------------------------------------------------------------------

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (mean bits per scene, of them those of its parts)."""
        before = (batch["ego_before"], batch["cars_before"]) if self.follows else None
        ego, cars = self.token_bits(batch["ego"], batch["cars"], before)
        names = ("distances", "lanes", "factors", "followings")
        parts = {name: cars[..., k].sum(1).mean() for k, name in enumerate(names)}
        return ego.sum(1).mean() + sum(parts.values()), {"ego": ego.sum(1).mean(), **parts}

    def bits(self, tokens: SceneTokens, before: SceneTokens | None = None) -> NDArray[np.float64]:
        """Return -log2 p of each scene, (B,), given those before, at the resolution of the tokens' bins.

        Of a full road the end is coded, too, though no car could follow.
        """

        def bits(ego: Tensor, cars: Tensor, *given: Tensor) -> Tensor:
            parts = self.token_bits(ego, cars, (given[0], given[1]) if given else None)
            return torch.cat([part.double().flatten(1) for part in parts], 1).sum(1)

        return self.in_chunks(bits, *tokens, *(before or ()), size=CHUNK)

    def token_bits(self, ego: Tensor, cars: Tensor, before: Before = None) -> tuple[Tensor, Tensor]:
        """Return the bits of the tokens of the ego car (B, 4) and of cars (B, S, 4), 0 behind the end."""
        if (before is not None) != self.follows:
            raise ValueError(
                "a model of traffic reads the scene before, one of scenes none; give the scenes before, or none"
            )
        own = [
            cross_entropy(self._ego_logits(k, ego, before), ego[:, k], reduction="none") for k in range(len(EGO_SIZES))
        ]
        lanes, place = lanes_before(ego, cars, before)
        inputs = self._inputs(ego, lanes, place)
        hidden = torch.cat([inputs, self.memory(inputs)[0]], -1)  # (B, S, 2D)
        ends = (cars[..., 0] == END).cumsum(1)  # (B, S)
        there = ends == 0
        asked = there | ((ends == 1) & (cars[..., 0] == END))
        out = torch.zeros(cars.shape, device=cars.device)
        out[..., 0][asked] = cross_entropy(
            self._distances(hidden[asked], lanes.map(lambda part: part[asked]), place[asked]),
            cars[..., 0][asked],
            reduction="none",
        )
        scene, place, hidden = ego[:, :1].expand(there.shape)[there], place[there], hidden[there]
        lanes, some = lanes.map(lambda part: part[there]), cars[there]
        for k in range(1, len(CAR_SIZES)):
            logits = self._car_logits(k, hidden, lanes, place, some, scene)
            out[..., k][there] = cross_entropy(logits, some[:, k], reduction="none")
        return torch.stack(own, 1) / math.log(2.0), out / math.log(2.0)

    def _ego_logits(self, k: int, ego: Tensor, before: Before = None) -> Tensor:
        """Return logits (B, V) of token k of the ego car from those before it."""
        given = torch.zeros(len(ego), 1, device=ego.device)
        if before is not None:
            given = torch.cat([table(before[0][:, j]) for j, table in enumerate(self.embed)], 1)
        return self.ego[k](torch.cat([given, *(self.embed[j](ego[:, j]) for j in range(k))], 1))

    def _inputs(self, ego: Tensor, lanes: Lanes, place: Tensor) -> Tensor:
        """Return what the GRU reads before each car, (B, S, D)."""
        numbers = torch.arange(LANES, device=ego.device).expand_as(lanes.place)
        seen = self.look(lanes, place, numbers)  # (B, S, L, 24)
        seen = torch.cat([seen.flatten(2), seen.sum(2)], -1)  # (B, S, 24(L + 1))
        where = torch.stack([place / PLACES, ((EGO_PLACE - place) / 40.0).clamp(-3.0, 3.0)], -1)
        own = torch.cat([table(ego[:, k]) for k, table in enumerate(self.embed)], 1)
        return torch.relu(self.read(torch.cat([seen, where, own[:, None].expand(-1, place.shape[1], -1)], -1)))

    def _distances(self, hidden: Tensor, lanes: Lanes, place: Tensor) -> Tensor:
        """Return logits (M, V) of the distance from a place (M,), as such and as a place near the ego car."""
        after = place[:, None] + torch.arange(PLACES, device=place.device) - EGO_PLACE
        near = self.where(hidden).gather(1, after.clamp(-AHEAD, BEHIND) + AHEAD)  # (M, PLACES)
        near = near.masked_fill(after >= PLACES - EGO_PLACE, -math.inf)  # there is no place beyond the road
        if self.follows:
            for nearest in lanes.expected.topk(DUE, 1, largest=False).values.T:  # (M,)
                away = (after + EGO_PLACE - nearest[:, None]).clamp(-SLACK - 1, SLACK) + SLACK + 1
                near = near + SHARP * self.due(away)[..., 0]
        return self.distance(hidden) + pad(near, (0, 1))

    # parameters: what a car's token depends on
    def _car_logits(self, k: int, hidden: Tensor, lanes: Lanes, place: Tensor, car: Tensor, scene: Tensor) -> Tensor:
        """Return logits (M, V) of token k of a car (M, 4) of which the tokens before are known."""
        if k == 0:
            return self._distances(hidden, lanes, place)
        place = place + car[:, 0]
        if k == 1:
            numbers = torch.arange(LANES, device=car.device).expand_as(lanes.place)
            asked = lanes.near(place[:, None]) + NEAR * (lanes.stand() + STANDS * scene[:, None])  # (M, L)
            sharp = self.clear(lanes.behind(place)) + self.asked(asked)
            if self.follows:
                sharp = sharp + self.arrives(lanes.until(place[:, None]))
            return (self.score(self.choose(lanes, place, numbers, hidden)) + SHARP * sharp)[..., 0]  # (M, L)
        lane = car[:, 1:2]
        own = lanes.map(lambda part: part.gather(1, lane))  # (M, 1)
        if k == 2:
            logits = self.factor(self.see_factor(own, place, lane, hidden)[:, 0])
            if self.follows:
                gate = SHARP * self.copied(own.until(place[:, None]))[:, 0]  # (M, 1)
                logits = logits + gate * one_hot(own.expected_factor[:, 0], FACTORS + 1)[:, :FACTORS]
            return logits
        hidden = torch.cat([hidden, one_hot(car[:, 2], FACTORS)], 1)
        return self.following(self.see_following(own, place, lane, hidden)[:, 0])

    # --- sampling -----------------------------------------------------------------------------------------------------

    # parameters: what scenes are drawn from
    def sample(
        self,
        count: int,
        seed: int = 0,
        classes: ArrayLike | None = None,
        before: SceneTokens | None = None,
        candidates: int = 1,
    ) -> SceneTokens:
        """Return `count` scenes.

        classes: of `SCENES`, one, or one per scene; None to draw them, too
        before: the scene before each, for a model of traffic
        candidates: scenes drawn for each; kept is the one that most probably is of its class, by `class_probabilities`

        Raises ValueError for several candidates without classes.
        """
        if candidates < 1 or (candidates > 1 and classes is None):
            raise ValueError(f"candidates={candidates} must be 1, or more for given classes; name the classes")
        self.eval()
        random, parts = torch.Generator().manual_seed(seed), []
        asked = None if classes is None else np.array(np.broadcast_to(classes, count), np.int64)
        for start in range(0, count, CHUNK):
            rows = slice(start, min(start + CHUNK, count))
            wanted, given = None if asked is None else asked[rows], before.at(rows) if before else None
            drawn = [self._sample(random, rows.stop - start, wanted, given) for _ in range(candidates)]
            if candidates > 1:
                each = np.arange(rows.stop - start)
                best = np.argmax([self.class_probabilities(one, given)[each, one.ego[:, 0]] for one in drawn], 0)
                drawn[0] = SceneTokens(*(np.stack(part)[best, each] for part in zip(*drawn, strict=True)))
            parts.append(drawn[0])
        return SceneTokens(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def class_probabilities(self, tokens: SceneTokens, before: SceneTokens | None = None) -> NDArray[np.float64]:
        """Return p(class | scene), (B, K), by Bayes' rule from the probabilities of each scene with every class."""
        bits = []
        for k in range(len(SCENES)):
            ego = tokens.ego.copy()
            ego[:, 0] = k
            bits.append(self.bits(SceneTokens(ego, tokens.cars), before))
        return softmax(-math.log(2.0) * np.stack(bits, 1), 1)

    @torch.no_grad()
    def _sample(
        self, random: torch.Generator, count: int, classes: NDArray[np.int64] | None, given: SceneTokens | None
    ) -> SceneTokens:
        before = (torch.from_numpy(given.ego), torch.from_numpy(given.cars)) if given else None
        ego = torch.zeros(count, len(EGO_SIZES), dtype=torch.int64)
        cars = torch.zeros(count, CARS + 1, len(CAR_SIZES), dtype=torch.int64)
        for k in range(len(EGO_SIZES)):
            if k == 0 and classes is not None:
                ego[:, k] = torch.from_numpy(classes)
            else:
                ego[:, k] = _draw(self._ego_logits(k, ego, before), random)
        state, there = None, torch.ones(count, dtype=torch.bool)
        for step in range(CARS):
            lanes, place = lanes_before(ego, cars[:, : step + 1], before)
            inputs = self._inputs(ego, lanes.map(lambda part: part[:, -1:]), place[:, -1:])
            out, state = self.memory(inputs, state)
            hidden, lanes = torch.cat([inputs, out], -1)[:, 0], lanes.map(lambda part: part[:, -1])
            for k in range(len(CAR_SIZES)):
                logits = self._car_logits(k, hidden, lanes, place[:, -1], cars[:, step], ego[:, 0])
                cars[:, step, k] = _draw(logits, random)
                if k == 0:
                    cars[~there, step, 0] = END
                    there &= cars[:, step, 0] != END
            cars[~there, step, 1:] = 0
        cars[:, CARS, 0] = END
        first = (cars[..., 0] == END).cumsum(1)
        cars[(first > 1) | ((first == 1) & (cars[..., 0] != END))] = 0
        return SceneTokens(ego.numpy(), cars.numpy())


def _head(inputs: int, width: int, size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, size))


def _draw(logits: Tensor, random: torch.Generator) -> Tensor:
    """Return one index per row of logits."""
    return torch.multinomial(torch.softmax(logits, 1), 1, generator=random)[:, 0]
