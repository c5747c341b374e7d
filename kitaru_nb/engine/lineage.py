"""Which cells made a value: the plain cells and steps of a kernel, in the order they ran.

Plain cells are not watched while they run. What they can do is read off their code when a
commit is made, and that much of them is on record with it: a digest of the code and the names
it reads and binds, never its text.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from kitaru_nb.analysis.code_names import function_names
from kitaru_nb.analysis.names import names_of
from kitaru_nb.analysis.outline import Outline, outline_of
from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.artifacts.kinds import package_of
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.conditions import seeds
from kitaru_nb.engine.named import named_environment, named_files
from kitaru_nb.engine.prefix import source_code
from kitaru_nb.errors import UsageError
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, Draft

__all__ = ["Lineage", "Seen", "lineage_of", "makers", "only_shows"]

_HARMLESS = frozenset(
    "print len sorted list tuple set dict str repr type id isinstance sum min max any all enumerate zip "
    "range display reversed bool int float format hash round abs iter".split()
)
_LOOKING = frozenset(
    "head tail describe info shape columns dtypes dtype keys values items copy count index mean sum min max "
    "std ndim size nunique value_counts startswith endswith strip split join lower upper format".split()
)
_ASKS = frozenset({"input", "getpass", "wait"})


@dataclass(frozen=True, slots=True)
class Seen:
    """A cell that ran, as far as it bears on what names hold.

    Attributes:
        code: Digest of its code.
        reads: Names it reads, itself or through the notebook's functions.
        binds: Names it may bind or delete.
        alters: Names whose value it may change in place.
        certain: Names it binds for certain.
        named: Files and environment variables it names, with digests.
        asks: It asks a person, so another value is a person's doing.
        seeds: It may set a random generator.
        step: The name of the checkpoint it is; None for a plain cell.
        key: Of a checkpoint.
        source: What the user typed; empty where it comes from a record.
    """

    code: str
    reads: frozenset[str] = frozenset()
    binds: frozenset[str] = frozenset()
    alters: frozenset[str] = frozenset()
    certain: frozenset[str] = frozenset()
    named: Mapping[str, str] | None = None
    asks: bool = False
    seeds: bool = False
    step: str | None = None
    key: str | None = None
    source: str = ""

    def line(self, name: str) -> str:
        """The line of its code that binds `name`, else its first."""
        lines = [line.strip() for line in VAULT.mask_source(self.source).splitlines()]
        code = [line for line in lines if line and not line.startswith(("#", "%"))]
        binding = (line for line in code if re.match(rf"{re.escape(name)}\b[^=(]*=(?!=)", line))
        return next(binding, code[0] if code else self.source.strip())


class Lineage:
    """The cells of this kernel, in order.

    Args:
        live: The namespace.
        ignored: These files, and files below these folders, are no data.
    """

    def __init__(self, live: Mapping[str, Any], ignored: Sequence[Path]) -> None:
        self.cells: list[Seen | str] = []
        self._live = live
        self._ignored = ignored
        self._told = 0

    def saw(self, source: str) -> None:
        """A plain cell is about to run."""
        self.cells.append(source)

    def committed(self, draft: Draft) -> None:
        """A step has been put on record."""
        self.cells.append(_step(draft))
        self._told = len(self.cells)

    def clear(self) -> None:
        """The names were put back from a record: what ran here before did not make them."""
        self.cells.clear()
        self._told = 0

    def seen(self) -> list[Seen]:
        """All of them."""
        for place, cell in enumerate(self.cells):
            if isinstance(cell, str):
                self.cells[place] = self._look(cell)
        return [cell for cell in self.cells if isinstance(cell, Seen)]

    def untold(self) -> tuple[Mapping[str, Any], ...]:
        """The plain cells since the last commit, as a commit puts them on record."""
        if self._told == len(self.cells):
            return ()
        return tuple(_as_json(cell) for cell in self.seen()[self._told :] if cell.step is None)

    def _look(self, source: str) -> Seen:
        code = str(source_code(source))
        try:
            tree = ast.parse(source)
            names = names_of(tree)
            outline = outline_of(tree)
        except (SyntaxError, ValueError, UsageError):  # magics; what they bind is not known
            return Seen(code, seeds=seeds(source), source=source)
        reads = frozenset(self._reached(names.reads))
        values = [self._live[name] for name in names.reads if name in self._live]
        named = {f"file:{path}": digest for path, digest in self._files(outline, values).items()}
        for name, value in named_environment(outline, values).items():
            named[f"env:{name}"] = digest_values({"": value}, namespace={})
        asks = not _ASKS.isdisjoint(names.reads) or any(map(_is_widget, values))
        alters = _may_change(tree, names.reads) | (reads - names.reads)
        binds = names.writes | names.deletes
        return Seen(
            code, reads, binds, alters, names.certain, named, asks=asks, seeds=seeds(source), source=source
        )

    def _files(self, code: Outline, values: Sequence[object]) -> Mapping[str, str]:
        return named_files(code, values, ignored=self._ignored)

    def _reached(self, names: Iterable[str]) -> set[str]:
        """`names`, and those that the notebook's functions among them read in turn."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in found or (name not in self._live and hasattr(builtins, name)):
                continue
            found.add(name)
            value = self._live.get(name)
            if isinstance(value, FunctionType) and value.__globals__ is self._live:
                waiting += [used for used in function_names(value.__code__).names if used in self._live]
        return found


