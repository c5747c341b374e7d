from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.pq import PGconn, Ping

from kitaru_nb import channel
from kitaru_nb.errors import (
    ConflictError,
    CorruptError,
    NotFoundError,
    StoreError,
    TimedOutError,
    UsageError,
)
from kitaru_nb.journal import postgres_errors, postgres_session, sql_journal
from kitaru_nb.journal.connection import open_to_write
from kitaru_nb.journal.journal import Journal
from kitaru_nb.journal.postgres_journal import PostgresJournal
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner
from kitaru_nb.model.stack import Stack
from kitaru_nb.model.wait import Question, binding_of
from kitaru_nb.testing import JournalSuite
from kitaru_nb.testing.examples import a_draft, a_stored_value, unseen_owner
from tests.postgres_server import PostgresServer, started
from tests.unit.engine.turns import Attempts

IDENTITY = Identity(notebook="/home/ana/train.ipynb")


def schema_of(place: Path) -> str:
    return "t" + blake2b(str(place).encode(), digest_size=8).hexdigest()


class TestPostgresJournal(JournalSuite):
    @pytest.fixture(autouse=True)
    def _server(self, postgres_server: PostgresServer) -> None:
        self.server = postgres_server

    def open_journal(self, home: Path) -> PostgresJournal:
        return PostgresJournal(self.server.schema(schema_of(home)))


@pytest.fixture
def url(postgres_server: PostgresServer, tmp_path: Path) -> str:
    return postgres_server.schema(schema_of(tmp_path))


@pytest.fixture
def journal(url: str) -> Iterator[PostgresJournal]:
    with closing(PostgresJournal(url)) as journal:
        yield journal


def database(journal: PostgresJournal) -> psycopg.Connection[Any]:
    connection = journal.session._connection
    assert connection is not None
    return connection


def test_both_dialects_have_the_same_tables(journal: PostgresJournal, tmp_path: Path) -> None:
    with closing(open_to_write(tmp_path / "journal.db")) as sqlite:
        tables = [name for (name,) in sqlite.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        there = {table: _columns(sqlite, table) for table in tables}
    found = database(journal).execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = current_schema() ORDER BY ordinal_position"
    )
    here: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in found:
        here.setdefault(table, []).append((column, kind))

    assert here == there


def _columns(connection: sqlite3.Connection, table: str) -> list[tuple[str, str]]:
    kinds = {"INTEGER": "bigint", "TEXT": "text", "BLOB": "bytea", "REAL": "double precision"}
    return [(row[1], kinds[row[2]]) for row in connection.execute(f"PRAGMA table_info({table})")]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE checkpoints SET cost = 0",
        "UPDATE checkpoints SET body = replace(body, 'train', 'treat')",
        "DELETE FROM checkpoints",
        "UPDATE states SET last_step = NULL",
        "UPDATE newest SET entries = '', checksum = 'x' WHERE entries <> ''",
        "UPDATE head SET executions = 0",
    ],
)
def test_a_changed_row_is_an_error(journal: PostgresJournal, url: str, change: str) -> None:
    attempt, _ = journal.start(IDENTITY, owner=current_owner())
    journal.commit(attempt, a_draft("train", cost=1.5))
    database(journal).execute(change.encode())

    with closing(PostgresJournal(url)) as other, pytest.raises(CorruptError, match="postgresql://"):
        _ = other.checkpoints(attempt.execution), other.executions()


def test_a_removed_event_is_found_by_verify(journal: PostgresJournal) -> None:
    attempt, _ = journal.start(IDENTITY, owner=current_owner())
    journal.commit(attempt, a_draft())
    assert journal.verify() == []
    database(journal).execute("DELETE FROM events WHERE seq = 2")

    assert [error.kind for error in journal.verify()] == ["corrupt-record"]


def test_a_commit_is_durable_whatever_the_servers_default(url: str) -> None:
    with closing(PostgresJournal(f"{url}&options=-csynchronous_commit%3Doff")) as journal:
        assert database(journal).execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_time_is_the_servers(journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)  # a host whose clock is decades off

    attempt, _ = journal.start(IDENTITY, owner=unseen_owner())

    assert journal.execution(attempt.execution).status is ExecutionStatus.RUNNING
    assert attempt.started_at.year > 2000


