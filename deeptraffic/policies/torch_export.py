"""Export of PyTorch modules as policy files, on the author's own machine; torch is needed only here.

    >>> module = nn.Sequential(nn.Linear(420, 64), nn.ReLU(), nn.Linear(64, 5))
    >>> policy_file = export_torch(module, Sensor(3, 50, 10), label="mine")
    >>> compare(policy_file.network, module, observations)      # largest difference, other actions
    >>> write_policy("mine.safetensors", policy_file)

FORMAT.md has a whole example. A sensor's cells are an image (rows, columns, 1) after
`before=(Reshape(shape=(60, 7, 1)),)`, which PyTorch knows as (1, 60, 7); lane gaps are `before=(Gaps(...),)`.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.policies import layers as v
from deeptraffic.policies.file import PolicyFile, pack_policy
from deeptraffic.policies.layer import Layer, Shape, Tensors
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import input_size
from deeptraffic.sim.rules import Sensor

if TYPE_CHECKING:
    from torch import nn

INSTEAD = "build it of Linear, Conv2d, pooling, normalisation, activations and recurrent cells"


class Difference(NamedTuple):
    """How far a network is from the module that it was made of.

    largest: largest absolute difference of an output
    other_actions: observations for which another action is chosen, of `near_ties` only where the two best outputs of
        the module are closer together than twice the largest difference
    """

    largest: float
    other_actions: int
    near_ties: int


def export_torch(
    module: "nn.Module",
    sensor: Sensor,
    label: str,
    temporal_window: int = 0,
    rules: int = 2018,
    other_agents: int = 0,
    before: Iterable[Layer] = (),
) -> PolicyFile:
    """Return a module that maps observations (B, D) to outputs (B, 5), one for each action, as a policy file.

    Args:
        module: a Sequential, nested at will, a single module, or the policy of a Stable-Baselines3 model over the
            sensor's cells (`PPO.load("model.zip").policy`); the largest output is the action
        sensor: what it observes; with a temporal window as `input_size` says
        label: name of the policy
        temporal_window, rules, other_agents: as in `NetworkPolicy`
        before: layers in front of it, without tensors

    Raises ValueError, with the module's name, for what no layer of a policy file can say.
    """
    network = from_torch(module, input_size(sensor, temporal_window), before)
    return pack_policy(network, sensor, label, temporal_window, rules, other_agents)


def from_torch(
    trunk: "nn.Module",
    inputs: int,
    before: Iterable[Layer] = (),
    advantage: "nn.Module | None" = None,
    value: "nn.Module | None" = None,
) -> Network:
    """Return modules as a network in float32 storage (the modules' own dtype).

    Args:
        trunk: a Sequential, nested at will, or a single module
        inputs: size of the network's input
        before: layers in front of it, without tensors
        advantage, value: both heads of a dueling network, on the trunk's output

    Raises ValueError, with the module's name, for what no layer can say.
    """
    if (advantage is None) != (value is None):
        raise ValueError("a dueling network has two heads; give advantage and value, or neither")
    builder = NetworkBuilder(inputs)
    for layer in before:
        builder.add(layer, {})
    builder.module(trunk)
    if advantage is not None and value is not None:
        fork = len(builder.layers)
        heads = [builder.head(head, fork) for head in (value, advantage)]
        builder.add(v.Dueling(inputs=tuple(heads)), {})
    return builder.network()


def compare(network: Network, module: Callable[[Any], Any], observations: NDArray[Any]) -> Difference:
    """Return how far the network is from a module that maps (B, inputs) float32 to (B, outputs), without memory."""
    import torch

    with torch.no_grad():
        theirs = module(torch.as_tensor(observations, dtype=torch.float32)).double().numpy()
    program = network.assemble()
    ours = np.array([program.run(np.asarray(obs, np.float64)) for obs in observations])
    largest = float(np.abs(ours - theirs).max())
    best = np.sort(theirs, axis=1)
    others = ours.argmax(axis=1) != theirs.argmax(axis=1)
    near = best[:, -1] - best[:, -2] < 2 * largest
    return Difference(largest, int(others.sum()), int((others & near).sum()))


class NetworkBuilder:
    """Layers so far, each reading the one before unless its `inputs` say otherwise.

    Args:
        inputs: size of the network's input
    """

    def __init__(self, inputs: int) -> None:
        self.layers: list[Layer] = []
        self.tensors: Tensors = {}
        self.shapes: list[Shape] = [(inputs,)]

    @property
    def shape(self) -> Shape:
        """Shape of the last layer's output."""
        return self.shapes[-1]

    def network(self) -> Network:
        """Return the layers as a network."""
        return Network(self.shapes[0][0], tuple(self.layers), self.tensors)

    def add(self, layer: Layer, tensors: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Append a layer with its tensors by name."""
        given = [self.shapes[i] for i in layer.inputs or (len(self.layers),)]
        self.shapes.append(layer.output_shape(given))
        self.layers.append(layer)
        for name, tensor in tensors.items():
            self.tensors[f"{len(self.layers)}.{name}"] = np.ascontiguousarray(tensor)

    def head(self, module: "nn.Module", fork: int) -> int:
        """Put a head on value `fork`; return the number of its output."""
        size = self.shapes[fork][-1]
        self.add(v.Slice(start=0, stop=size, inputs=(fork,)), {})
        self.module(module)
        return len(self.layers)

    def module(self, module: "nn.Module") -> None:
        """Append one module, or those inside a Sequential."""
        kind = type(module).__name__
        if kind in ("Sequential", "ModuleList"):
            for inner in module.children():
                self.module(inner)
        elif kind in SIMPLE:
            self.add(SIMPLE[kind](module), {})
        elif kind in READERS:
            READERS[kind](self, module)
        elif parts := sb3_network(module):
            for part in parts:
                self.module(part)
        elif kind not in NOTHING:
            raise ValueError(f"{kind} has no counterpart among the layers of a policy file; {INSTEAD}")

    def refuse_image(self, module: Any) -> None:
        """Raise ValueError on an image, whose last axis is the channels here and the columns in PyTorch."""
        if len(self.shape) == 3:
            raise ValueError(f"{type(module).__name__} on an image of shape {self.shape}; put Flatten before it")

    def softmax(self, module: Any) -> None:
        """Append a softmax."""
        self.refuse_image(module)
        if module.dim not in (-1, len(self.shape)):
            raise ValueError(f"Softmax over axis {module.dim}; use the last one")
        self.add(v.Softmax(), {})

    # --- modules with weights -------------------------------------------------------------------------------------

    def linear(self, module: Any) -> None:
        """Append a dense layer."""
        self.refuse_image(module)
        layer = v.Dense(outputs=module.out_features, bias=module.bias is not None)
        self.add(layer, _numbers(module, weight="weight", bias="bias"))

    def conv2d(self, module: Any) -> None:
        """Append a convolution."""
        if module.groups != 1 or _pair(module.dilation) != (1, 1) or module.padding_mode != "zeros":
            raise ValueError("Conv2d with groups, dilation or a padding mode; use plain zero padding")
        if isinstance(module.padding, str):
            raise ValueError(f"Conv2d with padding={module.padding!r}; give the padding as integers")
        layer = v.Conv2d(filters=module.out_channels, bias=module.bias is not None, **_window(module))
        tensors = _numbers(module, weight="weight", bias="bias")
        self.add(layer, tensors | {"weight": tensors["weight"].transpose(0, 2, 3, 1)})  # channels last

    def max_pool(self, module: Any) -> None:
        """Append a maximum pooling."""
        if _pair(module.dilation) != (1, 1) or module.ceil_mode:
            raise ValueError("MaxPool2d with dilation or ceil_mode; leave them out")
        self.add(v.MaxPool(**_window(module)), {})

    def layer_norm(self, module: Any) -> None:
        """Append a layer normalisation."""
        self.refuse_image(module)
        if tuple(module.normalized_shape) != self.shape[-1:]:
            raise ValueError(f"LayerNorm over {tuple(module.normalized_shape)} of a value of shape {self.shape}")
        ones = {"weight": np.ones(self.shape[-1:], np.float32), "bias": np.zeros(self.shape[-1:], np.float32)}
        self.add(v.LayerNorm(epsilon=module.eps), ones | _numbers(module, weight="weight", bias="bias"))

    def batch_norm(self, module: Any) -> None:
        """Folded: in evaluation mode it is a scale."""
        if module.running_mean is None:
            raise ValueError("a batch norm without running statistics depends on its batch; track them")
        n = _numbers(module, mean="running_mean", variance="running_var", weight="weight", bias="bias")
        wide = {name: np.asarray(tensor, np.float64) for name, tensor in n.items()}
        factor = wide.get("weight", 1.0) / np.sqrt(wide["variance"] + module.eps)
        self.add(v.Scale(), {"factor": factor, "offset": wide.get("bias", 0.0) - wide["mean"] * factor})

    def recurrent(self, module: Any) -> None:
        """One layer of RNN, GRU or LSTM, or their cells; its state is the vehicle's memory."""
        if getattr(module, "num_layers", 1) != 1 or getattr(module, "bidirectional", False):
            raise ValueError("a recurrent module of several layers or directions; use one module per layer")
        if not module.bias or getattr(module, "proj_size", None) or getattr(module, "nonlinearity", "tanh") != "tanh":
            raise ValueError("a recurrent module without bias, with projections or with relu; use PyTorch's defaults")
        end = "" if type(module).__name__.endswith("Cell") else "_l0"
        kind = {"RNN": v.Rnn, "GRU": v.Gru, "LSTM": v.Lstm}[type(module).__name__.removesuffix("Cell")]
        theirs = {"weight_input": "weight_ih", "weight_hidden": "weight_hh"}
        theirs |= {"bias_input": "bias_ih", "bias_hidden": "bias_hh"}
        tensors = _numbers(module, **{ours: name + end for ours, name in theirs.items()})
        self.add(kind(hidden=module.hidden_size), tensors)

    def attention(self, module: Any, mask: int | None = None) -> None:
        """Self-attention over a set, the first of what PyTorch returns; mask: number of the value with the mask."""
        if module.in_proj_weight is None or module.in_proj_bias is None or module.bias_k is not None:
            raise ValueError(
                "MultiheadAttention with other sizes of keys, without bias or with bias_kv; use plain ones"
            )
        tensors = _numbers(module, weight_in="in_proj_weight", bias_in="in_proj_bias")
        out = _numbers(module.out_proj, weight_out="weight", bias_out="bias")
        inputs = () if mask is None else (len(self.layers), mask)
        self.add(v.Attention(heads=module.num_heads, inputs=inputs), tensors | out)

    def flatten(self, module: Any) -> None:
        """Append a flattening, channel by channel."""
        if module.start_dim != 1 or module.end_dim != -1:
            raise ValueError("Flatten of some axes only; use Flatten()")
        self.add(v.Flatten(order="chw" if len(self.shape) == 3 else "hwc"), {})

    def unflatten(self, module: Any) -> None:
        """Append a reshape of a vector."""
        sizes = tuple(module.unflattened_size)
        if len(sizes) == 3 and sizes[0] == 1:
            sizes = (*sizes[1:], 1)
        elif len(sizes) != 2:
            raise ValueError(f"Unflatten to {sizes}; a vector becomes an image of one channel or a set (K, D)")
        self.add(v.Reshape(shape=sizes), {})


def sb3_network(module: Any) -> "list[nn.Module]":
    """Return the modules from observation to actions of a Stable-Baselines3 policy (`model.policy`); [] for another.

    Of an actor-critic policy (PPO, A2C) they are the actor's, of a Q-network (DQN) those of the action values.
    """
    if hasattr(module, "mlp_extractor") and hasattr(module, "action_net") and not hasattr(module, "lstm_actor"):
        parts = [module.pi_features_extractor, module.mlp_extractor.policy_net, module.action_net]
    elif hasattr(module, "q_net"):
        parts = [module.q_net.features_extractor, module.q_net.q_net]
    else:
        return []
    return [part for part in parts if type(part).__name__ != "FlattenExtractor"]  # which leaves a vector as it is


def _numbers(module: Any, **names: str) -> dict[str, NDArray[Any]]:
    """The module's tensors under our names; those that it lacks are left out."""
    found = {ours: getattr(module, theirs) for ours, theirs in names.items()}
    return {ours: t.detach().cpu().numpy().copy() for ours, t in found.items() if t is not None}


def _pair(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _window(module: Any) -> dict[str, Any]:
    names = {"kernel": "kernel_size", "stride": "stride", "padding": "padding"}
    return {ours: _pair(getattr(module, theirs)) for ours, theirs in names.items()}


SIMPLE: dict[str, Callable[[Any], Layer]] = {
    "ReLU": lambda module: v.Relu(),
    "LeakyReLU": lambda module: v.LeakyRelu(slope=module.negative_slope),
    "ELU": lambda module: v.Elu(alpha=module.alpha),
    "Tanh": lambda module: v.Tanh(),
    "Sigmoid": lambda module: v.Sigmoid(),
    "GELU": lambda module: v.Gelu(approximate=module.approximate),
}
READERS: dict[str, Callable[[NetworkBuilder, Any], None]] = {
    "Linear": NetworkBuilder.linear,
    "Softmax": NetworkBuilder.softmax,
    "Conv2d": NetworkBuilder.conv2d,
    "MaxPool2d": NetworkBuilder.max_pool,
    "LayerNorm": NetworkBuilder.layer_norm,
    "BatchNorm1d": NetworkBuilder.batch_norm,
    "BatchNorm2d": NetworkBuilder.batch_norm,
    "MultiheadAttention": NetworkBuilder.attention,
    "Flatten": NetworkBuilder.flatten,
    "Unflatten": NetworkBuilder.unflatten,
    **dict.fromkeys(("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"), NetworkBuilder.recurrent),
}
NOTHING = ("Identity", "Dropout", "Dropout2d")  # in evaluation mode
