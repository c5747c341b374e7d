"""Stacks in TOML files: the project's over the user's, secrets by reference only.

The project's file is the nearest ``kitaru_nb.toml`` or ``.kitaru_nb/stacks.toml`` at or above the
current folder; the user's is ``stacks.toml`` in the configuration folder. A stack of the
project's file hides one of that name in the user's.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from kitaru_nb.artifacts.secret_rules import is_secret_name
from kitaru_nb.errors import UsageError
from kitaru_nb.model.stack import LOCAL, Stack

__all__ = [
    "PROJECT_FILES",
    "StackFiles",
    "check_name",
    "others_launchers",
    "read_stacks",
    "referred",
    "reveal",
    "reveal_signing_key",
    "stack_of",
    "user_file",
]

PROJECT_FILES = ("kitaru_nb.toml", ".kitaru_nb/stacks.toml")
"""Where a project's stacks are looked for in each folder."""

KEYS = ("launcher", "store", "journal", "journal_password", "signing_key", "options", "settings")
LAUNCHERS = ("local", "dask", "slurm", "ssh", "kubernetes")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ENVIRONMENT = "secret:env:"
_REFERENCE = re.compile(rf"{_ENVIRONMENT}([A-Za-z_][A-Za-z0-9_]*)")
_SECRET_WORDS = {"key", "secret", "token", "password", "credential", "credentials"}
_NO_SECRETS = {"service_account", "google_application_credentials", "aws_profile"}
_NAMES_ONLY = {"secrets", "tolerations"}
"""Options of a launcher that say where a secret is, or what a taint is called, under any name."""
_KNOWN_SHAPES = re.compile(
    r"AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}|gh[pousr]_\w{20,}|sk-\w{16,}|-----BEGIN"
    r"|\b(?:AccountKey|SharedAccessSignature)=|[?&]sig="
)


@dataclass(frozen=True, slots=True)
class StackFiles:
    """The stacks that exist here.

    Attributes:
        stacks: By name, `local` first.
        use: The name chosen in a file, and that file.
    """

    stacks: Mapping[str, Stack] = field(default_factory=lambda: {LOCAL.name: LOCAL})
    use: tuple[str, Path] | None = None


def user_file(environ: Mapping[str, str] | None = None) -> Path:
    """The user's own file of stacks; ``KITARU_NB_CONFIG`` moves its folder."""
    given = (os.environ if environ is None else environ).get("KITARU_NB_CONFIG")
    folder = Path(given).absolute() if given else platformdirs.user_config_path("kitaru-nb", appauthor=False)
    return folder / "stacks.toml"


def project_file(cwd: Path) -> Path | None:
    """The nearest file of stacks at or above `cwd`."""
    for folder in (cwd, *cwd.parents):
        for name in PROJECT_FILES:
            if (folder / name).is_file():
                return folder / name
    return None


def read_stacks(cwd: Path, environ: Mapping[str, str] | None = None) -> StackFiles:
    """Every stack that can be named in `cwd`.

    Raises:
        UsageError: kind ``bad-stack-file``, ``unknown-stack-key`` or ``secret-in-stack-file``: a
            file cannot be read as stacks; the message names it.
    """
    stacks, use = {LOCAL.name: LOCAL}, None
    for path in (user_file(environ), project_file(cwd)):
        if path is not None and path.is_file():
            document = _document(path)
            if "use" in document:
                use = (str(document["use"]), path)
            for name, table in document.get("stacks", {}).items():
                stacks[name] = stack_of(name, table, path)
    return StackFiles(stacks, use)


def stack_of(name: str, table: object, path: Path) -> Stack:
    """The stack that a table of a file describes.

    Raises:
        UsageError: see `read_stacks`.
    """
    where = f"stack `{name}` in {path}"
    if not isinstance(table, dict):
        raise _bad(path, f"`stacks.{name}` is not a table")
    if not _can_be(name):
        raise _bad(path, f"a stack cannot be called `{name}`")
    _check_keys(table, where)
    options = table.get("options", {})
    settings = table.get("settings", {})
    if not isinstance(options, dict) or not isinstance(settings, dict):
        raise _bad(path, f"`options` and `settings` of stack `{name}` are tables")
    launcher, told = _launcher(table.get("launcher", LOCAL.launcher), path, name)
    texts = {key: value for key, value in table.items() if key not in ("options", "settings", "launcher")}
    for key, value in texts.items():
        if not isinstance(value, str) or not value.strip():
            raise _bad(path, f"`{key}` of stack `{name}` is not text")
    if launcher not in LAUNCHERS and launcher not in others_launchers():
        raise UsageError(
            f"{where} has the launcher `{launcher}`, which does not exist",
            kind="unknown-launcher",
            hint="launcher = one of " + ", ".join([*LAUNCHERS, *others_launchers()]),
        )
    plain = {key: _plain(value) for key, value in options.items()}
    for key, value in [*texts.items(), *plain.items(), *_leaves(told)]:
        _refuse_secret(key, value, where)
    return Stack(
        name,
        launcher=launcher,
        launcher_options=told,
        **texts,
        options=plain,
        settings=settings,
        source=str(path),
    )


