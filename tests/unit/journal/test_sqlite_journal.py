from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kitaru_nb.errors import ConflictError, CorruptError, NotFoundError, StoreError, UsageError
from kitaru_nb.journal import forks
from kitaru_nb.journal.integrity import HeadFile, checksum
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.execution import Attempt, ExecutionStatus, Identity, current_owner
from kitaru_nb.testing import JournalSuite, a_draft, a_stored_value, dead_owner, unseen_owner

NOTEBOOK = Identity(notebook="/home/ana/train.ipynb")

PRELUDE = """
    import sys, time
    from pathlib import Path
    from kitaru_nb.errors import KitaruError
    from kitaru_nb.journal.sqlite_journal import SqliteJournal
    from kitaru_nb.model.execution import Identity, current_owner
    from kitaru_nb.testing import a_draft
    NOTEBOOK = Identity(notebook="/home/ana/train.ipynb")
    path = Path(sys.argv[1])
"""


class TestSqliteJournal(JournalSuite):
    def open_journal(self, home: Path) -> SqliteJournal:
        return SqliteJournal(home / "journal.db")


class Clock:
    """Seconds that pass only when told to."""

    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "journal.db"


@pytest.fixture
def opened() -> Iterator[Callable[..., SqliteJournal]]:
    journals: list[SqliteJournal] = []

    def open_journal(path: Path, **options) -> SqliteJournal:
        journals.append(SqliteJournal(path, **options))
        return journals[-1]

    yield open_journal
    for journal in journals:
        journal.close()


def child(script: str, path: Path, **environment: str) -> subprocess.Popen[str]:
    code = textwrap.dedent(PRELUDE) + textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def a_journal_with_steps(path: Path, steps: int) -> Attempt:
    journal = SqliteJournal(path)
    attempt, _ = journal.start(NOTEBOOK, owner=dead_owner())
    parent = None
    for number in range(steps):
        parent = journal.commit(attempt, a_draft(f"step{number}", parent=parent)).seq
    journal.close()
    return attempt


# What is known without being read


def statements_of(journal: SqliteJournal, work: Callable[[], object]) -> list[str]:
    """The tables and verbs of the statements that `work` has SQLite run."""
    found: list[str] = []
    connection = journal._session._connection
    connection.set_trace_callback(found.append)
    work()
    connection.set_trace_callback(None)
    return found


def test_a_commit_reads_nothing_that_this_process_wrote_itself(path, opened) -> None:
    journal = opened(path)
    attempt, _ = journal.start(NOTEBOOK, owner=current_owner())
    parent = journal.commit(attempt, a_draft("one")).seq

    ran = statements_of(journal, lambda: journal.commit(attempt, a_draft("two", parent=parent)))

    assert [each for each in ran if each.startswith("SELECT") and "newest" not in each] == []


def test_a_name_that_was_asked_for_in_vain_is_not_read_again_by_the_commit(path, opened) -> None:
    journal = opened(path)
    attempt, _ = journal.start(NOTEBOOK, owner=current_owner())
    draft = a_draft("one")
    assert journal.find(draft.key, notebook=NOTEBOOK.notebook) == []

    ran = statements_of(journal, lambda: journal.commit(attempt, draft))

    assert [each for each in ran if each.startswith("SELECT") and "newest" in each] == []
    assert [each.draft.name for each in journal.find(draft.key, notebook=NOTEBOOK.notebook)] == ["one"]


def test_bytes_that_two_values_share_are_put_on_record_once(path, opened) -> None:
    journal = opened(path)
    attempt, _ = journal.start(NOTEBOOK, owner=current_owner())
    artifact, location = a_stored_value()

    ran = statements_of(
        journal,
        lambda: journal.commit(attempt, a_draft("one"), artifacts=[artifact], locations=[location, location]),
    )

    assert len([each for each in ran if each.startswith("INSERT INTO extents")]) == 1
    assert journal.locate([location.extent.digest]) == {location.extent.digest: location}


