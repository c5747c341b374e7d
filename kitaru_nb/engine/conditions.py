"""What must be as it was for a record to count, besides its key.

The key says what a step is; what it was seen to do only shows once it has run. So a record
carries conditions, and a step is restored from it only where all of them hold now:

``names:a,b``     names the step changed in place, or may have bound, hold what they held
``led:a,b``       only the names given lead to functions or classes among these, which it changed
                  in place: a restore gives new ones to those names, and others would be left behind
``linked:f,C``    of what it reads, only the names given lead to these functions and classes that it
                  reads: one that was defined again is another one, though it be alike
``unbound:NAME``  a name that it may delete is not bound, as it was not
``file:PATH``     a file it read has that content, or is absent as it was
``database:PATH`` an SQLite file that it connected to and changed is as it was before or after that, or
                  as steps below have left it
``folder:PATH|*`` a folder that it listed, or named, has these names, or those after it
``url:ADDRESS``   what is at an address that it says it depends on is what it was
``module:PATH``   a project module it reached has that source
``random:PART``   a seeded random generator that it drew from or may have set stands where it stood
``process:PART``  working folder or options that it can see, or may have set, are as they were
``settings:LIB``  what cells have set in a library whose values it reaches, and that computes with it
``variables:MOD`` what cells left in variables of a project module it reaches is what was there
``unkept:MOD``    in the process that recorded it: what its cells left in variables of that module
                  that no other process can have is what was there
``env:NAME``      an environment variable it names has that value
"""

from __future__ import annotations

import ast
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kitaru_nb.analysis.outline import only_set
from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.engine.caches import read_through
from kitaru_nb.engine.computing import COMPUTING, settings_of
from kitaru_nb.engine.linked import linked
from kitaru_nb.engine.listing import listing_digest, names_in
from kitaru_nb.engine.named import conditions_of_trees
from kitaru_nb.engine.namespace import Change, Names, State
from kitaru_nb.engine.observe import ABSENT, Observed, file_holds, is_data, state_of
from kitaru_nb.engine.process import Held, ProcessState, drawn, held_at, is_secret
from kitaru_nb.engine.state import leading_to
from kitaru_nb.engine.steps import Pending
from kitaru_nb.engine.suspects import GENERATORS
from kitaru_nb.engine.variables import Unkept, files_read_by
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import Checkpoint

__all__ = ["conditions_of", "holds", "put_into", "seeds", "untold"]

_SEEDS = re.compile(r"seed|set_?state|random_state|RandomState")
_HERE = f"{secrets.token_hex(8)}:"  # this process
_ANNOTATES = re.compile(r"\b(?:def|class)\b|^\s*\w+\s*:\s*\w", re.MULTILINE)
_FOLDER = frozenset({"getcwd", "getcwdb"})


def conditions_of(
    pending: Pending,
    step: Change,
    after: ProcessState,
    observed: Observed,
    files: Sequence[Mapping[str, Any]],
    *,
    suspects: Iterable[str],
    ignored: Sequence[Path],
    live: dict[str, Any],
) -> dict[str, str]:
    """The conditions of a step that has just run.

    Args:
        pending: The step, with how things stood before it.
        step: What it changed.
        after: The process state after it.
        observed: What it was seen to touch; `files` are the files of that, with digests.
        files: See `Observed.files`.
        suspects: Parts of process state that the step may have set, see `may_set`.
        ignored: Files, and folders whose files, are no data.
        live: The live namespace.
    """
    found: dict[str, str] = {
        f"names:{','.join(names)}": pending.before.groups[names] for names in _kept(pending, step)
    }
    found |= {
        f"led:{','.join(names)}": ",".join(sorted(_led(names, pending.before)))
        for names in _redefined(pending, step)
    }
    found |= {f"linked:{names}": leading for names, leading in pending.needs.links.items()}
    found |= dict.fromkeys((f"unbound:{name}" for name in sorted(_perhaps_deleted(pending))), "")
    if pending.seeded:
        parts = [part for part in drawn(pending.process, after) if part not in pending.unset]
        found |= {f"random:{part}": _digest(pending.process[part]) for part in parts}
    for part in suspects:
        held, generator = _part(pending.process, part), part in GENERATORS
        set_before = pending.seeded and held is not None and part not in pending.unset
        if held == _part(after, part) and (not generator or set_before):
            found[f"random:{part}" if generator else f"process:{part}"] = _digest(held)
    found |= {
        f"file:{path}": digest
        for path, digest in pending.files.items()
        if path not in observed.written and state_of(path) == digest  # what the step wrote is no input
    }
    for file in files:
        if file["mode"] in ("read", "absent") and file["digest"] is not None:
            found[f"file:{file['path']}"] = file["digest"]
    found |= {
        f"file:{path}": _either(before, state_of(path)) + (f"|{ABSENT}" if path in observed.unheard else "")
        for path, before in observed.before.items()
        if is_data(path, ignored)
    }
    found |= {
        f"file:{path}": before
        for path, before in observed.databases.items()
        if path not in observed.written
        and (before != ABSENT or not path.endswith("-wal"))
        and is_data(path, ignored)
    }
    found |= {
        f"database:{path}": _either(before, state_of(path))
        for path, before in observed.databases.items()
        if path in observed.written and not path.endswith("-wal") and is_data(path, ignored)
    }
    for (folder, pattern), names in observed.listed.items():
        if is_data(f"{folder}{os.sep}", ignored):
            left = listing_digest(names_in(folder, pattern))
            found[f"folder:{folder}|{pattern}"] = _either(listing_digest(names), left)
    found = dict(conditions_of_trees(pending.trees, observed)) | found
    found |= {f"url:{address}": state for address, state in pending.addresses.items()}
    for module in pending.needs.modules.values():
        found[f"module:{module.path}"] = module.digest
    if pending.needs.modules or pending.caches:
        found |= _of_modules(pending, after, observed, ignored)
    found |= {f"variables:{name}": _variables(pending, name) for name in pending.needs.modules}
    found |= _of_process(pending, after, observed, live)
    found |= {
        f"env:{name}": _either(_digest(value), _digest(os.environ.get(name)))
        for name, value in pending.environment.items()
    }
    return found


