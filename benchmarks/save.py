"""One array made durable: fresh, 1 % changed in one stretch, all over it, unchanged; back in a new kernel."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.contestants import entered
from benchmarks.kernel import Kernel
from benchmarks.measure import disk_of, installed
from benchmarks.workload import Absent, Options, Round, Turn, Workload

__all__ = ["SAVE"]

_READY = """
import os
def synced(path):
    for place, _, names in os.walk(path) if os.path.isdir(path) else [('.', (), [path])]:
        for name in names:
            file = os.open(os.path.join(place, name), os.O_RDONLY)
            os.fsync(file)
            os.close(file)
"""
_FROZEN = """
session = icechunk.Repository.open_or_create(storage).writable_session('main')
zarr.save_array(session.store, a, overwrite=True)
session.commit('a')
synced('frozen')"""
# Per contestant: what it imports, how it saves, how it reads back.
_WAYS = {
    "write": ("", "with open('raw', 'wb') as file: file.write(a)\nsynced('raw')", "a = np.fromfile('raw')"),
    "pickle5": (
        "import pickle",
        "with open('pickled', 'wb') as file: pickle.dump(a, file, protocol=5)\nsynced('pickled')",
        "a = pickle.load(open('pickled', 'rb'))",
    ),
    "joblib": ("import joblib", "joblib.dump(a, 'dumped')\nsynced('dumped')", "a = joblib.load('dumped')"),
    "dill": (
        "import dill",
        "with open('dilled', 'wb') as file: dill.dump(a, file, protocol=5)\nsynced('dilled')",
        "a = dill.load(open('dilled', 'rb'))",
    ),
    "npy": ("", "np.save('saved.npy', a)\nsynced('saved.npy')", "a = np.load('saved.npy')"),
    "zarr": (
        "import zarr",
        "zarr.save_array('stored', a, overwrite=True)\nsynced('stored')",
        "a = zarr.open_array('stored')[:]",
    ),
    "icechunk": (
        "import icechunk, zarr\nstorage = icechunk.local_filesystem_storage('frozen')",
        _FROZEN,
        "a = zarr.open_array(icechunk.Repository.open(storage).readonly_session('main').store, mode='r')[:]",
    ),
    "kitaru": ("%load_ext kitaru_nb", "%%checkpoint\n{number}", "%resume"),
}

_INSTALLED_BY_BENCH = ("joblib", "dill", "icechunk")
_ROW = 1024


def _turn(contestant: str, options: Options, folder: Path) -> Turn:
    imports, save, load = _WAYS[contestant]
    if contestant in _INSTALLED_BY_BENCH and not installed(contestant):
        raise Absent("not installed: `make bench` does")
    items = options.mebibytes * 2**17
    with entered("plain", folder) as kernel:
        kernel.run(f"import numpy as np\n{_READY}\n{imports}")
        # a small save first pays what a library loads only then
        kernel.run("a = np.zeros(8)")
        kernel.run(save.format(number=0))
        kernel.run(f"a = np.random.default_rng(5).standard_normal({items})")
        found = {"fresh": _wall(kernel, save.format(number=1))}
        kernel.run(f"a[{items // 3}:{items // 3 + items // 100}] += 1.0")
        found["part"] = _wall(kernel, save.format(number=2))
        found["same"] = _wall(kernel, save.format(number=3))
        for number, which in enumerate(("scattered", "again"), 4):
            kernel.run(f"a.reshape(-1, {_ROW})[{number}::100] += 1.0")
            found[which] = _wall(kernel, save.format(number=number))
        found["disk"] = disk_of(folder)
    with entered("plain", folder) as kernel:
        kernel.run(f"import numpy as np\n{imports}")
        found["load"] = _wall(kernel, load)
        found["use"] = _wall(kernel, "a.sum()")
    return found


def _wall(kernel: Kernel, code: str) -> float:
    begin = time.perf_counter()
    kernel.run(code)
    return time.perf_counter() - begin


def _judge(found: Round) -> Round:
    raw, full = found["write"], found.get("joblib", found["write"])
    return {
        contestant: {
            "fresh s": turn["fresh"],
            "x write": turn["fresh"] / raw["fresh"],
            "1 % changed s": turn["part"],
            "x joblib's full save": turn["part"] / full["fresh"],
            "nothing changed s": turn["same"],
            "1 % all over it s": turn["scattered"],
            "again s": turn["again"],
            "x own fresh save": turn["again"] / turn["fresh"],
            "disk MiB": turn["disk"] / 2**20,
            "back s": turn["load"],
            "first use s": turn["use"],
        }
        for contestant, turn in found.items()
    }


SAVE = Workload(
    name="save",
    title="one float64 array made durable (write + fsync), wall",
    aim="fresh at most 1.15x write; 1 % changed at most 0.15x of joblib's full save, all over it (again) "
    "0.5x of the own; unchanged 0.12 s per GB",
    contestants=tuple(_WAYS),
    turn=_turn,
    judge=_judge,
)