def check_name(name: str) -> None:
    """Refuse a name that no stack can have.

    Raises:
        UsageError: kind ``bad-stack-name``.
    """
    if not _can_be(name):
        better = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-._")[:64]
        hint = better if better and _can_be(better) else "letters, digits, `-`, `_` and `.`, such as team"
        raise UsageError(f"a stack cannot be called `{name}`", kind="bad-stack-name", hint=hint)


def _can_be(name: str) -> bool:
    return name != LOCAL.name and _NAME.fullmatch(name) is not None


def referred(value: object) -> list[str]:
    """The environment variables with secrets that texts in a document refer to, each once."""
    if isinstance(value, str):
        found = _REFERENCE.fullmatch(value)
        return [] if found is None else [found[1]]
    if isinstance(value, Mapping):
        value = [*value.values()]
    names = [name for each in value for name in referred(each)] if isinstance(value, list) else []
    return list(dict.fromkeys(names))


def reveal(value: str, *, what: str) -> str:
    """`value`, or the secret that it refers to.

    Raises:
        UsageError: kind ``missing-secret``: the environment does not have it.
    """
    found = _REFERENCE.fullmatch(value)
    if found is None:
        return value
    secret = os.environ.get(found[1])
    if not secret:
        raise UsageError(
            f"{what} is in the environment variable {found[1]}, which is not set",
            kind="missing-secret",
            hint=f"export {found[1]}=…",
        )
    return secret


def reveal_signing_key(value: str) -> str:
    """The secret that a team signs with, from the variable that a stack names.

    Who knows it signs what is restored here. A stack file may come from anybody, together with
    what is signed, so it may not name a variable whose value others can know, such as ``PATH``.

    Raises:
        UsageError: kind ``missing-secret``, or ``bad-key``: the variable is not one for a secret.
    """
    secret = reveal(value, what="the signing key")
    name = value.removeprefix(_ENVIRONMENT)
    if not is_secret_name(name):
        raise UsageError(
            f"the stack's `signing_key` is the environment variable {name}, whose name is not that "
            "of a secret: whoever can guess what it holds could sign what is restored here",
            kind="bad-key",
            hint='signing_key = "secret:env:TEAM_SIGNING_KEY", with what '
            "python -c 'import secrets; print(secrets.token_hex(32))' prints",
        )
    return secret


def others_launchers() -> dict[str, EntryPoint]:
    """Launchers that installed packages bring, by name: entry points of the group ``kitaru_nb.launchers``."""
    return {each.name: each for each in entry_points(group="kitaru_nb.launchers")}


def _launcher(given: object, path: Path, name: str) -> tuple[str, dict[str, Any]]:
    """Which launcher, and what it is told: ``"slurm"``, or a table with a `type` and options beside it."""
    if isinstance(given, str):
        return given, {}
    if isinstance(given, dict) and isinstance(given.get("type"), str):
        return given["type"], {key: value for key, value in given.items() if key != "type"}
    raise _bad(path, f'the `launcher` of stack `{name}` is neither a name nor a table with `type = "slurm"`')


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Each text in a table, however deep, with the name it stands under."""
    match value:
        case dict():
            for name, inner in value.items():
                yield from _leaves(inner, key if key in _NAMES_ONLY else str(name))
        case list():
            for inner in value:
                yield from _leaves(inner, key)
        case str():
            yield key, value


def _document(path: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - only where there is such a file

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _bad(path, f"it could not be read: {error}") from error
    if unknown := [key for key in document if key not in ("use", "stacks")]:
        raise _bad(path, f"it holds `{unknown[0]}`; there is only `use` and `[stacks.NAME]`")
    if not isinstance(document.get("stacks", {}), dict):
        raise _bad(path, "`stacks` is not a table")
    return document


def _check_keys(table: Mapping[str, object], where: str) -> None:
    for key in table:
        if key not in KEYS:
            close = difflib.get_close_matches(key, KEYS, n=1)
            raise UsageError(
                f"{where} has `{key}`, which means nothing",
                kind="unknown-stack-key",
                hint=f"{close[0]} = …" if close else "one of " + ", ".join(KEYS),
            )


def _refuse_secret(key: str, value: str, where: str) -> None:
    """Refuse a secret that is written out. A file is shared, committed, backed up."""
    if _REFERENCE.fullmatch(value):
        return
    words = set(re.split(r"[_\W]+", key.lower()))
    named = key in ("journal_password", "signing_key") or bool(words & _SECRET_WORDS)
    if (named and key not in _NO_SECRETS) or _KNOWN_SHAPES.search(value) or _has_password(value):
        variable = re.sub(r"\W", "_", key).upper()
        way = "journal_password" if key == "journal" else key
        raise UsageError(
            f"`{key}` of {where} is a secret that is written out",
            kind="secret-in-stack-file",
            hint=f'{way} = "secret:env:{variable}", and export {variable}',
        )


def _has_password(value: str) -> bool:
    if "://" not in value:
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.password) or "password=" in parts.query


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bad(path: Path, why: str) -> UsageError:
    return UsageError(
        f"the stacks in {path} cannot be used: {why}", kind="bad-stack-file", hint=f"mend {path}"
    )
