"""What the watcher says on the event stream, and which runs it makes go on."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from jupyter_events import EventLogger

from kitaru_nb.engine.pages import Wanted
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus, Identity, Owner, owner_of
from kitaru_nb.server.events import CHANGED, Seen, Watcher, register
from kitaru_nb.server.handler import Service
from kitaru_nb.server.places import Place, Places
from kitaru_nb.stacks.resuming import has_its_answer
from tests.served import Api, in_process, quoted
from tests.unit.server.conftest import Recorder

ONE, OTHER = ExecutionId("ex_one"), ExecutionId("ex_other")


def event(kind: str, execution: ExecutionId = ONE, **data: Any) -> Event:
    return Event(1, datetime.now(UTC), execution, kind, data)


def test_what_is_recorded_anywhere_is_heard_at_once(api: Api, recorder: Recorder) -> None:
    attempt = recorder.begin()
    api.found("executions")
    with api.listening() as heard:
        wait = recorder.ask(attempt)

        asked = heard.until(lambda event: wait.address in event["waits"])
        api.post(f"waits/{quoted(wait.address)}/answer", {"answer": True})
        answered = heard.until(lambda event: event["seq"] > asked["seq"])

    assert asked["executions"] == [attempt.execution]
    assert answered["waits"] == [wait.address]
    names = {
        "schema_id",
        "schema_version",
        "__timestamp__",
        "__schema__",
        "__schema_version__",
        "__metadata_version__",
    }
    assert set(answered) - names == {"executions", "waits", "seq"}, "ids only, no contents"


@pytest.mark.parametrize("before", [0, 1], ids=["empty", "recorded"])
def test_what_is_recorded_after_the_first_answer_and_before_the_first_look_is_news(
    recorder: Recorder, root: Path, before: int
) -> None:
    places = Places(root, None)
    if before:
        recorder.begin("old.ipynb")
    else:
        recorder.engine.journal.close()
        recorder.engine.settings.home.rename(root / "aside")
    service = Service(places, root)
    watcher = Watcher(EventLogger(), service, go_on=lambda *_: None, pause=1, log=logging.getLogger())
    known = [each.id for each in places.own().page(Wanted(), limit=9).executions]
    if not before:
        (root / "aside").rename(recorder.engine.settings.home)

    fresh = recorder.begin("new.ipynb").execution

    assert len(known) == before
    assert [news["executions"] for news in watcher._look()] == [[fresh]]
    assert watcher._look() == []
    places.close()
    service.threads.shutdown()


def test_a_place_that_cannot_be_read_yet_is_soon_looked_at_again(
    recorder: Recorder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = recorder.engine.settings.home
    recorder.engine.journal.close()
    home.rename(root / "aside")
    home.mkdir()
    (home / "journal.db").write_bytes(b"no journal yet")  # it is being copied there
    places = Places(root, None)
    service = Service(places, root)
    watcher = Watcher(EventLogger(), service, go_on=lambda *_: None, pause=1, log=logging.getLogger())
    clock = [1000.0]
    monkeypatch.setattr("kitaru_nb.server.events.time.monotonic", lambda: clock[0])
    places.own()
    assert watcher._look() == []
    shutil.rmtree(home)
    (root / "aside").rename(home)
    fresh = recorder.begin("new.ipynb").execution
    at_once = watcher._look()
    clock[0] += 1.1

    assert at_once == []
    assert [news["executions"] for news in watcher._look()] == [[fresh]]
    places.close()
    service.threads.shutdown()


def test_a_process_that_dies_is_told_though_it_records_nothing(api: Api, recorder: Recorder) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = Identity(notebook=str(recorder.root / "died.ipynb"))
    api.found("executions")
    with api.listening() as heard:
        attempt, _ = recorder.journal.start(identity, owner=owner_of(process.pid))
        begun = heard.until(lambda event: attempt.execution in event["executions"])

        process.kill()
        process.communicate()

        told = heard.until(lambda event: event is not begun and attempt.execution in event["executions"])
    assert told["seq"] == begun["seq"], "there is no event of it"
    assert api.found(f"executions/{attempt.execution}")["status"] == "interrupted"


def test_executions_that_run_are_known_until_they_end() -> None:
    seen = Seen(0)

    assert (
        seen.take([event("execution.started"), event("attempt.started"), event("attempt.started", OTHER)])
        == []
    )
    assert seen.running == {ONE, OTHER}
    assert seen.take([event("execution.failed")]) == []
    assert seen.running == {OTHER}


def test_an_answer_and_a_suspension_are_what_may_make_a_run_go_on() -> None:
    seen = Seen(0)

    ready = seen.take(
        [
            event("wait.answered", address="ex_one/a"),
            event("execution.waiting", OTHER),
            asked("ex_one/b", deadline=None),
        ]
    )

    assert ready == [ONE, OTHER], "the answer may come before the run has stopped, or after"


def asked(address: str, execution: ExecutionId = ONE, *, deadline: datetime | None) -> Event:
    at = None if deadline is None else round(deadline.timestamp() * 1e6)
    return event("wait.asked", execution, address=address, deadline=at)


def test_a_deadline_is_told_once() -> None:
    seen, now = Seen(0), datetime.now(UTC)
    soon, later = now + timedelta(minutes=1), now + timedelta(hours=1)
    seen.take([asked("ex_one/a", deadline=soon), asked("ex_other/a", OTHER, deadline=later)])

    assert seen.next_deadline() == soon
    assert seen.overdue(now) == {}
    assert seen.overdue(now + timedelta(minutes=2)) == {"ex_one/a": ONE}
    assert seen.overdue(now + timedelta(minutes=2)) == {}
    assert seen.next_deadline() == later


def test_a_deadline_counts_while_the_question_stands_whatever_attempt_asks_it() -> None:
    seen, soon = Seen(0), datetime.now(UTC) + timedelta(minutes=1)
    over = soon + timedelta(minutes=1)
    seen.take([asked("ex_one/a", deadline=soon), event("attempt.started"), event("execution.waiting")])
    assert seen.next_deadline() == soon, (
        "the second attempt stops at the same question, which is not asked anew"
    )

    seen.take([asked("ex_one/a", deadline=over)])
    assert seen.next_deadline() == over, "asked anew, it has its time again"
    seen.take([event("wait.answered", address="ex_one/a")])
    assert seen.next_deadline() is None

    seen.take([asked("ex_one/b", deadline=soon), asked("ex_other/b", OTHER, deadline=over)])
    seen.take([event("execution.cancelled")])
    assert seen.next_deadline() == over


def test_a_deadline_that_passes_after_a_restart_is_told_and_the_run_goes_on(
    recorder: Recorder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = recorder.begin(output=True)
    wait = recorder.ask(attempt, timeout=3600.0, has_default=True, default=True)
    recorder.journal.finish(attempt, ExecutionStatus.WAITING)
    places, went_on = Places(root, None), []
    service = Service(places, root)
    watcher = Watcher(
        EventLogger(), service, go_on=lambda _, e: went_on.append(e), pause=1, log=logging.getLogger()
    )
    places.own().page(Wanted(), limit=9)
    watcher._look()
    went_on.clear()  # what was met is tried once
    assert watcher._look() == []
    assert wait.deadline is not None
    assert watcher._until_next(wait.deadline - timedelta(seconds=0.25)) == 0.25, "it sleeps until then"
    assert watcher._until_next(wait.deadline + timedelta(seconds=1)) == 0.0

    monkeypatch.setattr("kitaru_nb.server.events.datetime", Later)
    (told,) = watcher._look()

    assert (told["executions"], told["waits"], went_on) == (
        [attempt.execution],
        [wait.address],
        [attempt.execution],
    )
    assert watcher._look() == []
    places.close()
    service.threads.shutdown()


class Later(datetime):
    """The clock two hours on."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Later:
        return super().now(tz) + timedelta(hours=2)


