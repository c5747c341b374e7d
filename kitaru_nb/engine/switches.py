"""Settings of the interpreter and of libraries that a cell can switch, and how they are switched back.

They are told relative to how the process was found: what the front end chose for itself (its
event loop, its own handlers) is no part of the notebook.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import re
import signal
import sys
from collections.abc import Callable, Mapping
from operator import attrgetter
from types import BuiltinFunctionType, FunctionType
from typing import Any, Protocol

from kitaru_nb.artifacts.uncollected import is_collecting
from kitaru_nb.engine.loggers import LOGGERS, described, finished

__all__ = ["FRONT_END", "RARE", "SETTING", "SIGNALS", "SWITCHES", "FrontSettings", "Switches", "handler_of"]

SETTING = "setting "
"""What the parts of process state that a `Switches` tells begin with."""

_OWN = r"(?:re)?load_ext\s+kitaru_nb\s*$|(?:checkpoint|kitaru|replay|resume|rewind|why)\b"
"""Line magics that set nothing of the shell: every notebook begins with one."""

RARE = {
    "umask": re.compile(r"umask"),
    "resource limits": re.compile(r"setrlimit"),
    "xarray options": re.compile(r"set_options"),
    "matplotlib backend": re.compile(r"\.use\(|switch_backend|^\s*%(?:matplotlib|pylab)\b", re.MULTILINE),
    "csv field size": re.compile(r"field_size_limit"),
    "tqdm for pandas": re.compile(r"tqdm|pandas\("),
    "log level names": re.compile(r"addLevelName"),
    "captured warnings": re.compile(r"captureWarnings"),
    "numpy buffer": re.compile(r"setbufsize"),
    "first weekday": re.compile(r"setfirstweekday"),
    "shell": re.compile(
        rf"^\s*%(?!%|{_OWN})|ipython|InteractiveShell|interactivity|InlineBackend", re.MULTILINE
    ),
}
_ANY_RARE = re.compile("|".join(words.pattern for words in RARE.values()), re.MULTILINE)
handler_of: Callable[[int], object] = signal._signal.getsignal  # type: ignore[attr-defined] # noqa: SLF001 - the other makes an enum of each answer
SIGNALS = [int(number) for number in signal.valid_signals() if number != signal.SIGINT and number < 32]


class FrontSettings(Protocol):
    """What the front end lets cells set of itself, as far as it differs from how it was found."""

    def changed(self) -> dict[str, Any]:
        """Each such setting, in plain values."""

    def put(self, wanted: Mapping[str, Any]) -> None:
        """Have these, and all others as found. Raises `ValueError` for what cannot be."""


class _FrontEnd:
    """The front end, which says by itself what cells have set of it.

    Attributes:
        settings: None where there is no front end.
    """

    settings: FrontSettings | None = None

    def read(self, _module: Any) -> dict[str, Any]:
        return {} if self.settings is None else self.settings.changed()

    def put(self, _module: Any, wanted: Mapping[str, Any]) -> None:
        if self.settings is not None:
            self.settings.put(wanted)


FRONT_END = _FrontEnd()


class Switches:
    """The settings of this process, told relative to how they were when the object was made.

    Attributes:
        heard: Those in `RARE` that a cell has named: they are looked at.
    """

    def __init__(self) -> None:
        self.heard: set[str] = set(RARE)
        self._found = self._read()
        self.heard.clear()
        self._unchanged: dict[str, Any] = {f"{SETTING}{name}": None for name in SWITCHES}

    def hear(self, source: str) -> None:
        """Take note of a cell's code: some settings are only looked at once a cell names them."""
        if _ANY_RARE.search(source):
            self.heard.update(name for name, words in RARE.items() if words.search(source))

    def parts(self) -> dict[str, Any]:
        """Each setting by its name; None where it is as it was found."""
        found = self._found
        return self._unchanged | {
            f"{SETTING}{name}": value
            for name, value in self._read().items()
            if name not in found or found[name] != value
        }

    def put(self, part: str, value: Any) -> None:
        """Switch the setting of one part to `value`; None is how it was found.

        Raises:
            ValueError: it cannot be; the message says why.
        """
        name = part.removeprefix(SETTING)
        wanted = self._found.get(name) if value is None else value
        if wanted is None and name not in self._found:
            return
        module, _, put = SWITCHES[name]
        try:
            put(importlib.import_module(module), wanted)
        except Exception as error:
            raise ValueError(str(error)) from error

    def _read(self) -> dict[str, Any]:
        found = {}
        for name, (module, read, _) in SWITCHES.items():
            if module in sys.modules and (name not in RARE or name in self.heard):
                try:
                    found[name] = read(sys.modules[module])
                except Exception:  # noqa: BLE001, S112 - a version of the library without that setting
                    continue
        return found


