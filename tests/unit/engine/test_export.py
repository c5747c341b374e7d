"""An execution goes to a colleague in a file: all of it, with its id, and nothing of theirs is changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import kitaru_nb
from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.cli.main import main
from kitaru_nb.cli.resume import _all_resumable, _newest
from kitaru_nb.engine import importing
from kitaru_nb.engine.export import export_execution
from kitaru_nb.engine.gc import Policy, collect
from kitaru_nb.errors import (
    ConflictError,
    NotFoundError,
    StoreError,
    UntrustedError,
    UsageError,
)
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.flows import here
from kitaru_nb.stacks.keys import CONFIG
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.testing import a_draft
from tests.unit.engine.people import ARRAY, CELLS, LOAD, People, members, told


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> People:
    return People(tmp_path, monkeypatch)


def test_an_execution_arrives_with_its_id_its_steps_and_its_values(people: People) -> None:
    theirs = people.runs("ana", *CELLS)
    path = people.exports("ana", theirs)
    key = people.be("ana").public

    found = people.imports("ben", path)

    assert found.executions == {theirs: True}
    assert (found.checkpoints, found.key) == (4, key)
    assert found.signers == {key: (4, False)}
    assert [c.draft for c in people.steps("ben", theirs)] == [c.draft for c in people.steps("ana", theirs)]
    people.be("ben").trust(key)
    assert kitaru_nb.load("rows", execution=theirs) == [[1], [2]]
    assert kitaru_nb.load("point", execution=theirs).x == 8
    assert kitaru_nb.load("array", execution=theirs).sum() == sum(range(200_000))


def test_what_nobody_trusted_signed_is_looked_at_and_not_loaded(people: People) -> None:
    theirs = people.runs("ana", *CELLS)
    people.imports("ben", people.exports("ana", theirs))

    assert main(["show", theirs]) == 0
    assert main(["artifacts", theirs, "--json"]) == 0
    assert kitaru_nb.load("number", execution=theirs) == 7
    assert kitaru_nb.load("array", execution=theirs)[-1] == 199_999
    key = people.be("ana").public
    people.be("ben")
    with pytest.raises(UntrustedError, match="`rows` of checkpoint `load` is not loaded") as refused:
        kitaru_nb.load("rows", execution=theirs)
    assert f"kitaru-nb trust {key}" in refused.value.hint
    assert kitaru_nb.load("rows", execution=theirs, trust=True) == [[1], [2]]


def test_resuming_it_brings_back_what_is_trusted_and_goes_on_under_its_id(people: People) -> None:
    theirs = people.runs("ana", *CELLS)
    people.imports("ben", people.exports("ana", theirs))
    kernel = people.kernel("ben")

    with pytest.raises(UntrustedError, match="hold markers"):
        kernel.session.resume(theirs)
    assert is_marker(kernel["rows"])
    assert kernel["number"] == 7
    kernel.session.resume(theirs, trust=True)

    assert kernel["also"] is kernel["rows"][0]
    assert kernel["far"](kernel["point"]) == 15
    kernel.cell("%%checkpoint more\nmore = number + 1", step="c9")
    assert kernel.last.execution == theirs
    assert kernel.last.epoch == 2


def test_cells_that_a_resumed_import_holds_are_not_paid_again(people: People) -> None:
    theirs = people.runs("ana", *CELLS)
    path, key = people.exports("ana", theirs), people.be("ana").public
    people.imports("ben", path)
    people.be("ben").trust(key)
    kernel = people.kernel("ben")

    kernel.session.resume(theirs)

    assert [kernel.cell(source, step=f"c{n}") for n, source in enumerate(CELLS)] == ["restored"] * 4


def test_the_same_execution_gives_the_same_file_also_from_where_it_was_imported(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = people.runs("ana", *CELLS)
    first, second = people.exports("ana", theirs), people.exports("ana", theirs, to="y.kitaru")
    people.runs("ben", LOAD)
    people.imports("ben", first)
    assert main(["pin", theirs]) == 0
    monkeypatch.setenv(CONFIG, str(people.folder / "ana-config"))
    with closing(open_engine(Settings(home=people.home("ben")), read_only=True)) as engine:
        export_execution(engine, theirs, people.folder / "z.kitaru")

    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes() == (people.folder / "z.kitaru").read_bytes()
    assert first.stat().st_mode & 0o777 == 0o600
    assert not list(people.folder.glob(".*part"))


def test_a_folder_is_no_file_to_export_into(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = people.runs("ana", *CELLS)
    monkeypatch.chdir(people.folder)

    for folder in (".", "..", "ana"):
        with pytest.raises(UsageError, match="is a folder") as refused:
            people.exports("ana", theirs, to=str(people.folder / folder))
        assert f"/{theirs}.kitaru" in refused.value.hint
    assert main(["export", theirs, "."]) == 2


def test_importing_twice_is_harmless(people: People) -> None:
    theirs = people.runs("ana", *CELLS)
    path = people.exports("ana", theirs)
    people.imports("ben", path)
    before = people.records("ben")

    again = people.imports("ben", path)

    assert again.executions == {theirs: False}
    assert (again.checkpoints, again.artifacts) == (0, 0)
    assert people.records("ben") == before


def test_importing_it_where_it_was_recorded_is_harmless(people: People) -> None:
    theirs = people.runs("ana", LOAD)
    path = people.exports("ana", theirs)
    kernel = people.kernel("ana")
    kernel.session.resume(theirs)
    kernel.cell(ARRAY, step="c1")
    kernel.stop()
    before = people.records("ana")

    people.imports("ana", path)

    assert people.records("ana") == before


def test_an_execution_that_is_here_in_part_is_an_error(people: People) -> None:
    theirs = people.runs("ana", LOAD)
    people.imports("ben", people.exports("ana", theirs))
    kernel = people.kernel("ana")
    kernel.session.resume(theirs)
    kernel.cell(ARRAY, step="c1")
    kernel.stop()
    later = people.exports("ana", theirs, to="later.kitaru")
    before = people.records("ben")

    with pytest.raises(ConflictError, match="only an earlier part of it is here") as refused:
        people.imports("ben", later)

    assert refused.value.kind == "execution-differs"
    assert people.records("ben") == before


def test_an_execution_that_went_on_differently_in_two_places_is_an_error(people: People) -> None:
    theirs = people.runs("ana", LOAD)
    people.imports("ben", people.exports("ana", theirs))
    for name, source in (("ana", ARRAY), ("ben", "%%checkpoint other\nother = number")):
        kernel = people.kernel(name)
        kernel.session.resume(theirs, trust=True)
        kernel.cell(source, step="c1")
        kernel.stop()

    with pytest.raises(ConflictError, match="holds something else"):
        people.imports("ben", people.exports("ana", theirs, to="later.kitaru"))


def test_imported_work_meets_nobodys_own_cells(people: People) -> None:
    shared = people.folder / "work.ipynb"
    theirs = people.runs("ana", *CELLS, notebook=shared)
    own = people.runs("ben", "%%checkpoint load\nrows = 'mine'\nnumber = 7", notebook=shared)

    people.imports("ben", people.exports("ana", theirs))

    with closing(open_engine(Settings(home=people.home("ben")), read_only=True)) as engine:
        assert engine.journal.execution("latest").id == own
    kernel = people.kernel("ben", notebook=shared)
    assert kernel.cell("%%checkpoint load\nrows = 'mine'\nnumber = 7", step="c0") == "restored"
    assert kernel.cell(ARRAY, step="c1") == "completed", "theirs has the same key and is not asked for"


def test_resume_without_a_name_leaves_imported_work_alone(
    people: People, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = people.runs("ana", LOAD)
    people.imports("ben", people.exports("ana", theirs))

    assert main(["show"]) == 1
    assert theirs in capsys.readouterr().err
    with pytest.raises(NotFoundError):
        people.kernel("ben", notebook=people.folder / "ana" / "train.ipynb").session.resume()


def test_what_the_steps_were_built_on_in_another_execution_comes_along(people: People) -> None:
    people.runs("ana", LOAD)
    with closing(open_engine(Settings(home=people.home("ana")))) as engine:
        (first,) = engine.journal.every_checkpoint()
        engine.trust.require([first])
        identity = Identity(notebook="/elsewhere.ipynb")
        other, _ = engine.journal.start(identity, owner=current_owner())
        draft = replace(first.draft, name="built", parent=first.seq, groups=(), signature=None)
        engine.journal.commit(other, engine.trust.signed(draft, other.execution))

    found = people.imports("ben", people.exports("ana", other.execution))

    assert found.executions == {first.execution: True, other.execution: True}
    (built,) = people.steps("ben", other.execution)
    assert built.draft.parent == people.steps("ben", first.execution)[0].seq
    assert built.ordinal == 2


def test_records_alone_can_be_looked_at(people: People, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = people.runs("ana", *CELLS)
    path = people.exports("ana", theirs, values=False)
    assert members(path)["extents.bin"] == b""

    found = people.imports("ben", path)

    assert (found.values, found.artifacts, found.checkpoints) == (False, 0, 4)
    assert main(["show", theirs]) == 0
    assert "not in the file that it was imported from" in capsys.readouterr().out
    with pytest.raises(StoreError, match="not in the file") as refused:
        kitaru_nb.load("number", execution=theirs)
    assert refused.value.kind == "values-removed"


def test_values_that_gc_removed_are_not_exported_and_come_back_with_a_file(people: People) -> None:
    theirs = people.runs("ana", *CELLS)
    whole = people.exports("ana", theirs, to="whole.kitaru")
    with closing(open_engine(Settings(home=people.home("ana")))) as engine:
        collect(engine.journal, engine.store, Policy(0), now=datetime.now(UTC) + timedelta(days=1), grace=0)

    with pytest.raises(StoreError, match="cannot be exported") as refused:
        people.exports("ana", theirs)
    assert refused.value.kind == "values-removed"
    assert "--records" in refused.value.hint
    assert not (people.folder / "x.kitaru").exists()
    people.exports("ana", theirs, values=False)

    found = people.imports("ana", whole)
    assert found.executions == {theirs: False}
    assert found.artifacts > 0
    assert kitaru_nb.load("rows", execution=theirs) == [[1], [2]]
    assert kitaru_nb.load("array", execution=theirs)[9] == 9


def test_gc_keeps_what_was_imported_as_long_as_what_ended_then(people: People) -> None:
    theirs = people.runs("ana", *CELLS)
    path = people.exports("ana", theirs)
    people.imports("ben", path)
    now = datetime.now(UTC)
    with closing(open_engine(Settings(home=people.home("ben")))) as engine:
        ended = engine.journal.execution(theirs).ended_at
        arrived = engine.journal.guests()[theirs]
        assert ended is not None
        assert arrived > ended
        between = ended + (arrived - ended) / 2 + timedelta(days=1)

        kept = collect(engine.journal, engine.store, Policy(1), now=between, grace=0)
        gone = collect(engine.journal, engine.store, Policy(1), now=now + timedelta(days=2), grace=0)

    assert kept.artifacts == 0
    assert gone.executions.keys() == {theirs}


def test_gc_may_remove_what_an_import_leans_on_while_it_is_written(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = people.runs("ana", *CELLS)
    path = people.exports("ana", theirs)
    own = people.runs("ben", ARRAY)
    swept: list[int] = []

    def sweep(point: str) -> None:
        if point == "before-import" and not swept:
            with closing(open_engine(Settings(home=people.home("ben")))) as engine:
                later = datetime.now(UTC) + timedelta(days=9)
                swept.append(collect(engine.journal, engine.store, Policy(0), now=later, grace=0).artifacts)

    monkeypatch.setattr(importing, "crash_point", sweep)
    people.imports("ben", path)

    assert swept[0] > 0
    assert people.steps("ben", own)
    assert kitaru_nb.load("array", execution=theirs)[9] == 9
    assert main(["store", "verify"]) == 0


@pytest.mark.parametrize("point", ["before-import", "inside-import", "after-import"])
def test_an_import_that_is_killed_is_there_whole_or_not_at_all(people: People, point: str) -> None:
    theirs = people.runs("ana", *CELLS)
    path = people.exports("ana", theirs)
    people.runs("ben", LOAD)
    before = people.records("ben")
    done = subprocess.run(
        [sys.executable, "-m", "kitaru_nb", "import", str(path)],
        env={**os.environ, "KITARU_NB_CRASH_AT": point},
        capture_output=True,
        check=False,
    )

    assert done.returncode == -signal.SIGKILL
    if point != "after-import":
        assert people.records("ben")[:-1] == before[:-1], "but for spare bytes in packs"
    found = people.imports("ben", path)
    assert found.executions == {theirs: point != "after-import"}
    assert people.steps("ben", theirs)
    assert main(["store", "verify"]) == 0


def test_a_running_execution_is_exported_as_it_stands(people: People) -> None:
    kernel = people.kernel("ana")
    kernel.cell(LOAD, step="c0")
    theirs = kernel.last.execution

    people.imports("ben", people.exports("ana", theirs))

    with closing(open_engine(Settings(home=people.home("ben")), read_only=True)) as engine:
        there = engine.journal.execution(theirs)
    assert (there.status, there.reason) == ("interrupted", "it was running when it was exported")
    kernel.stop()


def test_an_export_that_fails_leaves_what_was_there(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = people.runs("ana", *CELLS)
    path = people.folder / "x.kitaru"
    path.write_text("precious")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kitaru_nb.engine.export_file.os.fsync", full)
    with pytest.raises(StoreError, match="No space left") as refused:
        people.exports("ana", theirs)

    assert refused.value.kind == "file-not-written"
    assert path.read_text() == "precious"
    assert not list(people.folder.glob(".*part"))


def test_steps_of_any_kind_and_all_their_events_come_along(people: People) -> None:
    """What a later part of this release puts into a journal is carried whatever it is called."""
    kernel = people.kernel("ana")
    kernel.cell(LOAD, step="c0")
    theirs = kernel.last.execution
    kernel.engine.journal.record_event(theirs, "wait.asked", {"name": "ok", "seq": kernel.last.seq, "n": [1]})
    kernel.stop()

    people.imports("ben", people.exports("ana", theirs))

    with closing(open_engine(Settings(home=people.home("ben")), read_only=True)) as engine:
        told = [event for event in engine.journal.events(theirs) if event.kind == "wait.asked"]
    assert [event.data for event in told] == [
        {"name": "ok", "seq": people.steps("ben", theirs)[0].seq, "n": [1]}
    ]


def test_pins_and_removals_stay_where_they_are(people: People) -> None:
    theirs = people.runs("ana", LOAD)
    people.be("ana")
    assert main(["pin", theirs]) == 0

    kinds = {each[1]["kind"] for each in told(people.exports("ana", theirs)) if each[0] == "event"}

    assert "execution.started" in kinds
    assert "execution.pinned" not in kinds


def test_early_records_are_exported_once_their_user_has_said_that_they_are_their_own(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = people.kernel("ana")
    monkeypatch.setattr(kernel.engine.trust, "signed", lambda draft, _execution, **_: draft)
    kernel.cell(LOAD, step="c0")
    kernel.stop()
    theirs = kernel.last.execution
    with pytest.raises(UntrustedError, match="carries no signature") as refused:
        people.exports("ana", theirs)
    assert refused.value.hint.startswith("kitaru-nb trust unsigned")

    assert main(["trust", "unsigned"]) == 0
    found = people.imports("ben", people.exports("ana", theirs))

    assert found.signers == {people.be("ana").public: (1, False)}


def test_the_command_says_whom_to_trust(people: People, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = people.runs("ana", *CELLS)
    key, path = people.be("ana").public, people.folder / "x.kitaru"

    assert main(["export", theirs, str(path)]) == 0
    assert key in capsys.readouterr().out
    people.be("ben")
    assert main(["import", str(path)]) == 0
    assert f"kitaru-nb trust {key}" in capsys.readouterr().out
    assert main(["import", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)

    assert document["execution"]["id"] == theirs
    assert document["executions"] == [{"id": theirs, "new": False}]
    assert document["signed_by"] == [{"key": key, "checkpoints": 4, "trusted": False}]


def test_calls_and_flows_that_a_flow_called_come_along(people: People) -> None:
    made: list[int] = []

    @kitaru_nb.checkpoint
    def twice(number: int) -> list[int]:
        made.append(number)
        return [number, number]

    @kitaru_nb.flow
    def inner(number: int) -> list[int]:
        return twice(number)

    @kitaru_nb.flow
    def outer() -> list[int]:
        return inner(1) + twice(2)

    people.be("ana")
    assert outer() == [1, 1, 2, 2]
    here.engine().close()
    with closing(open_engine(Settings(home=people.home("ana")), read_only=True)) as engine:
        by_name = {
            str(each.identity.flow).rpartition(".")[2]: each.id for each in engine.journal.executions()
        }

    found = people.imports("ben", people.exports("ana", by_name["outer"]))

    assert found.executions == dict.fromkeys(by_name.values(), True)
    for name, kinds in (("outer", "VCCR"), ("inner", "VCR")):
        theirs, mine = people.within("ana", by_name[name]), people.within("ben", by_name[name])
        assert [step.draft for step in mine] == [step.draft for step in theirs]
        assert "".join(step.draft.kind[0].upper() for step in mine) == kinds


@kitaru_nb.checkpoint
def begun_twice(number: int) -> int:
    return number * 2


@kitaru_nb.flow
def begun_inner(number: int) -> int:
    return begun_twice(number)


@kitaru_nb.flow
def begun_outer(number: int) -> int:
    return int(begun_inner.run(number).result()) + begun_twice(number)


@kitaru_nb.flow
def begun_other() -> int:
    return begun_twice(7)


def test_flows_that_a_flow_began_and_replays_come_along(people: People) -> None:
    people.be("ana")
    assert (begun_outer(1), begun_other()) == (4, 14)
    engine = here.engine()
    by_name = {str(each.identity.flow).rpartition(":")[2]: each.id for each in engine.journal.executions()}
    replay = kitaru_nb.replay(by_name["begun_outer"], from_="begun_twice", inputs={"number": 5})
    assert replay.result() == 20
    begun = {each.id for each in engine.journal.executions()} - {by_name["begun_other"]}
    engine.close()

    found = people.imports("ben", people.exports("ana", by_name["begun_outer"]))
    of_the_replay = people.imports("cy", people.exports("ana", replay.execution))

    assert len(begun) == 4
    assert found.executions == dict.fromkeys(begun, True)
    assert {replay.execution, by_name["begun_outer"]} <= of_the_replay.executions.keys()
    assert by_name["begun_other"] not in of_the_replay.executions


def test_a_headless_run_that_was_imported_is_resumed_only_by_its_id(people: People) -> None:
    key = people.be("ana").public
    identity = Identity(notebook="/work/job.ipynb", output="/work/job.out.ipynb")
    with closing(open_engine(Settings(home=people.home("ana")))) as engine:
        attempt, _ = engine.journal.start(identity, owner=current_owner())
        draft = engine.trust.signed(a_draft(), attempt.execution)
        engine.journal.commit(attempt, draft)
        engine.journal.finish(attempt, ExecutionStatus.FAILED)

    people.imports("ben", people.exports("ana", attempt.execution))

    settings = Settings(home=people.home("ben"))
    assert _all_resumable(settings, tag=None, since=None, dollars=None) == []
    with (
        closing(open_engine(settings, read_only=True)) as engine,
        pytest.raises(NotFoundError, match="only imported"),
    ):
        _newest(engine)
    with closing(open_engine(settings)) as engine:
        engine.journal.resume(attempt.execution, owner=current_owner())
        engine.journal.finish(engine.journal.attempts(attempt.execution)[-1], ExecutionStatus.INTERRUPTED)
        with pytest.raises(UntrustedError, match="was begun by somebody whose key is not trusted"):
            _newest(engine)
    assert _all_resumable(settings, tag=None, since=None, dollars=None) == []
    people.be("ben").trust(key)
    with closing(open_engine(settings, read_only=True)) as engine:
        assert _newest(engine).id == attempt.execution
    assert [each.id for each in _all_resumable(settings, tag=None, since=None, dollars=None)] == [
        attempt.execution
    ]
