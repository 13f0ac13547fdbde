"""Recognition of files that hold no policy: archives, models of other libraries, pickles, texts, and what helps.

    >>> found = file_type(Path("model.zip").read_bytes(), "model.zip")
    >>> found.name
    'a Stable-Baselines3 model'

A file is recognised by its content and, where that tells nothing, by the suffix of its name. Nothing is opened,
unpacked or unpickled.
"""

import re
from pathlib import PurePath
from typing import NamedTuple


class FileType(NamedTuple):
    """A kind of file that holds no policy.

    name: with its article
    remedy: the call or command by which its owner gets on
    """

    name: str
    remedy: str

    @property
    def refusal(self) -> str:
        """What an error says about such a file."""
        return f"this is {self.name}, not a policy file; {self.remedy}"


EXPORT = 'write_policy("mine.safetensors", export_torch({}, sensor, "mine")) (FORMAT.md, "From PyTorch")'
FROM_SB3 = (
    "`deeptraffic evaluate` scores it as it is; for a policy file, load the model with Stable-Baselines3 and write its "
    f"network: {EXPORT.format('model.policy')}"
)
FROM_TORCH = (
    "load its module with PyTorch, and deeptraffic.evaluate(module, observation) scores it; for a policy file: "
    f"{EXPORT.format('module')}"
)
FROM_WEIGHTS = (
    'write its layers and weights as a policy file: write_policy("mine.safetensors", pack_policy(Network(inputs, '
    'layers, tensors), sensor, "mine")) (FORMAT.md)'
)
UNPACK = "unpack it and name the file inside"
NAME_ANOTHER = (
    "name a policy file (.safetensors), a file of the original game (.js) with its weights, or the folder of a "
    "training run"
)

SB3 = FileType("a Stable-Baselines3 model, a zip archive of pickles", FROM_SB3)
TORCH = FileType("a PyTorch file, a pickle that could run any code when it is opened", FROM_TORCH)
TRACE = FileType("an episode trace", "show it with `deeptraffic watch FILE`")
KERAS = FileType("a Keras or HDF5 file", FROM_WEIGHTS)
NUMPY_ARCHIVE = FileType("a NumPy archive (.npz)", FROM_WEIGHTS)
NUMPY = FileType("a NumPy array", FROM_WEIGHTS)
PICKLE = FileType(
    "a pickle, which could run any code when it is opened",
    f"if you made it yourself, load it and write its module as a policy file: {EXPORT.format('module')}",
)
ONNX = FileType(
    "an ONNX model, which may hold any graph",
    f"write the PyTorch module that it was made of as a policy file: {EXPORT.format('module')}",
)
TFLITE = FileType("a TensorFlow Lite model", FROM_WEIGHTS)
EMPTY = FileType("an empty file", NAME_ANOTHER)
TEXT = FileType("text without the weights of a policy", NAME_ANOTHER)

# Protobuf: ir_version first, then producer or graph, one of which names itself.
ONNX_START = re.compile(rb"\x08[\x01-\x14][\x12:B].{0,4000}(onnx|pytorch|graph)", re.DOTALL)
SIGNATURES: tuple[tuple[bytes, FileType], ...] = (
    (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", TORCH),  # as PyTorch wrote it before version 1.6
    *((b"\x80" + bytes([protocol]), PICKLE) for protocol in range(2, 6)),
    (b"PK\x03\x04", FileType("a zip archive", UNPACK)),
    (b"PK\x05\x06", FileType("a zip archive", UNPACK)),
    (b"\x1f\x8b", FileType("a gzip archive", UNPACK)),
    (b"BZh", FileType("a bzip2 archive", UNPACK)),
    (b"\xfd7zXZ\x00", FileType("an xz archive", UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", FileType("a 7z archive", UNPACK)),
    (b"Rar!", FileType("a RAR archive", UNPACK)),
    (b"\x28\xb5\x2f\xfd", FileType("a zstd archive", UNPACK)),
    (b"\x89HDF", KERAS),
    (b"\x93NUMPY", NUMPY),
    (b"\x7fELF", FileType("a program", NAME_ANOTHER)),
    (b"MZ", FileType("a program", NAME_ANOTHER)),
    (b"#!", FileType("a script", NAME_ANOTHER)),
    (b"%PDF", FileType("a PDF document", NAME_ANOTHER)),
    (b"\x89PNG", FileType("an image", NAME_ANOTHER)),
    (b"\xff\xd8\xff", FileType("an image", NAME_ANOTHER)),
    (b"GIF8", FileType("an image", NAME_ANOTHER)),
    (b"GGUF", FileType("a GGUF model", FROM_WEIGHTS)),
    (b"deeptraffic-lab ", FileType("a file with everything of the lab", 'open it in the lab and press "Save network"')),
)
# Names of members of a zip archive; a Stable-Baselines3 model has a PyTorch file inside, a trace NumPy arrays.
ZIP_MEMBERS: tuple[tuple[bytes, FileType], ...] = (
    (b"stable_baselines3", SB3),
    (b"policy.pth", SB3),
    (b"data.pkl", TORCH),
    (b"model.weights.h5", KERAS),
    (b"checks.npy", TRACE),
    (b".npy", NUMPY_ARCHIVE),
)
SUFFIXES = {
    **dict.fromkeys((".pt", ".pth", ".ckpt"), TORCH),
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), PICKLE),
    **dict.fromkeys((".h5", ".hdf5", ".keras"), KERAS),
    ".zip": SB3,
    ".onnx": ONNX,
    ".npz": NUMPY_ARCHIVE,
    ".npy": NUMPY,
    ".tflite": TFLITE,
    ".trace": TRACE,
}


def file_type(content: bytes, name: str = "") -> FileType | None:
    """Return a file's type by its content, or by the suffix of its name; None if it is not known, or a policy file."""
    if is_policy_file(content):  # the length of its header may look like another type's signature
        return None
    return binary_type(content) or _type_without_signature(content, name)


def binary_type(content: bytes) -> FileType | None:
    """Return a file's type by its signature, whatever its name says; None if it has none, or is a policy file."""
    if is_policy_file(content):
        return None
    for signature, found in SIGNATURES:
        if content.startswith(signature):
            inner = ZIP_MEMBERS if signature.startswith(b"PK") else ()
            return next((kind for member, kind in inner if member in content), found)
    if content[257:262] == b"ustar":
        return FileType("a tar archive", UNPACK)
    if content[4:8] == b"TFL3":
        return TFLITE
    return ONNX if ONNX_START.match(content) else None


def _type_without_signature(content: bytes, name: str) -> FileType | None:
    if not content:
        return EMPTY
    return SUFFIXES.get(PurePath(name).suffix.lower()) or (TEXT if is_text(content) else None)


def is_policy_file(content: bytes) -> bool:
    """Whether a file starts as a policy file does: eight bytes of length, then an object."""
    return content[8:9] == b"{" and int.from_bytes(content[:8], "little") < 1 << 32


def is_text(content: bytes) -> bool:
    """Whether the first bytes of a file are text, nearly all of them."""
    beginning = content[:4096].decode("utf-8", "replace")
    readable = sum(c in "\r\n\t" or (c.isprintable() and c != "\ufffd") for c in beginning)
    return readable > 0.95 * len(beginning)
