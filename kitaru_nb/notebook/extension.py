"""`%load_ext kitaru_nb`: hooks and magics, light until the first checkpoint."""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from typing import Any

from kitaru_nb.engine.context import current_scope
from kitaru_nb.errors import KitaruError, UsageError, typed_in_a_cell
from kitaru_nb.llm import tap
from kitaru_nb.notebook.hooks import Hooks

__all__ = ["hooks", "load", "notebook", "standing", "unload"]

_hooks: Hooks | None = None


def load(shell: Any) -> None:
    """Put the hooks and magics in place, and say when the notebook's last execution died.

    Loading twice changes nothing.
    """
    global _hooks  # noqa: PLW0603 - one kernel, one set of hooks
    if _hooks is not None:
        return
    import IPython  # noqa: PLC0415 - loaded by whoever calls this

    if IPython.version_info < (8,):
        message = f"kitaru_nb needs IPython 8 or newer, and this kernel has {IPython.__version__}"
        raise UsageError(message, kind="old-ipython", hint="pip install --upgrade ipython ipykernel")
    KitaruError.in_cells = staticmethod(typed_in_a_cell)
    _hooks = Hooks(shell)
    _hooks.install()
    _hooks.loaded_by(_running_source(shell))
    tap.install(_meter)
    _register_magics(shell)
    atexit.register(_hooks.close)
    _tell_when_unfinished(shell)
    _tell_when_nameless(shell)


def unload(shell: Any) -> None:
    """Take everything out again and end the attempt."""
    global _hooks  # noqa: PLW0603 - one kernel, one set of hooks
    if _hooks is None:
        return
    tap.uninstall()
    atexit.unregister(_hooks.close)
    _hooks.remove()
    _hooks = None
    KitaruError.in_cells = staticmethod(str)
    for kind, name in _MAGICS:
        shell.magics_manager.magics[kind].pop(name, None)


def hooks() -> Hooks:
    """The hooks of this kernel.

    Raises:
        UsageError: the extension is not loaded.
    """
    if _hooks is None:
        raise UsageError(
            "kitaru_nb is not loaded in this kernel", kind="not-loaded", hint="%load_ext kitaru_nb"
        )
    return _hooks


def standing() -> str:
    """How this kernel stands to a wait that was asked in its notebook.

    JupyterLab's extension asks before it runs the cell again: ``waits`` where a cell of this kernel
    does, ``went on`` where none does any more, ``new`` where this kernel has not begun.
    """
    session = None if _hooks is None else _hooks.session
    if session is None:
        return "new"
    return "waits" if session.suspends else "went on"


def notebook() -> str | None:
    """What this kernel calls its notebook, quoted as in a URL; None where nobody has told it.

    JupyterLab's extension asks where the server has nothing on record under its own path: a kernel
    on another machine knows the notebook by another one.
    """
    from urllib.parse import quote  # noqa: PLC0415 - only where a front end asks

    from kitaru_nb.notebook.identity import notebook_path  # noqa: PLC0415 - as above
    from kitaru_nb.stacks.settings import resolve  # noqa: PLC0415 - as above

    if _hooks is None:
        return None
    path = notebook_path(_hooks.shell.user_ns, setting=resolve().notebook)
    return None if path is None else quote(str(path), safe="/")


def _meter() -> Any:
    """The meter of the running cell; the engine loads with the first model call."""
    scope = current_scope()
    if scope is None:
        return None
    from kitaru_nb.engine.meter import meter_of_scope  # noqa: PLC0415 - as above

    return meter_of_scope(scope)


_MAGICS = (
    ("cell", "checkpoint"),
    ("line", "checkpoint"),
    ("line", "resume"),
    ("line", "rewind"),
    ("line", "replay"),
    ("line", "why"),
    ("line", "kitaru"),
)


def _register_magics(shell: Any) -> None:
    for kind, name in _MAGICS:
        shell.register_magic_function(_lazy(f"{name}_{kind}"), kind, name)


def _lazy(function: str) -> Any:
    """A magic that imports its implementation when it is first used, with its help text."""
    from IPython.core.magic import no_var_expand  # noqa: PLC0415 - loaded by whoever calls `load`

    def magic(line: str, cell: str | None = None) -> Any:
        from kitaru_nb.notebook import magics  # noqa: PLC0415 - the engine loads with the first use

        return getattr(magics, function)(hooks(), line, *([] if cell is None else [cell]))

    magic.__doc__ = _HELP[function]
    magic.__name__ = function.rpartition("_")[0]
    # else IPython runs what stands in braces, and a checkpoint's name may come from anybody's store
    return no_var_expand(magic)


def _tell_when_unfinished(shell: Any) -> None:
    from kitaru_nb.notebook import display  # noqa: PLC0415 - after the light parts are in place
    from kitaru_nb.notebook.unfinished import unfinished  # noqa: PLC0415

    found = None if hooks().in_lab else unfinished(shell)
    if found is None:
        return
    text = display.notice(*found)
    if _in_a_cell(shell):
        display.say(shell, text)
        return

    def tell(_info: Any) -> None:
        shell.events.unregister("pre_run_cell", tell)
        display.say(shell, text)

    shell.events.register("pre_run_cell", tell)


