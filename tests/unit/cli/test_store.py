"""`store info`, `store verify` and `store migrate` on a store of an earlier format."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import kitaru_nb
from kitaru_nb.cli.main import main
from kitaru_nb.journal.connection import open_to_write
from kitaru_nb.journal.schema import check_format, newest_format
from kitaru_nb.stacks import migrate as stacks_migrate
from kitaru_nb.stacks.doctor import journal_format
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from tests.unit.engine.kernel import Kernel

GOLDEN = Path(__file__).parents[2] / "golden" / "format-1"
KNOWN = json.loads((GOLDEN / "expected.json").read_text())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(GOLDEN, tmp_path / "home")
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def pack_of(home: Path) -> Path:
    (found,) = (home / "store" / "packs").rglob("*.pack")
    return found


def test_info_counts_what_is_shared_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = typed(capsys, "store", "info")

    assert found["pack_bytes"] == pack_of(home).stat().st_size
    assert found["bytes"] == found["journal_bytes"] + found["pack_bytes"]
    assert found["dedup_ratio"] > 1.8
    sizes = {Path(each["notebook"]).stem: each["bytes"] for each in found["notebooks"]}
    assert sizes.keys() == {"whole", "broken"}
    assert sum(sizes.values()) > found["value_bytes"] > max(sizes.values())
    assert {each["id"]: each["status"] for each in found["executions"]} == dict(KNOWN.values())
    assert all(each["own_bytes"] < 3000 for each in found["executions"]), "they share nearly all"
    assert found["names"][0]["names"] == ["numbers", "view"]
    assert found["unreferenced"] == 0


def test_info_tells_what_nothing_needs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stray = home / "store" / "packs" / "aa" / ("a" * 32 + ".pack")
    stray.parent.mkdir()
    stray.write_bytes(b"\0" * 5000)

    _, found = typed(capsys, "store", "info")

    assert found["unreferenced"] == 5000
    assert main(["store", "info"]) == 0
    assert "5.0 kB of it needed by nothing" in capsys.readouterr().out


def test_verify_passes_a_whole_store(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = typed(capsys, "store", "verify")

    assert (code, found["ok"], found["damage"]) == (0, True, [])
    assert (found["checkpoints"], found["packs"], found["tails"]) == (15, 1, 0)
    assert found["bytes"] > pack_of(home).stat().st_size


def flipped(home: Path) -> None:
    data = bytearray(pack_of(home).read_bytes())
    data[40_000] ^= 1
    pack_of(home).write_bytes(data)


def cut_short(home: Path) -> None:
    pack_of(home).write_bytes(pack_of(home).read_bytes()[:-1])


def deleted(home: Path) -> None:
    pack_of(home).unlink()


def place_lost(home: Path) -> None:
    with closing(sqlite3.connect(home / "journal.db")) as connection:
        connection.execute("DELETE FROM extents WHERE pack IS NOT NULL")
        connection.commit()


@pytest.mark.parametrize("damage", [flipped, cut_short, deleted, place_lost])
def test_verify_names_the_checkpoints_and_values_that_are_damaged(
    home: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    damage(home)

    code, found = typed(capsys, "store", "verify")

    assert (code, found["ok"]) == (1, False)
    (once,) = found["damage"]
    concerned = {(each["execution"], each["checkpoint"], *each["names"]) for each in once["checkpoints"]}
    assert concerned == {(found_id, "numbers", "numbers", "view") for found_id, _ in KNOWN.values()}
    assert main(["store", "verify"]) == 1
    shown = capsys.readouterr().out
    assert sum(line.startswith("damaged: ") for line in shown.splitlines()) == 1
    assert f"  of {KNOWN['whole'][0]}/numbers (numbers, view)\n" in shown


def test_a_pack_that_is_gone_is_one_damage_however_much_was_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    kernel = Kernel(tmp_path / "home", notebook=tmp_path / "n.ipynb")
    kernel.cell("%%checkpoint one\nimport random\none = bytearray(random.Random(1).randbytes(3_000_000))")
    kernel.cell("%%checkpoint two\none[:3] = b'abc'")
    kernel.cell("%%checkpoint three\nthree = random.Random(3).randbytes(3_000_000)")
    execution = kernel.last.execution
    kernel.stop()
    pack_of(tmp_path / "home").unlink()

    _, found = typed(capsys, "store", "verify")

    (once,) = found["damage"]
    assert once["extents"] == 7  # three, of which two are shared, one more, and three
    assert once["bytes"] > 6_000_000
    assert "the file is gone" in once["message"]
    assert [(each["checkpoint"], each["names"]) for each in once["checkpoints"]] == [
        ("one", ["one"]),
        ("three", ["three"]),
        ("two", ["one"]),
    ]
    assert {each["execution"] for each in once["checkpoints"]} == {execution}


def test_a_bad_record_that_several_checks_meet_is_told_once(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(home / "journal.db")) as connection:
        connection.execute("UPDATE artifacts SET checksum = ? WHERE rowid = 1", (bytes(32),))
        connection.commit()

    _, found = typed(capsys, "store", "verify")

    told = [json.dumps(each) for each in found["damage"]]
    assert len(told) == len(set(told)) > 0


@pytest.mark.parametrize("table", ["checkpoints", "artifacts", "extents", "events", "states"])
def test_verify_finds_a_changed_record_in_every_table(
    home: Path, capsys: pytest.CaptureFixture[str], table: str
) -> None:
    with closing(sqlite3.connect(home / "journal.db")) as connection:
        (row,) = connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()
        connection.execute(f"UPDATE {table} SET checksum = ? WHERE rowid = ?", (bytes(32), row))
        connection.commit()

    code, found = typed(capsys, "store", "verify")

    assert (code, found["ok"]) == (1, False)
    assert found["damage"]


def test_bytes_after_the_last_extent_are_spare_and_no_damage(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pack_of(home).open("ab") as file:
        file.write(b"half a save")

    code, found = typed(capsys, "store", "verify")

    assert (code, found["tails"]) == (0, 11)


def test_migrate_says_what_it_did_and_leaves_a_copy_that_works(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, done = typed(capsys, "store", "migrate")
    again = typed(capsys, "store", "migrate")

    backup = Path(done.pop("backup"))
    assert (code, done) == (0, {"from": 1, "to": newest_format(), "changed": True})
    assert again == (0, {"from": newest_format(), "to": newest_format(), "changed": False, "backup": None})
    assert journal_format(home / "journal.db") == newest_format()
    assert (journal_format(backup), backup.stat().st_mode & 0o777) == (1, 0o600)
    old = tmp_path / "old"
    shutil.copytree(home / "store", old / "store")
    shutil.copyfile(backup, old / "journal.db")
    monkeypatch.setenv("KITARU_NB_HOME", str(old))
    assert kitaru_nb.load("point", execution=KNOWN["broken"][0], trust=True).double() == 42
    assert typed(capsys, "store", "verify")[0] == 0


def test_a_store_that_another_process_migrated_meanwhile_is_left_with_that_ones_copy(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def overtaken(path: Path) -> int:
        monkeypatch.undo()
        monkeypatch.setenv("KITARU_NB_HOME", str(home))
        main(["store", "migrate", "--json"])
        return 1 if path == home / "journal.db" else 0

    monkeypatch.setattr(stacks_migrate, "journal_format", overtaken)
    code = main(["store", "migrate", "--json"])

    first, second = capsys.readouterr().out.split("}\n")[:2]
    assert code == 0
    assert json.loads(first + "}")["changed"] is True
    assert json.loads(second + "}")["changed"] is False
    assert journal_format(home / "journal.db.format-1") == 1


def test_a_reader_meets_a_journal_that_is_migrated_meanwhile_as_it_was(home: Path) -> None:
    path = home / "journal.db"

    class Overtaken(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # type: ignore[override] # one way is used
            found = super().execute(sql, *parameters)
            if "FROM meta" in sql:
                rows = found.fetchall()
                open_to_write(path).close()
                return super().execute("SELECT * FROM (VALUES (?, ?, ?, ?))", rows[0])
            return found

    with closing(sqlite3.connect(path, factory=Overtaken, isolation_level=None)) as connection:
        seen = check_format(connection, path)

    assert seen == 1
    assert journal_format(path) == newest_format()


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stack that keeps all in a folder of its own, beside a home that holds other records."""
    shutil.copytree(GOLDEN, tmp_path / "home")
    shutil.copytree(GOLDEN / "store", tmp_path / "team")
    shutil.copyfile(GOLDEN / "journal.db", tmp_path / "team" / "journal.db")
    (tmp_path / "kitaru_nb.toml").write_text('[stacks.team]\nstore = "team"\n[stacks.new]\nstore = "new"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KITARU_NB_STACK", "team")
    return tmp_path / "team"


def test_info_speaks_of_the_stack_it_counts(team: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = typed(capsys, "store", "info")
    main(["store", "info"])
    shown = capsys.readouterr().out

    assert (found["stack"], found["journal"], found["store"]) == ("team", f"{team}/journal.db", str(team))
    assert found["bytes"] > 100_000
    assert str(team) in shown
    assert str(team.parent / "home") not in shown


def test_executions_say_which_place_is_empty(
    team: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITARU_NB_STACK", "new")
    assert main(["executions"]) == 0
    before = capsys.readouterr().out
    open_engine(resolve()).close()
    assert main(["executions"]) == 0
    after = capsys.readouterr().out

    for said in (before, after):
        assert str(team.parent / "new") in said
        assert "stack" in said
        assert str(team.parent / "home") not in said