def holds(pending: Pending, what: str, digest: str) -> bool:
    """Whether one condition of a record holds for a step that is about to run."""
    kind, _, rest = what.partition(":")
    match kind:
        case "names":
            return pending.before.groups.get(tuple(rest.split(","))) == digest
        case "led" | "linked":
            return _is_led_to(pending, kind, tuple(rest.split(",")), digest)
        case "unbound":
            return rest not in pending.before.ids
        case "random":
            return rest in pending.process and _digest(pending.process[rest]) == digest
        case "process" | "settings":
            return _process_holds(pending, kind, rest, digest)
        case "variables" | "unkept":
            return _module_holds(pending, kind, rest, digest)
        case "url":
            return pending.addresses.get(rest) == digest
        case "env":
            return _digest(pending.environment.get(rest)) in digest.split("|")
        case "folder":
            folder, _, pattern = rest.rpartition("|")
            return listing_digest(names_in(folder, pattern)) in digest.split("|")
        case _:
            return file_holds(what, digest)


def _process_holds(pending: Pending, kind: str, part: str, digest: str) -> bool:
    if kind == "settings":
        return _settings(pending.process, part) in digest.split("|")
    known = pending.attributes.get(part.removeprefix("attributes/"))
    return (known or _digest(_part(pending.process, part))) in digest.split("|")


def _module_holds(pending: Pending, kind: str, module: str, digest: str) -> bool:
    if kind == "variables":
        return _variables(pending, module) == digest
    return not digest.startswith(_HERE) or _unkept(pending.process, module) == digest


def _either(before: str, after: str) -> str:
    return before if before == after else f"{before}|{after}"


def seeds(source: str) -> bool:
    """Whether a cell may set a random generator, so that what is drawn later is the notebook's doing."""
    return _SEEDS.search(source) is not None


def _kept(pending: Pending, step: Change) -> set[tuple[str, ...]]:
    """Groups changed in place, and those of names the cell may bind and that look unchanged.

    Such a name was left alone or given an equal value, and it does not show which.
    """
    group_of = pending.before.group_of
    changed = {name for names in step.groups for name in names}
    return {
        group_of[name] for name in pending.needs.names.writes - changed if name in group_of
    } | step.in_place


def _redefined(pending: Pending, step: Change) -> Iterator[Names]:
    """The groups of functions and classes that the step changed in place."""
    named = set(pending.before.definitions.values())
    yield from (names for names in sorted(step.in_place) if not named.isdisjoint(names))


def _led(names: Names, state: State) -> set[str]:
    """The names that lead to functions or classes in a group."""
    return {name for group in leading_to({names}, state) for name in group}


def _is_led_to(pending: Pending, kind: str, definitions: Names, leading: str) -> bool:
    """Whether only the names given lead to some functions and classes; where the step reads both, they do."""
    if kind == "led":
        return _led(definitions, pending.before) <= set(leading.split(","))
    names = frozenset(name for group in pending.needs.reads for name in group.split(","))
    found = linked(names, pending.before)
    return all(found.get(name) == leading for name in definitions)


def _perhaps_deleted(pending: Pending) -> frozenset[str]:
    """Names that were not bound, so that it does not show whether the step would have deleted them."""
    names = pending.needs.names
    return names.deletes - names.certain - pending.before.ids.keys()


