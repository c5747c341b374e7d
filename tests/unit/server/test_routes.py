"""What the routes give and refuse, over a real store and real requests."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.auth.identity import User

from kitaru_nb.cli.main import main
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner, owner_of
from kitaru_nb.model.file_mark import mark_of
from kitaru_nb.model.wait import WaitStatus
from kitaru_nb.server.handler import MAX_BODY, name_of
from kitaru_nb.testing import a_draft
from tests.served import API, Api, quoted
from tests.unit.server.conftest import Recorder


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


# Executions


def test_where_nothing_is_recorded_lists_are_empty(api: Api) -> None:
    assert api.found("executions") == {"executions": [], "more": False}
    assert api.found("waits") == {"waits": [], "more": False}
    assert api.found("cost") == []
    assert api.error(api.get("executions/latest")) == (404, "nothing-recorded")


def test_the_list_of_executions_is_the_one_that_the_command_prints(
    api: Api, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    for notebook in ("a.ipynb", "b.ipynb"):
        recorder.journal.finish(recorder.begin(notebook), ExecutionStatus.COMPLETED)

    assert api.found("executions")["executions"] == printed(capsys, "executions")


def test_what_runs_says_how_far_it_is_in_the_list_and_by_itself(api: Api, recorder: Recorder) -> None:
    attempt = recorder.begin(output=True)
    recorder.journal.record_event(attempt.execution, "attempt.planned", {"cells": 3})
    recorder.journal.commit(attempt, a_draft("load"))
    ended = recorder.begin("ended.ipynb")
    recorder.journal.finish(ended, ExecutionStatus.COMPLETED)

    listed = {each["id"]: each.get("progress") for each in api.found("executions")["executions"]}

    assert listed == {attempt.execution: {"done": 1, "total": 3}, ended.execution: None}
    assert api.found(f"executions/{attempt.execution}")["progress"] == {"done": 1, "total": 3}
    assert "progress" not in api.found(f"executions/{ended.execution}")

    recorder.journal.commit(attempt, a_draft("train"))

    assert api.found("executions", status="running")["executions"][0]["progress"] == {"done": 2, "total": 3}


def test_pages_follow_each_other_until_there_is_no_more(api: Api, recorder: Recorder) -> None:
    begun = [recorder.begin(f"{number}.ipynb").execution for number in range(7)]
    pages, before = [], None

    while True:
        page = api.found("executions", limit=3, **({} if before is None else {"before": before}))
        pages.append([each["id"] for each in page["executions"]])
        before = pages[-1][-1]
        if not page["more"]:
            break

    assert pages == [begun[:3:-1], begun[3:0:-1], begun[:1]]


def test_executions_are_filtered_by_all_that_is_asked(api: Api, recorder: Recorder) -> None:
    nightly = recorder.begin("train/nightly.ipynb", tags=("nightly",)).execution
    failed = recorder.begin("train/other.ipynb")
    recorder.journal.finish(failed, ExecutionStatus.FAILED, reason="ValueError")

    def ids(**query: str) -> list[str]:
        return [each["id"] for each in api.found("executions", **query)["executions"]]

    assert ids(tag="nightly") == [nightly]
    assert ids(status="failed") == [failed.execution]
    assert ids(notebook="train/nightly.ipynb") == [nightly]
    assert ids(q="NIGHT") == [nightly]
    assert ids(q=failed.execution[-6:]) == [failed.execution]
    assert ids(since="1h") == [failed.execution, nightly]
    assert ids(since=(datetime.now(UTC) + timedelta(hours=1)).isoformat()) == []
    assert ids(status="failed", tag="nightly") == []


def test_a_notebook_that_was_renamed_since_it_ran_is_found_by_its_new_name(
    api: Api, recorder: Recorder, root: Path
) -> None:
    (root / "old.ipynb").write_text("{}")
    name = str(root / "old.ipynb")
    attempt, _ = recorder.journal.start(
        Identity(notebook=name), owner=current_owner(), new=True, file=mark_of(name)
    )
    asked = recorder.ask(attempt)

    (root / "old.ipynb").rename(root / "new.ipynb")  # its kernel is there and has run nothing since

    cells = [{"id": "a", "source": "%%checkpoint load\nx = 1"}]
    told = api.post("cells", {"notebook": "new.ipynb", "cells": cells}).json()
    assert [each["id"] for each in api.found("executions", notebook="new.ipynb")["executions"]] == [
        attempt.execution
    ]
    assert [each["address"] for each in api.found("waits", notebook="new.ipynb")["waits"]] == [asked.address]
    assert told["execution"] == attempt.execution


def test_a_notebook_is_found_by_what_its_kernel_calls_it(api: Api, recorder: Recorder) -> None:
    elsewhere = Identity(notebook="/mnt/team/n.ipynb")
    attempt, _ = recorder.journal.start(elsewhere, owner=current_owner(), new=True)
    asked = recorder.ask(attempt)
    recorder.begin("n.ipynb")

    def listed(name: str, **query: str) -> list[str]:
        found = api.found(name, notebook="n.ipynb", **query)[name]
        return [each.get("execution") or each["id"] for each in found]

    assert listed("executions", known_as="/mnt/team/n.ipynb") == [attempt.execution]
    assert listed("waits", known_as="/mnt/team/n.ipynb") == [asked.execution]
    assert attempt.execution not in [*listed("executions"), *listed("waits")]
    body = {"notebook": "n.ipynb", "cells": [], "known_as": "/mnt/team/n.ipynb"}
    assert api.post("cells", body).json()["execution"] == attempt.execution
    assert api.error(api.post("cells", {**body, "known_as": 3})) == (400, "bad-body")


def test_a_filtered_list_follows_what_is_recorded(api: Api, recorder: Recorder) -> None:
    one = recorder.begin("a.ipynb", tags=("nightly",))

    def ids(**query: str) -> list[str]:
        return [each["id"] for each in api.found("executions", **query)["executions"]]

    assert ids(status="running") == [one.execution]

    recorder.journal.finish(one, ExecutionStatus.FAILED)
    other = recorder.begin("b.ipynb", tags=("nightly",))

    assert ids(status="running") == [other.execution]
    assert ids(status="failed") == [one.execution]
    assert ids(tag="nightly") == [other.execution, one.execution]
    assert ids(tag="nightly", before=other.execution) == [one.execution]
    assert ids(tag="nightly", notebook="a.ipynb") == [one.execution]
    page = api.found("executions", tag="nightly", limit=1)
    assert ([each["id"] for each in page["executions"]], page["more"]) == ([other.execution], True)
    assert api.error(api.get("executions", tag="nightly", before="ex_nothing")) == (404, "unknown-execution")


def test_a_filtered_list_knows_when_an_owner_has_died(api: Api, recorder: Recorder) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = Identity(notebook=str(recorder.root / "died.ipynb"))
    attempt, _ = recorder.journal.start(identity, owner=owner_of(process.pid))
    running = api.found("executions", status="running")["executions"]

    process.kill()
    process.communicate()

    assert [each["id"] for each in running] == [attempt.execution]
    assert api.found("executions", status="running")["executions"] == []
    dead = api.found("executions", status="interrupted")["executions"]
    assert [each["id"] for each in dead] == [attempt.execution]


def test_one_execution_is_the_document_that_the_command_prints(
    api: Api, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    attempt = recorder.begin()
    recorder.journal.commit(attempt, a_draft(name="load"))
    recorder.ask(attempt)
    recorder.journal.finish(attempt, ExecutionStatus.WAITING)

    told = api.found("executions/latest")
    assert told.pop("progress") == {"done": 1, "total": None}
    assert told == printed(capsys, "show", attempt.execution)
    assert api.found(f"executions/{attempt.execution}/why", checkpoint="load") == printed(
        capsys, "why", attempt.execution, "load"
    )
    assert api.found("diff", a=attempt.execution, b=attempt.execution) == printed(
        capsys, "diff", attempt.execution, attempt.execution
    )


def test_what_a_step_shows_is_told_while_it_runs_and_afterwards(api: Api, recorder: Recorder) -> None:
    attempt = recorder.begin()
    said = {"output_type": "stream", "name": "stdout", "text": "loss 0.3\n"}
    where = f"executions/{attempt.execution}/outputs"
    recorder.journal.note_shown(attempt, {"checkpoint": "train", "outputs": [said]})

    running = api.found(where, checkpoint="train")
    assert api.found(where) == running
    recorder.journal.commit(attempt, a_draft(name="train", outputs=(said, said)))
    ended = api.found(where, checkpoint="train")

    assert running == {"checkpoint": "train", "outputs": [said], "ended": False}
    assert ended == {"checkpoint": "train", "outputs": [said, said], "ended": True}
    assert api.get(where, checkpoint="other").status_code == 404
    assert api.get(where).status_code == 404  # nothing runs any more


def test_the_log_goes_on_where_it_was_left(api: Api, recorder: Recorder) -> None:
    attempt = recorder.begin()
    printed_text = {"output_type": "stream", "name": "stdout", "text": "loss 0.3\nloss 0.2\n"}
    recorder.journal.commit(attempt, a_draft(name="train", outputs=(printed_text,)))
    first = api.found(f"executions/{attempt.execution}/logs")
    recorder.journal.finish(attempt, ExecutionStatus.FAILED, reason="stopped")

    rest = api.found(f"executions/{attempt.execution}/logs", after=first["next"])

    texts = [line["text"] for line in first["lines"]]
    assert texts[:2] == ["execution started", "attempt started"]
    assert texts[3:] == ["loss 0.3\nloss 0.2"]
    assert [line["text"] for line in rest["lines"]] == ["execution failed: stopped"]
    assert rest["next"] > first["next"]
    assert api.found(f"executions/{attempt.execution}/logs", after=rest["next"])["lines"] == []
    cut = api.found(f"executions/{attempt.execution}/logs", limit=1)
    assert (len(cut["lines"]), cut["more"]) == (1, True)


def test_a_difference_is_a_page_that_runs_nothing(api: Api, recorder: Recorder) -> None:
    attempt = recorder.begin("<script>alert(1)</script>.ipynb")
    recorder.journal.commit(attempt, a_draft(name="<img src=x onerror=alert(1)>"))

    page = api.get("diff.html", a=attempt.execution, b=attempt.execution)

    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "allow-scripts" not in policy
    assert "<script" not in page.text
    assert "<img src=x" not in page.text


# Waits


def test_waits_are_those_that_the_command_prints_and_pending_ones_come_first(
    api: Api, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = recorder.begin("a.ipynb"), recorder.begin("b.ipynb")
    answered = recorder.ask(one)
    recorder.journal.answer_wait(answered.address, True, by="ana", source="test")
    pending = recorder.ask(other)

    assert api.found("waits")["waits"] == printed(capsys, "waits")
    assert [wait["address"] for wait in api.found("waits")["waits"]] == [pending.address, answered.address]
    assert [w["address"] for w in api.found("waits", status="answered")["waits"]] == [answered.address]
    assert [w["address"] for w in api.found("waits", execution=other.execution)["waits"]] == [pending.address]
    assert [w["address"] for w in api.found("waits", notebook="a.ipynb")["waits"]] == [answered.address]
    assert api.found("waits", limit=1)["more"] is True


def test_the_list_of_waits_follows_what_is_recorded_and_the_clock(api: Api, recorder: Recorder) -> None:
    attempt = recorder.begin()
    first = recorder.ask(attempt)
    assert api.found("waits")["waits"][0]["status"] == "pending"

    recorder.journal.answer_wait(first.address, True, by="ana", source="test")
    second = recorder.ask(attempt, name="soon", timeout=0.001)

    found = {wait["address"]: wait["status"] for wait in api.found("waits")["waits"]}
    assert found == {first.address: "answered", second.address: "expired"}
    third = recorder.ask(attempt, name="third")
    recorder.journal.finish(attempt, ExecutionStatus.CANCELLED)
    found = {wait["address"]: wait["status"] for wait in api.found("waits")["waits"]}
    assert found[third.address] == "expired", "its execution is over"


def test_an_answer_is_recorded_under_the_name_of_who_is_logged_in(api: Api, recorder: Recorder) -> None:
    wait = recorder.ask(recorder.begin())
    shown = api.found(f"waits/{quoted(wait.address)}")

    response = api.post(
        f"waits/{quoted(wait.address)}/answer",
        {
            "answer": True,
            "reason": "looks right",
            "binding": shown["binding"],
            "by": "root",
            "answered_by": "root",
        },
    )

    assert response.status_code == 200
    found = recorder.journal.wait(wait.address)
    assert (found.answer, found.source, found.reason) == (True, "server", "looks right")
    assert found.answered_by is not None
    assert found.answered_by.startswith("Anonymous ")
    assert response.json()["answered_by"] == found.answered_by


@pytest.mark.parametrize(
    ("shown", "known", "told"),
    [
        ("Anonymous Thebe", "0123456789abcdef" * 2, "Anonymous Thebe"),
        ("ana", "0123456789abcdef" * 2, "ana (0123456789abcdef0123456789abcdef)"),
        ("ana", "ben", "ana (ben)"),
        ("ana", "ana", "ana"),
        ("ana\n2026 approved by\u202e root", "ben", "ana 2026 approved by root (ben)"),
    ],
)
def test_nobody_answers_under_a_name_that_they_gave_themselves(shown: str, known: str, told: str) -> None:
    assert name_of(User(known, name=shown, display_name=shown)) == told


def test_a_request_that_says_two_things_is_refused(api: Api, recorder: Recorder) -> None:
    wait = recorder.ask(recorder.begin())
    place = f"waits/{quoted(wait.address)}/answer"

    response = api.client.post(API + place, content='{"answer": true, "answer": false}')

    assert api.error(response) == (400, "bad-body")
    assert "`answer` twice" in response.json()["error"]["message"]
    assert recorder.journal.wait(wait.address).status is WaitStatus.PENDING


def test_the_first_answer_counts_and_the_next_is_told_who_gave_it(api: Api, recorder: Recorder) -> None:
    wait = recorder.ask(recorder.begin())
    recorder.journal.answer_wait(wait.address, True, by="ana", source="test")
    place = f"waits/{quoted(wait.address)}/answer"

    same, other = api.post(place, {"answer": True}), api.post(place, {"answer": False})

    assert (same.status_code, same.json()["answered_by"]) == (200, "ana")
    assert api.error(other) == (409, "already-answered")
    assert "ana" in other.json()["error"]["message"]


def test_an_answer_that_the_question_does_not_take_is_refused_at_its_place(
    api: Api, recorder: Recorder
) -> None:
    schema = {
        "type": "object",
        "properties": {"amount": {"type": "number", "minimum": 1}, "to": {"type": "string"}},
        "required": ["amount", "to"],
    }
    wait = recorder.ask(recorder.begin(), "How much?", schema=schema)

    response = api.post(f"waits/{quoted(wait.address)}/answer", {"answer": {"amount": 0}})

    assert api.error(response) == (422, "invalid-answer")
    fields = response.json()["fields"]
    assert set(fields) == {"/amount", "/to"}
    assert "minimum" in fields["/amount"]
    assert fields["/to"] == "is required"
    assert recorder.journal.wait(wait.address).answer is None


def test_an_approval_does_not_carry_over_to_a_changed_question(api: Api, recorder: Recorder) -> None:
    attempt = recorder.begin()
    shown = recorder.ask(attempt, "Publish the draft?")
    recorder.ask(attempt, "Delete everything?")

    response = api.post(f"waits/{quoted(shown.address)}/answer", {"answer": True, "binding": shown.binding})

    assert api.error(response) == (409, "question-changed")


def test_an_answer_may_come_before_the_question(api: Api, recorder: Recorder) -> None:
    attempt = recorder.begin()
    address = f"{attempt.execution}/publish"
    assert api.error(api.get(f"waits/{quoted(address)}")) == (404, "unknown-wait")

    assert api.post(f"waits/{quoted(address)}/answer", {"answer": True}).status_code == 200

    assert recorder.ask(attempt).answer is True
    latest = quoted("latest/publish")
    assert api.found(f"waits/{latest}")["address"] == address


# Refusals


@pytest.mark.parametrize(
    ("path", "query", "kind"),
    [
        ("executions", {"status": "asleep"}, "bad-status"),
        ("executions", {"limit": "0"}, "bad-number"),
        ("executions", {"limit": "501"}, "bad-number"),
        ("executions", {"limit": "x"}, "bad-number"),
        ("executions", {"since": "soon"}, "bad-since"),
        ("executions", {"q": "x" * 1001}, "too-long"),
        ("executions", {"notebook": "../../etc/passwd"}, "bad-path"),
        ("executions", {"notebook": "a/../../b.ipynb"}, "bad-path"),
        ("executions", {"notebook": "a\0b"}, "bad-path"),
        ("waits", {"status": "asleep"}, "bad-status"),
        ("waits/nothing", {}, "bad-address"),
        ("cost", {"by": "mood"}, "bad-option"),
        ("diff", {"a": "latest"}, "bad-query"),
        ("artifacts", {}, "bad-query"),
        ("artifacts", {"ref": "nothing"}, "bad-ref"),
        ("artifacts/slice", {"ref": "latest/a/b", "as": "gif"}, "bad-query"),
        ("artifacts/slice", {"ref": "latest/a/b", "start": "-1"}, "bad-slice"),
        ("artifacts/slice", {"ref": "latest/a/b", "stop": "1,x"}, "bad-slice"),
    ],
)
def test_what_cannot_be_taken_is_refused_by_kind(
    api: Api, recorder: Recorder, path: str, query: dict[str, str], kind: str
) -> None:
    recorder.begin()

    assert api.error(api.get(path, **query)) == (400, kind)


@pytest.mark.parametrize(
    ("path", "near"),
    [("executoins", "kitaru-nb/api/executions, or "), ("", ""), ("executions/latest/nothing/at/all", "")],
)
@pytest.mark.parametrize("verb", ["get", "post", "put", "delete"])
def test_a_path_that_is_none_is_answered_as_every_error(api: Api, path: str, near: str, verb: str) -> None:
    response = api.client.request(verb, API + path)

    assert api.error(response) == (404, "unknown-route")
    assert response.headers["Content-Type"].startswith("application/json")
    hint = response.json()["error"]["hint"]
    assert hint.endswith("kitaru-nb/api/openapi.json, which lists all")
    assert hint.startswith(near)


@pytest.mark.parametrize(
    ("path", "name", "hint"),
    [
        ("executions", "statsu", "status=…"),
        ("executions/latest", "q", "it takes none"),
        ("openapi.json", "x", "it takes none"),
        ("cost", "zzz", "it takes by, execution, tag, since"),
    ],
)
def test_a_query_that_means_nothing_is_refused(
    api: Api, recorder: Recorder, path: str, name: str, hint: str
) -> None:
    recorder.begin()

    response = api.get(path, **{name: "1"})

    assert api.error(response) == (400, "unknown-query")
    assert response.json()["error"]["hint"] == hint


def test_what_browsers_add_to_a_query_is_no_part_of_it(api: Api, recorder: Recorder) -> None:
    """JupyterLab adds the time to each request, so that no old answer is given."""
    recorder.begin()

    response = api.client.get(f"{API}executions?limit=1&1732822800000&_=17&token={api.token}")

    assert response.status_code == 200, response.text


@pytest.mark.parametrize("body", ["", "nonsense", "[]", "null", '{"answer": NaN}', '{"a":' * 3000, "\xff"])
def test_a_body_that_is_no_json_object_is_refused(api: Api, recorder: Recorder, body: str) -> None:
    wait = recorder.ask(recorder.begin())
    path = f"{API}waits/{quoted(wait.address)}/answer"

    response = api.client.post(path, content=body.encode("latin-1"))

    assert api.error(response) == (400, "bad-body")


def test_a_body_that_is_too_large_is_refused(api: Api, recorder: Recorder) -> None:
    wait = recorder.ask(recorder.begin())
    path = f"{API}waits/{quoted(wait.address)}/answer"

    response = api.client.post(path, content=json.dumps({"answer": True, "reason": "x" * MAX_BODY}))

    assert api.error(response) == (413, "http-413")
    assert recorder.journal.wait(wait.address).answer is None


def test_a_store_that_cannot_be_read_is_told(
    api: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "broken"
    home.mkdir(mode=0o700)
    (home / "journal.db").write_bytes(b"no database " * 1000)
    monkeypatch.setenv("KITARU_NB_HOME", str(home))

    status, _ = api.error(api.get("executions"))

    assert status == 503


def test_a_store_that_is_replaced_is_seen(
    api: Api, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = recorder.begin().execution
    assert [each["id"] for each in api.found("executions")["executions"]] == [first]
    home = recorder.engine.settings.home
    recorder.engine.close()

    home.rename(tmp_path / "moved")

    assert api.found("executions") == {"executions": [], "more": False}
    (tmp_path / "moved").rename(home)
    assert [each["id"] for each in api.found("executions")["executions"]] == [first]