def _tell_when_nameless(shell: Any) -> None:
    """Say in the cell that loads us when nobody tells which notebook it belongs to.

    Such notebooks are told apart by their folder alone, so two in one folder would restore each
    other's values. A console is no notebook, and where kitaru_nb is loaded at the kernel's start
    nobody can know yet what it will be.
    """
    content = (_request(shell) or {}).get("content") or {}
    if not _in_a_cell(shell) or "code" not in content or content.get("silent"):
        return
    from kitaru_nb.notebook.identity import notebook_path  # noqa: PLC0415 - as above
    from kitaru_nb.stacks.settings import resolve  # noqa: PLC0415

    if notebook_path(shell.user_ns, setting=resolve().notebook) is not None:
        return
    from kitaru_nb.notebook import display  # noqa: PLC0415 - as above

    display.say(shell, _NAMELESS)


_NAMELESS = (
    "kitaru: this front end does not tell which notebook this is, so all in this folder count as one; "
    "set KITARU_NB_NOTEBOOK, as with %env KITARU_NB_NOTEBOOK=THIS.ipynb above %load_ext kitaru_nb"
)


def _in_a_cell(shell: Any) -> bool:
    request = _request(shell)
    return request is None or bool(request.get("header", {}).get("msg_type") == "execute_request")


def _running_source(shell: Any) -> str:
    """The cell that is running, as the front end sent it; empty where there is no front end."""
    return str(((_request(shell) or {}).get("content") or {}).get("code") or "")


def _request(shell: Any) -> Mapping[str, Any] | None:
    """What the kernel is at; None in a terminal's IPython."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return None
    parent: Mapping[str, Any] = kernel.get_parent("shell") or {}
    return parent


_HELP = {
    "checkpoint_cell": """Make this cell a durable checkpoint.

    %%checkpoint [NAME] [--fresh] [--timeout 10m] [--retries N] [--exclude a,b]
                 [--depends PATH|URL,...] [--budget USD] [--reuse] [--strict] [--all]

When the cell has run, everything that changed in the notebook since the last checkpoint is
stored, together with what the cell showed, before the cell counts as done. Run again with
equal code and inputs, in this kernel or a new one, it is restored instead of run.

    NAME            what the checkpoint is called; a short name is made up without one
    --fresh         run it even when it could be restored
    --timeout 10m   stop the cell after this time
    --retries N     after an exception undo it and run it again, up to N times
    --exclude a,b   do not store these names
    --depends PATH  run again when this file, folder, pattern (data/*.csv) or address has changed
    --budget USD    what its model calls may cost, in US dollars
    --reuse         headless: also restore what touched the network in another execution
    --strict        an error, not a marker, when a value cannot be stored
    --all           store also what is cheaper to make again than to read
""",
    "checkpoint_line": """Make every cell that takes long a checkpoint, without marking it.

    %checkpoint auto [--min-seconds 5] [--min-cost 0.01]
    %checkpoint off
    %checkpoint status

A cell that ran longer, or cost more, than the threshold is committed like a `%%checkpoint`
cell; a shorter one is part of the next commit. Cells with the tag `no-checkpoint` are left
alone. It holds for this kernel, so keep the line near the top of the notebook.

`%%checkpoint` (two %) makes one cell a checkpoint; see `%%checkpoint?`.
""",
    "resume_line": """Put back everything this notebook had committed before its kernel died.

    %resume [EXECUTION] [--at CHECKPOINT] [--remake a,b] [--take-over] [--trust]

    EXECUTION         an execution's id; the notebook's own last one without it
    --at CHECKPOINT   the state as of that checkpoint
    --remake a,b      make these names, which could not be stored, by running their cells again
    --take-over       take the execution from a kernel that hangs
    --trust           also what could run code and is signed by nobody whom you trust, this once
""",
    "rewind_line": """Take this kernel's namespace back.

    %rewind CHECKPOINT    to how it was when CHECKPOINT was committed
    %rewind --undo        to before the cells that failed or were stopped
    %rewind --keep        nowhere: accept what failed cells left
""",
    "replay_line": """Run an execution again from one of its checkpoints on, as a new execution.

    %replay [EXECUTION] --from CHECKPOINT [--set name=expr ...] [--background] [--stack S]

What is before the checkpoint is reused, the checkpoint itself and everything after it run. Of a
notebook that happens in the background in a kernel of its own: this kernel is not touched.

    EXECUTION           an execution's id; the notebook's own one without it
    --from CHECKPOINT   where to begin: a name, or NAME#n for the n-th of that name
    --set name=expr     bind a name before it, change an input of a flow, or give a checkpoint's value
                        or an answer instead; expr is evaluated here
    --background        of a flow: give a handle at once instead of waiting for the result
    --stack S           where the execution is recorded, and the replay will be
""",
    "why_line": """Say why a checkpoint ran or was restored.

    %why [CHECKPOINT]
""",
    "kitaru_line": """Run any verb of the `kitaru-nb` command.

    %kitaru executions | show latest | doctor | ...
    %kitaru new              begin a new execution
    %kitaru plan             what each checkpoint would do if it were run now
    %kitaru exclude NAME     never store NAME in this notebook
""",
}