def test_a_commit_after_the_server_was_restarted_is_recorded_once() -> None:
    with started() as server, closing(PostgresJournal(server.url)) as journal:
        attempt, _ = journal.start(IDENTITY, owner=current_owner())
        server.kill()
        starter = threading.Timer(0.3, server.start)
        starter.start()

        step = journal.commit(attempt, a_draft("train"))

        starter.join()
        assert [found.seq for found in journal.checkpoints(attempt.execution)] == [step.seq]


class _Cut:
    """A connection that dies at one COMMIT, before it is sent or after it has happened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, after: bool, server: PostgresServer) -> None:
        original = psycopg.Connection.execute
        self.armed = True

        def execute(connection: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            if query != "COMMIT" or not self.armed:
                return original(connection, query, *args, **kwargs)
            self.armed = False
            done = original(connection, query, *args, **kwargs) if after else None
            pid = connection.info.backend_pid
            with psycopg.connect(server.url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
            original(connection, "SELECT 1")  # raises what a broken connection raises
            return done

        monkeypatch.setattr(psycopg.Connection, "execute", execute)


@pytest.mark.parametrize("after", [False, True], ids=["before it happened", "after it happened"])
def test_a_commit_that_was_not_answered_is_recorded_once(
    after: bool, journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch, postgres_server: PostgresServer
) -> None:
    attempt, _ = journal.start(IDENTITY, owner=current_owner())
    cut = _Cut(monkeypatch, after=after, server=postgres_server)

    artifact, location = a_stored_value()
    step = journal.commit(attempt, a_draft("train"), artifacts=[artifact], locations=[location])

    assert not cut.armed
    assert [found.seq for found in journal.checkpoints(attempt.execution)] == [step.seq]
    assert [event.kind for event in journal.events(attempt.execution)].count("checkpoint.completed") == 1
    assert journal.verify() == []


@pytest.mark.parametrize("taken", [False, True], ids=["nobody took over", "somebody took over"])
def test_a_process_that_stood_still_inside_its_commit_does_it_again_or_says_who_took_over(
    taken: bool, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends a transaction in which nothing happens, so that the others go on."""
    settings = postgres_session._SETTINGS.replace(f"'{postgres_errors.BUSY_SECONDS}s'", "'1s'")
    monkeypatch.setattr(postgres_session, "_SETTINGS", settings)
    stops = ["inside-commit"]

    def stands_still(point: str) -> None:
        if stops == [point]:
            stops.clear()
            if taken:
                with closing(PostgresJournal(url, lease=0)) as other:
                    other.start(IDENTITY, owner=replace(current_owner(), host="third.example"))
            time.sleep(1.5)

    with closing(PostgresJournal(url)) as journal:
        attempt, _ = journal.start(IDENTITY, owner=unseen_owner())
        monkeypatch.setattr(sql_journal, "crash_point", stands_still)

        with pytest.raises(ConflictError, match=r"third\.example") if taken else nullcontext() as refused:
            journal.commit(attempt, a_draft("train"))

        assert not stops
        assert [step.draft.name for step in journal.checkpoints(attempt.execution)] == ["train"][taken:]
        assert not taken or refused.value.kind == "superseded"
        assert journal.verify() == []


def test_an_owner_who_waits_for_the_others_to_record_that_it_lives_is_not_dead(url: str) -> None:
    with closing(PostgresJournal(url, lease=1)) as journal, closing(PostgresJournal(url)) as slow:
        journal.start(IDENTITY, owner=unseen_owner())

        with ThreadPoolExecutor(1) as threads, slow.holding():
            taking = threads.submit(journal.start, IDENTITY, owner=current_owner())
            time.sleep(1.5)
            assert not taking.done()

        with pytest.raises(ConflictError) as held:
            taking.result()
        assert held.value.kind == "execution-held"


def test_an_owner_is_not_dead_because_the_server_was_away() -> None:
    with started() as server, closing(PostgresJournal(server.url, lease=1)) as journal:
        attempt, _ = journal.start(IDENTITY, owner=unseen_owner())
        server.kill()
        with ThreadPoolExecutor(1) as threads:
            taking = threads.submit(journal.start, IDENTITY, owner=current_owner())
            time.sleep(1.5)
            server.start()
            with pytest.raises(ConflictError) as held:
                taking.result()
        journal.heartbeat(attempt)

        time.sleep(1.5)
        journal.start(IDENTITY, owner=current_owner())

        assert held.value.kind == "execution-held"
        with pytest.raises(ConflictError, match="superseded"):
            journal.heartbeat(attempt)


