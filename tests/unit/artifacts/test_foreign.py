"""What can be seen of an object of a foreign class."""

from __future__ import annotations

from collections.abc import Iterator

from kitaru_nb.artifacts.foreign import portrait


class Sorted(dict[str, int]):
    """A dict that is gone through in an order of its own."""

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(super().__iter__()))


def test_the_order_of_a_dict_is_the_one_that_its_class_gives_it() -> None:
    assert portrait(Sorted(a=1, b=2), {}) == portrait(Sorted(b=2, a=1), {})
    assert portrait(Sorted(a=1, b=2), {}) != portrait(Sorted(a=2, b=1), {})


def test_the_order_of_any_other_dict_is_its_own() -> None:
    assert portrait({"a": 1, "b": 2}, {}) != portrait({"b": 2, "a": 1}, {})
