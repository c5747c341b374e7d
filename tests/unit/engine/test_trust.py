"""A store that somebody else made runs no code: not when it is listed, not when it is restored."""

from __future__ import annotations

import json
import os
import pickle
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import kitaru_nb
from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.cli.main import main
from kitaru_nb.engine.trust import Standing, Trust, statement_of
from kitaru_nb.errors import CorruptError, UnstorableError, UntrustedError
from kitaru_nb.journal.integrity import checksum
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import Checkpoint, Draft, Group
from kitaru_nb.stacks.keys import CONFIG, Keyring
from tests.unit.engine.kernel import Kernel


class Hostile:
    """A pickle that touches a file when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


LOAD = "%%checkpoint load\nrows = [[1], [2]]\nnumber = 7"
USE = "%%checkpoint use\ntotal = len(rows) + number"


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture
def be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Keyring]:
    """Work as somebody: everybody has a configuration folder of their own."""

    def somebody(name: str) -> Keyring:
        monkeypatch.setenv(CONFIG, str(tmp_path / name))
        return Keyring(tmp_path / name)

    return somebody


def notebook(home: Path, *cells: str) -> Kernel:
    kernel = Kernel(home, settings={"paranoid": False})
    for number, source in enumerate(cells):
        kernel.cell(source, step=f"c{number}")
    kernel.stop()
    return kernel


def hostile(home: Path, canary: Path, be: Callable[[str], Keyring]) -> Kernel:
    """A store of mallory's with payloads wherever a restore acts."""
    be("mallory")
    import numpy as np  # noqa: PLC0415 - only these tests need it

    kernel = Kernel(home, settings={"paranoid": False})
    kernel.live["np"] = np
    kernel.cell("%%checkpoint load\narray = np.arange(5.0)\nnumber = 7", step="c0")
    kernel.cell(
        f"%%checkpoint run\nimport os\ndef pay():\n    os.system('touch {canary}')\nrows = [[1]]", step="c1"
    )
    engine, session = kernel.engine, kernel.session
    payload = Hostile(canary)
    attempt = session.open()
    evil = {name: engine.put({name: payload}, namespace=kernel.live) for name in ("rows", "parts")}
    result = engine.put({"_": payload}, namespace=kernel.live)
    engine.store.flush()
    rows = evil["rows"].artifact.digest
    recipe = {
        "code": f"import os; os.system('touch {canary}')",
        "inputs": {},
        "files": {},
        "cwd": "/",
        "step": "run",
    }
    draft = replace(
        kernel.last.draft,
        parent=kernel.last.seq,
        groups=(
            Group(("rows",), rows, rows),
            Group(("made",), rows, rows, recipe={**recipe, "seconds": 1.0}),
        ),
        process=evil["parts"].artifact.digest,
        result=f"artifact:{result.artifact.digest}",
        imports=("antigravity",),
        conditions={},
    )
    given = [*evil.values(), result]
    engine.journal.commit(
        attempt,
        engine.trust.signed(draft, attempt.execution),
        artifacts=[each.artifact for each in given],
        locations=[place for each in given for place in each.locations],
    )
    kernel.stop()
    return kernel


