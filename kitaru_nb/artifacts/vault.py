"""The secrets that this process knows of, and text without them.

Known are the values of environment variables that are secrets by their name, and what was met
under a secret's name or in the shape of a key: in a variable, a parameter, a cell's source.
They stay in memory. What is written is a *label*, ``secret:env:OPENAI_API_KEY``, which says
where the value is found again, with a fingerprint that only this user can make.
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from blake3 import blake3

from kitaru_nb.artifacts.secret_rules import (
    LEAST,
    SECRET_WORDS,
    is_secret_list,
    is_secret_name,
    is_secret_under,
    may_have_shape,
    open_from,
    shapes_in,
)
from kitaru_nb.model.private import make_durable, write_private

__all__ = ["VAULT", "Encrypted", "Part", "Ref", "Vault"]

_PREFIX = "secret:"
_SALT = "fingerprint.key"
_SALT_BYTES = 32
_LITERAL = re.compile(
    r"""([A-Za-z_$][\w$.-]{0,99})["']?\]?\s*(?::\s*[\w.\[\] |]{1,40})?(?:==?|:|,)\s*"""
    r"""[rbuf]{0,2}(["'])([^"'\n\\]{12,512})\2"""
)
_ANY_LITERAL = re.compile(r"""["']([^"'\n\\]{12,512})["']""")
_QUERY = re.compile(r"""[?&]([\w.\[\]-]{3,60})=([^\s&#"'<>\\]{12,2048})""")
_BETWEEN = re.compile(r"[,;|\s]+")
_LISTS = (list, tuple, set, frozenset)
_MOST_LISTED = 64  # more are data
_BARE = frozenset(["key", "keys", "token", "tokens"])
_FORMS_OF = 4096  # a longer value is looked for as it is


@dataclass(frozen=True, slots=True)
class Ref:
    """What stands for a secret.

    Attributes:
        label: Where it is found again: ``env:VARIABLE``, ``param:PARAMETER``, ``name:NAME``
            or ``shape:FAMILY``.
        fingerprint: Tells this user whether it is still the same value.
    """

    label: str
    fingerprint: str = ""

    @property
    def text(self) -> str:
        """How it is written where text is expected."""
        return _PREFIX + self.label

    @property
    def name(self) -> str:
        """The variable to set."""
        return self.label.partition(":")[2]


Part = str | Ref
"""A piece of a text: itself, or what stands for the secret that was there."""

Encrypted = list[str]
"""A key that only its shape tells: label, fingerprint, and its bytes as only this user can read them."""


