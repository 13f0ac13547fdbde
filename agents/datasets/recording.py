"""Episodes of a data set, played in all envs at once, block by block.

    >>> block = play_block(DatasetConfig(policies=("gap",), episodes=100, epsilon=0.2), 0)

A block depends on the configuration and its number alone: its runs, the policy's random stream and the exploration are
seeded by it, and every memory is empty at its start.

Letters in shapes: B envs (episodes of a block), T decisions of an episode.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.datasets.config import BLOCK, DatasetConfig
from agents.loader import load_policy
from deeptraffic.envs.batch import EnvBatch
from deeptraffic.envs.observations import select_env
from deeptraffic.envs.reward import reward_of
from deeptraffic.episodes.trace import Trace, is_trace
from deeptraffic.evaluation.play import PolicyRunner
from deeptraffic.policies.base import Policy
from deeptraffic.run_dir import write_atomically
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import FULL_SPEED_MPH, Action
from deeptraffic.sim.state import F64, I64

EXPLORATION = 1  # random stream of a block


class EpisodeBlock(NamedTuple):
    """Episodes of one policy that were played together.

    policy: its index in `DatasetConfig.policies`
    seeds: (B,) open runs; -1 for an episode of a trace
    obs: (B, T + 1, ...) what the ego car observed before each decision and after the last, or a dict of such
    actions: (B, T) int64 carried out; rewards: (B, T); speeds: (B, T) mean speed [mph] until the next decision
    """

    policy: int
    seeds: I64
    obs: Any
    actions: I64
    rewards: F64
    speeds: F64


# --- playing ----------------------------------------------------------------------------------------------------------


def block_count(config: DatasetConfig) -> int:
    """Return the number of blocks: one per trace, or as many as the episodes fill."""
    if any(map(is_trace, config.policies)):
        return len(config.policies)
    return -(-config.episodes // BLOCK)


def play_block(config: DatasetConfig, number: int) -> EpisodeBlock:
    """Play a block; the same on every call."""
    index = number % len(config.policies)
    name = config.policies[index]
    if is_trace(name):
        return play_trace(config, Trace.load(name), index)
    if any(map(is_trace, config.policies)):
        raise ValueError(f"{name!r} is no trace, and others are; record data sets of policies and of traces apart")
    first = config.seed + number * BLOCK
    seeds = np.arange(first, min(first + BLOCK, config.seed + config.episodes))
    policy = load_policy(name, config.road.rules, number)
    return _play(config, policy, seeds, index, np.random.default_rng([config.seed, number, EXPLORATION]))


def _play(config: DatasetConfig, policy: Policy, seeds: I64, index: int, random: np.random.Generator) -> EpisodeBlock:
    others = policy if config.road.other_agents else None
    road, steps = config.road, config.max_steps
    batch = EnvBatch(len(seeds), road, 0, config.observation, config.reward, None, others, None, False)
    batch.reset(batch.env_indices, seeds.tolist())
    runner = PolicyRunner(policy, batch.sim)

    def decide(t: int) -> I64:
        actions = runner.decide(0).astype(np.int64)
        explores = random.random(len(seeds)) < config.epsilon
        drawn = random.integers(len(Action), size=len(seeds))
        if explores.any():
            actions = np.where(explores, drawn, actions)
            runner.actions[0] = actions
            policy.note(actions, runner.agent_indices[0])
        return actions

    return _collect(batch, decide, steps, index, seeds)


def play_trace(config: DatasetConfig, trace: Trace, index: int = 0) -> EpisodeBlock:
    """Return the episode of a trace, as far as its whole decision periods go."""
    road = config.road.build()
    if trace.rules != road:
        raise ValueError(
            f"trace {trace.label!r} was recorded under rules {trace.rules.year} with {trace.rules.other_agents} other "
            f"agents, the data set has {road.year} and {road.other_agents}; set rules and other_agents, or leave it out"
        )
    steps = trace.frames // road.decision_period
    if not steps:
        raise ValueError(f"trace {trace.label!r} has {trace.frames} frames, less than one decision; leave it out")
    recorded = iter(trace.actions.tolist())
    others = (lambda _: next(recorded)) if road.other_agents else None
    batch = EnvBatch(1, config.road, 0, config.observation, config.reward, None, others, None, False)
    before = Simulator(road, 1, threads=1)
    trace.start.reset(before)
    batch.starts = lambda env_indices: (env_indices, before.games.copy())
    batch.reset(batch.env_indices)
    return _collect(batch, lambda t: np.array([next(recorded)]), steps, index, np.array([-1]))


def _collect(batch: EnvBatch, decide: Callable[[int], I64], steps: int, index: int, seeds: I64) -> EpisodeBlock:
    """Play `steps` decisions of every env from its first."""
    obs, actions, rewards, speeds = [batch.observe(None, None)], [], [], []
    for t in range(steps):
        actions.append(decide(t))
        rewards.append(batch.step(batch.env_indices, actions[-1])[0])
        speeds.append(FULL_SPEED_MPH * reward_of("speed", batch.report[:, 0].copy(), None))
        obs.append(batch.observe(None, actions[-1]))
    stacked: Any = (
        {name: np.stack([each[name] for each in obs], 1) for name in obs[0]}
        if isinstance(obs[0], dict)
        else np.stack(obs, 1)
    )
    return EpisodeBlock(index, seeds, stacked, np.stack(actions, 1), np.stack(rewards, 1), np.stack(speeds, 1))


# --- parts on disk ----------------------------------------------------------------------------------------------------


def save_block(path: Path, block: EpisodeBlock) -> None:
    """Write a block whole or not at all."""
    is_dict = isinstance(block.obs, dict)
    obs = {f"obs.{name}": part for name, part in block.obs.items()} if is_dict else {"obs": block.obs}
    arrays: dict[str, Any] = {name: np.asarray(part) for name, part in block._asdict().items() if name != "obs"}
    content = io.BytesIO()
    np.savez(content, **arrays, **obs)
    write_atomically(path, content.getvalue())


def load_block(path: Path) -> EpisodeBlock:
    """Read what `save_block` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        parts: dict[str, NDArray[Any]] = {
            name.removeprefix("obs."): arrays[name] for name in arrays if name.startswith("obs.")
        }
        others = {name: arrays[name] for name in EpisodeBlock._fields if name in arrays}
    return EpisodeBlock(**others | ({"obs": parts} if parts else {}) | {"policy": int(others["policy"])})


def episodes_of(block: EpisodeBlock) -> Iterator[tuple[int, Any, I64, F64, F64]]:
    """Yield (seed, obs (T + 1, ...), actions (T,), rewards (T,), speeds (T,)) of each episode."""
    for b, seed in enumerate(block.seeds.tolist()):
        yield seed, select_env(block.obs, b), block.actions[b], block.rewards[b], block.speeds[b]
