"""`wait` in flows: suspended, answered by whoever, gone on with."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pydantic
import pytest

from kitaru_nb import checkpoint, flow, gather, wait
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine import form_schema
from kitaru_nb.engine.context import current_scope, provide_front
from kitaru_nb.errors import NotFoundError, Suspended, SuspendedExit, TimedOutError, UsageError
from kitaru_nb.model.execution import ExecutionStatus
from kitaru_nb.model.wait import OnWait, Wait, WaitStatus
from kitaru_nb.stacks.flows import here
from kitaru_nb.stacks.replaying import replay


def waits() -> list[Wait]:
    return here.engine().journal.waits()


def only_wait() -> Wait:
    (found,) = waits()
    return found


def answer(value: Any, address: str | None = None) -> Wait:
    address = only_wait().address if address is None else address
    return here.engine().journal.answer_wait(address, value, by="ana@lab", source="cli")


def status() -> ExecutionStatus:
    return here.engine().journal.execution(only_wait().execution).status


def suspended(call: Callable[..., Any], *args: Any) -> Suspended:
    with pytest.raises(Suspended) as caught:
        call(*args)
    return caught.value


class Done:
    """What has really been done, in order; in a file, since a list would be an input of the calls."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def append(self, what: str) -> None:
        with Path(self.path).open("a") as file:
            file.write(what + "\n")

    def all(self) -> list[str]:
        path = Path(self.path)
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def done(tmp_path: Path) -> Done:
    return Done(tmp_path / "done.txt")


def test_a_flow_stops_at_a_question_and_goes_on_with_its_answer(
    done: Done, capsys: pytest.CaptureFixture[str]
) -> None:
    @checkpoint
    def draft(topic: str) -> str:
        done.append("draft")
        return f"about {topic}"

    @flow
    def agent(topic: str) -> tuple[bool, str]:
        text = draft(topic)
        return wait("Publish?", show=text, name="publish"), text

    stopped = suspended(agent, "cats")

    asked = only_wait()
    assert isinstance(stopped, SuspendedExit)
    assert stopped.code == 75
    assert stopped.wait == asked.address == f"{asked.execution}/publish"
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"kitaru: waiting execution={asked.execution} wait={asked.address}"
    assert (asked.question, asked.show, asked.status) == ("Publish?", "about cats", WaitStatus.PENDING)
    assert status() is ExecutionStatus.WAITING
    assert suspended(agent, "cats").wait == asked.address, "nobody has answered yet"

    answer(True)

    assert agent("cats") == (True, "about cats")
    assert done.all() == ["draft"]
    assert status() is ExecutionStatus.COMPLETED


def test_the_answer_is_what_the_schema_says() -> None:
    @dataclass
    class Edit:
        title: str
        keep: bool = True

    @flow
    def agent() -> Edit:
        return wait("How?", Edit)

    suspended(agent)
    with pytest.raises(UsageError, match='an object with "title"'):
        answer({"keep": True})
    answer({"title": "Cats"})

    assert agent() == Edit("Cats")


def test_the_signal_passes_through_code_that_catches_exceptions() -> None:
    @flow
    def agent() -> object:
        try:
            return wait("Publish?")
        except Exception as error:  # noqa: BLE001 - as agents do
            return error

    suspended(agent)


@pytest.mark.parametrize("inside", [True, False])
def test_code_that_catches_everything_does_not_come_to_its_end_unanswered(done: Done, inside: bool) -> None:
    def careless() -> str:
        try:
            wait("Publish?")
        except BaseException:  # noqa: BLE001 - that is the point
            return "unasked"
        return "asked"

    recorded = checkpoint(careless)

    @flow
    def agent() -> str:
        found = recorded() if inside else careless()
        done.append(found)
        return found

    suspended(agent)
    assert status() is ExecutionStatus.WAITING
    answer(True)

    assert agent() == "asked"
    assert done.all() == (["asked"] if inside else ["unasked", "asked"])