class Vault:
    """See the module. One per process, `VAULT`; a test may make its own.

    Args:
        salt: Where the key of the fingerprints is kept; the user's configuration folder if None.
    """

    def __init__(self, salt: Path | None = None) -> None:
        self._environment: dict[str, str] = {}  # value: variable
        self._seen: Any = None
        self._met: dict[str, str] = {}  # value: label
        self._named: dict[str, str] = {}  # name: value
        self._given: dict[str, str] = {}  # parameter: value
        self._kept: dict[str, str] = {}  # variable: value
        self._spelled: dict[str, None] = {}  # literals of the notebook
        self._salt_path = salt
        self._salt: bytes | None = None
        self._forms: tuple[int, list[tuple[str, str]]] = (-1, [])
        self._changes = 0
        self._lock = threading.RLock()
        self._unread: dict[str, None] = {}
        self._unread_keys: Callable[[], Iterable[object]] | None = None

    def forget(self) -> None:
        """Know nothing but the environment, as a new process does."""
        with self._lock:
            for known in (self._met, self._named, self._given, self._kept, self._spelled, self._unread):
                known.clear()
            self._unread_keys = None
            self._changes += 1

    # What is known

    @property
    def changes(self) -> int:
        """Counts up when another secret gets known."""
        self._look_at_environment()
        return self._changes

    @property
    def environment(self) -> dict[str, str]:
        """Values of environment variables that are secrets, with the variable's name."""
        self._look_at_environment()
        return self._environment

    def values(self) -> list[str]:
        """All known values."""
        return [*self.environment, *(value for value in self._met if value not in self._environment)]

    def _look_at_environment(self) -> None:
        raw = os.environ._data  # type: ignore[attr-defined]
        if raw == self._seen:
            return
        with self._lock:
            self._seen = dict(raw)
            found: dict[str, str] = {}
            for name in sorted(os.environ):
                value = os.environ.get(name, "")
                if is_secret_under(name, value):
                    found.setdefault(value, name)
            if found != self._environment:
                self._environment = found
                self._changes += 1

    def meet(self, name: str, value: str) -> None:
        """Take note of a secret that goes by `name`."""
        with self._lock:
            self._named[name] = value
            if value not in self._met:
                self._met[value] = f"name:{name}"
                self._changes += 1

    def notice(self, name: str, value: object) -> None:
        """Take note of `value` if it is a secret by `name`, of a list's texts too; it may be anything."""
        if type(value) in _LISTS and isinstance(value, _LISTS):  # another class may run anybody's code
            if len(value) <= _MOST_LISTED and is_secret_list(name):
                for each in tuple(value):
                    if type(each) in (str, bytes):
                        self.notice(name, each)
            return
        text = value.decode("latin-1") if type(value) is bytes else value
        if type(text) is str and self._is_whole(name, text):
            self.meet(name, text)

    def _is_whole(self, name: str, text: str) -> bool:
        """Whether a text is a secret by `name`, and not a known one with a word beside it."""
        if not is_secret_under(name, text):
            return False
        rest = text
        for value in sorted([*self.environment, *self._given.values(), *self._kept.values()], key=len)[::-1]:
            if len(value) >= LEAST:
                rest = rest.replace(value, "")
        return rest == text or not 0 < len(rest) < LEAST

    def meet_as(self, label: str, value: str) -> None:
        """Take note of a secret that is on record as `label`."""
        kind, _, name = label.partition(":")
        if kind == "param":
            self.give(name, value)
            return
        with self._lock:
            if value not in self._met:
                self._met[value] = label
                self._changes += 1
        if kind == "name":
            self._named.setdefault(name, value)

    def give(self, parameter: str, value: str) -> None:
        """Take note of a parameter that is a secret; another value is no other parameter."""
        with self._lock:
            self._given[parameter] = value
            self._met[value] = f"param:{parameter}"
            self._changes += 1

    def keep(self, variable: str, value: str) -> None:
        """Take note of a secret that goes by the name of an environment variable, set or not."""
        self._kept[variable] = value
        if len(value) >= LEAST and self._met.get(value) != f"env:{variable}":
            with self._lock:
                self._met[value] = f"env:{variable}"
                self._changes += 1

    def kept(self, variable: str) -> str | None:
        """What `keep` was given."""
        return self._kept.get(variable)

    def is_secret(self, name: str, value: str) -> bool:
        """Whether the whole of `value` is a secret, standing under `name`."""
        shapes = shapes_in(value)
        whole = len(shapes) == 1 and shapes[0][:2] == (0, len(value))
        return whole or value in self.environment or self._is_whole(name, value)

    def met(self) -> list[tuple[str, str]]:
        """Labels and values of the secrets that are not in the environment."""
        return [(label, value) for value, label in self._met.items() if value not in self.environment]

    def hear(self, source: str) -> None:
        """Take note of the secrets that a cell's source spells out."""
        if not self.may_spell(source):
            return
        for name, value in _literals(source):
            self.meet(name, value)
        for start, end, family in shapes_in(source):
            if source[start:end] not in self._met:
                with self._lock:
                    self._met[source[start:end]] = f"shape:{family}"
                    self._changes += 1

    def may_spell(self, source: str) -> bool:
        """Whether a source may spell out a secret."""
        lower = source.lower()
        return (
            any(map(lower.__contains__, SECRET_WORDS))
            or may_have_shape(source)
            or any(map(source.__contains__, self.environment))
        )

    def read_later(self, notebook: str) -> None:
        """Say which notebook may spell out a secret that is asked for."""
        self._unread.setdefault(notebook)

    # Encrypted

    def encrypted(self, text: str) -> list[Encrypted]:
        """The keys in `text` that only their shape tells, for `know_again`.

        For text of which nobody has a copy but the record. Keys that are found elsewhere are left out.
        """
        known = self.environment
        found: dict[str, Encrypted] = {}
        for start, end, family in shapes_in(text) if may_have_shape(text) else ():
            value = text[start:end]
            label = self._met.get(value, f"shape:{family}")
            if value not in known and label.startswith("shape:"):
                mark = self.fingerprint(value)
                data = value.encode("utf-8", "surrogatepass")
                found[mark] = [label, mark, self._crypted(mark, data).hex()]
        return list(found.values())

    def know_again(self, encrypted: object) -> None:
        """Take note of the keys that this user has encrypted; those of others cannot be read.

        What a record of somebody else has in their place may be anything.
        """
        for each in encrypted if isinstance(encrypted, list) else ():
            match each:
                case [str() as label, str() as mark, str() as data]:
                    value = self._decrypted(mark, data) if self._is_own(Ref(label, mark)) else None
                    if value is not None:
                        self.meet_as(label, value)

    def know_later(self, encrypted: Callable[[], Iterable[object]]) -> None:
        """Say where encrypted keys are that may be asked for; whoever says so last counts."""
        self._unread_keys = encrypted

    def _decrypted(self, mark: str, data: str) -> str | None:
        """What only this user can read; None for what is somebody else's."""
        try:
            value = self._crypted(mark, bytes.fromhex(data)).decode("utf-8", "surrogatepass")
        except ValueError:  # the four letters that name a user may be another one's
            return None
        return value if self.fingerprint(value) == mark else None

    def _crypted(self, mark: str, data: bytes) -> bytes:
        """Encrypts and decrypts: by a stream that only this user can make, another one for each key."""
        stream = blake3(f"encrypted\n{mark}".encode(), key=self._key()).digest(length=len(data))
        return bytes(a ^ b for a, b in zip(data, stream, strict=True))

    # Taking out

    def parts(self, text: str, under: str = "") -> list[Part] | None:
        """`text` in pieces with its secrets taken out; None where there are none.

        Args:
            text: What is about to be written.
            under: The name, key or header that it stands under.
        """
        if len(text) < LEAST:
            return None
        spans = self._spans(text, under)
        if not spans:
            return None
        pieces: list[Part] = []
        at = 0
        for start, end, label in _apart(spans):
            if start > at:
                pieces.append(text[at:start])
            pieces.append(Ref(label, self.fingerprint(text[start:end])))
            at = end
        if at < len(text):
            pieces.append(text[at:])
        return pieces

    def _spans(self, text: str, under: str) -> list[tuple[int, int, str]]:
        known = self.environment
        spans: list[tuple[int, int, str]] = []
        if under and self._is_whole(under, text):
            self.meet(under, text)
            label = f"env:{known[text]}" if text in known else f"name:{under}"
            if label.startswith("name:") and self._met[text].startswith(("param:", "env:")):
                label = self._met[text]
            return [(0, len(text), label)]
        if _is_aws_pair(under, text):
            self.meet("AWS_SECRET_ACCESS_KEY", text)
            return [(0, len(text), "name:AWS_SECRET_ACCESS_KEY")]
        for value, variable in known.items():
            spans += ((at, at + len(value), f"env:{variable}") for at in _places(text, value))
        for value, label in list(self._met.items()):
            if value not in known:
                spans += ((at, at + len(value), label) for at in _places(text, value))
        for start, end, family in shapes_in(text):
            value = text[start:end]
            label = f"env:{known[value]}" if value in known else self._met.get(value, "")
            if not label:
                label = (
                    f"name:{under}"
                    if (start, end) == (0, len(text)) and is_secret_name(under)
                    else f"shape:{family}"
                )
                with self._lock:
                    self._met[value] = label
                    self._changes += 1
                    if label.startswith("name:"):
                        self._named[under] = value
            spans.append((start, end, label))
        return spans

    def blurred(self, text: str, under: str = "") -> tuple[str, bool] | None:
        """What a digest is made of instead of `text`; None where it may be the text itself.

        It depends on the text, its name and the environment, not on what was met before. A key
        that is in the environment, or that stands in a known shape under a secret's name, counts
        by where it is found: another key is no other value. Anything else that may be a secret
        counts by its value, and the second result says that the digest has to be hard to guess.
        """
        if len(text) < LEAST:
            return None
        known = self.environment
        named = under != "" and is_secret_under(under, text)
        shapes = shapes_in(text)
        if named and any((start, end) == (0, len(text)) for start, end, _ in shapes):
            return f"{_PREFIX}name:{under}", False
        anyhow = [(value, f"env:{variable}") for value, variable in known.items()]
        anyhow += [
            (value, f"env:{name}")
            for name, value in self._kept.items()
            if len(value) >= LEAST and value not in known
        ]
        anyhow += [(value, f"param:{name}") for name, value in self._given.items() if value not in known]
        spans = [(at, at + len(value), label) for value, label in anyhow for at in _places(text, value)]
        left = [
            span for span in shapes if not any(span[0] < end and start < span[1] for start, end, _ in spans)
        ]
        whole = any((start, end) == (0, len(text)) for start, end, _ in spans)
        guessable = bool(left) or (named and not whole)
        if not spans:
            return (text, True) if guessable else None
        pieces, at = [], 0
        for start, end, label in _apart(spans):
            pieces += [text[at:start], "\0", _PREFIX, label, "\0"]
            at = end
        return "".join([*pieces, text[at:]]), guessable

    def mask(self, text: str) -> str:
        """`text` with a label in the place of each secret, also where it is escaped, quoted or in base64.

        For what is read by people and never made into a value again.
        """
        if len(text) < LEAST:
            return text
        for form, label in self._known_forms():
            if form in text:
                text = text.replace(form, _PREFIX + label)
        if not may_have_shape(text):
            return text
        return _with_labels(text, [(start, end, f"shape:{family}") for start, end, family in shapes_in(text)])

    def mask_shown(self, text: str) -> str:
        """What was shown as `mask` gives it, and without what it spells out under a secret's name.

        That is how Python shows containers and objects, ``{'api_key': '…'}``, ``Login(password='…')``,
        and what the query of an address has: ``?api_key=…``. Between quotes a name that is nothing but
        the word is left: what is shown is full of keys and tokens.
        """
        text = self.mask(text)
        if len(text) < LEAST or not any(map(text.lower().__contains__, SECRET_WORDS)):
            return text
        found = (match for match in _spelled(text) if match[1].lower() not in _BARE)
        spans = [(*match.span(3), f"name:{match[1]}") for match in found]
        asked = (match for match in _QUERY.finditer(text) if is_secret_under(match[1], match[2]))
        spans += ((*match.span(2), f"name:{match[1]}") for match in asked)
        return _with_labels(text, spans) if spans else text

    def settled(self, text: str) -> int:
        """How much of a text that goes on can be masked: what follows may be the beginning of a secret."""
        forms = self._known_forms()
        cut = min([open_from(text), *(len(text) - _begun(text, form) for form, _ in forms)])
        while True:  # nor is what is all there cut in two
            whole = [(at, at + len(form)) for form, _ in forms for at in _places(text, form)]
            whole += [(start, end) for start, end, _ in shapes_in(text)]
            inside = [start for start, end in whole if start < cut < end]
            if not inside:
                return cut
            cut = min(inside)

    def mask_source(self, source: str) -> str:
        """A cell's source with labels; the same for the same source in every process with that environment.

        A label stands within a string literal, so the source is still Python.
        """
        if not self.may_spell(source):
            return source
        spans = [(start, end, f"shape:{family}") for start, end, family in shapes_in(source)]
        for name, value in _literals(source):
            spans += ((at, at + len(value), f"name:{name}") for at in _places(source, value))
        for value, variable in self.environment.items():
            spans += ((at, at + len(value), f"env:{variable}") for at in _places(source, value))
        return _with_labels(source, spans)

    def mask_json(self, value: Any, under: str = "") -> Any:
        """A JSON value with labels in the place of secrets; the value itself where there are none."""
        if type(value) is str:
            if under and is_secret_under(under, value):
                spans = self._spans(value, under)
                return _PREFIX + spans[0][2]
            return self.mask(value)
        if isinstance(value, dict):
            return {self.mask(name): self.mask_json(item, name) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.mask_json(item, under) for item in value]
        return value

    def _known_forms(self) -> list[tuple[str, str]]:
        """Every known value in each of its spellings, the longest first, with its label."""
        changes = self.changes
        if self._forms[0] != changes:
            known = [
                *((value, f"env:{name}") for value, name in self._environment.items()),
                *self._met.items(),
            ]
            labels: dict[str, str] = {}
            for value, label in known:
                for form in _forms(value):
                    if len(form) >= LEAST:
                        labels.setdefault(form, label)
            self._forms = changes, sorted(labels.items(), key=lambda item: (-len(item[0]), item))
        return self._forms[1]

    # Filling in

    def find(self, ref: Ref, live: Callable[[str], object] = lambda _name: None) -> str | None:
        """The secret that `ref` stands for, as far as this process knows it.

        What an environment variable or a parameter gives may be another value than before: a new
        key. By any other name only the very value counts that was taken out, since two things may
        go by one name; where that cannot be told, for want of this user's fingerprints, the name
        decides.

        Args:
            ref: What was stored.
            live: Gives what a name of the notebook holds.
        """
        kind, _, name = ref.label.partition(":")
        if kind == "env" and (os.environ.get(name) or name in self._kept):
            return os.environ.get(name) or self._kept[name]
        if kind == "param" and name in self._given:
            return self._given[name]
        found = self._by_fingerprint(ref, live)
        if found is None and (kind == "param" or (kind == "name" and not self._is_own(ref))):
            found = self._by_name(name, live)
        return found

    def _by_fingerprint(self, ref: Ref, live: Callable[[str], object]) -> str | None:
        if not ref.fingerprint or not self._is_own(ref):
            return None
        held = live(ref.name)
        known = [
            *self.values(),
            *([held] if type(held) is str else []),
            *filter(None, map(os.environ.get, _variables(ref.name))),
        ]
        while self._unread:
            self._read(self._unread.popitem()[0])
        unread, self._unread_keys = self._unread_keys, None
        for encrypted in unread() if unread is not None else ():
            self.know_again(encrypted)
        for value in (*known, *self._met, *self._spelled, *_within_environment()):
            if self.fingerprint(value) == ref.fingerprint:
                return value
        return None

    def _by_name(self, name: str, live: Callable[[str], object]) -> str | None:
        for variable in _variables(name):
            if value := os.environ.get(variable):
                return value
        held = self._given.get(name) or self._named.get(name) or live(name)
        return held if type(held) is str and held else None

    def _read(self, notebook: str) -> None:
        try:
            cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
            for cell in cells:
                source = cell.get("source", "")
                source = source if isinstance(source, str) else "".join(source)
                self.hear(source)
                self._spelled.update(dict.fromkeys(_ANY_LITERAL.findall(source)))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return

    def fingerprint(self, value: str) -> str:
        """Hexadecimal characters that only this user can make of `value`; the first few name the user."""
        key = self._key()
        made = blake3(value.encode("utf-8", "surrogatepass"), key=key).hexdigest()
        return self._mine(key) + made[:12]

    def _is_own(self, ref: Ref) -> bool:
        return ref.fingerprint.startswith(self._mine(self._key()))

    def _key(self) -> bytes:
        if self._salt is None:
            self._salt = _salt(self._salt_path)
        return self._salt

    @staticmethod
    def _mine(key: bytes) -> str:
        return blake3(b"whose", key=key).hexdigest()[:4]