def test_a_run_whose_question_has_its_default_is_one_that_goes_on(recorder: Recorder) -> None:
    attempt = recorder.begin("c.ipynb", output=True)
    (recorder.root / "c.ipynb").write_text("{}")
    wait = recorder.ask(attempt, timeout=0.0, has_default=True, default=True)
    data = {"wait": wait.address, "message": "waits", "scope": "cell:a"}
    recorder.journal.note_suspended(attempt, data)
    recorder.journal.finish(attempt, ExecutionStatus.WAITING)

    assert has_its_answer(recorder.journal, attempt.execution) == attempt.execution


def test_only_a_run_of_a_command_here_that_has_its_answer_goes_on_by_itself(recorder: Recorder) -> None:
    by_hand, headless = recorder.begin("a.ipynb"), recorder.begin("b.ipynb", output=True)
    (recorder.root / "b.ipynb").write_text("{}")
    for attempt in (by_hand, headless):
        wait = recorder.ask(attempt)
        recorder.journal.note_suspended(
            attempt, {"wait": wait.address, "message": "waits", "scope": "cell:a"}
        )
        recorder.journal.finish(attempt, ExecutionStatus.WAITING)
    assert has_its_answer(recorder.journal, headless.execution) is None, "nobody has answered"

    for attempt in (by_hand, headless):
        recorder.journal.answer_wait(f"{attempt.execution}/publish", True, by="ana", source="test")

    assert has_its_answer(recorder.journal, headless.execution) == headless.execution
    assert has_its_answer(recorder.journal, by_hand.execution) is None, "its cell is run in its kernel"
    (recorder.root / "b.ipynb").unlink()
    assert has_its_answer(recorder.journal, headless.execution) is None, "its notebook is somewhere else"


