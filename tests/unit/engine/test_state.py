"""What changed between two looks, told from their states alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kitaru_nb.engine.state import (
    Change,
    Names,
    State,
    carried_along,
    changed_groups,
    changes,
    differing,
    gone_names,
    grown_groups,
    leading_to,
    with_carried,
)
from kitaru_nb.model.artifact import Digest

F, G, H = 101, 102, 103  # ids of functions


def state(
    groups: dict[str, str],
    *,
    ids: dict[str, int | None] | None = None,
    definitions: dict[int, str] | None = None,
    refers: dict[str, set[int]] | None = None,
) -> State:
    """A state: groups as ``{"a b": "digest"}``; each name is bound to an object of its own."""
    held = {tuple(names.split()): Digest(digest) for names, digest in groups.items()}
    names = [name for group in held for name in group]
    return State(
        groups=held,
        ids=dict(zip(names, range(1, 99), strict=False)) | (ids or {}),
        definitions=definitions or {},
        refers={tuple(names.split()): frozenset(keys) for names, keys in (refers or {}).items()},
        group_of={name: group for group in held for name in group},
        look=object(),
    )


def following(before: State, after: State) -> State:
    """`after`, told as the look right after `before`."""
    return replace(
        after,
        previous=before.look,
        changed={names for names in after.groups if before.groups.get(names) != after.groups[names]},
        dissolved=before.groups.keys() - after.groups.keys(),
        gone=before.ids.keys() - after.ids.keys(),
    )


CASES: dict[str, tuple[State, State, set[str], set[str], set[str]]] = {
    # before, after; groups, deleted, in place
    "nothing": (state({"a": "1"}), state({"a": "1"}), set(), set(), set()),
    "in place": (state({"a": "1", "b": "2"}), state({"a": "3", "b": "2"}), {"a"}, set(), {"a"}),
    "bound anew": (state({"a": "1"}), state({"a": "3"}, ids={"a": 9}), {"a"}, set(), set()),
    "immutable": (
        state({"a": "1"}, ids={"a": None}),
        state({"a": "3"}, ids={"a": None}),
        {"a"},
        set(),
        set(),
    ),
    "new": (state({"a": "1"}), state({"a": "1", "b": "2"}), {"b"}, set(), set()),
    "gone": (state({"a": "1", "b": "2"}), state({"a": "1"}), set(), {"b"}, set()),
    "joined": (
        state({"a": "1", "b": "2"}),
        state({"a b": "12"}),
        {"a b"},
        set(),
        {"a", "b"},
    ),
    "joined by a new one": (
        state({"a": "1"}),
        state({"a b": "12"}, ids={"a": 1, "b": 9}),
        {"a b"},
        set(),
        {"a"},
    ),
    "left by one that went": (state({"a b": "12"}), state({"a": "1"}), {"a"}, {"b"}, {"a b"}),
    "left by one that was bound anew": (
        state({"a b": "12"}),
        state({"a": "1", "b": "2"}, ids={"b": 9}),
        {"a", "b"},
        set(),
        {"a b"},
    ),
    "both bound anew": (
        state({"a b": "12"}),
        state({"a b": "13"}, ids={"a": 8, "b": 9}),
        {"a b"},
        set(),
        set(),
    ),
}


def _named(groups: set[str]) -> frozenset[Names]:
    return frozenset(tuple(names.split()) for names in groups)


@pytest.mark.parametrize("follows", [False, True])
@pytest.mark.parametrize("case", list(CASES))
def test_what_changed_is_told_alike_from_two_looks_and_from_one_after_the_other(
    case: str, follows: bool
) -> None:
    before, after, groups, deleted, in_place = CASES[case]
    after = following(before, after) if follows else after
    assert after.follows(before) is follows

    found = changes(before, after)

    assert found == Change(_named(groups), frozenset(deleted), _named(in_place))
    assert changed_groups(before, after) == found.groups
    assert gone_names(before, after) == found.deleted


def test_a_look_follows_none_that_never_was() -> None:
    assert not State().follows(State())


def test_a_name_that_was_bound_for_certain_counts_as_changed_and_not_in_place() -> None:
    before, after = state({"a": "1", "b c": "2"}), state({"a": "1", "b c": "3"})

    found = changes(before, after, rebound=frozenset({"a", "b", "late"}))

    assert found.groups == _named({"a", "b c"})
    assert found.in_place == _named({"b c"})  # through the other name


def test_who_leads_to_one_definition_more_has_changed_and_so_has_who_leads_there() -> None:
    groups = {"f": "1", "g": "2", "x": "3", "y": "4"}
    definitions = {F: "f", G: "g"}
    before = state(groups, definitions=definitions, refers={"x": {G}, "y": {G}})
    after = state(groups, definitions=definitions, refers={"g": {F}, "x": {G}, "y": {G}})

    assert changed_groups(before, after) == _named({"g", "x", "y"})
    assert changed_groups(before, replace(after, refers=before.refers)) == set()
    assert changed_groups(after, before) == set()  # one less is held elsewhere as it was


def test_a_group_that_changed_itself_is_not_asked_what_it_led_to() -> None:
    before = state({"f": "1", "x": "3"}, definitions={F: "f"})
    after = state({"f": "1", "x": "4"}, definitions={F: "f"}, refers={"x": {F}})

    assert changed_groups(before, after) == _named({"x"})


def test_groups_have_grown_that_lead_to_more_than_is_known_of_them_and_those_that_are_given() -> None:
    after = state(
        {"f": "1", "g": "2", "x": "3", "y": "4", "z": "5"},
        definitions={F: "f", G: "g"},
        refers={"x": {F, G}, "y": {F}, "z": {G}},
    )
    known = {("x",): frozenset({F}), ("y",): frozenset({F, H})}

    assert grown_groups(after, known) == _named({"x"})
    assert grown_groups(after, known, [("g",)]) == _named({"x", "g", "z"})


def test_who_leads_there_is_found_over_others_and_in_circles() -> None:
    around = state(
        {"f": "1", "g": "2", "h": "3", "x": "4", "y": "5"},
        definitions={F: "f", G: "g", H: "h"},
        refers={"f": {H}, "g": {F}, "h": {G}, "x": {H}},
    )

    assert leading_to({("f",)}, around) == _named({"g", "h", "x"})
    assert leading_to({("x",)}, around) == set()
    assert leading_to({("y",)}, around) == set()


def test_only_definitions_that_are_stored_with_others_carry_along_who_leads_to_them() -> None:
    after = state(
        {"f g": "1", "h k": "2", "x": "3", "y": "4"},
        ids={"h": 7, "k": 7},
        definitions={F: "f", G: "g", H: "h"},
        refers={"x": {G}, "y": {H}},
    )

    assert carried_along({("f", "g"), ("h", "k")}, after) == _named({"x"})


def test_a_step_carries_along_who_leads_to_what_it_changed_where_that_was_there_before() -> None:
    groups = {"f g": "1", "x": "3"}
    before = state(groups, definitions={F: "f", G: "g"}, refers={"x": {G}})
    after = state({**groups, "f g": "2", "y": "5"}, definitions={F: "f", G: "g"}, refers={"x": {G}, "y": {G}})
    step = Change(_named({"f g"}), frozenset({"gone"}), _named({"f g"}))

    found = with_carried(step, before, after)

    assert found == Change(_named({"f g", "x", "y"}), frozenset({"gone"}), _named({"f g", "x"}))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"a": 1}, ["a"]),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}, ["b", "c"]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, ["b", "c"]),
        ({"a": 1}, {}, []),
    ],
)
def test_the_keys_that_differ(before: dict[str, int], after: dict[str, int], expected: list[str]) -> None:
    assert differing(before, after) == expected
