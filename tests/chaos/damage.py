"""Any byte of any file of a store damaged: right data, or an error that says so, before use."""

from __future__ import annotations

import ast
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.errors import KitaruError
from tests.chaos import scenario

__all__ = ["READ", "Home", "damaged", "violations", "wrong"]

_BIG = "import numpy as np\nwide = np.arange(700_000.0)"
READ = "found = [float(wide.sum()), float(x.sum()), y, list(log), int(big.sum())]"


class Home:
    """The files of a home with the scenario in it, folded or with a live write-ahead log.

    Attributes:
        found: What the names read together.
    """

    def __init__(self, folder: Path, *, folded: bool) -> None:
        kernel = scenario.start(folder)
        for number, cell in enumerate((*scenario.CELLS, _BIG)):
            kernel.cell(cell, step=str(number))
        kernel.plain(READ)
        self.found = kernel["found"]
        if folded:
            kernel.stop()
        self.files = {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and not path.name.endswith(("-shm", "-reserve"))  # nobody reads the latter
        }
        if not folded:
            kernel.stop()

    def lay_out(self, folder: Path, damaged: Path, content: bytes | None) -> None:
        """The files in `folder`, one of them with another content, or gone."""
        shutil.rmtree(folder, ignore_errors=True)
        for name, right in self.files.items():
            data = content if name == damaged else right
            if data is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                (folder / name).write_bytes(data)


def violations(home: Home, folder: Path, *, count: int, seed: int) -> list[str]:
    """What goes wrong with `count` damages, spread evenly over the files and kinds."""
    chance = random.Random(seed)
    found = []
    names = sorted(home.files)
    for number in range(count):
        name = names[number % len(names)]
        how, content = damaged(home.files[name], chance)
        home.lay_out(folder, name, content)
        texts = wrong(home.found, lambda: scenario.a_kernel(folder))
        found += [f"{name}, {how}: {text}" for text in texts]
    return found


def damaged(content: bytes, chance: random.Random) -> tuple[str, bytes | None]:
    """What befalls a file, and what its bytes are then; None where it is gone."""
    kind = chance.choice(("flip", "flip", "flip", "cut", "gone", "zeros"))
    at = chance.randrange(max(1, len(content)))
    if kind == "gone" or not content:
        return "gone", None
    if kind == "cut":
        return f"cut at {at}", content[:at]
    end = at + 1 if kind == "flip" else min(len(content), at + 4096)
    new = bytes([content[at] ^ (1 << chance.randrange(8))]) if kind == "flip" else bytes(end - at)
    return f"{kind} at {at}", content[:at] + new + content[end:]


def wrong(found: Sequence[object], start: Callable[[], scenario.Kernel]) -> Iterator[str]:
    """What is wrong when the kernel that `start` gives resumes and uses everything.

    Right are the values in `found`, and errors of ours and markers.
    """
    kernel = None
    try:
        kernel = start()
        complaint = ""
        try:
            kernel.session.resume(take_over=True)
        except KitaruError as error:
            complaint = str(error)
        try:
            kernel.session.opens(ast.parse(READ))
        except KitaruError as error:
            complaint = str(error)
        yield from _wrong(found, kernel.live, complaint)
    except KitaruError:
        return
    except Exception as error:  # noqa: BLE001 - what is no error of ours is what we look for
        yield f"an unclear error: {type(error).__name__}: {error}"
    finally:
        if kernel is not None:
            _stop(kernel)


def _stop(kernel: scenario.Kernel) -> None:
    try:
        kernel.stop()
    except Exception:  # noqa: BLE001 - it was damaged
        kernel.engine.close()


def _wrong(found: Sequence[object], live: dict[str, object], complaint: str) -> Iterator[str]:
    names: Sequence[str] = ("wide", "x", "y", "log", "big")
    expressions = ("float(wide.sum())", "float(x.sum())", "y", "list(log)", "int(big.sum())")
    for name, expression, right in zip(names, expressions, found, strict=True):
        if name not in live or is_marker(live[name]):
            if not complaint:
                yield f"`{name}` is not there and nothing was said"
        elif eval(expression, live) != right:
            yield f"`{name}` is wrong"
