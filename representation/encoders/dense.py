"""Feed-forward networks (paradigm 1): dense layers over the observation as a vector.

Source: Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors",
doi:10.1038/323533a0. A layer computes y = f(W x + b).
"""

from collections.abc import Sequence

from gymnasium import spaces
from torch import Tensor, nn

from deeptraffic.policies.torch_export import NetworkBuilder
from representation.encoder import Encoder
from representation.layouts import as_vector, vector_size

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def dense_layers(inputs: int, hidden: Sequence[int], outputs: int, activation: str = "relu") -> nn.Sequential:
    """Return dense layers of `hidden` units, each followed by the activation, and a last one without."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation={activation!r} does not exist; choose one of {', '.join(ACTIVATIONS)}")
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(inputs, units), ACTIVATIONS[activation]()]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class DenseEncoder(Encoder):
    """Dense layers over the observation as a vector.

    Args:
        observation_space: any
        features_dim: D
        hidden: units of each hidden layer
        activation: relu, tanh or gelu, also after the last layer
    """

    name = "dense"
    reads_images = True

    def __init__(
        self,
        observation_space: spaces.Space,
        features_dim: int = 64,
        hidden: Sequence[int] = (128,),
        activation: str = "relu",
    ) -> None:
        super().__init__(observation_space, features_dim, hidden=list(hidden), activation=activation)
        self.layers = dense_layers(vector_size(self.observation_space), hidden, features_dim, activation)
        self.activation = ACTIVATIONS[activation]()

    def features(self, obs: Tensor | dict[str, Tensor]) -> Tensor:
        """Return (B, D)."""
        row = as_vector(obs)  # (B, n)
        return self.activation(self.layers(row))  # (B, D)

    def add_layers(self, network: NetworkBuilder) -> bool:
        """Append the layers of a policy file; see `Encoder.add_layers`."""
        if len(network.shape) == 3:
            network.module(nn.Flatten())
        network.module(nn.Sequential(self.layers, self.activation))
        return True