def test_a_run_of_another_machine_or_one_that_waits_for_money_does_not_go_on_here(recorder: Recorder) -> None:
    elsewhere = Owner("another-host", "", 1, 1)
    identity = Identity(notebook="/n.ipynb", output="/n.out.ipynb")
    away, _ = recorder.journal.start(identity, owner=elsewhere)
    wait = recorder.ask(away)
    recorder.journal.note_suspended(away, {"wait": wait.address, "message": "waits", "scope": "cell:a"})
    recorder.journal.finish(away, ExecutionStatus.WAITING)
    recorder.journal.answer_wait(wait.address, True, by="ana", source="test")
    poor = recorder.begin("poor.ipynb", output=True)
    recorder.journal.note_suspended(poor, {"wait": "", "message": "over budget", "scope": "cell:a"})
    recorder.journal.finish(poor, ExecutionStatus.WAITING)

    assert has_its_answer(recorder.journal, away.execution) is None
    assert has_its_answer(recorder.journal, poor.execution) is None


def test_nothing_is_opened_before_somebody_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "untouched"
    monkeypatch.setenv("KITARU_NB_HOME", str(home))
    with in_process(tmp_path) as (_, api):
        assert api.found("executions") == {"executions": [], "more": False}
        assert api.found("waits")["waits"] == []

    assert not home.exists()


def test_a_look_leaves_the_store_as_it_was(api: Api, recorder: Recorder) -> None:
    attempt = recorder.begin()
    recorder.ask(attempt)
    recorder.engine.close()
    home = recorder.engine.settings.home

    def state() -> dict[str, bytes]:
        return {
            str(p.relative_to(home)): p.read_bytes()
            for p in home.rglob("*")
            if p.is_file() and "-shm" not in p.name
        }

    before = state()

    for path in ("executions", "executions/latest", "executions/latest/logs", "waits", "cost"):
        api.found(path)

    after = state()
    assert {name for name in before if before[name] != after.get(name)} == set()


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("wait.asked", {}),
        ("wait.asked", {"address": 3}),
        ("wait.asked", {"address": "a/b", "deadline": "soon"}),
        ("wait.asked", {"address": "a/b", "deadline": 10**30}),
        ("wait.answered", {"address": ["a/b"]}),
        ("wait.expired", {}),
        ("wait.", {"address": None}),
    ],
)
def test_an_event_of_anybody_does_not_end_the_updates(
    recorder: Recorder, root: Path, kind: str, data: dict[str, Any]
) -> None:
    attempt = recorder.begin()
    places = Places(root, None)
    service = Service(places, root)
    logger = EventLogger()
    register(logger)
    watcher = Watcher(logger, service, go_on=lambda *_: None, pause=1, log=logging.getLogger())
    places.own().page(Wanted(), limit=9)
    watcher._look()
    recorder.journal.record_event(attempt.execution, kind, data)
    fresh = recorder.begin("fresh.ipynb").execution

    (news,) = watcher._look()

    assert fresh in news["executions"]
    logger.emit(schema_id=CHANGED, data=news)
    assert watcher._look() == []
    places.close()
    service.threads.shutdown()


def test_a_place_that_cannot_be_looked_at_keeps_no_other_one_unseen(
    recorder: Recorder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(root, None)
    service = Service(places, root)
    watcher = Watcher(EventLogger(), service, go_on=lambda *_: None, pause=1, log=logging.getLogger())
    own = places.own()
    own.page(Wanted(), limit=9)
    strange = Place(own.settings)
    monkeypatch.setattr(strange, "found", lambda *_: 1 / 0)
    monkeypatch.setattr(places, "known", lambda: [strange, own])
    watcher._look()

    fresh = recorder.begin("fresh.ipynb").execution

    assert [news["executions"] for news in watcher._look()] == [[fresh]]
    places.close()
    service.threads.shutdown()
