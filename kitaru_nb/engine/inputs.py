"""What a cell depends on: its code, the names and modules it reaches, the files it declares."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType

from kitaru_nb.analysis.code_names import ASK_ARGUMENTS
from kitaru_nb.analysis.key import checkpoint_key
from kitaru_nb.analysis.modules import (
    LocalModule,
    has_source,
    is_local_module,
    local_modules,
    module_digest,
    variables_of,
)
from kitaru_nb.analysis.names import CellNames, names_of
from kitaru_nb.analysis.normal import code_digest, ends_quietly
from kitaru_nb.analysis.reach import Reach, reach
from kitaru_nb.artifacts.digest import opaque_in
from kitaru_nb.artifacts.marker import any_marker, is_marker, marker_details, marker_hint, marker_in
from kitaru_nb.artifacts.resource import any_resource, stands_for
from kitaru_nb.engine.cell import Cell
from kitaru_nb.engine.declared import NOTHING, Declared, declared
from kitaru_nb.engine.linked import links_of
from kitaru_nb.engine.named import MOST_FILES
from kitaru_nb.engine.namespace import Namespace, State
from kitaru_nb.errors import UnstorableError, UsageError
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import CheckpointKey

__all__ = ["Dependencies", "Inputs", "opaque_read"]


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What decides the result of a cell.

    Attributes:
        keys: The cell's key, and where there is one the key it had if its own loop
            variables were not bound before it.
        code: Digest of the normalised source alone.
        reads: Names it depends on, with the digest of what they hold.
        modules: Project modules it reaches.
        names: What the cell itself does with names.
        uses: Modules that it reaches by a name or imports, the project's own and libraries.
        touched: Names it can read, bind or change what they hold.
        markers: Names it depends on that hold a marker, sorted: it can be restored, not run.
        values: The user's names that it reaches, sorted; a marker may be inside what they hold.
        texts: Strings in other code that it reaches.
        variables: Those in code that asks for environment variables.
        may_read: Some of that code speaks of reading.
        declared: What its first line says it depends on.
        links: Which of `reads` lead to which functions and classes among them, see `links_of`.
    """

    keys: tuple[CheckpointKey, ...]
    code: Digest
    reads: Mapping[str, Digest]
    modules: Mapping[str, LocalModule]
    names: CellNames
    uses: frozenset[str]
    touched: frozenset[str]
    markers: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    texts: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()
    may_read: bool = False
    declared: Declared = NOTHING
    links: Mapping[str, str] = field(default_factory=dict)


