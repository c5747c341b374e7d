"""A call that is served leaves what one that is made leaves: random generators, attributes, files."""

# ruff: noqa: NPY002 - numpy's global generator is what is looked at

from __future__ import annotations

import asyncio
import ctypes
import random
import subprocess
import threading
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kitaru_nb import checkpoint, flow, gather
from kitaru_nb.engine.scope import Scope
from kitaru_nb.errors import KitaruError
from kitaru_nb.model.checkpoint import CheckpointStatus, StepKind
from tests.unit.engine.turns import Attempts


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(tmp_path / "home")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The flow's folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture(autouse=True)
def _generators_as_before() -> Iterator[None]:
    state, numbers = random.getstate(), np.random.get_state()
    yield
    random.setstate(state)
    np.random.set_state(numbers)


class Gate:
    """Lets calls in two threads meet; no input of theirs."""

    def __init__(self) -> None:
        self.began, self.ended = threading.Barrier(2), threading.Event()

    def __reduce_ex__(self, _protocol: object) -> Any:
        raise TypeError("no input of a call")


def calls_of(attempts: Attempts) -> list[Any]:
    found = attempts.engine.journal.steps_within(attempts.execution.id)
    return [step for step in found if step.draft.kind is StepKind.CALL]


# Random numbers


def test_what_is_drawn_after_a_served_call_is_what_was_drawn_after_the_made_one(attempts: Attempts) -> None:
    @checkpoint
    def draw(_number: int) -> list[float]:
        attempts.ran.append(_number)
        return [random.random(), np.random.rand(), np.random.standard_normal()]

    def body() -> list[Any]:
        random.seed(1)
        np.random.seed(2)
        drawn: list[Any] = []
        for number in range(3):
            drawn += [draw(number), random.random(), np.random.rand(), np.random.standard_normal()]
        return drawn

    first, second, ran = attempts.twice(body)

    assert ran == []
    assert second == first


def test_a_call_that_draws_nothing_leaves_the_generators_alone(attempts: Attempts) -> None:
    @checkpoint
    def constant() -> int:
        return 4

    def body() -> int:
        return constant()

    with attempts.attempt():
        body()
    random.seed(5)
    before = random.getstate()
    with attempts.attempt():
        body()

    assert random.getstate() == before
    assert [call.draft.process for call in calls_of(attempts)] == [None]


def test_served_calls_that_ran_at_once_leave_what_the_last_one_to_end_left(attempts: Attempts) -> None:
    gate = Gate()

    @checkpoint
    def draw(number: int) -> float:
        attempts.ran.append(number)
        gate.began.wait(100)
        drawn = random.random()
        if number == 0:  # the first that is asked for ends last
            assert gate.ended.wait(100)
            drawn = random.random()
        return drawn

    def body() -> tuple[Any, float]:
        random.seed(3)
        futures = [draw.submit(0), draw.submit(1)]
        futures[1].result()
        gate.ended.set()
        return gather(*futures), random.random()

    first, second, ran = attempts.twice(body)

    assert (second, ran) == (first, [])


def test_a_generator_of_a_call_that_failed_is_left_as_the_next_try_leaves_it(attempts: Attempts) -> None:
    @checkpoint(retries=1, name="draw")
    def draw() -> float:
        attempts.ran.append(1)
        drawn = random.random()
        if len(attempts.ran) == 1:
            raise ValueError("once")
        return drawn

    def body() -> tuple[float, float]:
        random.seed(9)
        return draw(), random.random()

    with attempts.attempt():
        first = body()
    with attempts.attempt():
        second = body()

    assert len(attempts.ran) == 2
    assert second == first


# Attributes of functions


COUNTED = """
def helper(x):
    helper.seen.append(x)
    helper.last = x
    return x

@checkpoint
def f(n):
    attempts.ran.append(n)
    f.calls += 1
    return helper(n)
"""


