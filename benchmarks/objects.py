"""Objects of 16 MiB into a bucket and back, beside what obstore takes for that without us."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from benchmarks.measure import installed
from benchmarks.workload import Absent, Options, Round, Turn, Workload

__all__ = ["OBJECTS"]

_OBJECT = 16 << 20
# Each turn is a process of its own: memory is as fresh as after a kernel's start. Both sides use
# as many connections, and both end with all bytes in memory.
_COMMON = """
import json, os, sys, time
from concurrent.futures import ThreadPoolExecutor
from kitaru_nb.artifacts.object_store import ObjectStore
from kitaru_nb.testing import MemoryIndex

asked = json.loads(sys.argv[1])
count, size = asked["count"], asked["size"]
data = memoryview(os.urandom(count * size))
store = ObjectStore(asked["url"], options=asked["options"])
store.check()

def told(name, work):
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    print(json.dumps([name, time.perf_counter() - wall, time.process_time() - cpu]))
    return found
"""
_WAYS = {
    "obstore": """
library, place = store._bucket._opened()
names = [f"bare/{os.urandom(16).hex()}" for _ in range(count)]
parts = [data[at * size : (at + 1) * size] for at in range(count)]
with ThreadPoolExecutor(4) as put, ThreadPoolExecutor(8) as get:
    told("put", lambda: list(put.map(lambda name, part: library.put(
        place, name, part, mode="create", use_multipart=False), names, parts)))
    kept = told("get", lambda: list(get.map(lambda name: library.get(place, name).bytes(), names)))
""",
    "kitaru": """
chunks = [data[at : at + (1 << 20)] for at in range(0, len(data), 1 << 20)]
def put():
    found = store.write(chunks, index=MemoryIndex())
    store.flush()
    return found
def get():
    import mmap
    room = mmap.mmap(-1, len(data))
    room.madvise(mmap.MADV_HUGEPAGE)
    whole = memoryview(room)
    store.read_all([(place, whole[at << 20 : (at + 1) << 20]) for at, place in enumerate(places)])
    return whole
places = told("put", put)
kept = told("get", get)
""",
}


@lru_cache
def _server() -> dict[str, str]:
    """The options for a server that runs until this process ends."""
    if not installed("obstore") or not installed("pytest"):
        raise Absent("obstore or the packages of the tests are not installed")
    from tests.s3_server import S3Server, s3_options  # noqa: PLC0415 - only this workload needs it

    folder = tempfile.TemporaryDirectory(prefix="bench-s3-", ignore_cleanup_errors=True)
    try:
        server = S3Server(Path(folder.name))
    except OSError as error:
        raise Absent(f"there is no S3 server to start: {error}") from error
    atexit.register(folder.cleanup)
    atexit.register(server.stop)  # runs first
    return s3_options(server.endpoint)


def _turn(contestant: str, options: Options, folder: Path) -> Turn:
    count = max(1, options.mebibytes * (1 << 20) // _OBJECT)
    asked = {"url": f"s3://kitaru/{folder.name}", "options": _server(), "count": count, "size": _OBJECT}
    command = [sys.executable, "-c", _COMMON + _WAYS[contestant], json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found = {}
    for name, wall, cpu in map(json.loads, done.stdout.splitlines()):
        found.update({f"{name} s": wall, f"{name} cpu s": cpu})
    return found


def _judge(found: Round) -> Round:
    bare = found["obstore"]
    return {
        contestant: {
            "put s": turn["put s"],
            "x obstore's put": turn["put s"] / bare["put s"],
            "put cpu s": turn["put cpu s"],
            "get s": turn["get s"],
            "x obstore's get": turn["get s"] / bare["get s"],
            "get cpu s": turn["get cpu s"],
        }
        for contestant, turn in found.items()
    }


OBJECTS = Workload(
    name="objects",
    title="objects of 16 MiB to an S3 server on this machine, and back into fresh memory, wall",
    aim="put and get within 1.2x of obstore's own; ours are hashed, and checked when read",
    contestants=tuple(_WAYS),
    turn=_turn,
    judge=_judge,
)
