"""`waits`, `answer`, `approve`, `reject` and `audit`, as people and programs type them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.cli.main import main
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.person import this_person
from kitaru_nb.model.execution import Attempt, ExecutionStatus, Identity, current_owner
from kitaru_nb.model.wait import Question, Wait, WaitKind, binding_of
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve

FIELDS = {
    *("address", "execution", "name", "question", "schema", "show", "status", "asked_at", "deadline"),
    *("answer", "answered_by", "answered_at", "kind", "reason", "binding"),
}
CAPTURE = pytest.CaptureFixture[str]


@pytest.fixture
def engine() -> Iterator[Engine]:
    with closing(open_engine(resolve())) as engine:
        yield engine


@pytest.fixture
def attempt(engine: Engine) -> Attempt:
    return engine.journal.start(Identity(flow="m:f"), owner=current_owner())[0]


def ask(engine: Engine, attempt: Attempt, name: str = "publish", **fields: Any) -> Wait:
    told = {"text": "Publish?", "schema": {"type": "boolean"}, "scope": "flow", "place": 0} | fields
    binding = binding_of(told["text"], told["schema"], None)
    return engine.journal.ask(attempt, Question(name=name, binding=binding, **told))[0]


def typed(capsys: CAPTURE, *words: str, code: int = 0) -> Any:
    assert main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def said(capsys: CAPTURE, *words: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(list(words)) == code
    shown = capsys.readouterr()
    return shown.err if code else shown.out


def test_nothing_waits_where_nothing_is_recorded(capsys: CAPTURE) -> None:
    assert typed(capsys, "waits") == []
    assert "nothing waits" in said(capsys, "waits")


def test_a_wait_has_the_fields_that_programs_count_on(
    engine: Engine, attempt: Attempt, capsys: CAPTURE
) -> None:
    wait = ask(engine, attempt, show="a draft", timeout=3600.0)

    (told,) = typed(capsys, "waits")

    assert set(told) == FIELDS
    assert (told["address"], told["status"], told["show"]) == (wait.address, "pending", "a draft")
    assert told["asked_at"].endswith("Z")
    assert told["deadline"] > told["asked_at"]
    assert (told["answer"], told["answered_by"], told["answered_at"]) == (None, None, None)
    assert typed(capsys, "show", attempt.execution)["waits"] == [told]
    assert typed(capsys, "waits", "latest", "--status", "pending") == [told]
    assert typed(capsys, "waits", "--status", "answered") == []


def test_a_wait_is_shown_with_what_is_to_be_approved_and_how(
    engine: Engine, attempt: Attempt, capsys: CAPTURE
) -> None:
    wait = ask(engine, attempt, show="\n".join(f"line {n}" for n in range(30)), timeout=3600.0)
    ask(engine, attempt, "edit", text="How?", schema={"type": "string"}, show={"a": 1})

    shown = said(capsys, "waits")

    assert f"{wait.address}  asked 0 s ago, 1 h 00 min left" in shown or "59 min" in shown
    assert "  | line 19\n  … 10 more lines" in shown
    assert f"kitaru-nb approve {wait.address}, or reject" in shown
    assert '  |   "a": 1' in shown
    assert f"kitaru-nb answer {attempt.execution}/edit --value JSON (a string)" in shown
    assert wait.address in said(capsys, "show", "latest")


def test_control_characters_of_a_question_do_not_reach_the_terminal(
    engine: Engine, attempt: Attempt, capsys: CAPTURE
) -> None:
    ask(engine, attempt, text="Publish?\x1b[2J", show="a\x1b[31mred\x07\nline")

    shown = said(capsys, "waits") + said(capsys, "show", "latest")

    assert "\x1b" not in shown
    assert "\x07" not in shown


@pytest.mark.parametrize("named", ["{execution}/publish", "latest/publish", "publish", "publish#1"])
def test_an_answer_says_who_and_what_goes_on(
    engine: Engine, attempt: Attempt, capsys: CAPTURE, named: str
) -> None:
    wait = ask(engine, attempt)
    engine.journal.finish(attempt, ExecutionStatus.WAITING)

    shown = said(capsys, "approve", named.format(execution=attempt.execution))

    assert shown.splitlines() == [
        f"{wait.address}: true, by {this_person()}",
        f"go on with: kitaru-nb resume {attempt.execution}",
    ]
    assert engine.journal.wait(wait.address).answered_by == this_person()


def test_a_rejection_keeps_its_reason(engine: Engine, attempt: Attempt, capsys: CAPTURE) -> None:
    ask(engine, attempt)

    told = typed(capsys, "reject", "publish", "--reason", "too long")

    assert (told["answer"], told["reason"], told["status"]) == (False, "too long", "answered")
    assert "too long" in said(capsys, "waits")


@pytest.mark.parametrize(
    ("value", "answer"), [('"text"', "text"), ("-3", -3), ('{"a": [null]}', {"a": [None]})]
)
def test_an_answer_is_json(
    engine: Engine, attempt: Attempt, capsys: CAPTURE, value: str, answer: Any
) -> None:
    ask(engine, attempt, schema={})

    assert typed(capsys, "answer", "publish", "--value", value)["answer"] == answer


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        (["answer", "publish", "--value", "yes"], "bad-value", "wants true or false"),
        (["answer", "publish", "--value", "NaN"], "bad-value", "is not JSON"),
        (["answer", "publish", "--value", '"yes"'], "invalid-answer", "wants true or false"),
        (["approve", "nothing"], "unknown-wait", "waiting for an answer: `ex_"),
        (["approve", "a/b/c"], "bad-address", "is not the address of a wait"),
        (["approve", "ex_zzz/publish"], "unknown-execution", "there is no execution"),
        (["approve", "more-money"], "not-a-question", "a larger budget"),
    ],
)
def test_what_is_no_answer_is_told_and_changes_nothing(
    engine: Engine, attempt: Attempt, capsys: CAPTURE, words: list[str], kind: str, *, told: str
) -> None:
    ask(engine, attempt)
    ask(engine, attempt, "more-money", kind=WaitKind.BUDGET)
    before = engine.journal.waits()
    code = 1 if kind.startswith("unknown") else 2

    error = typed(capsys, *words, code=code)["error"]

    assert error["kind"] == kind
    assert told in error["message"]
    assert error["hint"]
    assert engine.journal.waits() == before


def test_a_late_answer_is_told_who_was_first(engine: Engine, attempt: Attempt, capsys: CAPTURE) -> None:
    wait = ask(engine, attempt)
    engine.journal.answer_wait(wait.address, True, by="ana@lab", source="cli")

    assert "has this answer already, by ana@lab" in said(capsys, "approve", wait.address)
    assert "was answered by ana@lab at" in said(capsys, "reject", wait.address, code=1)


def test_one_name_in_two_executions_has_to_be_told_apart(
    engine: Engine, attempt: Attempt, capsys: CAPTURE
) -> None:
    other = engine.journal.start(Identity(flow="m:g"), owner=current_owner())[0]
    ask(engine, attempt)
    second = ask(engine, other)

    error = typed(capsys, "approve", "publish", code=2)["error"]
    assert error["kind"] == "ambiguous-wait"
    assert second.address in error["message"]
    engine.journal.answer_wait(second.address, True, by="ana", source="cli")

    assert typed(capsys, "approve", "publish")["execution"] == attempt.execution


def test_an_answer_under_a_mistyped_name_says_what_waits_now(
    engine: Engine, attempt: Attempt, capsys: CAPTURE
) -> None:
    ask(engine, attempt, "publish")
    ask(engine, attempt, "amount", schema={"type": "integer"})

    shown = said(capsys, "approve", f"{attempt.execution}/publishh")

    assert "nobody has asked that yet: the answer is kept" in shown
    assert (
        f"what waits for an answer now is `{attempt.execution}/publish`, `{attempt.execution}/amount`"
        in shown
    )
    assert f"  Try: kitaru-nb approve {attempt.execution}/publish, or reject" in shown


def test_an_answer_ahead_of_time_says_that_nobody_has_asked(
    engine: Engine, attempt: Attempt, capsys: CAPTURE
) -> None:
    shown = said(capsys, "approve", f"{attempt.execution}/later")

    assert "nobody has asked that yet" in shown
    (told,) = typed(capsys, "waits")
    assert (told["question"], told["schema"], told["status"]) == (None, None, "answered")
    assert "(not asked yet)" in said(capsys, "waits")


def test_a_notebook_run_by_hand_goes_on_in_its_cell(engine: Engine, capsys: CAPTURE) -> None:
    attempt = engine.journal.start(Identity(notebook="/a/n.ipynb"), owner=current_owner())[0]
    ask(engine, attempt)

    assert "go on with: run the cell again in /a/n.ipynb" in said(capsys, "approve", "publish")


def test_a_flow_in_a_notebook_goes_on_with_the_notebook(engine: Engine, capsys: CAPTURE) -> None:
    outer = engine.journal.start(Identity(notebook="/a.ipynb", output="/b.ipynb"), owner=current_owner())[0]
    inner = engine.journal.start(
        Identity(flow="m:f", within=f"{outer.execution}/cell:1"),
        owner=current_owner(),
        parent=outer.execution,
    )[0]
    ask(engine, inner)
    engine.journal.finish(inner, ExecutionStatus.WAITING)
    engine.journal.finish(outer, ExecutionStatus.WAITING)

    assert f"go on with: kitaru-nb resume {outer.execution}" in said(capsys, "approve", "publish")


def test_the_audit_says_that_everything_is_as_it_was(
    engine: Engine, attempt: Attempt, capsys: CAPTURE
) -> None:
    wait = ask(engine, attempt)
    before = typed(capsys, "audit", "verify")
    engine.journal.answer_wait(wait.address, True, by="ana@lab", source="cli")

    after = typed(capsys, "audit", "verify")

    assert before["problems"] == after["problems"] == []
    assert after["events"] == before["events"] + 1
    assert after["newest"] != before["newest"]
    assert after["newest"] in said(capsys, "audit", "verify")


def test_of_a_damaged_journal_the_waits_that_can_be_read_are_listed_and_the_damage_is_named(
    engine: Engine, attempt: Attempt, capsys: CAPTURE
) -> None:
    first = ask(engine, attempt)
    other = engine.journal.start(Identity(flow="m:g"), owner=current_owner())[0]
    ask(engine, other, "damaged")
    third = engine.journal.start(Identity(flow="m:h"), owner=current_owner())[0]
    last = ask(engine, third)
    engine.close()
    with closing(sqlite3.connect(Path(resolve().home) / "journal.db")) as file:
        change = "UPDATE events SET data = replace(data, 'Publish?', 'Delete?') WHERE data LIKE '%damaged%'"
        assert file.execute(change).rowcount
        file.commit()

    assert main(["waits"]) == 1
    told = capsys.readouterr()
    refused = [typed(capsys, "waits", *of, code=1) for of in ([], [other.execution])]

    assert first.address in told.out
    assert last.address in told.out
    assert other.execution not in told.out
    assert "not all is listed: " in told.err
    assert "damaged" in told.err
    assert [document["error"]["kind"] for document in refused] == ["corrupt-record"] * 2


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE events SET data = replace(data, 'ana@lab', 'eve@lab')",
        "DELETE FROM events WHERE kind = 'wait.answered'",
    ],
)
def test_the_audit_notices_an_answer_that_was_changed_or_removed(
    engine: Engine, attempt: Attempt, capsys: CAPTURE, change: str
) -> None:
    wait = ask(engine, attempt)
    engine.journal.answer_wait(wait.address, True, by="ana@lab", source="cli")
    engine.close()
    with closing(sqlite3.connect(Path(resolve().home) / "journal.db")) as file:
        assert file.execute(change).rowcount
        file.commit()

    told = typed(capsys, "audit", "verify", code=1)

    assert told["problems"]
    assert told["newest"] is None
    assert main(["audit", "verify"]) == 1
    assert "damaged: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "seq"),
    [
        ("wait:{first}", "first"),
        ("wait:{first}", "other"),
        ("waits", "first"),
        ("waits:{execution}", "first"),
        ("wait-slot:{execution}\nflow\npublish\n0", "other"),
    ],
)
def test_the_audit_notices_an_answer_that_is_hidden_or_put_for_another(
    engine: Engine, attempt: Attempt, capsys: CAPTURE, name: str, seq: str
) -> None:
    first, other = ask(engine, attempt), ask(engine, attempt, name="other")
    engine.journal.answer_wait(first.address, False, by="ana@lab", source="cli")
    engine.journal.answer_wait(other.address, True, by="ana@lab", source="cli")
    assert typed(capsys, "audit", "verify")["problems"] == []
    seen = {
        event.data["address"]: event.seq for event in engine.journal.events() if event.kind == "wait.asked"
    }
    place = name.format(first=first.address, execution=attempt.execution)
    with engine.journal._session.writing() as ledger:  # type: ignore[attr-defined]
        assert ledger.newest(place) is not None
        ledger.put_newest(place, seen[{"first": first, "other": other}[seq].address])

    told = typed(capsys, "audit", "verify", code=1)

    assert "its events tell something else" in told["problems"][0]["message"]


def test_answers_go_with_an_export_and_on_from_where_it_was_imported(
    engine: Engine, attempt: Attempt, capsys: CAPTURE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = ask(engine, attempt)
    engine.journal.answer_wait(wait.address, False, by="ana@lab", source="cli", reason="too long")
    ask(engine, attempt, text="Publish the second draft?")
    engine.journal.answer_wait(wait.address, True, by="ben@lab", source="cli")
    engine.journal.finish(attempt, ExecutionStatus.WAITING)
    here = typed(capsys, "waits")

    for number in (1, 2):
        said(capsys, "export", attempt.execution, str(tmp_path / f"{number}.kt"))
        monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / f"home-{number}"))
        said(capsys, "import", str(tmp_path / f"{number}.kt"))

        assert [each | {"binding": None} for each in here] == typed(capsys, "waits")
        assert typed(capsys, "audit", "verify")["problems"] == []


def test_an_answer_that_does_not_count_is_told_where_it_is_asked_for_again(
    engine: Engine, attempt: Attempt, capsys: CAPTURE
) -> None:
    said(capsys, "answer", f"{attempt.execution}/publish", "--value", "12")
    ask(engine, attempt)
    early = said(capsys, "waits")
    said(capsys, "approve", "publish")
    ask(engine, attempt, text="Publish the second draft?")

    late = said(capsys, "waits")

    who = this_person()
    assert f"does not count: ahead of time {who} gave 12: 12 is not of type 'boolean'" in early
    assert f"does not count: {who} gave true when something else was asked or shown" in late


def test_what_an_object_looks_like_is_said_where_it_is_no_json(
    engine: Engine, attempt: Attempt, capsys: CAPTURE
) -> None:
    ask(engine, attempt, schema={"type": "object", "properties": {"readers": {"type": "integer"}}})

    shown = said(capsys, "answer", "publish", "--value", "{readers: 3}", code=2)

    assert "--value '{\"readers\": …}'" in shown


def test_who_comes_late_with_the_name_alone_is_told_who_answered(
    capsys: CAPTURE, engine: Engine, attempt: Attempt
) -> None:
    wait = ask(engine, attempt)
    engine.journal.answer_wait(wait.address, True, by="ana@lab", source="cli")

    late = said(capsys, "reject", "publish", code=1)

    assert f"`{wait.address}` was answered by ana@lab" in late


@pytest.mark.parametrize("value", ["1e400", '{"a": [-1e400]}', "[" * 500 + "]" * 500])
def test_what_could_not_be_told_again_is_no_answer(
    capsys: CAPTURE, engine: Engine, attempt: Attempt, value: str
) -> None:
    ask(engine, attempt, schema={})

    refused = typed(capsys, "answer", "publish", "--value", value, code=2)

    assert refused["error"]["kind"] == "bad-value"
    assert typed(capsys, "waits")[0]["status"] == "pending"


def test_such_a_number_that_an_early_release_took_is_told_as_text(
    capsys: CAPTURE, engine: Engine, attempt: Attempt
) -> None:
    wait = ask(engine, attempt, schema={})
    engine.journal.answer_wait(wait.address, {"a": [float("inf")]}, by="ana@lab", source="cli")

    (found,) = typed(capsys, "waits")

    assert found["answer"] == {"a": ["Infinity"]}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("password", "hunter2-Zq9xWv7"),
        ("login", {"user": "ana", "password": "hunter2-Zq9xWv7"}),
        ("which", ["ghp_" + "a1B2" * 6]),
        ("which", {"https://ana:hunter2-Zq9xWv7@db/": 1}),
    ],
)
def test_a_secret_is_no_answer_since_answers_stay_on_record(
    capsys: CAPTURE, engine: Engine, attempt: Attempt, name: str, answer: Any
) -> None:
    ask(engine, attempt, name, schema={})

    refused = typed(capsys, "answer", name, "--value", json.dumps(answer), code=2)

    assert refused["error"]["kind"] == "secret-answer"
    assert "hunter2" not in json.dumps(refused)
    assert typed(capsys, "waits")[0]["status"] == "pending"


def test_what_the_question_offers_is_no_secret_whatever_its_name(
    capsys: CAPTURE, engine: Engine, attempt: Attempt
) -> None:
    ask(engine, attempt, "api-key", schema={"enum": ["staging-key-0001", "production-key-1"]})

    taken = typed(capsys, "answer", "api-key", "--value", '"staging-key-0001"')

    assert taken["answer"] == "staging-key-0001"


def test_a_secret_in_a_reason_is_masked(capsys: CAPTURE, engine: Engine, attempt: Attempt) -> None:
    ask(engine, attempt)

    taken = typed(capsys, "reject", "publish", "--reason", "it holds ghp_" + "a1B2" * 6)

    assert taken["reason"] == "it holds secret:shape:github"


def test_what_is_nested_too_deep_or_too_long_is_refused_in_few_words(
    capsys: CAPTURE, engine: Engine, attempt: Attempt
) -> None:
    ask(engine, attempt, schema={})

    for value in ("[" * 100_000, "9" * 5000):
        refused = said(capsys, "answer", "publish", "--value", value, code=2)

        assert refused.startswith(f"error: `{value[:60]}…` is not JSON")
        assert len(refused) < 400
