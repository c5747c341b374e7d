"""What a running step shows: noted while it runs, once, and bounded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine import live_outputs
from kitaru_nb.engine.capture import Message, Output, fold
from kitaru_nb.engine.live_outputs import CLEARED, SHOWN, TOLD, LiveOutputs, shown_by, unended_step
from kitaru_nb.engine.logs import log_of
from kitaru_nb.errors import NotFoundError, StoreError
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.checkpoint import CheckpointStatus
from kitaru_nb.model.execution import Attempt, Identity, current_owner
from kitaru_nb.testing import a_draft
from tests.patience import PATIENCE

RUN = Identity(notebook="/n.ipynb")


class Screen:
    """A sink whose messages a test writes."""

    def __init__(self) -> None:
        self.shown: list[Message] = []

    def print(self, text: str) -> None:
        self.shown.append(("stream", {"name": "stdout", "text": text}))

    def begin(self) -> None:
        self.shown = []

    def end(self) -> list[Output]:
        return fold(self.shown)

    def mark(self) -> int:
        return len(self.shown)

    def since(self, mark: int) -> list[Output]:
        return fold(self.shown[mark:])

    def messages(self, mark: int) -> tuple[Sequence[Message], int]:
        return self.shown[mark:], len(self.shown)

    def repeat(self, outputs: Sequence[Output]) -> None:
        raise NotImplementedError


class Notes:
    """What was noted; a test can wait for the next note."""

    def __init__(self) -> None:
        self.all: list[Mapping[str, Any]] = []
        self._came = threading.Condition()

    def __call__(self, shown: Mapping[str, Any]) -> None:
        with self._came:
            self.all.append(shown)
            self._came.notify_all()

    def wait_for(self, number: int) -> None:
        with self._came:
            assert self._came.wait_for(lambda: len(self.all) >= number, timeout=30)

    @property
    def text(self) -> str:
        outputs = [output for note in self.all for output in note["outputs"]]
        return "".join(output.get("text", "") for output in outputs)


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def live(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveOutputs]:
    """One for which every step is long."""
    for name in ("_SOON", "_SHARE", "_LONGEST"):
        monkeypatch.setattr(live_outputs, name, 0.0)
    monkeypatch.setattr(live_outputs, "_SHORTEST", 0.01)
    live = LiveOutputs(notes)
    yield live
    live.close()


def test_a_step_that_ends_soon_leaves_nothing_beside_its_own_record(notes: Notes, screen: Screen) -> None:
    live = LiveOutputs(notes)
    live.begin("quick", screen)
    screen.print("1\n")

    assert live.end() is False
    assert notes.all == []
    live.close()


def test_looks_are_a_second_apart_and_farther_the_longer_a_step_runs(screen: Screen) -> None:
    step = live_outputs._Step("train", screen, since=100.0, looked=100.0)

    def after(ran: float, looked: float) -> bool:
        step.looked = 100 + looked
        return step.is_due(100 + ran)

    assert [after(ran, 0) for ran in (1.9, 2.0)] == [False, True]
    assert [after(ran, 50) for ran in (50.9, 51.0)] == [False, True]
    assert [after(ran, 500) for ran in (505.0, 505.1)] == [False, True]
    assert [after(ran, 5000) for ran in (5009.9, 5010.0)] == [False, True]


def test_what_a_long_step_shows_is_noted_as_it_appears_and_once(
    live: LiveOutputs, notes: Notes, screen: Screen
) -> None:
    live.begin("train", screen)
    screen.print("epoch 1\n")
    notes.wait_for(1)
    screen.print("epoch 2\n")
    notes.wait_for(2)
    screen.print("done\n")

    assert live.end() is True
    screen.print("no step's\n")
    assert live.end() is False, "none runs"
    assert {note["checkpoint"] for note in notes.all} == {"train"}
    assert notes.text == "epoch 1\nepoch 2\ndone\n"


def test_the_next_step_starts_with_nothing_noted(live: LiveOutputs, notes: Notes, screen: Screen) -> None:
    live.begin("one", screen)
    screen.print("1\n")
    notes.wait_for(1)
    live.end()
    screen.begin()
    live.begin("two", screen)
    screen.print("2\n")
    notes.wait_for(2)

    assert live.end() is True
    assert [(note["checkpoint"], note["outputs"][0]["text"]) for note in notes.all] == [
        ("one", "1\n"),
        ("two", "2\n"),
    ]


def test_a_step_after_a_long_silence_is_seen(
    live: LiveOutputs, notes: Notes, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_outputs, "_IDLE", -1.0)  # nobody looks whenever nothing runs
    for number in (1, 2, 3):
        screen.begin()
        live.begin("step", screen)
        screen.print(f"{number}\n")
        notes.wait_for(number)
        assert live.end() is True
        deadline = time.monotonic() + PATIENCE
        while not live._sleeps:
            assert time.monotonic() < deadline
            time.sleep(0.001)  # polls, bounded by the deadline

    assert notes.text == "1\n2\n3\n"


@pytest.mark.parametrize(
    ("shown", "left"),
    [
        ("  1 %\r 50 %\r100 %\nnext\n", "\r100 %\nnext\n"),
        ("  1 %\r 50 %\r", "\r 50 %\r"),
        ("one\r\ntwo\r", "one\ntwo\r"),
    ],
)
def test_of_a_progress_bar_its_last_state_is_noted(
    live: LiveOutputs, notes: Notes, screen: Screen, shown: str, left: str
) -> None:
    screen.print(shown)
    live.begin("train", screen)
    notes.wait_for(1)
    live.end()

    assert notes.text == left


KEYS = [
    pytest.param("token is sk-canary-01", "23456789abcdefghijkl", id="shape"),
    pytest.param("Authorization: Bearer ", "q8Zr4Tn1Lw7Xs2Vb9Km5", id="header"),
    pytest.param("https://me:q8Zr4Tn1!Lw", "7Xs2Vb9Km5@host/x", id="url"),
    pytest.param("say q8 Zr4-Tn1", " Lw7 Xs2!Vb9", id="known"),
    pytest.param("say q8 Zr4-Tn1 Lw7 X", "s2!Vb9", id="known-with-a-word-after-a-space"),
    pytest.param(
        "-----BEGIN RSA PRIVATE KEY-----\nq8Zr4Tn1\n", "Lw7Xs2Vb9\n-----END RSA PRIVATE KEY-----", id="pem"
    ),
    pytest.param("say q8 Zr4-Tn1 Lw7 Xs2!Vb9", "", id="known-and-all-there"),
    pytest.param(
        "-----BEGIN RSA PRIVATE KEY-----\nq8Zr4Tn1\nLw7Xs2Vb9\n-----END RSA PRIVATE KEY-----",
        "",
        id="pem-and-all-there",
    ),
    pytest.param("AKIAQ8ZR4TN1LW7XS2VB and\n", "q8Zr4Tn1Lw7Xs2Vb9Km5q8Zr4Tn1Lw7Xs2Vb9Km5", id="pair"),
]


@pytest.fixture
def phrase() -> Iterator[None]:
    """A secret with words in it is known."""
    VAULT.meet("phrase", "q8 Zr4-Tn1 Lw7 Xs2!Vb9")
    yield
    VAULT.forget()


@pytest.mark.usefixtures("phrase")
@pytest.mark.parametrize(("begin", "rest"), KEYS)
def test_a_secret_that_comes_in_two_pieces_is_noted_in_neither(
    live: LiveOutputs, notes: Notes, screen: Screen, begin: str, rest: str
) -> None:
    screen.print(f"before\n{begin}")
    live.begin("train", screen)
    notes.wait_for(1)
    screen.print(f"{rest}\nafter\n")
    notes.wait_for(2)

    assert live.end() is True
    assert notes.text.startswith("before\n")
    assert notes.text.endswith("\nafter\n")
    assert "secret:" in notes.text
    pieces = ("q8", "canary", "Lw7", "Xs2", "Vb9", "Km5", "456789", "KEY-----")
    assert not any(piece in notes.text for piece in pieces)


@pytest.mark.usefixtures("phrase")
def test_a_secret_in_a_steps_name_is_not_noted(live: LiveOutputs, notes: Notes, screen: Screen) -> None:
    screen.print("1\n")
    live.begin("with q8 Zr4-Tn1 Lw7 Xs2!Vb9", screen)
    notes.wait_for(1)

    assert notes.all[0]["checkpoint"].startswith("with ")
    assert "Vb9" not in notes.all[0]["checkpoint"]


def test_what_became_known_for_a_secret_meanwhile_is_not_noted(notes: Notes, screen: Screen) -> None:
    live = LiveOutputs(notes, learn=lambda: VAULT.meet("phrase", "q8 Zr4-Tn1 Lw7 Xs2!Vb9"))
    live.begin("train", screen)
    screen.print("say q8 Zr4-Tn1 Lw7 Xs2!Vb9\n")
    live._take(live._step)  # type: ignore[arg-type] # it runs
    live.close()
    VAULT.forget()

    assert notes.text == "say secret:name:phrase\n"


def test_no_secret_is_cut_where_a_long_text_is(live: LiveOutputs, notes: Notes, screen: Screen) -> None:
    screen.print("sk-canary-0123456789abcdefghijkl" + "\n" + "x\n" * ((64 << 9) - 8))
    live.begin("train", screen)
    notes.wait_for(1)

    assert live.end() is False
    assert "ghijkl" not in notes.text


def test_dots_and_bars_are_noted_at_once(live: LiveOutputs, notes: Notes, screen: Screen) -> None:
    live.begin("train", screen)
    screen.print("....")
    notes.wait_for(1)
    screen.print("\r 50%|███   | 5/10 [00:01<00:01, 4.95it/s]")
    notes.wait_for(2)

    assert notes.text == "....\r 50%|███   | 5/10 [00:01<00:01, 4.95it/s]"
    assert live.end() is True


@pytest.mark.parametrize("wait", [False, True])
def test_what_was_cleared_later_is_not_shown(
    live: LiveOutputs, notes: Notes, screen: Screen, *, wait: bool
) -> None:
    live.begin("train", screen)
    screen.print("state 1\n")
    notes.wait_for(1)
    screen.shown += [("clear_output", {"wait": wait}), ("stream", {"name": "stdout", "text": "state 2\n"})]
    notes.wait_for(2)

    assert [note.get(CLEARED, False) for note in notes.all] == [False, True]
    assert notes.all[1]["outputs"] == fold(screen.shown)


def test_a_clearing_waits_for_what_comes_next(live: LiveOutputs, notes: Notes, screen: Screen) -> None:
    live.begin("train", screen)
    screen.shown += [("stream", {"name": "stdout", "text": "1\n"}), ("clear_output", {"wait": True})]
    notes.wait_for(1)
    screen.print("2\n")
    notes.wait_for(2)
    live.end()

    assert [note.get(CLEARED, False) for note in notes.all] == [False, True]


def test_a_large_output_waits_for_the_steps_own_record(
    live: LiveOutputs, notes: Notes, screen: Screen
) -> None:
    picture = {"data": {"image/png": "x" * 100_000, "text/plain": "<Figure>"}, "metadata": {}}
    screen.shown.append(("display_data", picture))
    live.begin("plot", screen)
    notes.wait_for(1)

    assert live.end() is False  # so the record's outputs are told
    assert notes.all[0]["outputs"][0]["data"] == {"text/plain": "<Figure>"}


def test_what_is_noted_of_one_step_is_bounded(
    live: LiveOutputs, notes: Notes, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_outputs, "_ALL", 300)
    live.begin("chatty", screen)
    for number in range(1, 3):
        screen.print("x" * 50 + "\n")
        notes.wait_for(number)
    screen.print("y" * 300)

    assert live.end() is False
    assert notes.text == ("x" * 50 + "\n") * 2


def test_of_a_step_that_shows_nothing_it_is_noted_once_that_it_runs(
    live: LiveOutputs, notes: Notes, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_outputs, "_SILENT", 0.0)
    live.begin("train", screen, step="cell:a")
    notes.wait_for(1)
    screen.print("at last\n")
    notes.wait_for(2)

    assert live.end() is True
    assert [note["outputs"] for note in notes.all[:2]] == [[], [stream("at last\n")]]
    assert notes.all[0] == {"checkpoint": "train", "step": "cell:a", "outputs": []}


def test_a_step_that_showed_nothing_leaves_its_outputs_to_its_record(
    live: LiveOutputs, notes: Notes, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_outputs, "_SILENT", 0.0)
    live.begin("train", screen)
    notes.wait_for(1)

    assert live.end() is False


@pytest.mark.usefixtures("live")
def test_a_journal_that_refuses_does_not_stop_the_step(screen: Screen) -> None:
    asked = threading.Event()

    def refuse(_shown: Mapping[str, Any]) -> None:
        asked.set()
        raise StoreError("no room", kind="journal-full", hint="make room")

    refused = LiveOutputs(refuse)
    refused.begin("train", screen)
    screen.print("1\n")
    assert asked.wait(30)

    assert refused.end() is False
    refused.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(tmp_path / "journal.db")
    yield opened
    opened.close()


@pytest.fixture
def attempt(journal: SqliteJournal) -> Attempt:
    return journal.start(RUN, owner=current_owner())[0]


def stream(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text}


def test_the_log_tells_what_was_noted_and_not_again_with_the_record(
    journal: SqliteJournal, attempt: Attempt
) -> None:
    journal.note_shown(attempt, {"checkpoint": "train", "outputs": [stream("1\n")]})
    journal.note_shown(attempt, {"checkpoint": "train", "outputs": [stream("2\n")]})
    draft = a_draft(name="train", outputs=(stream("1\n2\n"),))
    journal.commit(attempt, draft.having(data={TOLD: True}))
    journal.commit(attempt, draft.having(data={TOLD: True}, status=CheckpointStatus.RESTORED))

    lines = [(line.text, line.stream) for line in log_of(journal, attempt.execution).lines]

    assert [text for text, where in lines if where == "stdout"] == ["1", "2", "1\n2"]


def test_what_runs_is_shown_from_its_notes_and_what_ended_from_its_record(
    journal: SqliteJournal, attempt: Attempt
) -> None:
    execution = journal.execution(attempt.execution)
    with pytest.raises(NotFoundError, match="train"):
        shown_by(journal, execution, "train")
    journal.note_shown(attempt, {"checkpoint": "train", "outputs": [stream("1\n")]})
    journal.note_shown(attempt, {"checkpoint": "train", "outputs": [stream("2\n")]})
    journal.note_shown(attempt, {"checkpoint": "other", "outputs": [stream("no\n")], CLEARED: True})
    running = shown_by(journal, execution, "train")
    journal.commit(attempt, a_draft(name="train", outputs=(stream("1\n2\n3\n"),)))
    ended = shown_by(journal, execution, "train")
    journal.note_shown(attempt, {"checkpoint": "train", "outputs": [stream("again\n")]})
    again = shown_by(journal, execution, "train")

    journal.note_shown(attempt, {"checkpoint": "train", "outputs": [stream("anew\n")], CLEARED: True})
    cleared = shown_by(journal, execution, "train")

    assert (cleared.outputs, cleared.ended) == ([stream("anew\n")], False)
    assert (running.outputs, running.ended) == ([stream("1\n2\n")], False)
    assert (ended.outputs, ended.ended) == ([stream("1\n2\n3\n")], True)
    assert (again.outputs, again.ended) == ([stream("again\n")], False)


def test_the_step_that_runs_is_found_without_its_name(journal: SqliteJournal, attempt: Attempt) -> None:
    execution = journal.execution(attempt.execution)
    with pytest.raises(NotFoundError, match=r"no step of ex_\w+ runs"):
        unended_step(journal, execution)
    journal.note_shown(attempt, {"checkpoint": "load", "outputs": [stream("0\n")]})
    journal.commit(attempt, a_draft(name="load", outputs=(stream("0\n"),)))
    journal.note_shown(attempt, {"checkpoint": "train", "outputs": [stream("1\n")]})
    journal.commit(attempt, a_draft(name="inner"))  # a step that the running one calls
    journal.record_event(attempt.execution, SHOWN, {"checkpoint": 3})

    running = unended_step(journal, execution)
    journal.commit(attempt, a_draft(name="train", outputs=(stream("1\n"),)))

    assert running == "train"
    with pytest.raises(NotFoundError):
        unended_step(journal, execution)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"checkpoint": "train", "outputs": 3},
        {
            "checkpoint": "train",
            "outputs": [3, {"output_type": "stream"}, {"output_type": "x"}, stream("ok\n")],
        },
        {"checkpoint": ["train"], "outputs": [stream("ok\n")]},
        {
            "checkpoint": "train",
            "outputs": [{"output_type": "update_display_data", "data": {}, "transient": 3}],
        },
        {"checkpoint": "train", "outputs": [], CLEARED: "x"},
    ],
)
def test_notes_of_anybody_can_be_read(
    journal: SqliteJournal, attempt: Attempt, data: Mapping[str, Any]
) -> None:
    journal.record_event(attempt.execution, SHOWN, data)
    journal.note_shown(attempt, {"checkpoint": "train", "outputs": [stream("mine\n")]})

    assert log_of(journal, attempt.execution).lines[-1].text == "mine"
    shown = shown_by(journal, journal.execution(attempt.execution), "train")
    assert shown.outputs[-1]["text"].endswith("mine\n")