class Inputs:
    """Finds what cells of one notebook depend on.

    Args:
        namespace: The namespace the cells run in.
        folder: Modules whose file lies below it are the project's own.

    Attributes:
        local: The project's modules that are loaded, as far as `fix_modules` has met them.
    """

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        self._namespace = namespace
        self._said: list[str] = []
        self._folder = folder
        self._modules_seen = 0
        self._looked_at: set[str] = set()
        self.local: set[str] = set()

    def of(self, cell: Cell, before: State, *, also: Sequence[object] = ()) -> Dependencies:
        """What `cell` depends on in the state `before`, and `also` what these values lead to.

        Raises:
            UsageError: `--depends` names a file that cannot be read.
        """
        said = declared(cell.directive.depends) if cell.directive is not None else NOTHING
        names = names_of(cell.tree)
        inputs = names.inputs(self._namespace.live.keys())
        is_data = partial(self._namespace.is_data, state=before)
        texts = [text for text in cell.outline.constants if type(text) is str]
        reached_from = partial(self._reach, names, is_data=is_data, texts=texts, also=also)
        found = reached_from(inputs)
        code = code_digest(cell.tree)
        key = _key_of(cell, code, found.modules, said)
        reads = self._reads(found, before)
        unbound = self._reads_unbound(names, inputs, reads, before, reached_from)
        keys = (key(reads),) if unbound == reads else (key(reads), key(unbound))
        reached = frozenset(before.ids) if found.dynamic else found.names
        touched = reached | names.writes | names.deletes
        markers = tuple(sorted(read for read in found.names if is_marker(self._namespace.live.get(read))))
        uses = self._uses(reached, names)
        if found.arguments or not ASK_ARGUMENTS.isdisjoint(cell.outline.words):
            uses |= {"sys"}
        values = tuple(sorted(found.names & before.ids.keys()))
        return Dependencies(
            keys,
            code,
            reads,
            found.modules,
            names,
            uses,
            touched,
            markers,
            values,
            texts=found.texts,
            variables=found.variables,
            may_read=found.reads,
            declared=said,
            links=links_of(reads, before, self._namespace.live, is_data=is_data),
        )

    def looked_up(
        self, places: Iterable[tuple[str, str]], needs: Dependencies, before: State
    ) -> dict[str, str]:
        """The conditions of a step that unpickling led to `places`, which its code does not name.

        What is looked up in the notebook by name counts as if the step had read it, and of a module
        of the project its source.

        Args:
            places: Module, and name in it.
            needs: What the step depends on by its code.
            before: The namespace before it.
        """
        main = self._namespace.live.get("__name__", "__main__")
        known = {*needs.values, *needs.names.certain}
        names = {name for module, name in places if module == main}
        found = {f"looked:{name}": self.held_by(name, before) for name in names & before.ids.keys() - known}
        elsewhere = {module for module, _ in places} - {main} - needs.modules.keys()
        modules = local_modules(elsewhere, self._is_local)
        return found | {f"module:{module.path}": module.digest for module in modules.values()}

    def held_by(self, name: str, state: State) -> str:
        """What a name holds, and all that its value leads to."""
        found = reach({name}, self._namespace.live, is_local=self._is_local)
        reads = self._reads(found, state)
        return ",".join(f"{names}={digest}" for names, digest in reads.items())

    def read_by(self, tree: ast.Module) -> frozenset[str] | None:
        """The names that a cell reads, as far as its code tells; None for all."""
        names = names_of(tree)
        found = self._reach(names, names.inputs(self._namespace.live.keys()))
        return None if found.dynamic else found.names

    def _uses(self, reached: frozenset[str], names: CellNames) -> frozenset[str]:
        values = (self._namespace.live.get(name) for name in reached)
        return names.imports | {value.__name__ for value in values if type(value) is ModuleType}

    def fix_modules(self) -> None:
        """Take the digests of project modules that were just loaded, before their files are edited."""
        if len(sys.modules) == self._modules_seen:
            return
        self._modules_seen = len(sys.modules)
        for key in sys.modules.keys() - self._looked_at:
            module = sys.modules.get(key)  # sys.modules may hold anything
            if type(module) is not ModuleType or not has_source(module):
                continue
            self._looked_at.add(key)
            name = str(variables_of(module).get("__name__"))
            if name not in self.local and self._is_local(module):
                self.local.add(name)
                with suppress(UsageError):  # a module without source; said where a cell reads it
                    module_digest(module)

    def _reads(self, found: Reach, before: State) -> dict[str, Digest]:
        return self._namespace.read(before.ids.keys() if found.dynamic else found.names, before)

    def _reads_unbound(
        self,
        names: CellNames,
        inputs: frozenset[str],
        reads: dict[str, Digest],
        before: State,
        reached_from: Callable[[frozenset[str]], Reach],
    ) -> dict[str, Digest]:
        """What the cell reads if its own loop variables and the like were not bound before it.

        A cell such as ``for row in rows: ...; print(row)`` reads `row` only when `rows` is
        empty. After its first run `row` is bound, and it must still be found on record.
        """
        own = names.required & names.writes & before.ids.keys()
        if not own:
            return reads
        rest = reached_from(inputs - own)
        return reads if rest.dynamic or rest.names & own else self._reads(rest, before)

    def _reach(
        self,
        names: CellNames,
        inputs: frozenset[str],
        *,
        is_data: Callable[[str], bool] = lambda _name: False,
        texts: Iterable[str] = (),
        also: Sequence[object] = (),
    ) -> Reach:
        return reach(
            inputs,
            self._namespace.live,
            is_local=self._is_local,
            imports=names.imports,
            dynamic=names.dynamic,
            subclasses=names.subclasses,
            by_text=names.by_text,
            texts=texts,
            stands_for=stands_for if any_resource() else None,
            is_data=is_data,
            also=also,
        )

    def _is_local(self, module: ModuleType) -> bool:
        # The notebook itself is none, also where `%run` or a cell has given it a `__file__`.
        variables = variables_of(module)
        is_main = variables is self._namespace.live or variables.get("__name__") == "__main__"
        return not is_main and is_local_module(module, [self._folder])

    def refuse_markers(self, needs: Dependencies, name: str, *, headless: bool = False) -> None:
        """A step that has to run needs the real things; `headless` no magic can make them.

        What its names hold may have something missing inside and be read all the same: `hear` says
        so. That costs nothing where the process holds no marker, else a walk through what it reads.

        Raises:
            UnstorableError: it reads a name that holds a marker.
        """
        live = self._namespace.live
        for read in needs.markers:
            _, kind, reason = marker_details(live[read])
            what = f"a {kind} that could not be stored: {reason}" if kind else f"which {reason}"
            message = f"checkpoint `{name}` reads `{read}`, {what}"
            hint = (f"%resume --remake {read}, or " if kind else "") + "run its cell with --fresh"
            if headless:
                hint = f"tag the cell that makes `{read}` with no-checkpoint, or declare it with @kt.resource"
            hint = marker_hint(live[read]) or hint
            raise UnstorableError(message, kind="reads-marker", hint=hint)
        for read in needs.values if any_marker() else ():
            marker = marker_in(live.get(read), apart=live)
            if marker is not None:
                _, kind, reason = marker_details(marker)
                part = f"a {kind} inside" if kind else "a part"
                self._said.append(f"`{read}` was read with {part} missing, its text stands for it: {reason}")

    def say_cut(self, roots: Iterable[str]) -> None:
        """Say which folders and patterns stand for more files than are looked at."""
        self._said += [
            f"of `{root}` only the first {MOST_FILES} files count as read; --depends names others"
            for root in roots
        ]

    def hear(self) -> list[str]:
        """What is to be said of what the last step read; each sentence is given once."""
        said, self._said = self._said, []
        return said


def opaque_read(needs: Dependencies) -> frozenset[int]:
    """The objects in this process that a step reaches and whose state cannot be read.

    Which file or connection it is says nothing of how it stands, so no record of this process
    holds for a step that uses it. A marker stands for its object in the state it was recorded in.
    """
    if needs.markers:
        return frozenset()
    return frozenset[int]().union(*map(opaque_in, needs.reads.values()))


def _key_of(
    cell: Cell, code: Digest, modules: Mapping[str, LocalModule], said: Declared
) -> Callable[[Mapping[str, Digest]], CheckpointKey]:
    sources = {name: module.digest for name, module in modules.items()} | said.key
    options = {"quiet": ends_quietly(cell.source)}
    return lambda reads: checkpoint_key(code=code, reads=reads, modules=sources, options=options)
