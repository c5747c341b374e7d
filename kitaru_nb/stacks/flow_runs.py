"""Executions of flows that are gone on with from outside: by a command, after an answer, in a replay."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from kitaru_nb.artifacts.ties import Tie, tied
from kitaru_nb.engine.arguments import Told, given_again, is_own_command
from kitaru_nb.engine.callee import plain_function
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.flow import INPUTS, Defined, Flow, Turn, defining, is_flow_of
from kitaru_nb.engine.refs import FLOW
from kitaru_nb.errors import KitaruError, NotFoundError, Suspended, UsageError
from kitaru_nb.model.checkpoint import Checkpoint, StepKind
from kitaru_nb.model.execution import Execution, ExecutionStatus
from kitaru_nb.stacks.flows import here
from kitaru_nb.stacks.outcome import Exit, Outcome

__all__ = ["Definition", "beginning_of", "begun_with", "function_of", "resume_flow", "run_flow"]

_MAIN, _MODULE = "__main__", "__mp_main__"
"""What a script's module is called, and what `multiprocessing` calls it in a process it did not begin in."""


def resume_flow(execution: Execution, *, budget: float | None = None) -> tuple[Outcome, Any]:
    """Go on with an execution of a flow, in this process; how it ended, and what it returned.

    The flow's code is what its file holds now. A flow that was defined in a notebook comes from
    the record, as it was when the execution began.

    Args:
        execution: Which one.
        budget: What it may cost from now on, in US dollars.

    Raises:
        KitaruError: it could not be begun, and why.
    """
    engine = here.engine()
    began = beginning_of(engine, execution)
    function, name, argv = function_of(engine, execution, began)
    args, kwargs = begun_with(engine, began)
    turn = Flow(function, name, here).turn(args, kwargs, execution=execution.id, argv=argv)
    if budget is not None:
        turn.book.set_limit(budget)
    return run_flow(turn)


def run_flow(turn: Turn) -> tuple[Outcome, Any]:
    """Run an attempt to its end; how it ended, and what the flow returned."""
    try:
        with given_again(turn.argv):
            result = turn.run_here()
    except BaseException as error:  # noqa: BLE001 - whatever ended it is its outcome
        return _ended(turn, error), None
    return Outcome(ExecutionStatus.COMPLETED, Exit.COMPLETED, turn.execution), result


def _ended(turn: Turn, error: BaseException) -> Outcome:
    execution = turn.engine.journal.execution(turn.execution)
    reason = execution.reason or str(error)
    if isinstance(error, Suspended):
        reason, _, hint = error.message.partition("\n  Try: ")
        return Outcome(
            execution.status, Exit.WAITING, turn.execution, reason=reason, wait=error.wait or None, hint=hint
        )
    if isinstance(error, KeyboardInterrupt):
        return Outcome(execution.status, Exit.SIGINT, turn.execution, reason=reason)
    if isinstance(error, KitaruError):
        return Outcome(execution.status, Exit.FAILED, turn.execution, reason=reason, error=error)
    told = "".join(traceback.format_exception(error)) if isinstance(error, Exception) else ""
    return Outcome(execution.status, Exit.FAILED, turn.execution, reason=reason, traceback=told)