def test_what_another_connection_wrote_is_read_before_the_next_commit(path, opened) -> None:
    one, two = opened(path), opened(path)
    attempt, _ = one.start(NOTEBOOK, owner=current_owner())
    other, _ = two.start(Identity(notebook="/home/ana/other.ipynb"), owner=current_owner())
    mine: list[int | None] = [None]
    others: list[int | None] = [None]
    for number in range(3):
        mine.append(one.commit(attempt, a_draft(f"one{number}", parent=mine[-1])).seq)
        others.append(two.commit(other, a_draft(f"two{number}", parent=others[-1])).seq)

    assert (mine[1:], others[1:]) == ([1, 3, 5], [2, 4, 6])
    assert one.verify() == []

    two.start(NOTEBOOK, owner=current_owner(), take_over=True)
    with pytest.raises(ConflictError, match="superseded"):
        one.commit(attempt, a_draft("late", parent=mine[-1]))


def test_a_transaction_that_was_undone_is_forgotten(path, opened, monkeypatch) -> None:
    journal = opened(path)
    attempt, _ = journal.start(NOTEBOOK, owner=current_owner())
    first = journal.commit(attempt, a_draft("one"))

    def cut(instant: str) -> None:
        if instant == "inside-commit":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("kitaru_nb.journal.sql_journal.crash_point", cut)
        with pytest.raises(KeyboardInterrupt):
            journal.commit(attempt, a_draft("cut", parent=first.seq))
    second = journal.commit(attempt, a_draft("two", parent=first.seq))

    assert second.seq == first.seq + 1
    assert journal.verify() == []
    assert [step.draft.name for step in journal.checkpoints(attempt.execution)] == ["one", "two"]


# Leases and time


@pytest.mark.parametrize("taken_over", [True, False])
def test_an_attempt_that_was_killed_lasted_until_its_last_step(path, opened, *, taken_over) -> None:
    journal = opened(path)
    attempt, _ = journal.start(NOTEBOOK, owner=dead_owner())
    journal.commit(attempt, a_draft("long", started_at=attempt.started_at, duration=90.0))
    if taken_over:
        now, _ = journal.start(NOTEBOOK, owner=current_owner())
        assert journal.attempts(now.execution)[0].ended_at == attempt.started_at + timedelta(seconds=90)

    execution = journal.execution(attempt.execution)

    assert execution.duration >= 90


def test_an_owner_that_cannot_be_seen_is_dead_after_the_lease(path, opened) -> None:
    clock = Clock()
    journal = opened(path, lease=30.0, clock=clock)
    attempt, _ = journal.start(NOTEBOOK, owner=unseen_owner())
    clock.now += 20
    journal.heartbeat(attempt)
    clock.now += 30

    alive = journal.execution(attempt.execution)
    clock.now += 1
    dead = journal.execution(attempt.execution)

    assert (alive.status, alive.duration) == (ExecutionStatus.RUNNING, 50.0)
    assert (dead.status, dead.duration) == (ExecutionStatus.INTERRUPTED, 20.0)
    assert journal.start(NOTEBOOK, owner=current_owner())[0].epoch == 2


def test_duration_is_the_time_of_all_attempts_without_the_pauses(path, opened) -> None:
    clock = Clock()
    journal = opened(path, clock=clock)
    first, _ = journal.start(NOTEBOOK, owner=current_owner())
    clock.now += 5
    journal.finish(first, ExecutionStatus.FAILED)
    clock.now += 1000
    second, _ = journal.start(NOTEBOOK, owner=current_owner())
    clock.now += 7

    running = journal.execution(first.execution).duration
    journal.finish(second, ExecutionStatus.COMPLETED)
    clock.now += 1000

    assert (running, journal.execution(first.execution).duration) == (12.0, 12.0)


def test_a_clock_set_back_takes_no_time_away(path, opened) -> None:
    clock = Clock()
    journal = opened(path, clock=clock)
    attempt, _ = journal.start(NOTEBOOK, owner=current_owner())
    clock.now -= 3600

    journal.heartbeat(attempt)
    journal.finish(attempt, ExecutionStatus.COMPLETED)

    assert journal.execution("latest").duration == 0.0
    assert journal.attempts(attempt.execution)[0].heartbeat_at == attempt.heartbeat_at


def test_a_revived_owner_is_fenced_when_a_new_execution_was_begun(path, opened) -> None:
    clock = Clock()
    journal = opened(path, clock=clock)
    attempt, _ = journal.start(NOTEBOOK, owner=unseen_owner())
    clock.now += 31

    journal.start(NOTEBOOK, owner=current_owner(), new=True)

    with pytest.raises(ConflictError, match="has ended"):
        journal.commit(attempt, a_draft())


