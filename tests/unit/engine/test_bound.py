"""What names are bound to: seen by addresses, whatever the values say of themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitaru_nb.engine import bound
from kitaru_nb.engine.bound import Bound


class Liar:
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


VALUES = [1, 1.0, True, "a", None, [], [], Liar(), Liar()]


@given(
    before=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 8)),
    after=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 8)),
)
def test_what_moved_is_told_by_the_objects_alone(before: dict[str, int], after: dict[str, int]) -> None:
    one = {name: VALUES[at] for name, at in before.items()}
    other = {name: VALUES[at] for name, at in after.items()}

    gone, rebound = Bound(other).moved_since(Bound(one))

    assert gone == one.keys() - other.keys()
    assert sorted(rebound) == sorted(
        name for name in other if name not in one or one[name] is not other[name]
    )


def test_one_name_among_thousands_is_found() -> None:
    live: dict[str, object] = {f"x{n}": n for n in range(3000)}
    before = Bound(live)
    assert Bound(live).moved_since(before) == (set(), [])

    live["x63"], live["x64"], live["x2999"], live["new"] = [], {}, "a", 1

    assert Bound(live).moved_since(before) == (set(), ["x63", "x64", "x2999", "new"])


def test_the_memory_is_looked_at_where_it_holds_the_addresses() -> None:
    assert bound._addresses is bound._in_memory


def test_another_build_of_python_is_asked_for_each_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound, "_addresses", bound._one_by_one)
    live: dict[str, object] = {"a": 1, "b": []}
    before = Bound(live)
    live["b"] = []

    assert Bound(live).moved_since(before) == (set(), ["b"])
    del live["a"]
    assert Bound(live).moved_since(before) == ({"a"}, ["b"])
