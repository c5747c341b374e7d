"""Conditions of a step: what it changed, saw and named, and whether that is as it was."""

from __future__ import annotations

import ast
import builtins
import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.analysis.outline import Outline, outline_of
from kitaru_nb.engine.asked import parts_asked
from kitaru_nb.engine.computing import libraries_of
from kitaru_nb.engine.conditions import conditions_of, holds, seeds
from kitaru_nb.engine.inputs import Inputs
from kitaru_nb.engine.listing import names_in
from kitaru_nb.engine.named import named_environment, named_files
from kitaru_nb.engine.namespace import Change, Namespace
from kitaru_nb.engine.observe import ABSENT, Observed, state_of
from kitaru_nb.engine.process import Held, ProcessState
from kitaru_nb.engine.steps import Pending
from tests.unit.engine.kernel import cell_of


def _outline(source: str) -> Outline:
    return outline_of(ast.parse(source))


LONG = "y" * 1000  # shorter than a path may be, longer than one name in a folder may be


@pytest.mark.parametrize("text", [LONG, f"{LONG}/a.txt", "\ud800"])
def test_a_string_that_cannot_be_a_path_names_no_file(text: str, tmp_path: Path) -> None:
    found = named_files(_outline("n = len(s)"), [text], ignored=[tmp_path])

    assert found == {}


def test_a_long_string_in_code_that_asks_for_files_is_one_that_is_not_there(tmp_path: Path) -> None:
    found = named_files(_outline("there = os.path.exists(s)"), [LONG], ignored=[tmp_path])

    assert set(found.values()) <= {ABSENT}