def _read_backend(module: Any) -> str | None:
    backend = dict.get(module.rcParams, "backend")  # asking for it by `[]` would choose one
    return backend if isinstance(backend, str) else None


def _put_backend(module: Any, value: str | None) -> None:
    if value is not None and _read_backend(module) != value:
        module.use(value)


def _read_letters(module: Any) -> dict[str, Any]:
    """What ``"k"`` and the other letters stand for, which seaborn's themes change."""
    return {letter: module.colorConverter.colors[letter] for letter in module.BASE_COLORS}


def _put_letters(module: Any, value: Mapping[str, Any]) -> None:
    for letter, color in value.items():
        module.colorConverter.colors[letter] = color  # one by one: it clears what it has worked out


def _read_pictures(module: Any) -> bool:
    return getattr(module.configure_inline_support, "current_backend", None) == "inline"


def _put_pictures(module: Any, value: Any) -> None:
    """Have the shell show figures as pictures, which pyplot sees to only when it draws its first one."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if value and shell is not None and not _read_pictures(module):
        module.configure_inline_support(shell, "inline")


def _read_gc(module: Any) -> Any:
    return is_collecting(), module.get_threshold(), module.get_debug()


def _put_gc(module: Any, value: Any) -> None:
    enabled, threshold, debug = value
    (module.enable if enabled else module.disable)()
    module.set_threshold(*threshold)
    module.set_debug(debug)


def _read_signals(_module: Any) -> dict[int, object]:
    """The handlers that a new process can have as well; `engine.live` sees the others."""
    found = {}
    for number in SIGNALS:
        handler = handler_of(number)
        if isinstance(handler, int) or _is_importable(handler):
            found[number] = handler
    return found


def _put_signals(module: Any, value: Mapping[int, Any]) -> None:
    for number, handler in value.items():
        if handler_of(number) is not handler and handler_of(number) != handler:
            module.signal(number, handler)


def _is_importable(handler: object) -> bool:
    if not isinstance(handler, FunctionType | BuiltinFunctionType) or handler.__module__ in (
        None,
        "__main__",
    ):
        return False
    return getattr(sys.modules.get(handler.__module__), handler.__name__, None) is handler


def _read_policy(_module: Any) -> str | None:
    policy = asyncio.events._event_loop_policy  # type: ignore[attr-defined] # noqa: SLF001 - the public way makes one
    return None if policy is None else f"{type(policy).__module__}:{type(policy).__qualname__}"


def _put_policy(module: Any, value: str | None) -> None:
    made: Any = None
    if value is not None:
        name, _, qualname = value.partition(":")
        made = importlib.import_module(name)
        for part in qualname.split("."):
            made = getattr(made, part)
    module.set_event_loop_policy(None if made is None else made())


def _read_umask(module: Any) -> int:
    mask: int = module.umask(0o077)
    module.umask(mask)
    return mask


_LIMITS = (
    "AS",
    "CORE",
    "CPU",
    "DATA",
    "FSIZE",
    "MEMLOCK",
    "NOFILE",
    "NPROC",
    "RSS",
    "STACK",
)


def _read_limits(module: Any) -> dict[str, tuple[int, int]]:
    names = (name for name in _LIMITS if hasattr(module, f"RLIMIT_{name}"))
    return {name: module.getrlimit(getattr(module, f"RLIMIT_{name}")) for name in names}


def _put_limits(module: Any, value: Mapping[str, tuple[int, int]]) -> None:
    for name, limit in value.items():
        number = getattr(module, f"RLIMIT_{name}")
        if module.getrlimit(number) != tuple(limit):
            module.setrlimit(number, limit)


def _read_torch(module: Any) -> dict[str, Any]:
    return {
        "dtype": str(module.get_default_dtype()).removeprefix("torch."),
        "grad": module.is_grad_enabled(),
        "threads": module.get_num_threads(),
        "deterministic": module.are_deterministic_algorithms_enabled(),
    }


def _put_torch(module: Any, value: Mapping[str, Any]) -> None:
    module.set_default_dtype(getattr(module, value["dtype"]))
    module.set_grad_enabled(value["grad"])
    module.set_num_threads(value["threads"])
    module.use_deterministic_algorithms(value["deterministic"])


def _read_tqdm(_module: Any) -> dict[str, Any] | None:
    """Which bar frames of pandas show, and with which options; None where they show none."""
    pandas = sys.modules.get("pandas")
    shows: Any = getattr(getattr(pandas, "DataFrame", None), "progress_apply", None)
    if not isinstance(shows, FunctionType):
        return None
    held = dict(zip(shows.__code__.co_freevars, shows.__closure__ or (), strict=True))
    kind, options = held["cls"].cell_contents, held["tqdm_kwargs"].cell_contents
    plain = {name: value for name, value in options.items() if isinstance(value, str | int | float)}
    return {"bar": f"{kind.__module__}:{kind.__qualname__}", "options": plain}


def _put_tqdm(_module: Any, value: Mapping[str, Any] | None) -> None:
    if value is not None:
        module, _, name = value["bar"].partition(":")
        getattr(importlib.import_module(module), name).pandas(**value["options"])


def _put_level_names(module: Any, value: Mapping[int, str]) -> None:
    names = module._levelToName  # noqa: SLF001 - no public way to take one out again
    for level, name in list(names.items()):
        if value.get(level) != name:
            del names[level]
            module._nameToLevel.pop(name, None)  # noqa: SLF001
    for level, name in value.items():
        module.addLevelName(level, name)


def _put_log_handlers(module: Any, value: Mapping[str, list[tuple[Any, ...]]]) -> None:
    now = LOGGERS.handlers()
    for name in value.keys() | now.keys():
        logger = module.getLogger(None if name == "root" else name)
        for handler in list(logger.handlers):
            plain = described(handler)
            if plain is not None and plain not in value.get(name, []):
                logger.removeHandler(handler)
        for plain in value.get(name, []):
            if plain not in now.get(name, []):
                logger.addHandler(_handler(plain))


def _handler(plain: tuple[Any, ...]) -> logging.Handler:
    kind, *rest, level, form = plain
    handler: logging.Handler
    if kind == "file":
        path, mode, encoding = rest
        handler = logging.FileHandler(path, "a" if "w" in mode else mode, encoding=encoding, delay=True)
    elif kind == "stream":
        handler = logging.StreamHandler(getattr(sys, rest[0]))
    else:
        handler = logging.NullHandler()
    return finished(handler, level, form)


SWITCHES: dict[str, tuple[str, Callable[[Any], Any], Callable[[Any, Any], object]]] = {
    "gc": ("gc", _read_gc, _put_gc),
    "signals": ("signal", _read_signals, _put_signals),
    "locale": ("locale", lambda m: m.setlocale(m.LC_ALL), lambda m, value: m.setlocale(m.LC_ALL, value)),
    "faulthandler": (
        "faulthandler",
        lambda m: m.is_enabled(),
        lambda m, value: m.enable() if value else m.disable(),
    ),
    "switch interval": (
        "sys",
        lambda m: m.getswitchinterval(),
        lambda m, value: m.setswitchinterval(value + 5e-7),  # it rounds down to microseconds
    ),
    "integer digits": (
        "sys",
        lambda m: m.get_int_max_str_digits(),
        lambda m, value: m.set_int_max_str_digits(value),
    ),
    "asyncio policy": ("asyncio", _read_policy, _put_policy),
    "start method": (
        "multiprocessing",
        lambda m: m.get_start_method(allow_none=True),
        lambda m, value: m.set_start_method(value, force=True),
    ),
    "socket timeout": (
        "socket",
        lambda m: m.getdefaulttimeout(),
        lambda m, value: m.setdefaulttimeout(value),
    ),
    "log disable": (
        "logging",
        attrgetter("root.manager.disable"),
        lambda m, value: m.disable(value),
    ),
    "log handlers": ("logging", lambda _: LOGGERS.handlers(), _put_log_handlers),
    "umask": ("os", _read_umask, lambda m, value: m.umask(value)),
    "resource limits": ("resource", _read_limits, _put_limits),
    "numpy errors": ("numpy", lambda m: m.geterr(), lambda m, value: m.seterr(**value)),
    "sklearn options": ("sklearn", lambda m: m.get_config(), lambda m, value: m.set_config(**value)),
    "torch options": ("torch", _read_torch, _put_torch),
    "xarray options": (
        "xarray.core.options",
        lambda m: dict(m.OPTIONS),
        lambda m, value: m.set_options(**value),
    ),
    "matplotlib backend": ("matplotlib", _read_backend, _put_backend),
    "matplotlib letters": (
        "matplotlib.colors",
        _read_letters,
        _put_letters,
    ),
    "matplotlib pictures": ("matplotlib_inline.backend_inline", _read_pictures, _put_pictures),
    "csv field size": ("csv", lambda m: m.field_size_limit(), lambda m, value: m.field_size_limit(value)),
    "tqdm for pandas": ("tqdm", _read_tqdm, _put_tqdm),
    "log level names": (
        "logging",
        lambda m: dict(m._levelToName),  # noqa: SLF001 - no public way to see them all
        _put_level_names,
    ),
    "captured warnings": (
        "logging",
        lambda m: m._warnings_showwarning is not None,  # noqa: SLF001 - no public way
        lambda m, value: m.captureWarnings(value),
    ),
    "numpy buffer": ("numpy", lambda m: m.getbufsize(), lambda m, value: m.setbufsize(value)),
    "first weekday": (
        "calendar",
        lambda m: m.firstweekday(),
        lambda m, value: m.setfirstweekday(value),
    ),
    "shell": ("sys", FRONT_END.read, FRONT_END.put),
}
