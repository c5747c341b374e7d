"""Where settings come from: argument, environment, notebook, pyproject.toml, default, in that order."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import platformdirs

from kitaru_nb.errors import UsageError
from kitaru_nb.model.notice import Notify
from kitaru_nb.model.settings import Quota, RerunLimit, Settings
from kitaru_nb.model.stack import LOCAL, Stack
from kitaru_nb.stacks.config import read_stacks

__all__ = [
    "IN_NOTEBOOK",
    "NAMES",
    "begun_after",
    "chosen_by",
    "parse_duration",
    "parse_size",
    "resolve",
    "table_in",
]

NAMES = (
    "home",
    "notebook",
    "stack",
    "heartbeat",
    "lease",
    "patience",
    "confirm_rerun",
    "strict_env",
    "max_bytes",
    "keep_days",
    "paranoid",
    "budget",
    "llm_bodies",
    "prices",
    "notify",
)
"""Every setting, in the order `doctor` prints them."""

_PREFIX = "KITARU_NB_"
_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SIZES |= {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def resolve(
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    place: Stack | None = None,
    in_notebook: object = None,
    **overrides: object,
) -> Settings:
    """The settings that hold here, each with where its value came from.

    An override counts before ``KITARU_NB_*`` in `environ`, then the notebook's metadata, then the table
    ``[tool.kitaru_nb]`` of the nearest ``pyproject.toml`` at or above `cwd` that has one,
    then the files of stacks (which stack is used, and the settings of that one), then the
    default. An override of None and an empty environment variable count as not given.

    Args:
        environ: The environment to read; this process's by default.
        cwd: Folder to start from; the current one by default. A relative home is relative
            to it, or to the folder of the ``pyproject.toml`` that names it.
        place: The stack to use, when it was looked up already.
        in_notebook: What the notebook's metadata have under ``kitaru_nb``, see `table_in`.
        **overrides: Values given as arguments, by name of the setting.

    Raises:
        UsageError: a value that does not fit, or a setting that does not exist; the message
            names where it was found.
    """
    here = (cwd or _current_folder()).absolute()
    again = partial(resolve, environ=environ, cwd=here, place=place, in_notebook=in_notebook, **overrides)
    chosen: dict[str, object] = {}
    sources: dict[str, str] = {}
    variables = os.environ if environ is None else environ

    def choose(source: str, base: Path, values: Mapping[str, object]) -> None:
        for name, raw in values.items():
            if name in sources:
                continue
            where = source.format(name=name.upper())
            chosen[name] = _READERS[name](raw, base, f"{name} (from {where})")
            sources[name] = where

    if place is not None:
        overrides["stack"] = place.name
    for layer in _layers(overrides, variables, _table_of(in_notebook), here):
        choose(*layer)
    if place is None:
        files = read_stacks(here, variables)
        if files.use is not None:
            choose(_literal(files.use[1]), files.use[1].parent, {"stack": files.use[0]})
        place = files.stacks.get(str(chosen.get("stack", LOCAL.name)))
    if place is not None and place.settings:
        where = f"`settings` of stack `{place.name}` in {place.source}"
        _check_names(place.settings, where)
        choose(_literal(f"stack {place.name} in {place.source}"), Path(place.source).parent, place.settings)
    chosen["place"] = place
    if "home" not in chosen:
        chosen["home"] = platformdirs.user_data_path("kitaru-nb", appauthor=False)
    settings = Settings(
        **chosen,  # type: ignore[arg-type] # each value was read by its own reader
        sources={n: sources.get(n, "default") for n in NAMES},
        again=again,
    )
    _check_lease(settings)
    return settings


def table_in(notebook: Path | None) -> object:
    """What the metadata of a notebook's file have under ``kitaru_nb``; None where there is nothing."""
    try:
        content = b"" if notebook is None else notebook.read_bytes()
    except OSError:
        return None
    if b'"kitaru_nb"' not in content:
        return None  # most notebooks: no need to read all of it
    import json  # noqa: PLC0415 - seldom, and settings are read at every kernel start

    try:
        found = json.loads(content)["metadata"].get("kitaru_nb")
    except (ValueError, LookupError, TypeError, AttributeError):
        return None  # whoever opens it says that it is no notebook
    return {} if found is None else found