def test_an_attempt_cannot_end_as_running(path, opened) -> None:
    journal = opened(path)
    attempt, _ = journal.start(NOTEBOOK, owner=current_owner())

    with pytest.raises(UsageError):
        journal.finish(attempt, ExecutionStatus.RUNNING)


# Processes and threads


def test_of_several_processes_that_start_one_identity_one_gets_the_lease(path) -> None:
    script = """
        journal = SqliteJournal(path)
        try:
            journal.start(NOTEBOOK, owner=current_owner())
        except KitaruError as error:
            print(error.kind, flush=True)
        else:
            print("mine", flush=True)
            time.sleep(60)
    """
    children = [child(script, path) for _ in range(6)]

    answers = sorted(process.stdout.readline().strip() for process in children)
    for process in children:
        process.kill()
        process.communicate()

    assert answers == ["execution-held"] * 5 + ["mine"]


def test_two_processes_commit_to_one_journal_without_being_refused(path, opened) -> None:
    script = """
        journal = SqliteJournal(path)
        mine = Identity(notebook=f"/n{current_owner().pid}.ipynb")
        attempt, _ = journal.start(mine, owner=current_owner())
        for number in range(40):
            journal.commit(attempt, a_draft(f"s{number}"))
    """
    children = [child(script, path) for _ in range(2)]

    codes = [process.wait() for process in children]
    for process in children:
        process.communicate()

    journal = opened(path)
    assert codes == [0, 0]
    assert [len(journal.checkpoints(execution.id)) for execution in journal.executions()] == [40, 40]
    assert journal.verify() == []


def test_a_writer_has_the_journal_to_itself_from_its_first_look(path, opened) -> None:
    journal = opened(path)
    rival = sqlite3.connect(path, timeout=0, isolation_level=None)

    with journal._session.writing(), pytest.raises(sqlite3.OperationalError, match="locked"):
        rival.execute("BEGIN IMMEDIATE")

    rival.execute("BEGIN IMMEDIATE")
    rival.close()


def test_threads_share_a_journal(path, opened) -> None:
    journal = opened(path)
    attempt, _ = journal.start(NOTEBOOK, owner=current_owner())
    failures: list[BaseException] = []

    def beat() -> None:
        try:
            for _ in range(20):
                journal.heartbeat(attempt)
        except BaseException as error:  # noqa: BLE001 - a thread's failure would pass unseen
            failures.append(error)

    threads = [threading.Thread(target=beat) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(20):
        journal.commit(attempt, a_draft(f"s{number}"))
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(journal.checkpoints(attempt.execution)) == 20


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_and_its_parent_both_go_on(path, opened) -> None:
    journal = opened(path)
    attempt, _ = journal.start(NOTEBOOK, owner=current_owner())
    journal.commit(attempt, a_draft("before"))

    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            inherited = journal._session._connection
            journal.commit(attempt, a_draft("child"))
            code = (
                3
                if inherited or forks._left_open
                else 0
                if len(journal.checkpoints(attempt.execution)) == 2
                else 2
            )
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    journal.commit(attempt, a_draft("after"))

    assert os.waitstatus_to_exitcode(status) == 0
    names = [step.draft.name for step in journal.checkpoints(attempt.execution)]
    assert names == ["before", "child", "after"]
    assert journal.verify() == []


@pytest.mark.parametrize("kill_after", [1, 4, 9])
def test_every_acknowledged_commit_survives_kill_9(path, opened, kill_after) -> None:
    script = """
        journal = SqliteJournal(path)
        attempt, _ = journal.start(NOTEBOOK, owner=current_owner())
        while True:
            print(journal.commit(attempt, a_draft()).seq, flush=True)
    """
    process = child(script, path)

    acknowledged = [int(process.stdout.readline()) for _ in range(kill_after)]
    process.kill()
    acknowledged += [int(line) for line in process.communicate()[0].split()]

    journal = opened(path)
    execution = journal.execution("latest")
    steps = {step.seq for step in journal.checkpoints(execution.id)}
    assert steps >= set(acknowledged)
    assert execution.status is ExecutionStatus.INTERRUPTED
    assert journal.verify() == []


@pytest.mark.parametrize(
    ("instant", "on_record"),
    [("before-commit:3", 2), ("inside-commit:3", 2), ("after-commit:3", 3)],
)
def test_a_commit_is_whole_or_absent_wherever_it_is_cut(path, opened, instant, on_record) -> None:
    script = """
        journal = SqliteJournal(path)
        attempt, _ = journal.start(NOTEBOOK, owner=current_owner())
        for number in range(5):
            journal.commit(attempt, a_draft(f"s{number}"))
    """
    process = child(script, path, KITARU_NB_CRASH_AT=instant)

    code = process.wait()
    process.communicate()

    journal = opened(path)
    assert code == -signal.SIGKILL
    assert len(journal.checkpoints(journal.execution("latest").id)) == on_record
    assert journal.start(NOTEBOOK, owner=current_owner())[0].epoch == 2


def test_an_interrupt_inside_a_transaction_leaves_nothing_behind(path, opened, monkeypatch) -> None:
    journal = opened(path)
    attempt, _ = journal.start(NOTEBOOK, owner=current_owner())
    module = sys.modules[SqliteJournal.__base__.__module__]

    def interrupt(name: str) -> None:
        if name == "inside-commit":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "crash_point", interrupt)
        with pytest.raises(KeyboardInterrupt):
            journal.commit(attempt, a_draft("cut"))

    journal.commit(attempt, a_draft("whole"))
    assert [step.draft.name for step in journal.checkpoints(attempt.execution)] == ["whole"]


