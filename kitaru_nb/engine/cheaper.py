"""Large values that are made again faster than a disk gives them back.

Where a cell was seen only to compute and to read files, and took much less time than its result
takes to be written and read, the cell's code is kept instead of the bytes. It runs again when
the value is needed, away from the notebook: in a namespace of its own with the inputs that are
on record. What it gives must have the digest that was recorded, else it does not count.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from types import FunctionType
from typing import Any

from kitaru_nb.artifacts.kinds import is_immutable_atom, kind_name, package_of
from kitaru_nb.artifacts.marker import Marker
from kitaru_nb.engine.commit import Written, write_groups
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.namespace import Change, Names, Namespace, State
from kitaru_nb.engine.observe import Observed, file_digest, is_data
from kitaru_nb.engine.steps import Pending
from kitaru_nb.engine.stoppable import stoppable
from kitaru_nb.errors import KitaruError, UnstorableError
from kitaru_nb.model.artifact import Anchor, Digest
from kitaru_nb.model.checkpoint import Group

__all__ = [
    "LARGE",
    "TOLD",
    "Ran",
    "Recipes",
    "disk_speed",
    "is_cheaper",
    "make",
    "only_computed",
    "size_of",
    "told",
]

LARGE = 256 << 20
"""Bytes of a group from which on it is asked whether its recipe is cheaper."""

TOLD = 1_000_000_000
"""Bytes from which on it is said before they are written."""

_FACTOR = 3
_READ = 1e9  # bytes a second that a stored value is read and verified with, at least
_PROBE = 16 << 20
_speeds: dict[str, float] = {}


def size_of(value: object) -> int:
    """Bytes of a value that is large in one piece: an array, a frame or a table; 0 for others."""
    root = package_of(type(value))
    if root == "numpy" and type(value).__name__ == "ndarray" and not value.dtype.hasobject:  # type: ignore[attr-defined] # an array
        return int(value.nbytes)  # type: ignore[attr-defined] # the same
    if root == "pandas" and hasattr(value, "memory_usage"):
        used = value.memory_usage()
        return int(used.sum() if hasattr(used, "sum") else used)
    if root == "polars" and hasattr(value, "estimated_size"):
        return int(value.estimated_size())
    if root == "pyarrow" and isinstance(getattr(value, "nbytes", None), int):
        return int(value.nbytes)  # type: ignore[attr-defined] # as asked
    return 0


def is_cheaper(size: int, seconds: float, home: Path) -> bool:
    """Whether running a cell again takes clearly less than writing and reading `size` bytes."""
    speed = disk_speed(home)
    return speed is not None and seconds * _FACTOR < size / speed + size / max(speed, _READ)


def disk_speed(home: Path) -> float | None:
    """Bytes a second that the disk of `home` takes for good, measured once; None when it takes none."""
    place = str(home)
    if place not in _speeds:
        probe = home / f"speed.{os.getpid()}"
        data = os.urandom(1 << 20) * (_PROBE >> 20)
        try:
            started = time.perf_counter()
            with probe.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _speeds[place] = len(data) / max(time.perf_counter() - started, 1e-6)
        except OSError:
            return None
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()
    return _speeds[place]


@dataclass(frozen=True, slots=True)
class Ran:
    """How a step ran.

    Attributes:
        seconds: How long it took.
        seen: Gives the files it read, with digests, if it was seen only to compute and to read;
            else None. Asked only where something large is to be stored.
    """

    seconds: float
    seen: Callable[[], Mapping[str, str] | None]


class Recipes:
    """Decides which large groups of a commit are kept as recipes, and keeps them.

    Args:
        engine: Journal and store.
        namespace: The namespace the cells run in.
        tell: Shows a line at once.
    """

    def __init__(self, engine: Engine, namespace: Namespace, *, tell: Callable[[str], None]) -> None:
        self._engine = engine
        self._namespace = namespace
        self._tell = tell

    def choose(
        self,
        changed: Collection[Names],
        pending: Pending,
        step: Change,
        after: State,
        *,
        on_record: Mapping[Names, Group],
        ran: Ran | None,
    ) -> dict[Names, Mapping[str, Any]]:
        """The groups to keep as recipes. What is large and written all the same is said."""
        large = {
            names: size
            for names in changed
            if (size := sum(size_of(self._namespace.live.get(name)) for name in names)) >= LARGE
            and (names not in on_record or on_record[names].value != after.groups[names])
        }
        directive = pending.cell.directive
        stored = directive is not None and (
            directive.all or set(directive.exclude) & {n for g in large for n in g}
        )
        chosen: dict[Names, Mapping[str, Any]] = {}
        files = ran.seen() if large and ran is not None and not stored else None
        if ran is not None and files is not None:
            home = self._engine.settings.home
            for names, size in large.items():
                recipe = self._recipe(pending, names, files, ran.seconds) if names in step.groups else None
                if (
                    recipe is not None
                    and is_cheaper(size, ran.seconds, home)
                    and self._repeats(recipe, names, size, step, after)
                ):
                    chosen[names] = recipe
        # Of what is on record already, only what has changed since is written.
        written = [item for item in large.items() if item[0] not in chosen and item[0] not in on_record]
        line = told(written, self._engine.settings.home)
        if line is not None:
            self._tell(line)
        return chosen

    def _recipe(
        self, pending: Pending, names: Names, files: Mapping[str, str], seconds: float
    ) -> Mapping[str, Any] | None:
        """What a group needs to be made again by its cell alone; None where that may not be enough."""
        live, own = self._namespace.live, pending.needs.names
        read = {name for group in pending.needs.reads for name in group.split(",")}
        code = ast.unparse(pending.cell.tree)
        if own.dynamic or "get_ipython" in code or read.intersection(names):
            return None
        inputs = sorted(read & live.keys())
        if not own.certain.issuperset(names) or not all(size_of(live[name]) for name in names):
            return None
        if not all(_is_simple(live[name]) for name in inputs):
            return None
        return {
            "code": code,
            "inputs": inputs,
            "files": dict(files),
            "cwd": str(Path.cwd()),
            "seconds": seconds,
        }

    def _repeats(
        self, recipe: Mapping[str, Any], names: Names, size: int, step: Change, after: State
    ) -> bool:
        """Whether the cell gives the same value once more: it may have asked a clock, or chance."""
        changed = {name for group in step.groups for name in group}
        if changed.intersection(recipe["inputs"]) or _free_memory() < 2 * size:
            return False
        live = self._namespace.live
        scratch = _scratch() | {name: live[name] for name in recipe["inputs"]}
        try:
            _run({**recipe, "step": "trial"}, scratch)
            made = {name: scratch[name] for name in names}
        except Exception:  # noqa: BLE001 - whatever the user's cell raises when it runs once more
            return False
        return self._namespace.digest(made) == after.groups[names]

    def keep(
        self,
        recipes: Mapping[Names, Mapping[str, Any]],
        pending: Pending,
        after: State,
        *,
        held: Mapping[str, Group],
        written: Written,
    ) -> None:
        """Put the recipes on record; a group whose inputs are not on record is stored after all."""
        if not recipes:
            return
        now = {**held, **{name: group for group in written.groups for name in group.names}}
        for names, recipe in recipes.items():
            inputs = _inputs(recipe["inputs"], now)
            if inputs is None:
                extra = write_groups(
                    self._engine,
                    self._namespace,
                    after,
                    changed=[names],
                    by_step=frozenset([names]),
                    on_record={},
                )
                written.groups += extra.groups
                written.artifacts += extra.artifacts
                written.locations += extra.locations
                written.needs |= extra.needs
                continue
            live = self._namespace.live
            reason = "it is made again by the cell of its checkpoint when the notebook is resumed"
            markers = {name: Marker(name, kind_name(live[name]), reason) for name in names}
            digest = written.add(self._engine.put(markers, namespace=live))
            made = {**recipe, "inputs": inputs, "step": pending.name}
            written.groups.append(Group(names, digest, after.groups[names], recipe=made))


def _inputs(names: Iterable[str], held: Mapping[str, Group]) -> dict[str, str] | None:
    found = {}
    for name in names:
        group = held.get(name)
        if group is None or group.unstorable or group.recipe:
            return None
        found[name] = str(group.artifact)
    return found


def _is_simple(value: object) -> bool:
    """Whether a value is the same in another namespace: data, modules and plain functions."""
    if is_immutable_atom(value) or size_of(value):
        return True
    if type(value) is FunctionType:
        return value.__closure__ is None and not value.__dict__
    if type(value) is dict:
        return all(map(is_immutable_atom, value.items()))
    return isinstance(value, list | set) and all(map(is_immutable_atom, value))


Load = Callable[[Digest, dict[str, Any], Callable[[Anchor], object]], dict[str, object]]
"""Gives the values of an artifact in a namespace of their own."""


def make(group: Group, load: Load) -> dict[str, object]:
    """The values of a group that was kept as a recipe, made again and checked.

    Raises:
        UnstorableError: kind ``recipe-failed``: it cannot be made as it was; the message says why.
    """
    recipe = group.recipe
    assert recipe is not None  # only such groups are made
    step = recipe["step"]
    for path, digest in recipe["files"].items():
        if file_digest(path) != digest:
            raise _failed(step, f"its file `{path}` has changed since")
    scratch = _scratch()
    try:
        _gather(recipe["inputs"], scratch, load)
        _run(recipe, scratch)
    except KitaruError:
        raise
    except Exception as error:  # whatever the user's cell raises
        raise _failed(step, f"its cell failed: {type(error).__name__}: {error}") from error
    made = {name: scratch[name] for name in group.names if name in scratch}
    if len(made) < len(group.names) or Namespace(scratch).digest(made) != group.value:
        raise _failed(step, "its cell gives something else now")
    return made


def _scratch() -> dict[str, Any]:
    return {"__name__": "__main__", "__builtins__": builtins}


def _free_memory() -> int:
    """Bytes that can be had without swapping; a lot where the system does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return sys.maxsize


