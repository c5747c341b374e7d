"""Failed steps: undone wholly, or not at all and said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kitaru_nb.engine.session import Outcome
from kitaru_nb.errors import ConflictError
from tests.unit.engine.kernel import Start, run_source


def test_a_try_that_cannot_be_undone_is_left_as_it_was_and_asked_about(start: Start) -> None:
    kernel = start()
    kernel.cell("lines = (i for i in range(5)); read = []; n = 0")
    source = "%%checkpoint x --retries 2\nread.append(next(lines)); n += 1; 1/0"
    plan = kernel.plan(source)
    kernel.session.begin(plan)
    with pytest.raises(ZeroDivisionError) as raised:
        run_source(plan.pending.cell.tree, kernel.live)

    undone = kernel.session.undo_try(plan, raised.value, Outcome())

    assert not undone
    assert (kernel["read"], kernel["n"]) == ([0], 1)
    with pytest.raises(ConflictError, match="cannot be put back"):
        kernel.plan(source)
    assert (kernel["read"], kernel["n"]) == ([0], 1)


def test_a_name_bound_anew_where_nothing_was_kept_is_not_passed_over(start: Start) -> None:
    kernel = start()
    kernel.cell("import weakref\nclass W: pass\nw = W(); ref = weakref.ref(w); n = 0")
    with pytest.raises(ZeroDivisionError):
        kernel.cell("w; n += 1; 1/0", step="q")

    with pytest.raises(ConflictError, match="`n`"):
        kernel.plan("w; n += 1; 1/0", step="q")


def test_what_cannot_be_stored_does_not_keep_the_rest_from_being_undone(start: Start) -> None:
    kernel = start()
    kernel.cell("class C:\n    def __reduce__(self): raise TypeError\nc = C(); c.n = [0]; read = []")
    with pytest.raises(ZeroDivisionError):
        kernel.cell("c.n[0] += 1; read.append(c.n[0]); 1/0", step="q")

    kernel.cell("c.n[0] += 1; read.append(c.n[0])", step="q")

    assert kernel["read"] == [1]


def test_what_cannot_be_looked_into_is_named_where_a_failed_step_may_have_changed_it(start: Start) -> None:
    kernel = start()
    kernel.cell("import re\nfound = re.compile('a').scanner('aaaa'); other = [1]")
    with pytest.raises(ZeroDivisionError):
        kernel.cell("found.search(); other.append(2); 1/0", step="q")

    kernel.cell("found.search(); other.append(2)", step="q")

    (said,) = kernel.session.notes()
    assert said.startswith("`found` may hold what the failed run of ")
    assert kernel["other"] == [1, 2]


def test_looking_at_a_partial_before_a_step_leaves_it_as_it_was(start: Start) -> None:
    kernel = start()
    kernel.plain("import functools\nhalf = functools.partial(int, base=2)")

    with pytest.raises(ValueError, match="broken"):
        kernel.cell("%%checkpoint a\nx = half('10')\nraise ValueError('broken')", step="a")

    assert kernel.cell("%%checkpoint a\nx = half('10')", step="a") == "completed"
    assert kernel["x"] == 2


def test_what_a_step_set_in_libraries_and_in_modules_of_the_project_is_undone(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project_half.py").write_text("N = 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    kernel = start()
    kernel.cell("import string, project_half\nstring.kt_list = []")
    body = (
        "project_half.N += 1; string.kt_count = getattr(string, 'kt_count', 0) + 1; string.kt_list.append(1)"
    )
    with pytest.raises(ZeroDivisionError):
        kernel.cell(f"{body}; 1/0", step="q")

    assert kernel.cell(body, step="q") == "completed"

    assert kernel.plain("found = project_half.N, string.kt_count, string.kt_list") is None
    assert kernel["found"] == (1, 1, [1])
    kernel.plain("del string.kt_list, string.kt_count")
    del sys.modules["project_half"]
