"""What a step is seen to touch: files, the network, other processes, databases."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kitaru_nb.analysis.modules import file_digest as source_digest
from kitaru_nb.engine import observe
from kitaru_nb.engine.observe import Observed, file_digest, file_holds


@pytest.fixture
def observed() -> Iterator[Observed]:
    """What the test touches, recorded while it runs."""
    observed = Observed()
    observe.start(observed)
    yield observed
    observe.stop()


def test_files_read_and_written_are_told_apart(observed: Observed, tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.touch()
    observed.__init__()  # type: ignore[misc] # what was made ready is no part of the step

    source.read_text()
    target.write_text("1")

    assert observed.read >= {str(source)}
    assert observed.written == {str(target)}


@pytest.mark.parametrize("mode", ["w", "a", "r+", "x", "wb"])
def test_every_mode_that_can_write_counts_as_written(observed: Observed, tmp_path: Path, mode: str) -> None:
    file = tmp_path / "out.csv"
    if mode == "r+":
        file.touch()
        observed.written.clear()

    with file.open(mode):
        pass

    assert observed.written == {str(file)}


def test_relative_bytes_and_path_names_are_made_absolute(
    observed: Observed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").touch()
    observed.__init__()  # type: ignore[misc] # what was made ready is no part of the step

    for name in ("a", b"a", Path("a")):
        observed.read.clear()
        with open(name):  # noqa: PTH123 - as users do
            pass
        assert str(tmp_path / "a") in observed.read


def test_an_open_file_descriptor_is_no_file(observed: Observed) -> None:
    reader, writer = os.pipe()

    os.close(writer)
    with open(reader):  # noqa: PTH123 - not a path
        pass

    assert observed.read == set()


def test_a_file_that_was_looked_for_in_vain_is_absent(observed: Observed, tmp_path: Path) -> None:
    missing = tmp_path / "no.csv"

    with pytest.raises(FileNotFoundError):
        missing.read_text()
    (found,) = observed.files()

    assert (found["path"], found["mode"]) == (str(missing), "absent")
    assert file_holds(f"file:{missing}", found["digest"])
    missing.touch()
    assert not file_holds(f"file:{missing}", found["digest"])


def test_nothing_is_recorded_after_the_step(observed: Observed, tmp_path: Path) -> None:
    observe.stop()

    (tmp_path / "out.csv").write_text("1")

    assert observed == Observed()


def test_each_step_has_its_own_record(observed: Observed, tmp_path: Path) -> None:
    second = Observed()
    observe.start(second)

    (tmp_path / "out.csv").write_text("1")

    assert (observed.written, second.written) == (set(), {str(tmp_path / "out.csv")})


def connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


def connect_unix() -> None:
    left, right = socket.socketpair()
    left.close()
    right.close()
    with socket.socket(socket.AF_UNIX) as local, suppress(OSError):
        local.connect("/no/such/socket")


@pytest.mark.parametrize(
    ("touch", "kind"),
    [
        (connect, {"network"}),
        (connect_unix, set()),
        (lambda: subprocess.run([sys.executable, "--version"], check=True, capture_output=True), {"process"}),
        (lambda: os.system("true"), {"process"}),
        (lambda: sqlite3.connect(":memory:").close(), {"database"}),
        (lambda: sum(range(9)), set()),
    ],
    ids=["network", "local socket", "subprocess", "shell", "database", "nothing"],
)
def test_what_is_outside_memory_and_files_is_named_by_its_kind(
    observed: Observed, touch: Callable[[], object], kind: set[str]
) -> None:
    found = []
    for _ in range(3):  # a thread that another test left behind touches something now and then
        observed.outside.clear()
        touch()
        found.append(set(observed.outside))

    assert set.intersection(*found) == kind


# The files a step counts for


def test_a_files_mode_size_and_digest_are_told(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("123")
    (tmp_path / "out.csv").write_text("1")
    observed = Observed({str(tmp_path / "in.csv")}, {str(tmp_path / "out.csv")})

    found = observed.files()

    assert found == [
        {
            "path": str(tmp_path / name),
            "mode": mode,
            "digest": digest,
            "bytes": size,
            "mtime": (tmp_path / name).stat().st_mtime_ns,
        }
        for name, mode, digest, size in (
            ("in.csv", "read", file_digest(tmp_path / "in.csv"), 3),
            ("out.csv", "written", None, 1),
        )
    ]


def test_a_file_read_and_written_counts_as_written(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.touch()

    (found,) = Observed({str(file)}, {str(file)}).files()

    assert found["mode"] == "written"


def test_what_is_not_the_notebooks_data_is_left_out(tmp_path: Path) -> None:
    ignored = tmp_path / "home"
    ignored.mkdir()
    (ignored / "journal.db").touch()
    (tmp_path / "home.csv").touch()
    read = {
        os.__file__,
        pytest.__file__,
        "/etc/hostname",
        "/proc/self/stat",
        "/dev/null",
        str(tmp_path),
        str(ignored / "journal.db"),
        str(tmp_path / "home.csv"),
    }

    found = Observed(read).files(ignored=[ignored])

    assert [file["path"] for file in found] == [str(tmp_path / "home.csv")]


# Digests and conditions


def test_a_digest_follows_the_content(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    one = file_digest(file)
    file.write_bytes(b"other")
    other = file_digest(file)
    file.write_bytes(b"one")

    assert file_digest(file) == one != other
    assert file_digest(tmp_path / "no") is None


def test_a_large_file_has_the_digest_of_its_content(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    large.write_bytes(bytes(range(256)) * (1 << 13))
    small.write_bytes(large.read_bytes())

    assert file_digest(large) == file_digest(small)
    with large.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"!")
    assert file_digest(large) != file_digest(small)


def test_a_condition_on_a_file_holds_while_it_is_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "rows:1.csv"
    file.write_text("1")
    digest = file_digest(file)
    assert digest is not None
    assert file_holds(f"file:{file}", digest)

    file.write_text("22")

    assert not file_holds(f"file:{file}", digest)
    file.unlink()
    assert not file_holds(f"file:{file}", digest)


def test_a_condition_on_a_module_holds_while_its_code_does(tmp_path: Path) -> None:
    module = tmp_path / "m.py"
    module.write_text("x = 1\n")
    digest = source_digest(module)

    module.write_text("x = 1  # a comment\n")
    assert file_holds(f"module:{module}", digest)
    module.write_text("x = 2222\n")
    assert not file_holds(f"module:{module}", digest)
    module.unlink()
    assert not file_holds(f"module:{module}", digest)


def test_what_kitaru_nb_does_itself_in_a_thread_is_not_heard_of(observed: Observed, tmp_path: Path) -> None:
    with observe.own_doing():
        with observe.own_doing():
            (tmp_path / "inner.csv").touch()
        (tmp_path / "ours.csv").touch()
    (tmp_path / "theirs.csv").touch()

    assert observed.written == {str(tmp_path / "theirs.csv")}


def test_a_file_that_is_renamed_is_read_unless_the_step_has_made_it(
    observed: Observed, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    with observe.unheard():
        old.write_text("x")
        os.utime(old, (1, 1))
        new.write_text("what a program makes that is not heard")
        os.utime(new, ns=(observed.since + 1, observed.since + 1))

    old.rename(tmp_path / "one")
    new.rename(tmp_path / "two")

    assert observed.before.keys() == {str(old)}