def chosen_by(table: object) -> dict[str, object]:
    """The settings that a notebook's metadata choose, each read.

    Raises:
        UsageError: a value that does not fit, or a setting that there is not, or not for a notebook,
            which can come from anybody.
    """
    return {
        name: _READERS[name](raw, Path(), f"{name} (from {_IN_METADATA})")
        for name, raw in _table_of(table).items()
    }


def _table_of(table: object) -> Mapping[str, object]:
    if table is None:
        return {}
    if not isinstance(table, Mapping):
        message = f"{_IN_METADATA} is no table"
        raise UsageError(message, kind="bad-setting", hint='{"kitaru_nb": {"budget": 5}}')
    _check_names(table, _IN_METADATA)
    for name in table:
        if name not in IN_NOTEBOOK:
            message = f"a notebook cannot choose `{name}` ({_IN_METADATA})"
            hint = f"KITARU_NB_{name.upper()}, or [tool.kitaru_nb] in pyproject.toml"
            raise UsageError(message, kind="bad-setting", hint=hint)
    return table


def _literal(source: object) -> str:
    return str(source).replace("{", "{{").replace("}", "}}")


def parse_duration(raw: object, *, what: str = "duration") -> float:
    """Seconds from a number or from text such as ``90``, ``30s``, ``10m``, ``2h``, ``1d``, ``1h30m``.

    Raises:
        UsageError: `raw` is not a length of time above zero; the message calls it `what`.
    """
    number = _seconds(raw)
    if number is None or not math.isfinite(number) or number <= 0:
        raise UsageError(
            f"{what} is `{raw}`, which is not a length of time above zero",
            kind="bad-duration",
            hint="a number of seconds, or a number with a unit such as 30s, 10m, 2h, 1d",
        )
    return number


def begun_after(text: str, *, now: datetime | None = None, what: str = "--since") -> datetime:
    """The moment `text` means: a length of time back from `now`, or a date (local without a zone).

    Raises:
        UsageError: kind ``bad-since``.
    """
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        pass
    try:
        return (now or datetime.now(UTC)) - timedelta(seconds=parse_duration(text))
    except (UsageError, OverflowError):
        raise UsageError(
            f"{what} is `{text}`, which is neither a length of time nor a date",
            kind="bad-since",
            hint=f"{what} 2h, or {what} 2026-03-01",
        ) from None


def parse_size(raw: object, *, what: str = "size") -> int:
    """Bytes from a number or from text such as ``20000000``, ``500MB``, ``1.5 GiB``.

    Raises:
        UsageError: `raw` is not a number of bytes; the message calls it `what`.
    """
    text = str(raw).strip().lower().replace("_", "")
    number = text.rstrip("bkmgti ")
    unit = _SIZES.get(text[len(number) :].strip())
    try:
        size = float(number) * (unit or 0)
    except ValueError:
        size = math.nan
    if unit is None or isinstance(raw, bool) or not math.isfinite(size) or size < 0:
        raise UsageError(
            f"{what} is `{raw}`, which is not a number of bytes",
            kind="bad-size",
            hint="a number of bytes, or a number with a unit such as 500MB, 5GB, 2GiB",
        )
    return int(size)


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError(
            "the current folder has been removed", kind="no-current-folder", hint="cd ~"
        ) from None


def _layers(
    overrides: Mapping[str, object], environ: Mapping[str, str], table: Mapping[str, object], cwd: Path
) -> Iterator[tuple[str, Path, Mapping[str, object]]]:
    """(source, folder that relative paths start from, values), the strongest first."""
    given = {name: value for name, value in overrides.items() if value is not None}
    _check_names(given, "an argument")
    yield "argument", cwd, given
    found = {name: environ.get(_PREFIX + name.upper(), "") for name in NAMES}
    yield _PREFIX + "{name}", cwd, {name: value for name, value in found.items() if value}
    yield "notebook metadata", cwd, table
    project = _project_table(cwd)
    if project is not None:
        path, table = project
        _check_names(table, f"`[tool.kitaru_nb]` in {path}")
        yield _literal(path), path.parent, table