def _within_environment() -> Iterator[str]:
    """Keys of a known shape in any variable, such as a database's URL, and each of several in one."""
    for name, value in os.environ.items():
        if is_secret_list(name):
            yield from _BETWEEN.split(value)
        for start, end, _ in shapes_in(value):
            yield value[start:end]


def _variables(name: str) -> list[str]:
    """The environment variables that a name may be given by."""
    return list(dict.fromkeys([name, re.sub(r"\W", "_", name).upper()]))


def _salt(path: Path | None) -> bytes:
    """The user's own key; one of this process where it cannot be kept."""
    if path is None:
        import platformdirs  # noqa: PLC0415 - only where there is a secret

        given = os.environ.get("KITARU_NB_CONFIG")
        folder = Path(given) if given else platformdirs.user_config_path("kitaru-nb", appauthor=False)
        path = folder / _SALT
    try:
        if not path.exists():
            make_durable(path.parent)
            with suppress(FileExistsError):  # the first one stays
                write_private(path, os.urandom(_SALT_BYTES), replace=False)
        found = path.read_bytes()
        return found if len(found) == _SALT_BYTES else os.urandom(_SALT_BYTES)
    except OSError:
        return os.urandom(_SALT_BYTES)


def _is_aws_pair(before: str, text: str) -> bool:
    return len(text) == 40 and re.fullmatch(r"A[KS]IA[A-Z0-9]{16}", before) is not None and " " not in text


