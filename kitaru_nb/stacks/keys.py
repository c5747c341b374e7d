"""Keys: the user's own, the ones they trust, and the one that a team shares.

All of it is in the user's configuration folder, never in a store: whoever is handed a store
must not be handed the right to be believed with it. Signatures are Ed25519; a keyed hash beside each
tells its maker, and nobody else, the same in a fraction of the time.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from kitaru_nb.errors import NotFoundError, StoreError, UsageError
from kitaru_nb.model.bound import ProcessBound
from kitaru_nb.model.private import changing, make_durable, write_private

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["CONFIG", "Keyring", "NoKeys", "config_folder", "read_key"]

CONFIG = "KITARU_NB_CONFIG"
"""Names the environment variable that moves the configuration folder."""

_PREFIX = "ed25519:"
_KEY = re.compile(r"(?:ed25519:)?([0-9a-f]{64})\b")
_SEED_BYTES = 32
_LEAST_SECRET = 16  # characters of a shared secret; shorter ones can be guessed
_TEAM = b"kitaru_nb signing key 1\n"
_TRUSTED, _OWNED = "trusted-keys", "adopted-records"
_SEAL = b"kitaru_nb seal 1\n"
_SEAL_BYTES = 16


def config_folder() -> Path:
    """Where the user's keys are."""
    given = os.environ.get(CONFIG)
    return Path(given).absolute() if given else platformdirs.user_config_path("kitaru-nb", appauthor=False)


def read_key(text: str) -> str:
    """The public key that `text` is, or that the file of that name holds.

    Raises:
        UsageError: kind ``bad-key``.
    """
    found = _KEY.fullmatch(text.strip().lower())
    if found is None:
        with contextlib.suppress(OSError, UnicodeDecodeError, ValueError):
            found = _KEY.search(Path(text).read_text(encoding="utf-8")[:10_000])
    if found is None:
        raise UsageError(
            f"`{text}` is not a public key, and no file that holds one",
            kind="bad-key",
            hint="kitaru-nb trust ed25519:… (64 hexadecimal digits, as in the message about it), or a file",
        )
    return _PREFIX + found[1]


class NoKeys:
    """Nobody is trusted and nothing is signed: values whose loading could run code stay unloaded."""

    def sign(self, statement: bytes) -> Mapping[str, str]:
        """Refuse: who trusts nobody vouches for nothing."""
        raise UsageError(
            f"a record of {len(statement)} bytes cannot be signed by a process that only looks",
            kind="read-only",
            hint="kitaru-nb, or a kernel",
        )

    def is_valid(self, signature: Mapping[str, str], statement: bytes) -> bool:
        """Whether `signature` was made over `statement` with the key that it names."""
        return _is_signed(signature, statement)

    def trusts(self, key: str) -> bool:  # noqa: ARG002 - whosever it is
        """No."""
        return False

    def is_own(self, key: str) -> bool:  # noqa: ARG002 - as above
        """No."""
        return False

    def adopted(self, mark: str) -> bool:  # noqa: ARG002 - as above
        """No."""
        return False

    def read_again(self) -> bool:
        """No: nobody comes to be trusted."""
        return False


