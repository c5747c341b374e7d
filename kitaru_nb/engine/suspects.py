"""Parts of process state that a step may have set without that being seen.

A step that seeds a generator with the seed it has, or filters warnings that are filtered already,
leaves everything as it was. In the next kernel it may not be so, and then a record that says
nothing of it would leave the generator unseeded. What code may set is read off its words: a word
too many only makes the record count under fewer circumstances.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from kitaru_nb.analysis.code_names import function_names, words_of
from kitaru_nb.analysis.modules import LocalModule
from kitaru_nb.artifacts.kinds import by_reference
from kitaru_nb.engine.cell import Cell
from kitaru_nb.engine.process import ProcessState
from kitaru_nb.engine.steps import Pending

__all__ = ["GENERATORS", "Suspects", "may_set", "words_reached"]

GENERATORS = frozenset({"random", "numpy", "torch"})
"""Parts that are random generators."""

_CALLABLE = (FunctionType, MethodType, BuiltinFunctionType)
_MENTIONS_PATH = re.compile(r"\b(sys|site)\b")
_SEEDING = re.compile(r"(^|_)(seed|seeds)(_|$)|^set_?(rng_)?state$|^manual_seed|^seed_everything$")
_LOGGING = ("logging", "setting log handlers")
_PARTS: Mapping[str, tuple[str, ...]] = {
    "path": ("path",),
    "addsitedir": ("path",),
    "chdir": ("cwd",),
    "putenv": ("env",),
    "unsetenv": ("env",),
    "load_dotenv": ("env",),
    "env": ("env",),  # the magics
    "set_env": ("env",),
    "basicConfig": _LOGGING,
    "dictConfig": _LOGGING,
    "fileConfig": _LOGGING,
    "setLevel": _LOGGING,
    "set_verbosity": _LOGGING,
    "addHandler": _LOGGING,
    "removeHandler": _LOGGING,
    "propagate": _LOGGING,
    "disabled": _LOGGING,
    "disable": (*_LOGGING, "setting log disable", "setting gc", "setting faulthandler"),
    "enable": ("setting gc", "setting faulthandler"),
    "set_threshold": ("setting gc",),
    "set_debug": ("setting gc",),
    "simplefilter": ("warnings",),
    "filterwarnings": ("warnings",),
    "resetwarnings": ("warnings",),
    "setrecursionlimit": ("recursion limit",),
    "setswitchinterval": ("setting switch interval",),
    "set_int_max_str_digits": ("setting integer digits",),
    "signal": ("setting signals",),
    "setlocale": ("setting locale",),
    "set_event_loop_policy": ("setting asyncio policy",),
    "set_start_method": ("setting start method",),
    "setdefaulttimeout": ("setting socket timeout",),
    "umask": ("setting umask",),
    "setrlimit": ("setting resource limits",),
    "getcontext": ("decimal",),
    "setcontext": ("decimal",),
    "seterr": ("setting numpy errors",),
    "set_config": ("setting sklearn options",),
    "set_printoptions": ("numpy options",),
    "set_option": ("pandas options",),
    "reset_option": ("pandas options",),
    "options": ("pandas options",),
    "rc": ("matplotlib options",),
    "rcParams": ("matplotlib options",),
    "rcdefaults": ("matplotlib options",),
    "rc_file": ("matplotlib options",),
    "style": ("matplotlib options",),
    "set_theme": ("matplotlib options",),
    "set_style": ("matplotlib options",),
    "set_context": ("matplotlib options",),
    "set_palette": ("matplotlib options",),
    "set_default_dtype": ("setting torch options",),
    "set_grad_enabled": ("setting torch options",),
    "set_num_threads": ("setting torch options",),
    "use_deterministic_algorithms": ("setting torch options",),
    "set_options": ("setting xarray options",),
    "field_size_limit": ("setting csv field size",),
    "pandas": ("setting tqdm for pandas",),
    "addLevelName": ("setting log level names",),
    "captureWarnings": ("setting captured warnings",),
    "setbufsize": ("setting numpy buffer",),
    "setfirstweekday": ("setting first weekday",),
    "ast_node_interactivity": ("setting shell",),
    "config": ("setting shell",),  # the magics
    "load_ext": ("setting shell",),
    "precision": ("setting shell",),
    "xmode": ("setting shell",),
    "autoreload": ("setting shell",),
    "alias": ("setting shell",),
}


class Suspects:
    """What each step may have set: by its code, and by what it was seen to set in this process."""

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}  # parts, by step

    def of(
        self, pending: Pending, after: ProcessState, values: Iterable[object], *, loaded: bool
    ) -> set[str]:
        """The parts that a step may have set which has just run; `values` is what it can reach.

        Where modules were `loaded` it does not show whether it or they have set what is another now.
        They do so again wherever it is restored, so then only its code counts.
        """
        if after is not pending.process and not loaded:
            self.note(pending, {part for part, value in after.items() if pending.process.get(part) != value})
        by_code = may_set(pending.cell, values, pending.needs.modules.values())
        return by_code | self._seen.get(_step(pending), set())

    def note(self, pending: Pending, parts: Iterable[str]) -> None:
        """Take note of parts that a step has set. Attributes have conditions of their own."""
        self._seen.setdefault(_step(pending), set()).update(part for part in parts if part != "attributes")


def _step(pending: Pending) -> str:
    return pending.cell.step or pending.name


def may_set(cell: Cell, values: Iterable[object], modules: Iterable[LocalModule]) -> set[str]:
    """The parts that a cell may set.

    Args:
        cell: The cell.
        values: What it can reach; functions, and the notebook's classes, among it count.
        modules: The project's modules that it reaches.
    """
    reached = list(values)
    elsewhere = _words_elsewhere(cell, reached, modules)
    words = cell.outline.words | elsewhere
    parts = {part for word in words & _PARTS.keys() for part in _PARTS[word]}
    if "path" in parts and not _MENTIONS_PATH.search(cell.source) and words.isdisjoint({"sys", "site"}):
        parts.discard("path")  # of another library
    if words.isdisjoint({"run_line_magic", "ast_node_interactivity"}):
        parts.discard("setting shell")  # a variable that is called `config`
    if "tqdm" not in words:
        parts.discard("setting tqdm for pandas")
    if "environ" in words and (words & {"update", "clear"} or _sets_some_variable(cell.tree)):
        parts.add("env")  # where variables are named, those count by themselves
    parts |= {f"annotation {name}" for name in _annotated(cell.tree)}
    # a name that holds a seed, as in `default_rng(seed)`, sets nothing; what sets one is called
    acting = cell.outline.called | elsewhere | set(map(_name_of, reached))
    return parts | GENERATORS if any(map(_SEEDING.search, acting)) else parts


def words_reached(cell: Cell, values: Iterable[object], modules: Iterable[LocalModule]) -> set[str]:
    """The words of a cell and of the code that it reaches, see `may_set`."""
    return {*cell.outline.words, *_words_elsewhere(cell, values, modules)}


def _words_elsewhere(cell: Cell, values: Iterable[object], modules: Iterable[LocalModule]) -> set[str]:
    texts = (text for text in cell.outline.constants if type(text) is str and text.isidentifier())
    found = {*texts, *_words_of_code(values)}
    for module in modules:
        found |= _words_in(module.path, module.digest)
    return found


def _sets_some_variable(tree: ast.AST) -> bool:
    """Whether an environment variable is set or deleted whose name is not in the code."""
    return any(
        isinstance(node, ast.Subscript)
        and not isinstance(node.ctx, ast.Load)
        and not isinstance(node.slice, ast.Constant)
        and "environ" in (getattr(node.value, "attr", None), getattr(node.value, "id", None))
        for node in ast.walk(tree)
    )


def _annotated(tree: ast.Module) -> Iterator[str]:
    """The names that the cell's own statements annotate."""
    waiting: list[Any] = list(tree.body)
    for statement in waiting:  # which grows meanwhile
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for part in ("body", "orelse", "finalbody", "handlers", "cases"):
                waiting += getattr(statement, part, ())


