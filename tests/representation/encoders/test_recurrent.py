"""Recurrent encoders: windows and states tell the same, the past is read in order, and memory is what solves a task."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecFrameStack

from deeptraffic.envs.observations import Observer, make_observation
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018
from representation.encoder import Encoder
from representation.encoders.dense import DenseEncoder
from representation.encoders.memory import MemoryEncoder
from representation.encoders.recurrent import CELLS, RecurrentEncoder, StatefulEncoder, unstack_window
from representation.fit import FitConfig, fit
from representation.paradigms.recurrent.sequence_model import SpeedModel, stacked
from representation.registry import load_encoder

ROW = spaces.Box(-1.0, 1.0, (3,), np.float32)
KINDS = [*CELLS, "memory"]
RECALL = 4  # steps back


def make(kind: str, space: spaces.Space = ROW, features_dim: int = 16) -> StatefulEncoder:
    torch.manual_seed(0)
    if kind == "memory":
        return MemoryEncoder(space, features_dim)
    return RecurrentEncoder(space, features_dim, cell=kind)


def recall_data(count: int, seed: int) -> dict[str, Any]:
    """Rows (N, 12, 3) of noise; to be told after each step: the first number of four steps before."""
    rows = np.random.default_rng(seed).choice([-1.0, 1.0], (count, 12, 3)).astype(np.float32)
    target = np.zeros((count, 12, 1), np.float32)
    target[:, RECALL:, 0] = rows[:, :-RECALL, 0]
    return {"rows": rows, "target": target, "known": np.broadcast_to(np.arange(12)[:, None] >= RECALL, target.shape)}


def recall_loss(encoder: Encoder, train: dict[str, Any], epochs: int = 30) -> float:
    config = FitConfig(epochs=epochs, batch_size=32, learning_rate=5e-3, learning_rate_end=1e-3, patience=0)
    torch.manual_seed(0)
    model = SpeedModel(encoder, 1)
    return fit(model, train, recall_data(200, seed=1), config).validation_loss


# --- windows and states -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_steps_with_a_state_end_where_the_window_ends(kind: str) -> None:
    encoder, rows = make(kind), torch.randn(5, 7, 3)
    state = encoder.initial_state(5)
    assert state.shape == (5, encoder.state_size)
    after = []
    for t in range(7):
        features, state = encoder.step(rows[:, t], state)
        after.append(features)
    torch.testing.assert_close(torch.stack(after, 1), encoder.unroll(rows))


@pytest.mark.parametrize("kind", KINDS)
def test_features_depend_on_every_step_of_the_past(kind: str) -> None:
    encoder, rows = make(kind), torch.randn(1, 6, 3)
    for t in range(6):
        changed = rows.clone()
        changed[:, t] += 1.0
        assert (encoder.unroll(rows) - encoder.unroll(changed))[:, -1].abs().max() > 1e-6


def test_states_of_different_games_do_not_mix() -> None:
    encoder, obs = make("lstm"), torch.randn(4, 3)
    state = torch.randn(4, encoder.state_size)
    together, _ = encoder.step(obs, state)
    alone, _ = encoder.step(obs[2:3], state[2:3])
    torch.testing.assert_close(together[2:3], alone)


def test_a_temporal_window_is_read_oldest_first_with_the_action_that_led_to_each_step() -> None:
    config = make_observation("gaps", temporal_window=2)
    sim = Simulator(RULES_2018, 1)
    observer, plain = Observer(RULES_2018, config, 1), Observer(RULES_2018, make_observation("gaps"), 1)
    sim.reset_open([5])
    sim.step(sim.idle)
    seen, taken = [plain.observe(sim)], [3, 1]
    row = observer.observe(sim)
    for action in taken:
        sim.step([action])
        seen.append(plain.observe(sim))
        row = observer.observe(sim, actions=[action])
    steps = unstack_window(torch.from_numpy(row), 2)[0].numpy()  # (3, 42 + 5)
    np.testing.assert_allclose(steps[:, :42], np.concatenate(seen))
    np.testing.assert_array_equal(steps[:, 42:], np.eye(5)[[0, *taken]] * [[0], [1], [1]])


def test_an_impossible_cell_or_window_is_refused_with_a_remedy() -> None:
    with pytest.raises(ValueError, match="choose one of rnn, gru, lstm"):
        RecurrentEncoder(ROW, cell="qrnn")
    with pytest.raises(ValueError, match="temporal_window of the observation"):
        RecurrentEncoder(ROW, temporal_window=2)


# --- learning -----------------------------------------------------------------------------------------------------


def test_it_recalls_what_a_stack_of_frames_no_longer_holds_and_shuffled_labels_spoil_it() -> None:
    train = recall_data(400, seed=0)
    loss = recall_loss(make("gru", features_dim=32), train)
    stack = DenseEncoder(spaces.Box(-1.0, 1.0, (RECALL, 3), np.float32), 32)  # it ends one step too early
    stack_loss = recall_loss(stack, train, epochs=10)
    assert loss < 0.5 < 0.9 < stack_loss
    order = np.random.default_rng(2).permutation(400)
    shuffled = {**train, "target": train["target"][order]}
    assert recall_loss(make("gru", features_dim=32), shuffled, epochs=10) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_it_overfits_sixty_four_runs(kind: str) -> None:
    rows = np.random.default_rng(0).normal(size=(64, 6, 3)).astype(np.float32)
    target = np.random.default_rng(1).choice([-1.0, 1.0], (64, 1, 1)).repeat(6, 1).astype(np.float32)
    data = {"rows": rows, "target": target, "known": np.ones(target.shape, bool)}
    model = SpeedModel(make(kind, features_dim=48), 1)
    config = FitConfig(epochs=120, batch_size=64, learning_rate=1e-2, learning_rate_end=1e-3, patience=0)
    fit(model, data, data, config)
    right = np.sign(model.predict(rows)[:, -1]) == target[:, -1]
    assert right.mean() > 0.95


def test_the_same_seed_gives_the_same_bits() -> None:
    train, digests = recall_data(64, seed=0), []
    for _ in range(2):
        encoder = make("lstm")
        recall_loss(encoder, train, epochs=2)
        digests.append(encoder.digest())
    assert digests[0] == digests[1]


# --- files and agents ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_encoder_comes_back_the_same_and_steps_the_same(kind: str, tmp_path: Path) -> None:
    encoder = make(kind)
    encoder.save(tmp_path / "encoder.safetensors")
    loaded = load_encoder(tmp_path / "encoder.safetensors")
    assert isinstance(loaded, StatefulEncoder)
    obs, state = torch.randn(3, 3), torch.randn(3, encoder.state_size)
    for ours, theirs in zip(encoder.step(obs, state), loaded.step(obs, state), strict=True):
        assert torch.equal(ours, theirs)


def test_a_pretrained_window_stays_as_it_is_in_ppo() -> None:
    env = VecFrameStack(DeepTrafficVecEnv(4, observation="gaps", max_steps=9), 3)  # (126,): three rows side by side
    window = DeepTrafficVecEnv(4, observation={"kind": "gaps", "temporal_window": 2}, max_steps=9)
    encoder = RecurrentEncoder(window.observation_space, 8, temporal_window=2)
    assert env.observation_space.shape == (126,)
    kwargs = encoder.mark_pretrained().policy_kwargs()
    model = PPO("MlpPolicy", window, n_steps=8, batch_size=16, n_epochs=1, policy_kwargs=kwargs, device="cpu").learn(32)
    used: Any = model.policy.features_extractor
    assert used.digest() == encoder.digest()


def test_stacks_hold_the_last_steps_oldest_first() -> None:
    rows = torch.arange(1.0, 5.0).reshape(1, 4, 1)
    stacks = stacked(rows, 3)[0, :, :, 0]
    assert stacks.tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]
