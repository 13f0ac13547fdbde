"""Data sets in Minari's local store: recorded, and read as transitions for offline learners.

    >>> record_dataset(DatasetConfig(policies=("gap",), episodes=100, epsilon=0.2), "deeptraffic/gap-v0")
    >>> dataset = minari.load_dataset("deeptraffic/gap-v0")
    >>> dataset[0].observations.shape, dataset.recover_environment()
    >>> transitions = read_transitions("deeptraffic/gap-v0")

Finished blocks lie in the folder `.NAME.parts` beside the data set until all are there, so that an interrupted
recording resumes.

Source of the format: Younis et al. 2024, "Minari", doi:10.5281/zenodo.13767625.
"""

import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from numpy.typing import NDArray

import deeptraffic
from agents.benchmark.tasks import task_of
from agents.datasets.config import DatasetConfig
from agents.datasets.recording import block_count, episodes_of, load_block, play_block, save_block
from deeptraffic.extras import require_extra
from deeptraffic.run_dir import UNFINISHED, Interrupted, lock_folder, source_commit, stop_requests, write_json
from deeptraffic.sim.rules import MPH_PER_PX, RoadConfig
from deeptraffic.sim.state import I64

NAME = re.compile(r"([-\w]{2,}/)*[-\w]+-v\d+")
KEY = "deeptraffic"  # of our part of a data set's metadata, JSON


class Transitions(NamedTuple):
    """A data set as arrays of N transitions, N observations, episode after episode.

    obs: (N, D) float32, flat
    actions: (N,) int64; rewards: (N,) float32
    next_obs: (N, D) float32 after the action; of a truncated episode too, so that learners bootstrap through its end
    digest: SHA-256 of the arrays
    """

    obs: NDArray[np.float32]
    actions: I64
    rewards: NDArray[np.float32]
    next_obs: NDArray[np.float32]
    digest: str


class DatasetSummary(NamedTuple):
    """What a finished data set holds.

    name, path: of the data set
    episodes, transitions: in it
    mean_mph: mean speed over all decisions
    mean_return: sum of an episode's rewards, mean over episodes
    """

    name: str
    path: Path
    episodes: int
    transitions: int
    mean_mph: float
    mean_return: float


def import_minari() -> Any:
    """Import Minari; ImportError that names the extra if it, or its HDF5 library, is missing."""
    require_extra("data")
    import minari

    return minari


def dataset_folder(name: str) -> Path:
    """Return a data set's folder in Minari's local store."""
    import_minari()
    from minari.storage.datasets_root_dir import get_dataset_path

    return Path(get_dataset_path(name))


def check_new(name: str) -> None:
    """Raise ValueError if this cannot be the name of a new data set."""
    if not NAME.fullmatch(name):
        raise ValueError(f"a data set's name ends in a version, such as deeptraffic/medium-v0, got {name!r:.80}")
    if (dataset_folder(name) / "data" / "metadata.json").exists() and _facts(name):
        raise ValueError(f"data set {name!r} exists; name another version, or delete it (minari delete {name})")


# --- writing ---------------------------------------------------------------------------------------------------------


def record_dataset(
    config: DatasetConfig, name: str, progress: Callable[[int, int], None] | None = None
) -> DatasetSummary:
    """Record a data set into Minari's local store (MINARI_DATASETS_PATH); the same call resumes after an interruption.

    name: such as "deeptraffic/gap-v0"
    progress: is called with (blocks done, blocks in all)

    Raises ValueError if one of that name exists, or was begun with other settings; ImportError without Minari;
    Interrupted after a signal, with all finished blocks kept.
    """
    check_new(name)
    folder = dataset_folder(name)
    parts = folder.parent / f".{folder.name}.parts"
    parts.mkdir(parents=True, exist_ok=True)
    with lock_folder(parts, parts / ".lock"), stop_requests() as stop:
        _begin(config, parts)
        count = block_count(config)
        for number in range(count):
            if progress:
                progress(number, count)
            if stop.requested:
                raise Interrupted(f"stopped after {number} of {count} blocks; the same command resumes from there")
            path = parts / f"{number:06d}.npz"
            if not path.exists():
                save_block(path, play_block(config, number))
        if progress:
            progress(count, count)
        summary = write_dataset(config, name, [parts / f"{number:06d}.npz" for number in range(count)])
    shutil.rmtree(parts)
    return summary


def _begin(config: DatasetConfig, parts: Path) -> None:
    """Write the configuration, or check that the blocks that are there are of the same one."""
    file, settings = parts / "config.json", json.loads(json.dumps(config.to_json()))
    for left_by_a_kill in parts.glob(f"{UNFINISHED}*"):
        left_by_a_kill.unlink()
    if file.exists():
        begun = json.loads(file.read_text(encoding="utf-8"))
        changed = sorted(key for key in settings if settings[key] != begun.get(key))
        if changed:
            raise ValueError(
                f"{str(parts)!r} holds blocks of another {', '.join(changed)}; resume with the same settings, or "
                "delete that folder"
            )
    else:
        write_json(file, settings)


