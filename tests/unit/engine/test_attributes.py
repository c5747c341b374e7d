"""Attributes of libraries and the names that hold the same objects."""

from __future__ import annotations

import string
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.engine.kernel import RESTORED, Start

library: Any = string


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = dict(vars(string))
    yield
    forget()
    vars(string).update(before)


def forget() -> None:
    """A new process has the library as it is installed."""
    for name in ("foo", "bar"):
        vars(string).pop(name, None)


CELLS = (
    "al = string.foo",
    "al.append(2)",
    "string.bar = {'in': al}",
)


@pytest.mark.parametrize("resumed", [True, False])
def test_an_attribute_and_a_name_that_hold_one_object_hold_one_after_a_restore(
    start: Start, *, resumed: bool
) -> None:
    first = start()
    first.plain("import string\nstring.foo = [1]")
    first.cells(*CELLS)
    forget()

    again = start()
    if resumed:
        again.session.resume()
    else:
        again.plain("import string\nstring.foo = [1]")
        assert again.cells(*CELLS) == [RESTORED] * 3

    assert library.foo == [1, 2]
    assert again["al"] is library.foo
    assert library.bar["in"] is library.foo


def test_a_function_put_into_a_library_is_the_one_that_its_name_has(start: Start) -> None:
    start().cell("import string\ndef mine(text): return text\nstring.capwords = mine")

    again = start()
    again.session.resume()

    assert library.capwords is again["mine"]