def slept(journal: PostgresJournal, seconds: float) -> None:
    """The laptop slept: its own count of the time since the server last said it stood still."""
    at, looked = journal.session._server_time
    journal.session._server_time = (int(at - seconds * 1e6), looked)


def test_after_a_laptop_slept_the_time_is_the_servers(journal: PostgresJournal) -> None:
    attempt, _ = journal.start(IDENTITY, owner=current_owner())

    slept(journal, 7200)
    event = journal.record_event(attempt.execution, "noted", {})
    slept(journal, 7200)
    journal.finish(attempt, ExecutionStatus.COMPLETED)
    slept(journal, 7200)
    now = journal.now()

    execution = journal.execution(attempt.execution)
    assert execution.ended_at is not None
    assert execution.started_at <= event.at <= execution.ended_at <= now


def test_every_method_that_is_one_transaction_waits_for_a_server_that_restarts() -> None:
    many = {"holding", "every_checkpoint", "find_anywhere"}  # transactions that the caller is in, or reads on
    no_work = {"fold", "compact", "close"}
    methods = {name for name in vars(Journal) if not name.startswith("_")} - many - no_work

    assert {name for name in methods if not hasattr(getattr(PostgresJournal, name), "__wrapped__")} == set()


@pytest.mark.parametrize("after", [False, True], ids=["before it happened", "after it happened"])
def test_a_wait_is_asked_and_answered_once_though_the_connection_broke(
    after: bool, journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch, postgres_server: PostgresServer
) -> None:
    attempt, _ = journal.start(IDENTITY, owner=current_owner())
    kind = {"type": "boolean"}
    question = Question("ok", "cell:a", 0, "Publish?", kind, binding_of("Publish?", kind, None))
    cut = _Cut(monkeypatch, after=after, server=postgres_server)
    wait, asked = journal.ask(attempt, question)
    cut.armed = True
    answered = journal.answer_wait(wait.address, True, by="ana", source="cli")
    cut.armed = True

    assert journal.claim(attempt, "effect")
    assert not cut.armed
    assert not journal.claim(attempt, "effect")
    assert (asked, answered.answered_by) == (True, "ana")
    kinds = [event.kind for event in journal.events(attempt.execution)]
    assert (kinds.count("wait.asked"), kinds.count("wait.answered")) == (1, 1)


@contextmanager
def broken_at(statement: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The connection dies once, inside a transaction, where it is to run what begins like this."""
    original, left = postgres_session._Statements.execute, [statement]

    def execute(statements: Any, text: str, *args: Any) -> Any:
        if left and text.startswith(left[0]):
            left.clear()
            with psycopg.connect(server.url, autocommit=True) as other:
                pid = statements._connection.info.backend_pid
                other.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
        return original(statements, text, *args)

    with monkeypatch.context() as patch:
        patch.setattr(postgres_session._Statements, "execute", execute)
        yield
    assert not left


def test_reading_goes_on_after_the_connection_broke(
    journal: PostgresJournal, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, _ = journal.start(IDENTITY, owner=current_owner())
    steps = [journal.commit(attempt, a_draft("train")) for _ in range(2)]

    with broken_at("SELECT * FROM checkpoints", postgres_server, monkeypatch):
        every = list(journal.every_checkpoint())
    with broken_at("SELECT * FROM checkpoints", postgres_server, monkeypatch):
        found = list(journal.find_anywhere(steps[0].draft.key))

    assert every == steps
    assert found == steps[::-1]


def test_a_message_is_sent_and_taken_once_though_the_connection_broke(
    url: str, tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is two records in one transaction: both are done again."""
    stack = Stack("team", journal=url, source=str(tmp_path))
    attempts = Attempts(tmp_path / "home", place=stack, stack="team")
    with attempts.attempt_at("tests:sender"):
        with broken_at("INSERT INTO checkpoints", postgres_server, monkeypatch):
            channel("box").send("one")
        channel("box").send("two")

    with attempts.attempt():
        with broken_at("INSERT INTO checkpoints", postgres_server, monkeypatch):
            first = channel("box").receive(timeout=0)
        second = channel("box").receive(timeout=0)
        with pytest.raises(TimedOutError):
            channel("box").receive(timeout=0)

    assert (first, second) == ("one", "two")
    attempts.engine.close()


def test_a_server_that_is_starting_is_waited_for() -> None:
    with started() as server:
        PostgresJournal(server.url).close()
        server.kill()
        with ThreadPoolExecutor(1) as threads:
            starting = threads.submit(server.start)
            while PGconn.ping(server.url.encode()) == Ping.NO_RESPONSE:
                time.sleep(0.001)

            PostgresJournal(server.url).close()

            starting.result()


def test_an_older_copy_of_the_database_is_noticed(journal: PostgresJournal) -> None:
    attempt, _ = journal.start(IDENTITY, owner=current_owner())
    with psycopg.connect(journal.session._url, autocommit=True) as other:
        schema = journal.session._schema
        other.execute(f"CREATE SCHEMA {schema}_old".encode())
        for (table,) in other.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)):
            other.execute(f"CREATE TABLE {schema}_old.{table} AS TABLE {schema}.{table}".encode())
        journal.commit(attempt, a_draft())
        journal.close()
        other.execute(f"DROP SCHEMA {schema} CASCADE".encode())
        other.execute(f"ALTER SCHEMA {schema}_old RENAME TO {schema}".encode())

    with pytest.raises(CorruptError, match="older copy"):
        journal.commit(attempt, a_draft())


