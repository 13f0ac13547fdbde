"""Build of the WebAssembly module engine.wasm and of layers.js, for maintainers: `python -m deeptraffic.lab.build`.

It takes a minute, and wasm-ld: Debian's package lld, or `pip install ziglang`. The same sources give the same bytes;
tests say when the files are older than the functions that they were made from.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deeptraffic.lab.compile import ENVIRONMENT
from deeptraffic.lab.entries import ENTRIES
from deeptraffic.lab.javascript import layers_js
from deeptraffic.lab.layout import layout

FOLDER = Path(__file__).parent
MODULE, LAYERS = FOLDER / "engine.wasm", FOLDER / "layers.js"
SECTION = "deeptraffic"  # custom section that holds the layout as JSON
STACK_BYTES = 1 << 18
LINKERS = ("wasm-ld", *(f"wasm-ld-{version}" for version in range(30, 13, -1)))


class LinkerMissing(RuntimeError):
    """There is no wasm-ld; the message says where to get it."""


def find_linker() -> list[str]:
    """Return the command of wasm-ld: a program on PATH, or the one in PyPI's ziglang."""
    for name in LINKERS:
        if path := shutil.which(name):
            return [path]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "wasm-ld"]
    raise LinkerMissing(
        "the module's linker wasm-ld is missing; install Debian's package lld, or ziglang from PyPI (pip install "
        "ziglang) into the environment of this Python"
    )


def build_module() -> bytes:
    """Return the module."""
    linker = find_linker()
    with tempfile.TemporaryDirectory() as folder:
        code, linked = Path(folder) / "engine.o", Path(folder) / "engine.wasm"
        environment = {**os.environ, **ENVIRONMENT, "NUMBA_CACHE_DIR": folder}
        subprocess.run([sys.executable, "-m", "deeptraffic.lab.compile", str(code)], env=environment, check=True)
        exports = ["top", "__heap_base", *(each.function.__name__ for each in ENTRIES)]
        options = [
            "--no-entry",
            "--gc-sections",
            "--strip-all",
            "-O3",
            "--stack-first",
            "-z",
            f"stack-size={STACK_BYTES}",
        ]
        options += [f"--export={name}" for name in exports]
        subprocess.run([*linker, *options, "-o", str(linked), str(code)], check=True)
        return linked.read_bytes() + custom_section(SECTION, json.dumps(layout(), separators=(",", ":")).encode())


def custom_section(name: str, content: bytes) -> bytes:
    """Return a custom section of a WebAssembly module (core specification, 5.5.3)."""
    body = leb128(len(name)) + name.encode() + content
    return b"\0" + leb128(len(body)) + body


def leb128(value: int) -> bytes:
    """Return a number in the format's variable length."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits[-1] |= 0x80
        digits.append(value & 0x7F)
    return bytes(digits)


def read_section(module: bytes, name: str = SECTION) -> bytes:
    """Return the content of a module's custom section; ValueError if it has none of this name."""
    at = 8
    while at < len(module):
        kind, at = module[at], at + 1
        size, at = read_leb128(module, at)
        if kind == 0:
            length, start = read_leb128(module, at)
            if module[start : start + length] == name.encode():
                return module[start + length : at + size]
        at += size
    raise ValueError(f"the module has no section {name!r}; build it anew: python -m deeptraffic.lab.build")


def read_leb128(content: bytes, at: int) -> tuple[int, int]:
    """Return a number in the format's variable length, and where it ends."""
    value = shift = 0
    while True:
        value |= (content[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if content[at - 1] < 0x80:
            return value, at


def main() -> None:
    """Build both files into this folder."""
    try:
        module = build_module()
    except LinkerMissing as error:
        sys.exit(f"error: {error}")
    MODULE.write_bytes(module)
    LAYERS.write_text(layers_js(), "utf-8")
    print(f"{MODULE}: {len(module):,} bytes")


if __name__ == "__main__":
    main()
