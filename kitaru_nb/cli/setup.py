"""`enable` and `doctor`: what is set up here, and what is wrong."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from kitaru_nb.cli.output import Json, clean, money, print_json, size
from kitaru_nb.errors import UsageError
from kitaru_nb.stacks.settings import resolve, table_in

__all__ = ["doctor", "enable"]


def enable(*, off: Annotated[bool, Parameter(negative=())] = False, json: Json = False) -> int:
    """Load kitaru_nb in every kernel by itself, without %load_ext.

    Args:
        off: Take it back.
        json: Print one JSON document.
    """
    from kitaru_nb.stacks import enable as startup  # noqa: PLC0415 - imports IPython

    path, changed = startup.disable() if off else startup.enable()
    if json:
        print_json({"enabled": not off, "changed": changed, "file": str(path)})
        return 0
    match off, changed:
        case False, True:
            print(f"kernels that start from now on load kitaru_nb (wrote {path})")
            print("take it back with: kitaru-nb enable --off")
        case False, False:
            print(f"kernels load kitaru_nb already ({path})")
        case True, True:
            print(f"kernels that start from now on do not load kitaru_nb (removed {path})")
        case True, False:
            print(f"kernels do not load kitaru_nb by themselves ({path} is not there)")
    return 0


def doctor(notebook: str | None = None, /, *, json: Json = False) -> int:
    """Check settings, disk, journal and kernels; exit 0 when kitaru_nb can work here.

    Args:
        notebook: Show the settings that hold in this notebook; in the one that KITARU_NB_NOTEBOOK names
            by default.
        json: Print one JSON document.
    """
    from kitaru_nb.stacks.doctor import examine  # noqa: PLC0415 - imports IPython and jupyter_client

    path = notebook or resolve().notebook
    if notebook is not None and not Path(notebook).is_file():
        raise UsageError(f"there is no notebook `{notebook}`", kind="unknown-notebook", hint="ls *.ipynb")
    found = examine(resolve(in_notebook=table_in(None if path is None else Path(path))))
    if json:
        print_json({"usable": found.usable, **asdict(found)})
    else:
        _print_diagnosis(found)
    return 0 if found.usable else 1


def _print_diagnosis(found: Any) -> None:
    rows = [(s["name"], f"{_setting(s['name'], s['value'])}  ({s['source']})") for s in found.settings]
    _print_block("settings", rows)
    if found.stack:
        place = f"store {found.stack['where']['store']}, journal {found.stack['where']['journal']}"
        _print_block("stack", [(found.stack["name"], f"{place}  ({found.stack['source']})")])
    folders = [(each["path"], _folder(each)) for each in found.folders]
    home = found.home["path"]
    beside = [] if found.home["used"] else [(home, "the home; this stack keeps only caches in it")]
    _print_block("folders", folders + beside)
    if found.disk:
        _print_block("disk", [("the store takes", _disk(found.disk))])
    if found.journal:
        _print_block("journal", [(found.journal["path"], _journal(found.journal))])
    _print_block("versions", [(name, value or "MISSING") for name, value in found.versions.items()])
    _print_block("kernels", [(kernel["name"], _kernel(kernel)) for kernel in found.kernels])
    state = "on" if found.enabled["enabled"] else "off; kitaru-nb enable turns it on"
    _print_block("enable", [("loaded in every kernel", state)])
    for label, group in (("warning", found.warnings), ("problem", found.problems)):
        for problem in group:
            print("\n" + clean(f"{label}: {problem.message}"))
            print(clean(f"  Try: {problem.hint}"))
    print(
        "\nall is well" if found.usable else "\nkitaru_nb cannot work here until the problem above is solved"
    )


def _print_block(title: str, rows: list[tuple[str, str]]) -> None:
    print(title)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        print(clean(f"  {name.ljust(width)}  {value}"))


def _folder(folder: dict[str, Any]) -> str:
    state = "writable" if folder["writable"] else "NOT usable"
    exists = f"exists, mode {folder['mode']}" if folder["exists"] else "made at the first run"
    system = folder["file_system"] or "unknown file system"
    quota = "" if folder["quota"] is None else f" of a quota of {size(folder['quota'])}"
    return f"{exists}, {state}, {size(folder['free'])} free{quota}, {system}"


def _disk(disk: dict[str, Any]) -> str:
    kept = f"values of finished executions go after {disk['keep_days']:g} days with `kitaru-nb gc`"
    if disk["path"] is None:
        return f"{size(disk['bytes'])} on this machine; `kitaru-nb store info` counts the bucket; {kept}"
    limit = (
        "no limit" if disk["max_bytes"] is None else f"{size(disk['max_bytes'])} at most ({disk['quota']})"
    )
    return f"{size(disk['bytes'])}, {limit}; {kept}"


def _journal(journal: dict[str, Any]) -> str:
    if not journal["exists"]:
        return "nothing recorded yet"
    checked = "every record checked" if journal["checked"] else "not checked"
    number = journal["executions"]
    executions = "1 execution" if number == 1 else f"{number} executions"
    return f"format {journal['format']}, {executions}, {size(journal['bytes'])}, {checked}"


def _kernel(kernel: dict[str, Any]) -> str:
    if kernel["error"]:
        return f"cannot start: {kernel['error']}"
    if kernel["kitaru_nb"] is None:
        return f"{kernel['language'] or 'unknown language'}: kitaru_nb works in Python kernels only"
    return f"{kernel['python']}  ({'has' if kernel['kitaru_nb'] else 'has no'} kitaru_nb)"


def _setting(name: str, value: Any) -> str:
    if not isinstance(value, float):
        return "-" if value is None else str(value)
    match name:
        case "keep_days":
            return f"{value:g} days"
        case "budget":
            return money(value)
        case _:
            return f"{value:g} s"