def test_waits_are_told_apart_by_name_and_place() -> None:
    @flow
    def agent() -> list[bool]:
        return [wait(f"Send {name}?", name="send") for name in ("a", "b")] + [wait("All done?")]

    for value in (True, False, True):
        suspended(agent)
        pending = [each for each in waits() if each.status is WaitStatus.PENDING]
        assert len(pending) == 1
        answer(value, pending[0].address)

    assert agent() == [True, False, True]
    labels = [each.label for each in waits()]
    assert labels[:2] == ["send", "send#2"]
    assert labels[2].startswith("all-done-")


def test_a_wait_that_was_never_named_has_another_name_for_another_question() -> None:
    @flow
    def agent() -> None:
        wait(sys.argv[-1])

    suspended(agent)
    sys.argv.append("another question?")
    try:
        suspended(agent)
    finally:
        sys.argv.pop()

    first, second = waits()
    assert first.name != second.name
    assert second.name.startswith("another-question-")


def test_an_approval_does_not_carry_over_to_something_else() -> None:
    text = ["first draft"]

    @flow
    def agent() -> bool:
        return wait("Publish?", show=text[0], name="publish")

    suspended(agent)
    answer(True)
    text[0] = "second draft"

    suspended(agent)

    assert (only_wait().show, only_wait().status) == ("second draft", WaitStatus.PENDING)
    answer(False)
    assert agent() is False


def test_an_answer_can_be_given_before_the_question_is_reached() -> None:
    @flow
    def agent() -> tuple[str, bool]:
        return wait("Which?", Literal["a", "b"], name="which"), wait("Sure?", name="sure")

    execution = suspended(agent).wait.partition("/")[0]
    answer(True, f"{execution}/sure")
    answer("b", f"{execution}/which")

    assert agent() == ("b", True)


def test_after_the_deadline_the_default_counts() -> None:
    @flow
    def agent() -> bool:
        return wait("Publish?", timeout=1e-6, default=False, hold="5s")

    assert agent() is False
    assert only_wait().answered_by == "deadline"


def test_without_a_default_nobody_in_time_is_an_error_that_can_be_handled() -> None:
    @flow
    def agent() -> str:
        try:
            wait("Publish?", timeout=1e-6, hold="5s")
        except TimedOutError as error:
            return error.kind
        return "answered"

    assert agent() == "wait-expired"


def test_holding_on_goes_on_as_soon_as_somebody_answers() -> None:
    @flow
    def agent() -> bool:
        return wait("Publish?", hold="60s")

    def person() -> None:
        while not waits():
            time.sleep(0.01)  # polls; the flow is about to ask
        assert status() is ExecutionStatus.RUNNING
        answer(True)

    other = threading.Thread(target=person)
    other.start()

    assert agent() is True
    other.join()


def test_holding_on_ends_in_suspending() -> None:
    @flow
    def agent() -> bool:
        return wait("Publish?", hold=0.01)

    suspended(agent)
    assert status() is ExecutionStatus.WAITING


@pytest.mark.parametrize(("hold", "times"), [(0.01, 1), (None, 0)])
def test_who_shares_what_runs_is_told_before_code_holds_on(hold: float | None, times: int) -> None:
    told: list[bool] = []

    @flow
    def agent() -> bool:
        scope = current_scope()
        assert scope is not None
        scope.book.on_hold = lambda: told.append(True)
        return wait("Publish?", hold=hold)

    suspended(agent)

    assert len(told) == times


def test_a_coroutine_waits_without_stopping_the_others(done: Done) -> None:
    @checkpoint
    async def slow() -> int:
        await asyncio.sleep(0.05)
        done.append("slow")
        return 1

    @flow
    async def agent() -> tuple[int, bool]:
        other = slow.submit()
        approved = await wait.async_("Publish?", hold=0.2)
        return await other, approved

    with pytest.raises(Suspended):
        asyncio.run(agent())
    answer(True)

    assert asyncio.run(agent()) == (1, True)
    assert done.all() == ["slow"]


def test_a_task_group_does_not_hide_that_something_waits() -> None:
    @flow
    async def agent() -> bool:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(wait.async_("Publish?"))
        return bool(task.result())

    with pytest.raises(Suspended):
        asyncio.run(agent())
    assert status() is ExecutionStatus.WAITING
    answer(True)

    assert asyncio.run(agent()) is True