def begun_with(engine: Engine, began: Checkpoint) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments that an execution was begun with."""
    group = next(group for group in began.draft.groups if group.names == (INPUTS,))
    for reason in group.unstorable.values():
        message = f"the inputs of `{began.execution}` could not all be stored: {reason}"
        raise UsageError(message, kind="unstorable-inputs", hint="call the flow again where it was called")
    engine.trust.require([began])
    with tied(Tie.SERVED):
        stored: Any = engine.get(group.artifact, namespace={})[INPUTS]
    return tuple(stored["args"]), dict(stored["kwargs"])


def beginning_of(engine: Engine, execution: Execution) -> Checkpoint:
    """The record of what an execution was begun with.

    Raises:
        NotFoundError: kind ``no-inputs``.
    """
    for step in reversed(engine.journal.steps_within(execution.id)):
        if step.draft.kind is StepKind.VALUE and step.draft.name == INPUTS and step.draft.scope == FLOW:
            return step
    message = f"`{execution.id}` died before its inputs were on record"
    raise NotFoundError(message, kind="no-inputs", hint="call the flow again where it was called")


class Definition(NamedTuple):
    """A flow as there is to be run.

    Attributes:
        function: Its function.
        name: What its result is called.
        argv: The arguments that its script is to see; None for those of this process.
    """

    function: FunctionType
    name: str
    argv: Told | None = None


def function_of(engine: Engine, execution: Execution, began: Checkpoint) -> Definition:
    """The flow's function, what its result is called, and what its script was begun with.

    Where this process has it, as the notebook or script has that it runs in, it is that one, with
    whatever was edited. Else it comes from its file, or of a notebook from the record. A file is run
    with the arguments that it was begun with.

    Raises:
        NotFoundError: kind ``unknown-flow``: its file is gone, or does not define it any more.
        UsageError: kind ``secret-argument``: its file reads an argument that was a secret.
    """
    file, told = execution.identity.file, began.draft.data
    qualname, module, folder = str(told["qualname"]), str(told["module"]), str(told.get("folder", ""))
    name = qualname.rpartition(".")[2]
    present = _present(execution, qualname)
    if present is not None:
        return Definition(present, name)
    if file is not None and file.endswith(".ipynb"):
        return Definition(_from_record(engine, began), name)
    argv = _begun_as(engine, began)
    if file is not None:
        argv = [file, *(argv or ())[1:]]
        scope = _run_file(file, argv)
    elif module in (_MAIN, _MODULE):  # python -m
        scope, argv = _run_module(str(execution.identity.flow).partition(":")[0], folder, argv)
    else:
        scope = _imported(module, folder, argv)
    function = _defined_in(scope, qualname)
    if function is None:
        raise _not_defined(file or module, qualname)
    return Definition(function, name, argv)


def _not_defined(where: str, qualname: str) -> NotFoundError:
    if "<locals>" in qualname:
        around, _, name = qualname.rpartition(".<locals>.")
        message = f"`{where}` defines the flow `{name}` inside `{around}`, where no command finds it"
        hint = "run the script itself again, or define the flow outside of functions"
    else:
        message = f"`{where}` does not define the flow `{qualname}` any more"
        hint = "bring it back, or call the flow that there is"
    return NotFoundError(message, kind="unknown-flow", hint=hint)


def _begun_as(engine: Engine, began: Checkpoint) -> Told | None:
    """The arguments on record, the script first; none in records of earlier releases."""
    argv = began.draft.data.get("argv")
    if not isinstance(argv, list) or not argv:
        return None
    engine.trust.require([began])
    return argv


def _defined_in(scope: Mapping[str, Any], qualname: str) -> FunctionType | None:
    first, *parts = qualname.split(".")
    found: Any = scope.get(first)
    for part in parts:
        found = _part_of(found, part)
    function = plain_function(found)
    return function if type(function) is FunctionType else None


def _part_of(holder: Any, name: str) -> Any:
    """What a module or class holds under a name; of a class method its function, which is given the class."""
    found = getattr(holder, name, None)
    return found.__func__ if type(found) is MethodType and isinstance(holder, type) else found


def _present(execution: Execution, qualname: str) -> FunctionType | None:
    """The flow as the running notebook or script defines it, if that is the one that defines it."""
    found: Any = sys.modules.get(_MAIN)
    if found is _stood_in.get(_MAIN):
        return None  # an earlier execution's, which has left its traces in it
    for part in qualname.split("."):
        found = _part_of(found, part)
    return _only_function(plain_function(found)) if is_flow_of(found, execution.identity) else None


def _run_file(file: str, argv: Told) -> Mapping[str, Any]:
    if not Path(file).is_file():
        message = f"the file `{file}`, which defines the flow, is not there"
        raise NotFoundError(message, kind="unknown-flow", hint="bring it back, or resume where it is")
    module = ModuleType(_MODULE)
    vars(module)["__file__"] = file
    code = compile(Path(file).read_bytes(), file, "exec", dont_inherit=True)
    return _run(module, code, str(Path(file).parent), argv)


def _run_module(name: str, folder: str, argv: Told | None) -> tuple[Mapping[str, Any], Told]:
    """As ``python -m`` runs a module, but for its name; and the arguments that it saw."""
    with _importing_from(folder):
        try:
            spec: Any = importlib.util.find_spec(name)
            code = spec.loader.get_code(name)
        except (ImportError, AttributeError) as error:
            raise _not_importable(name, folder, error) from error
    module = ModuleType(_MODULE)
    vars(module).update(__file__=spec.origin, __spec__=spec, __loader__=spec.loader, __package__=spec.parent)
    argv = [spec.origin, *(argv or ())[1:]]
    return _run(module, code, folder, argv), argv


def _run(module: ModuleType, code: CodeType, folder: str, argv: Told) -> Mapping[str, Any]:
    with _standing_in(module), _importing_from(folder), given_again(argv), suppress(Defined):
        defining.on = True
        try:
            exec(code, vars(module))  # noqa: S102 - the user's own script
        except ImportError as error:
            raise _lacks(code.co_filename, error) from error
        finally:
            defining.on = False
    return vars(module)


@contextmanager
def _standing_in(script: ModuleType) -> Iterator[None]:
    """Let a script's module be found as it is in a worker that the script has spawned.

    It stays where the main module is only a command of ours, or an earlier script's stand-in. A
    notebook's or a script's own main module, and what its workers call that, are there again afterwards.
    """
    import multiprocessing  # noqa: F401, PLC0415 - it lets the second name stand for the first when it is imported

    main, before = sys.modules.get(_MAIN), sys.modules.get(_MODULE)
    sys.modules[_MODULE] = script
    if is_own_command(main) or main is _stood_in.get(_MAIN):
        sys.modules[_MAIN] = _stood_in[_MAIN] = script
        yield
        return
    try:
        yield
    finally:
        if before is not None:
            sys.modules[_MODULE] = before


_stood_in: dict[str, ModuleType] = {}


def _imported(module: str, folder: str, argv: Told | None) -> Mapping[str, Any]:
    with _importing_from(folder), given_again(argv):
        try:
            return vars(importlib.import_module(module))
        except ImportError as error:
            raise _not_importable(module, folder, error) from error


def _lacks(file: str, error: ImportError) -> NotFoundError:
    """A package that the script was begun with, and that the Python of this command has not."""
    message = f"`{file}`, which defines the flow, cannot be loaded by {sys.executable}: {error}"
    missing = (error.name or "").partition(".")[0]
    install = f"{quote(sys.executable)} -m pip install {missing}" if missing else "install what it imports"
    hint = f"{install}, or the command of the environment that it ran in"
    return NotFoundError(message, kind="unknown-flow", hint=hint)


def _not_importable(module: str, folder: str, error: Exception) -> NotFoundError:
    message = f"the module `{module}`, which defines the flow, cannot be imported: {error}"
    elsewhere = folder and folder != str(Path.cwd())
    hint = f"cd {quote(str(folder))}" if elsewhere else f"PYTHONPATH with the folder of `{module}`"
    return NotFoundError(message, kind="unknown-flow", hint=hint)


@contextmanager
def _importing_from(folder: str) -> Iterator[None]:
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)  # stays: the flow imports while it runs, too
    yield


def _from_record(engine: Engine, began: Checkpoint) -> FunctionType:
    group = next((group for group in began.draft.groups if FLOW in group.names), None)
    if group is None:
        message = f"the flow of `{began.execution}` is not on record"
        raise NotFoundError(message, kind="unknown-flow", hint="run its notebook's cells, and call it there")
    engine.trust.require([began])
    scope: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    stored = engine.get(group.artifact, namespace=scope)
    scope.update({name: value for name, value in stored.items() if name != FLOW})
    return _only_function(stored[FLOW])


def _only_function(found: object) -> FunctionType:
    assert type(found) is FunctionType
    return found
