"""Segment replay buffer: segments are consecutive decisions of one env; mirrored ones show the mirrored road."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.algorithms.world_model.replay_buffer import MIRRORED_ACTIONS, SegmentReplayBuffer
from deeptraffic.envs.observations import Observer, make_observation
from deeptraffic.policies.gaps import gap_features
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018, Action

NUMBERS = spaces.Box(-1e9, 1e9, (2,), np.float32)


def counting_memory(
    size: int, steps: int, ends: tuple[int, ...] = (), mirror: np.ndarray | None = None
) -> SegmentReplayBuffer:
    """3 envs whose observation at step t of env g is (t, g), action t % 5, reward t; episodes end at steps `ends`."""
    memory = SegmentReplayBuffer(size, 3, NUMBERS, mirror)
    for t in range(steps):
        obs = np.stack([np.full(3, t), np.arange(3)], 1).astype(np.float32)
        memory.add(obs, np.full(3, t % 5), np.full(3, 0.5), np.full(3, t), np.full(3, t in ends))
    return memory


@pytest.mark.parametrize("steps", [9, 12, 31])  # not yet full, full, and overwritten more than once
def test_a_segment_is_consecutive_decisions_of_one_env(steps: int) -> None:
    drawn = counting_memory(36, steps).draw(500, 4, np.random.RandomState(0))
    times = np.stack([obs[:, 0] for obs in drawn.obs])  # (5, 500)
    assert len({tuple(obs[:, 1].tolist()) for obs in drawn.obs}) == 1
    np.testing.assert_array_equal(times[1:] - times[:-1], 1)
    assert times.min() == max(0, steps - 12) and times.max() == steps - 1
    np.testing.assert_array_equal(drawn.actions, times[:-1] % 5)
    assert (drawn.probs == 0.5).all() and (drawn.valid == 1).all()


def test_rewards_are_told_from_their_mean() -> None:
    drawn = counting_memory(36, 9).draw(500, 4, np.random.RandomState(0))
    np.testing.assert_allclose(drawn.rewards, np.stack([obs[:, 0] for obs in drawn.obs[:-1]]) - 4.0)  # mean of 0..8


def test_what_follows_an_episodes_end_is_not_valid() -> None:
    drawn = counting_memory(36, 9, ends=(5,)).draw(500, 4, np.random.RandomState(0))
    times = np.stack([obs[:, 0] for obs in drawn.obs[:-1]])
    first = times[0]
    expected = (first > 5) | (times < 5)  # the next state of an episode's last decision is not stored
    np.testing.assert_array_equal(drawn.valid, expected)


def test_a_memory_that_is_restored_goes_on_as_the_one_that_was_saved() -> None:
    saved, restored = counting_memory(36, 17), counting_memory(36, 2)
    restored.restore(saved.state())
    for memory in (saved, restored):
        memory.add(np.zeros((3, 2), np.float32), np.zeros(3), np.ones(3), np.ones(3), np.zeros(3))
    one, other = (memory.draw(64, 4, np.random.RandomState(1)) for memory in (saved, restored))
    for a, b in zip((*one.obs, *one[1:]), (*other.obs, *other[1:]), strict=True):
        assert torch.equal(a, b)


# --- the mirror -------------------------------------------------------------------------------------------------------


def stepped_simulator() -> Simulator:
    sim = Simulator(RULES_2018, 40, threads=1)
    sim.reset_open(range(40))
    sim.step(sim.idle, periods=6)
    return sim


@pytest.mark.parametrize("kind", ["vector", "gaps", "gaps_ego", "grid"])
def test_a_mirror_image_mirrored_is_the_original(kind: str) -> None:
    mirror = make_observation(kind).mirror()
    assert mirror is not None
    np.testing.assert_array_equal(mirror[mirror], np.arange(mirror.size))
    assert (mirror != np.arange(mirror.size)).any()
    np.testing.assert_array_equal(MIRRORED_ACTIONS[MIRRORED_ACTIONS], np.arange(5))
    assert MIRRORED_ACTIONS[Action.LEFT] == Action.RIGHT


def test_mirrored_cells_have_mirrored_gaps_and_a_mirrored_grid() -> None:
    sim = stepped_simulator()
    seen = {kind: Observer(sim.rules, make_observation(kind), 40).observe(sim) for kind in ("vector", "gaps", "grid")}
    flipped = {kind: obs.reshape(40, -1)[:, make_observation(kind).mirror()] for kind, obs in seen.items()}
    assert (flipped["gaps"] != seen["gaps"]).any()
    out = np.empty(42, np.float32)
    for game in range(40):
        gap_features(flipped["vector"][game], 3, 50, 10, sim.rules.empty, out)
        np.testing.assert_array_equal(flipped["gaps"][game], out)
    np.testing.assert_array_equal(flipped["grid"].reshape(seen["grid"].shape), seen["grid"][..., ::-1])


def test_half_of_the_segments_are_seen_in_the_mirror() -> None:
    memory = counting_memory(36, 9, mirror=np.array([1, 0]))
    drawn = memory.draw(400, 4, np.random.RandomState(0))
    plain, mirrored = drawn.obs[0][200:], drawn.obs[0][:200]
    assert plain[:, 1].max() == 2 and mirrored[:, 0].max() == 2  # the env's index, at the other place in the mirror
    np.testing.assert_array_equal(drawn.actions[:, 200:], np.stack([o[200:, 0] for o in drawn.obs[:-1]]) % 5)
    times = np.stack([o[:200, 1] for o in drawn.obs[:-1]]).astype(int)
    np.testing.assert_array_equal(drawn.actions[:, :200], MIRRORED_ACTIONS[times % 5])


@pytest.mark.parametrize("settings", [{"kind": "pixels"}, {"kind": "gaps", "temporal_window": 1}])
def test_what_cannot_be_mirrored_is_not(settings: dict) -> None:
    assert make_observation(settings).mirror() is None
