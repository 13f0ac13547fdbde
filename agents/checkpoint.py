"""Checkpoints: all that training goes on from, so that a resumed run equals an uninterrupted one.

A checkpoint holds the networks and the optimiser, SB3's counters, the games with their streams and seeds, the global
random streams that SB3 draws from, the memories of DQN and of the world model, and what recurrent drivers remember. It
is numbers and text: reading it runs no code (`torch.load(weights_only=True)`), so a run folder from somewhere else does
no harm.

It is taken between an update and the next rollout, where SB3 keeps nothing else. What is not kept: the running means
that SB3 prints, and what a second GPU or a nondeterministic GPU kernel adds.
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from agents.expert_iteration import ExpertIteration
from agents.world_model_agent import WorldModelAgent
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv

REMEMBERING = (WorldModelAgent, ExpertIteration)  # algorithms with an experience that training goes on with
REPLAY_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
MEMORY = ("hidden", "cell", "value_hidden", "value_cell")  # of recurrent networks


def checkpoint_content(model: BaseAlgorithm, env: DeepTrafficVecEnv, notes: dict[str, Any]) -> bytes:
    """Return a checkpoint of a model and the games it plays; notes: JSON values of the caller."""
    state = {
        "notes": json.dumps(notes),
        "num_timesteps": model.num_timesteps,
        "n_updates": getattr(model, "_n_updates", 0),
        "n_calls": getattr(model, "_n_calls", 0),
        "exploration_rate": float(getattr(model, "exploration_rate", 0.0)),
        "progress_remaining": float(model._current_progress_remaining),
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
        "last_obs": as_tensors(model._last_obs),
        "last_episode_starts": torch.from_numpy(np.array(model._last_episode_starts)),
        "random": random_state(model),
        "games": as_tensors(env.get_state()),
        "replay": replay_state(getattr(model, "replay_buffer", None)),
        "segments": model.experience.state() if isinstance(model, REMEMBERING) else {},
        "memory": memory_state(model),
    }
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def restore_checkpoint(path: Path, model: BaseAlgorithm, env: DeepTrafficVecEnv) -> dict[str, Any]:
    """Bring a freshly made model and its games to where a checkpoint was taken; return its notes.

    Raises ValueError if the file is damaged or of another network.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.policy.load_state_dict(state["policy"])
        model.policy.optimizer.load_state_dict(state["optimizer"])
    except Exception as error:  # whatever a damaged file makes torch raise
        raise ValueError(
            f"checkpoint {str(path)!r} cannot be read ({str(error).splitlines()[0]:.200}); "
            "delete it to resume from the one before, or train in a new folder"
        ) from error
    model.num_timesteps, model._n_updates = state["num_timesteps"], state["n_updates"]
    model._current_progress_remaining = state["progress_remaining"]
    if isinstance(model, OffPolicyAlgorithm):  # DQN and QR-DQN
        vars(model).update(_n_calls=state["n_calls"], exploration_rate=state["exploration_rate"])
        restore_replay(model.replay_buffer, state["replay"])
    if isinstance(model, REMEMBERING):
        model.experience.restore(state["segments"])
    if isinstance(model, RecurrentPPO):
        h, c, value_h, value_c = (state["memory"][name] for name in MEMORY)
        vars(model)["_last_lstm_states"] = RNNStates((h, c), (value_h, value_c))
    model._last_obs = as_arrays(state["last_obs"])
    model._last_episode_starts = state["last_episode_starts"].numpy()
    env.set_state(as_arrays(state["games"]))
    restore_random(model, state["random"])
    return json.loads(state["notes"])


def as_tensors(value: Any) -> Any:
    """Copy an array, or a dict of arrays, into tensors; texts stay texts."""
    if isinstance(value, dict):
        return {name: as_tensors(part) for name, part in value.items()}
    if isinstance(value, str):
        return value
    return torch.from_numpy(np.array(value, order="C"))


def as_arrays(value: Any) -> Any:
    """Copy a tensor, or a dict of tensors, into arrays; texts stay texts."""
    if isinstance(value, dict):
        return {name: as_arrays(part) for name, part in value.items()}
    if isinstance(value, str):
        return value
    return value.numpy().copy()


# --- random streams -----------------------------------------------------------------------------------------------


def random_state(model: BaseAlgorithm) -> dict[str, Any]:
    """Return the global streams that SB3 draws from."""
    _, keys, position, has_gauss, gauss = np.random.get_state()
    streams = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys, np.int64)),
        "numpy_position": json.dumps([int(position), int(has_gauss), float(gauss)]),
        "actions": json.dumps(model.action_space.np_random.bit_generator.state),
    }
    return streams | ({"cuda": torch.cuda.get_rng_state()} if model.device.type == "cuda" else {})


def restore_random(model: BaseAlgorithm, streams: dict[str, Any]) -> None:
    """Set the global streams that SB3 draws from."""
    torch.set_rng_state(streams["torch"])
    if model.device.type == "cuda" and "cuda" in streams:
        torch.cuda.set_rng_state(streams["cuda"])
    np.random.set_state(("MT19937", streams["numpy"].numpy().astype(np.uint32), *json.loads(streams["numpy_position"])))
    model.action_space.np_random.bit_generator.state = json.loads(streams["actions"])


# --- what drivers remember --------------------------------------------------------------------------------------------


def memory_state(model: BaseAlgorithm) -> dict[str, torch.Tensor]:
    """Return what RecurrentPPO's networks remember of each game: the actor's and the critic's (h, c); else nothing."""
    if not isinstance(model, RecurrentPPO):
        return {}
    states: Any = model._last_lstm_states
    parts = (*states.pi, *states.vf)
    return {name: part.detach().cpu().clone() for name, part in zip(MEMORY, parts, strict=True)}


# --- replay memory ------------------------------------------------------------------------------------------------


def replay_state(buffer: ReplayBuffer | None) -> dict[str, Any]:
    """Return the filled part of the replay memory, an empty dict if there is none."""
    if buffer is None:
        return {}
    filled = buffer.buffer_size if buffer.full else buffer.pos
    arrays = {name: _filled(getattr(buffer, name), filled) for name in REPLAY_ARRAYS}
    return {"pos": buffer.pos, "full": buffer.full, "arrays": as_tensors(arrays)}


def restore_replay(buffer: ReplayBuffer | None, saved: dict[str, Any]) -> None:
    """Fill the replay memory again."""
    assert buffer is not None, "this algorithm has a replay memory"
    buffer.pos, buffer.full = saved["pos"], saved["full"]
    for name in REPLAY_ARRAYS:
        target, source = getattr(buffer, name), as_arrays(saved["arrays"][name])
        pairs = [(target[key], source[key]) for key in source] if isinstance(source, dict) else [(target, source)]
        for array, values in pairs:
            array[: len(values)] = values


def _filled(part: Any, filled: int) -> Any:
    return {name: array[:filled] for name, array in part.items()} if isinstance(part, dict) else part[:filled]
