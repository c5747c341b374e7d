"""Which recorded steps still stand, and the way back to the namespace as of one of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from kitaru_nb.artifacts.bucket import Bucket
from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.engine.prefix import matching_prefix, record_restored, restored_draft, source_code
from kitaru_nb.engine.recovery import Loader, Recorded, furthest, put_back, recorded_at
from kitaru_nb.engine.trust import Standing, Trust
from kitaru_nb.errors import CorruptError, StoreError
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, Group
from kitaru_nb.model.execution import ExecutionId, Identity, current_owner
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.keys import Keyring
from kitaru_nb.testing import a_draft, digest_of
from tests.unit.engine.kernel import Kernel, Start

COMPLETED, RESTORED, FAILED = CheckpointStatus.COMPLETED, CheckpointStatus.RESTORED, CheckpointStatus.FAILED


def row(seq: int, source: str, *, parent: int | None, **changes: Any) -> Checkpoint:
    """A step on record."""
    draft = a_draft(changes.pop("name", f"step{seq}"), source=source, parent=parent, **changes)
    return Checkpoint(seq, ExecutionId("ex_1"), 1, seq, draft)


def line(*sources: str, first: int = 1, steps: Sequence[str | None] = ()) -> list[Checkpoint]:
    """Steps that follow each other."""
    ids = [*steps, *[None] * len(sources)]
    return [
        row(first + i, source, parent=first + i - 1 if i else None, step=ids[i])
        for i, source in enumerate(sources)
    ]


@dataclass(frozen=True)
class Case:
    cells: Sequence[str | tuple[str | None, str]]
    recorded: Sequence[Checkpoint]
    expected: Sequence[int]
    changed: Sequence[str] = ()


ABC = line("a = 1", "b = 2", "c = 3")

CASES = {
    "nothing on record": Case(["a = 1"], [], []),
    "no cells": Case([], ABC, []),
    "the same notebook": Case(["a = 1", "b = 2", "c = 3"], ABC, [1, 2, 3]),
    "a longer notebook": Case(["a = 1", "b = 2", "c = 3", "d = 4"], ABC, [1, 2, 3]),
    "a shorter notebook": Case(["a = 1"], ABC, [1]),
    "an edited cell": Case(["a = 1", "b = 7", "c = 3"], ABC, [1]),
    "an edited first cell": Case(["a = 7", "b = 2", "c = 3"], ABC, []),
    "another comment": Case(["a = 1  # one", "# two\nb = 2", "c = 3"], ABC, [1, 2, 3]),
    "other formatting": Case(["a=1", "b = (2)", "c = 3"], ABC, [1, 2, 3]),
    "a cell inserted": Case(["a = 1", "x = 0", "b = 2", "c = 3"], ABC, [1]),
    "a cell removed": Case(["a = 1", "c = 3"], ABC, [1]),
    "a cell moved": Case(["b = 2", "a = 1", "c = 3"], ABC, []),
    "a step marked fresh": Case(["a = 1", "%%checkpoint --fresh\nb = 2", "c = 3"], ABC, [1]),
    "a step marked now": Case(["a = 1", "%%checkpoint two\nb = 2", "c = 3"], ABC, [1, 2, 3]),
    "a cell with magics": Case(["%time x", "b = 2"], line("%time x", "b = 2"), [1, 2]),
    "a cell with other magics": Case(["%time y", "b = 2"], line("%time x", "b = 2"), []),
    "a changed file": Case(
        ["a = 1", "b = 2", "c = 3"],
        [ABC[0], row(2, "b = 2", parent=1, conditions={"file:/rows.csv": "d"}), ABC[2]],
        [1],
        changed=["file:/rows.csv"],
    ),
    "an unchanged file": Case(
        ["a = 1", "b = 2"],
        [ABC[0], row(2, "b = 2", parent=1, conditions={"file:/rows.csv": "d"})],
        [1, 2],
    ),
    "a changed module": Case(
        ["a = 1"],
        [row(1, "a = 1", parent=None, conditions={"module:/m.py": "d"})],
        [],
        changed=["module:/m.py"],
    ),
    "conditions on names are met by the line itself": Case(
        ["a = 1", "a.append(1)"],
        [ABC[0], row(2, "a.append(1)", parent=1, conditions={"names:a": "d", "random:random": "d"})],
        [1, 2],
        changed=["names:a", "random:random"],
    ),
    "a failed step": Case(
        ["a = 1", "b = 2", "c = 3"], [ABC[0], row(2, "b = 2", parent=1, status=FAILED)], [1]
    ),
    "a failed step that then ran": Case(
        ["a = 1", "b = 2"],
        [ABC[0], row(2, "b = 2", parent=1, status=FAILED), row(3, "b = 2", parent=1)],
        [1, 3],
    ),
    "the newest of two attempts": Case(
        ["a = 1", "b = 2"], [*line("a = 1", "b = 2"), *line("a = 1", "b = 2", first=3)], [3, 4]
    ),
    "the attempt that got furthest": Case(
        ["a = 1", "b = 2", "c = 3"],
        [*line("a = 1", "b = 2", "c = 3"), *line("a = 1", "b = 9", first=4)],
        [1, 2, 3],
    ),
    "one line, though another's cells fit too": Case(
        ["a = 1", "b = 2", "c = 3"],
        [*line("a = 1", "b = 2"), row(3, "a = 1", parent=None), row(4, "c = 3", parent=2)],
        [1, 2, 4],
    ),
    "an attempt that went on from an older one": Case(
        ["a = 1", "b = 2", "c = 4"], [*ABC, row(4, "c = 4", parent=2)], [1, 2, 4]
    ),
    "a step that was edited and edited back": Case(
        ["a = 1", "b = 2"], [*line("a = 1", "b = 2"), row(3, "b = 7", parent=1)], [1, 2]
    ),
    "restored steps count": Case(
        ["a = 1", "b = 2"],
        [
            *line("a = 1"),
            row(2, "a = 1", parent=None, status=RESTORED, origin=1),
            row(3, "b = 2", parent=2),
        ],
        [2, 3],
    ),
    "the same source twice": Case(["a = 1", "a = 1"], line("a = 1", "a = 1"), [1, 2]),
    "the same source once more": Case(["a = 1", "a = 1", "a = 1"], line("a = 1", "a = 1"), [1, 2]),
    "the same source in other cells": Case(
        [("cell:y", "a = 1"), ("cell:x", "a = 1")],
        line("a = 1", "a = 1", steps=["cell:x", "cell:y"]),
        [],
    ),
    "the same source in the same cells": Case(
        [("cell:x", "a = 1"), ("cell:y", "a = 1")],
        line("a = 1", "a = 1", steps=["cell:x", "cell:y"]),
        [1, 2],
    ),
    "ids that were not sent before": Case([("cell:x", "a = 1"), ("cell:y", "b = 2")], ABC, [1, 2]),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_recorded_steps_that_the_first_cells_still_are(case: Case) -> None:
    cells = [cell if isinstance(cell, tuple) else (None, cell) for cell in case.cells]

    prefix = matching_prefix(cells, case.recorded, holds=lambda what, digest: what not in case.changed)

    assert [checkpoint.seq for checkpoint in prefix] == case.expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("x = 1", "x = 1  # comment", True),
        ("x = 1", "x = 2", False),
        ("%%checkpoint load\nx = 1", "x = 1", True),
        ("# first\n%%checkpoint load --strict\nx = 1", "%%checkpoint other\nx = 1", True),
        ("!ls", "!ls", True),
        ("!ls", "!ls -l", False),
        ("!ls\n", "  !ls", True),
    ],
)
def test_what_a_cells_code_is(one: str, other: str, same: bool) -> None:
    assert (source_code(one) == source_code(other)) is same


# The furthest commit


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ([], None),
        ([row(1, "a", parent=None, status=FAILED)], None),
        (ABC, 3),
        ([*ABC, row(4, "d", parent=3, status=FAILED)], 3),
        ([*ABC, row(4, "a", parent=None, status=RESTORED, origin=1)], 3),
        ([*ABC, row(4, "a", parent=3, status=RESTORED, origin=1)], 4),
        ([*ABC, *(row(3 + n, "", parent=None, status=RESTORED, origin=n) for n in (1, 2, 3))], 6),
        ([*ABC, row(4, "a", parent=None, status=RESTORED, origin=1), row(5, "x", parent=4)], 5),
        (  # all of it, before a step of it ran once more
            [
                *ABC,
                row(4, "c2", parent=3, name="step3"),
                row(5, "a", parent=None, name="step1", status=RESTORED, origin=1),
                row(6, "b", parent=5, name="step2", status=RESTORED, origin=2),
                row(7, "c", parent=6, name="step3", status=RESTORED, origin=3),
            ],
            7,
        ),
        (  # a cell was put between and taken out again
            [
                *ABC,
                row(4, "a", parent=None, status=RESTORED, origin=1),
                row(5, "x", parent=4),
                row(6, "a", parent=None, status=RESTORED, origin=1),
                row(7, "b", parent=6, status=RESTORED, origin=2),
            ],
            7,
        ),
    ],
)
def test_the_furthest_commit_is_at_the_end_of_the_newest_work(
    recorded: list[Checkpoint], expected: int | None
) -> None:
    found = furthest(recorded)

    assert (found.seq if found else None) == expected


def test_the_furthest_commit_of_a_step() -> None:
    recorded = [*ABC, row(4, "b = 2", parent=3, name="step2"), row(5, "x", parent=4)]

    assert [furthest(recorded, name=name) for name in ("step1", "step2", "nothing")] == [
        recorded[0],
        recorded[3],
        None,
    ]


# What the commits hold together


def group(*names: str, value: str = "v", **options: Any) -> Group:
    return Group(names, digest_of(f"artifact {value}"), digest_of(value), **options)


def test_the_newest_group_of_a_name_counts() -> None:
    old, new = group("a"), group("a", value="w")

    recorded = recorded_at([row(1, "", parent=None, groups=(old,)), row(2, "", parent=1, groups=(new,))])

    assert recorded.groups == {"a": new}
    assert recorded.whole == {("a",): new}


def test_a_group_that_lost_a_name_is_not_whole_but_keeps_the_others() -> None:
    both, alone = group("a", "b"), group("a", value="w")
    recorded = Recorded()

    recorded.put(both)
    recorded.put(alone)

    assert recorded.groups == {"a": alone, "b": both}
    assert recorded.whole == {("a",): alone}


def test_deleted_names_are_gone_and_may_come_back() -> None:
    recorded = recorded_at(
        [
            row(1, "", parent=None, groups=(group("a"), group("b"))),
            row(2, "", parent=1, deleted=("a", "b")),
            row(3, "", parent=2, groups=(group("b", value="w"),)),
        ]
    )

    assert recorded.groups == {"b": group("b", value="w")}


def test_a_name_deleted_and_bound_in_one_commit_is_bound() -> None:
    recorded = recorded_at([row(1, "", parent=None, groups=(group("a"),), deleted=("a",))])

    assert recorded.groups == {"a": group("a")}


def test_process_state_adds_up_in_order() -> None:
    recorded = recorded_at(
        [row(seq, "", parent=None, process=process) for seq, process in ((1, "one"), (2, None), (3, "two"))]
    )

    assert recorded.process == ["one", "two"]


# Putting back


def test_only_the_names_still_in_a_group_are_bound(start: Start) -> None:
    first = start()
    first.cell("a = [1]\nb = a")
    kernel = start()
    (both,) = first.last.draft.groups
    kernel.engine.trust.require([first.last])

    restored = put_back(
        Loader(kernel.engine, kernel.session.namespace), kernel.session.namespace, [both], {"b": both}
    )

    assert restored.names == ["b"]
    assert kernel["b"] == [1]
    assert "a" not in kernel.live


def test_a_group_that_cannot_be_read_becomes_markers(start: Start) -> None:
    kernel = start()
    kernel.cell("good = [1]")
    (good,) = kernel.last.draft.groups
    bad = group("x", "y")
    names = {"good": good, "x": bad, "y": bad}

    restored = put_back(
        Loader(kernel.engine, kernel.session.namespace), kernel.session.namespace, [bad, good], names
    )

    assert restored.names == ["good"]
    assert list(restored.damaged) == ["x", "y"]
    assert is_marker(kernel["x"])


def test_a_value_of_a_notebook_class_that_cannot_be_loaded_does_not_cost_the_rest(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    define = (
        "import os\nclass Box:\n    def __init__(self): self.n = 1\n"
        "    def __setstate__(self, state):\n        if 'KT_FAILS' in os.environ: raise ValueError('no')\n"
        "        self.__dict__.update(state)"
    )
    start().cells(define, "box = [Box()]; kept = 5")
    monkeypatch.setenv("KT_FAILS", "1")
    kernel = start()

    with pytest.raises(CorruptError, match=r"`box` could not be restored .* everything else is back"):
        kernel.session.resume()

    assert (is_marker(kernel["box"]), kernel["kept"]) == (True, 5)


NEEDED_TO_LOAD = {
    "an import in its hash": (
        (
            "import hashlib\nclass K:\n    def __init__(self, v): self.v = v\n"
            "    def __hash__(self): return hashlib.md5(self.v.encode()).digest()[0]\n"
            "    def __eq__(self, o): return self.v == o.v\nd = {K('a'): 1}"
        ),
        "d[K('a')]",
    ),
    "its class in what takes its state": (
        (
            "class S:\n    Z = {'a': 0}\n    def __init__(self): self.a = 1\n"
            "    def __setstate__(self, d): self.__dict__.update({**S.Z, **d})\ns = S()"
        ),
        "s.a",
    ),
    "its class and an import in the function that makes it": (
        (
            "import json\ndef made(text):\n    p = P.__new__(P); p.v = json.loads(text); return p\n"
            "class P:\n    def __init__(self): self.v = 1\n"
            "    def __reduce__(self): return made, (json.dumps(self.v),)\np = P()"
        ),
        "p.v",
    ),
    "its class where two hashes are equal": (
        (
            "class V:\n    def __init__(self, v): self.v = v\n"
            "    def __eq__(self, o): return isinstance(o, V) and self.v == o.v\n"
            "    def __hash__(self): return 1\nd = {V('a'): 1, V('b'): 2}"
        ),
        "d[V('a')] * len(d) // 2",
    ),
    "a value that is bound after it": (
        "class B:\n    def __setstate__(self, d): self.n = base[0]\nb = B(); b.n = 1; base = [1]",
        "b.n",
    ),
    "a list on any look at it": (
        (
            "get = object.__getattribute__\nseen = [1]\nclass A:\n"
            "    def __getattribute__(self, n): return seen and get(self, n)\na = A()"
        ),
        "len([a])",
    ),
}


@pytest.mark.parametrize(("source", "shows"), NEEDED_TO_LOAD.values(), ids=NEEDED_TO_LOAD)
@pytest.mark.parametrize("resumed", [True, False])
def test_what_a_class_needs_to_be_loaded_is_there_before_its_objects(
    start: Start, source: str, shows: str, *, resumed: bool
) -> None:
    assert start().cell(source) == "completed"
    kernel = start()

    if resumed:
        kernel.session.resume()
    else:
        assert kernel.cell(source) == "restored"

    assert eval(shows, kernel.live) == 1


def test_an_object_is_loaded_with_the_plain_values_that_its_step_bound(start: Start) -> None:
    define = "class K:\n    def __hash__(self): return base\nd, base = None, 1"
    use = "base = 2\nd = {K(): 1}\nk = next(iter(d))"
    start().cells(define, use)
    kernel = start()

    assert kernel.cells(define, use) == ["restored"] * 2

    assert kernel["d"][kernel["k"]] == 1


def test_names_are_as_before_where_a_step_cannot_be_restored(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = (
        "import os\nclass Box:\n    def __setstate__(self, state):\n"
        "        if 'KT_FAILS' in os.environ: raise ValueError('no')\n"
        "        self.__dict__.update(state)\nbox = Box(); box.n = 1; kept = 5"
    )
    start().cell(cell)
    kernel = start()
    kernel.plain("kept = 3")
    plan = kernel.plan(cell)
    monkeypatch.setenv("KT_FAILS", "1")
    before = dict(kernel.live)

    with pytest.raises(StoreError, match=r"cannot be restored: .* ValueError: no"):
        kernel.session.restore(plan)

    assert kernel.live == before


def test_an_artifact_is_loaded_once(start: Start) -> None:
    kernel = start()
    kernel.cell("rows = [1]")
    (rows,) = kernel.last.draft.groups
    loader = Loader(kernel.engine, kernel.session.namespace)

    assert loader.load(rows.artifact)["rows"] is loader.load(rows.artifact)["rows"]


def test_a_function_that_parted_from_its_class_and_is_set_on_it_anew_is_one_object(start: Start) -> None:
    kernel = start()
    kernel.cells("def f(): pass\nclass C: pass", "C.f = staticmethod(f)", "C.f = f")
    kernel = start()

    kernel.session.resume()

    assert kernel["C"].f is kernel["f"]


def test_an_instance_gets_the_stored_class_where_the_live_one_differs(start: Start) -> None:
    first = start()
    first.cells("class Model:\n    kind = 'old'", "model = Model()")
    (model,) = first.last.draft.groups
    kernel = start()
    kernel.plain("class Model:\n    kind = 'new'")
    kernel.engine.trust.require([first.last])

    loaded = Loader(kernel.engine, kernel.session.namespace).load(model.artifact)["model"]

    assert type(loaded) is not kernel["Model"]
    assert loaded.kind == "old"


# Recording what was restored


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "journal.db")
    yield journal
    journal.close()


def test_a_restored_prefix_is_a_line_of_its_own(journal: SqliteJournal, tmp_path: Path) -> None:
    engine: Any = SimpleNamespace(journal=journal, trust=Trust(journal, Keyring(tmp_path / "config")))
    first, _ = journal.start(Identity(notebook="/a.ipynb"), owner=current_owner())
    one = journal.commit(first, engine.trust.signed(a_draft("one"), first.execution))
    two = journal.commit(first, engine.trust.signed(a_draft("two", parent=one.seq), first.execution))
    second, _ = journal.start(Identity(notebook="/a.ipynb"), owner=current_owner(), take_over=True)

    written = record_restored(engine, second, [one, two])

    assert all(engine.trust.standing(c) is Standing.TRUSTED for c in written)

    assert [c.draft.parent for c in written] == [None, written[0].seq]
    assert [c.draft.status for c in written] == [RESTORED] * 2
    assert [c.draft.origin for c in written] == [one.seq, two.seq]
    assert record_restored(engine, second, []) == []


def test_a_restored_step_names_the_one_that_ran() -> None:
    ran = row(4, "a = 1", parent=None)
    once = restored_draft(ran)

    again = restored_draft(Checkpoint(9, ran.execution, 2, 1, once), name="other")

    assert (once.status, once.origin) == (RESTORED, 4)
    assert (again.origin, again.name) == (4, "other")


BY_HAND = (
    "import types\nm = types.ModuleType('m'); m.x = [1]; shared = m.x",
    "m.x.append(2)",
    "exec('def f(): return x\\ndef g():\\n global k\\n k = 5', m.__dict__); m.me = m; f = m.f",
    "m.g(); r = (f(), m.k); m.y = 1",
)


@pytest.mark.parametrize("resumed", [True, False])
def test_a_module_made_by_hand_comes_back_with_what_it_shares(start: Start, *, resumed: bool) -> None:
    assert start().cells(*BY_HAND) == ["completed"] * 4

    again = start()
    if resumed:
        again.session.resume()
    else:
        assert again.cells(*BY_HAND) == ["restored"] * 4

    module = again["m"]
    assert module.x == [1, 2]
    assert module.x is again["shared"]
    assert again["f"].__globals__ is vars(module)
    assert module.f is again["f"]
    assert module.me is module
    assert (module.k, module.y, again["r"]) == (5, 1, ([1, 2], 5))


def test_a_failed_change_of_a_module_made_by_hand_is_undone(start: Start) -> None:
    kernel = start()
    kernel.cell("import types\nm = types.ModuleType('m'); m.x = [1]")
    with pytest.raises(ZeroDivisionError):
        kernel.cell("m.x.append(2); m.y = 1; 1/0", step="a")

    kernel.cell("r = (list(m.x), hasattr(m, 'y'))", step="a")

    assert kernel["r"] == ([1], False)


@pytest.mark.parametrize("resumed", [True, False])
def test_imports_find_a_module_that_was_made_by_hand_and_registered(start: Start, *, resumed: bool) -> None:
    cells = (
        "import sys, types\nm = types.ModuleType('by_hand'); sys.modules['by_hand'] = m; m.v = [1]",
        "import by_hand\nby_hand.v.append(2)",
    )
    try:
        start().cells(*cells)
        del sys.modules["by_hand"]

        again = start()
        if resumed:
            again.session.resume()
        else:
            assert again.cells(*cells) == ["restored"] * 2

        assert again["by_hand"].v == [1, 2]
        assert again["by_hand"] is again["m"]
        assert again["by_hand"] is sys.modules["by_hand"]
    finally:
        sys.modules.pop("by_hand", None)


def test_the_annotations_of_names_come_back(start: Start) -> None:
    cells = ("x: int = 3", "y: 'list[int]' = []", "class A: pass\nz: A = A()")
    start().cells(*cells)

    again = start()
    assert again.cells(*cells) == ["restored"] * 3

    assert again["__annotations__"] == {"x": int, "y": "list[int]", "z": again["A"]}


def test_another_annotation_above_is_no_reason_to_run_again(start: Start) -> None:
    start().cells("x: int = 3", "y: int = 4")

    again = start()

    assert again.cells("x: float = 3", "y: int = 4") == ["completed", "restored"]
    assert again["__annotations__"] == {"x": float, "y": int}


def test_a_step_that_read_a_shared_object_which_cannot_be_stored_is_restored(start: Start) -> None:
    cells = ("g = (i for i in range(5)); h = [g]; k = {'g': g}", "v = next(g)", "w = next(h[0])")
    start().cells(*cells)

    assert start().cells(*cells) == ["restored"] * 3


def test_a_step_that_read_a_shared_object_which_is_left_out_is_restored(start: Start) -> None:
    cells = (
        "%%checkpoint one --exclude a\na = [1]; b = [a]",
        "%%checkpoint two\nr = len(b)",
        "%%checkpoint three\nq = len(a)",
        "%%checkpoint four\nb.append(2)",
        "%%checkpoint five\nq = len(a)",
    )
    unchecked = {"paranoid": False}  # which names every value that is left out
    start(settings=unchecked).cells(*cells)

    assert start(settings=unchecked).cells(*cells) == ["restored"] * 5


def test_a_changed_object_that_is_left_out_is_read_anew(start: Start) -> None:
    unchecked = {"paranoid": False}
    read = "%%checkpoint two\nq = len(a)"
    start(settings=unchecked).cells("%%checkpoint one --exclude a\na = [1]; b = [a]", read)

    again = start(settings=unchecked)

    assert again.cells("%%checkpoint one --exclude a\na = [1, 2]; b = [a]", read) == ["completed"] * 2
    assert again["q"] == 2


def test_a_cache_that_was_filled_after_its_function_was_stored_is_said_to_be_empty(start: Start) -> None:
    start().cells("import functools\n@functools.cache\ndef sq(x): return x * x", "r = sq(3)")

    resumed = start().session.resume()

    assert resumed.restored.made == {"sq": "functools.lru_cache, without the results it held"}


def test_what_was_left_by_a_rewind_is_not_gone_back_to_once_cells_were_restored_since(start: Start) -> None:
    kernel = start()
    for name in ("one", "two", "three"):
        kernel.cell(f"%%checkpoint {name}\n{name} = 1", step=name)
    kernel.session.rewind("one")
    assert kernel.cell("%%checkpoint two\ntwo = 1", step="two") == "restored"

    resumed = start().session.resume()

    assert resumed.checkpoint.draft.name == "two"


def test_a_look_at_an_earlier_commit_leaves_nothing(start: Start) -> None:
    kernel = start()
    for name in ("one", "two"):
        kernel.cell(f"%%checkpoint {name}\n{name} = 1", step=name)
    kernel.session.rewind("one")

    resumed = start().session.resume()

    assert resumed.checkpoint.draft.name == "two"


def test_a_second_look_at_an_earlier_commit_brings_back_nothing_that_was_left(start: Start) -> None:
    kernel = start()
    for name in ("one", "two"):
        kernel.cell(f"%%checkpoint {name}\n{name} = 1", step=name)
    kernel.session.rewind("one")
    kernel = start()
    assert kernel.cell("%%checkpoint one\none = 1", step="one") == "restored"
    kernel.session.rewind("one")

    resumed = start().session.resume()

    assert resumed.checkpoint.draft.name == "one"


def test_a_step_above_a_kept_exception_is_restored(start: Start) -> None:
    cells = (
        "a = [1]; b = [2]\ntry: 1 / 0\nexcept ZeroDivisionError as error: kept = error",
        "n = len(a)",
        "b.append(str(kept)); m = len(b)",
    )
    start().cells(*cells)

    assert start().cells(*cells) == ["restored"] * 3


def test_what_only_a_lost_generator_held_together_is_read_apart(start: Start) -> None:
    cells = ("a = [1]; b = [2]; g = ((x, y) for x in a for y in [b]); next(g)", "n = len(a) + len(b)")
    start().cells(*cells)

    assert start().cells(*cells) == ["restored"] * 2


PAID = "from random import Random\npaid = Random(1).randbytes(300_000)"


@contextmanager
def credentials_ended() -> Iterator[None]:
    """While entered a bucket gives nothing, and what it has is whole."""

    def refuse(bucket: Bucket, *_: object) -> None:
        raise StoreError(f"no credentials for `{bucket.url}`", kind="store-credentials", hint="renew them")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bucket, "get", refuse)
        yield


@pytest.fixture
def bucket_kernel(tmp_path: Path) -> Iterator[Callable[[], Kernel]]:
    """Starts a kernel whose values are in a bucket."""
    pytest.importorskip("obstore", reason="obstore is not installed", exc_type=ImportError)
    stack = Stack("team", store=f"memory://{tmp_path.name}", source=str(tmp_path))
    kernels: list[Kernel] = []

    def start() -> Kernel:
        kernels.append(
            Kernel(tmp_path / "home", settings={"place": stack, "stack": "team", "paranoid": False})
        )
        return kernels[-1].take_over()

    yield start
    for kernel in kernels:
        kernel.stop()


def test_a_step_that_cannot_be_read_for_a_while_is_not_told_to_run_again(
    bucket_kernel: Callable[[], Kernel],
) -> None:
    bucket_kernel().cell(PAID, step="1")
    kernel = bucket_kernel()

    with credentials_ended(), pytest.raises(StoreError) as refused:
        kernel.cell(PAID, step="1")

    assert (refused.value.kind, refused.value.hint) == ("store-credentials", "renew them")
    assert not isinstance(refused.value, CorruptError)
    assert kernel.cell(PAID, step="1") == "restored"


def test_what_cannot_be_read_for_a_while_is_no_damage_and_stays_on_record(
    bucket_kernel: Callable[[], Kernel],
) -> None:
    first = bucket_kernel()
    first.cell(PAID, step="1")
    first.cell("both = [Random(2).randbytes(300_000)]\nalias = both", step="2")
    kernel = bucket_kernel()

    with credentials_ended():
        with pytest.raises(StoreError) as refused:
            kernel.session.resume()
        kernel.cell("after = 1", step="3")  # its commit holds what was there before, too
    again = bucket_kernel()
    again.session.resume()

    assert (refused.value.kind, refused.value.hint) == ("store-credentials", "renew them")
    assert not isinstance(refused.value, CorruptError)
    assert again["paid"] == Random(1).randbytes(300_000)
    assert again["both"] is again["alias"]
    assert (len(again["both"][0]), again["after"]) == (300_000, 1)