# Places


def test_files_are_for_their_owner_alone_under_any_umask(path, opened) -> None:
    before = os.umask(0)
    try:
        journal = opened(path)
        journal.start(NOTEBOOK, owner=current_owner())
    finally:
        os.umask(before)

    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}

    assert modes == dict.fromkeys(
        ["journal.db", "journal.db-wal", "journal.db-shm", "journal.db-head"], 0o600
    )
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_read_only_journal_reads_and_refuses_to_write(path, opened) -> None:
    attempt = a_journal_with_steps(path, 2)
    reader = opened(path, read_only=True)

    with pytest.raises(StoreError) as refused:
        reader.start(NOTEBOOK, owner=current_owner())

    assert refused.value.kind == "journal-read-only"
    assert len(reader.checkpoints(attempt.execution)) == 2
    assert reader.execution("latest").status is ExecutionStatus.INTERRUPTED


def test_a_reader_sees_what_is_committed_meanwhile(path, opened) -> None:
    writer = opened(path)
    attempt, _ = writer.start(NOTEBOOK, owner=current_owner())
    reader = opened(path, read_only=True)

    writer.commit(attempt, a_draft())

    assert len(reader.checkpoints(attempt.execution)) == 1


@pytest.mark.parametrize("folded", [True, False])
def test_a_journal_on_read_only_media_is_read_also_with_an_unfolded_log(
    path, opened, monkeypatch, folded
) -> None:
    writer = opened(path)
    attempt, _ = writer.start(NOTEBOOK, owner=dead_owner())
    step = writer.commit(attempt, a_draft())
    media = path.parent.with_name("media")
    if folded:
        writer.close()
    _copy_tree(path.parent, media)
    before = {file.name: file.read_bytes() for file in media.iterdir()}
    real_access = os.access
    monkeypatch.setattr(os, "access", lambda file, mode, **_: mode != os.W_OK and real_access(file, mode))

    reader = opened(media / path.name, read_only=True)

    assert reader.checkpoints(attempt.execution) == [step]
    assert reader.execution("latest").status is ExecutionStatus.INTERRUPTED
    assert {file.name: file.read_bytes() for file in media.iterdir()} == before
    with pytest.raises(StoreError) as refused:
        opened(media / path.name)
    assert refused.value.kind == "journal-read-only"


def test_a_missing_journal_is_not_made_for_a_reader(path) -> None:
    with pytest.raises(StoreError) as refused:
        SqliteJournal(path, read_only=True)

    assert refused.value.kind == "journal-unreadable"
    assert "there is no journal" in refused.value.message
    assert not path.parent.exists()


def test_a_place_that_is_no_folder_is_named(tmp_path) -> None:
    (tmp_path / "home").write_text("a file")

    with pytest.raises(StoreError) as refused:
        SqliteJournal(tmp_path / "home" / "journal.db")

    assert refused.value.kind == "journal-unreadable"
    assert "home" in refused.value.hint