def write_dataset(config: DatasetConfig, name: str, files: Sequence[Path]) -> DatasetSummary:
    """Write a data set of recorded blocks; what an interrupted call left is written anew."""
    minari = import_minari()
    from minari.data_collector import EpisodeBuffer

    folder = dataset_folder(name)
    shutil.rmtree(folder, ignore_errors=True)
    steps, speed = 0, 0.0
    returns: list[float] = []
    policies: list[int] = []

    def buffers(file: Path) -> Iterator[Any]:
        nonlocal steps, speed
        block = load_block(file)
        for seed, obs, actions, rewards, speeds in episodes_of(block):
            steps, speed = steps + len(actions), speed + float(speeds.sum())
            returns.append(float(rewards.sum()))
            policies.append(block.policy)
            ends = np.zeros(len(actions), bool)
            ends[-1] = True
            yield EpisodeBuffer(
                seed=None if seed < 0 else seed,
                observations=obs,
                actions=actions,
                rewards=rewards,
                terminations=np.zeros(len(actions), bool),
                truncations=ends,
                infos={"mean_speed_mph": np.append(speeds[0], speeds)},
            )

    env = gymnasium.make(
        "DeepTraffic2018-v0" if config.road.rules == 2018 else "DeepTraffic2017-v0",
        rules=asdict(config.road),
        observation=asdict(config.observation),
        reward=config.reward,
        max_steps=config.max_steps,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Minari asks for an author's address and a permanent link
        dataset = minari.create_dataset_from_buffers(
            name,
            list(buffers(files[0])),
            env=env,
            algorithm_name=", ".join(config.policies),
            author="The DeepTraffic authors",
            requirements=[f"deeptraffic=={deeptraffic.__version__}"],
            description=f"DeepTraffic ({config.road.rules}), driven by {', '.join(config.policies)}",
            jpeg_encoding=False,
            **_reference_returns(config),
        )
    for file in files[1:]:
        dataset.storage.update_episodes(buffers(file))
    summary = DatasetSummary(name, folder, len(returns), steps, speed / steps, float(np.mean(returns)))
    facts = {
        "config": config.to_json(),
        "commit": source_commit(),
        "mean_mph": summary.mean_mph,
        "mean_return": summary.mean_return,
        "returns": [round(value, 4) for value in returns],
        "policy_of_episode": policies,
    }
    dataset.storage.update_metadata({KEY: json.dumps(facts)})  # last: a data set with it is whole
    return summary


def _reference_returns(config: DatasetConfig) -> dict[str, float]:
    """Return Minari's bounds of normalised returns on a task's road; none elsewhere, or with another reward."""
    task = task_of(config.road)
    if task is None or config.reward != "mit":
        return {}
    returns = {"ref_min_score": task.random_mph, "ref_max_score": task.reference_mph}
    return {name: config.max_steps * mit_reward(mph, config.road) for name, mph in returns.items()}


def mit_reward(mph: float, road: RoadConfig) -> float:
    """Return the contest's reward, (N - 60) / 20, of a decision period at a mean speed."""
    return (road.decision_period * mph / MPH_PER_PX - 60.0) / 20.0


def _facts(name: str) -> dict[str, Any]:
    """Return our part of a data set's metadata; {} if it has none."""
    metadata = json.loads((dataset_folder(name) / "data" / "metadata.json").read_text(encoding="utf-8"))
    return json.loads(metadata.get(KEY, "{}"))


# --- reading ---------------------------------------------------------------------------------------------------------


def dataset_config(name: str) -> DatasetConfig:
    """Return the configuration of a data set that `deeptraffic dataset` wrote; ValueError if there is none."""
    try:
        facts = _facts(name)
    except OSError:
        raise ValueError(
            f"there is no data set {name!r} in {dataset_folder('')}; record it with `deeptraffic dataset`, or set "
            "MINARI_DATASETS_PATH"
        ) from None
    if not facts:
        raise ValueError(f"data set {name!r} was not written, or not to its end, by `deeptraffic dataset`")
    return DatasetConfig.from_json(facts["config"])


def read_transitions(name: str) -> Transitions:
    """Return all transitions of a data set that `deeptraffic dataset` wrote."""
    minari = import_minari()
    observation = dataset_config(name).observation
    episodes = [
        (observation.flat(episode.observations).astype(np.float32), episode.actions, episode.rewards)
        for episode in minari.load_dataset(name).iterate_episodes()
    ]
    obs, following = (np.concatenate([seen[part] for seen, _, _ in episodes]) for part in (np.s_[:-1], np.s_[1:]))
    actions = np.concatenate([taken for _, taken, _ in episodes]).astype(np.int64)
    rewards = np.concatenate([each for _, _, each in episodes]).astype(np.float32)
    sha = hashlib.sha256()
    for array in (obs, actions, rewards, following):
        sha.update(array.tobytes())
    return Transitions(obs, actions, rewards, following, sha.hexdigest())
