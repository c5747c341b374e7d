"""`stack list|current|show|use|create|delete|check`: where to run and where to record."""

from __future__ import annotations

import difflib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from kitaru_nb.cli.output import Json, clean, print_json, print_table
from kitaru_nb.errors import UsageError
from kitaru_nb.model.stack import LOCAL, Stack
from kitaru_nb.stacks.config import (
    PROJECT_FILES,
    StackFiles,
    check_name,
    project_file,
    read_stacks,
    stack_of,
    user_file,
)
from kitaru_nb.stacks.editing import add_stack, remove_stack, set_use
from kitaru_nb.stacks.open import chosen_stack
from kitaru_nb.stacks.parts import as_typed_in, check_urls, journal_at, store_at
from kitaru_nb.stacks.settings import resolve

__all__ = ["stack"]

_Option = Annotated[tuple[tuple[str, str], ...], Parameter(name="--option", metavar="NAME VALUE")]


def stack(
    action: Literal["list", "current", "show", "use", "create", "delete", "check"],
    name: str | None = None,
    /,
    *,
    store: Annotated[str | None, Parameter(metavar="URL")] = None,
    journal: Annotated[str | None, Parameter(metavar="URL")] = None,
    journal_password: Annotated[str | None, Parameter(metavar="SECRET")] = None,
    signing_key: Annotated[str | None, Parameter(metavar="SECRET")] = None,
    launcher: Annotated[str | None, Parameter(metavar="NAME")] = None,
    option: _Option = (),
    project: bool = False,
    json: Json = False,
) -> int:
    """Say which stacks there are, choose one, make or remove one, or try whether one works.

    Args:
        action: list, current, show [NAME], use NAME, create NAME, delete NAME; check [NAME] really
            writes, reads back and removes something there, exit 1 when a part does not work.
        name: The stack; for show and check the current one by default.
        store: With create: s3://bucket/prefix, gs://…, az://… or a folder.
        journal: With create: postgresql://USER@HOST/DATABASE, sqlite:///a/relative/file or
            sqlite:////an/absolute/file.
        journal_password: With create: secret:env:NAME.
        signing_key: With create: secret:env:NAME, the secret that the team signs with.
        launcher: With create: local, dask, slurm, ssh or kubernetes; its own options are written in the file.
        option: With create: an option of the store, such as region eu-west-1. May be given many times.
        project: With create and use: write to the project's file instead of the user's.
        json: Print one JSON document.
    """
    here = Path.cwd()
    files = read_stacks(here)
    given = {
        "launcher": launcher,
        "store": store,
        "journal": journal,
        "journal_password": journal_password,
        "signing_key": signing_key,
        "options": dict(option),
    }
    given = {key: value for key, value in given.items() if value}
    if given and action != "create":
        raise UsageError(
            f"`stack {action}` takes none of these options",
            kind="bad-argument",
            hint="kitaru-nb stack create",
        )
    match action:
        case "list":
            return _list(files, json=json)
        case "current" | "show":
            return _show(_named(files, name, action), json=json)
        case "check":
            return _check(_named(files, name, action), json=json)
        case "use":
            return _use(_named(files, _needed(name, action), action), here, project=project, json=json)
        case "create":
            return _create(files, _needed(name, action), given, here, project=project, json=json)
        case "delete":
            return _delete(files, _named(files, _needed(name, action), action), json=json)


def _list(files: StackFiles, *, json: bool) -> int:
    current = resolve().stack
    if json:
        print_json([{**each.to_json(), "current": each.name == current} for each in files.stacks.values()])
        return 0
    print_table(
        ("stack", "", "launcher", "store", "journal", "from"),
        [
            [
                each.name,
                "current" if each.name == current else "",
                each.launcher,
                each.store or "home",
                each.journal or "home",
                each.source,
            ]
            for each in files.stacks.values()
        ],
    )
    return 0


def _show(chosen: Stack, *, json: bool) -> int:
    settings = resolve()
    current = chosen.name == settings.stack
    where = {"journal": journal_at(settings, chosen), "store": store_at(settings, chosen)}
    document = chosen.to_json() | {
        "where": where,
        "current": current,
        "chosen_by": settings.sources.get("stack") if current else None,
    }
    if json:
        print_json(document)
        return 0
    print(clean(f"{chosen.name}  ({document['chosen_by'] or 'not the current one'})"))
    for key, value in (chosen.to_json() | where).items():
        if key != "name" and value:
            shown = " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value
            print(clean(f"  {key}: {shown}"))
    return 0