def counting(attempts: Attempts) -> Any:
    module: Any = types.ModuleType("__main__")
    vars(module).update(checkpoint=checkpoint, attempts=attempts)
    exec(compile(COUNTED, "<test>", "exec", dont_inherit=True), vars(module))
    module.f.calls, module.helper.seen = 0, []
    return module


def test_attributes_that_a_call_sets_on_functions_are_put_back(attempts: Attempts) -> None:
    def body() -> Any:
        module = counting(attempts)  # as in a new process
        results = [module.f(1), module.f(2), module.f(1)]
        return results, module.f.calls, module.helper.seen, module.helper.last

    first, second, ran = attempts.twice(body)

    assert first == ([1, 2, 1], 3, [1, 2, 1], 1)
    assert (second, ran) == (first, [])


def test_an_attribute_of_a_function_that_its_code_reads_counts(attempts: Attempts) -> None:
    source = "@checkpoint\ndef f():\n    attempts.ran.append(1)\n    return f.factor * 2\n"
    module: Any = types.ModuleType("__main__")
    vars(module).update(checkpoint=checkpoint, attempts=attempts)
    exec(compile(source, "<test>", "exec", dont_inherit=True), vars(module))

    with attempts.attempt():
        module.f.factor = 1
        first = module.f()
        module.f.factor = 5
        second = module.f()
        module.f.unread = 7
        third = module.f()

    assert (first, second, third) == (2, 10, 10)
    one, five, unread = (call.draft.key for call in calls_of(attempts))
    assert one != five == unread


# Files


def written(attempts: Attempts) -> Any:
    @checkpoint
    def write(name: str, text: str, *, mode: str = "w") -> str:
        attempts.ran.append(name)
        with Path(name).open(mode) as file:
            file.write(text)
        return name

    return write


def test_a_missing_file_of_a_served_call_is_put_back(attempts: Attempts, folder: Path) -> None:
    write = written(attempts)

    def body() -> None:
        write("a.txt", "one")
        write("b.txt", "two")

    with attempts.attempt():
        body()
    attempts.ran.clear()
    (folder / "a.txt").unlink()
    with attempts.attempt():
        body()

    assert attempts.ran == []
    assert ((folder / "a.txt").read_text(), (folder / "b.txt").read_text()) == ("one", "two")


def test_a_file_that_something_else_has_changed_is_left_alone_and_named(
    attempts: Attempts, folder: Path
) -> None:
    write = written(attempts)

    with attempts.attempt():
        write("a.txt", "one")
    (folder / "a.txt").write_text("mine")
    with attempts.attempt(), pytest.warns(UserWarning, match=r"`write` was served .* `a.txt` was changed"):
        write("a.txt", "one")

    assert (folder / "a.txt").read_text() == "mine"


def reading(attempts: Attempts) -> Any:
    """A call that reads a file."""

    @checkpoint
    def read(name: str) -> str:
        attempts.ran.append(name)
        return Path(name).read_text()

    return read


def test_a_file_that_a_served_call_read_and_that_has_changed_since_is_named(
    attempts: Attempts, folder: Path
) -> None:
    read = reading(attempts)
    (folder / "a.txt").write_text("one")

    with attempts.attempt():
        assert read("a.txt") == "one"
    (folder / "a.txt").write_text("two")
    with attempts.attempt(), pytest.warns(UserWarning, match=r"`read` was served .* `a.txt`, which it read"):
        assert read("a.txt") == "one"

    assert attempts.ran == ["a.txt"]


def test_that_a_file_has_changed_is_known_of_a_call_around_the_one_that_read_it(
    attempts: Attempts, folder: Path
) -> None:
    read = reading(attempts)
    (folder / "a.txt").write_text("one")

    @checkpoint
    def outer() -> str:
        found = str(read("a.txt"))
        if len(attempts.ran) < 2:
            attempts.ran.append("cut short")
            raise KeyboardInterrupt
        return found

    with attempts.attempt(), pytest.raises(KeyboardInterrupt):
        outer()
    with attempts.attempt():
        outer()
    (folder / "a.txt").write_text("two")
    with (
        attempts.attempt(),
        pytest.warns(UserWarning, match=r"`.*outer` was served .* `a.txt`, which it read"),
    ):
        assert outer() == "one"