def change(home: Path, seq: int, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change a record as somebody would who knows the format: its checksum is right again."""
    with closing(sqlite3.connect(home / "journal.db")) as sql:
        sql.row_factory = sqlite3.Row
        row = dict(sql.execute("SELECT * FROM checkpoints WHERE seq = ?", (seq,)).fetchone())
        fields = {**row, "body": json.loads(row["body"])}
        edit(fields)
        fields["body"] = json.dumps(fields["body"], separators=(",", ":"))
        values = [fields[name] for name in row if name != "checksum"]
        sets = ", ".join(f'"{name}" = ?' for name in row)
        sql.execute(
            f"UPDATE checkpoints SET {sets} WHERE seq = ?",
            (*values, checksum("checkpoints", values), seq),
        )
        sql.commit()


def test_what_one_signed_oneself_is_restored(tmp_path: Path, be: Callable[[str], Keyring]) -> None:
    be("ana")
    notebook(tmp_path / "home", LOAD, USE)

    again = Kernel(tmp_path / "home")

    assert again.cell(LOAD, step="c0") == "restored"
    assert again.cell(USE, step="c1") == "restored"
    assert again["total"] == 9


def test_a_step_that_somebody_else_recorded_is_an_error_and_not_run_again(
    tmp_path: Path, be: Callable[[str], Keyring]
) -> None:
    key = be("ana")
    notebook(tmp_path / "home", LOAD)
    be("ben")
    again = Kernel(tmp_path / "home")

    with pytest.raises(UntrustedError) as refused:
        again.cell(LOAD, step="c0")

    assert again.ran == []
    assert key.public in refused.value.message
    assert f"kitaru-nb trust {key.public}" in refused.value.hint
    assert refused.value.kind == "untrusted-key"


def test_a_hostile_store_runs_nothing_on_the_way_back(
    tmp_path: Path, canary: Path, be: Callable[[str], Keyring]
) -> None:
    hostile(tmp_path / "home", canary, be)
    be("ben")
    kernel = Kernel(tmp_path / "home", settings={"paranoid": False})

    with pytest.raises(UntrustedError, match="hold markers"):
        kernel.session.resume()

    assert not canary.exists()
    assert kernel["array"].tolist() == [0, 1, 2, 3, 4]
    assert kernel["number"] == 7
    for name in ("rows", "made", "pay"):
        assert is_marker(kernel[name])
    assert "antigravity" not in __import__("sys").modules


def test_a_name_that_is_kept_back_says_whom_to_trust_and_not_that_it_was_never_stored(
    tmp_path: Path, be: Callable[[str], Keyring]
) -> None:
    key = be("ana")
    notebook(tmp_path / "home", "%%checkpoint load\nrows = [[1], [2]]\nalso = rows[0]")
    be("ben")
    kernel = Kernel(tmp_path / "home", settings={"paranoid": False})
    with pytest.raises(UntrustedError):
        kernel.session.resume()

    with pytest.raises(UnstorableError, match="`rows` is not restored: it was signed with a key") as used:
        len(kernel["rows"])
    with pytest.raises(UnstorableError, match="which is not restored") as read:
        kernel.cell("%%checkpoint use\ntotal = len(rows)", step="c1")

    assert repr(kernel["rows"]) == "<rows: is not restored>"
    way_on = f"kitaru-nb trust {key.public} if you know whose it is, then %resume"
    assert (used.value.hint, read.value.hint) == (way_on, way_on)
    assert repr(pickle.loads(pickle.dumps(kernel["rows"]))) == "<rows: is not restored>"


def test_trust_for_once_puts_it_all_back(tmp_path: Path, be: Callable[[str], Keyring]) -> None:
    be("ana")
    notebook(tmp_path / "home", LOAD, USE)
    be("ben")
    kernel = Kernel(tmp_path / "home", settings={"paranoid": False})

    kernel.session.resume(trust=True)

    assert kernel["rows"] == [[1], [2]]
    kernel.stop()
    with pytest.raises(UntrustedError):
        Kernel(tmp_path / "home", settings={"paranoid": False}).session.resume()


def test_a_cell_may_trust_for_once(tmp_path: Path, be: Callable[[str], Keyring]) -> None:
    be("ana")
    notebook(tmp_path / "home", LOAD)
    be("ben")
    kernel = Kernel(tmp_path / "home", settings={"paranoid": False})

    assert kernel.cell(LOAD.replace("load", "load --trust", 1), step="c0") == "restored"
    assert kernel["rows"] == [[1], [2]]


def test_a_key_is_trusted_for_good(
    tmp_path: Path,
    be: Callable[[str], Keyring],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = be("ana")
    notebook(tmp_path / "home", LOAD)
    be("ben")
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))

    assert main(["trust", key.public]) == 0
    assert "is trusted" in capsys.readouterr().out
    assert Kernel(tmp_path / "home").cell(LOAD, step="c0") == "restored"
    with closing(SqliteJournal(tmp_path / "home" / "journal.db")) as journal:
        assert [e.data for e in journal.events() if e.kind == "trusted"] == [{"key": key.public}]


def test_a_value_by_itself_is_loaded_only_from_whom_one_trusts(
    tmp_path: Path, canary: Path, be: Callable[[str], Keyring], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile(tmp_path / "home", canary, be)
    be("ben")
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    with closing(SqliteJournal(tmp_path / "home" / "journal.db")) as journal:
        held = {digest for step in journal.every_checkpoint() for digest in step.draft.stored}
        pickles = [each.digest for each in journal.artifacts(held).values() if each.codec == "pickle5"]

    assert len(pickles) > 3
    for name in ("rows", "made", *pickles):
        with pytest.raises(UntrustedError) as refused:
            kitaru_nb.load(name)
        assert "kitaru-nb trust" in refused.value.hint
    assert kitaru_nb.load("array").tolist() == [0, 1, 2, 3, 4]
    assert not canary.exists()


@pytest.mark.parametrize(
    "verb", [["executions"], ["show"], ["artifacts"], ["show", "--json"], ["artifacts", "--json"]]
)
def test_listing_a_hostile_store_runs_nothing(
    tmp_path: Path,
    canary: Path,
    be: Callable[[str], Keyring],
    monkeypatch: pytest.MonkeyPatch,
    verb: list[str],
) -> None:
    hostile(tmp_path / "home", canary, be)
    be("ben")
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))

    assert main(verb) == 0

    assert not canary.exists()


CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "name": lambda row: row["body"].update(name="other"),
    "source": lambda row: row["body"].update(source="x = 1"),
    "code": lambda row: row["body"].update(code="0" * 64),
    "step": lambda row: row["body"].update(step="cell:other"),
    "groups": lambda row: row["body"]["groups"][0][0].append("extra"),
    "artifact": lambda row: row["body"]["groups"][0].__setitem__(1, "0" * 64),
    "written": lambda row: row["body"]["groups"][0].__setitem__(3, not row["body"]["groups"][0][3]),
    "recipe": lambda row: row["body"]["groups"][0].append({"code": "x"}),
    "deleted": lambda row: row["body"].update(deleted=["print"]),
    "conditions": lambda row: row["body"].update(conditions={"file:/x": "0"}),
    "process": lambda row: row["body"].update(process="0" * 64),
    "result": lambda row: row["body"].update(result="name:number"),
    "files": lambda row: row["body"].update(files=[{"path": "/x", "mode": "w", "digest": None}]),
    "imports": lambda row: row["body"].update(imports=["antigravity"]),
    "outputs": lambda row: row["body"].update(outputs=[{"output_type": "stream", "text": "x"}]),
    "excluded": lambda row: row["body"].update(excluded=["rows"]),
    "key": lambda row: row.update(key="0" * 64),
    "status": lambda row: row.update(status="restored"),
    "duration": lambda row: row.update(duration=1e6),
    "sig": lambda row: row["body"]["signature"].update(sig="0" * 128),
    "signer": lambda row: row["body"]["signature"].update(key="ed25519:" + "0" * 64),
    "parent": lambda row: row.update(parent=None),
    "execution": lambda row: row.update(execution=2),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_record_in_which_anything_was_changed_is_refused_even_with_trust(
    tmp_path: Path, be: Callable[[str], Keyring], what: str
) -> None:
    keys = be("ana")
    home = tmp_path / "home"
    notebook(home, LOAD, USE)
    second = Kernel(home, settings={"paranoid": False}, notebook=tmp_path / "other.ipynb")
    second.cell("%%checkpoint other\nx = [1]")
    second.stop()
    seq = 2
    change(home, seq, CHANGES[what])

    with closing(SqliteJournal(home / "journal.db")) as journal:
        trust = Trust(journal, keys)
        checkpoint = journal.checkpoint(seq)

        with trust.accepting():
            assert trust.standing(checkpoint) is Standing.FORGED
            with pytest.raises(UntrustedError, match="not the one that was signed"):
                trust.require([checkpoint])


def test_an_artifact_that_only_says_it_is_harmless_is_not_loaded(
    tmp_path: Path, be: Callable[[str], Keyring], canary: Path
) -> None:
    """What loads a value is told by its manifest; the column beside it is nobody's word."""
    hostile(tmp_path / "home", canary, be)
    be("ben")
    with closing(sqlite3.connect(tmp_path / "home" / "journal.db")) as sql:
        for digest, _, size, manifest, _ in sql.execute("SELECT * FROM artifacts").fetchall():
            row = (digest, "scalar", size, manifest)
            sql.execute(
                "UPDATE artifacts SET codec = 'scalar', checksum = ? WHERE digest = ?",
                (checksum("artifacts", row), digest),
            )
        sql.commit()
    kernel = Kernel(tmp_path / "home", settings={"paranoid": False})

    with pytest.raises(UntrustedError):
        kernel.session.resume()

    assert not canary.exists()


def test_a_commit_does_not_vouch_for_values_that_were_never_trusted(
    tmp_path: Path, canary: Path, be: Callable[[str], Keyring]
) -> None:
    hostile(tmp_path / "home", canary, be)
    be("ben")
    kernel = Kernel(tmp_path / "home", settings={"paranoid": False})
    with closing(kernel.engine.journal):
        foreign: Checkpoint = kernel.engine.journal.checkpoint(3)

        with pytest.raises(UntrustedError, match="not trusted here"):
            kernel.engine.trust.signed(foreign.draft, foreign.execution)


def test_after_an_untrusted_resume_the_next_commit_holds_only_what_is_here(
    tmp_path: Path, canary: Path, be: Callable[[str], Keyring]
) -> None:
    hostile(tmp_path / "home", canary, be)
    be("ben")
    kernel = Kernel(tmp_path / "home", settings={"paranoid": False})
    with pytest.raises(UntrustedError):
        kernel.session.resume()

    kernel.cell("%%checkpoint mine\nsum_ = array.sum()", step="c9")

    stored = kernel.last.draft.stored
    assert kernel.engine.trust.standing(kernel.last) is Standing.TRUSTED
    assert not stored & kernel.engine.journal.checkpoint(3).draft.stored
    assert not canary.exists()


def test_unsigned_records_are_refused_until_their_user_takes_them_for_their_own(
    tmp_path: Path, be: Callable[[str], Keyring], monkeypatch: pytest.MonkeyPatch
) -> None:
    be("ana")
    home = tmp_path / "home"
    notebook(home, LOAD)
    change(home, 1, lambda row: row["body"].pop("signature"))
    monkeypatch.setenv("KITARU_NB_HOME", str(home))
    kernel = Kernel(home)
    with pytest.raises(UntrustedError) as refused:
        kernel.cell(LOAD, step="c0")
    assert "kitaru-nb trust unsigned" in refused.value.hint
    kernel.stop()

    assert main(["trust", "unsigned"]) == 0

    kernel = Kernel(home)
    assert kernel.cell(LOAD, step="c0") == "restored"
    kernel.stop()
    change(home, 1, lambda row: row["body"].update(excluded=["x"]))
    with closing(SqliteJournal(home / "journal.db")) as journal, pytest.raises(UntrustedError):
        Trust(journal, Keyring(tmp_path / "ana")).require([journal.checkpoint(1)])


def test_a_statement_does_not_change_when_a_field_at_its_default_is_added() -> None:
    """Adding a field to a record must not make what older releases signed look forged."""
    told = statement_of(a_draft(), "ex_1", None)  # type: ignore[arg-type] # an id

    assert b"recipe" not in told
    assert b"signature" not in told
    assert b"unmet" not in told


def a_draft() -> Draft:
    from datetime import UTC, datetime  # noqa: PLC0415 - only here

    from kitaru_nb.model.checkpoint import CheckpointKey, CheckpointStatus  # noqa: PLC0415 - as above

    return Draft(
        name="fit",
        key=CheckpointKey("k"),
        code=Digest("c"),
        source="x = 1",
        status=CheckpointStatus.COMPLETED,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        duration=1.0,
        groups=(Group(("x",), Digest("a"), Digest("v")),),
    )


def test_a_value_that_does_not_hold_the_name_on_record_is_an_error_about_that_name(
    tmp_path: Path, be: Callable[[str], Keyring]
) -> None:
    """Numbers come back whoever recorded them, so a record may say anything about them."""
    be("mallory")
    kernel = Kernel(tmp_path / "home", settings={"paranoid": False})
    kernel.cell(LOAD, step="c0")
    attempt = kernel.session.open()
    stored = kernel.engine.put({"other": 1}, namespace=kernel.live)
    digest = stored.artifact.digest
    draft = replace(kernel.last.draft, parent=kernel.last.seq, groups=(Group(("number",), digest, digest),))
    draft = kernel.engine.trust.signed(draft, attempt.execution)
    kernel.engine.journal.commit(
        attempt, draft, artifacts=[stored.artifact], locations=list(stored.locations)
    )
    kernel.stop()
    be("ben")

    with pytest.raises(CorruptError, match="`number` could not be restored"):
        Kernel(tmp_path / "home", settings={"paranoid": False}).session.resume()
