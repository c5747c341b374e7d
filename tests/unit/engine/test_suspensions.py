"""A stop on record counts as one's own only while it is what one's own key signed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.suspensions import is_own_stop, is_trusted_stop, signed_stop
from kitaru_nb.model.execution import Attempt, Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.keys import Keyring, NoKeys
from kitaru_nb.stacks.open import open_engine

STOP = {"wait": "ex_a/publish", "kind": "wait", "message": "waits", "scope": "cell:a"}


@pytest.fixture
def engine() -> Iterator[Engine]:
    with closing(open_engine(Settings(home=Path(os.environ["KITARU_NB_HOME"])))) as opened:
        yield opened


@pytest.fixture
def attempt(engine: Engine) -> Attempt:
    return engine.journal.start(Identity(notebook="/n.ipynb", output="/o.ipynb"), owner=current_owner())[0]


def signed(engine: Engine, attempt: Attempt, keys: Keyring) -> dict[str, Any]:
    return signed_stop(STOP, engine.journal.execution(attempt.execution), attempt.epoch, keys)


def standing(engine: Engine, attempt: Attempt, keys: Keyring) -> tuple[bool, bool]:
    found = engine.journal.execution(attempt.execution)
    return is_own_stop(engine.journal, found, keys), is_trusted_stop(engine.journal, found, keys)


def test_what_one_has_signed_is_ones_own(engine: Engine, attempt: Attempt, tmp_path: Path) -> None:
    keys = Keyring(tmp_path / "me")
    engine.journal.note_suspended(attempt, signed(engine, attempt, keys))

    assert standing(engine, attempt, keys) == (True, True)
    found = engine.journal.execution(attempt.execution)
    assert not is_own_stop(engine.journal, found, NoKeys()), "who trusts nobody"


def test_what_a_trusted_colleague_has_signed_is_not_ones_own(
    engine: Engine, attempt: Attempt, tmp_path: Path
) -> None:
    keys, colleague = Keyring(tmp_path / "me"), Keyring(tmp_path / "colleague")
    engine.journal.note_suspended(attempt, signed(engine, attempt, colleague))
    assert standing(engine, attempt, keys) == (False, False)

    keys.trust(colleague.public)

    assert standing(engine, attempt, keys) == (False, True)


def test_the_key_of_the_stack_is_ones_own(engine: Engine, attempt: Attempt, tmp_path: Path) -> None:
    here, there = (Keyring(tmp_path / name, shared="a secret of the team") for name in ("here", "there"))
    engine.journal.note_suspended(attempt, signed(engine, attempt, there))

    assert standing(engine, attempt, here) == (True, True)
    assert standing(engine, attempt, Keyring(tmp_path / "here")) == (False, False)


@pytest.mark.parametrize(
    "changed",
    [
        {"wait": "ex_a/other"},
        {"scope": "cell:b"},
        {"more": 1},
        {"signature": {}},
        {"signature": None},
        {"signature": {"key": "ed25519:00", "sig": "00"}},
    ],
)
def test_what_was_changed_is_nobodys(
    engine: Engine, attempt: Attempt, tmp_path: Path, changed: dict[str, object]
) -> None:
    keys = Keyring(tmp_path / "me")
    engine.journal.note_suspended(attempt, signed(engine, attempt, keys) | changed)

    assert standing(engine, attempt, keys) == (False, False)


def test_a_signature_does_not_move_to_another_run(engine: Engine, attempt: Attempt, tmp_path: Path) -> None:
    keys = Keyring(tmp_path / "me")
    other, _ = engine.journal.start(Identity(notebook="/other.ipynb", output="/o"), owner=current_owner())
    engine.journal.note_suspended(other, signed(engine, attempt, keys))
    run = engine.journal.execution(attempt.execution)
    elsewhere = replace(run, identity=replace(run.identity, notebook="/elsewhere.ipynb"))

    assert standing(engine, other, keys) == (False, False)
    engine.journal.note_suspended(attempt, signed(engine, attempt, keys))
    assert is_own_stop(engine.journal, run, keys)
    assert not is_own_stop(engine.journal, elsewhere, keys), "nor to another notebook"


def test_where_nothing_has_stopped_there_is_nothing_to_trust(
    engine: Engine, attempt: Attempt, tmp_path: Path
) -> None:
    assert standing(engine, attempt, Keyring(tmp_path / "me")) == (False, False)
