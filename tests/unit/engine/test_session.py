"""A session against a real journal and store: what runs, what is restored, what comes back."""

from __future__ import annotations

import os
import random
import socket
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.engine.session import Outcome
from kitaru_nb.engine.steps import Restore, Run
from kitaru_nb.errors import ConflictError, CorruptError, NotFoundError, UnstorableError, UsageError
from kitaru_nb.model.checkpoint import CheckpointStatus
from kitaru_nb.model.execution import ExecutionStatus
from tests.unit.engine.kernel import RAN, RESTORED, Kernel, Start, cell_of

# Run and restored


def test_a_step_that_ran_is_restored_in_the_next_kernel(start: Start) -> None:
    start().cells("rows = [1, 2]", "total = sum(rows)")
    kernel = start()

    became = kernel.cells("rows = [1, 2]", "total = sum(rows)")

    assert became == [RESTORED, RESTORED]
    assert (kernel["rows"], kernel["total"], kernel.ran) == ([1, 2], 3, [])


def test_a_comment_and_formatting_do_not_make_a_step_run_again(start: Start) -> None:
    start().cell("total = 1 + 2")
    kernel = start()

    assert kernel.cell("# the sum\ntotal = (1 +  2)") == RESTORED


@pytest.mark.parametrize("changed", ["total = 1 + 3", "other = 1 + 2", "total = 1 + 2; x = 1"])
def test_other_code_runs(start: Start, changed: str) -> None:
    start().cell("total = 1 + 2")
    kernel = start()

    assert kernel.cell(changed) == RAN


def test_a_changed_input_makes_a_step_run_again(start: Start) -> None:
    start().cells("rows = [1]", "total = sum(rows)")
    kernel = start()

    assert kernel.cells("rows = [2]", "total = sum(rows)") == [RAN, RAN]
    assert kernel["total"] == 2


def test_a_changed_function_makes_its_callers_run_again(start: Start) -> None:
    start().cells("def f():\n    return 1", "def g():\n    return f()", "x = g()")
    kernel = start()

    became = kernel.cells("def f():\n    return 2", "def g():\n    return f()", "x = g()")

    assert (became[0], became[2]) == (RAN, RAN)
    assert kernel["x"] == 2


def test_fresh_runs_what_could_be_restored(start: Start) -> None:
    start().cell("%%checkpoint load\nrows = [1]")
    kernel = start()

    assert kernel.cell("%%checkpoint load --fresh\nrows = [1]") == RAN


def test_another_cell_with_the_same_source_is_another_step(start: Start) -> None:
    start().cell("x = 1", step="one")
    kernel = start()

    assert kernel.cell("x = 1", step="two") == RAN
    assert kernel.cell("x = 1", step="one") == RESTORED


def test_planning_changes_nothing(start: Start) -> None:
    start().cell("rows = [1]")
    kernel = start()

    plan = kernel.plan("rows = [1]")

    assert isinstance(plan, Restore)
    assert "rows" not in kernel.live
    assert len(kernel.engine.journal.checkpoints(kernel.session.open().execution)) == 1


def test_a_restored_step_records_what_it_was_restored_from(start: Start) -> None:
    first = start()
    first.cell("rows = [1]")
    second = start()
    second.cell("rows = [1]")
    third = start()
    third.cell("rows = [1]")

    assert third.last.draft.status is CheckpointStatus.RESTORED
    assert third.last.draft.origin == second.last.draft.origin == first.last.seq


# What a commit holds


def test_shared_objects_stay_shared(start: Start) -> None:
    start().cell("a = [0]\nb = {'a': a}\nc = (a, b)")
    kernel = start()

    kernel.cell("a = [0]\nb = {'a': a}\nc = (a, b)")
    kernel["a"].append(1)

    assert kernel["b"]["a"] is kernel["a"] is kernel["c"][0]
    assert kernel["c"][1] is kernel["b"]


def test_names_that_were_deleted_are_gone(start: Start) -> None:
    start().cells("a = [0]\nb = a", "del a")
    kernel = start()

    kernel.cells("a = [0]\nb = a", "del a")

    assert "a" not in kernel.live
    assert kernel["b"] == [0]


def test_a_plain_cells_changes_are_in_the_next_commit(start: Start) -> None:
    first = start()
    first.plain("rows = [1]")
    first.cell("other = 1")
    first.plain("rows.append(2)\nlate = 1")
    first.cell("last = 1")
    kernel = start()

    kernel.session.resume()

    assert (kernel["rows"], kernel["late"], kernel["other"]) == ([1, 2], 1, 1)


