"""The canonical form of a code object: what it does, without where it was written.

Line numbers, file names and the NOPs that mark lines are left out, so comments, blank lines
and line breaks make no difference. Bytecode is compared, so the form is only equal within
one Python minor version.
"""

from __future__ import annotations

import dis
import types
import weakref
from typing import Any

import xxhash

__all__ = ["code_token"]

_SKIPPED = frozenset(["NOP", "CACHE", "EXTENDED_ARG"])
_JUMPS = frozenset((*dis.hasjrel, *dis.hasjabs))
_known: weakref.WeakKeyDictionary[Any, bytes] = weakref.WeakKeyDictionary()


def code_token(code: types.CodeType) -> bytes:
    """16 bytes that are equal for code that does the same, within one Python minor version."""
    token = _known.get(code)
    if token is None:
        token = _known[code] = xxhash.xxh3_128_digest(repr(_shape(code)).encode("utf-8", "surrogatepass"))
    return token


def _shape(code: types.CodeType) -> tuple[Any, ...]:
    consts = code.co_consts
    if code.co_name == "__hash__" and code.co_filename.startswith("<attrs generated "):
        # attrs writes the hash of a text into it, which is another one in each process
        consts = tuple(const for const in consts if type(const) is not int)
    return (
        *(code.co_name, code.co_flags, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        *(code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
        [_const(const) for const in consts],
        *_instructions(code),
    )


def _const(const: object) -> object:
    if isinstance(const, types.CodeType):
        return ("code", code_token(const))
    if type(const) is tuple:
        return ("tuple", [_const(item) for item in const])
    if type(const) is frozenset:
        return ("frozenset", sorted(repr(_const(item)) for item in const))
    return const


def _instructions(code: types.CodeType) -> tuple[list[Any], list[Any]]:
    kept: list[dis.Instruction] = []
    position: dict[int, int] = {}
    for instruction in dis.get_instructions(code):
        position[instruction.offset] = len(kept)
        if instruction.opname not in _SKIPPED:
            kept.append(instruction)
    steps = [
        (i.opname, ("to", position.get(i.argval, len(kept))) if i.opcode in _JUMPS else i.arg) for i in kept
    ]
    return steps, _handlers(code, position, len(kept))


def _handlers(code: types.CodeType, position: dict[int, int], end: int) -> list[Any]:
    parse = getattr(dis, "_parse_exception_table", None)
    if parse is None:
        return [code.co_exceptiontable]
    return [
        (position.get(e.start, end), position.get(e.end, end), position.get(e.target, end), e.depth, e.lasti)
        for e in parse(code)
        if position.get(e.start, end) != position.get(e.end, end)
    ]
