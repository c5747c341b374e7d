"""The arguments that a script was begun with: on record without the secrets among them, and given again."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, SupportsIndex

from kitaru_nb.artifacts.secret_rules import is_secret_argument
from kitaru_nb.artifacts.vault import VAULT, Ref
from kitaru_nb.engine.script import file_of
from kitaru_nb.errors import UsageError

__all__ = ["Told", "given_again", "is_own_command", "script_arguments", "told_arguments"]

Told = Sequence[Any]
"""Arguments as JSON: each is text, or a list of pieces of which those that were secrets are references."""


def script_arguments() -> Told | None:
    """What this process's script was begun with, its path first; None where it runs none."""
    main = sys.modules.get("__main__")
    file = None if main is None else file_of(vars(main))
    if file is None or is_own_command(main):
        return None  # a notebook, a prompt, or a command that goes on with what no script began
    if isinstance(sys.argv, _Withholding):
        return sys.argv.told
    return [str(Path(file).absolute()), *told_arguments(sys.argv[1:])]


def is_own_command(main: object) -> bool:
    """Whether a main module is a command of kitaru_nb's."""
    spec = getattr(main, "__spec__", None)
    entry = getattr(getattr(main, "main", None), "__module__", None)
    return (spec is not None and spec.name.startswith("kitaru_nb.")) or entry == "kitaru_nb.cli.main"


def told_arguments(arguments: Sequence[str]) -> list[Any]:
    """Arguments as JSON, without what is a secret by its shape or by the option that it is given to."""
    found = []
    option = ""
    for text in arguments:
        name, equals, value = text.partition("=")
        if equals and is_secret_argument(name.lstrip("-"), value):
            found.append([f"{name}=", _reference(name.lstrip("-"), value)])
        elif option and is_secret_argument(option, text):
            found.append([_reference(option, text)])
        else:
            found.append(_told(text))
        option = text.lstrip("-") if text.startswith("-") and not equals else ""
    return found


def _told(text: str) -> Any:
    pieces = [
        _json(piece) if isinstance(piece, Ref) else piece if VAULT.mask(piece) == piece else _json(_ESCAPED)
        for piece in VAULT.parts(text) or [text]
    ]
    if pieces != [text]:
        return pieces
    return text if text.isascii() or _is_unicode(text) else [{"bytes": os.fsencode(text).hex()}]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_ESCAPED = Ref("shape:escaped")


def _reference(name: str, value: str) -> dict[str, str]:
    variable = VAULT.environment.get(value)
    label = f"name:{name}" if variable is None else f"env:{variable}"
    return _json(Ref(label, VAULT.fingerprint(value)))


def _json(ref: Ref) -> dict[str, str]:
    return {"label": ref.label, "fingerprint": ref.fingerprint}


@contextmanager
def given_again(told: Told | None) -> Iterator[None]:
    """Inside the block ``sys.argv`` is what is `told`; as it is where there is nothing."""
    if told is None:
        yield
        return
    before = sys.argv
    sys.argv = _arguments(told)
    try:
        yield
    finally:
        sys.argv = before


def _arguments(told: Told) -> list[str]:
    missing: dict[int, str] = {}
    found: list[str] = []
    for number, each in enumerate(told):
        text = ""
        for piece in [each] if isinstance(each, str) else each:
            if isinstance(piece, str):
                text += piece
            elif "bytes" in piece:
                text += os.fsdecode(bytes.fromhex(piece["bytes"]))
            else:
                ref = Ref(piece["label"], piece["fingerprint"])
                value = VAULT.find(ref)
                if value is None:
                    missing[number] = ref.name
                text += ref.text if value is None else value
        found.append(text)
    return _Withholding(found, missing, told) if missing else found


class _Withholding(list[str]):
    """Arguments of which some were secrets that nobody knows here: to read one of those is an error.

    A script that only looks at them where it is run by itself never does.
    """

    def __init__(self, arguments: Sequence[str], missing: Mapping[int, str], told: Told) -> None:
        super().__init__(arguments)
        self.told = told
        self._missing = missing

    def __getitem__(self, at: SupportsIndex | slice) -> Any:
        self._refuse(range(len(self))[at])
        return super().__getitem__(at)

    def __iter__(self) -> Iterator[str]:
        self._refuse(range(len(self)))
        return super().__iter__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Withholding, (list.copy(self), self._missing, self.told)

    def _refuse(self, asked: int | range) -> None:
        for number in [asked] if isinstance(asked, int) else asked:
            name = self._missing.get(number)
            if name is not None:
                script = list.__getitem__(self, 0)
                raise UsageError(
                    f"`{Path(script).name}` reads its arguments, one of which was a secret "
                    f"(`{name}`) that is not on record",
                    kind="secret-argument",
                    hint=f"run `{script}` itself again with the arguments that it was begun with",
                )