def _literals(source: str) -> Iterator[tuple[str, str]]:
    """Names and values of the string literals that stand under a secret's name."""
    for match in _spelled(source):
        yield match.group(1), match.group(3)


def _spelled(text: str) -> Iterator[re.Match[str]]:
    """Where a literal stands under a secret's name, of `_LITERAL`: the name, a quote and the value."""
    match = _LITERAL.search(text)
    while match is not None:
        is_one = is_secret_under(match.group(1), match.group(3))
        if is_one:
            yield match
        # What was taken for a value may be the next name: {'user': 'ana', 'client_secret': …}
        match = _LITERAL.search(text, match.end() if is_one else match.end(1))


def _places(text: str, value: str) -> Iterator[int]:
    at = text.find(value)
    while at >= 0:
        yield at
        at = text.find(value, at + len(value))


def _begun(text: str, value: str) -> int:
    """How many characters at the end of `text` `value` begins with, short of all of it."""
    most = min(len(value) - 1, len(text))
    return next((length for length in range(most, 0, -1) if text.endswith(value[:length])), 0)


def _apart(spans: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """`spans` in order, of those that overlap the one that begins first, or is longer."""
    kept: list[tuple[int, int, str]] = []
    for span in sorted(set(spans), key=lambda span: (span[0], -span[1], span[2])):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
        elif span[1] > kept[-1][1]:
            kept[-1] = (kept[-1][0], span[1], kept[-1][2])
    return kept


def _with_labels(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    pieces, at = [], 0
    for start, end, label in _apart(spans):
        pieces += [text[at:start], _PREFIX, label]
        at = end
    return "".join([*pieces, text[at:]]) if pieces else text


def _forms(value: str) -> Iterator[str]:
    """How a value may be spelled in text."""
    yield value
    if len(value) > _FORMS_OF:
        return
    yield json.dumps(value)[1:-1]
    yield repr(value)[1:-1]
    yield json.dumps(json.dumps(value))[3:-3]
    yield quote(value, safe="")
    yield quote_plus(value)
    data = value.encode("utf-8", "surrogatepass")
    yield data.hex()
    for encoded in (base64.b64encode, base64.urlsafe_b64encode):
        for ahead in range(3):
            # What of the base64 is the same whatever stands before and after.
            text = encoded(b"\0" * ahead + data).decode().rstrip("=")
            first = (ahead * 8 + 5) // 6
            last = (ahead + len(data)) * 8 // 6
            yield text[first:last]


VAULT = Vault()
"""This process's."""