def lineage_of(line: Sequence[Checkpoint]) -> list[Seen]:
    """The cells that are on record along a line of commits, oldest first."""
    found: list[Seen] = []
    for checkpoint in line:
        found += [_from_json(cell) for cell in checkpoint.draft.plain]
        if checkpoint.draft.status is not CheckpointStatus.FAILED:
            found.append(_step(checkpoint.draft))
    return found


def makers(cells: Sequence[Seen], name: str, *, immutable: bool) -> list[Seen]:
    """The cells that gave `name` the value it has, oldest first, from the last that bound it for certain."""
    found: list[Seen] = []
    for cell in reversed(cells):
        if name in cell.binds or (name in cell.alters and not immutable):
            found.append(cell)
        if name in cell.certain:
            break
    return found[::-1]


def only_shows(tree: ast.Module) -> bool:
    """Whether a cell binds nothing and calls only what looks at things: ``print(rows)``, ``df.head()``."""
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return all(isinstance(node, ast.Expr) for node in tree.body) and all(
        (isinstance(called, ast.Name) and called.id in _HARMLESS)
        or (isinstance(called, ast.Attribute) and called.attr in _LOOKING)
        for called in calls
    )


def _step(draft: Draft) -> Seen:
    writes = frozenset(draft.writes) | frozenset(draft.deleted_by_step)
    reads = frozenset(name for group in draft.reads for name in group.split(","))
    return Seen(
        draft.code, reads, writes, writes, writes, step=draft.name, key=draft.key, source=draft.source
    )


def _as_json(cell: Seen) -> dict[str, Any]:
    return {
        "code": cell.code,
        "reads": sorted(cell.reads),
        "binds": sorted(cell.binds),
        "alters": sorted(cell.alters),
        "certain": sorted(cell.certain),
        "named": dict(cell.named or {}),
        "asks": cell.asks,
    } | ({"seeds": True} if cell.seeds else {})


def _from_json(body: Mapping[str, Any]) -> Seen:
    return Seen(
        body["code"],
        frozenset(body["reads"]),
        frozenset(body["binds"]),
        frozenset(body["alters"]),
        frozenset(body["certain"]),
        body["named"],
        asks=body["asks"],
        seeds=body.get("seeds", False),
    )


def _may_change(tree: ast.Module, reads: frozenset[str]) -> frozenset[str]:
    """Names among `reads` whose value the code may change in place."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    return frozenset(
        node.id
        for node in parents
        if isinstance(node, ast.Name) and node.id in reads and not _only_looks(node, parents)
    )


def _only_looks(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> bool:
    """Whether the value of `node` is only looked at where it stands."""
    match parents.get(node):
        case ast.Expr() | ast.Compare() | ast.BinOp() | ast.BoolOp() | ast.UnaryOp() | ast.FormattedValue():
            return True
        case ast.Call(func=ast.Name(id=called), args=arguments) if node in arguments:
            return called in _HARMLESS
        case ast.Call(func=function) if node is function:
            return True
        case ast.Attribute(attr=attribute, ctx=ast.Load()) as parent:
            return attribute in _LOOKING or (
                not isinstance(parents.get(parent), ast.Call) and _only_looks(parent, parents)
            )
        case ast.Subscript(ctx=ast.Load()) as parent:
            return parent.slice is node or _only_looks(parent, parents)
        case ast.For(iter=iterated) if node is iterated:
            return False
        case ast.Assign():
            return False
    return False


def _is_widget(value: object) -> bool:
    return any(package_of(base) == "ipywidgets" for base in type(value).__mro__)


def iter_changed(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    """The names, out of groups ``a,b``, that hold something else."""
    for group in sorted(old.keys() | new.keys()):
        if old.get(group) != new.get(group):
            yield from group.split(",")