def test_a_string_that_names_a_file_counts_with_its_content(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("1", "utf-8")

    found = named_files(_outline("read(s)"), [str(file)], ignored=[tmp_path / "home"])

    assert list(found) == [str(file)]


def _looks() -> bool:
    return os.path.exists("x")  # noqa: PTH110 - as people write it


@pytest.mark.parametrize(("reached", "expected"), [([], 0), ([_looks], 1), ([ast.parse], 0)])
def test_a_file_that_is_not_there_counts_where_a_function_asks_for_it(
    reached: list[object], expected: int, tmp_path: Path
) -> None:
    found = named_files(_outline("go(s)"), [*reached, str(tmp_path / "none.csv")], ignored=[])

    assert list(found.values()) == [ABSENT] * expected


def test_a_path_that_leads_up_is_the_file_it_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data.csv").write_text("1", "utf-8")
    monkeypatch.chdir(tmp_path)

    assert list(named_files(_outline("read('none/../data.csv')"), [], ignored=[])) == [
        str(tmp_path / "data.csv")
    ]


def test_a_text_that_is_no_path_counts_for_nothing(tmp_path: Path) -> None:
    asks, reads = _outline("there = os.path.exists(s)"), _outline("read(s)")

    assert named_files(asks, ["", "a\nb", "a\0b", "y" * 5000], ignored=[]) == {}
    assert named_files(reads, [f"{tmp_path}/none/../none.csv"], ignored=[]) == {}


def test_files_that_are_no_data_and_large_containers_are_not_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("1", "utf-8")

    assert named_files(_outline("read(s)"), [[str(file)]], ignored=[]).keys() == {str(file)}
    assert named_files(_outline("read(s)"), [{"a": file}], ignored=[]).keys() == {str(file)}
    assert named_files(_outline("read(s)"), [str(file)], ignored=[tmp_path]) == {}
    assert named_files(_outline("read(s)"), [[str(file)] * 101], ignored=[]) == {}


# Whether a condition holds


def pending(tmp_path: Path, source: str = "x = 1", before: str = "", **process: Any) -> Pending:
    live: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
    exec(before, live)
    namespace = Namespace(live)
    state = namespace.observe()
    cell = cell_of(source)
    needs = Inputs(namespace, tmp_path).of(cell, state)
    return Pending(
        cell,
        "step",
        needs,
        state,
        process,
        seeded=True,
        started_at=datetime.now(UTC),
        started=0.0,
        libraries=libraries_of((), needs.uses),
        asked=parts_asked(cell.outline.words),
    )


NOTHING = Change(frozenset(), frozenset(), frozenset())


def conditions(
    step: Pending,
    after: ProcessState | None = None,
    *,
    change: Change = NOTHING,
    observed: Observed | None = None,
    suspects: Iterable[str] = (),
) -> dict[str, str]:
    after = step.process if after is None else after
    return conditions_of(
        step, change, after, observed or Observed(), [], suspects=suspects, ignored=[], live={}
    )


LEADS = "def f(): return 1\ndef g(): return 2\nk = [f]"


def test_what_was_changed_in_place_has_to_hold_what_it_held(tmp_path: Path) -> None:
    step = pending(tmp_path, "a.append(1)", "a = []; b = []")
    change = Change(frozenset({("a",)}), frozenset(), frozenset({("a",)}))

    found = conditions(step, change=change)

    assert list(found) == ["names:a"]
    assert all(holds(step, *each) for each in found.items())
    assert not any(holds(pending(tmp_path, "", "a = [2]"), *each) for each in found.items())


def test_a_name_that_may_have_been_bound_has_to_hold_what_it_held(tmp_path: Path) -> None:
    step = pending(tmp_path, "if c: a = 1\nelse: b = 1", "a = 1; b = 2; c = 3")
    change = Change(frozenset({("b",)}), frozenset(), frozenset())

    assert conditions(step, change=change).keys() == {"names:a"}


def test_only_who_led_to_a_function_may_lead_to_it_when_it_was_changed_in_place(tmp_path: Path) -> None:
    step = pending(tmp_path, "f.note = 1", LEADS)
    change = Change(frozenset({("f",)}), frozenset(), frozenset({("f",)}))

    found = conditions(step, change=change)

    assert found.pop("led:f") == "k"
    assert found.keys() == {"names:f"}
    assert holds(step, "led:f", "k")
    assert holds(pending(tmp_path, "", LEADS + "\nk = 1"), "led:f", "k")
    assert not holds(pending(tmp_path, "", LEADS + "\nm = [f]"), "led:f", "k")


@pytest.mark.parametrize(
    ("source", "before", "expected"),
    [
        ("if a: del b", "a = 0", {"unbound:b"}),
        ("if a: del b", "a = 0; b = 1", {"names:b"}),
        ("b = 1; del b", "a = 0", set()),
    ],
)
def test_a_name_that_a_step_may_delete_has_to_be_unbound_as_it_was(
    source: str, before: str, expected: set[str], tmp_path: Path
) -> None:
    step = pending(tmp_path, source, before)

    assert conditions(step).keys() - {"names:b"} == expected - {"names:b"}
    assert holds(step, "unbound:b", "") is ("b" not in before)


def test_a_generator_that_was_drawn_from_has_to_stand_where_it_stood(tmp_path: Path) -> None:
    step = pending(tmp_path, random=1, numpy=5)

    found = conditions(step, {"random": 2, "numpy": 5})

    assert found.keys() == {"random:random"}
    assert holds(step, *next(iter(found.items())))
    assert not holds(pending(tmp_path, random=2), *next(iter(found.items())))
    assert not holds(pending(tmp_path), *next(iter(found.items())))
    step.seeded = False
    assert conditions(step, {"random": 2, "numpy": 5}) == {}


def test_what_a_step_may_have_set_where_it_was_set_has_to_be_set(tmp_path: Path) -> None:
    step = pending(tmp_path, random=1, warnings=["w"], cwd="/", path="p")
    suspects = {"random", "numpy", "warnings", "cwd"}

    found = conditions(step, {**step.process, "cwd": "/other"}, suspects=suspects)

    assert found.keys() == {"random:random", "process:warnings"}
    assert all(holds(step, *each) for each in found.items())
    other = pending(tmp_path, random=2, warnings=[], cwd="/")
    assert not any(holds(other, *each) for each in found.items())
    step.seeded = False
    assert conditions(step, suspects=suspects).keys() == {"process:warnings", "process:cwd"}


def test_a_generator_that_no_cell_can_have_set_may_stand_anywhere(tmp_path: Path) -> None:
    step = pending(tmp_path, random=1, numpy=5)
    step.unset = frozenset({"random"})

    assert conditions(step, suspects={"random", "numpy"}).keys() == {"random:numpy"}
    assert conditions(step, {"random": 2, "numpy": 6}).keys() == {"random:numpy"}


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("x = os.getpid()", {"process:cwd"}),
        ("x = getcwd()", {"process:cwd"}),
        ("x = decimal.Decimal(1)", {"settings:decimal"}),
        ("x = pd.get_option('a')", {"process:pandas options", "process:numpy options"}),
        ("x = gc.isenabled()", {"process:setting gc"}),
        ("x = json.kt", {"process:attributes/json:kt"}),
        ("x = 1", set()),
    ],
)
def test_what_a_step_can_see_of_the_process_counts(source: str, parts: set[str], tmp_path: Path) -> None:
    process = {
        "cwd": "/",
        "decimal": "d",
        "pandas options": 1,
        "numpy options": 2,
        "logging": 3,
        "setting gc": 4,
        "attributes": {"json:kt": Held(1), "string|Template:kt": Held(2)},
    }
    step = pending(tmp_path, source, "import os, decimal, json", **process)

    found = conditions(step)

    assert found.keys() == parts
    assert all(holds(step, *each) for each in found.items())
    other = {"attributes": {"json:kt": Held(9)}}
    assert not any(holds(pending(tmp_path, **other), *each) for each in found.items())


