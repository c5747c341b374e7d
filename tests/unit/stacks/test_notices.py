"""What is told of how an attempt ended."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.logs import log_of
from kitaru_nb.errors import UsageError
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus, Identity, current_owner
from kitaru_nb.model.notice import NoticeKind, Notify, Target
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks import notices
from kitaru_nb.stacks.notices import FAILED, SENDING, SENT, kind_of, notice_of, tell, undeliverable
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.outcome import Exit, Outcome
from kitaru_nb.stacks.webhook import signature

S, N = ExecutionStatus, NoticeKind
HOOK = Target("https://hooks.example/very/secret/path")
EXECUTION = Execution(
    ExecutionId("ex_1"),
    Identity(notebook="/home/ana/fit.ipynb", output="/x", parameters={"customer": "Ada Lovelace"}),
    S.FAILED,
    datetime(2026, 1, 1, tzinfo=UTC),
)


def outcome(status: S = S.FAILED, code: Exit = Exit.FAILED, **more) -> Outcome:
    return Outcome(status, code, more.pop("execution", ExecutionId("ex_1")), **more)


@pytest.fixture
def engine(request: pytest.FixtureRequest):
    """An engine that tells of everything, with one failed execution."""
    targets = getattr(request, "param", (Target(HOOK.to, tuple(N)),))
    settings = Settings(home=Path(os.environ["KITARU_NB_HOME"]), notify=Notify(targets))
    with closing(open_engine(settings)) as opened:
        yield opened


@pytest.fixture
def ended(engine: Engine) -> ExecutionId:
    attempt, _ = engine.journal.start(EXECUTION.identity, owner=current_owner())
    engine.journal.finish(attempt, S.FAILED, reason="ValueError: no")
    return attempt.execution


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    sent: list[str] = []
    monkeypatch.setattr(notices, "_deliver", lambda target, notice, own: sent.append(notice.key))
    return sent


def kinds(engine: Engine, execution: ExecutionId) -> list[str]:
    return [e.kind for e in engine.journal.events(execution) if e.kind.startswith("notice.")]


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        (outcome(S.COMPLETED, Exit.COMPLETED), N.COMPLETED),
        (outcome(), N.FAILED),
        (outcome(code=Exit.TIMED_OUT), N.FAILED),
        (outcome(S.INTERRUPTED, Exit.KERNEL_DIED), N.DIED),
        (outcome(S.INTERRUPTED, Exit.SIGTERM), N.INTERRUPTED),
        (outcome(S.CANCELLED, Exit.SIGTERM), N.CANCELLED),
        (outcome(S.WAITING, Exit.WAITING, wait="ex_1/publish"), N.WAITING),
        (outcome(S.WAITING, Exit.WAITING), N.BUDGET),
    ],
)
def test_an_end_is_told_as_what_it_is(what: Outcome, kind: N) -> None:
    assert kind_of(what) is kind


def test_a_notice_says_what_where_and_what_to_type_and_nothing_that_cells_hold() -> None:
    failed = outcome(checkpoint="fit", reason="ValueError: no rows", traceback="...line with data...")

    notice = notice_of(EXECUTION, failed, N.FAILED)

    assert notice.title == "fit.ipynb failed at fit"
    assert "kitaru-nb resume ex_1" in notice.text
    assert notice.document["id"] == "ex_1/failed/fit"
    told = notice.text + json.dumps(notice.document)
    assert "Ada" not in told
    assert "line with data" not in told
    assert "/home/ana" not in told


def test_a_secret_in_a_reason_is_masked() -> None:
    secret = "sk-" + "q7Kd93jfLw0Zx8Vb2Nm4"
    VAULT.give("SERVICE_API_KEY", secret)

    notice = notice_of(EXECUTION, outcome(reason=f"Refused: {secret}"), N.FAILED)

    assert secret not in notice.text + json.dumps(notice.document)


def test_a_long_reason_is_cut() -> None:
    notice = notice_of(EXECUTION, outcome(reason="x" * 10_000), N.FAILED)

    assert len(notice.text) < 1000


def test_one_notice_per_thing_that_happened(engine: Engine, ended: ExecutionId, delivered: list[str]) -> None:
    tell(engine, outcome(execution=ended, checkpoint="fit"))
    tell(engine, outcome(execution=ended, checkpoint="fit"))
    tell(engine, outcome(execution=ended, checkpoint="plot"))
    asks = {"wait": f"{ended}/publish", "execution": ended}
    tell(engine, outcome(S.WAITING, Exit.WAITING, reason="waits: Publish?", **asks))
    tell(engine, outcome(S.WAITING, Exit.WAITING, reason="waits: Publish?", **asks))
    tell(engine, outcome(S.WAITING, Exit.WAITING, reason="waits: Publish it?", **asks))

    assert len(delivered) == 4
    assert kinds(engine, ended) == [SENDING, SENT] * 4


def test_of_any_number_that_come_to_the_same_end_one_tells(
    engine: Engine, ended: ExecutionId, delivered: list[str]
) -> None:
    def come(_: int) -> None:
        with closing(open_engine(engine.settings)) as own:
            tell(own, outcome(execution=ended))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(come, range(8)))

    assert delivered == [f"{ended}/failed"]


def test_a_notice_that_a_crash_cut_short_is_not_sent_again(
    engine: Engine, ended: ExecutionId, delivered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(notices.threading.Thread, "start", die)
        with pytest.raises(Killed):
            tell(engine, outcome(execution=ended))
    tell(engine, outcome(execution=ended))

    assert (delivered, kinds(engine, ended)) == ([], [SENDING])


def test_nobody_is_told_of_a_failure_that_is_tried_again_or_of_a_lost_race(
    engine: Engine, ended: ExecutionId, delivered: list[str]
) -> None:
    tell(engine, outcome(execution=ended), retried=True)
    tell(engine, outcome(S.INTERRUPTED, Exit.KERNEL_DIED, execution=ended), retried=True)
    tell(engine, outcome(S.INTERRUPTED, Exit.SUPERSEDED, execution=ended))

    assert (delivered, kinds(engine, ended)) == ([], [])


def test_what_is_not_tried_again_is_told_although_attempts_are_left(
    engine: Engine, ended: ExecutionId, delivered: list[str]
) -> None:
    tell(engine, outcome(code=Exit.USAGE, execution=ended), retried=True)

    assert delivered == [f"{ended}/failed"]


@pytest.mark.parametrize("engine", [(HOOK,)], indirect=True)
def test_what_nobody_asked_for_is_not_told(engine: Engine, ended: ExecutionId, delivered: list[str]) -> None:
    tell(engine, outcome(S.COMPLETED, Exit.COMPLETED, execution=ended))
    tell(engine, outcome(S.INTERRUPTED, Exit.SIGTERM, execution=ended))

    assert delivered == []


def test_what_goes_wrong_is_on_record_and_raises_nothing(
    engine: Engine, ended: ExecutionId, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("the network is down")

    monkeypatch.setattr(notices, "_deliver", refuse)

    tell(engine, outcome(execution=ended))

    (event,) = [e for e in engine.journal.events(ended) if e.kind == FAILED]
    assert event.data["problem"] == "RuntimeError: the network is down"
    assert event.data["to"] == "https://hooks.example"
    assert "very/secret" not in json.dumps([dict(e.data) for e in engine.journal.events(ended)])


def test_a_journal_that_fails_raises_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(engine, outcome(execution=ExecutionId("ex_unknown")))


def test_a_projects_file_may_not_send_other_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANK_PASSWORD", "https://hunter2.example")

    with pytest.raises(UsageError) as refused:
        notices._revealed("secret:env:BANK_PASSWORD", "who is told", own=False)

    assert "hunter2" not in str(refused.value)
    assert notices._revealed("secret:env:BANK_PASSWORD", "who is told", own=True).endswith("hunter2.example")


@pytest.mark.parametrize(
    ("source", "own"),
    [
        ("argument", True),
        ("KITARU_NB_NOTIFY", True),
        ("/srv/x/pyproject.toml", False),
        ("stack t in /x", False),
    ],
)
def test_only_what_the_user_said_is_their_own(source: str, own: bool) -> None:
    assert notices._is_own(Settings(home=Path("/x"), sources={"notify": source})) is own


def test_a_signature_is_that_of_standard_webhooks() -> None:
    # the example of the specification's own libraries
    secret = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

    made = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_projects_file_writes_out_no_address_that_apprise_would_look_for_itself() -> None:
    written = Target("json://127.0.0.1:1/hook")

    with pytest.raises(UsageError, match="webhooks and mail addresses only"):
        notices._deliver(written, notice_of(EXECUTION, outcome(), N.FAILED), own=False)


def test_who_cannot_be_told_for_want_of_a_secret_is_named_before_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    targets = (HOOK, Target("mailto:ana@example.org"), Target("secret:env:KITARU_NB_NOTIFY_CHAT"))
    settings = Settings(home=tmp_path, notify=Notify(targets))

    said = undeliverable(settings)

    assert [line.partition(" will not be told: ")[0] for line in said] == [
        "https://hooks.example",
        "mailto:ana@example.org",
        "secret:env:KITARU_NB_NOTIFY_CHAT",
    ]
    assert "export KITARU_NB_NOTIFY_SECRET" in said[0]
    assert "secret/path" not in said[0]
    monkeypatch.setenv("KITARU_NB_NOTIFY_SECRET", "0123456789abcdef")
    monkeypatch.setenv("KITARU_NB_NOTIFY_SMTP", "smtp://a:b@127.0.0.1:1")
    monkeypatch.setenv("KITARU_NB_NOTIFY_CHAT", "https://hooks.example/chat")
    assert undeliverable(settings) == []


@pytest.mark.parametrize("engine", [(HOOK,)], indirect=True)
def test_the_log_says_who_was_not_told_and_why(engine: Engine, ended: ExecutionId) -> None:
    tell(engine, outcome(execution=ended))

    lines = [
        line.text for line in log_of(engine.journal, ended).lines if line.event.kind.startswith("notice.")
    ]

    assert lines[0] == "notice sending to https://hooks.example"
    assert lines[1].startswith("notice failed to https://hooks.example: what a webhook is signed with")
