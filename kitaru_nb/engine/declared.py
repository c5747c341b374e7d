"""What a cell says that it depends on: files, folders, patterns and addresses after ``--depends``."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from blake3 import blake3

from kitaru_nb.engine.named import WILD
from kitaru_nb.engine.observe import file_digest, state_of, unheard
from kitaru_nb.errors import UsageError
from kitaru_nb.model.artifact import Digest

__all__ = ["NOTHING", "Declared", "declared", "looked_up"]

_ADDRESS = re.compile(r"(?i)https?://")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_PARTS = re.compile(r"(?i)(https?://)(?:[^/?#]*@)?([^?#]*)")
_PATIENCE = 30.0  # seconds for an address to begin to answer
_LARGE = 256 << 20  # bytes: more is known by length and time, as with files
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Declared:
    """What ``--depends`` names.

    Attributes:
        files: The files, as they are written, with their digests.
        roots: The folders and patterns of files, as they are written, with their absolute paths.
        addresses: The addresses by what they are called on record, where no password and no query stands.
    """

    files: Mapping[str, Digest]
    roots: Mapping[str, str]
    addresses: Mapping[str, str]

    @property
    def key(self) -> dict[str, Digest]:
        """What of it is part of the key: files with their content, and that there are the others.

        What folders, patterns and addresses hold is a condition: a step may write into its folder.
        """
        there = Digest("")
        found = {f"file:{path}": digest for path, digest in self.files.items()}
        return found | {f"depends:{name}": there for name in (*self.roots, *self.addresses)}

    @property
    def states(self) -> dict[str, str]:
        """The files by their absolute paths, as they stand."""
        return {path: state_of(path) for path in map(_absolute, self.files)}


NOTHING = Declared({}, {}, {})


def declared(depends: Iterable[str]) -> Declared:
    """What the words after ``--depends`` name. Addresses are not looked at.

    Raises:
        UsageError: kind ``unknown-file``: a file that cannot be read, or no folder; ``bad-option``:
            an address of another kind.
    """
    files: dict[str, Digest] = {}
    roots: dict[str, str] = {}
    addresses: dict[str, str] = {}
    for word in depends:
        path = _absolute(word)
        if _ADDRESS.match(word):
            addresses[_called(word, addresses)] = word
        elif _SCHEME.match(word):
            message = f"`--depends {word}` cannot be looked at: it is neither a file nor a web address"
            raise UsageError(message, kind="bad-option", hint="--depends https://example.com/rows.csv")
        elif (digest := file_digest(path)) is not None:
            files[word] = Digest(digest)
        elif os.path.isdir(_base(path)):  # noqa: PTH112 - paths are plain strings here
            roots[word] = path
        else:
            message = f"`--depends {word}` names no file that can be read"
            hint = "give the path of a file or folder that exists, or a pattern such as data/*.csv"
            raise UsageError(message, kind="unknown-file", hint=hint)
    return Declared(files, roots, addresses)


def looked_up(addresses: Mapping[str, str]) -> dict[str, str]:
    """What tells the present content of each address from another: its ETag, else a digest.

    Raises:
        UsageError: kind ``unreadable-address``.
    """
    if not addresses:
        return {}
    with unheard():
        return {name: _content(address, name) for name, address in addresses.items()}


def _absolute(word: str) -> str:
    return os.path.abspath(os.path.expanduser(word))  # noqa: PTH111 - as above


def _base(path: str) -> str:
    """The folder itself, or the one that a pattern begins with."""
    plain = WILD.split(path)
    return path if len(plain) == 1 else os.path.dirname(plain[0])  # noqa: PTH120 - as above


def _called(address: str, taken: Mapping[str, str]) -> str:
    """An address without what may be secret in it; the query too, which counts by what it gives."""
    parts = _PARTS.match(address)
    assert parts is not None
    name, number = parts[1] + parts[2], 1
    while (called := name if number == 1 else f"{name}#{number}") in taken:
        number += 1
    return called


def _content(address: str, name: str) -> str:
    import http.client  # noqa: PLC0415 - few cells depend on an address
    import urllib.error  # noqa: PLC0415 - as above
    import urllib.request  # noqa: PLC0415 - as above

    try:
        with urllib.request.urlopen(_request(address), timeout=_PATIENCE) as answer:  # noqa: S310 - http(s) only, see `declared`
            return _state(answer)
    except urllib.error.HTTPError as error:
        error.close()
        told = str(error)
    except urllib.error.URLError as error:
        told = str(error.reason)
    except (http.client.InvalidURL, ValueError):  # their words quote what may be secret in it
        told = "it is not a valid address"
    except (OSError, http.client.HTTPException) as error:
        told = str(error)
    message = f"`--depends {name}` cannot be looked at, so whether it changed is not known: {told}"
    hint = "see that the address answers, then run the cell again; or leave that --depends out"
    raise UsageError(message, kind="unreadable-address", hint=hint)


def _request(address: str) -> Any:
    """With user and password where they belong: urllib takes them for a part of the host."""
    from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit  # noqa: PLC0415 - as above
    from urllib.request import Request  # noqa: PLC0415 - as above

    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    plain = urlunsplit(parts._replace(netloc=host))
    request = Request(plain, headers={"User-Agent": "kitaru-nb"})  # noqa: S310 - as above
    if at:
        told = base64.b64encode(unquote_to_bytes(user)).decode()
        request.add_unredirected_header("Authorization", f"Basic {told}")
    return request


def _state(answer: Any) -> str:
    """Told by the server where it says so, else by the content."""
    tag, when = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
    if tag and not tag.startswith("W/"):
        return f"etag:{blake3(tag.encode()).hexdigest()}"
    read, found = 0, blake3()
    for piece in iter(partial(answer.read, _PIECE), b""):
        found.update(piece)
        read += len(piece)
        if read > _LARGE and when:
            length = answer.headers.get("Content-Length", "")
            return f"stat:{blake3(f'{length} {when}'.encode()).hexdigest()}"
    return found.hexdigest()
