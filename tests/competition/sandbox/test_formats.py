"""What a file is by its first bytes: no policy file is taken for something else, whatever the length of its header."""

import pickle

import pytest

from deeptraffic.competition.sandbox.formats import MARKS, is_policy_file, refused_kind

SHORT = [(mark, kind) for mark, kind in MARKS if len(mark) <= 3]  # whole marks that a header's length can spell


@pytest.mark.parametrize(("mark", "kind"), SHORT, ids=[f"{kind} {mark.hex()}" for mark, kind in SHORT])
def test_a_policy_file_whose_headers_length_spells_another_kinds_mark_is_none(mark: bytes, kind: str) -> None:
    length = mark.ljust(8, b"\0")
    assert refused_kind(length + b'{"__metadata__":{}}') is None
    assert refused_kind(length + b"not an object") == kind


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_is_told_in_every_binary_protocol(protocol: int) -> None:
    content = pickle.dumps({"weights": [1.0, 2.0]}, protocol)
    assert not is_policy_file(content)
    assert "a pickle" in (refused_kind(content) or "")
