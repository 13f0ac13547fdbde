"""PyTorch modules become networks that give the same numbers, or an error that names the module."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import deeptraffic.policies
from deeptraffic.policies.file import read_policy
from deeptraffic.policies.layers import Reshape
from deeptraffic.policies.sensor_layers import Gaps
from deeptraffic.policies.torch_export import NOTHING, READERS, SIMPLE, compare, from_torch
from deeptraffic.sim.rules import Sensor

CELLS = 60 * 7


def cells(count: int = 30, size: int = CELLS) -> np.ndarray:
    """Observations such as the sensor's: mostly free, some cars, some off the road."""
    return np.random.default_rng(0).choice([1.0, 1.0, 1.0, 0.02, 0.035, 0.0], size=(count, size)).astype(np.float32)


def trained_batch_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    nn.init.uniform_(norm.weight, 0.5, 2.0)
    nn.init.normal_(norm.bias)
    norm.running_mean = torch.randn(channels)
    norm.running_var = torch.rand(channels) + 0.5
    return norm


def modules() -> dict[str, nn.Module]:
    torch.manual_seed(1)
    image = nn.Unflatten(1, (1, 60, 7))
    return {
        "dense": nn.Sequential(nn.Linear(CELLS, 36), nn.ReLU(), nn.Linear(36, 24), nn.Tanh(), nn.Linear(24, 5)),
        "nested": nn.Sequential(nn.Sequential(nn.Linear(CELLS, 16), nn.LayerNorm(16)), nn.GELU(), nn.Linear(16, 5)),
        "activations": nn.Sequential(
            *(nn.Linear(CELLS, 20), nn.LeakyReLU(0.1), nn.Linear(20, 20), nn.ELU(0.7), nn.Dropout(), nn.Identity()),
            *(nn.Linear(20, 20), nn.Sigmoid(), nn.GELU("tanh"), nn.Linear(20, 5, bias=False), nn.Softmax(1)),
        ),
        "convolutions": nn.Sequential(
            *(image, nn.Conv2d(1, 6, (5, 3), stride=(2, 1), padding=(2, 1)), trained_batch_norm(6), nn.ReLU()),
            *(nn.MaxPool2d(2), nn.Conv2d(6, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 15 * 3, 5)),
        ),
        "norm without numbers": nn.Sequential(
            nn.Linear(CELLS, 9), nn.LayerNorm(9, elementwise_affine=False), nn.Linear(9, 5)
        ),
    }


@pytest.mark.parametrize("name", modules())
def test_network_gives_what_the_module_gives(name: str) -> None:
    module = modules()[name].eval()
    difference = compare(from_torch(module, CELLS), module, cells())
    assert difference.largest < 1e-5
    assert difference.other_actions == difference.near_ties


def pytorch_page() -> str:
    page = (Path(deeptraffic.policies.__file__).parent / "FORMAT.md").read_text()
    return page[page.index("## From PyTorch") :]


def test_example_of_the_page_writes_a_policy_that_drives_as_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(pytorch_page().split("```python")[1].split("```")[0], names)
    policy = read_policy("mine.safetensors").policy()
    assert (policy.label, policy.observation) == ("mine", Sensor(3, 50, 10))
    seen = cells()
    policy.reset(np.arange(len(seen)))
    with torch.no_grad():
        outputs = names["module"](torch.from_numpy(seen))
    clear = outputs.sort(1).values.diff(dim=1)[:, -1].numpy() > 1e-5
    actions = policy.act(seen.astype(np.float64), np.arange(len(seen)))
    np.testing.assert_array_equal(actions[clear], outputs.argmax(1).numpy()[clear])
    assert clear.any()


def test_page_lists_the_modules_that_are_read() -> None:
    listed = set(pytorch_page().split("The modules that it takes:")[1].replace(",", " ").replace(";", " ").split())
    assert {*SIMPLE, *READERS, *NOTHING} <= listed


