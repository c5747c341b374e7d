"""Effects that happen once, also where several coroutines ask for them at the same time."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from kitaru_nb import checkpoint, load, once, save
from kitaru_nb.engine import alone, call
from tests.unit.engine.test_calls import attempts
from tests.unit.engine.turns import Attempts

__all__ = ["attempts"]


def test_coroutines_that_ask_at_the_same_time_have_one_effect(attempts: Attempts) -> None:
    async def charge() -> int:
        attempts.ran.append(1)
        await asyncio.sleep(0)
        return len(attempts.ran)

    async def both() -> list[int]:
        return await asyncio.gather(once("k", charge), once("k", charge))

    with attempts.attempt():
        found = asyncio.run(both())

    assert found == [1, 1]
    assert attempts.ran == [1]


def test_an_effect_that_failed_is_had_by_the_one_who_waited(attempts: Attempts) -> None:
    async def charge() -> str:
        attempts.ran.append(1)
        await asyncio.sleep(0)
        if len(attempts.ran) == 1:
            raise OSError("no route")
        return "paid"

    async def both() -> list[object]:
        return await asyncio.gather(once("k", charge), once("k", charge), return_exceptions=True)

    with attempts.attempt():
        failed, found = asyncio.run(both())

    assert isinstance(failed, OSError)
    assert found == "paid"


def test_threads_that_ask_at_the_same_time_have_one_effect(attempts: Attempts) -> None:
    both = threading.Barrier(2)

    def ask() -> None:
        both.wait()
        once("k", lambda: attempts.ran.append(1))

    with attempts.attempt():
        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert attempts.ran == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.parametrize("way", ["plain", "async"])
def test_forked_processes_that_ask_at_the_same_time_have_one_effect(attempts: Attempts, way: str) -> None:
    done = attempts.engine.settings.home / "done"
    begun, proceed = os.pipe(), os.pipe()

    def charge() -> int:
        with done.open("a") as file:
            file.write("charged\n")
        os.write(begun[1], b"c")
        os.read(proceed[0], 1)  # there is one byte for each process that asks
        return os.getpid()

    async def charge_later() -> int:
        return charge()

    def ask() -> int:
        if way == "plain":
            return once("k", charge)
        found: int = asyncio.run(once("k", charge_later))  # type: ignore[arg-type] # a coroutine
        return found

    def child(number: int) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                os.write(begun[1], b"a")
                (done.parent / f"{number}").write_text(str(ask()))
            finally:
                os._exit(0)
        return pid

    with attempts.attempt():
        once("before", int)
        first = child(1)
        assert os.read(begun[0], 1) + os.read(begun[0], 1) == b"ac"  # it has the effect just now
        second = child(2)
        assert os.read(begun[0], 1) == b"a"
        os.write(proceed[1], b"..")
        for pid in (first, second):
            os.waitpid(pid, 0)
        found = ask()

    assert done.read_text() == "charged\n"
    assert [(done.parent / number).read_text() for number in "12"] == [str(found)] * 2 == [str(first)] * 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_an_effect_that_died_with_its_process_is_had_by_another_one(attempts: Attempts) -> None:
    with attempts.attempt():
        pid = os.fork()
        if pid == 0:
            once("k", os._exit, 0)
        os.waitpid(pid, 0)

        assert once("k", lambda: "paid") == "paid"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_process_that_is_forked_inside_an_effect_is_inside_of_it(attempts: Attempts) -> None:
    def effect() -> int:
        pid = os.fork()
        if pid == 0:
            once("k", lambda: 1)
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    with attempts.attempt():
        assert once("k", effect) == 7


@pytest.fixture
def at_home(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> Attempts:
    monkeypatch.setenv("KITARU_NB_HOME", str(attempts.engine.settings.home))
    return attempts


def test_what_is_loaded_is_what_was_saved_up_to_there(at_home: Attempts) -> None:
    def count(stop: int) -> int:
        save("state", 0)
        for _ in range(stop):
            save("state", load("state") + 1)
        return int(load("state"))

    with at_home.attempt():
        count(3)
    with at_home.attempt():
        assert count(4) == 4


def test_what_a_served_call_has_saved_was_saved(at_home: Attempts) -> None:
    @checkpoint
    def keep(value: int) -> None:
        save("kept", value)

    with at_home.attempt():
        keep(1)
        save("kept", 2)
    with at_home.attempt():
        keep(1)

        assert load("kept") == 1


def test_a_running_execution_loads_what_it_has_saved_itself(at_home: Attempts) -> None:
    with at_home.attempt():
        save("draft", "mine")
        other = Attempts(at_home.engine.settings.home)
        with other.attempt_at("tests:other"):
            save("draft", "theirs")

        assert load("draft") == "mine"
        assert load("draft", execution="latest") == "theirs"


def test_the_reference_of_a_saved_value_loads_it_though_a_call_has_its_name(at_home: Attempts) -> None:
    @checkpoint
    def draft() -> str:
        return "called"

    with at_home.attempt():
        draft()
        reference = save("draft", "saved")

    assert load(reference) == "saved"


def test_what_effects_and_calls_note_in_the_process_does_not_grow(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call, "_MOST_LEFT", 3)
    monkeypatch.setattr(call, "_left", {})

    @checkpoint
    def add(held: list[int]) -> int:
        attempts.ran.append(1)
        counted.append(len(held))
        return len(counted)

    with attempts.attempt():
        for number in range(5):
            counted = list[int]()
            once(f"charge {number}", lambda: attempts.ran.append(1))
            add([number])

    assert len(attempts.ran) == 10
    assert alone._here.owners == {}
    assert 0 < len(call._left) <= 3


def test_a_file_that_an_effect_wrote_is_put_back_in_a_later_attempt(
    attempts: Attempts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = tmp_path / "told.txt"

    def tell() -> int:
        attempts.ran.append(1)
        return told.write_text("paid")

    with attempts.attempt():
        once("tell", tell)
        told.unlink()
        once("tell", tell)
        assert not told.exists(), "whoever takes it away in the same attempt has done so after the effect"
    with attempts.attempt():
        once("tell", tell)

    assert attempts.ran == [1]
    assert told.read_text() == "paid"