def test_only_what_the_step_wrote_is_put_back_when_it_is_restored(start: Start) -> None:
    first = start()
    first.plain("rows = [1]")
    first.cell("other = 1")
    kernel = start()
    kernel.plain("rows = [7]")

    kernel.cell("other = 1")

    assert kernel["rows"] == [7]


def test_a_plain_value_is_carried_by_one_commit_only(start: Start) -> None:
    kernel = start()
    kernel.plain("rows = [1]")
    kernel.cell("a = 1")
    kernel.cell("b = 1")

    assert [group.names for group in kernel.last.draft.groups] == [("b",)]


def test_a_result_is_there_again(start: Start) -> None:
    start().cell("rows = [1]\nrows")
    start().cell("rows = [1]\nrows")
    named = start()
    named.cell("rows = [1]\nrows")
    assert named.session.result_of(named.last) is named["rows"]

    named.cell("[*rows, 2]")
    kernel = start()
    kernel.cells("rows = [1]\nrows", "[*rows, 2]")
    made = kernel.session.result_of(kernel.last)

    assert (kernel.ran, made) == ([], [1, 2])


def test_outputs_cost_and_tokens_are_recorded(start: Start) -> None:
    kernel = start()
    plan = kernel.plan("x = 1")
    kernel.session.begin(plan)
    shown = {"output_type": "stream", "name": "stdout", "text": "1\n"}

    checkpoint = kernel.session.commit(plan, Outcome([shown], None, 0.25, 7))

    assert checkpoint == kernel.engine.journal.checkpoint(checkpoint.seq)
    assert checkpoint.draft.outputs == (shown,)
    assert (checkpoint.draft.cost, checkpoint.draft.tokens) == (0.25, 7)


# Conditions


def test_a_list_that_is_appended_to_is_a_condition(start: Start) -> None:
    start().cells("rows = [1]", "rows.append(2)")
    kernel = start()

    assert kernel.cells("rows = [1]", "rows.append(2)") == [RESTORED, RESTORED]
    assert kernel["rows"] == [1, 2]
    assert kernel.cell("rows.append(2)") == RAN
    assert kernel["rows"] == [1, 2, 2]


def test_an_alias_that_would_be_left_behind_makes_the_step_run(start: Start) -> None:
    start().cells("rows = [1]", "rows.append(2)")
    kernel = start()
    kernel.plain("rows = [1]\nother = rows")

    assert kernel.cell("rows.append(2)") == RAN
    assert kernel["other"] is kernel["rows"]


def test_a_name_that_was_only_perhaps_bound_is_a_condition(start: Start) -> None:
    source = "if len(str(limit)) > 1:\n    mode = 'long'"
    first = start()
    first.plain("limit = 1\nmode = 'short'")
    first.cell(source)
    kernel = start()
    kernel.plain("limit = 1\nmode = 'other'")

    assert kernel.cell(source) == RAN
    assert kernel["mode"] == "other"


def test_a_name_bound_for_certain_is_restored_though_its_value_did_not_change(start: Start) -> None:
    first = start()
    first.plain("mode = 'short'")
    first.cell("mode = 'short'")
    kernel = start()
    kernel.plain("mode = 'other'")

    assert kernel.cell("mode = 'short'") == RESTORED
    assert kernel["mode"] == "short"