def test_a_file_that_calls_read_and_later_ones_change_is_nothing_to_warn_of(
    attempts: Attempts, folder: Path
) -> None:
    read, write = reading(attempts), written(attempts)
    (folder / "a.txt").write_text("none")

    def body() -> list[str]:
        found = [read("a.txt"), write("a.txt", "one"), read("a.txt"), write("a.txt", "two", mode="a")]
        (folder / "gone.txt").write_text("x")
        found.append(read("gone.txt"))
        (folder / "gone.txt").unlink()
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second, ran = attempts.twice(body)

    assert second == first
    assert ran == []


def test_what_later_calls_did_to_a_file_is_nothing_to_warn_of(attempts: Attempts, folder: Path) -> None:
    write = written(attempts)

    def body() -> str:
        write("a.txt", "one")
        write("a.txt", " two", mode="a")
        return (folder / "a.txt").read_text()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second, ran = attempts.twice(body)
        (folder / "a.txt").unlink()
        with attempts.attempt():
            third = body()

    assert (first, second, third, ran) == ("one two", "one two", "one two", [])


@pytest.mark.parametrize("mode", ["a", "a+"])
def test_calls_that_are_served_after_a_new_one_leave_what_that_added_to_their_file(
    attempts: Attempts, folder: Path, mode: str
) -> None:
    write = written(attempts)
    (folder / "a.txt").write_text("begin ")

    with attempts.attempt():
        write("a.txt", "one ", mode=mode)
        write("a.txt", "two ", mode=mode)
    with attempts.attempt():
        write("a.txt", "three", mode=mode)
        write("a.txt", "one ", mode=mode)
        write("a.txt", "two ", mode=mode)

    assert len(attempts.ran) == 3
    assert (folder / "a.txt").read_text() == "begin one two three"


def test_a_file_that_a_call_inside_wrote_belongs_to_the_call_around_it_too(
    attempts: Attempts, folder: Path
) -> None:
    keep = written(attempts)

    @checkpoint
    def outer() -> str:
        return keep("a.txt", "one")

    with attempts.attempt():
        outer()
    attempts.ran.clear()
    (folder / "a.txt").unlink()
    with attempts.attempt():
        outer()

    assert attempts.ran == []
    assert (folder / "a.txt").read_text() == "one"


def test_a_file_of_a_served_call_belongs_to_the_call_around_it_that_goes_on(
    attempts: Attempts, folder: Path
) -> None:
    write = written(attempts)

    @checkpoint
    def outer() -> str:
        write("a.txt", "one")
        if len(attempts.ran) < 2:
            attempts.ran.append("cut short")
            raise KeyboardInterrupt
        return "done"

    with attempts.attempt(), pytest.raises(KeyboardInterrupt):
        outer()
    with attempts.attempt():
        outer()
    (folder / "a.txt").unlink()
    with attempts.attempt():
        outer()

    assert attempts.ran == ["a.txt", "cut short"]
    assert (folder / "a.txt").read_text() == "one"


def test_a_file_that_a_call_removed_is_removed(attempts: Attempts, folder: Path) -> None:
    (folder / "a.txt").write_text("one")

    @checkpoint
    def remove() -> None:
        attempts.ran.append("removed")
        Path("a.txt").unlink()

    with attempts.attempt():
        remove()

    (call,) = calls_of(attempts)
    assert [(file["below"], file["mode"]) for file in call.draft.files] == [("a.txt", "deleted")]


