"""Files that hold no policy are recognised, and their owner is told what helps."""

import gzip
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO
from torch import nn

from agents.loader import load_file, load_policy
from deeptraffic.envs.gym_env import DeepTrafficEnv
from deeptraffic.episodes.trace import Start
from deeptraffic.evaluation.episodes import policy_episode
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.policies.file import read_policy, write_policy
from deeptraffic.policies.file_types import SIGNATURES, SUFFIXES, FileType, binary_type, file_type, is_policy_file
from deeptraffic.policies.torch_export import export_torch
from deeptraffic.sim.rules import RULES_2018, Sensor

SENSOR = Sensor(1, 6, 2)
SHORT = [(start, kind) for start, kind in SIGNATURES if len(start) <= 3]  # a header's length can spell them


def make_env() -> DeepTrafficEnv:
    window = {"lanes_side": 1, "patches_ahead": 6, "patches_behind": 2}
    return DeepTrafficEnv(observation={"kind": "vector", "dtype": "float32", **window})


def write_zip(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")


def npz(path: Path) -> None:
    np.savez(path, weight=np.zeros(3))


def trace(path: Path) -> None:
    policy_episode(make_builtin("gap"), RULES_2018, Start.open(1), 60).finish().trace().save(path)


FILES: list[tuple[str, Callable[[Path], Any], str, str]] = [
    (
        "model.zip",
        lambda path: PPO("MlpPolicy", make_env()).save(path),
        "Stable-Baselines3",
        "export_torch(model.policy",
    ),
    ("module.pt", lambda path: torch.save(nn.Linear(2, 5).state_dict(), path), "PyTorch", "export_torch(module,"),
    ("module.bin", lambda path: torch.save(nn.Linear(2, 5), path), "PyTorch", "export_torch(module,"),
    (
        "old.pth",
        lambda path: torch.save(nn.Linear(2, 5).state_dict(), path, _use_new_zipfile_serialization=False),
        "PyTorch",
        "export_torch(module,",
    ),
    ("net.onnx", lambda path: path.write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x032.6"), "ONNX", "export_torch(module,"),
    ("other.onnx", lambda path: path.write_bytes(b"\x0a\x00\xff\xff"), "ONNX", "export_torch(module,"),
    ("weights.npz", npz, "NumPy archive", "pack_policy(Network("),
    ("weights.npy", lambda path: np.save(path, np.zeros(3)), "NumPy array", "pack_policy(Network("),
    ("net.pkl", lambda path: path.write_bytes(pickle.dumps([1.0])), "a pickle", "export_torch(module,"),
    ("old.pkl", lambda path: path.write_bytes(pickle.dumps([1.0], 0)), "a pickle", "export_torch(module,"),
    ("net.h5", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50)), "Keras", "pack_policy(Network("),
    ("net.keras", lambda path: write_zip(path, "config.json", "model.weights.h5"), "Keras", "pack_policy(Network("),
    ("net.tflite", lambda path: path.write_bytes(bytes(4) + b"TFL3"), "TensorFlow Lite", "pack_policy(Network("),
    ("run.trace", trace, "an episode trace", "deeptraffic watch"),
    ("packed.gz", lambda path: path.write_bytes(gzip.compress(b"x")), "a gzip archive", "unpack it"),
    ("nets.zip", lambda path: write_zip(path, "a.safetensors"), "a zip archive", "unpack it"),
    ("empty", lambda path: path.touch(), "an empty file", "name a policy file"),
    ("empty.js", lambda path: path.touch(), "an empty file", "name a policy file"),
    ("empty.safetensors", lambda path: path.touch(), "an empty file", "name a policy file"),
    ("notes.txt", lambda path: path.write_text("Lanes: 3\n" * 9), "text", "name a policy file"),
    ("config.json", lambda path: path.write_text('{"algo": "ppo"}'), "text", "name a policy file"),
    ("zip.js", lambda path: write_zip(path, "a"), "a zip archive", "unpack it"),
    ("plot.png", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "an image", "name a policy file"),
]


@pytest.mark.parametrize(("name", "write", "kind", "remedy"), FILES, ids=[file[0] for file in FILES])
def test_what_holds_no_policy_is_named_with_the_remedy(
    tmp_path: Path, name: str, write: Callable[[Path], Any], kind: str, remedy: str
) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(ValueError) as error:
        load_file(path)
    message = str(error.value)
    assert str(path) in message and kind in message and remedy in message and "\n" not in message
    with pytest.raises(ValueError, match="this is "):
        read_policy(path)


def test_a_large_file_is_recognised_too(tmp_path: Path) -> None:
    path = tmp_path / "large.pt"
    torch.save(torch.zeros(5_000_000), path)
    with pytest.raises(ValueError, match=r"20\d+ bytes.*PyTorch.*export_torch"):
        load_policy(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_suffix_tells_where_the_content_does_not(suffix: str) -> None:
    assert file_type(b"\xff\xfe\xfd", f"net{suffix.upper()}") is SUFFIXES[suffix]
    assert file_type(b"\xff\xfe\xfd", "net") is None


@pytest.mark.parametrize(("start", "kind"), SHORT, ids=[f"{kind.name} {start.hex()}" for start, kind in SHORT])
def test_a_policy_file_whose_headers_length_spells_another_kinds_signature_is_none(
    start: bytes, kind: FileType
) -> None:
    length = start.ljust(8, b"\0")
    assert binary_type(length + b'{"__metadata__":{}}') is file_type(length + b'{"__metadata__":{}}', "a.zip") is None
    assert binary_type(length + b"not an object") == kind


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_is_told_in_every_binary_protocol(protocol: int) -> None:
    content = pickle.dumps({"weights": [1.0, 2.0]}, protocol)
    assert not is_policy_file(content)
    found = binary_type(content)
    assert found is not None and "a pickle" in found.name


def test_an_sb3_model_is_told_from_the_pytorch_file_inside_it() -> None:
    model, module = io.BytesIO(), io.BytesIO()
    PPO("MlpPolicy", make_env()).save(model)
    torch.save({}, module)
    names = [found.name for found in (binary_type(model.getvalue()), binary_type(module.getvalue())) if found]
    assert "Stable-Baselines3" in names[0] and "PyTorch" in names[1]


def test_a_folder_names_what_lies_in_it(tmp_path: Path) -> None:
    for name, says in (
        ("a.safetensors", r"name a file in it, such as .*a\.safetensors"),
        ("b.pt", "b.pt is a PyTorch"),
    ):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_bytes(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")
        with pytest.raises(ValueError, match=f"holds no training run.*{says}"):
            load_policy(folder)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()
    with pytest.raises(ValueError, match="TensorFlow SavedModel"):
        load_policy(tmp_path / "saved")


def test_an_original_file_is_read_under_any_name(tmp_path: Path) -> None:
    original = Path(__file__).parents[1] / "golden" / "epsilon.js"
    (tmp_path / "mine.txt").write_bytes(original.read_bytes())
    assert load_policy(tmp_path / "mine.txt").epsilon == load_policy(original).epsilon == 0.5


# --- the remedy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [PPO, DQN])
def test_the_remedy_for_an_sb3_model_works(model: type[PPO | DQN], tmp_path: Path) -> None:
    made = model("MlpPolicy", make_env(), seed=3)
    made.save(tmp_path / "model.zip")
    loaded = model.load(tmp_path / "model.zip")
    write_policy(tmp_path / "mine.safetensors", export_torch(loaded.policy, SENSOR, "mine"))
    policy, obs = load_policy(tmp_path / "mine.safetensors"), np.random.default_rng(0).random((200, SENSOR.size))
    every = np.arange(200)
    policy.reset(every)
    expected, _ = loaded.predict(obs.astype(np.float32), deterministic=True)
    assert (policy.act(obs, every) == expected).mean() > 0.99 and len(set(expected.tolist())) > 1
    assert evaluate_open(policy, runs=2).runs == 2


def test_a_recurrent_sb3_policy_is_refused() -> None:
    from sb3_contrib import RecurrentPPO

    with pytest.raises(ValueError, match="RecurrentActorCriticPolicy has no counterpart"):
        export_torch(RecurrentPPO("MlpLstmPolicy", make_env()).policy, SENSOR, "mine")
