"""Encoder interface: a network from observations to a feature vector, usable as feature extractor by any agent.

Source of the idea: Bengio, Courville and Vincent 2013, "Representation Learning", arXiv:1206.5538. An encoder is a
Stable-Baselines3 features extractor, so that it works unchanged in PPO, A2C, DQN and the algorithms of `agents`:

    >>> encoder = DenseEncoder(env.observation_space, features_dim=64)
    >>> PPO("MlpPolicy", env, policy_kwargs=encoder.policy_kwargs())       # these weights, frozen
    >>> encoder.save("dense.safetensors")
    >>> features = load_encoder("dense.safetensors").encode(observations)  # (B, 64) float32

A weights file (`representation/weights.py`) holds the parameters and a JSON header: architecture, observation,
normalisation and a summary of the training. Reading it runs no code.

Letters in shapes: B observations, D features, (...) the shape of one observation.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from deeptraffic.policies.torch_export import NetworkBuilder
from deeptraffic.run_dir import write_atomically
from representation.weights import module_content, read_weights

FORMAT, VERSION = "deeptraffic-encoder", 1
Observation = Tensor | dict[str, Tensor]
CHUNK = 4096  # observations that `encode` has in memory at a time
NORMALISED = 256  # observations that `fit_normalisation` has in memory as float64 at a time
SMALLEST_SCALE = 1e-3  # least deviation, for a constant feature


class Encoder(BaseFeaturesExtractor):
    """A network from observations to (B, features_dim) float32.

    A subclass passes its own keyword arguments to this constructor, builds its layers, and defines `features`.

    Args:
        observation_space: of one observation; images (H, W, C) of uint8 are taken channels first, as by SB3
        features_dim: D
        architecture: the subclass's keyword arguments, from which `load` makes the network again

    name: of the architecture, its key in `representation.registry.ENCODERS`
    offset, scale: normalisation of the input, (x - offset) / scale, fitted by `fit_normalisation`, else 0 and 1: of
        each feature of a vector; of images and other arrays a mean frame, (...), and one number
    observed: fields of the observation's configuration, if known
    summary: JSON values about the training
    reads_images: whether `add_layers` takes images; reads_dicts: whether it takes dicts, as vectors of their parts
    normalises_dicts: whether `fit_normalisation` takes dicts
    is_pretrained: whether the weights were trained before; is_frozen: whether they may no longer change
    """

    name: ClassVar[str]
    reads_images: ClassVar[bool] = False
    reads_dicts: ClassVar[bool] = False
    normalises_dicts: bool = False
    observation_space: spaces.Space
    offset: Tensor
    scale: Tensor

    def __init__(self, observation_space: spaces.Space, features_dim: int = 64, **architecture: Any) -> None:
        if isinstance(features_dim, bool) or not isinstance(features_dim, int) or not 1 <= features_dim <= 65_536:
            raise ValueError(f"features_dim must be an integer in [1, 65536], got {features_dim!r}")
        super().__init__(observation_space, features_dim)
        self.observation_space = channels_first(observation_space)
        self.architecture = architecture
        self.observed: dict[str, Any] | None = None
        self.summary: dict[str, Any] = {}
        self.is_pretrained = self.is_frozen = False
        self._loaded_digest: str | None = None
        shape = self.observation_space.shape or ()
        self.register_buffer("offset", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape if len(shape) == 1 else ()))
        self.register_load_state_dict_post_hook(_trust)

    def features(self, obs: Any) -> Tensor:
        """Return (B, D) for normalised float32 observations; defined by the subclass."""
        raise NotImplementedError

    def add_layers(self, network: NetworkBuilder) -> bool:
        """Append the layers of a policy file that compute the features from one normalised observation.

        The network so far gives a vector, or, where `reads_images`, an image (H, W, C).

        Returns False, with nothing appended, if no policy file can hold this encoder.
        """
        return False

    def forward(self, observations: Observation) -> Tensor:
        """Return (B, D) for a batch of observations; integers in 0..255 are scaled to 0..1, once."""
        if self._loaded_digest is not None:
            self._check_intact()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.is_frozen):
            features = self.features(self._prepared(observations))
        assert features.shape[1:] == (self.features_dim,), f"{tuple(features.shape)} is not (B, {self.features_dim})"
        return features

    def encode(self, observations: NDArray[Any] | Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return (B, D) float32 for a batch of NumPy observations, in evaluation mode without gradients."""
        was_training, device = self.training, self.offset.device
        self.eval()
        count = len(next(iter(observations.values())) if isinstance(observations, Mapping) else observations)
        out = np.empty((count, self.features_dim), np.float32)
        with torch.no_grad():
            for start in range(0, count, CHUNK):
                piece = to_tensors(observations, slice(start, start + CHUNK), device)
                out[start : start + CHUNK] = self(piece).cpu().numpy()
        self.train(was_training)
        return out

    # --- normalisation ------------------------------------------------------------------------------------------------

    def fit_normalisation(self, observations: Any) -> Self:
        """Set the normalisation from (N, ...) observations; it is saved with the weights.

        A vector's features get mean 0 and standard deviation 1, each by itself. Images, grids and stacks of them lose
        their mean frame and are divided by one number, the standard deviation of what is left. Without it, what moves
        on a road is a small part of an image, and training stands still for hundreds of steps.

        Raises ValueError for observations of another shape, or of a dict: `CombinedEncoder` normalises its parts.
        """
        shape = tuple(self.offset.shape)
        if not shape or not len(observations):
            raise ValueError(f"{len(observations)} observations of {self.observation_space} give no normalisation")
        values = self.aligned(np.asarray(observations))
        unit = 255.0 if self.observation_space.dtype == np.uint8 else 1.0
        mean = values.mean(0, dtype=np.float64)
        deviation = values.std(0, dtype=np.float64) if len(shape) == 1 else _deviation(values, mean)
        self.offset.copy_(torch.from_numpy(mean / unit))
        self.scale.copy_(torch.as_tensor(np.maximum(deviation / unit, SMALLEST_SCALE)))
        return self

    def normalise(self, obs: Tensor) -> Tensor:
        """Return float32 observations (B, ...) as `features` takes them: less the offset, divided by the scale."""
        return (obs - self.offset) / self.scale

    def aligned(self, obs: Any) -> Any:
        """Return (B, ...) observations, tensor or array, images with channels first; ValueError for another shape."""
        shape = self.observation_space.shape or ()
        if obs.shape[1:] != shape and (*obs.shape[3:], *obs.shape[1:3]) == shape:
            obs = obs.permute(0, 3, 1, 2) if isinstance(obs, Tensor) else obs.transpose(0, 3, 1, 2)
        if obs.shape[1:] != shape:
            raise ValueError(
                f"observations of shape {tuple(obs.shape)} are not (B, {', '.join(map(str, shape))}), "
                f"the input of this {type(self).__name__}"
            )
        return obs

    # --- pretrained weights -------------------------------------------------------------------------------------------

    def freeze(self) -> Self:
        """Freeze the weights: no gradients, and evaluation mode."""
        self.is_frozen = True
        for parameter in self.parameters():
            parameter.requires_grad = False
        return self.eval()

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation mode; a frozen encoder stays in evaluation mode."""
        return super().train(mode and not self.is_frozen)

    def apply(self, fn: Callable[[nn.Module], Any]) -> Self:
        """Call fn on every module, but keep SB3 from re-initialising pretrained weights.

        PPO and A2C initialise the features extractor after it was made (`ortho_init=True`), which would erase training.
        """
        if self.is_pretrained and getattr(fn, "func", fn) is BasePolicy.init_weights:
            return self
        return super().apply(fn)

    def mark_pretrained(self) -> Self:
        """Mark the weights as pretrained: they are checked for changes until their first use."""
        self.is_pretrained = True
        self._loaded_digest = self.digest()
        return self

    def digest(self) -> str:
        """Return the SHA-256 of all weights."""
        sha = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            sha.update(name.encode())
            sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return sha.hexdigest()

    def policy_kwargs(self, trainable: bool = False) -> dict[str, Any]:
        """Return `policy_kwargs` with which any SB3 algorithm starts from a copy of these weights.

        trainable: whether the agent fine-tunes them
        """
        kwargs = {"weights": self.content(), "trainable": trainable}
        class_ = type(self).pretrained
        return {"features_extractor_class": class_, "features_extractor_kwargs": kwargs, "normalize_images": True}

    # --- weights file -------------------------------------------------------------------------------------------------

    def content(self) -> bytes:
        """Return the content of this encoder's weights file: the same bytes for the same encoder."""
        architecture = {"name": self.name, "features_dim": self.features_dim, "kwargs": self.architecture}
        facts = {
            "format": FORMAT,
            "version": VERSION,
            "architecture": architecture,
            "observation": {"space": describe_space(self.observation_space), "observed": self.observed},
            "summary": self.summary,
        }
        return module_content(self.state_dict(), facts)

    def save(self, path: str | Path) -> None:
        """Write the weights file, whole or not at all."""
        write_atomically(Path(path), self.content())

    @classmethod
    def load(cls, source: str | Path | bytes) -> Self:
        """Return the encoder of this class in a weights file's path or content, marked as pretrained.

        Raises ValueError if it is not an encoder's file, or its weights do not fit the architecture that it names.
        `representation.registry.load_encoder` reads a file of any class.
        """
        tensors, facts = read_weights(source)
        name = architecture_name(facts)
        if name != cls.name:
            raise ValueError(f"this file holds an encoder {name!r}, not {cls.name!r}; load it with `load_encoder`")
        try:
            architecture, observation = facts["architecture"], facts["observation"]
            space = space_of(observation["space"])
            encoder = cls(space, architecture["features_dim"], **architecture["kwargs"])
            encoder.load_state_dict(tensors)
        except (RuntimeError, KeyError, TypeError) as error:
            raise ValueError(f"the weights do not fit the architecture that the file names ({error})") from error
        encoder.observed, encoder.summary = observation["observed"], facts["summary"]
        return encoder.mark_pretrained()

    @classmethod
    def pretrained(cls, observation_space: spaces.Space, weights: Any, trainable: bool = False) -> Self:
        """Return the encoder in a weights file, for this observation space: a `features_extractor_class` of SB3.

        Raises ValueError if it was trained on other observations.
        """
        encoder = cls.load(weights)
        given = channels_first(observation_space)
        if describe_space(given) != describe_space(encoder.observation_space):
            raise ValueError(
                f"this {cls.__name__} was trained on {describe_space(encoder.observation_space)}, the "
                f"environment's observation is {describe_space(given)}; make the environment with the observation that "
                "the encoder was trained on" + (f": {encoder.observed}" if encoder.observed else "")
            )
        return encoder if trainable else encoder.freeze()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _prepared(self, observations: Observation) -> Observation:
        if isinstance(observations, dict):
            parts = cast(spaces.Dict, self.observation_space).spaces
            return {name: as_float(observations[name], part) for name, part in parts.items()}
        return self.normalise(self.aligned(as_float(observations, self.observation_space)))

    def _check_intact(self) -> None:
        if self.digest() != self._loaded_digest:
            raise RuntimeError(
                f"the pretrained weights of this {type(self).__name__} were overwritten before their first use, as by "
                "an initialisation of the whole policy; give the agent policy_kwargs=encoder.policy_kwargs() and load "
                "weights after anything that initialises them"
            )
        self._loaded_digest = None