def test_a_file_that_no_hook_sees_is_found_where_the_code_speaks_of_writing(
    attempts: Attempts, folder: Path
) -> None:
    @checkpoint
    def save_all() -> None:
        attempts.ran.append("saved")
        library = ctypes.CDLL(None)
        library.fopen.restype = ctypes.c_void_p
        library.fclose(ctypes.c_void_p(library.fopen(b"a.txt", b"w")))

    with attempts.attempt():
        save_all()
    (folder / "a.txt").unlink()
    with attempts.attempt():
        save_all()

    assert attempts.ran == ["saved"]
    assert (folder / "a.txt").exists()


def test_a_file_that_was_not_seen_is_kept_by_the_call_that_wrote_it_though_another_one_runs(
    attempts: Attempts, folder: Path
) -> None:
    gate = Gate()

    @checkpoint
    def touch() -> None:
        gate.began.wait(100)
        subprocess.run(["touch", "a.txt"], check=True)

    @checkpoint
    def other() -> None:
        gate.began.wait(100)
        assert gate.ended.wait(100)

    with attempts.attempt():
        futures = [touch.submit(), other.submit()]
        futures[0].result()
        (folder / "a.txt").unlink()
        gate.ended.set()
        gather(*futures)
    with attempts.attempt():
        touch()

    assert [len(call.draft.files) for call in calls_of(attempts)] == [1, 0]
    assert (folder / "a.txt").exists()


def test_a_file_that_may_be_of_two_calls_at_once_is_kept_by_both(attempts: Attempts, folder: Path) -> None:
    gate = Gate()

    @checkpoint
    def run(number: int) -> None:
        gate.began.wait(100)
        if number == 0:
            subprocess.run(["touch", "a.txt"], check=True)
        else:
            assert gate.ended.wait(100)
            subprocess.run(["sh", "-c", "echo whole > b.txt; echo whole > a.txt"], check=True)

    def body() -> None:
        futures = [run.submit(0), run.submit(1)]
        futures[0].result()
        gate.ended.set()
        gather(*futures)

    with attempts.attempt():
        body()
    for name in ("a.txt", "b.txt"):
        (folder / name).unlink()
    with warnings.catch_warnings(), attempts.attempt():
        warnings.simplefilter("error")
        body()

    first, last = calls_of(attempts)
    assert [file["below"] for file in first.draft.files] == ["a.txt"]
    assert [file["below"] for file in last.draft.files] == ["a.txt", "b.txt"]
    assert [file.read_text() for file in sorted(folder.iterdir())] == ["whole\n", "whole\n"]


def test_a_file_that_was_not_seen_and_is_of_a_call_which_goes_on_is_left_to_that(
    attempts: Attempts, folder: Path
) -> None:
    gate = Gate()

    @checkpoint
    def run(number: int) -> None:
        attempts.ran.append(number)
        if len(attempts.ran) < 3:
            gate.began.wait(100)
        subprocess.run(["sh", "-c", f"echo {number} >> a.txt"], check=True)
        if number == 1 and len(attempts.ran) < 3:
            assert gate.ended.wait(100)
            subprocess.run(["sh", "-c", "echo more >> a.txt"], check=True)
            raise KeyboardInterrupt

    with attempts.attempt():
        futures = [run.submit(0), run.submit(1)]
        futures[0].result()
        gate.ended.set()
        with pytest.raises(KeyboardInterrupt):
            futures[1].result()
    with warnings.catch_warnings(), attempts.attempt():
        warnings.simplefilter("error")  # that it is another file now is nobody else's doing
        run(0)
        run(1)

    assert sorted(attempts.ran) == [0, 1, 1]
    assert (folder / "a.txt").read_text().splitlines()[-1] == "1"