def _check(chosen: Stack, *, json: bool) -> int:
    from kitaru_nb.stacks.checking import check_stack  # noqa: PLC0415 - only this action needs it

    found = check_stack(resolve(stack=chosen.name), tell=_tell)
    if json:
        print_json({"stack": found.stack, "ok": found.ok, "parts": [asdict(part) for part in found.parts]})
        return 0 if found.ok else 1
    for part in found.parts:
        time = "" if part.latency is None else f", {1000 * part.latency:.1f} ms"
        print(clean(f"{part.part}: {part.where}: {'works' if part.ok else 'DOES NOT WORK'}{time}"))
        for note in part.notes:
            print(clean(f"  note: {note}"))
        if part.problem is not None:
            print(clean(f"  {part.problem['message']}"))
            print(clean(f"  Try: {part.problem['hint']}"))
    return 0 if found.ok else 1


def _tell(text: str) -> None:
    print(clean(text), file=sys.stderr, flush=True)


def _use(chosen: Stack, here: Path, *, project: bool, json: bool) -> int:
    path = _file(here, project=project)
    set_use(path, chosen.name)
    settings = resolve()
    if json:
        print_json({"stack": chosen.name, "file": str(path), "current": settings.stack})
        return 0
    print(clean(f"stack {chosen.name} is used from now on ({path})"))
    if settings.stack != chosen.name:
        print(clean(f"but here {settings.sources['stack']} says `{settings.stack}`, which counts before it"))
    return 0


def _create(
    files: StackFiles, name: str, given: dict[str, Any], here: Path, *, project: bool, json: bool
) -> int:
    if name in files.stacks:
        raise UsageError(
            f"there is a stack `{name}` already ({files.stacks[name].source})",
            kind="duplicate-stack",
            hint=f"kitaru-nb stack delete {name}, or another name",
        )
    path = _file(here, project=project)
    for part in ("store", "journal"):
        if part in given:
            given[part] = as_typed_in(here, given[part], path.parent)
    check_name(name)
    made = stack_of(name, given, path)  # refuses what could not be read again, secrets before all
    check_urls(resolve(), made)
    add_stack(path, name, given)
    if json:
        print_json({**made.to_json(), "file": str(path)})
    else:
        print(clean(f"stack {name} is in {path}; kitaru-nb stack check {name} tries it"))
    return 0


def _delete(files: StackFiles, chosen: Stack, *, json: bool) -> int:
    if chosen.name == LOCAL.name:
        raise UsageError(
            "the stack `local` is always there", kind="bad-argument", hint="kitaru-nb stack list"
        )
    remove_stack(Path(chosen.source), chosen.name)
    left = files.use is not None and files.use[0] == chosen.name
    if left and files.use is not None:
        set_use(files.use[1], LOCAL.name)
    if json:
        print_json({"deleted": chosen.name, "file": chosen.source, "current": resolve().stack})
    else:
        print(clean(f"stack {chosen.name} is no longer in {chosen.source}; what is recorded there stays"))
        if left:
            print(clean(f"stack {resolve().stack} is used from now on"))
    return 0


def _named(files: StackFiles, name: str | None, action: str) -> Stack:
    if name is None:
        return chosen_stack(resolve())
    if name not in files.stacks:
        close = difflib.get_close_matches(name, files.stacks, n=1)
        hint = f"kitaru-nb stack {action} {close[0]}" if close else f"one of {', '.join(files.stacks)}"
        raise UsageError(f"there is no stack `{name}`", kind="unknown-stack", hint=hint)
    return files.stacks[name]


def _needed(name: str | None, action: str) -> str:
    if name is None:
        raise UsageError(
            f"`stack {action}` needs NAME", kind="missing-argument", hint=f"kitaru-nb stack {action} NAME"
        )
    return name


def _file(here: Path, *, project: bool) -> Path:
    return (project_file(here) or here / PROJECT_FILES[0]) if project else user_file()
