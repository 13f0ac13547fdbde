"""Distillation: rounds of episodes whose states the teacher labels, and supervised learning on the last rounds.

A round is one episode of every env, from its start, so that between two rounds no memory of any kind is kept. Its runs,
exploration and minibatches are drawn from the seed and the number of the round alone. So a checkpoint holds of the
buffer only the actions that were taken and the values that the teacher told: what the student observed is observed
again when training resumes.

Letters in shapes: R rounds of the buffer, T decisions of an episode, B envs, N sequences, L decisions of one, A
actions.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.utils import get_device
from torch import Tensor, nn
from torch.nn import functional

from agents.algorithm import Notes
from agents.algorithms.distil.config import DistilConfig
from agents.algorithms.distil.student import ACTIONS, NO_ACTION, Student, student_policy
from agents.algorithms.distil.teacher import F32, LastLayers, Teacher, load_teacher, value_scale
from agents.config import TrainConfig
from agents.export import TORCH, weights_content
from agents.perception import fit_normalisation
from agents.sb3_state import as_arrays, as_tensors
from deeptraffic.envs.batch import EnvBatch
from deeptraffic.envs.seeding import FIRST_DRAWN_SEED
from deeptraffic.policies.base import Policy
from deeptraffic.sim.state import I64

FITTED = 4096  # observations that an encoder's normalisation is fitted on
RUNS, EXPLORATION, BATCHES = range(3)  # random streams of a round


class DistilBuffer:
    """The last rounds: what was observed, the actions before, and the teacher's values.

    Args:
        rounds: R, number of rounds that are kept
        steps: T; num_envs: B

    last: (R, T, B) int8 the action before each decision, `NO_ACTION` at the start of an episode
    actions: (R, T, B) int8 the actions that were carried out; values: (R, T, B, A) float32 the teacher's
    obs: (R, T, B, ...) what the student observed, or a dict of such
    hints: (R, T, B, F) float16 what the teacher's last layers read; F = 0 without hints
    """

    def __init__(self, rounds: int, steps: int, num_envs: int, hint_size: int = 0) -> None:
        self.shape = (rounds, steps, num_envs)
        self.last = np.full(self.shape, NO_ACTION, np.int8)
        self.actions = np.zeros(self.shape, np.int8)
        self.values = np.zeros((*self.shape, ACTIONS), np.float32)
        self.hints = np.zeros((*self.shape, hint_size), np.float16)
        self.obs: Any = None

    def add_obs(self, slot: int, t: int, obs: Any) -> None:
        """Keep the observations (B, ...) of decision t of a round."""
        if self.obs is None:
            self.obs = each_part(obs, lambda part: np.empty((*self.shape, *part.shape[1:]), part.dtype))
        for name, part in obs.items() if isinstance(obs, dict) else [(None, obs)]:
            (self.obs if name is None else self.obs[name])[slot, t] = part

    def add_actions(self, slot: int, t: int, actions: I64, values: F32) -> None:
        """Keep the actions (B,) carried out at decision t of a round, and the teacher's values (B, A)."""
        self.actions[slot, t], self.values[slot, t] = actions, values
        if t + 1 < self.shape[1]:
            self.last[slot, t + 1] = actions

    def sequences(self, slots: I64, starts: I64, envs: I64, length: int) -> tuple[Any, Tensor, F32]:
        """Return obs (N, L, ...), last (N, L) and values (N, L, A) from decisions `starts`; the end is repeated."""
        steps = np.minimum(starts[:, None] + np.arange(length), self.shape[1] - 1)
        at = (slots[:, None], steps, envs[:, None])
        obs = each_part(self.obs, lambda part: torch.from_numpy(part[at]))
        return obs, torch.from_numpy(self.last[at].astype(np.int64)), self.values[at]


def each_part(obs: Any, change: Callable[[Any], Any]) -> Any:
    """Apply a function to an observation, or to each part of a dict."""
    return {name: change(part) for name, part in obs.items()} if isinstance(obs, dict) else change(obs)