def test_what_other_calls_kept_of_an_unfinished_file_gives_way_to_the_whole(
    attempts: Attempts, folder: Path
) -> None:
    gate = Gate()

    @checkpoint
    def run() -> None:
        for number in (1, 2):
            gate.began.wait(100)
            subprocess.run(["sh", "-c", f"echo {number} >> a.txt"], check=True)
            gate.began.wait(100)
        assert gate.ended.wait(100)
        subprocess.run(["sh", "-c", "echo 3 >> a.txt"], check=True)

    @checkpoint
    def beside(number: int) -> None:
        attempts.ran.append(number)
        gate.began.wait(100)
        gate.began.wait(100)
        subprocess.run(["true"], check=True)

    with attempts.attempt():
        future = run.submit()
        beside(1)
        beside(2)
        gate.ended.set()
        future.result()
    (folder / "a.txt").unlink()
    with warnings.catch_warnings(), attempts.attempt():
        warnings.simplefilter("error")
        beside(1)
        assert (folder / "a.txt").read_text() == "1\n", "what it kept of it"
        run()
        beside(2)

    assert attempts.ran == [1, 2]
    assert (folder / "a.txt").read_text() == "1\n2\n3\n"


def test_a_file_that_one_call_was_seen_to_write_is_not_that_of_another_one(
    attempts: Attempts, folder: Path
) -> None:
    gate, write = Gate(), written(attempts)

    @checkpoint
    def run() -> None:
        gate.began.wait(100)
        subprocess.run(["touch", "a.txt"], check=True)
        assert gate.ended.wait(100)

    @checkpoint
    def seen() -> None:
        gate.began.wait(100)
        (folder / "b.txt").write_text("seen")

    with attempts.attempt():
        futures = [run.submit(), seen.submit()]
        futures[1].result()
        write("c.txt", "seen, too")
        gate.ended.set()
        gather(*futures)

    found = {call.draft.name: [file["below"] for file in call.draft.files] for call in calls_of(attempts)}
    assert found == {"seen": ["b.txt"], "write": ["c.txt"], "run": ["a.txt"]}


def test_coroutines_at_once_keep_files_that_were_not_seen(attempts: Attempts, folder: Path) -> None:
    @checkpoint
    async def touch(name: str) -> None:
        attempts.ran.append(name)
        process = await asyncio.create_subprocess_exec("touch", name)
        await process.wait()

    async def body() -> None:
        await asyncio.gather(*[touch(f"{number}.txt") for number in range(3)])

    with attempts.attempt():
        asyncio.run(body())
    for file in list(folder.iterdir()):
        file.unlink()
    with attempts.attempt():
        asyncio.run(body())

    assert len(attempts.ran) == 3
    assert sorted(file.name for file in folder.iterdir()) == ["0.txt", "1.txt", "2.txt"]


def test_calls_that_wait_for_their_turn_do_not_run_beside_others(attempts: Attempts, folder: Path) -> None:
    @checkpoint
    def touch(name: str) -> None:
        subprocess.run(["touch", name], check=True)

    with attempts.attempt():
        touch.map([f"{number}.txt" for number in range(3)], max_workers=1)

    files = [[file["below"] for file in call.draft.files] for call in calls_of(attempts)]
    assert files == [["0.txt"], ["1.txt"], ["2.txt"]]
    assert folder


def test_what_processes_of_several_calls_added_to_a_file_is_put_back(
    attempts: Attempts, folder: Path
) -> None:
    @checkpoint
    def add(word: str) -> None:
        attempts.ran.append(word)
        subprocess.run(["sh", "-c", f"echo {word} >> a.txt"], check=True)

    def body() -> None:
        add("one")
        add("two")

    with attempts.attempt():
        body()
    (folder / "a.txt").unlink()
    with attempts.attempt():
        body()

    assert attempts.ran == ["one", "two"]
    assert (folder / "a.txt").read_text() == "one\ntwo\n"


# What runs beside a call


def is_known_for_running(scope: Scope) -> bool:
    """Whether a call that runs now is taken for one beside another."""

    @checkpoint
    def next_call() -> None:
        subprocess.run(["touch", "next.txt"], check=True)

    next_call()
    (file,) = scope.book.results()[-1].draft.files
    assert not scope.book.running
    return bool(file["unsure"])


