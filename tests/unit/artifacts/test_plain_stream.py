"""Plain data read out of a pickle without unpickling: right where it is data, harmless where it is not."""

from __future__ import annotations

import collections
import os
import pickle
import pickletools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitaru_nb.artifacts.pickle_codec import PickleCodec
from kitaru_nb.artifacts.plain_stream import MOST_BYTES, NotPlainError, Opaque, plain_names

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


def stream_of(**values: Any) -> bytes:
    return bytes(PickleCodec().encode(values, namespace={}).buffers[0])


@given(PLAIN, PLAIN)
def test_plain_data_comes_back_as_it_was(one: Any, other: Any) -> None:
    assert plain_names(stream_of(one=one, other=[other])) == {"one": one, "other": [other]}


def test_what_is_shared_and_what_is_in_sets_comes_back() -> None:
    shared = ["x"]

    found = plain_names(stream_of(pair=[shared, shared], some={1, 2}, few=frozenset({"a"})))

    assert found == {"pair": [["x"], ["x"]], "some": {1, 2}, "few": frozenset({"a"})}
    assert found["pair"][0] is found["pair"][1]


def test_a_list_that_holds_itself_does() -> None:
    loop: list[Any] = [1]
    loop.append(loop)

    found = plain_names(stream_of(loop=loop))["loop"]

    assert found[0] == 1
    assert found[1] is found


def test_of_what_is_no_data_only_the_name_is_told() -> None:
    found = plain_names(stream_of(mixed={"when": collections.OrderedDict(a=1), "os": os, "n": 3}))

    assert found["mixed"]["n"] == 3
    assert found["mixed"]["os"] == Opaque("module os")
    assert isinstance(found["mixed"]["when"], Opaque)


@pytest.mark.parametrize("code", "? b h i q B H I Q e f d".split())
def test_a_number_of_numpys_is_that_number(code: str) -> None:
    number = np.dtype(code).type(1.5)

    found = plain_names(stream_of(alone=number, inside={"n": [number, number]}, kind=number.dtype))

    assert (found["alone"], found["inside"]) == (number.item(), {"n": [number.item()] * 2})
    assert type(found["alone"]) is type(number.item())
    assert isinstance(found["kind"], Opaque)


def test_a_number_of_the_wrong_length_or_order_is_not_guessed() -> None:
    right = stream_of(n=np.float64(2.5))

    for wrong in (right.replace(b"\x8c\x02f8", b"\x8c\x02f4"), right.replace(b"\x8c\x01<", b"\x8c\x01>")):
        assert wrong != right
        with pytest.raises(NotPlainError):
            plain_names(wrong)


class Evil:
    """Runs a command wherever it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_a_stream_that_would_run_something_runs_nothing(tmp_path: Any) -> None:
    path = tmp_path / "ran"
    two = pickle.dumps([]) + pickle.dumps([[], "evil", Evil(str(path)), "rest", [1]], protocol=5)

    found = plain_names(two)

    assert found["rest"] == [1]
    assert isinstance(found["evil"], Opaque)
    assert found["evil"].name.endswith("system")
    assert not path.exists()
    pickle.loads(pickle.dumps(Evil(str(path))))
    assert path.exists(), "it would have"


@pytest.mark.parametrize(
    "opcode", sorted({each.name for each in pickletools.opcodes} - {"STOP", "PROTO", "FRAME", "EMPTY_LIST"})
)
def test_no_single_instruction_does_anything_but_fail(opcode: str) -> None:
    code = next(each for each in pickletools.opcodes if each.name == opcode)

    with pytest.raises(NotPlainError):
        plain_names(pickle.dumps([]) + b"\x80\x05" + code.code.encode("latin-1") + b".")


@given(st.binary(max_size=200))
def test_any_bytes_give_names_or_are_refused(data: bytes) -> None:
    try:
        found = plain_names(pickle.dumps([]) + data)
    except NotPlainError:
        return
    assert isinstance(found, dict)


def test_any_flipped_byte_gives_names_or_is_refused() -> None:
    whole = stream_of(a={"k": [1, 2.5, "text", None]}, b=("x", {"y": b"z"}))

    for at in range(len(whole)):
        for flip in (1, 0x80):
            changed = bytearray(whole)
            changed[at] ^= flip
            try:
                found = plain_names(bytes(changed))
            except NotPlainError:
                continue
            assert isinstance(found, dict)


def test_a_long_stream_is_not_looked_into() -> None:
    with pytest.raises(NotPlainError, match="bytes"):
        plain_names(b"\x80" * (MOST_BYTES + 1))
