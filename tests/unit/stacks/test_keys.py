"""A signature is known again by its seal only to whoever made it, and only for what it was made over."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kitaru_nb.stacks import keys
from kitaru_nb.stacks.keys import Keyring, NoKeys

STATEMENT = b"a record"


@pytest.fixture
def _no_ed25519(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no signature be verified the long way."""
    monkeypatch.setattr(keys, "_is_signed", lambda signature, statement: False)


@pytest.mark.usefixtures("_no_ed25519")
@pytest.mark.parametrize("shared", [None, "a secret that a whole team shares"])
def test_ones_own_signature_is_known_by_its_seal(tmp_path: Path, shared: str | None) -> None:
    signature = Keyring(tmp_path, shared=shared).sign(STATEMENT)

    assert Keyring(tmp_path, shared=shared).is_valid(signature, STATEMENT)


@pytest.mark.usefixtures("_no_ed25519")
@pytest.mark.parametrize(
    ("changed", "statement"),
    [
        ({}, b"another record"),
        ({"sig": "00" * 64}, STATEMENT),
        ({"sig": "\ud800"}, STATEMENT),
        ({"seal": "00" * 16}, STATEMENT),
        ({"seal": "\xe9"}, STATEMENT),
        ({"seal": ""}, STATEMENT),
        ({"seal": None}, STATEMENT),
        ({"key": "ed25519:" + "0" * 64}, STATEMENT),
    ],
)
def test_a_seal_says_nothing_of_what_it_was_not_made_over(
    tmp_path: Path, changed: dict[str, str], statement: bytes
) -> None:
    signature = {**Keyring(tmp_path).sign(STATEMENT), **changed}

    assert not Keyring(tmp_path).is_valid(signature, statement)


@pytest.mark.usefixtures("_no_ed25519")
def test_a_seal_of_somebody_else_is_nothing_to_go_by(tmp_path: Path) -> None:
    ana, ben = Keyring(tmp_path / "ana"), Keyring(tmp_path / "ben")
    ben.prepare()
    forged = {**ana.sign(STATEMENT), "key": ben.public}

    assert not ben.is_valid(forged, STATEMENT)
    assert not NoKeys().is_valid(ana.sign(STATEMENT), STATEMENT)


def test_a_signature_without_a_seal_or_with_a_wrong_one_is_verified_as_ever(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path)
    signature = keyring.sign(STATEMENT)

    bare = {name: text for name, text in signature.items() if name != "seal"}

    assert keyring.is_valid(bare, STATEMENT)
    assert keyring.is_valid({**signature, "seal": "00" * 16}, STATEMENT)
    assert NoKeys().is_valid(signature, STATEMENT)
    assert not keyring.is_valid(bare, b"another record")


def test_verifying_makes_no_key_where_there_is_none(tmp_path: Path) -> None:
    signature = Keyring(tmp_path / "ana").sign(STATEMENT)

    assert Keyring(tmp_path / "nobody").is_valid(signature, STATEMENT)
    assert not (tmp_path / "nobody").exists()


def test_keys_that_are_trusted_at_once_are_all_trusted(tmp_path: Path) -> None:
    keys = [f"ed25519:{number:064x}" for number in range(8)]
    rings = [Keyring(tmp_path) for _ in keys]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(Keyring.trust, rings, keys))

    assert set(Keyring(tmp_path).trusted) == set(keys)
