"""The normal form of code: bytes that stay equal while the code means the same.

Comments, formatting and positions do not count; names, constants and structure do. The form
is our own because `ast.dump` changes between Python minors. Nodes are written as their
class and those fields that are set, each field by name; a field that is None or an empty list
is left out, so that fields a later Python adds do not change the form of older code.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Callable, Iterable
from typing import Any

from kitaru_nb.errors import UsageError
from kitaru_nb.model.artifact import Digest

__all__ = ["code_digest", "ends_quietly", "normal_form"]


def normal_form(tree: ast.AST) -> bytes:
    """Serialise `tree` so that equal code gives equal bytes, and other code others.

    Equal across Python minors. Docstrings count: they are values. `1`, `1.0`, `True` and
    `-0.0` all differ. Takes trees of any depth.

    Raises:
        UsageError: the tree holds a constant no source code can spell (kind ``bad-code``).
    """
    out: list[bytes] = []
    waiting: list[Any] = [tree]
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is bytes:
            out.append(item)
        elif kind is ast.Name:  # half of all nodes
            out.append(b"Name(id=%b)" % _text(item.id))
        elif kind is str:
            out.append(_text(item))
        elif isinstance(item, ast.Constant):
            out.append(_constant(item.value))
        elif isinstance(item, ast.AST):
            waiting += _opened(item)
        else:
            out.append(_constant(item))
    return b"".join(out)


def code_digest(tree: ast.AST) -> Digest:
    """BLAKE2b-256 of the normal form of `tree`, 64 hexadecimal characters."""
    return Digest(hashlib.blake2b(normal_form(tree), digest_size=32, person=b"kitaru code 1").hexdigest())


def ends_quietly(source: str) -> bool:
    """Whether the last statement ends in ``;``, so that its value is not shown.

    This is no part of the normal form, and it decides whether a value is shown again.
    """
    if ";" not in source:
        return False
    last = ""
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type not in _LAYOUT:
                last = token.string
    except (tokenize.TokenError, SyntaxError):
        return source.rstrip().endswith(";")
    return last == ";"


_LAYOUT = frozenset(
    {
        tokenize.COMMENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
        tokenize.INDENT,
        tokenize.NEWLINE,
        tokenize.NL,
    }
)

# Where a node stands says whether it is loaded or stored; the rest is layout.
_SILENT_FIELDS = frozenset({"ctx", "kind", "type_comment", "type_ignores"})

_Plan = tuple[bytes, tuple[tuple[str, bytes, bytes], ...]]
_PLANS: dict[type[ast.AST], _Plan] = {}


def _plan(kind: type[ast.AST]) -> _Plan:
    """The opening of a node, and of its fields: for each, of a single value and of a list."""
    fields = sorted(name for name in kind._fields if name not in _SILENT_FIELDS)
    labels = [(name, name.encode() + b"=") for name in fields]
    plan = kind.__name__.encode() + b"(", tuple((name, label, label + b"[") for name, label in labels)
    _PLANS[kind] = plan
    return plan


def _opened(node: ast.AST) -> list[Any]:
    """A node in pieces of the form and values that have a form of their own, last first."""
    opening, fields = _PLANS.get(type(node)) or _plan(type(node))
    pieces: list[Any] = [opening]
    for name, label, of_list in fields:
        value = getattr(node, name, None)
        if type(value) is list:
            if value:
                pieces += (of_list, *(_merged(value) if isinstance(node, ast.JoinedStr) else value), b"]")
        elif value is not None and (name != "format_spec" or _merged(value.values)):
            # f"{x:}" has an empty one since 3.12, and none before
            pieces += (label, value)
    pieces.append(b")")
    pieces.reverse()
    return pieces


def _merged(parts: Iterable[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string with neighbouring literals joined: minors split them differently."""
    merged: list[ast.expr] = []
    for part in parts:
        if isinstance(part, ast.Constant) and merged and isinstance(merged[-1], ast.Constant):
            merged[-1] = ast.Constant(str(merged[-1].value) + str(part.value))
        else:
            merged.append(part)
    return [part for part in merged if not (isinstance(part, ast.Constant) and part.value == "")]


def _constant(value: object) -> bytes:
    write = _WRITERS.get(type(value))
    if write is None:
        raise UsageError(f"the code holds a constant of type `{type(value).__name__}`", kind="bad-code")
    return write(value)


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"s%d:%b" % (len(data), data)


def _float(value: float) -> bytes:
    return value.hex().encode()


_WRITERS: dict[type, Callable[[Any], bytes]] = {
    str: _text,
    bytes: lambda value: b"b%d:%b" % (len(value), value),
    bool: lambda value: b"T" if value else b"F",
    int: lambda value: b"i%x;" % value if value >= 0 else b"i-%x;" % -value,
    float: lambda value: b"f" + _float(value) + b";",
    complex: lambda value: b"c" + _float(value.real) + b"," + _float(value.imag) + b";",
    type(None): lambda _: b"N",
    type(...): lambda _: b"E",
    tuple: lambda value: b"t(" + b"".join(map(_constant, value)) + b")",
    frozenset: lambda value: b"z(" + b"".join(sorted(map(_constant, value))) + b")",
}
