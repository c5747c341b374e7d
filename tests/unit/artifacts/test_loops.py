"""A process that ends after a failed read says that one thing, and nothing of asyncio's."""

from __future__ import annotations

import subprocess
import sys

# What zarr does: a loop in a thread that is stopped when the process ends, whatever runs in it.
AS_ZARR_DOES = """
import asyncio, atexit, threading
loop = asyncio.new_event_loop()
thread = threading.Thread(target=loop.run_forever, daemon=True)
thread.start()

def stop():
    print(len(ended), "ended")
    loop.call_soon_threadsafe(loop.stop)
    thread.join(1)
    loop.close()

ended = []
atexit.register(stop)

from kitaru_nb.artifacts.loops import settle_at_exit

async def chunk(number):
    {settle}
    try:
        if number == 0:
            raise ValueError("damaged")
        await asyncio.sleep(60)
    finally:
        ended.append(number)

async def read():
    await asyncio.gather(*map(chunk, range(20)))

try:
    asyncio.run_coroutine_threadsafe(read(), loop).result()
except ValueError as error:
    print(error)
"""

# Reads of chunks that end when the process does: the moment at which zarr leaves them alone.
DAMAGED = """
import sys, threading
import zarr
from zarr.storage import MemoryStore
import numpy as np
from kitaru_nb.artifacts.zarr_store import ArtifactZarrStore
from kitaru_nb.artifacts.zarr_tree import Tree
from kitaru_nb.errors import CorruptError

ending = threading.Event()
threading._register_atexit(ending.set)
documents = MemoryStore()
zarr.create_array(documents, shape=(400,), chunks=(1,), dtype="f8")

class Damaged(Tree):
    def __init__(self): pass
    def read(self, key):
        if not key.startswith("c/"):
            return documents._store_dict["zarr.json"].to_bytes() if key == "zarr.json" else None
        if key != "c/0":
            ending.wait()
        raise CorruptError("damaged")

array = zarr.open(store=ArtifactZarrStore(Damaged(), name="x"), mode="r")
try:
    array[...]
except CorruptError as error:
    print(error)
"""


def run(program: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip(), done.stderr


def test_what_is_under_way_in_a_loop_is_brought_to_an_end_before_the_loop_is_stopped() -> None:
    said, noise = run(AS_ZARR_DOES.format(settle="settle_at_exit()"))

    assert (said.splitlines(), noise) == (["damaged", "20 ended"], "")


def test_a_damaged_read_through_zarr_leaves_no_noise_when_the_process_ends() -> None:
    assert run(DAMAGED) == ("damaged", "")