def test_a_changed_file_makes_the_step_run_again(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("1")
    source = f"with open({str(file)!r}) as f:\n    n = f.read()"
    start().cell(source)
    kernel = start()
    assert isinstance(kernel.plan(source), Restore)

    file.write_text("2")

    assert kernel.cell(source) == RAN
    assert kernel["n"] == "2"


def test_a_file_it_depends_on_is_part_of_the_key(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("1")
    source = f"%%checkpoint load --depends '{file}'\nn = 1"
    start().cell(source)
    kernel = start()
    assert isinstance(kernel.plan(source), Restore)

    file.write_text("2")

    assert isinstance(kernel.plan(source), Run)


def test_a_file_it_depends_on_has_to_exist(start: Start, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        start().plan(f"%%checkpoint load --depends '{tmp_path / 'no.csv'}'\nn = 1")

    assert refused.value.kind == "unknown-file"


def test_a_seeded_draw_counts_only_from_the_same_state(start: Start) -> None:
    seed, draw = "import random\nrandom.seed(3)", "x = random.random()"
    first = start()
    first.cells(seed, draw)
    kernel = start()

    assert kernel.cells(seed, draw) == [RESTORED, RESTORED]
    assert kernel["x"] == first["x"]
    follows = random.random()

    other = start()
    assert other.cells("import random\nrandom.seed(4)", draw) == [RAN, RAN]
    assert other["x"] != first["x"]

    again = start()
    again.cells(seed, draw)
    assert random.random() == follows


def test_an_unseeded_draw_is_restored_whatever_the_generator_stands_at(start: Start) -> None:
    first = start()
    first.cells("import random", "x = random.random()")
    kernel = start()
    random.random()

    assert kernel.cells("import random", "x = random.random()") == [RESTORED, RESTORED]
    assert kernel["x"] == first["x"]


# Functions and classes


def test_an_instance_belongs_to_the_class_that_was_restored(start: Start) -> None:
    cells = "class Model:\n    pass", "model = Model()\nmodel.w = 1"
    start().cells(*cells)
    kernel = start()

    assert kernel.cells(*cells) == [RESTORED, RESTORED]
    assert type(kernel["model"]) is kernel["Model"]
    assert kernel["model"].w == 1


def test_an_instance_belongs_to_the_class_the_notebook_defined_anew(start: Start) -> None:
    first = start()
    first.plain("class Model:\n    def w(self):\n        return 1")
    first.cell("model = Model()")
    kernel = start()
    kernel.plain("class Model:\n    def w(self):\n        return 1")

    assert kernel.cell("model = Model()") == RESTORED
    assert type(kernel["model"]) is kernel["Model"]


def test_a_restored_function_sees_the_live_names(start: Start) -> None:
    cells = "factor = 2", "def times(x):\n    return factor * x"
    start().cells(*cells)
    kernel = start()

    kernel.cells(*cells)
    kernel.plain("factor = 5")

    assert kernel["times"](3) == 15
    assert kernel["times"].__globals__ is kernel.live


@pytest.mark.parametrize(
    ("cells", "expression"),
    [
        (["def f():\n    pass", "g = f", "kept = [g]"], "kept[0] is f is g"),
        (["def f():\n    pass", "kept = [f]", "g = f"], "kept[0] is f is g"),
        (["def f():\n    pass\nkept = [f]", "def f():\n    pass\nkept = [f]"], "kept[0] is f"),
        (["class C:\n    pass", "D = C", "kept = C()", "other = D()"], "type(kept) is type(other) is C is D"),
        (["def f():\n    pass", "kept = [f]", "f.note = 1"], "kept[0] is f and f.note == 1"),
        (
            [
                "rows = [1]\nb = 0\ndef f(v=rows):\n    return v",
                "kept = [f]",
                "b = (1, rows)",
                "b = (1, rows)",
            ],
            "kept[0] is f and f() is rows is b[1]",
        ),
    ],
)
def test_who_refers_to_a_function_or_class_still_does(
    start: Start, cells: list[str], expression: str
) -> None:
    first = start()
    first.cells(*cells)
    assert eval(expression, first.live)
    kernel = start()

    assert kernel.cells(*cells, *cells[-2:]) is not None
    assert eval(expression, kernel.live)


@pytest.mark.parametrize(
    ("cells", "expression"),
    [
        (["def f():\n    pass", "kept = [f]", "g = f"], "kept[0] is f is g"),
        (["def f():\n    pass", "g = f", "kept = [g]", "f.note = 1"], "kept[0] is f is g"),
        (["def f():\n    pass", "g = f", "kept = [g]", "def f():\n    return 1"], "kept[0] is g is not f"),
        (["def f():\n    pass", "kept = [f]", "def f():\n    return 1"], "kept[0]() is None and f() == 1"),
        (["class C:\n    pass", "D = C", "kept = D()", "C = 1"], "type(kept) is D"),
    ],
)
def test_one_function_or_class_is_one_object_after_a_resume(
    start: Start, cells: list[str], expression: str
) -> None:
    first = start()
    first.cells(*cells)
    assert eval(expression, first.live)
    kernel = start()

    kernel.session.resume()

    assert eval(expression, kernel.live)


def test_a_function_stored_with_its_alias_is_met_by_the_live_one(start: Start) -> None:
    first = start()
    first.plain("def f():\n    pass\ng = f")
    first.cell("kept = [f]")
    kernel = start()
    kernel.plain("def f():\n    pass\ng = f")

    assert kernel.cell("kept = [f]") == RESTORED
    assert kernel["kept"][0] is kernel["f"]


# Failures


def test_a_failure_is_never_restored(start: Start) -> None:
    first = start()
    first.plain("zero = 0")
    with pytest.raises(ZeroDivisionError):
        first.cell("x = 1 / zero")
    kernel = start()
    kernel.plain("zero = 0")

    with pytest.raises(ZeroDivisionError):
        kernel.cell("x = 1 / zero")

    recorded = kernel.engine.journal.checkpoints(kernel.session.open().execution)
    assert [step.draft.status for step in recorded] == [CheckpointStatus.FAILED] * 2
    assert recorded[0].draft.error == {"ename": "ZeroDivisionError", "evalue": "division by zero"}


def test_what_a_failed_cell_did_is_undone_before_it_runs_again(start: Start) -> None:
    kernel = start()
    kernel.cell("rows = [1]\nready = False", step="a")
    source = "rows.append(2)\nif not ready: raise ValueError('not yet')"
    with pytest.raises(ValueError, match="not yet"):
        kernel.cell(source, step="b")
    assert kernel["rows"] == [1, 2]
    kernel.plain("ready = True")

    kernel.cell(source, step="b")

    assert kernel["rows"] == [1, 2]


@pytest.mark.parametrize(("fails", "status"), [(True, "interrupted"), (False, "completed")])
def test_a_kernel_that_ends_on_a_failed_step_leaves_the_execution_interrupted(
    start: Start, fails: bool, status: str
) -> None:
    kernel = start()
    kernel.cell("x = 1")
    if fails:
        with pytest.raises(NameError):
            kernel.cell("y = nothing")
    execution = kernel.session.open().execution

    kernel.session.close()

    assert kernel.engine.journal.execution(execution).status == ExecutionStatus(status)


# What cannot be stored


def test_what_cannot_be_stored_is_a_marker_after_the_restore(start: Start) -> None:
    source = "gen = (i for i in range(3))\nrows = [1]"
    first = start()
    first.cell(source)
    kernel = start()

    kernel.cell(source)

    assert "gen" in next(g for g in first.last.draft.groups if "gen" in g.names).unstorable
    assert list(kernel.restored.lost) == ["gen"]
    assert is_marker(kernel["gen"])
    assert kernel["rows"] == [1]


def test_a_step_that_reads_a_marker_is_refused_before_it_runs(start: Start) -> None:
    start().cell("gen = (i for i in range(3))")
    kernel = start()
    kernel.cell("gen = (i for i in range(3))")

    with pytest.raises(UnstorableError, match="`gen`") as refused:
        kernel.cell("x = next(gen)")

    assert refused.value.kind == "reads-marker"
    assert kernel.ran == []


def test_a_step_that_reads_a_container_with_a_marker_inside_runs_and_says_so(start: Start) -> None:
    source = "cfg = {'conn': (i for i in range(3)), 'n': 1}"
    start().cell(source)
    kernel = start()
    kernel.cell(source)

    kernel.cell("report = cfg['n']")

    assert any("`cfg` was read with a generator inside missing" in note for note in kernel.session.notes())
    assert kernel["report"] == 1


def test_objects_die_in_a_step_when_they_would_have_died_without_us(start: Start) -> None:
    kernel = start()
    # What is dead and not yet swept out of a weak dict would count as a difference.
    off = replace(kernel.engine.settings, paranoid=False)
    kernel.session.engine = replace(kernel.engine, settings=off)
    kernel.cell(
        "import weakref\nclass O: pass\nheld = [O(), O()]\none = O()\n"
        "seen = weakref.WeakValueDictionary(enumerate([*held, one]))"
    )

    kernel.cell("held.pop()\nafter_pop = len(seen)\none = None\nafter_rebinding = len(seen)")

    assert (kernel["after_pop"], kernel["after_rebinding"]) == (2, 1)


def test_a_step_that_sets_the_environment_or_folder_it_names_is_not_run_twice(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RATE_OF_TEST", raising=False)
    cells = (
        "import os\nos.environ['RATE_OF_TEST'] = 'false'\nx = 1",
        "os.makedirs('deep', exist_ok=True)\nos.chdir('deep')\ny = os.getcwd()",
    )
    kernel = start()
    kernel.cell(cells[0], step="a")

    assert kernel.cell(cells[0], step="a") == RESTORED

    kernel.cell(cells[1], step="b")
    assert kernel.cell(cells[1], step="b") == RESTORED
    monkeypatch.setenv("RATE_OF_TEST", "other")
    assert kernel.cell(cells[0], step="a") == RAN


def test_the_source_of_a_project_module_is_no_file_that_the_first_step_read(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "helpers_of_test.py").write_text("n = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    kernel = start()
    kernel.plain("import helpers_of_test")
    plan = kernel.plan("m = 1")
    kernel.session.begin(plan)
    kernel.live["m"] = 1

    kernel.session.saw_imports()
    kernel.session.commit(plan, Outcome())

    assert not [what for what in kernel.last.draft.conditions if "helpers_of_test" in what]
    assert not kernel.last.draft.files


@pytest.mark.parametrize(
    ("make", "use", "also"),
    [
        ("rows = [1]", "rows.append(9)\n1 / 0", "rows.insert(0, 0)"),
        ("rows = {'a': 1}", "rows['b'] = 2\n1 / 0", "rows['c'] = 3"),
        ("rows = (n for n in range(9))", "next(rows)\n1 / 0", "next(rows)"),
        ("class A: pass\nrows = A()", "rows.n = [1]\n1 / 0", "rows.n.append(2)"),
    ],
)
def test_what_a_failed_step_and_a_cell_after_it_both_changed_is_refused(
    start: Start, make: str, use: str, also: str
) -> None:
    kernel = start()
    kernel.cell(make)
    with pytest.raises(ZeroDivisionError):
        kernel.cell(use, step="bad")
    kernel.plain(also)

    with pytest.raises(ConflictError, match="`rows`, which was changed again since") as refused:
        kernel.cell(use.replace("1 / 0", ""), step="bad")

    assert refused.value.kind == "half-done"
    kernel.session.failures.keep()
    assert kernel.cell(use.replace("1 / 0", ""), step="bad") == RAN


def test_what_a_cell_put_right_by_hand_after_a_failure_is_no_conflict(start: Start) -> None:
    kernel = start()
    kernel.cell("rows = [1]")
    with pytest.raises(ZeroDivisionError):
        kernel.cell("rows.append(9)\n1 / 0", step="bad")
    kernel.plain("rows.pop()")

    kernel.cell("rows.append(9)", step="bad")

    assert kernel["rows"] == [1, 9]


def test_resume_at_a_checkpoint_takes_away_what_was_recorded_after_it(start: Start) -> None:
    kernel = start()
    kernel.cells("%%checkpoint a\nx = 1", "%%checkpoint b\ny = 2")
    kernel.plain("own = 3")

    kernel.session.resume(at="a")

    assert {"x", "y", "own"} & kernel.live.keys() == {"x", "own"}


def test_a_module_beside_the_notebook_is_found_after_a_step_left_the_folder(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside_of_test.py").write_text("def k(): return 7\n")
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *sys.path])
    start().cells("import beside_of_test", "import os\nos.chdir('deep')", "x = beside_of_test.k()")
    os.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "beside_of_test")

    kernel = start()
    report = kernel.session.resume()

    assert (kernel["beside_of_test"].k(), kernel["x"], Path.cwd()) == (7, 7, tmp_path / "deep")
    assert not report.restored.problems
    assert str(tmp_path) not in sys.path


def test_what_a_widget_or_thread_changed_between_two_steps_is_seen(start: Start) -> None:
    kernel = start()
    kernel.cells("level = 1\nrows = [1]", "total = level + sum(rows)")

    kernel.live["level"] = 5  # as a slider's callback does: no cell has run
    kernel["rows"].append(7)

    assert kernel.cell("total = level + sum(rows)") == RAN
    assert kernel["total"] == 13


def test_a_step_on_record_that_read_what_could_not_be_stored_is_restored(start: Start) -> None:
    cells = (
        "import sqlite3\ncon = sqlite3.connect(':memory:')\ncon.execute('create table t (a)')\nn = 1",
        "con.execute('insert into t values (1)')\nrows = con.execute('select * from t').fetchall()",
        "total = len(rows) + n",
    )
    start().cells(*cells)
    kernel = start()

    assert kernel.cells(*cells) == [RESTORED] * 3
    assert is_marker(kernel["con"])
    assert (kernel["rows"], kernel["total"]) == ([(1,)], 2)


@pytest.mark.parametrize(
    "source",
    [
        "import sqlite3\ncon = sqlite3.connect(':memory:')\ncon.execute('create table t (a)')",
        "import sqlite3\n_con = sqlite3.connect(':memory:')\n_con.execute('create table t(a)')\nuse = [_con]",
    ],
)
def test_a_step_that_uses_an_object_whose_state_cannot_be_read_runs_again_by_hand(
    start: Start, source: str
) -> None:
    kernel = start()
    kernel.plain(source)
    con = "con" if "use" not in source else "use[0]"
    count = f"{con}.execute('insert into t values (1)')\nn = {con}.execute('select sum(a) from t').fetchone()"

    first, second = (kernel.cell(count, step="count") for _ in range(2))

    assert (first, second) == (RAN, RAN)
    assert kernel["n"] == (2,)


def test_a_marker_stands_for_the_object_as_each_step_left_it(start: Start) -> None:
    source, use = "gen = (i for i in range(9))", "x = next(gen)"
    first = start()
    first.cell(source)
    for _ in range(3):
        first.cell(use, step="use")
    kernel = start()
    kernel.cell(source)

    found = [(kernel.cell(use, step="use"), kernel["x"]) for _ in range(3)]

    assert found == [(RESTORED, 0), (RESTORED, 1), (RESTORED, 2)]


def test_a_function_that_reads_a_marker_is_refused_too(start: Start) -> None:
    cells = "gen = (i for i in range(3))", "def first():\n    return next(gen)"
    start().cells(*cells)
    kernel = start()
    kernel.session.resume()

    with pytest.raises(UnstorableError, match="`gen`"):
        kernel.plan("x = first()")


def test_strict_refuses_to_commit_what_cannot_be_stored(start: Start) -> None:
    kernel = start()

    with pytest.raises(UnstorableError, match="`gen`") as refused:
        kernel.cell("%%checkpoint load --strict\ngen = (i for i in range(3))")

    assert refused.value.kind == "unstorable-value"
    assert kernel.engine.journal.checkpoints(kernel.session.open().execution) == []


def test_a_commit_that_fails_before_it_begins_is_undone_before_its_cell_runs_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = start()
    kernel.cell("rows = [1]", step="a")

    with monkeypatch.context() as broken:
        broken.setattr(kernel.session, "saw_imports", _no_disk)
        with pytest.raises(OSError, match="no space"):
            kernel.cell("%%checkpoint add --retries 1\nrows.append(2)", step="b")
    notes = [note.read_bytes() for note in (kernel.home / "running").iterdir()]
    kernel.cell("%%checkpoint add --retries 1\nrows.append(2)", step="b")

    assert kernel["rows"] == [1, 2]
    assert notes == [b""]


def _no_disk() -> None:
    raise OSError("no space left")


def test_an_excluded_name_is_not_stored(start: Start) -> None:
    start().cell("%%checkpoint load --exclude rows\nrows = [1]\ntotal = 1")
    kernel = start()

    kernel.session.resume()

    assert is_marker(kernel["rows"])
    assert kernel["total"] == 1


# Names


def test_two_live_cells_cannot_have_one_name(start: Start) -> None:
    kernel = start()
    kernel.cell("%%checkpoint load\nx = 1", step="a")

    with pytest.raises(UsageError, match="`load`") as refused:
        kernel.cell("%%checkpoint load\ny = 1", step="b")

    assert refused.value.kind == "duplicate-name"


def test_a_deleted_cells_name_is_free_again(start: Start) -> None:
    kernel = start()
    kernel.cell("%%checkpoint load\nx = 1", step="a")

    kernel.cell("%%checkpoint load\ny = 1", step="b", deleted=["cell:a"])

    assert kernel.last.draft.name == "load"


def test_an_unnamed_cell_keeps_its_name(start: Start) -> None:
    first = start()
    first.cell("rows = 1", step="a")
    first.cell("rows = 2", step="b")
    names = [first.last.draft.name]
    kernel = start()
    kernel.cell("rows = 2", step="b")
    names.append(kernel.last.draft.name)
    kernel.cell("columns = 2", step="b")
    names.append(kernel.last.draft.name)

    assert names == ["rows-2"] * 3


# Headless


def headless(start: Start) -> Kernel:
    return start(marked_only=False)


def test_headless_an_unmarked_cell_is_restored_within_its_execution_only(start: Start) -> None:
    headless(start).cell("x = 1")
    resumed = headless(start)

    assert resumed.cell("x = 1") == RESTORED

    resumed.session.close()
    later = headless(start)
    assert later.cell("x = 1") == RAN


def test_headless_a_marked_cell_is_restored_from_earlier_executions(start: Start) -> None:
    first = headless(start)
    first.cell("%%checkpoint load\nx = 1")
    first.session.close()
    later = headless(start)

    assert later.cell("%%checkpoint load\nx = 1") == RESTORED


@pytest.mark.parametrize(("options", "became"), [("", RAN), (" --reuse", RESTORED)])
def test_headless_what_touched_the_outside_is_restored_elsewhere_only_when_asked(
    start: Start, options: str, became: str
) -> None:
    source = f"%%checkpoint load{options}\nimport os\nos.system('true')\nx = 1"
    first = headless(start)
    first.cell(source)
    assert first.last.draft.outside == ("process",)
    assert headless(start).cell(source) == RESTORED  # the same execution
    headless(start).session.close()

    later = headless(start)

    assert later.cell(source) == became


def test_interactive_what_touched_the_outside_is_restored_from_an_earlier_execution(start: Start) -> None:
    source = "import os\nos.system('true')"
    first = start()
    first.cell(source)
    first.session.close()

    assert start().cell(source) == RESTORED


# The lease


def test_a_second_kernel_is_refused_while_the_first_lives(start: Start, tmp_path: Path) -> None:
    start().cell("x = 1")
    second = Kernel(tmp_path / "home")

    with pytest.raises(ConflictError) as refused:
        second.cell("x = 1")

    assert refused.value.kind == "execution-held"
    assert second.ran == []
    second.stop()


def test_a_kernel_that_was_taken_over_commits_nothing(start: Start) -> None:
    first = start()
    first.cell("x = 1")
    plan = first.plan("y = 1")
    first.session.begin(plan)
    second = start()

    with pytest.raises(ConflictError) as refused:
        first.session.commit(plan, Outcome())

    assert refused.value.kind == "superseded"
    names = [c.draft.name for c in second.engine.journal.checkpoints(second.session.open().execution)]
    assert names == ["x"]


# Resume


def test_resume_puts_everything_back(start: Start) -> None:
    start().cells("a = [1]\nb = a", "def f():\n    return len(a)", "a.append(2)", "del b")
    kernel = start()

    report = kernel.session.resume()

    assert {name for name in kernel.live if name[:2] != "__"} == {"a", "f"}
    assert (kernel["a"], kernel["f"]()) == ([1, 2], 2)
    assert (report.restored.names, report.steps, kernel.ran) == (["a", "f"], 4, [])
    assert report.saved_duration == sum(
        step.draft.duration for step in kernel.engine.journal.line(report.checkpoint.seq)
    )


def test_resume_at_a_checkpoint_gives_the_namespace_as_of_it(start: Start) -> None:
    start().cells("%%checkpoint one\na = [1]", "%%checkpoint two\na.append(2)\nb = 1")
    kernel = start()

    report = kernel.session.resume(at="one")

    assert report.checkpoint.draft.name == "one"
    assert kernel["a"] == [1]
    assert "b" not in kernel.live
    kernel.cell("%%checkpoint three\nc = 1")
    assert kernel.last.draft.parent == report.checkpoint.seq


def test_resume_takes_away_what_the_line_deleted(start: Start) -> None:
    start().cells("a = 1\nb = 1", "del b")
    kernel = start()
    kernel.plain("b = 'of another cell'\nc = 'mine'")

    kernel.session.resume()

    assert "b" not in kernel.live
    assert (kernel["a"], kernel["c"]) == (1, "mine")


def test_resume_goes_to_an_old_step_that_was_restored_last(start: Start) -> None:
    start().cell("a = 1", step="one")
    kernel = start()
    kernel.cell("a = 1", step="one")
    kernel.cell("a = 2", step="two")
    kernel.cell("a = 1", step="one")
    last = start()

    last.session.resume()

    assert last["a"] == 1


def test_a_kernel_that_restored_a_little_does_not_hide_what_ran_before_it(start: Start) -> None:
    start().cells("a = 1", "b = 2")
    start().cell("a = 1")
    kernel = start()

    kernel.session.resume()

    assert (kernel["a"], kernel["b"]) == (1, 2)


def test_after_a_resume_the_steps_after_it_find_their_records(start: Start) -> None:
    first = start()
    first.cells("rows = [1]", "rows.append(2)", "total = sum(rows)")
    kernel = start()
    kernel.session.resume()

    assert kernel.cell("total = sum(rows)") == RESTORED


def test_resume_leaves_what_failed_out(start: Start) -> None:
    first = start()
    first.cell("rows = [1]")
    with pytest.raises(NameError):
        first.cell("rows.append(2)\nnothing")
    kernel = start()

    kernel.session.resume()

    assert kernel["rows"] == [1]


@pytest.mark.parametrize(("at", "kind"), [(None, "no-checkpoint"), ("load", "no-checkpoint")])
def test_resume_without_a_commit_says_so(start: Start, at: str | None, kind: str) -> None:
    kernel = start()
    kernel.session.open()

    with pytest.raises(NotFoundError) as refused:
        kernel.session.resume(at=at)

    assert refused.value.kind == kind


def test_resume_at_an_unknown_checkpoint_names_the_known_ones(start: Start) -> None:
    kernel = start()
    kernel.cell("%%checkpoint load\nx = 1")

    with pytest.raises(NotFoundError, match=r"`lod`.*`load`") as refused:
        kernel.session.resume(at="lod")

    assert refused.value.kind == "unknown-checkpoint"


def test_resume_of_a_notebook_without_a_record_says_so(start: Start) -> None:
    with pytest.raises(NotFoundError) as refused:
        start().session.resume()

    assert refused.value.kind == "unknown-execution"


def test_a_damaged_value_costs_its_own_names_only_and_is_named(start: Start) -> None:
    first = start()
    first.cells("import os\nbig = os.urandom(1 << 20)", "small = [1]")
    pack = next(path for path in first.engine.settings.home.joinpath("store").rglob("*") if path.is_file())
    pack.chmod(0o600)
    pack.write_bytes(b"\0" * pack.stat().st_size)
    kernel = start()

    with pytest.raises(CorruptError, match="`big`") as refused:
        kernel.session.resume()

    assert refused.value.kind == "corrupt-artifact"
    assert kernel["small"] == [1]
    assert is_marker(kernel["big"])


def test_a_damaged_step_is_not_restored_and_the_namespace_stays(start: Start) -> None:
    source = "import os\nbig = os.urandom(1 << 20)\nsmall = [1]"
    first = start()
    first.cell(source)
    pack = next(path for path in first.engine.settings.home.joinpath("store").rglob("*") if path.is_file())
    pack.chmod(0o600)
    pack.write_bytes(b"\0" * pack.stat().st_size)
    kernel = start()
    kernel.plain("small = 'mine'")

    with pytest.raises(CorruptError):
        kernel.cell(source)

    assert (kernel["small"], "big" in kernel.live) == ("mine", False)


def test_a_session_in_a_workers_attempt_neither_takes_nor_gives_back_the_lease(start: Start) -> None:
    worker = start()
    attempt = worker.session.open()
    kernel = start(attempt=attempt, marked_only=False)

    kernel.cell("x = 1")
    kernel.session.close()

    execution = worker.engine.journal.execution(attempt.execution)
    assert (execution.status, execution.epoch) == (ExecutionStatus.RUNNING, attempt.epoch)


def test_what_a_step_connects_to_is_noticed(start: Start) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    kernel = start()

    kernel.cell(f"import socket\nsocket.create_connection(('127.0.0.1', {port})).close()")
    outside = kernel.last.draft.outside
    kernel.cell("x = 1")
    server.close()

    assert outside == ("network",)
    assert kernel.last.draft.outside == ()


def test_a_cell_is_handed_in_without_its_directive() -> None:
    cell = cell_of("%%checkpoint load\nx = 1")

    assert cell.directive is not None
    assert (cell.directive.name, len(cell.tree.body)) == ("load", 1)


def test_names_with_double_underscores_are_the_users_unless_python_binds_them(start: Start) -> None:
    cells = ("import __main__\n__version__ = '1'\n__author__ = ['a']", "__author__.append('b')")
    first = start()
    for number, cell in enumerate(cells):
        first.cell(cell, step=str(number))
    resumed = start()
    resumed.session.resume()
    second = start()

    became = [second.cell(cell, step=str(number)) for number, cell in enumerate(cells)]

    assert became == [RESTORED] * 2
    for kernel in (resumed, second):
        assert (kernel["__version__"], kernel["__author__"]) == ("1", ["a", "b"])
        assert kernel["__main__"] is sys.modules["__main__"]
        assert kernel["__name__"] == "__main__"


def test_a_cell_that_may_read_any_name_reads_those_with_double_underscores(start: Start) -> None:
    cell = "eval('__ver' + 'sion__')"
    kernel = start()
    kernel.plain("__version__ = '1'")
    kernel.cell(cell, step="a")
    assert kernel.cell(cell, step="a") == RESTORED

    kernel.plain("__version__ = '2'")

    assert kernel.cell(cell, step="a") == RAN


def test_of_two_cells_that_had_one_name_each_can_be_gone_back_to(start: Start) -> None:
    start().cell("%%checkpoint load\nx = 1", step="deleted")
    kernel = start()
    kernel.session.resume()
    kernel.cell("%%checkpoint load\nx = 2", step="new")

    seen = []
    for at in ("load#1", "load#2", "load"):
        kernel.session.rewind(at)
        seen.append(kernel["x"])

    assert seen == [1, 2, 2]
    with pytest.raises(NotFoundError):
        kernel.session.rewind("load#3")


def test_what_a_step_could_have_changed_dies_when_it_is_given_up_after_it(start: Start) -> None:
    kernel = start()
    kernel.cell("import numpy as np\nrows = np.ones(100)\nparts = [[1], [2]]", step="make")
    kernel.cell("total = rows.sum() + len(parts)", step="read")
    kernel.session.leave_scope(plain=False, completed=False)
    rows = weakref.ref(kernel["rows"])

    kernel.session.saw("del rows, parts")
    del kernel.live["rows"], kernel.live["parts"]

    assert rows() is None