def _trust(encoder: nn.Module, _: Any) -> None:
    """Accept weights that come by `load_state_dict`, such as those of a saved agent, as intended."""
    encoder._loaded_digest = None  # type: ignore[assignment]


def architecture_name(facts: Mapping[str, Any]) -> Any:
    """Return the name of the architecture that an encoder's weights file holds; ValueError for any other file."""
    if facts.get("format") != FORMAT or facts.get("version") != VERSION:
        raise ValueError(
            f"this file holds {facts.get('format')!r} version {facts.get('version')!r}, not an encoder "
            f"({FORMAT!r} version {VERSION}); encoders are written by `Encoder.save` and `deeptraffic pretrain`"
        )
    return facts.get("architecture", {}).get("name")


def _deviation(values: NDArray[Any], mean: NDArray[np.float64]) -> float:
    """Return the standard deviation of all entries of values (N, ...) about the mean frame, a few at a time."""
    pieces = range(0, len(values), NORMALISED)
    return float(np.sqrt(sum(np.square(values[k : k + NORMALISED] - mean).sum() for k in pieces) / values.size))


# --- spaces and tensors -----------------------------------------------------------------------------------------------


def is_image(space: spaces.Space) -> bool:
    """Whether one observation is an image of uint8."""
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3


def channels_first(space: spaces.Space) -> spaces.Space:
    """Return the space with images (H, W, C) as (C, H, W), where the last side is the smallest."""
    if not is_image(space) or not isinstance(space, spaces.Box) or space.shape[2] >= min(space.shape[:2]):
        return space
    height, width, channels = space.shape
    return spaces.Box(0, 255, (channels, height, width), np.uint8)