def test_a_full_disk_is_told_and_harmless(path, opened) -> None:
    journal = opened(path)
    attempt, _ = journal.start(NOTEBOOK, owner=current_owner())
    step = journal.commit(attempt, a_draft("one"))
    connection = journal._session._open()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    artifact, location = a_stored_value(os.urandom(64 << 10))

    with pytest.raises(StoreError) as refused:
        journal.commit(attempt, a_draft("two"), artifacts=[artifact], locations=[location])
    connection.execute("PRAGMA max_page_count = 1000000")

    assert refused.value.kind == "journal-full"
    assert journal.checkpoints(attempt.execution) == [step]
    journal.commit(attempt, a_draft("two"), artifacts=[artifact], locations=[location])
    assert len(journal.checkpoints(attempt.execution)) == 2


def test_a_journal_of_a_later_release_is_refused_and_left_alone(path) -> None:
    a_journal_with_steps(path, 1)
    with sqlite3.connect(path) as connection:
        row = (1, 999, connection.execute("SELECT layout FROM meta").fetchone()[0])
        connection.execute("UPDATE meta SET format = 999, checksum = ?", [checksum("meta", row)])
    connection.close()
    before = path.read_bytes()

    for read_only in (False, True):
        with pytest.raises(StoreError, match="999") as refused:
            SqliteJournal(path, read_only=read_only)
        assert refused.value.kind == "journal-newer"

    assert path.read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_alone(path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(StoreError) as refused:
        SqliteJournal(path)

    assert refused.value.kind == "journal-foreign"
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"my novel, chapter one\n" * 500)

    with pytest.raises(CorruptError) as refused:
        SqliteJournal(path)

    assert refused.value.kind == "corrupt-record"
    assert path.read_bytes() == b"my novel, chapter one\n" * 500


def test_a_commit_forces_the_disk_once_and_folds_included_stays_below_four(path) -> None:
    strace = "/usr/bin/strace"
    if not Path(strace).exists():
        pytest.skip("needs Debian's strace")
    script = textwrap.dedent(PRELUDE) + textwrap.dedent(
        """
        journal = SqliteJournal(path)
        attempt, _ = journal.start(NOTEBOOK, owner=current_owner())
        for number in range(100):
            journal.commit(attempt, a_draft(f"s{number}"))
        """
    )
    log = path.parent.with_name("strace.out")

    subprocess.run(
        [strace, "-f", "-o", log, "-e", "trace=fsync,fdatasync", sys.executable, "-c", script, path],
        check=True,
    )

    calls = sum("sync(" in line for line in log.read_text().splitlines())
    assert 100 <= calls <= 200


def test_many_executions_share_the_buckets_of_the_hash_table(path, opened) -> None:
    journal = opened(path)
    ids = []
    for number in range(200):
        attempt, _ = journal.start(replace(NOTEBOOK, output=f"/out{number}"), owner=current_owner())
        ids.append(attempt.execution)

    assert [execution.id for execution in journal.executions()] == ids[::-1]
    assert [journal.execution(id_).id for id_ in ids] == ids


def _copy_tree(source: Path, target: Path) -> None:
    target.mkdir()
    for file in source.iterdir():
        if not file.name.endswith("-shm"):
            (target / file.name).write_bytes(file.read_bytes())


def test_what_is_held_back_is_not_noted_as_durable_before_it_is(path, opened) -> None:
    journal = opened(path)
    attempt, _ = journal.start(NOTEBOOK, owner=current_owner())
    before = HeadFile(path).read()

    with journal.holding():
        journal.commit(attempt, a_draft())
        inside = HeadFile(path).read()

    assert inside == before
    assert before is not None
    assert HeadFile(path).read()[0] == before[0] + 1


def test_folding_gives_back_the_room_of_the_log_and_keeps_what_is_in_it(path, opened) -> None:
    a_journal_with_steps(path, 3)
    journal = opened(path)
    journal.start(Identity(notebook="/b.ipynb"), owner=current_owner())
    log = path.with_name(f"{path.name}-wal")
    assert log.stat().st_size > 0

    journal.fold()

    assert log.stat().st_size == 0
    assert len(journal.executions()) == 2


def test_in_a_journal_whose_maker_died_before_its_tables_were_there_nothing_is_recorded(
    tmp_path: Path,
) -> None:
    (tmp_path / "journal.db").touch(0o600)

    with pytest.raises(NotFoundError) as caught:
        SqliteJournal(tmp_path / "journal.db", read_only=True)

    assert caught.value.kind == "nothing-recorded"
    SqliteJournal(tmp_path / "journal.db").close()
    SqliteJournal(tmp_path / "journal.db", read_only=True).close()