def test_where_a_step_found_or_left_it_counts(tmp_path: Path) -> None:
    step = pending(tmp_path, "os.chdir('b')", "import os", cwd="/a")

    found = conditions(step, {"cwd": "/b"})

    for cwd in ("/a", "/b", "/c"):
        assert holds(pending(tmp_path, cwd=cwd), *next(iter(found.items()))) is (cwd != "/c")


def test_a_variable_counts_as_it_was_found_or_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KT_A", "2")
    step = pending(tmp_path)
    step.environment = {"KT_A": "1"}

    (found,) = conditions(step).items()

    for value in ("1", "2", None):
        step.environment = {"KT_A": value}
        assert holds(step, *found) is (value is not None)


def test_a_folder_that_was_listed_has_to_hold_the_same_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    (tmp_path / "b.txt").touch()
    observed = Observed()
    observed.listed = {(str(tmp_path), "*.csv"): names_in(str(tmp_path), "*.csv")}
    step = pending(tmp_path)
    (found,) = conditions(step, observed=observed).items()

    (tmp_path / "c.txt").touch()
    assert holds(step, *found)
    (tmp_path / "c.csv").touch()

    assert not holds(step, *found)


def test_files_that_a_step_read_or_changed_count_and_those_it_wrote_do_not(tmp_path: Path) -> None:
    read, changed, base, gone = (str(tmp_path / name) for name in ("read", "changed", "base", "gone"))
    for path in (read, changed, base):
        Path(path).write_text("1", "utf-8")
    observed = Observed()
    observed.before = {changed: "before", f"{tmp_path}/home/a": "before"}
    observed.databases = {base: "rows", f"{base}-wal": ABSENT, f"{tmp_path}/home/b": "rows"}
    files = [
        {"path": read, "mode": "read", "digest": "d"},
        {"path": gone, "mode": "absent", "digest": ABSENT},
        {"path": "large", "mode": "read", "digest": None},
        {"path": "out", "mode": "written", "digest": "w"},
    ]

    found = conditions_of(
        pending(tmp_path), NOTHING, {}, observed, files, suspects=(), ignored=[tmp_path / "home"], live={}
    )

    assert found == {
        f"file:{read}": "d",
        f"file:{gone}": ABSENT,
        f"file:{changed}": f"before|{state_of(changed)}",
        f"file:{base}": "rows",
    }


def test_a_step_that_named_a_relative_path_can_see_the_folder(tmp_path: Path) -> None:
    observed = Observed()
    observed.relative = True

    assert conditions(pending(tmp_path, cwd="/"), observed=observed).keys() == {"process:cwd"}


def test_variables_of_a_module_count_and_not_those_that_a_step_only_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "kt_seen.py").write_text("a = 1\nb = 2\n", "utf-8")
    source, before = "kt_seen.a = 5; x = kt_seen.b", "import kt_seen"
    held = {"kt_seen:a": Held(1), "kt_seen:b": Held(2), "other:a": Held(3)}
    step = pending(tmp_path, source, before, attributes=held)

    found = conditions(step)["variables:kt_seen"]

    for name, same in (("kt_seen:a", True), ("kt_seen:b", False), ("other:a", True)):
        other = pending(tmp_path, source, before, attributes=held | {name: Held(9)})
        assert holds(other, "variables:kt_seen", found) is same
    sys.modules.pop("kt_seen")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("random.seed(1)", True),
        ("rng = np.random.RandomState(1)", True),
        ("random.setstate(s)", True),
        ("np.random.set_state(s)", True),
        ("fit(random_state=1)", True),
        ("random.random()", False),
    ],
)
def test_cells_that_may_set_a_generator(source: str, expected: bool) -> None:
    assert seeds(source) is expected


def _asks() -> object:
    return os.environ["KT_NAMED"], lambda: "KT_DEEP"


def test_the_variables_that_a_cell_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KT_NAMED", "1")
    monkeypatch.setenv("kt_small", "2")
    monkeypatch.setenv("KT_API_KEY", "3")
    outline = _outline("x = 'kt_small', 'KT_NEW', 'kt_new', 'KT_API_KEY', 'no name'")

    found = named_environment(outline, [_asks, "KT_READ", 5])

    assert found == {"kt_small": "2", "KT_NEW": None, "KT_NAMED": "1", "KT_DEEP": None, "KT_READ": None}


def test_the_variables_that_code_asks_for_which_a_step_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KT_HOME", "1")

    found = named_environment(_outline("x = os.path.expandvars('$KT_HOME/${KT_NEW}')"), [])
    asked = named_environment(_outline("go()"), [], variables=["KT_HOME", "$KT_PART/x", "no name"])

    assert found == {"KT_HOME": "1", "KT_NEW": None}
    assert asked == {"KT_HOME": "1", "KT_PART": None}