def _of_process(
    pending: Pending, after: ProcessState, observed: Observed, live: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """The conditions on what a step can see of the process, as it found and as it left that."""
    for part in _visible_parts(pending, observed):
        before, left = _digest(_part(pending.process, part)), _digest(_part(after, part))
        yield f"process:{part}", _either(before, left)
    attributes = after.get("attributes", {})
    for path, before in pending.attributes.items():
        now = attributes[path].digest(live) if path in attributes else None
        yield f"process:attributes/{path}", _either(before, now or before)
    for library in sorted(pending.libraries & COMPUTING.keys()):
        before, left = _settings(pending.process, library), _settings(after, library)
        yield f"settings:{library}", _either(before, left)


def _visible_parts(pending: Pending, observed: Observed) -> Iterator[str]:
    """The parts of process state that the step can see, as far as its code tells."""
    needs = pending.needs
    if observed.relative or "os" in needs.uses or not _FOLDER.isdisjoint(needs.touched):
        yield "cwd"
    yield from pending.asked
    if "future imports" in pending.process and _ANNOTATES.search(pending.cell.source):
        yield "future imports"  # which say what an annotation is
    if "option" in pending.cell.source or "rcParams" in pending.cell.source:
        yield from (part for part in pending.process if part.endswith(" options"))
    for path, held in pending.process.get("attributes", {}).items():
        told = path in pending.attributes or is_secret(path.rpartition(":")[2]) or type(held.value) is Unkept
        if _home(path) in needs.uses and not told:
            yield f"attributes/{path}"


def put_into(attributes: Iterable[str], process: ProcessState, *, apart: ast.AST) -> list[object]:
    """What attributes of libraries hold, but for those that the cell `apart` only sets.

    Code of a library may call it without a word of that in the cell.
    """
    held = {path: process["attributes"][path].value for path in attributes}
    own = only_set(apart)
    return [value for path, value in held.items() if path.rpartition(":")[2] not in own]


def untold(kept: Checkpoint, pending: Pending) -> tuple[str, ...]:
    """What cells have put into libraries that a step can see, and that a record of it says nothing of.

    The record was made where the libraries were as they are installed. What the step itself puts
    there, and nowhere reads, is no input of it.
    """
    if not pending.replaced:
        return ()
    parts = {path: f"process:attributes/{path}" for path in pending.replaced}
    missing = [path for path, what in parts.items() if what not in kept.draft.conditions]
    own = only_set(pending.cell.tree) if missing else frozenset()
    return tuple(sorted(parts[path] for path in missing if path.rpartition(":")[2] not in own))


def _home(path: str) -> str:
    """The module that an attribute is of, by its place in the process state."""
    return re.split(r"[|:]", path)[0]


def _settings(process: ProcessState, library: str) -> Digest:
    return _digest(settings_of(library, process) if library in COMPUTING else None)


def _variables(pending: Pending, module: str) -> Digest:
    """What cells have changed in the variables of a project module; what the step only sets is no input."""
    attributes, heads = pending.process.get("attributes", {}), (f"{module}:", f"{module}|")
    found = {
        path: _content(held)
        for path, held in attributes.items()
        if path.startswith(heads) and not held.imported and type(held.value) is not Unkept
    }
    if found:
        own = only_set(pending.cell.tree)
        found = {path: held for path, held in found.items() if path.rpartition(":")[2] not in own}
    return _digest(dict(sorted(found.items())))


def _of_modules(
    pending: Pending, after: ProcessState, observed: Observed, ignored: Sequence[Path]
) -> Iterator[tuple[str, str]]:
    """The conditions on what only this process has of project modules, and on files behind them."""
    for name in pending.needs.modules:
        if _unkept(after, name) != _unkept({}, name):
            yield f"unkept:{name}", _unkept(pending.process, name)
    read = files_read_by(pending.needs.modules) | read_through(observed, pending.caches)
    for path, digest in read.items():
        if path not in observed.written and is_data(path, ignored):
            yield f"file:{path}", digest


def _unkept(process: ProcessState, module: str) -> str:
    """How those variables of a project module stand that only this process has."""
    heads = (f"{module}:", f"{module}|")
    marks = {
        path: held.value.mark
        for path, held in process.get("attributes", {}).items()
        if type(held.value) is Unkept and path.startswith(heads)
    }
    return _HERE + _digest(dict(sorted(marks.items())))


def _part(process: ProcessState, part: str) -> object:
    kind, _, path = part.partition("/")
    if kind == "attributes":
        return _content(process.get("attributes", {}).get(path) or held_at(path))
    return process.get(part)


def _content(held: Held) -> object:
    # As it was then: the step may have changed it in place since.
    return getattr(held, "content", held.value)


def _digest(value: object) -> Digest:
    return digest_values({"": value}, namespace={})