class Keyring(ProcessBound):
    """The keys that count for one user (see `engine.trust.Keys`).

    Args:
        folder: The configuration folder; made with the key at the first use, 0700 and 0600.
        shared: A secret that a team shares: then its key signs, and is trusted.

    Public keys are written ``ed25519:`` and 64 hexadecimal digits.
    """

    def __init__(self, folder: Path, *, shared: str | None = None) -> None:
        self.folder = folder
        self._shared = shared
        self._stamps = self._stamp()

    # The user's own key

    @property
    def path(self) -> Path:
        """Where the user's own key is."""
        return self.folder / "signing-key"

    def prepare(self) -> None:
        """Make the user's key if there is none, before anything is run that would have to be signed.

        Raises:
            StoreError: kind ``key-unreadable`` or ``key-not-made``.
        """
        _ = self._own_seed if self._shared is None else self._team_seed

    @cached_property
    def _own_seed(self) -> bytes:
        return self._read_seed() or self._make_seed()

    @cached_property
    def _team_seed(self) -> bytes:
        shared = self._shared or ""
        if len(shared) < _LEAST_SECRET:
            raise UsageError(
                f"the stack's `signing_key` has {len(shared)} characters, which can be guessed",
                kind="bad-key",
                hint=f"python -c 'import secrets; print(secrets.token_hex({_SEED_BYTES}))' makes a good one",
            )
        return hashlib.blake2b(_TEAM + shared.encode(), digest_size=_SEED_BYTES).digest()

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        return _private_key(self._own_seed if self._shared is None else self._team_seed)

    @cached_property
    def public(self) -> str:
        """The public key that signs here."""
        return _PREFIX + self._private.public_key().public_bytes_raw().hex()

    def sign(self, statement: bytes) -> Mapping[str, str]:
        """A signature with the key it was made with, and a seal by which this user knows it again."""
        signature = self._private.sign(statement).hex()
        return {"key": self.public, "sig": signature, "seal": self._seal(signature, statement)}

    def is_valid(self, signature: Mapping[str, str], statement: bytes) -> bool:
        """Whether `signature` was made over `statement` with the key that it names.

        That of a key that signs here is known by its seal: to verify an Ed25519 signature takes
        fifty times as long, and is most of what it costs to serve a small result.
        """
        seal, signed = signature.get("seal"), signature.get("sig")
        if isinstance(seal, str) and isinstance(signed, str) and self._signs_here(signature.get("key")):
            known = self._seal(signed, statement)
            if hmac.compare_digest(known.encode(), seal.encode("utf-8", "surrogatepass")):
                return True
        return _is_signed(signature, statement)

    def _signs_here(self, key: str | None) -> bool:
        return key in self._own and key == self.public

    def _seal(self, signature: str, statement: bytes) -> str:
        sealed = hashlib.blake2b(key=self._seal_key, digest_size=_SEAL_BYTES)
        sealed.update(signature.encode("utf-8", "surrogatepass") + b"\n" + statement)
        return sealed.hexdigest()

    @cached_property
    def _seal_key(self) -> bytes:
        seed = self._own_seed if self._shared is None else self._team_seed
        return hashlib.blake2b(_SEAL, key=seed, digest_size=_SEED_BYTES).digest()

    # Whom the user trusts

    def trusts(self, key: str) -> bool:
        """Whether that key is trusted here."""
        return key in self.trusted or self.is_own(key)

    def is_own(self, key: str) -> bool:
        """Whether that key signs here: the user's own, or the one that the stack shares."""
        return key in self._own

    @cached_property
    def _own(self) -> frozenset[str]:
        """The keys that sign here; a home that only is read needs none and makes none."""
        seeds = [self._read_seed()] + ([self._team_seed] if self._shared is not None else [])
        keys = [_private_key(seed).public_key().public_bytes_raw().hex() for seed in seeds if seed]
        return frozenset(_PREFIX + key for key in keys)

    @cached_property
    def trusted(self) -> Mapping[str, str]:
        """The keys of others that are trusted, each with what was noted about it."""
        found = {}
        for line in self._lines(_TRUSTED):
            key, _, note = line.partition(" ")
            if _KEY.fullmatch(key):
                found[key] = note
        return found

    def trust(self, key: str, *, note: str = "") -> bool:
        """Trust a public key from now on. False when it was trusted already."""
        if self.trusts(key):
            return False
        note = " ".join(note.split())
        self._append(_TRUSTED, [f"{key} {note}".rstrip()])
        self.__dict__.pop("trusted", None)
        return True

    # Records from before there were signatures

    def adopted(self, mark: str) -> bool:
        """Whether the user has said that the unsigned record with that mark is their own."""
        return mark in self._adopted

    @cached_property
    def _adopted(self) -> frozenset[str]:
        return frozenset(self._lines(_OWNED))

    def adopt(self, marks: list[str]) -> int:
        """Take unsigned records for the user's own; how many were not before."""
        fresh = [mark for mark in dict.fromkeys(marks) if mark not in self._adopted]
        if fresh:
            self._append(_OWNED, fresh)
            self.__dict__.pop("_adopted", None)
        return len(fresh)

    def read_again(self) -> bool:
        """Take in whom the user has come to trust since, in another process; whether anything was said."""
        before, self._stamps = self._stamps, self._stamp()
        if before == self._stamps:
            return False
        for read in ("trusted", "_adopted"):
            self.__dict__.pop(read, None)
        return True

    def _stamp(self) -> list[tuple[int, int] | None]:
        found: list[tuple[int, int] | None] = []
        for name in (_TRUSTED, _OWNED):
            try:
                seen = os.stat(self.folder / name)  # noqa: PTH116 - asked for each record that is refused
            except OSError:
                found.append(None)
            else:
                found.append((seen.st_mtime_ns, seen.st_size))
        return found

    # Files

    def _lines(self, name: str) -> list[str]:
        try:
            return (self.folder / name).read_text(encoding="utf-8").split("\n")[:-1]
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(self.folder / name, error) from error

    def _append(self, name: str, lines: list[str]) -> None:
        path = self.folder / name
        try:
            with changing(path):
                text = "".join(f"{line}\n" for line in [*self._lines(name), *lines])
                write_private(path, text.encode(), replace=True)
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(
                f"`{path}` could not be written: {error.strerror or error}",
                kind="config-not-writable",
                hint=f"make `{self.folder}` writable, or set {CONFIG} to a folder that is",
            ) from error

    def _read_seed(self) -> bytes | None:
        try:
            text = self.path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(self.path, error) from error
        if re.fullmatch(r"[0-9a-f]{64}", text) is None:
            raise _unreadable(self.path, None)
        return bytes.fromhex(text)

    def _make_seed(self) -> bytes:
        try:
            make_durable(self.folder)
            with contextlib.suppress(FileExistsError):  # of two processes the first one's key counts
                write_private(self.path, f"{secrets.token_hex(_SEED_BYTES)}\n".encode(), replace=False)
        except OSError as error:
            raise StoreError(
                f"no signing key could be made in `{self.folder}`: {error.strerror or error}; what is "
                "recorded without one could not be restored later",
                kind="key-not-made",
                hint=f"make `{self.folder}` writable, or set {CONFIG} to a folder that is",
            ) from error
        made = self._read_seed()
        if made is None:
            raise NotFoundError(f"`{self.path}` was removed", kind="key-unreadable", hint="run it again")
        return made


def _is_signed(signature: Mapping[str, str], statement: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - costs 17 ms, and not every command verifies
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        key = bytes.fromhex(signature["key"].removeprefix(_PREFIX))
        Ed25519PublicKey.from_public_bytes(key).verify(bytes.fromhex(signature["sig"]), statement)
    except (InvalidSignature, ValueError, KeyError, TypeError, AttributeError):
        return False
    return True


def _private_key(seed: bytes) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - as above

    return Ed25519PrivateKey.from_private_bytes(seed)


def _unreadable(path: Path, error: Exception | None) -> StoreError:
    why = getattr(error, "strerror", None) or "it does not hold what was written there"
    return StoreError(
        f"`{path}` cannot be read: {why}; what is on record can be listed, not restored",
        kind="key-unreadable",
        hint=f"put `{path}` back from a backup; if it is lost for good remove it, and `kitaru-nb trust` the "
        "old public key",
    )
