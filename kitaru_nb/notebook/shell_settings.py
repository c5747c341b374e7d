"""What cells have set of the shell itself: its traits, extensions and aliases.

That is what `%config`, `%precision`, `%xmode`, `%load_ext`, `%autoreload`, `%alias` do and what an
assignment such as ``get_ipython().ast_node_interactivity = "all"`` does.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from IPython.core.alias import Alias

__all__ = ["ShellSettings"]

_UNSET = object()
_ATOMS = (type(None), bool, int, float, str, bytes)
_MUTABLE = (list, set, dict)
_CONTAINERS = (*_MUTABLE, tuple)
_CALLBACKS = frozenset({"ast_transformers", "type_printers", "deferred_printers", "singleton_printers"})
_APART = frozenset({"HistoryManager"})  # what it keeps, and where, is this machine's
_OWN = "kitaru_nb"
_EXTENSIONS, _ALIASES, _RELOADING, _TRACEBACKS = "extensions", "aliases", "autoreload", "tracebacks"
_TOLD = frozenset({_EXTENSIONS, _ALIASES, _RELOADING, _TRACEBACKS})  # those that are no traits


class ShellSettings:
    """The settings of `shell`, told as what differs from how they were when the object was made.

    A look costs about 50 microseconds, so it is only made where cells speak of the shell
    (`engine.switches.RARE`).
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._begins: dict[str, dict[str, Any]] = {}
        self._extensions = set(shell.extension_manager.loaded)
        self._aliases = self._all_aliases()
        self._tracebacks = shell.InteractiveTB.mode
        self._seen: object = None
        self._changed: dict[str, Any] = {}
        for place, configurable in self._configurables():
            self._begins[place] = _values(configurable)

    def changed(self) -> dict[str, Any]:
        """Each setting that cells have made, by a name that finds it in another shell."""
        seen = self._look()
        if seen != self._seen:
            self._changed, self._seen = self._read(), seen
        return self._changed

    def _look(self) -> list[Any]:
        """All that `_read` reads, at a tenth of its price."""
        shell, manager = self._shell, self._shell.magics_manager
        held = [shell, *shell.configurables, *shell.display_formatter.formatters.values()]
        found: list[Any] = [_held(each) for each in held]
        found += [held, set(shell.extension_manager.loaded), shell.InteractiveTB.mode, self._reloading()]
        found.append([each for each in manager.magics["line"].values() if type(each) is Alias])
        return found

    def _read(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for place, configurable in self._configurables():
            begins = self._begins.get(place, {})
            for name, value in _values(configurable).items():
                if name in begins:
                    if begins[name] != value:
                        found[f"{place}.{name}"] = value
                elif not _is_default(configurable, name, value):
                    found[f"{place}.{name}"] = value
        loaded = self._shell.extension_manager.loaded - self._extensions - {_OWN}
        aliases = {
            name: said for name, said in self._all_aliases().items() if self._aliases.get(name) != said
        }
        mode = self._shell.InteractiveTB.mode
        told = {
            _EXTENSIONS: sorted(loaded),
            _ALIASES: aliases,
            _RELOADING: self._reloading(),
            _TRACEBACKS: None if mode == self._tracebacks else mode,
        }
        return found | {what: value for what, value in told.items() if value}

    def put(self, wanted: Mapping[str, Any]) -> None:
        """Have these settings, and all others as they were found.

        Raises:
            ValueError: some cannot be made; the message names them.
        """
        failed = []
        for extension in wanted.get(_EXTENSIONS, ()):
            try:
                self._shell.extension_manager.load_extension(extension)
            except Exception as error:  # noqa: BLE001 - it is somebody else's code
                failed.append(f"extension `{extension}`: {error}")
        now = self.changed()
        self._put_aliases({**wanted.get(_ALIASES, {})}, now.get(_ALIASES, {}))
        if wanted.get(_RELOADING) != now.get(_RELOADING) and self._reloader() is not None:
            self._shell.run_line_magic("autoreload", wanted.get(_RELOADING, "0"))
        self._shell.InteractiveTB.set_mode(wanted.get(_TRACEBACKS, self._tracebacks))
        for setting in (wanted.keys() | now.keys()) - _TOLD:
            if setting in wanted and setting in now and wanted[setting] == now[setting]:
                continue
            try:
                self._set(setting, wanted.get(setting, _UNSET))
            except Exception as error:  # noqa: BLE001 - a class of a library, or what observes it, may raise anything
                failed.append(f"{setting.partition(':')[2]}: {error}")
        if failed:
            raise ValueError("; ".join(failed))

    def _put_aliases(self, wanted: Mapping[str, str], now: Mapping[str, str]) -> None:
        manager = self._shell.alias_manager
        for name in now.keys() - wanted.keys():
            manager.undefine_alias(name)
        for name, said in {
            **{name: self._aliases[name] for name in now.keys() & self._aliases},
            **wanted,
        }.items():
            manager.define_alias(name, said)

    def _set(self, setting: str, value: Any) -> None:
        place, _, name = setting.rpartition(".")
        configurable = dict(self._configurables()).get(place) or self._made(place)
        if value is _UNSET:
            begins = self._begins.get(place, {})
            value = begins[name] if name in begins else configurable.trait_defaults(name)
        setattr(configurable, name, value)

    def _made(self, place: str) -> Any:
        """A configurable that this shell does not have yet, such as that of inline figures."""
        module, _, name = place.partition(":")
        made = getattr(importlib.import_module(module), name).instance(parent=self._shell)
        made.shell = self._shell
        self._shell.configurables.append(made)
        return made

    def _configurables(self) -> Iterator[tuple[str, Any]]:
        for each in self._shell.configurables:
            kind = type(each)
            if kind.__name__ not in _APART:
                # What kind of shell it is differs between a terminal and a notebook.
                yield "shell:shell" if each is self._shell else f"{kind.__module__}:{kind.__name__}", each
        for kind, formatter in self._shell.display_formatter.formatters.items():
            yield f"formatter:{kind}", formatter

    def _all_aliases(self) -> dict[str, str]:
        return dict(self._shell.alias_manager.aliases)

    def _reloader(self) -> Any:
        return getattr(self._shell.magics_manager.registry.get("AutoreloadMagics"), "_reloader", None)

    def _reloading(self) -> str | None:
        """The mode of `%autoreload`, None where it is off."""
        reloader = self._reloader()
        if reloader is None or not reloader.enabled:
            return None
        if not reloader.check_all:
            return "1"
        return "3" if getattr(reloader, "autoload_obj", False) else "2"


def _held(configurable: Any) -> list[Any]:
    """What its settings hold; one that nobody has asked for yet holds nothing."""
    kind = type(configurable)
    names = _known.get(kind)
    if names is None:
        names = _known[kind] = [
            name for name in kind.class_trait_names(config=True) if name not in _CALLBACKS
        ]
    found = map(configurable._trait_values.get, names)  # noqa: SLF001 - asked for by name each would be made
    return [each.copy() if type(each) in _MUTABLE else each for each in found]


_known: dict[type, list[str]] = {}


def _values(configurable: Any) -> dict[str, Any]:
    """The settings that are plain, as they are now."""
    held = _held(configurable)
    named = zip(_known[type(configurable)], held, strict=True)
    there = configurable._trait_values  # noqa: SLF001
    return {name: value for name, value in named if name in there and _is_plain(value)}


def _is_plain(value: object) -> bool:
    if type(value) not in _CONTAINERS:
        return isinstance(value, _ATOMS)
    items: Any = value
    return all(map(_is_plain, items.values() if type(value) is dict else items))


def _is_default(configurable: Any, name: str, value: object) -> bool:
    try:
        return bool(configurable.trait_defaults(name) == value)
    except Exception:  # noqa: BLE001 - whatever makes it: then it counts as set
        return False
