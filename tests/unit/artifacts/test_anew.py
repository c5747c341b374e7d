"""Harmless things of one process: what comes back, and in which state."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import multiprocessing
import queue
import random
import re
import ssl
import struct
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.artifacts.groups import alias_groups
from kitaru_nb.artifacts.notes import Note, noting
from kitaru_nb.artifacts.pickle_codec import PickleCodec


def there_and_back(**values: Any) -> tuple[dict[str, Any], list[Note]]:
    """The values stored and loaded again, and what was noted on the way."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    codec = PickleCodec()
    encoded = codec.encode(values, namespace=namespace)
    assert not encoded.unstorable
    buffers = [memoryview(bytearray(buffer)) for buffer in encoded.buffers]
    with noting() as notes:
        return codec.decode(encoded.meta, buffers.__getitem__, namespace=namespace), notes


def digest(value: object) -> str:
    return digest_values({"x": value}, namespace={})


def held(lock: Any) -> Any:
    lock.acquire()
    return lock


MADE: dict[str, Callable[[], Any]] = {
    "lock": threading.Lock,
    "rlock": threading.RLock,
    "condition": threading.Condition,
    "event": threading.Event,
    "semaphore": lambda: threading.Semaphore(3),
    "barrier": lambda: threading.Barrier(2),
    "queue": queue.Queue,
    "simple queue": queue.SimpleQueue,
    "thread pool": lambda: ThreadPoolExecutor(2),
    "process pool": lambda: ProcessPoolExecutor(2, multiprocessing.get_context("spawn")),
    "thread local": threading.local,
    "context variable": lambda: contextvars.ContextVar("v", default=1),
    "lock of processes": multiprocessing.Lock,
    "asyncio lock": asyncio.Lock,
    "asyncio queue": asyncio.Queue,
    "asyncio condition": asyncio.Condition,
    "TLS context": ssl.create_default_context,
    "system random": random.SystemRandom,
    "struct": lambda: struct.Struct("<i"),
    "logger": lambda: logging.getLogger("kitaru.test"),
    "handler": logging.StreamHandler,
}


@pytest.mark.parametrize("kind", MADE)
def test_a_harmless_kind_is_made_again_and_counts_the_same(kind: str) -> None:
    value = MADE[kind]()

    back, _ = there_and_back(x=value, same=value)

    assert type(back["x"]) is type(value)
    assert back["same"] is back["x"]
    assert digest(back["x"]) == digest(value)


@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_a_held_lock_comes_back_free_and_that_is_said(make: Callable[[], Any]) -> None:
    back, notes = there_and_back(x=held(make()))

    assert back["x"].acquire(blocking=False)
    assert [(note.name, note.text) for note in notes] == [("x", "it was held and is free")]


def test_a_lock_that_is_held_is_no_change_of_value() -> None:
    assert digest(held(threading.Lock())) == digest(threading.Lock())


def test_queues_come_back_with_their_content_and_lose_nothing_here() -> None:
    simple: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for item in ("gone", 1, [2]):
        simple.put(item)
    simple.get()
    ordered: queue.PriorityQueue[int] = queue.PriorityQueue()
    ordered.put(3)
    ordered.put(1)

    back, _ = there_and_back(simple=simple, ordered=ordered)

    assert [back["simple"].get_nowait(), back["simple"].get_nowait()] == [1, [2]]
    assert back["simple"].empty()
    assert back["ordered"].get_nowait() == 1
    assert simple.qsize() == 2


def test_nobody_waits_on_a_condition_that_was_made_again() -> None:
    condition = threading.Condition()
    condition._waiters.append(threading.Lock())  # type: ignore[attr-defined] # as a waiting thread leaves it

    back, _ = there_and_back(x=condition)

    assert not back["x"]._waiters


def test_asyncio_primitives_come_back_without_the_loop_they_were_used_in() -> None:
    async def contended() -> asyncio.Lock:
        lock = asyncio.Lock()
        await lock.acquire()
        other = asyncio.ensure_future(lock.acquire())
        await asyncio.sleep(0)
        lock.release()
        await other
        return lock

    used = asyncio.run(contended())

    back, _ = there_and_back(x=used)

    assert not back["x"].locked()
    assert asyncio.run(back["x"].acquire())


def test_thread_local_data_shares_what_this_thread_sees() -> None:
    local, rows = threading.local(), [1]
    local.rows = rows

    back, _ = there_and_back(local=local, rows=rows)

    assert back["local"].rows is back["rows"]
    assert len(alias_groups({"local": local, "rows": rows}, namespace={})) == 1


def test_a_context_variable_of_a_module_is_the_module_s_own() -> None:
    back, _ = there_and_back(x=_OWN)

    assert back["x"] is _OWN


_OWN: contextvars.ContextVar[int] = contextvars.ContextVar("own")


def test_what_a_cached_function_had_computed_is_no_part_of_it_and_its_loss_is_said() -> None:
    cached = functools.lru_cache(lambda x: [x])
    before = digest(cached)
    cached(1)
    cached(2)

    back, notes = there_and_back(x=cached)

    assert back["x"].cache_info().currsize == 0
    assert digest(back["x"]) == digest(cached) == before
    assert [note.text for note in notes] == ["without the 2 results it held"]


def test_a_closed_pool_stays_closed() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()

    back, _ = there_and_back(x=pool)

    with pytest.raises(RuntimeError, match="after shutdown"):
        back["x"].submit(print)


def test_a_future_comes_back_only_when_it_is_done() -> None:
    done: Future[int] = Future()
    done.set_result(3)

    back, _ = there_and_back(x=done)
    pending = PickleCodec().encode({"x": Future()}, namespace={})

    assert back["x"].result(timeout=0) == 3
    assert "not done" in pending.unstorable["x"]


def test_a_file_handler_goes_on_with_its_file_and_does_not_empty_it(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    handler = logging.FileHandler(path, mode="w")
    handler.emit(logging.makeLogRecord({"msg": "before"}))

    back, _ = there_and_back(x=handler)
    back["x"].emit(logging.makeLogRecord({"msg": "after"}))
    back["x"].close()
    handler.close()

    assert path.read_text() == "before\nafter\n"


def test_weak_references_keep_their_kind_and_callback() -> None:
    class Thing:
        pass

    thing = Thing()
    called: list[object] = []

    back, _ = there_and_back(
        thing=thing, ref=weakref.ref(thing, called.append), proxy=weakref.proxy(thing), called=called
    )

    assert back["ref"]() is back["thing"]
    assert type(back["proxy"]) is weakref.ProxyType
    assert back["ref"].__callback__.__self__ is back["called"]


@pytest.mark.parametrize(
    "match", [re.search("b+", "abbc"), re.compile("a|ab").fullmatch("ab"), re.match("(?P<x>a)", "a")]
)
def test_a_match_is_matched_again(match: re.Match[str]) -> None:
    back, _ = there_and_back(x=match)

    assert back["x"].regs == match.regs
    assert back["x"].groupdict() == match.groupdict()
