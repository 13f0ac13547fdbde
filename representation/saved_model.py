"""Networks that are saved with their constructor's arguments in the weights file's header.

    >>> net.save("segmentation.safetensors")
    >>> again = SegmentationNet.load("segmentation.safetensors")           # the same outputs, bit for bit

The file is that of `representation/weights.py`; reading it runs no code. Encoders have a format of their own.
"""

from pathlib import Path
from typing import Any, ClassVar, Self

from representation.fit import Trainable
from representation.weights import read_weights, save_module


class SavedModel(Trainable):
    """A trainable network that can be saved and loaded.

    A subclass passes its keyword arguments to this constructor and then builds its layers from them.

    kind: key of the class in its files; architecture: the keyword arguments, JSON values
    """

    kind: ClassVar[str]

    def __init__(self, **architecture: Any) -> None:
        super().__init__()
        self.architecture = architecture

    def save(self, path: str | Path) -> None:
        """Write the model's file, whole or not at all."""
        save_module(path, self.state_dict(), {"format": self.kind, "version": 1, "architecture": self.architecture})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the model in a file, in evaluation mode; ValueError for another model or a damaged file."""
        tensors, facts = read_weights(path)
        if facts.get("format") != cls.kind or facts.get("version") != 1:
            raise ValueError(
                f"{str(path)!r} holds {facts.get('format')!r} version {facts.get('version')!r}, not {cls.kind!r} "
                "version 1; name a file that `save` of this class wrote"
            )
        try:
            model = cls(**facts["architecture"])
            model.load_state_dict(tensors)
        except (RuntimeError, KeyError, TypeError) as error:
            raise ValueError(f"the weights in {str(path)!r} do not fit the architecture it names ({error})") from error
        return model.eval()
