"""Any damaged byte of a journal gives right data or a clear error, never wrong data.

The unit ring looks at a few places (`tests/unit/journal/test_integrity.py`); this one at thousands.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kitaru_nb.errors import StoreError
from kitaru_nb.journal import connection
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.checkpoint import CheckpointStatus, Group
from kitaru_nb.model.execution import ExecutionStatus, Identity
from kitaru_nb.testing import a_draft, a_stored_value, dead_owner, digest_of
from tests.further import further

pytestmark = pytest.mark.chaos

MORE = int(os.environ.get("KITARU_NB_TEST_CHAOS", "1"))

Answers = dict[str, object]


class Store:
    """A journal with some history, and what each question about it must be answered with."""

    def __init__(self, folder: Path, *, folded: bool) -> None:
        self.folder = folder
        self.live = SqliteJournal(folder / "journal.db")
        self.executions: list[str] = []
        self.keys: list[str] = []
        self.digests: list[str] = []
        self.extents: list[str] = []
        for number in range(4):
            self._execution(number)
        if folded:
            self.live.close()
        self.files = {file.name: file.read_bytes() for file in folder.iterdir()}
        self.files.pop("journal.db-shm", None)
        self.right = {name: ask() for name, ask in self.questions(self.live)}
        self.live.close()

    def _execution(self, number: int) -> None:
        identity = Identity(notebook=f"/n{number % 2}.ipynb", parameters={"n": number})
        attempt, _ = self.live.start(identity, owner=dead_owner(), tags=[f"t{number}"])
        self.executions.append(attempt.execution)
        parent = None
        for step in range(6):
            artifact, location = a_stored_value(os.urandom(300 if step else 20_000))
            group = Group((f"v{step}",), artifact.digest, digest_of(f"{number} {step}"))
            draft = a_draft(f"s{number}-{step}", parent=parent, groups=(group,), cost=0.5)
            parent = self.live.commit(attempt, draft, artifacts=[artifact], locations=[location]).seq
            self.keys.append(draft.key)
            self.digests.append(artifact.digest)
            self.extents.append(location.extent.digest)
        restored = a_draft(f"r{number}", status=CheckpointStatus.RESTORED, parent=parent, origin=parent)
        self.live.commit_restored(attempt, [restored])
        if number % 2:
            self.live.finish(attempt, ExecutionStatus.COMPLETED)

    def questions(self, journal: SqliteJournal) -> Iterator[tuple[str, Callable[[], object]]]:
        yield "executions", journal.executions
        yield "latest", lambda: journal.execution("latest")
        yield "of notebook", lambda: journal.executions(notebook="/n1.ipynb")
        yield "events", journal.events
        for id_ in self.executions:
            yield f"execution {id_}", lambda id_=id_: journal.execution(id_)
            yield f"attempts {id_}", lambda id_=id_: journal.attempts(id_)
            yield f"steps {id_}", lambda id_=id_: journal.checkpoints(id_)
            yield f"events {id_}", lambda id_=id_: journal.events(id_)
        for key in self.keys:
            yield f"find {key}", lambda key=key: journal.find(key, executions=self.executions)
        for seq in (1, 8, 28):
            yield f"line {seq}", lambda seq=seq: journal.line(seq)
        yield "artifacts", lambda: journal.artifacts(self.digests)
        yield "extents", lambda: journal.locate(self.extents)

    def judge(self, case: Path, files: dict[str, bytes]) -> Counter[str]:
        """Ask a store of these files everything: how often the answer was right, wrong, an error."""
        case.mkdir()
        for name, content in files.items():
            (case / name).write_bytes(content)
        verdicts: Counter[str] = Counter()
        try:
            journal = SqliteJournal(case / "journal.db")
        except StoreError as error:
            shutil.rmtree(case)
            clear = error.hint and error.kind in ("corrupt-record", "journal-newer", "journal-foreign")
            return Counter({"refused" if clear else f"UNCLEAR {error!r}": 1})
        for name, ask in self.questions(journal):
            verdicts[self._verdict(name, ask)] += 1
        journal.close()
        shutil.rmtree(case)
        return verdicts

    def _verdict(self, name: str, ask: Callable[[], object]) -> str:
        try:
            answer = ask()
        except StoreError as error:
            clear = error.hint and error.kind == "corrupt-record"
            return "error" if clear else f"UNCLEAR {error!r}"
        if answer == self.right[name]:
            return "right"
        if name in ("artifacts", "extents") and answer.items() <= self.right[name].items():
            return "left out"  # the reader knows what it needs and says that it is missing
        return f"WRONG {name}"


def damaged_files(store: Store, name: str, dice: random.Random) -> Iterator[dict[str, bytes]]:
    """The store with one file damaged, again and again in another way."""
    while True:
        content = bytearray(store.files[name])
        match dice.choice(["flip", "flip", "flip", "byte", "sector", "cut"]):
            case "flip":
                content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
            case "byte":
                content[dice.randrange(len(content))] = dice.randrange(256)
            case "sector":
                at = dice.randrange(len(content)) & ~511
                content[at : at + 512] = bytes(len(content[at : at + 512]))
            case "cut":
                del content[dice.randrange(len(content)) :]
        yield store.files | {name: bytes(content)}


@pytest.fixture(params=[True, False], ids=["folded", "live-log"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(tmp_path / "home", folded=request.param)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("count", [150, further(400), pytest.param(3000, marks=pytest.mark.slow)])
def test_no_damage_gives_wrong_data(store: Store, count: int, tmp_path: Path, record_property) -> None:
    dice = random.Random(20240229)
    names = [name for name in store.files if not name.endswith("-head")]
    total: Counter[str] = Counter()

    for name in names:
        damages = damaged_files(store, name, dice)
        for number in range(count * MORE // len(names)):
            total += store.judge(tmp_path / f"case{number}", next(damages))

    record_property("answers", dict(total))
    assert set(total) <= {"right", "error", "refused", "left out"}
    assert total["error"] + total["refused"]


@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal"])
def test_a_removed_or_emptied_file_is_noticed(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        connection, "FOLD_PAGES", 0
    )  # never by itself: a log just folded takes nothing with it
    store = Store(tmp_path / "home", folded=False)
    without = {other: content for other, content in store.files.items() if other != name}

    for files in (without, without | {name: b""}):
        verdicts = store.judge(tmp_path / "case", files)
        assert verdicts == Counter(refused=1)


def test_a_damaged_or_missing_head_file_takes_nothing_away(store: Store, tmp_path: Path) -> None:
    dice = random.Random(1)
    damages = damaged_files(store, "journal.db-head", dice)
    without = {name: content for name, content in store.files.items() if not name.endswith("-head")}

    for files in [without, *(next(damages) for _ in range(40))]:
        assert set(store.judge(tmp_path / "case", files)) == {"right"}
