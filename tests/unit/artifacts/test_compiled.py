"""Functions that a compiler keeps: what they were made of counts, and not what the compiler knows."""

from __future__ import annotations

import sys
import types
import uuid
from importlib.machinery import ModuleSpec
from typing import Any, Self

import pytest

from kitaru_nb.analysis.reach import reach
from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.artifacts.foreign import portrait
from kitaru_nb.artifacts.groups import group_names
from kitaru_nb.artifacts.pickle_codec import PickleCodec
from kitaru_nb.engine.rollback import reached


class _Part:
    """Of the machinery."""


_machinery: list[Any] = []


class _Compiled:
    def __init__(self, function: Any, own: str = "") -> None:
        self.__wrapped__ = function
        self.own = own or str(uuid.uuid4())
        self.machinery = _machinery

    def _reduce_states(self) -> dict[str, Any]:
        return {"uuid": self.own, "function": self.__wrapped__}

    def _reduce_class(self) -> type:
        return type(self)

    @classmethod
    def _rebuild(cls, *, uuid: str, function: Any) -> Self:
        return cls(function, uuid)

    def __reduce__(self) -> Any:
        raise TypeError("into bytes of its own")


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A namespace with a compiled function of the notebook."""
    library = types.ModuleType("numba")
    library.__spec__ = ModuleSpec("numba", None)
    for cls in (_Compiled, _Part):
        monkeypatch.setattr(cls, "__module__", "numba")
        monkeypatch.setattr(library, cls.__qualname__, cls, raising=False)
    monkeypatch.setitem(sys.modules, "numba", library)
    namespace: dict[str, Any] = {"__name__": "__main__", "n": 1}
    exec("def twice(x): return x + n", namespace)
    namespace["f"] = _Compiled(namespace.pop("twice"))
    return namespace


def test_it_comes_back_with_a_live_function(live: dict[str, Any]) -> None:
    codec = PickleCodec()

    done = codec.encode({"f": live["f"], "g": live["f"]}, namespace=live)
    back: dict[str, Any] = codec.decode(done.meta, done.buffers.__getitem__, namespace=live)

    assert not done.unstorable
    assert back["f"] is back["g"] is not live["f"]
    live["n"] = 5
    assert back["f"].__wrapped__(1) == 6


def test_it_counts_by_what_it_was_made_of(live: dict[str, Any]) -> None:
    again = _Compiled(live["f"].__wrapped__)
    other = _Compiled(len)

    digests = [digest_values({"f": each}, namespace=live) for each in (live["f"], again, other)]

    assert digests[0] == digests[1] != digests[2]


def test_what_the_compiler_knows_ties_nothing_together_and_is_not_looked_into(live: dict[str, Any]) -> None:
    values = {"f": live["f"], "g": _Compiled(len)}

    assert group_names(values, namespace=live).groups == [{"f"}, {"g"}]
    assert not any(each is _machinery for each in reached(live["f"], lambda _: False))


def test_what_it_reads_is_reached(live: dict[str, Any]) -> None:
    found = reach(["f"], live, is_local=lambda _: False)

    assert "n" in found.names


def test_an_attribute_that_leads_into_the_machinery_of_a_library_counts_by_its_kind(
    live: dict[str, Any],
) -> None:
    held = types.SimpleNamespace(few=[_Part()], many=[_Part() for _ in range(2000)], data=[1] * 5000)

    seen = portrait(held, live)

    assert seen[".many"] == "any"
    assert "any" not in (seen[".few"], seen[".data"])