def _project_table(cwd: Path) -> tuple[Path, Mapping[str, object]] | None:
    """The nearest ``pyproject.toml`` with our table, and the table."""
    for folder in (cwd, *cwd.parents):
        path = folder / "pyproject.toml"
        table = _tool_table(path) if path.is_file() else None
        if table is not None:
            return path, table
    return None


def _tool_table(path: Path) -> Mapping[str, object] | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"settings in {path} could not be read: {error}", kind="bad-settings-file", hint=f"mend {path}"
        ) from error
    if "kitaru_nb" not in text:
        return None  # most projects: no need to load a TOML parser, or to mind another tool's mistakes
    import tomllib  # noqa: PLC0415 - only when a project has our table

    try:
        table: Any = tomllib.loads(text).get("tool", {}).get("kitaru_nb")
    except (tomllib.TOMLDecodeError, AttributeError) as error:
        raise UsageError(
            f"settings in {path} could not be read: {error}", kind="bad-settings-file", hint=f"mend {path}"
        ) from None  # the parser's own traceback says nothing more
    if table is not None and not isinstance(table, dict):
        raise UsageError(
            f"`tool.kitaru_nb` in {path} is not a table", kind="bad-settings-file", hint="[tool.kitaru_nb]"
        )
    return table


def _check_names(given: Mapping[str, object], where: str) -> None:
    for name in given:
        if name not in NAMES:
            close = difflib.get_close_matches(name, NAMES, n=1)
            raise UsageError(
                f"there is no setting `{name}` (given by {where})",
                kind="unknown-setting",
                hint=close[0] if close else "one of " + ", ".join(NAMES),
            )


def _check_lease(settings: Settings) -> None:
    if settings.lease <= settings.heartbeat:
        source = (
            settings.sources["lease"]
            if settings.sources["lease"] != "default"
            else settings.sources["heartbeat"]
        )
        raise UsageError(
            f"lease is {settings.lease:g} s and heartbeat {settings.heartbeat:g} s (from {source}): "
            "a living owner would count as dead between two heartbeats",
            kind="bad-setting",
            hint=f"lease = {3 * settings.heartbeat:g}, three heartbeats",
        )


def _home(raw: object, base: Path, what: str) -> Path:
    text = os.fspath(raw) if isinstance(raw, str | os.PathLike) else ""
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise UsageError(
            f"{what} is `{raw}`, which is not a folder",
            kind="bad-setting",
            hint="export KITARU_NB_HOME=/a/folder",
        )
    try:
        return Path(os.path.normpath(base / Path(text).expanduser()))
    except RuntimeError as error:  # ~someone who does not exist
        raise UsageError(
            f"{what} is `{raw}`: {error}", kind="bad-setting", hint="export KITARU_NB_HOME=/a/folder"
        ) from error


def _text(raw: object, _base: Path, what: str) -> str:
    text = os.fspath(raw) if isinstance(raw, str | os.PathLike) else None
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f"{what} is `{raw}`, which is not text", kind="bad-setting", hint="a name in quotes")
    return text


def _length(raw: object, _base: Path, what: str) -> float:
    return parse_duration(raw, what=what)


def _switch(raw: object, _base: Path, what: str) -> bool:
    text = str(raw).strip().lower()
    if text not in ("1", "true", "on", "yes", "0", "false", "off", "no"):
        raise UsageError(f"{what} is `{raw}`, which is not on or off", kind="bad-setting", hint="1 or 0")
    return text in ("1", "true", "on", "yes")


def _quota(raw: object, _base: Path, what: str) -> Quota:
    """``20%`` of the volume, a number of bytes such as ``50GB``, or ``off``."""
    text = str(raw).strip().lower()
    if text in ("off", "false"):
        return Quota(None)
    if not text.endswith("%"):
        return Quota(None, parse_size(raw, what=what))
    try:
        part = float(text[:-1]) / 100
    except ValueError:
        part = 0.0
    if not 0 < part <= 1:
        raise UsageError(
            f"{what} is `{raw}`, which is no part of a volume", kind="bad-setting", hint="20%, 50GB, or off"
        )
    return Quota(part)