def _words_of_code(values: Iterable[object]) -> set[str]:
    """The words of functions, and of methods of the notebook's classes, among `values`.

    Values are asked of their real types, and each class is looked into once: one may hold itself.
    """
    found: set[str] = set()
    seen: set[int] = set()
    waiting: list[Any] = list(values)
    for value in waiting:  # which grows meanwhile
        kind = type(value)
        if issubclass(kind, FunctionType):
            found |= function_names(value.__code__).names
            continue
        cls = value if issubclass(kind, type) else kind
        if id(cls) not in seen and not by_reference(cls):
            seen.add(id(cls))
            waiting += map(_function, vars(cls).values())
            waiting += cls.__bases__
    return found


def _name_of(value: Any) -> str:
    return value.__name__ if type(value) in _CALLABLE else ""


def _function(member: Any) -> Any:
    kind = type(member)
    if issubclass(kind, (staticmethod, classmethod)):
        return member.__func__
    if issubclass(kind, property):
        return member.fget
    return member


@lru_cache(maxsize=512)
def _words_in(path: Path, digest: str) -> frozenset[str]:  # noqa: ARG001 - looked into once for each
    try:
        return frozenset(words_of(path.read_text("utf-8", errors="replace")))
    except OSError:
        return frozenset()  # it was there when it was imported: nothing is known of it