def test_calls_beside_one_that_waits_come_to_their_end_first(done: Done) -> None:
    @checkpoint
    def review(item: int) -> bool:
        if item == 1:
            return wait(f"Take {item}?", name="take")
        done.append(str(item))
        return True

    @flow
    def agent() -> list[bool]:
        return list(gather(*(review.submit(item) for item in range(4))))

    suspended(agent)
    assert sorted(done.all()) == ["0", "2", "3"]
    answer(False)

    assert agent() == [True, False, True, True]
    assert len(done.all()) == 3


def test_each_item_of_a_map_asks_for_itself() -> None:
    @checkpoint
    def review(item: str) -> bool:
        return wait(f"Take {item}?", name="take", show=item)

    @flow
    def agent() -> list[bool]:
        return list(review.map(["a", "b", "c"], max_workers=1))

    suspended(agent)
    assert {each.label for each in waits()} == {"take", "take#2", "take#3"}
    for each in waits():
        answer(each.show != "b", each.address)

    assert agent() == [True, False, True]


def test_a_flow_that_waits_makes_the_flow_that_calls_it_wait() -> None:
    @flow
    def inner() -> bool:
        return wait("Publish?")

    @flow
    def outer() -> bool:
        return inner()

    stopped = suspended(outer)
    journal = here.engine().journal
    assert [each.status for each in journal.executions()] == [ExecutionStatus.WAITING] * 2
    (event,) = [journal.suspended(each.id) for each in journal.executions() if each.identity.within is None]
    assert event is not None
    assert event.data["wait"] == stopped.wait
    answer(True)

    assert outer() is True


def test_a_run_in_the_background_waits_like_any_other() -> None:
    @flow
    def agent() -> bool:
        return wait("Publish?")

    handle = agent.run()
    assert isinstance(suspended(handle.result), SuspendedExit)
    assert handle.status is ExecutionStatus.WAITING
    answer(True)

    assert agent.run().result() is True


@checkpoint
def _draft(folder: str) -> str:
    Done(Path(folder) / "done.txt").append("draft")
    return "draft"


@flow
def _reviewed(folder: str) -> tuple[bool, bool]:
    kept = wait("Take the draft?", show=_draft(folder), name="take")
    return kept, wait(f"Publish the {_which[0]} one?", name="publish")


_which = {0: "first"}


