"""Reader of what the lab's page saves with "Save everything": settings, code, a learner's state and its network.

    >>> read_lab_file(Path("deeptraffic.lab")).manifest.label
    'trained in the lab'

The format, written by the page's `store.js`: a line, the length of the JSON (8 bytes, little-endian), the JSON, and the
bytes of its arrays. In the JSON an array is {"__bytes__": [class, offset, length]}.
"""

import json
from pathlib import Path

from deeptraffic.policies.file import PolicyFile, PolicyFileError, read_policy

MAGIC = b"deeptraffic-lab "
HEAD = MAGIC + b"1\n"
LENGTH = 8  # bytes


def is_lab_file(path: Path) -> bool:
    """Whether a file is one that the lab saved."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_lab_file(path: Path) -> PolicyFile:
    """Return the network in a file of the lab; PolicyFileError if it holds none or is damaged."""
    content, start = path.read_bytes(), len(HEAD) + LENGTH
    if not content.startswith(HEAD):
        raise PolicyFileError(f"{path}: it was saved by another version of the lab; save it with this one")
    arrays = start + int.from_bytes(content[len(HEAD) : start], "little")
    try:
        learner = json.loads(content[start:arrays])["learner"]
        if learner is not None:
            _, offset, length = learner["file"]["__bytes__"]
            network = content[arrays + offset : arrays + offset + length]
    except (ValueError, KeyError, TypeError):
        raise PolicyFileError(f"{path}: this file of the lab is damaged; save it again in the page") from None
    if learner is None:
        raise PolicyFileError(f"{path}: it holds no network; train one in the lab, then save everything")
    return read_policy(network)