def _days(raw: object, _base: Path, what: str) -> float:
    """A number of days; a unit may be given."""
    try:
        days = float(str(raw))
    except ValueError:
        days = (_seconds(raw) or math.nan) / _UNITS["d"]
    if not math.isfinite(days) or days < 0:
        raise UsageError(f"{what} is `{raw}`, which is no number of days", kind="bad-setting", hint="30")
    return days


def _rerun_limit(raw: object, _base: Path, what: str) -> RerunLimit:
    """``off``, a length of time, dollars (``$0.50``), or both with a comma between."""
    if raw is False or (isinstance(raw, str) and raw.strip().lower() in ("off", "never", "false")):
        return RerunLimit(None, None)
    seconds: float | None = None
    cost: float | None = None
    for part in raw.split(",") if isinstance(raw, str) else [raw]:
        text = part.strip() if isinstance(part, str) else part
        if isinstance(text, str) and text.startswith("$"):
            cost = _seconds(text[1:])
            if cost is None or not math.isfinite(cost):
                raise UsageError(
                    f"{what} is `{raw}`, and `{text}` is not an amount of dollars",
                    kind="bad-setting",
                    hint="1m,$0.10 or off",
                )
        else:
            seconds = parse_duration(text, what=what)
    return RerunLimit(seconds, cost)


def _budget(raw: object, _base: Path, what: str) -> float | None:
    """US dollars above zero, with or without a ``$``; ``off`` for no limit."""
    text = str(raw).strip().lower().removeprefix("$")
    if text in ("off", "none", "false"):
        return None
    try:
        dollars = float(text)
    except ValueError:
        dollars = math.nan
    if isinstance(raw, bool) or not 0 < dollars < math.inf:
        raise UsageError(
            f"{what} is `{raw}`, which is no amount of dollars", kind="bad-budget", hint="5.00, or off"
        )
    return dollars


def _bodies(raw: object, _base: Path, what: str) -> str:
    text = str(raw).strip().lower()
    if text not in ("store", "redact", "off"):
        raise UsageError(f"{what} is `{raw}`", kind="bad-setting", hint="store, redact or off")
    return text


def _prices(raw: object, _base: Path, what: str) -> Mapping[str, Any]:
    """A table in a file; in the environment the same as JSON."""
    if isinstance(raw, str):
        import json  # noqa: PLC0415 - seldom, and settings are read at every kernel start

        try:
            raw = json.loads(raw)
        except ValueError:
            raw = None
    if not isinstance(raw, dict):
        hint = '[tool.kitaru_nb.prices] "my-model" = { input = 0.15, output = 0.60 }'
        raise UsageError(f"{what} is no table of prices", kind="bad-price", hint=hint)
    return raw


def _notify(raw: object, _base: Path, what: str) -> Notify:
    from kitaru_nb.stacks.notify import notify_of  # noqa: PLC0415 - seldom, as above

    return notify_of(raw, what=what)


_READERS: Mapping[str, Callable[[object, Path, str], object]] = {
    "home": _home,
    "notebook": _text,
    "stack": _text,
    "heartbeat": _length,
    "lease": _length,
    "patience": _length,
    "confirm_rerun": _rerun_limit,
    "strict_env": _switch,
    "max_bytes": _quota,
    "keep_days": _days,
    "paranoid": _switch,
    "budget": _budget,
    "llm_bodies": _bodies,
    "prices": _prices,
    "notify": _notify,
}


IN_NOTEBOOK = frozenset({"confirm_rerun", "strict_env", "paranoid", "budget", "llm_bodies"})
"""What a notebook's metadata may choose: nothing that says where things are kept or who is told."""

_IN_METADATA = "`kitaru_nb` in the notebook's metadata"


def _seconds(raw: object) -> float | None:
    """`raw` in seconds; None when it is not a length of time at all."""
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return float(raw)
    if not isinstance(raw, str):
        return None
    import re  # noqa: PLC0415 - a length of time as text is rare, and settings are read at every kernel start

    text = raw.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*", text)
    if not parts or re.sub(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*", "", text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