def test_a_replay_keeps_what_people_have_answered(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in (True, False):
        suspended(_reviewed, str(tmp_path))
        answer(value, waits()[-1].address)
    assert _reviewed(str(tmp_path)) == (True, False)
    monkeypatch.setitem(_which, 0, "second")

    replayed = replay(waits()[0].execution, from_="_draft")
    stopped = suspended(replayed.result)

    asked = here.engine().journal.waits(replayed.execution)
    assert [each.status for each in asked] == [WaitStatus.ANSWERED, WaitStatus.PENDING]
    assert (asked[0].answered_by, asked[0].lent) == ("ana@lab", waits()[0].address)
    assert stopped.wait == asked[1].address, "it asks something else"
    assert done.all() == ["draft", "draft"]


def test_an_answer_that_the_type_does_not_take_is_asked_for_once_more() -> None:
    class Even(pydantic.RootModel[int]):
        @pydantic.field_validator("root")
        @classmethod
        def _even(cls, value: int) -> int:
            if value % 2:
                raise ValueError("it has to be even")
            return value

    @flow
    def agent() -> int:
        return wait("How many?", Even).root

    suspended(agent)
    answer(3)
    suspended(agent)
    assert "it has to be even" in str(only_wait().refused)
    answer(4)

    assert agent() == 4


@dataclass
class Choice:
    n: int
    shown: str = field(init=False, default="")


@flow
def chooses() -> Choice:
    return wait("Which?", Choice)


def test_an_answer_names_nothing_that_a_dataclass_does_not_take() -> None:
    suspended(chooses)

    with pytest.raises(UsageError, match="'zz' was unexpected"):
        answer({"n": 1, "zz": 2})
    answer({"n": 1})

    assert chooses() == Choice(1)


def test_a_question_that_an_earlier_release_asked_takes_what_it_took_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(form_schema, "closed_schema", lambda adapter: adapter.json_schema())
        suspended(chooses)
    suspended(chooses)

    answer({"n": 1, "zz": 2})

    assert chooses() == Choice(1)


def test_somebody_is_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    seen = tmp_path / "seen.json"
    command = f"{sys.executable} -c \"import sys; open({str(seen)!r}, 'a').write(sys.stdin.read())\""

    @flow
    def agent() -> tuple[bool, bool]:
        return (
            wait("Publish?", notify=lambda each: told.append(each.question)),
            wait("Really?", notify=command),
        )

    suspended(agent)
    suspended(agent)
    assert told == ["Publish?"]
    answer(True)
    suspended(agent)

    assert told == ["Publish?"]
    assert '"question": "Really?"' in seen.read_text()


def test_a_notice_that_fails_loses_no_question() -> None:
    @flow
    def agent() -> bool:
        return wait("Publish?", notify="no-such-command-here")

    with pytest.warns(UserWarning, match="nobody was told"):
        suspended(agent)
    assert only_wait().status is WaitStatus.PENDING


class Front:
    """A front end that is told, and asks nobody."""

    def __init__(self, on_wait: OnWait | None) -> None:
        self.on_wait = on_wait
        self.told: list[tuple[str, float]] = []

    def ask(self, wait: Wait, give: Callable[[Any], object]) -> bool:
        del wait, give
        return False

    def tell(self, wait: Wait, show: object, *, held: float) -> None:
        del show
        self.told.append((wait.question, held))

    def answered(self, wait: Wait) -> None:
        self.told.append((str(wait.answer), 0))


@pytest.fixture
def front() -> Iterator[Callable[[OnWait | None], Front]]:
    def put(on_wait: OnWait | None) -> Front:
        made = Front(on_wait)
        provide_front(lambda: made)
        return made

    yield put
    provide_front(None)


def test_what_the_run_is_told_counts_before_what_the_code_says(
    front: Callable[[OnWait | None], Front],
) -> None:
    @flow
    def agent() -> bool:
        return wait("Publish?", hold="1h")

    at_once = front(OnWait())
    suspended(agent)
    assert at_once.told == [("Publish?", 0)]

    front(OnWait(fail=True))
    with pytest.raises(NotFoundError) as refused:
        agent()
    assert refused.value.kind == "no-answer"
    assert status() is ExecutionStatus.FAILED
    answer(True)

    assert agent() is True


def test_a_secret_in_a_question_is_on_no_record(tmp_path: Path) -> None:
    secret = "sk-waits-0123456789abcdef"
    VAULT.meet_as("env:WAITS_API_KEY", secret)

    @flow
    def agent() -> bool:
        return wait(f"Use {secret}?", show={"key": secret}, name="use")

    suspended(agent)
    answer(True)
    assert agent() is True

    here.engine().journal.close()
    assert "secret:env:WAITS_API_KEY" in only_wait().question
    for file in (tmp_path / "kitaru-nb-home").rglob("*"):
        assert file.is_dir() or secret.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"name": "a/b"}, "bad-name"),
        ({"schema": {"type": "truth"}}, "bad-schema"),
        ({"default": 3}, "bad-default"),
        ({"timeout": "soon"}, "bad-duration"),
        ({"hold": -1}, "bad-duration"),
        ({"notify": 3}, "bad-notify"),
        ({"show": (each for each in ())}, "bad-show"),
    ],
)
def test_what_cannot_be_asked_is_refused(options: dict[str, Any], kind: str) -> None:
    @flow
    def agent() -> object:
        return wait("Publish?", **options)

    with pytest.raises(UsageError) as refused:
        agent()

    assert refused.value.kind == kind
    assert waits() == []


def test_outside_any_execution_nobody_can_answer_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kitaru_nb.stacks.waits.is_terminal", lambda: False)

    with pytest.raises(UsageError, match="outside any execution") as refused:
        wait("Publish?")

    assert refused.value.kind == "outside-execution"


def test_an_unknown_option_of_the_coroutine_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="'shown'"):
        asyncio.run(wait.async_("Publish?", shown="x"))
