"""Tell by its first bytes what a file is, whatever its name says, and what to do with a kind that is never accepted."""

import re

REMEDY = "write a policy file with `deeptraffic export RUN -o mine.safetensors` on your own machine and upload that"
# Protobuf: ir_version first, then producer or graph, one of which names itself.
ONNX = re.compile(rb"\x08[\x01-\x14][\x12:B].{0,4000}(onnx|pytorch|graph)", re.DOTALL)

PICKLE = "a pickle, which could run any code when it is opened"
MARKS: tuple[tuple[bytes, str], ...] = (
    *((b"\x80" + bytes([protocol]), PICKLE) for protocol in range(2, 6)),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x89HDF", "a Keras or HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"#!", "a script"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"GGUF", "a GGUF model"),
)
INSIDE_ZIP = (  # names that a zip's first entries bear
    (b"data.pkl", "a PyTorch file (.pt), a pickle in a zip archive, which could run any code when it is opened"),
    (b"stable_baselines3", "a Stable-Baselines3 zip, which holds pickles, which could run any code"),
    (b"policy.pth", "a Stable-Baselines3 zip, which holds pickles, which could run any code"),
    (b".npy", "a NumPy archive (.npz)"),
)


def refused_kind(content: bytes) -> str | None:
    """Return what a file is, if it is of a kind that is never accepted; None if it may be a policy file or text."""
    if is_policy_file(content):  # the length of its header may look like another kind's mark
        return None
    for mark, kind in MARKS:
        if content.startswith(mark):
            if mark.startswith(b"PK"):
                return next((inner for name, inner in INSIDE_ZIP if name in content), kind)
            return kind
    if content[257:262] == b"ustar":
        return "a tar archive"
    if content[4:8] == b"TFL3":
        return "a TensorFlow Lite model"
    if ONNX.match(content):
        return "an ONNX model, a graph of anybody's making"
    return None


def is_policy_file(content: bytes) -> bool:
    """Whether a file begins as a policy file does: eight bytes of length, then an object."""
    return content[8:9] == b"{" and int.from_bytes(content[:8], "little") < 1 << 32


def is_text(content: bytes) -> bool:
    """Whether a file's beginning is text, nearly all of it."""
    beginning = content[:4096].decode("utf-8", "replace")
    readable = sum(c in "\r\n\t" or (c.isprintable() and c != "\ufffd") for c in beginning)
    return readable > 0.95 * len(beginning)