def test_a_server_that_is_down_is_told_with_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        PostgresJournal(f"postgresql://ana@/work?host={tmp_path}")

    assert caught.value.kind == "journal-unreachable"
    assert "start the server" in caught.value.hint


def test_a_wrong_password_is_told_and_never_shown() -> None:
    with started() as server:
        with psycopg.connect(server.url, autocommit=True) as admin:
            admin.execute("CREATE USER ana PASSWORD 'right-one'")
        rules = server.data / "pg_hba.conf"
        rules.write_text("local all ana scram-sha-256\nlocal all all trust\n")
        server.stop()
        server.start()
        url = server.url.replace("kitaru@", "ana@")

        with pytest.raises(StoreError) as caught:
            PostgresJournal(url, password="wrong-secret-one")
        with pytest.raises(StoreError) as missing_right:
            PostgresJournal(url, password="right-one")

    assert caught.value.kind == "journal-refused"
    assert "wrong-secret-one" not in str(caught.value)
    assert "secret:env:" in caught.value.hint
    assert missing_right.value.kind == "journal-refused"
    assert "GRANT CREATE" in missing_right.value.hint


def test_a_standby_can_be_read_and_not_written(url: str) -> None:
    with closing(PostgresJournal(url)) as journal:
        attempt, _ = journal.start(IDENTITY, owner=current_owner())

    with closing(PostgresJournal(f"{url}&options=-cdefault_transaction_read_only%3Don")) as standby:
        assert standby.execution("latest").id == attempt.execution
        with pytest.raises(StoreError, match="read-only") as caught:
            standby.commit(attempt, a_draft())
    assert caught.value.kind == "journal-read-only"


def test_reading_makes_no_tables(url: str) -> None:
    with pytest.raises(NotFoundError, match="nothing is recorded"):
        PostgresJournal(url, read_only=True)

    PostgresJournal(url).close()
    with closing(PostgresJournal(url, read_only=True)) as journal:
        assert journal.executions() == []


def test_another_programs_tables_are_left_alone(url: str) -> None:
    address, _, schema = postgres_session.named(url)
    with psycopg.connect(address, autocommit=True) as other:
        other.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.theirs (id int)".encode())

    with pytest.raises(StoreError) as caught:
        PostgresJournal(url)

    assert caught.value.kind == "journal-foreign"


def test_a_later_releases_journal_is_refused(journal: PostgresJournal, url: str) -> None:
    from kitaru_nb.journal.integrity import checksum  # noqa: PLC0415 - only here

    row = database(journal).execute("SELECT * FROM meta").fetchone()
    seal = checksum("meta", (1, 99, row[2]))
    database(journal).execute("UPDATE meta SET format = 99, checksum = %s", (seal,))

    with pytest.raises(StoreError) as caught:
        PostgresJournal(url)

    assert caught.value.kind == "journal-newer"


def test_several_open_an_empty_place_at_once(url: str) -> None:
    program = f"from kitaru_nb.journal.postgres_journal import PostgresJournal as J; J({url!r}).close()"
    several = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(4)]

    assert [one.wait() for one in several] == [0, 0, 0, 0]


