"""A namespace looked at by content: groups, digests, and what changed between two looks."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

import pytest

from kitaru_nb.engine.namespace import Change, Namespace, State, changes
from kitaru_nb.model.artifact import Digest
from kitaru_nb.testing import digest_of


def a_namespace(source: str = "", **values: Any) -> Namespace:
    live: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins, **values}
    exec(source, live)
    return Namespace(live)


def run(namespace: Namespace, source: str) -> None:
    exec(source, namespace.live)


def changed(before: str, then: str, **options: Any) -> Change:
    """What the cell `then` changes after the cell `before`."""
    namespace = a_namespace(before)
    first = namespace.observe()
    run(namespace, then)
    return changes(first, namespace.observe(), **options)


NOTHING = Change(frozenset(), frozenset(), frozenset())


def groups(*names: str) -> frozenset[tuple[str, ...]]:
    """``groups("a b", "c")``: the group of `a` and `b`, and that of `c`."""
    return frozenset(tuple(group.split()) for group in names)


# What is seen


@pytest.mark.parametrize(
    "name",
    "_ __ ___ _3 _i _ii _iii _i12 _ih _oh _dh In Out __file__ exit quit get_ipython".split(),
)
def test_what_the_interpreter_puts_there_is_not_the_users(name: str) -> None:
    assert a_namespace(**{name: 1, "mine": 2}).visible() == {"mine": 2}


@pytest.mark.parametrize(
    "name", ["_private", "_i_", "_a1", "__double", "Input", "in_", "_it", "Out2", "__x_"]
)
def test_names_that_only_look_like_it_are_the_users(name: str) -> None:
    assert a_namespace(**{name: 1}).visible() == {name: 1}


def test_hidden_names_are_left_out_by_name_and_value() -> None:
    namespace = Namespace({"display": len, "open": 1}, lambda name, value: value is len)

    assert namespace.visible() == {"open": 1}


def test_names_that_share_objects_are_one_group() -> None:
    state = a_namespace("a = [1]\nb = (a,)\nc = [1]\nd = 1").observe()

    assert state.groups.keys() == groups("a b", "c", "d")
    assert state.group_of == {"a": ("a", "b"), "b": ("a", "b"), "c": ("c",), "d": ("d",)}


def test_equal_values_have_equal_digests_in_any_namespace() -> None:
    one, other = a_namespace("x = 1\na = [1, {'k': 2}]\ny = 5"), a_namespace("a = [1, {'k': 2}]")

    assert one.observe().groups["a",] == other.observe().groups["a",]


def test_equal_values_of_other_types_have_other_digests() -> None:
    digests = [
        a_namespace(f"a = {value}").observe().groups["a",] for value in ("1", "1.0", "True", "'1'", "[1]")
    ]

    assert len(set(digests)) == 5


def test_immutable_values_have_no_identity() -> None:
    state = a_namespace("n = 10**9\ntext = 'long' * 9\nrows = []").observe()

    assert (state.ids["n"], state.ids["text"]) == (None, None)
    assert state.ids["rows"] is not None


def test_a_name_is_looked_at_anew_when_it_was_bound_anew() -> None:
    namespace = a_namespace("a = 1")
    before = namespace.observe().groups["a",]

    run(namespace, "a = 2")
    between = namespace.observe().groups["a",]
    run(namespace, "a = 1")

    assert between != before
    assert namespace.observe().groups["a",] == before


def test_a_name_that_turned_from_a_number_into_a_list_and_back_is_seen() -> None:
    namespace = a_namespace("a = 1")
    first = namespace.observe()

    run(namespace, "a = [1]")
    second = namespace.observe()
    run(namespace, "a = 1")

    assert second.ids["a"] is not None
    assert namespace.observe() == first != second


def test_functions_and_classes_of_the_notebook_are_definitions() -> None:
    namespace = a_namespace(
        "from collections import Counter\nfrom os.path import join\n"
        "def f(): pass\ng = f\nclass C: pass\nD = C\nh = lambda: 1\nx = C()"
    )

    found = namespace.observe().definitions

    live = namespace.live
    assert found == {id(live["f"]): "f", id(live["C"]): "C", id(live["h"]): "h"}


def test_a_definition_goes_by_its_own_name_also_when_an_alias_comes_first() -> None:
    namespace = a_namespace("def f(): pass\ng = f\ndel f\nf = g")

    assert list(namespace.observe().definitions.values()) == ["f"]


# What changed


@pytest.mark.parametrize(
    ("before", "then", "expected"),
    [
        ("a = [1]", "pass", NOTHING),
        ("a = [1]", "a[0]", NOTHING),
        ("a = [1]", "b = 1", Change(groups("b"), frozenset(), frozenset())),
        ("a = [1]", "a = [2]", Change(groups("a"), frozenset(), frozenset())),
        ("a = [1]", "a = [1]", NOTHING),
        ("a = [1]", "a.append(2)", Change(groups("a"), frozenset(), groups("a"))),
        ("a = [1]\nb = 1", "b = 2", Change(groups("b"), frozenset(), frozenset())),
        ("a = [1]", "del a", Change(frozenset(), frozenset("a"), frozenset())),
        ("a = 1\nb = a", "del a", Change(frozenset(), frozenset("a"), frozenset())),
        ("a = [1]", "b = a", Change(groups("a b"), frozenset(), groups("a"))),
        ("a = [1]\nb = a", "del b", Change(groups("a"), frozenset("b"), groups("a b"))),
        ("a = [1]\nb = a", "b = 1", Change(groups("a", "b"), frozenset(), groups("a b"))),
        ("a = [1]\nb = a", "a.append(2)", Change(groups("a b"), frozenset(), groups("a b"))),
        ("a = [1]\nb = [2]", "a.append(b)", Change(groups("a b"), frozenset(), groups("a", "b"))),
        ("a = [1]\nb = [2]", "a, b = b, a", Change(groups("a", "b"), frozenset(), frozenset())),
        ("a = [1]", "a.append(2); b = a; a = 1", Change(groups("a", "b"), frozenset(), frozenset())),
        ("def f(): return 1", "def f(): return 2", Change(groups("f"), frozenset(), frozenset())),
        ("class C: pass", "C.x = 1", Change(groups("C"), frozenset(), groups("C"))),
    ],
)
def test_what_a_cell_changed(before: str, then: str, expected: Change) -> None:
    assert changed(before, then) == expected


def test_a_name_that_was_bound_for_certain_counts_as_changed() -> None:
    assert changed("a = [1]\nb = 2", "a = [1]", rebound=frozenset("a")) == Change(
        groups("a"), frozenset(), frozenset()
    )


def test_a_name_bound_for_certain_makes_nothing_a_change_in_place() -> None:
    state = State({("a",): digest_of("1")}, {"a": 7}, {})
    later = State({("a",): digest_of("2")}, {"a": 7}, {})

    assert changes(state, later).in_place == groups("a")
    assert changes(state, later, rebound=frozenset("a")).in_place == frozenset()


# What is read


def read(namespace: Namespace, *names: str) -> dict[str, Digest]:
    return namespace.read(names, namespace.observe())


def test_a_whole_group_is_read_with_the_digest_it_has() -> None:
    namespace = a_namespace("a = [1]\nb = a\nc = 2")

    assert read(namespace, "b", "a", "c") == {
        "a,b": namespace.observe().groups["a", "b"],
        "c": namespace.observe().groups["c",],
    }


def test_a_part_of_a_group_is_read_by_itself() -> None:
    namespace, alone = a_namespace("a = [1]\nb = a"), a_namespace("a = [1]")

    assert read(namespace, "a") == {"a": alone.observe().groups["a",]}


def test_names_that_are_not_there_are_not_read() -> None:
    assert read(a_namespace("a = 1"), "b", "print") == {}


def test_earlier_results_are_read_though_they_are_not_the_users() -> None:
    namespace = a_namespace(_=[1], _3=2, Out={}, In=["a"])

    assert read(namespace, "_", "_3", "Out", "In").keys() == {"_", "_3", "Out", "In"}


# What was learnt


def test_a_restored_value_counts_as_what_it_was_recorded_as() -> None:
    namespace = a_namespace("a = [1]")
    recorded = digest_of("as it was")

    namespace.learn(namespace.digest({"a": namespace.live["a"]}), recorded)

    assert namespace.observe().groups["a",] == recorded
    run(namespace, "a.append(2)")
    assert namespace.observe().groups["a",] != recorded


def test_a_look_that_was_cut_short_is_not_built_upon() -> None:
    live: dict[str, Any] = {"rows": [0], "other": [1]}
    namespace = Namespace(live)
    for _ in range(3):  # from the third look on a trace tells what was touched
        before = namespace.observe()
    live["rows"].append(1)
    live["other"].append(2)
    digest, calls = namespace._look._digest, []

    def stopped(values: Mapping[str, object]) -> Digest:
        calls.append(values)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return digest(values)

    namespace._look._digest = stopped
    with pytest.raises(KeyboardInterrupt):
        namespace.observe()
    namespace._look._digest = digest

    assert changes(before, namespace.observe()).groups == {("rows",), ("other",)}


def test_an_object_that_counts_how_often_it_is_asked_is_unchanged_until_it_is_changed() -> None:
    namespace = a_namespace(
        "class C:\n    n = 0\n    def __init__(self): self.rows = [1]\n"
        "    def __getstate__(self):\n        self.n += 1\n        return dict(vars(self))\nc = C()"
    )
    before = namespace.observe()

    assert not changes(before, namespace.observe()).groups

    run(namespace, "c.rows.append(2)")
    assert changes(before, namespace.observe()).groups == {("c",)}


def test_a_value_that_raises_when_it_is_looked_at_does_not_cost_the_others() -> None:
    namespace = a_namespace(
        "class C:\n    @property\n    def __class__(self): raise RuntimeError('no')\nc = [C()]\na = [1]"
    )
    before = namespace.observe()

    run(namespace, "a.append(2)")

    assert changes(before, namespace.observe()).groups == {("a",)}