def test_a_call_whose_record_was_refused_does_not_go_on_running(attempts: Attempts, folder: Path) -> None:
    @checkpoint
    def rows() -> Any:
        return (number for number in range(3))

    with attempts.attempt() as scope:
        with pytest.raises(KitaruError):
            rows()

        assert not is_known_for_running(scope)
    assert folder


def test_a_call_that_could_not_be_looked_at_after_it_does_not_go_on_running(
    attempts: Attempts, folder: Path
) -> None:
    @checkpoint
    def read(file: Any) -> int:
        file.read(1)
        return 1

    with attempts.attempt() as scope:
        with Path(__file__).open(encoding="utf-8") as file, pytest.raises(KitaruError):
            read(file)

        assert not is_known_for_running(scope)
    assert folder


def test_a_coroutine_that_is_cancelled_before_it_begins_does_not_run(
    attempts: Attempts, folder: Path
) -> None:
    @checkpoint
    async def never() -> None:
        attempts.ran.append(1)

    async def body() -> None:
        future = never.submit()
        waiting = asyncio.ensure_future(future)
        for task in asyncio.all_tasks() - {asyncio.current_task(), waiting}:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    with attempts.attempt() as scope:
        asyncio.run(body())

        assert not is_known_for_running(scope)
    assert attempts.ran == []
    assert folder


def test_a_call_in_whose_child_execution_something_failed_does_not_go_on_running(
    attempts: Attempts, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITARU_NB_HOME", str(folder.parent / "home"))

    @flow
    def child() -> None:
        raise ValueError("child")

    @flow
    async def child_async() -> None:
        raise ValueError("child")

    with attempts.attempt() as scope:
        with pytest.raises(ValueError, match="child"):
            child()
        with pytest.raises(ValueError, match="child"):
            asyncio.run(child_async())

        assert not is_known_for_running(scope)


def test_what_a_try_that_failed_wrote_belongs_to_the_call(attempts: Attempts, folder: Path) -> None:
    @checkpoint(retries=1)
    def twice() -> str:
        attempts.ran.append(1)
        if len(attempts.ran) == 1:
            (folder / "a.txt").touch()
            raise ValueError("once")
        return "done"

    with attempts.attempt():
        twice()
    (folder / "a.txt").unlink()
    with attempts.attempt():
        twice()

    assert len(attempts.ran) == 2
    assert (folder / "a.txt").exists()


def test_calls_at_once_keep_their_files_apart(attempts: Attempts, folder: Path) -> None:
    write = written(attempts)

    with attempts.attempt():
        gather(*[write.submit(f"{number}.txt", str(number)) for number in range(8)])

    for call in calls_of(attempts):
        (file,) = call.draft.files
        name = attempts.engine.get(call.draft.groups[0].artifact, namespace={})["result"]
        assert file["below"] == name
    assert folder


def test_a_call_that_failed_names_its_files(attempts: Attempts, folder: Path) -> None:
    @checkpoint
    def write(text: str) -> None:
        (folder / "a.txt").write_text(text)
        if text == "bad":
            raise ValueError(text)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with attempts.attempt():
            write("good")
            with pytest.raises(ValueError, match="bad"):
                write("bad")
        with attempts.attempt():
            write("good")

    failed = [call for call in calls_of(attempts) if call.draft.status is CheckpointStatus.FAILED]
    assert [file["below"] for call in failed for file in call.draft.files] == ["a.txt"]


def test_what_kitaru_nb_writes_itself_is_no_file_of_a_call(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)  # the store is below the flow's folder here
    attempts = Attempts(tmp_path / "home")

    @checkpoint
    def inner(number: int) -> bytes:
        return bytes([number]) * 100_000

    @checkpoint
    def outer() -> int:
        return sum(len(inner(number)) for number in range(3))

    with attempts.attempt():
        outer()

    assert [call.draft.files for call in calls_of(attempts)] == [()] * 4