def _gather(inputs: Mapping[str, str], scratch: dict[str, Any], load: Load) -> None:
    loaded: dict[str, dict[str, object]] = {}

    def values(artifact: str) -> dict[str, object]:
        if artifact not in loaded:
            loaded[artifact] = load(
                Digest(artifact), scratch, lambda anchor: values(anchor.artifact)[anchor.name]
            )
        return loaded[artifact]

    scratch.update({name: values(artifact)[name] for name, artifact in inputs.items()})


def _run(recipe: Mapping[str, Any], scratch: dict[str, Any]) -> None:
    before = Path.cwd()
    os.chdir(recipe["cwd"])
    try:
        quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
        with quiet[0], quiet[1], stoppable():
            exec(compile(recipe["code"], f"<cell of {recipe['step']}>", "exec"), scratch)  # noqa: S102 - the user's own cell
    finally:
        os.chdir(before)


def _failed(step: str, why: str) -> UnstorableError:
    message = f"it was not stored, being cheaper to make again, and that did not work: {why}"
    return UnstorableError(
        message,
        kind="recipe-failed",
        hint=f"run `{step}` again; %%checkpoint {quote(step)} --all stores the value",
    )


def told(groups: Sequence[tuple[Names, int]], home: Path) -> str | None:
    """The line that is said before much is written; None when it is not much."""
    size = sum(size for _, size in groups)
    speed = disk_speed(home) if size > TOLD else None
    if speed is None:
        return None
    listed = ", ".join(f"`{name}`" for names, _ in groups for name in names)
    return f"kitaru: writing {size / 1e9:.1f} GB ({listed}), about {max(1, round(size / speed))} s"


def only_computed(
    pending: Pending,
    seen: Observed,
    outputs: Sequence[Mapping[str, Any]],
    *,
    unchanged: bool,
    ignored: Sequence[Path],
) -> Mapping[str, str] | None:
    """The files that a step read, with digests, if it was seen only to compute and to read.

    Args:
        pending: The step.
        seen: What it was seen to touch.
        outputs: What it showed.
        unchanged: It left process state as it was, and nothing that lives in the process only.
        ignored: Our own files, which are none of it.
    """
    if seen.outside or seen.written or pending.environment or not unchanged:
        return None
    if any(output.get("output_type") not in _WORDS for output in outputs):
        return None
    read = [path for path in seen.read if is_data(path, ignored)]
    return {**pending.files, **{path: file_digest(path) or "" for path in read}}


_WORDS = frozenset({"stream", "execute_result"})