def describe_space(space: spaces.Space) -> dict[str, Any]:
    """Return a space as JSON values: shape and dtype, or the parts of a dict by name."""
    if isinstance(space, spaces.Dict):
        return {name: describe_space(part) for name, part in space.spaces.items()}
    return {"shape": list(space.shape or ()), "dtype": "uint8" if space.dtype == np.uint8 else "float32"}


def space_of(described: Mapping[str, Any]) -> spaces.Space:
    """Return the space that `describe_space` described; its bounds, which no network reads, are not kept."""
    if "shape" not in described:
        return spaces.Dict({name: space_of(part) for name, part in described.items()})
    shape = tuple(int(side) for side in described["shape"])
    if described["dtype"] == "uint8":
        return spaces.Box(0, 255, shape, np.uint8)
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


def as_float(part: Tensor, space: spaces.Space) -> Tensor:
    """Return float32; values in 0..255 become 0..1, unless SB3 has divided them already.

    SB3 turns everything into float32 before an extractor gets it, and divides where `is_image_space` holds.
    """
    is_raw = part.dtype == torch.uint8 or (space.dtype == np.uint8 and not is_image_space(space))
    return part.float() / 255.0 if is_raw else part.float()


def to_tensors(observations: Any, piece: slice | NDArray[np.int64], device: Any = "cpu") -> Any:
    """Return a slice of a batch of NumPy observations as tensors."""
    if isinstance(observations, Mapping):
        return {name: to_tensors(part, piece, device) for name, part in observations.items()}
    return torch.from_numpy(np.ascontiguousarray(observations[piece])).to(device)
