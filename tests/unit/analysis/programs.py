"""Random small programs over three names: the brute force the name analysis is held against."""

from __future__ import annotations

import random
import re
import textwrap

from hypothesis import strategies as st

NAMES = ("a", "b", "c")

# N: a name, E: an expression, B: a block, L: a block in a loop, F: a block in a function
_ATOMS = ["N", "N", "N", "1", "2", "[1, 2]", "[]", "True", "0"]
_EXPRESSIONS = [
    "(E + E)",
    "(E and E)",
    "(E < E < E)",
    "(E if E else E)",
    "(N := E)",
    "[E for N in g(E)]",
    "[(N := E) for _i in g(E)]",
    "(E for N in g(E))",
    "list(E for _i in g(E) if E)",
    "{E: E for N in g(E) for N in g(E) if E}",
    "(lambda N=E: E)(E)",
    "(lambda: E)",
    "{E: E, E: E}",
    "f'{N}{N}'",
    "N(E)",
    "N()",
    "N.v",
    "g(E)[E]",
    "g(*[E], v=E)",
]
_STATEMENTS = [
    "N = E",
    "N = E",
    "N = E",
    "N += E",
    "N.v = E",
    "N.v += E",
    "N: E = E",
    "N: int",
    "N, N = E, E",
    "N, *N = g(E)",
    "del N",
    "E",
    "import math as N",
    "assert E, E",
    "raise ValueError",
]
_COMPOUND = [
    "if E:\nB\nelse:\nB",
    "for N in g(E):\nL\nelse:\nB",
    "for N in [E, 2]:\nL",
    "while t(E):\nL\nelse:\nB",
    "while True:\n    stop()\nL",
    "try:\nB\nexcept Exception as N:\nB\nelse:\nB",
    "try:\nB\nexcept (NameError, ValueError):\nB\nfinally:\nB",
    "try:\nB\nfinally:\nB",
    "with quiet(E) as N:\nB",
    "with quiet(E) as N, quiet(E) as N:\nB",
    "def N(N=E):\nF",
    "def N():\nF",
    "def N():\n    global N\nF",
    "def N(N):\n    def N():\n        nonlocal N\n        N = E\n        return N\nF",
    "@d(E)\ndef N():\nF",
    "class N:\nB",
    "class N(Base):\n    global N\nB",
    "match E:\n    case [N, *_]:\n    B\n    case N:\n    B",
    "match E:\n    case Base(v=N) if E:\n    B\n    case [1 as N, 2] | [2, 1 as N]:\n    B",
]
_SLOT = re.compile(r"^( *)([BLF])$|\b([NE])\b", re.MULTILINE)


def programs() -> st.SearchStrategy[str]:
    """Programs that compile; they may loop or fail."""
    seeds = st.integers(0, 2**32).map(lambda seed: program(random.Random(seed)))
    return seeds.filter(_compiles)


def program(dice: random.Random) -> str:
    """A program, which may not compile."""
    body = _block(dice, dice.randint(1, 2), in_loop=False, in_function=False)
    first, second, third = (dice.choice(NAMES) for _ in range(3))
    return f"{body}\n{first} = ({second}, {third})"  # what the body left of a value shows here


def _block(dice: random.Random, depth: int, *, in_loop: bool, in_function: bool) -> str:
    lines = [_statement(dice, depth, in_loop, in_function) for _ in range(dice.randint(1, 3))]
    return "\n".join(lines)


def _statement(dice: random.Random, depth: int, in_loop: bool, in_function: bool) -> str:
    options = _STATEMENTS + ["break", "continue"] * in_loop + ["return E"] * in_function
    template = dice.choice(_COMPOUND if depth and dice.random() < 0.5 else options)

    def fill(slot: re.Match[str]) -> str:
        if slot[2] is None:
            return dice.choice(NAMES) if slot[3] == "N" else _expression(dice, dice.choice([0, 0, 1, 2]))
        same_scope = slot[2] != "F" and "class" not in template
        body = _block(
            dice,
            depth - 1,
            in_loop=slot[2] == "L" or (in_loop and same_scope),
            in_function=slot[2] == "F" or (in_function and same_scope),
        )
        return textwrap.indent(body, slot[1] + "    ")

    return _SLOT.sub(fill, template)


def _expression(dice: random.Random, depth: int) -> str:
    template = dice.choice(_EXPRESSIONS if depth else _ATOMS)
    return _SLOT.sub(
        lambda slot: dice.choice(NAMES) if slot[3] == "N" else _expression(dice, depth - 1), template
    )


def _compiles(source: str) -> bool:
    try:
        compile(source, "<cell>", "exec")
    except SyntaxError:
        return False
    return True