def test_of_two_processes_that_want_the_lease_one_gets_it(journal: PostgresJournal, url: str) -> None:
    program = f"""
import sys
from kitaru_nb.errors import ConflictError
from kitaru_nb.journal.postgres_journal import PostgresJournal
from kitaru_nb.model.execution import Identity, current_owner
journal = PostgresJournal({url!r})
sys.stdin.readline()
try:
    journal.start(Identity(notebook="race.ipynb"), owner=current_owner())
    print("mine", flush=True)
except ConflictError as error:
    print(error.kind, flush=True)
sys.stdin.readline()
"""
    pipe = subprocess.PIPE
    several = [
        subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe, text=True)
        for _ in range(3)
    ]
    for one in several:
        one.stdin.write("go\n")
        one.stdin.flush()
    said = sorted(one.stdout.readline().strip() for one in several)
    for one in several:
        one.communicate("done\n")

    assert said == ["execution-held", "execution-held", "mine"]


def test_a_killed_owner_on_this_host_is_seen_at_once(journal: PostgresJournal, url: str) -> None:
    program = f"""
import os, signal
from kitaru_nb.journal.postgres_journal import PostgresJournal
from kitaru_nb.model.execution import Identity, current_owner
PostgresJournal({url!r}).start(Identity(notebook="dies.ipynb"), owner=current_owner())
os.kill(os.getpid(), signal.SIGKILL)
"""
    died = subprocess.run([sys.executable, "-c", program], check=False)
    assert died.returncode == -signal.SIGKILL

    attempt, before = journal.start(Identity(notebook="dies.ipynb"), owner=current_owner())

    assert before is not None
    assert before.status is ExecutionStatus.INTERRUPTED
    assert attempt.epoch == 2


def test_commits_of_many_threads_and_journals_do_not_mix(journal: PostgresJournal, url: str) -> None:
    def record(name: str) -> None:
        with closing(PostgresJournal(url)) as own:
            attempt, _ = own.start(Identity(notebook=name), owner=current_owner())
            parent = None
            for n in range(8):
                parent = own.commit(attempt, a_draft(f"{name}-{n}", parent=parent)).seq

    threads = [threading.Thread(target=record, args=(f"n{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for execution in journal.executions():
        steps = journal.checkpoints(execution.id)
        name = execution.identity.notebook
        assert [step.draft.name for step in steps] == [f"{name}-{n}" for n in range(8)]
        assert [step.ordinal for step in steps] == list(range(1, 9))
    assert journal.verify() == []


def test_a_forked_child_and_its_parent_both_go_on(journal: PostgresJournal) -> None:
    attempt, _ = journal.start(IDENTITY, owner=current_owner())

    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            journal.commit(attempt, a_draft("child"))
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    journal.commit(attempt, a_draft("parent"))

    assert os.waitstatus_to_exitcode(status) == 0
    assert [step.draft.name for step in journal.checkpoints(attempt.execution)] == ["child", "parent"]


def test_a_superseded_owner_records_nothing(journal: PostgresJournal, url: str) -> None:
    first, _ = journal.start(IDENTITY, owner=unseen_owner())
    with closing(PostgresJournal(url, lease=0)) as other:
        second, _ = other.start(IDENTITY, owner=replace(current_owner(), host="third.example"))

    with pytest.raises(ConflictError, match="superseded"):
        journal.commit(first, a_draft())

    assert journal.checkpoints(second.execution) == []


@pytest.mark.parametrize("url", ["mysql://host/db", "postgresql://host:port/db"])
def test_a_url_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        PostgresJournal(url)


@pytest.mark.chaos
@pytest.mark.slow
def test_a_server_killed_again_and_again_loses_and_doubles_nothing() -> None:
    with started() as server, closing(PostgresJournal(server.url)) as journal:
        attempt, _ = journal.start(IDENTITY, owner=current_owner())
        recorded, parent, stop = [], None, threading.Event()

        def crash() -> None:
            for n in range(4):
                stop.wait(0.1 + 0.03 * n)
                server.kill()
                server.start()

        thread = threading.Thread(target=crash)
        thread.start()
        try:
            while thread.is_alive() or len(recorded) < 50:
                draft = a_draft(f"step-{len(recorded)}", parent=parent)
                parent = journal.commit(attempt, draft).seq
                recorded.append(parent)
        finally:
            stop.set()
            thread.join()

        assert [step.seq for step in journal.checkpoints(attempt.execution)] == recorded
        assert journal.verify() == []