class DistilLearner:
    """A student, its teacher and their envs, as `agents.algorithm.Learner`.

    config: of the run
    is_new: whether training begins; otherwise a state will be restored
    """

    def __init__(self, config: TrainConfig, is_new: bool) -> None:
        assert isinstance(config.agent, DistilConfig)
        self.config, self.agent = config, config.agent
        torch.manual_seed(config.seed)
        num_envs, steps = config.envs.num_envs, config.envs.max_steps
        self.batch = EnvBatch(num_envs, config.road, 0, config.observation, "mit", None, None, None, False)
        self.teacher = Teacher(load_teacher(self.agent.teacher, config.road), self.batch.sim)
        self.device = get_device(config.device)
        self.student = Student(config, self.batch.observer.space, is_new).to(self.device)
        self.last_layers: LastLayers | None = None
        if self.agent.hint_weight:
            if self.student.state_size or self.agent.last_action:
                raise ValueError(
                    "hint_weight: the teacher's last layers read no memory and no last action; set memory=none and "
                    "last_action=false, leave out recurrent encoders, or set hint_weight=0"
                )
            sizes = (int(self.student.features.features_dim), *self.agent.hidden)
            self.last_layers = LastLayers(self.teacher.policy, sizes, self.agent.activation)
        parameters = [p for p in self.student.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(parameters, self.agent.learning_rate, weight_decay=self.agent.weight_decay)
        self.rounds, self.updates, self.scale, self.hint_scale = 0, 0, 1.0, 1.0
        kept = min(self.agent.buffer_rounds, self._rounds_of(config.total_timesteps))
        hint_size = int(self.student.features.features_dim) if self.last_layers else 0
        self.buffer = DistilBuffer(kept, steps, num_envs, hint_size)
        self.recent: dict[str, float] = {}

    @property
    def decisions(self) -> int:
        """Decisions of training made so far, over all envs."""
        return self.rounds * self.round_size

    @property
    def round_size(self) -> int:
        """Decisions of one round."""
        return self.config.envs.num_envs * self.config.envs.max_steps

    @property
    def parameters(self) -> int:
        """Number of weights and biases of the student."""
        return sum(p.numel() for p in self.student.parameters())

    def learn(self, total_timesteps: int, between_rounds: Callable[[], None], logger: Any = None) -> None:
        """Train until `total_timesteps` decisions, a round after another; see `agents.algorithm.Learner`."""
        if self.decisions < total_timesteps:
            between_rounds()
        while self.decisions < total_timesteps:
            mph, agreement = self._collect()
            loss = self._train(total_timesteps)
            self.rounds += 1
            self.recent = {"train_mph": mph, "agreement": agreement, "loss": loss}
            if not math.isfinite(loss):
                raise RuntimeError(f"the loss is not finite; lower learning_rate={self.agent.learning_rate:g}")
            between_rounds()

    def metrics(self) -> dict[str, float]:
        """Return the last round's mean speed, the student's agreement with the teacher, and its loss.

        agreement: fraction of the round's decisions in which the student, before it learned from them, prefers the
            teacher's action
        loss: Kullback-Leibler divergence of the student's probabilities from the targets [nats], and the error of hints
        """
        recent, self.recent = self.recent, {}
        return recent

    # --- acting -------------------------------------------------------------------------------------------------------

    def _collect(self) -> tuple[float, float]:
        """Play one episode in every env and keep it; return (mean speed [mph], agreement)."""
        batch, number, agent = self.batch, self.rounds, self.agent
        random, acts = self._random(number, EXPLORATION), number < agent.teacher_rounds
        state = self.student.eval().initial_state(batch.env_indices.size)
        speeds = agreed = 0.0
        self._start(number)
        self.teacher.start()
        actions = None
        for t in range(self.config.envs.max_steps):
            obs = self._observe(number, t, actions)
            best, values = self.teacher.label()
            last = self.buffer.last[self._slot(number), t].astype(np.int64)
            logits, state = self.student.decide(obs, last, state)
            agreed += float((logits.argmax(1) == best).mean())
            actions = self._explore(best, random) if acts else logits.argmax(1)
            self.buffer.add_actions(self._slot(number), t, actions, values)
            self.teacher.note(actions)
            batch.step(batch.env_indices, actions)
            speeds += float(batch.mean_speed_mph().mean())
        if number == 0:
            self._fit()
        steps = self.config.envs.max_steps
        return speeds / steps, agreed / steps

    def _fit(self) -> None:
        """Fit what depends on the first round: scales, the encoder's normalisation, and layers of the teacher's."""
        self.scale = value_scale(self.buffer.values[0])
        if self.last_layers:
            self.hint_scale = float(self.buffer.hints[0].astype(np.float32).std())
            self._initialise_head(self.last_layers)
        size = self.round_size
        some = np.linspace(0, size - 1, min(FITTED, size)).astype(np.int64)
        fit_normalisation(
            self.student.features,
            each_part(self.buffer.obs, lambda part: part[0].reshape(size, *part.shape[3:])[some]),
        )

    @torch.no_grad()
    def _initialise_head(self, last_layers: LastLayers) -> None:
        """Copy the teacher's last layers, with outputs in the targets' units."""
        layers = [layer for layer in self.student.head if isinstance(layer, nn.Linear)]
        for layer, (weight, bias) in zip(layers, last_layers.dense, strict=True):
            unit = self.agent.temperature * self.scale if layer is layers[-1] else 1.0
            layer.weight.copy_(torch.from_numpy(weight.astype(np.float32)) / unit)
            layer.bias.copy_(torch.from_numpy(bias.astype(np.float32)) / unit)

    def _explore(self, best: I64, random: np.random.Generator) -> I64:
        is_random = random.random(best.size) < self.agent.exploration_eps
        return np.where(is_random, random.integers(ACTIONS, size=best.size), best)

    def _start(self, number: int) -> None:
        """Reset every env to the run that it plays in a round."""
        high = np.iinfo(np.int64).max
        seeds = self._random(number, RUNS).integers(FIRST_DRAWN_SEED, high, size=self.batch.env_indices.size)
        self.batch.reset(self.batch.env_indices, seeds.tolist())
        self.buffer.last[self._slot(number), 0] = NO_ACTION

    def _observe(self, number: int, t: int, actions: I64 | None) -> Any:
        """Return what the student observes at decision t of a round, after these actions, and keep it."""
        obs = self.batch.observe(None, actions)
        self.buffer.add_obs(self._slot(number), t, obs)
        if self.last_layers:
            self.buffer.hints[self._slot(number), t] = self.last_layers.hints(self.batch.sim)
        return obs

    def _slot(self, number: int) -> int:
        return number % self.buffer.shape[0]

    def _random(self, number: int, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, number, stream])

    # --- learning -----------------------------------------------------------------------------------------------------

    def _train(self, total_timesteps: int) -> float:
        """Take the gradient steps of a round; return their mean loss."""
        planned, losses = self._planned_updates(total_timesteps), []
        self.student.train()
        for batch in self._batches():
            fraction = min(1.0, self.updates / planned)
            first, last = self.agent.learning_rate, self.agent.learning_rate_end
            for group in self.optimizer.param_groups:
                group["lr"] = first + (last - first) * fraction
            losses.append(self._gradient_step(batch))
            self.updates += 1
        return float(np.mean(losses))

    def _batches(self) -> Iterator[I64]:
        """Yield minibatches of sequences (N, 3): slot, first decision that is learned from, env."""
        filled, steps = min(self.rounds + 1, self.buffer.shape[0]), self.config.envs.max_steps
        starts = np.arange(0, steps, self._length)
        axes = np.meshgrid(np.arange(filled), starts, self.batch.env_indices, indexing="ij")
        cells = np.stack([axis.ravel() for axis in axes], 1)
        random = self._random(self.rounds, BATCHES)
        for _ in range(self.agent.n_epochs):
            order = random.permutation(len(cells))
            for k in range(0, len(cells), self._sequences):
                yield cells[order[k : k + self._sequences]]

    @property
    def _length(self) -> int:
        """L, decisions of a sequence: 1 without memory."""
        return min(self.agent.unroll_steps, self.config.envs.max_steps) if self.student.state_size else 1

    @property
    def _sequences(self) -> int:
        """N, sequences of a minibatch."""
        return max(1, self.agent.batch_size // self._length)

    def _gradient_step(self, cells: I64) -> float:
        """Take one gradient step; return the loss."""
        slots, starts, envs = cells.T
        state = self._states(slots, starts, envs)
        obs, last, values = self.buffer.sequences(slots, starts, envs, self._length)
        obs = each_part(obs, lambda part: part.to(self.device))
        features, logits, _ = self.student.run(obs, last.to(self.device), state)  # (N, L, F), (N, L, A)
        counts = torch.from_numpy(starts[:, None] + np.arange(self._length) < self.config.envs.max_steps)
        targets = self.targets(values).to(self.device)
        divergence = functional.kl_div(functional.log_softmax(logits, 2), targets, reduction="none").sum(2)  # (N, L)
        if self.last_layers:
            hints = torch.from_numpy(self.buffer.hints[slots, starts, envs].astype(np.float32)).to(self.device)
            error = (features[:, 0] - hints).square().mean(1, keepdim=True) / self.hint_scale**2
            divergence = divergence + self.agent.hint_weight * error
        loss = divergence[counts.to(self.device)].mean()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), self.agent.max_grad_norm)
        self.optimizer.step()
        return loss.item()

    def targets(self, values: F32) -> Tensor:
        """Return the target probabilities (..., A) of the teacher's values; see `agents.algorithms.distil.teacher`."""
        return torch.softmax(torch.from_numpy(values) / (self.agent.temperature * self.scale), -1)

    @torch.no_grad()
    def _states(self, slots: I64, starts: I64, envs: I64) -> Tensor:
        """Return the states (N, S) before decisions `starts`, computed from at most `burn_in` decisions before them."""
        states = self.student.initial_state(len(starts)).to(self.device)
        lengths = np.minimum(starts, self.agent.burn_in)
        if not self.student.state_size:
            return states
        for length in np.unique(lengths[lengths > 0]).tolist():
            some = np.flatnonzero(lengths == length)
            obs, last, _ = self.buffer.sequences(slots[some], starts[some] - length, envs[some], length)
            obs = each_part(obs, lambda part: part.to(self.device))
            states[some] = self.student(obs, last.to(self.device), states[some])[1]
        return states

    def _rounds_of(self, total_timesteps: int) -> int:
        return -(-total_timesteps // self.round_size)

    def _planned_updates(self, total_timesteps: int) -> int:
        """Number of gradient steps of a whole training."""
        total, kept = self._rounds_of(total_timesteps), self.agent.buffer_rounds
        passes = sum(min(k, kept) for k in range(1, min(total, kept) + 1)) + kept * max(0, total - kept)
        cells = self.config.envs.num_envs * -(-self.config.envs.max_steps // self._length)
        return max(1, self.agent.n_epochs * passes * cells // self._sequences)

    # --- the network --------------------------------------------------------------------------------------------------

    def policy(self, label: str, notes: Notes) -> Policy:
        """Return a copy of the current student as a policy."""
        return student_policy(self.config, self._copy(), label, notes)

    def content(self, label: str, notes: Notes) -> bytes:
        """Return the student's weights as the content of a file."""
        weights = {f"{TORCH}{name}": part.detach().cpu().numpy() for name, part in self.student.state_dict().items()}
        return weights_content(weights, notes)

    def _copy(self) -> Student:
        with torch.random.fork_rng(devices=[]):
            student = Student(self.config, self.batch.observer.space, is_new=False)
        student.load_state_dict(self.student.state_dict())
        return student

    # --- state --------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return all that the future of the training depends on."""
        filled = min(self.rounds, self.buffer.shape[0])
        state = {
            "rounds": self.rounds,
            "updates": self.updates,
            "scale": self.scale,
            "hint_scale": self.hint_scale,
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "actions": self.buffer.actions[:filled],
            "values": self.buffer.values[:filled],
        }
        return as_arrays(state)

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state: load the networks, and play the buffer's rounds again."""
        self.student.load_state_dict(as_tensors(state["student"]))
        self.optimizer.load_state_dict(as_tensors(state["optimizer"]))
        self.rounds, self.updates = state["rounds"], state["updates"]
        self.scale, self.hint_scale = state["scale"], state["hint_scale"]
        kept = len(state["actions"])
        self.buffer.values[:kept] = state["values"]
        for number in range(self.rounds - kept, self.rounds):
            self._replay(number, state["actions"][self._slot(number)].astype(np.int64))
        torch.set_rng_state(torch.from_numpy(state["random"]))

    def _replay(self, number: int, actions: I64) -> None:
        """Play a round again by its actions (T, B)."""
        slot, before = self._slot(number), None
        self._start(number)
        for t, given in enumerate(actions):
            self._observe(number, t, before)
            self.buffer.add_actions(slot, t, given, self.buffer.values[slot, t])
            self.batch.step(self.batch.env_indices, given)
            before = given
