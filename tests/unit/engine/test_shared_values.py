"""What a result shares with older ones is written again where `gc` removes it before the commit."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from kitaru_nb import checkpoint, once, save
from kitaru_nb.artifacts.values import checked_buffers, extent_reader
from kitaru_nb.engine import files
from kitaru_nb.engine.line import Line
from kitaru_nb.engine.meter import meter_of_scope
from kitaru_nb.engine.scope import Scope
from kitaru_nb.errors import StoreError
from kitaru_nb.llm.meter import ModelAnswer, ModelRequest, RequestKey
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.cost import Usage
from kitaru_nb.model.execution import ExecutionStatus, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.testing import digest_of
from tests.unit.engine.test_calls import attempts
from tests.unit.engine.test_removed import interleaved, sweep
from tests.unit.engine.turns import Attempts
from tests.unit.notebook.shell import Shell

__all__ = ["attempts"]

LARGE = bytes(range(256)) * 2000


def recorded_before(attempts: Attempts, work: Callable[[], object]) -> None:
    """An execution that has recorded the same came to its end, so that its values may go."""
    with attempts.attempt_at("tests:old") as scope:
        work()
        execution = scope.book.execution
    attempt = attempts.engine.journal.resume(execution, owner=current_owner())
    attempts.engine.journal.finish(attempt, ExecutionStatus.COMPLETED)


def whole(home: Path, steps: list[Checkpoint]) -> None:
    """Every byte that these steps stored is there, for another process."""
    with closing(open_engine(Settings(home=home))) as engine:
        engine.trust.require(steps)
        for step in steps:
            for digest in step.draft.stored:
                artifact = engine.artifact(digest)
                read = extent_reader(artifact, store=engine.store, index=engine.journal)
                for extent in (extent for row in checked_buffers(artifact) for extent in row):
                    assert len(read(extent)) == extent.length


@checkpoint
def call() -> bytes:
    return bytes(LARGE)


WAYS: dict[str, Callable[[], object]] = {
    "call": call,
    "once": lambda: once("key", lambda: bytes(LARGE)),
    "save": lambda: save("value", bytes(LARGE)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_result_is_written_again(attempts: Attempts, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    home = attempts.engine.settings.home
    recorded_before(attempts, WAYS[way])

    with attempts.attempt() as scope:
        met = interleaved(monkeypatch, "before-commit", lambda: sweep(home))
        WAYS[way]()
        found = scope.book.results()

    assert met == ["before-commit"]
    whole(home, found)


@pytest.mark.parametrize(
    "point", ["before-extent-write", "after-extent-write", "before-flush", "after-flush"]
)
def test_new_bytes_that_gc_takes_for_waste_are_written_again(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    home = attempts.engine.settings.home
    with attempts.attempt() as scope:
        save("first", 1)
        met = interleaved(monkeypatch, point, lambda: sweep(home))
        call()
        found = scope.book.results()

    assert met == [point]
    whole(home, found)


@pytest.fixture
def old_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files were written long enough ago for their stored bytes to be remembered."""
    now = files.now_ns
    monkeypatch.setattr(files, "now_ns", lambda: now() + 10_000_000_000)


@pytest.mark.usefixtures("old_files")
def test_a_file_that_a_call_wrote_is_stored_again(
    attempts: Attempts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = attempts.engine.settings.home
    monkeypatch.chdir(tmp_path)

    @checkpoint
    def write() -> None:
        Path("out.bin").write_bytes(LARGE)

    recorded_before(attempts, write)

    with attempts.attempt() as scope:
        met = interleaved(monkeypatch, "before-commit", lambda: sweep(home))
        write()
        found = scope.book.results()

    assert met == ["before-commit"]
    assert [file["bytes"] for step in found for file in step.draft.files] == [len(LARGE)]
    whole(home, found)


def asked(messages: int) -> ModelRequest:
    """A request whose body grows with each message, as an agent's does."""
    told = [{"role": "user", "content": f"{number} " + "x" * 90_000} for number in range(messages)]
    body = json.dumps({"model": "m", "messages": told}).encode()
    key = RequestKey(digest_of(f"asked {messages}"))
    return ModelRequest(key, "POST", "https://m/v1", "openai-chat", "m", None, False, body, 100, 10)


def answered(scope: Scope, messages: int) -> None:
    """A model call is made and put on record."""
    ticket = meter_of_scope(scope).begin(asked(messages))
    assert not isinstance(ticket, ModelAnswer)
    ticket.done(ModelAnswer(200, {}, LARGE, Usage(1, 1), "m", 0.1))


def test_a_request_to_a_model_is_written_again(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    home = attempts.engine.settings.home
    with attempts.attempt_at("tests:old") as scope:
        answered(scope, 6)
        old = scope.book.execution
    attempt = attempts.engine.journal.resume(old, owner=current_owner())
    attempts.engine.journal.finish(attempt, ExecutionStatus.COMPLETED)

    with attempts.attempt() as scope:
        met = interleaved(monkeypatch, "before-commit", lambda: sweep(home))
        answered(scope, 6)
        answered(scope, 7)
        found = scope.book.results()

    assert met == ["before-commit"]
    whole(home, found)


def test_a_request_shares_nothing_with_one_that_could_not_be_recorded(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StoreError("the disk is full", kind="journal-full", hint="make room")

    with attempts.attempt() as scope:
        answered(scope, 5)
        with monkeypatch.context() as patch:
            patch.setattr(attempts.engine.journal, "commit", full)
            with pytest.raises(StoreError):
                answered(scope, 6)
        (fifth,) = scope.book.results()
        assert scope.book.last_request in fifth.draft.stored, "what is on record may be shared"
        answered(scope, 7)
        answered(scope, 8)
        found = scope.book.results()

    assert len(found) == 3
    whole(attempts.engine.settings.home, found)


LOOP = """%%checkpoint train
import kitaru_nb, pathlib
big, done = bytes(range(256)) * 2000, []
for n in kitaru_nb.steps(range(3), every=0):
    pathlib.Path("out.bin").write_bytes(big)
    done.append(n)
    meet(n)
"""


@pytest.mark.usefixtures("old_files")
def test_the_position_of_a_loop_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, looked, again = tmp_path / "home", list[Line](), Line.look_again
    monkeypatch.setattr(Line, "look_again", lambda line: (looked.append(line), again(line)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KITARU_NB_HOME", str(home))
    for name in ("old", "new"):
        monkeypatch.setenv("KITARU_NB_NOTEBOOK", str(tmp_path / f"{name}.ipynb"))
        shell = Shell()
        met: list[str] = []

        def meet(number: int, name: str = name, met: list[str] = met) -> None:
            if (name, number) == ("new", 0):
                met[:] = interleaved(monkeypatch, "before-commit", lambda: sweep(home))

        shell.ip.user_ns["meet"] = meet
        result = shell.run(LOOP, "a")
        assert result.error_in_exec is None
        shell.stop()

    with closing(open_engine(Settings(home=home))) as engine:
        newest = engine.journal.execution("latest").id
        kept = engine.journal.steps_within(newest)
        cells = engine.journal.checkpoints(newest)
    assert [step.draft.data.get("position") for step in kept][:2] == [1, 2]
    assert len(looked) == 1
    whole(home, [*kept, *cells])