def test_dueling_heads_are_joined() -> None:
    torch.manual_seed(2)
    trunk, advantage = nn.Sequential(nn.Linear(CELLS, 16), nn.ReLU()), nn.Linear(16, 5)
    value = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))

    def joined(x: torch.Tensor) -> torch.Tensor:
        features = trunk(x)
        a = advantage(features)
        return value(features) + a - a.mean(1, keepdim=True)

    network = from_torch(trunk, CELLS, advantage=advantage, value=value)
    assert compare(network, joined, cells()).largest < 1e-5


def test_layers_before_the_modules_prepare_the_cells() -> None:
    from deeptraffic.policies.gaps import gap_features

    torch.manual_seed(3)
    head, seen = nn.Linear(42, 5), cells()
    features = np.empty((len(seen), 42))
    for row, out in zip(seen.astype(np.float64), features, strict=True):
        gap_features(row, 3, 50, 10, 100.0, out)
    network = from_torch(head, CELLS, before=[Gaps(lanes_side=3, patches_ahead=50, patches_behind=10)])
    expected = head(torch.as_tensor(features, dtype=torch.float32)).detach().numpy()
    program = network.assemble()
    np.testing.assert_allclose([program.run(x) for x in seen.astype(np.float64)], expected, atol=1e-5)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM, nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_recurrent_modules_keep_their_state(kind: Any) -> None:
    torch.manual_seed(4)
    cell, head, seen = kind(12, 8), nn.Linear(8, 5), cells(6, 12)
    program = from_torch(nn.ModuleList([cell, head]), 12).assemble()
    memory = np.zeros(program.memory)
    ours = [program.run(x.astype(np.float64), memory) for x in seen]
    state = None
    for x, y in zip(torch.from_numpy(seen), ours, strict=True):
        found = cell(x[None], state)
        if kind.__name__.endswith("Cell"):
            state = found
            out = found[0] if isinstance(found, tuple) else found
        else:
            out, state = found
        np.testing.assert_allclose(y, head(out).detach().numpy()[0], atol=1e-5)


def test_attention_over_a_set_is_pytorchs() -> None:
    torch.manual_seed(5)
    attention, head, x = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(48, 5), cells(5, 48)
    network = from_torch(nn.ModuleList([attention, nn.Flatten(), head]), 48, before=[Reshape(shape=(6, 8))])

    def module(batch: torch.Tensor) -> torch.Tensor:
        tokens = batch.reshape(-1, 6, 8)
        return head(attention(tokens, tokens, tokens)[0].flatten(1))

    assert compare(network, module, x).largest < 1e-5


def test_an_other_network_is_told_apart() -> None:
    torch.manual_seed(6)
    first, second = nn.Linear(12, 5), nn.Linear(12, 5)
    difference = compare(from_torch(first, 12), second, np.random.default_rng(0).normal(size=(50, 12)))
    assert difference.largest > 0.1
    assert difference.other_actions > 10


REFUSED: dict[str, tuple[nn.Module, str]] = {
    "unknown": (nn.PReLU(), "PReLU has no counterpart"),
    "two layers": (nn.GRU(CELLS, 4, num_layers=2), "several layers"),
    "image into linear": (nn.Sequential(nn.Unflatten(1, (1, 60, 7)), nn.Linear(7, 5)), "put Flatten before it"),
    "softmax over tokens": (nn.Sequential(nn.Unflatten(1, (60, 7)), nn.Softmax(1)), "Softmax over axis 1"),
    "dilation": (nn.Sequential(nn.Unflatten(1, (1, 60, 7)), nn.Conv2d(1, 2, 3, dilation=2)), "dilation"),
    "sizes": (nn.Linear(12, 5), r"shape \(5, 12\); its layer needs \(5, 420\)"),
    "untracked": (nn.Sequential(nn.BatchNorm1d(CELLS, track_running_stats=False)), "depends on its batch"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_vocabulary_cannot_say_is_refused(name: str) -> None:
    module, named = REFUSED[name]
    with pytest.raises(ValueError, match=named):
        from_torch(module, CELLS)


def test_one_dueling_head_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="two heads"):
        from_torch(nn.Linear(CELLS, 16), CELLS, value=nn.Linear(16, 1))
