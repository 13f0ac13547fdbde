"""The build of the WebAssembly module, and whether the shipped files are as new as what they were made from."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deeptraffic.lab import build
from deeptraffic.lab.javascript import Translator, Untranslatable, layers_js
from deeptraffic.lab.layout import layout, versions
from deeptraffic.lab.numpy_random import seed_generator, standard_normal

RENEW = "the files of deeptraffic/lab are out of date: run python -m deeptraffic.lab.build"


def test_layers_js_is_what_the_layers_say_now() -> None:
    assert build.LAYERS.read_text("utf-8") == layers_js(), RENEW


def test_module_is_made_from_the_functions_of_now() -> None:
    built = json.loads(build.read_section(shipped()))
    if built["versions"] != versions():
        pytest.skip(f"the module was built, and its digest taken, with {built['versions']}")
    assert built == json.loads(json.dumps(layout())), RENEW


def test_module_is_smaller_than_300_kb() -> None:
    assert build.MODULE.stat().st_size < 300_000


def test_a_missing_linker_is_named_with_its_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ziglang", None)
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(build.LinkerMissing, match=r"wasm-ld is missing; install Debian's package lld, or ziglang"):
        build.find_linker()


def test_a_linker_with_a_version_in_its_name_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    linker = tmp_path / "wasm-ld-19"
    linker.write_text("#!/bin/sh\n")
    linker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build.find_linker() == [str(linker)]


@pytest.mark.parametrize("size", [0, 127, 128, 300, 70_000])
def test_a_custom_section_is_found_again(size: int) -> None:
    content = b"x" * size
    module = b"\0asm\1\0\0\0" + build.custom_section("other", b"y" * 200) + build.custom_section("mine", content)
    assert build.read_section(module, "mine") == content
    with pytest.raises(ValueError, match=r"no section 'none'.*python -m deeptraffic\.lab\.build"):
        build.read_section(module, "none")


def test_what_cannot_be_translated_is_refused() -> None:
    def endless(x: int) -> None:
        while True:
            x += 1

    with pytest.raises(Untranslatable, match="while True"):
        Translator({}, {}).function(endless, "endless")


def test_normals_are_numpys() -> None:
    state, random = seed_generator(5), np.random.default_rng(5)
    assert [standard_normal(state) for _ in range(2000)] == random.standard_normal(2000).tolist()


def test_the_module_names_no_file_of_the_machine_that_built_it() -> None:
    assert b".py" not in shipped()


@pytest.mark.slow
def test_two_builds_give_the_shipped_bytes(requires_linker: Callable[[], None]) -> None:
    requires_linker()
    first = build.build_module()
    assert first == build.build_module()
    same_tools = json.loads(build.read_section(shipped()))["versions"] == versions()
    assert not same_tools or first == shipped(), RENEW


def shipped() -> bytes:
    return build.MODULE.read_bytes()
