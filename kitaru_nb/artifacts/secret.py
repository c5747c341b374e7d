"""`Secret`: a value that is stored by its name and shown by nobody."""

from __future__ import annotations

import os
from typing import Any

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.errors import UsageError

__all__ = ["Secret"]


class Secret:
    """A secret by the name of its environment variable; the value is looked up when it is used.

    It can be stored, sent to another process and shown, since it holds the name alone. Two
    secrets of one name are equal, whatever their values, so another key runs no cell again.

    Args:
        name: The environment variable.

    Example::

        key = Secret("OPENAI_API_KEY")
        client = OpenAI(api_key=key.reveal())
    """

    __slots__ = ("__weakref__", "name")
    name: str

    def __init__(self, name: str) -> None:
        if not name or "=" in name or "\0" in name:
            raise UsageError(
                f"`{name}` cannot be the name of an environment variable",
                kind="bad-secret-name",
                hint='Secret("OPENAI_API_KEY"), with the name and not the value',
            )
        object.__setattr__(self, "name", name)

    @classmethod
    def env(cls, name: str) -> Secret:
        """The same as ``Secret(name)``."""
        return cls(name)

    @classmethod
    def ask(cls, name: str, prompt: str | None = None) -> Secret:
        """Ask for the value without echo, unless the environment or an earlier question has it.

        The answer is kept in the memory of this process. In a headless run, where nobody can be
        asked, the environment has to have it.

        Raises:
            UsageError: kind ``missing-secret``: nobody can be asked.
        """
        made = cls(name)
        if made._find() is None:
            import getpass  # noqa: PLC0415 - only to ask

            try:
                answer = getpass.getpass(prompt or f"{name}: ")
            except (EOFError, NotImplementedError, OSError) as error:
                raise made._missing() from error
            except RuntimeError as error:  # IPython's StdinNotImplementedError is one of these
                raise made._missing() from error
            VAULT.keep(name, answer)
        return made

    def reveal(self) -> str:
        """The value.

        Raises:
            UsageError: kind ``missing-secret``: the environment has no such variable.
        """
        value = self._find()
        if value is None:
            raise self._missing()
        return value

    def _find(self) -> str | None:
        value = os.environ.get(self.name) or VAULT.kept(self.name)
        if value:
            VAULT.keep(self.name, value)
        return value or None

    def _missing(self) -> UsageError:
        return UsageError(
            f"the secret `{self.name}` is not set",
            kind="missing-secret",
            hint=f"export {self.name}=... before the kernel starts, or Secret.ask({self.name!r})",
        )

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.name == other.name

    def __hash__(self) -> int:
        return hash((Secret, self.name))

    def __bool__(self) -> bool:
        return self._find() is not None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Secret does not change; `{name}` cannot be set")

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (self.name,)


Secret.__module__ = "kitaru_nb"
