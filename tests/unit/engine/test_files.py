"""Files that steps write: stored with the commit, put back when missing, never taken from anybody."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru_nb.artifacts.secret_files import secret_in
from kitaru_nb.artifacts.values import checked_buffers
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine import files
from kitaru_nb.engine.reasons import condition_reasons
from kitaru_nb.errors import CorruptError
from kitaru_nb.model.stack import Stack
from tests.unit.engine.kernel import RAN, RESTORED, Kernel

# Cells open files as people do in notebooks: without closing them.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The notebook's folder, which is the working folder, too."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def kernel(folder: Path) -> Kernel:
    """A new process for the notebook in `folder`."""
    return Kernel(folder.parent / "home", notebook=folder / "n.ipynb").take_over()


WRITE = "open('out.txt', 'w').write('one')"


def test_a_missing_file_comes_back_with_its_content_and_mode(folder: Path) -> None:
    kernel(folder).cell(
        "import os\nos.makedirs('a/b')\nopen('a/b/x', 'w').write('one')\nos.chmod('a/b/x', 0o640)"
    )
    stamp = (folder / "a/b/x").stat().st_mtime_ns
    (folder / "a/b/x").unlink()
    (folder / "a/b").rmdir()
    (folder / "a").rmdir()

    again = kernel(folder)
    status = again.cell(
        "import os\nos.makedirs('a/b')\nopen('a/b/x', 'w').write('one')\nos.chmod('a/b/x', 0o640)"
    )

    assert status == RESTORED
    found = folder / "a/b/x"
    assert (found.read_text(), found.stat().st_mode & 0o777, found.stat().st_mtime_ns) == (
        "one",
        0o640,
        stamp,
    )
    assert "`a/b/x` was missing and is back" in again.restored.problems
    assert [path.name for path in found.parent.iterdir()] == ["x"]


def test_a_file_that_is_as_it_was_is_not_mentioned(folder: Path) -> None:
    kernel(folder).cell(WRITE)

    again = kernel(folder)

    assert again.cell(WRITE) == RESTORED
    assert again.restored.problems == []


def test_a_file_that_somebody_else_changed_is_left_alone_and_named(folder: Path) -> None:
    kernel(folder).cell(WRITE)
    (folder / "out.txt").write_text("mine")

    again = kernel(folder)

    assert again.cell(WRITE) == RESTORED
    assert (folder / "out.txt").read_text() == "mine"
    assert "`out.txt` was changed by something else" in again.restored.problems[0]


def test_a_file_that_a_later_step_changed_is_as_it_should_be(folder: Path) -> None:
    later = "open('out.txt', 'a').write(' two')"
    kernel(folder).cells(WRITE, later)

    again = kernel(folder)

    assert again.cell(WRITE) == RESTORED
    assert again.restored.problems == []
    assert again.cell(later) == RESTORED
    assert (folder / "out.txt").read_text() == "one two"


def test_steps_bring_a_missing_file_forward_one_after_the_other(folder: Path) -> None:
    later = "open('out.txt', 'a').write(' two')"
    kernel(folder).cells(WRITE, later)
    (folder / "out.txt").unlink()
    again = kernel(folder)

    assert again.cells(WRITE, later) == [RESTORED, RESTORED]

    assert (folder / "out.txt").read_text() == "one two"


def test_a_restored_step_writes_over_what_an_edited_step_of_this_kernel_wrote(folder: Path) -> None:
    last = "open('out.txt', 'w').write('last')"
    kernel(folder).cells(WRITE, last)
    again = kernel(folder)

    assert again.cells("open('out.txt', 'w').write('other')", last) == [RAN, RESTORED]

    assert (folder / "out.txt").read_text() == "last"


def test_what_a_restored_step_had_added_is_not_put_in_the_place_of_what_this_kernel_added(
    folder: Path,
) -> None:
    cells = [f"open('log', 'a').write('{letter}')" for letter in "abc"]
    kernel(folder).cells(*cells)
    again = kernel(folder)

    assert again.cells(cells[0], "open('log', 'a').write('B')", cells[2]) == [RESTORED, RAN, RESTORED]

    assert (folder / "log").read_text() == "abcB"


def test_a_file_as_it_was_before_the_step_becomes_what_the_step_left(folder: Path) -> None:
    empty, append = "open('log', 'w').close()", "open('log', 'a').write('line')"
    first = kernel(folder)
    first.plain(empty)
    first.cell(append)
    again = kernel(folder)

    again.plain(empty)

    assert again.cell(append) == RESTORED
    assert (folder / "log").read_text() == "line"


def test_a_large_file_is_not_read_again_to_see_that_it_is_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_LARGE", 1)
    kernel(folder).cell(WRITE)
    monkeypatch.setattr(files, "content_digest", lambda _path: pytest.fail("it was read"))

    again = kernel(folder)

    assert again.cell(WRITE) == RESTORED
    assert again.restored.problems == []


def test_a_file_that_the_step_removed_is_not_put_back(folder: Path) -> None:
    write = (
        "import os\nopen('tmp', 'w').write('1')\nos.replace('tmp', 'out')\n"
        "open('t2', 'w').close()\nos.remove('t2')"
    )
    kernel(folder).cell(write)
    (folder / "out").unlink()

    again = kernel(folder)

    assert again.cell(write) == RESTORED
    assert sorted(path.name for path in folder.iterdir()) == ["out"]


def test_a_file_that_a_later_step_removed_is_gone_again_after_that_step(folder: Path) -> None:
    read = "text = open('out.txt').read()\nimport os\nos.remove('out.txt')"
    kernel(folder).cells(WRITE, read)
    again = kernel(folder)

    assert again.cells(WRITE, read) == [RESTORED, RESTORED]

    assert again["text"] == "one"
    assert not (folder / "out.txt").exists()


def test_resume_puts_back_the_files_of_the_line(folder: Path) -> None:
    kernel(folder).cells(WRITE, "open('out.txt', 'a').write(' two')", "import os\nos.mkdir('new')")
    (folder / "out.txt").unlink()
    (folder / "new").rmdir()

    report = kernel(folder).session.resume()

    assert (folder / "out.txt").read_text() == "one two"
    assert (folder / "new").is_dir()
    assert "`out.txt` was missing and is back" in report.restored.problems


def test_nothing_is_stored_or_put_back_outside_the_notebooks_folder(folder: Path) -> None:
    source = "open('../beside.txt', 'w').write('1')"
    first = kernel(folder)
    first.cell(source)
    (folder.parent / "beside.txt").unlink()

    assert kernel(folder).cell(source) == RESTORED

    (file,) = first.last.draft.files
    assert file["why"] == "it is outside the notebook's folder"
    assert not (folder.parent / "beside.txt").exists()


def test_a_folder_that_became_a_link_leading_out_gets_nothing(folder: Path) -> None:
    source = "import os\nos.mkdir('out')\nopen('out/x', 'w').write('1')"
    kernel(folder).cell(source)
    (folder / "out/x").unlink()
    (folder / "out").rmdir()
    (folder.parent / "elsewhere").mkdir()
    (folder / "out").symlink_to(folder.parent / "elsewhere")

    again = kernel(folder)
    again.cell(source)

    assert list((folder.parent / "elsewhere").iterdir()) == []
    assert any("outside the notebook's folder" in said for said in again.restored.problems)


def test_a_damaged_file_is_an_error_that_names_step_and_file(folder: Path) -> None:
    big = "open('big', 'wb').write(bytes(range(256)) * 4096)"
    kernel(folder).cell(big)
    (folder / "big").unlink()
    (pack,) = [path for path in (folder.parent / "home/store").rglob("*") if path.is_file()]
    data = bytearray(pack.read_bytes())
    data[-100_000] ^= 1
    pack.write_bytes(data)

    with pytest.raises(CorruptError, match=r"checkpoint `write`.*file `big`"):
        kernel(folder).cell(big)

    assert not (folder / "big").exists()
    assert list(folder.iterdir()) == []


def test_a_large_file_is_stored_in_extents_once(folder: Path) -> None:
    big = "open('big', 'wb').write(bytes(range(256)) * 4096 * 20)"
    first = kernel(folder)
    first.cell(big)
    (file,) = first.last.draft.files
    artifact = first.engine.artifact(file["artifact"])
    assert [extent.length for extent in checked_buffers(artifact)[0]] == [1 << 20] * 20
    before = _store_size(folder)

    first.cell("open('copy', 'wb').write(open('big', 'rb').read())")

    assert _store_size(folder) == before
    (folder / "big").unlink()
    kernel(folder).session.resume()
    assert (folder / "big").read_bytes() == bytes(range(256)) * 4096 * 20


def _store_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder.parent / "home/store").rglob("*") if path.is_file())


def test_a_file_written_by_another_process_is_stored_too(folder: Path) -> None:
    source = "import subprocess\nsubprocess.run(['sh', '-c', 'echo 1 > made'], check=True)"
    kernel(folder).cell(source)
    (folder / "made").unlink()

    assert kernel(folder).cell(source) == RESTORED

    assert (folder / "made").read_text() == "1\n"


MAKE_AND_READ = (
    "import os, subprocess\nname = os.path.abspath('ma' + 'de')\n"
    "subprocess.run(['sh', '-c', 'echo 1 >> ma''de'], check=True)\nread = open(name).read()"
)


def test_a_file_that_a_process_of_the_step_made_and_the_step_read_is_put_back(folder: Path) -> None:
    kernel(folder).cell(MAKE_AND_READ)
    (folder / "made").unlink()

    again = kernel(folder)

    assert again.cell(MAKE_AND_READ) == RESTORED
    assert again["read"] == (folder / "made").read_text() == "1\n"


def test_a_file_that_a_process_of_the_step_changed_and_the_step_read_is_an_input(folder: Path) -> None:
    (folder / "made").write_text("0\n")
    kernel(folder).cell(MAKE_AND_READ)
    (folder / "made").unlink()

    again = kernel(folder)

    assert again.cell(MAKE_AND_READ) == RAN
    assert again["read"] == "1\n"


def test_a_file_that_the_step_looked_for_before_a_process_made_it_is_an_input(folder: Path) -> None:
    source = f"import os\ntry: open(os.path.abspath('ma' + 'de'))\nexcept OSError: pass\n{MAKE_AND_READ}"
    first = kernel(folder)

    first.cell(source)

    assert f"file:{folder / 'made'}" in first.last.draft.conditions


def test_a_file_among_too_many_to_be_known_before_is_an_input(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_MOST", 2)
    for number in range(3):
        (folder / f"{number}.csv").touch()
    first = kernel(folder)

    first.cell(MAKE_AND_READ)

    assert f"file:{folder / 'made'}" in first.last.draft.conditions


def test_a_shell_line_in_a_terminal_of_its_own_is_a_process(folder: Path) -> None:
    first = kernel(folder)

    first.cell("from IPython.utils.process import system\nsystem('touch ma''de')")

    assert first.last.draft.outside == ("process",)
    assert [file["below"] for file in first.last.draft.files if file["mode"] == "written"] == ["made"]


def test_a_file_that_was_there_before_a_process_ran_is_not_taken_for_its_work(folder: Path) -> None:
    (folder / "data").write_text("1")
    time.sleep(0.02)  # older than one tick of the clock that files are stamped with
    first = kernel(folder)

    first.cell("import subprocess\nsubprocess.run(['cat', 'data'], capture_output=True)")

    assert [file["mode"] for file in first.last.draft.files if file["mode"] == "written"] == []
    assert f"file:{folder / 'data'}" in first.last.draft.conditions


# Files read, and changed by the same step or a later one


def test_a_counter_in_a_file_is_restored_before_and_after_the_step_and_runs_for_another(folder: Path) -> None:
    (folder / "count").write_text("1")
    source = "n = int(open('count').read()) + 1\nopen('count', 'w').write(str(n))"
    kernel(folder).cell(source)
    assert (folder / "count").read_text() == "2"
    assert kernel(folder).cell(source) == RESTORED
    (folder / "count").write_text("1")
    assert kernel(folder).cell(source) == RESTORED

    (folder / "count").write_text("7")

    assert kernel(folder).cell(source) == RAN


def test_a_file_that_a_later_step_changed_is_no_reason_to_run_again(folder: Path) -> None:
    (folder / "log").write_text("a")
    cells = ("text = open('log').read()", "open('log', 'a').write('b')")
    kernel(folder).cells(*cells)
    time.sleep(0.02)  # the new kernel begins after the file was changed

    assert kernel(folder).cells(*cells) == [RESTORED, RESTORED]


def test_a_file_that_was_changed_in_this_kernel_is_a_reason_to_run_again(folder: Path) -> None:
    (folder / "log").write_text("a")
    first = kernel(folder)
    read = "text = open('log').read()"
    first.cells(read, "open('log', 'a').write('b')")

    assert first.cell(read) == RAN

    assert first["text"] == "ab"


def test_two_contents_written_within_one_tick_of_the_clock_are_told_apart(folder: Path) -> None:
    first = kernel(folder)
    for value in range(8):
        (folder / "data").write_text(str(value))
        assert first.cell("text = open('data').read()", step="a") == RAN
        assert first["text"] == str(value)


# Folders and databases


def test_a_new_file_in_a_listed_folder_makes_the_step_run_again(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data/a.csv").touch()
    source = "import os\nnames = sorted(os.listdir('data'))"
    kernel(folder).cell(source)
    assert kernel(folder).cell(source) == RESTORED

    (folder / "data/b.csv").touch()

    assert kernel(folder).cell(source) == RAN


@pytest.mark.parametrize(
    "source",
    [
        "import glob\nn = glob.glob('data/*.csv')",
        "from pathlib import Path\nn = list(Path('data').glob('*.csv'))",
    ],
)
def test_a_pattern_counts_only_what_it_matches(folder: Path, source: str) -> None:
    (folder / "data").mkdir()
    (folder / "data/a.csv").touch()
    kernel(folder).cell(source)
    (folder / "data/notes.txt").touch()
    assert kernel(folder).cell(source) == RESTORED

    (folder / "data/b.csv").touch()

    assert kernel(folder).cell(source) == RAN


def test_files_that_a_step_or_a_later_one_made_in_a_listed_folder_are_no_change(folder: Path) -> None:
    (folder / "data").mkdir()
    cells = (
        "import os\nbefore = os.listdir('data')\nopen('data/mine', 'w').close()\nafter = os.listdir('data')",
        "open('data/later', 'w').write('1')",
    )
    kernel(folder).cells(*cells)
    assert kernel(folder).cells(*cells) == [RESTORED, RESTORED]

    (folder / "data/mine").unlink()
    (folder / "data/later").unlink()

    assert kernel(folder).cells(*cells) == [RESTORED, RESTORED]


def test_an_import_is_no_listing_of_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    (folder / "helper_of_listing.py").write_text("x = 1\n")
    source = "import helper_of_listing"
    kernel(folder).cell(source)

    (folder / "other.txt").touch()

    assert kernel(folder).cell(source) == RESTORED


def test_a_database_that_is_read_counts_by_its_content(folder: Path) -> None:
    with sqlite3.connect(folder / "rows.db") as rows:
        rows.execute("create table t (x)")
    source = (
        "import sqlite3\nc = sqlite3.connect('rows' + '.db')\n"
        "n = c.execute('select count(*) from t').fetchone()\nc.close()\ndel c"
    )
    kernel(folder).cell(source)
    assert kernel(folder).cell(source) == RESTORED

    with sqlite3.connect(folder / "rows.db") as rows:
        rows.execute("insert into t values (1)")

    assert kernel(folder).cell(source) == RAN


def test_a_database_that_a_step_wrote_is_put_back(folder: Path) -> None:
    source = (
        "import sqlite3\nc = sqlite3.connect('rows.db')\n"
        "c.execute('create table t (x)')\nc.commit()\nc.close()\ndel c"
    )
    kernel(folder).cell(source)
    (folder / "rows.db").unlink()

    assert kernel(folder).cell(source) == RESTORED

    assert sqlite3.connect(folder / "rows.db").execute("select * from t").fetchall() == []


def test_the_folder_may_have_moved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(folder).cell(WRITE)
    execution = kernel(folder).session.open().execution
    moved = folder.parent / "moved"
    moved.mkdir()
    (folder / "out.txt").unlink()
    monkeypatch.chdir(moved)

    kernel(moved).session.resume(execution, take_over=True)

    assert (moved / "out.txt").read_text() == "one"
    assert not (folder / "out.txt").exists()
    assert list(folder.iterdir()) == []


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    source = "import os\nos.path.exists('p') or os.mkfifo('p')"
    kernel(folder).cell(source)

    assert kernel(folder).cell(source) in (RAN, RESTORED)


def test_a_link_is_named_and_what_it_leads_to_is_stored(folder: Path) -> None:
    source = "import os\nopen('real', 'w').write('1')\nos.symlink('real', 'link')"
    first = kernel(folder)
    first.cell(source)
    (folder / "link").unlink()
    (folder / "real").unlink()

    again = kernel(folder)

    assert again.cell(source) == RESTORED
    assert (folder / "real").read_text() == "1"
    assert "`link` is not back: it is a symbolic link" in again.restored.problems


def test_a_file_written_through_a_link_is_stored_as_the_file_it_leads_to(folder: Path) -> None:
    (folder / "link").symlink_to("real")
    source = "open('link', 'w').write('1')"
    kernel(folder).cell(source)
    (folder / "real").unlink()

    assert kernel(folder).cell(source) == RESTORED

    assert (folder / "real").read_text() == "1"
    assert (folder / "link").is_symlink()


def test_a_folder_that_the_step_cleared_may_be_there_again(folder: Path) -> None:
    source = "import shutil\nshutil.rmtree('d')"
    for _ in range(2):
        (folder / "d").mkdir()
        (folder / "d/x").write_text("1")
        status = kernel(folder).cell(source)

    assert status == RESTORED


COUNT = "import pathlib\np = pathlib.Path('n'); n = int(p.read_text()) + 1; p.write_text(str(n))"


def test_a_step_run_again_right_away_reads_what_it_wrote_itself(folder: Path) -> None:
    (folder / "n").write_text("0")
    first = kernel(folder)

    counted = [(first.cell(COUNT, step="a"), first["n"]) for _ in range(3)]

    assert counted == [(RAN, 1), (RAN, 2), (RAN, 3)]


def test_a_step_that_changed_what_it_read_is_restored_once_after_a_crash(folder: Path) -> None:
    (folder / "n").write_text("0")
    kernel(folder).cell(COUNT, step="a")
    again = kernel(folder)

    counted = [(again.cell(COUNT, step="a"), again["n"]) for _ in range(2)]

    assert counted == [(RESTORED, 1), (RAN, 2)]


def test_run_all_twice_in_one_kernel_restores_a_step_whose_file_is_made_anew(folder: Path) -> None:
    cells = ("import pathlib\n_ = pathlib.Path('n').write_text('0')", COUNT)
    first = kernel(folder)
    first.cells(*cells)

    assert first.cells(*cells) == [RESTORED] * 2
    assert (first["n"], (folder / "n").read_text()) == (1, "1")


def test_what_a_stack_keeps_beside_the_notebook_is_none_of_its_files(folder: Path) -> None:
    team = Stack("team", store="values", journal="sqlite:///run.db", source=str(folder / "kitaru_nb.toml"))
    own = Kernel(
        folder.parent / "home",
        notebook=folder / "n.ipynb",
        settings={"stack": "team", "place": team},
    )
    own.cell("import subprocess\nlarge = bytes(range(256)) * 1000")

    own.cell(
        "large = large + b'!'\nsubprocess.run(['sh', '-c', 'touch made values/x run.db-wal'], check=True)"
    )

    assert (folder / "run.db").is_file()
    assert [Path(file["path"]).name for file in own.last.draft.files] == ["made"]


# Secrets

KEY = "c4n4ry1n3nv1r0nm3nt0001"
SHAPED = "sk-c4n4ryw1th4sh4p30003"


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SOME_API_KEY", KEY)
    VAULT.forget()
    yield
    VAULT.forget()


CONFIG = "import os\nopen('app.env', 'w').write('KEY=' + os.environ['SOME_API_KEY'] + '\\n')"
LOG = "f = open('run.log', 'w')\nfor n in range(60_000): f.write(f'step {n} is done and all is well\\n')\n"
LOG += f"f.write('see https://api/?key={SHAPED}'); f.write('\\n' + 'x' * 3_000_000); f.close()"
PICKLE = "import os, pickle\npickle.dump({'a': [1], 'of': os.environ['SOME_API_KEY']}, open('it.pkl', 'wb'))"


@pytest.mark.parametrize(
    ("cell", "name", "what"),
    [
        (CONFIG, "app.env", "secret:env:SOME_API_KEY"),
        (LOG, "run.log", "secret:shape:openai"),
        (PICKLE, "it.pkl", "secret:env:SOME_API_KEY"),
    ],
)
def test_a_file_that_holds_a_secret_is_not_stored_and_that_is_said(
    folder: Path, secrets: None, cell: str, name: str, what: str
) -> None:
    first = kernel(folder)
    first.cell(cell)
    said = first.session.notes()
    content = (folder / name).read_bytes()
    first.stop()
    there = b"".join(path.read_bytes() for path in (folder.parent / "home").rglob("*") if path.is_file())

    assert said == [f"the file `{name}` is not stored: it holds {what}"]
    assert KEY.encode() not in there
    assert SHAPED.encode() not in there
    again = kernel(folder)
    assert again.cell(cell) == RESTORED
    assert (folder / name).read_bytes() == content, "what is there stays as it is"
    again.stop()
    (folder / name).unlink()
    gone = kernel(folder)
    assert gone.cell(cell) == RESTORED
    assert gone.restored.problems == [f"`{name}` is not back: it holds {what}"]
    assert not (folder / name).exists()


def test_a_file_with_a_secret_in_its_name_is_not_stored_and_its_name_is_not_noted(
    folder: Path, secrets: None
) -> None:
    cell = (
        "import os\nkey = os.environ['SOME_API_KEY']\nmade_token = ''.join(['c4n4ry-1n', '-th3-n4m3'])\n"
        "for name in (key, made_token):\n    open(f'{name}.txt', 'w').close()\n    os.mkdir(f'of-{name}')\n"
        "print('done')"
    )
    first = kernel(folder)
    first.cell(cell)
    said = first.session.notes()
    first.stop()
    there = b"".join(path.read_bytes() for path in (folder.parent / "home").rglob("*") if path.is_file())

    assert sorted(said) == [
        "the file `secret:env:SOME_API_KEY.txt` is not stored: there is a secret in its name",
        "the file `secret:name:made_token.txt` is not stored: there is a secret in its name",
    ]
    assert KEY.encode() not in there
    assert b"c4n4ry-1n-th3-n4m3" not in there
    again = kernel(folder)
    assert again.cell(cell) == RESTORED
    assert again.restored.problems == []
    assert sorted(path.name for path in folder.iterdir() if "secret:" in path.name) == []


def test_a_secret_that_lies_across_two_reads_of_a_file_is_found(folder: Path, secrets: None) -> None:
    for at in (8192 - 10, (1 << 20) + 8192 - 10, (2 << 20) + 5):
        (folder / "t.txt").write_text("." * at + "\n" + KEY + "\n" + "." * 5000)

        assert secret_in(folder / "t.txt") == "secret:env:SOME_API_KEY"


def test_a_file_of_numbers_is_not_looked_through(folder: Path, secrets: None) -> None:
    own = kernel(folder)

    own.cell("open('a.bin', 'wb').write(b'\\x00\\x01' + b'c4n4ry1n3nv1r0nm3nt0001')")

    assert "artifact" in own.last.draft.files[0]
    assert own.session.notes() == []


def test_a_file_is_read_again_when_it_or_what_is_known_has_changed(
    folder: Path, secrets: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    real = files.secret_in
    monkeypatch.setattr(files, "secret_in", lambda path: looked.append(path) or real(path))
    own = kernel(folder)
    own.cell("open('a.txt', 'w').write('c4n4ry-n0t-y3t-kn0wn')")
    own.cell("import os; os.utime('a.txt', ns=(1, os.stat('a.txt').st_mtime_ns))\nopen('a.txt', 'a').close()")
    before = len(looked)

    own.cell("db_password = 'c4n4ry-n0t-y3t-kn0wn'\nopen('a.txt', 'a').close()")

    assert before >= 1
    assert len(looked) > before
    assert own.session.notes() == ["the file `a.txt` is not stored: it holds secret:name:db_password"]


def test_a_file_that_a_restored_step_removes_is_removed_also_where_a_plain_cell_added_to_it(
    folder: Path,
) -> None:
    def run(kernel: Kernel) -> list[str]:
        first = kernel.cell(WRITE)
        kernel.plain("with open('out.txt', 'a') as f: f.write(' plain')")
        return [first, *kernel.cells("import os; os.rename('out.txt', 'moved.txt')", "x = os.listdir('.')")]

    run(kernel(folder))
    again = kernel(folder)

    assert run(again) == [RESTORED] * 3
    assert again["x"] == ["moved.txt"]
    assert [path.name for path in folder.iterdir()] == ["moved.txt"]


def test_a_folder_that_a_restored_step_removes_is_removed_with_what_it_held(folder: Path) -> None:
    cells = (
        "import os, shutil; os.makedirs('out/a/b')",
        "for name in ('a/b/x', 'y'): open('out/' + name, 'w').close()",
        "shutil.rmtree('out/a')",
        "names = os.listdir('out')",
        "os.rename('out', 'new'); os.mkdir('e')",
        "os.rmdir('e')",
    )
    kernel(folder).cells(*cells)
    again = kernel(folder)

    assert again.cells(*cells) == [RESTORED] * 6
    assert again["names"] == ["y"]
    assert sorted(path.name for path in folder.rglob("*")) == ["new", "y"]


def test_a_folder_that_a_restored_step_removed_stays_where_somebody_put_something_into_it(
    folder: Path,
) -> None:
    cells = ("import os, shutil; os.mkdir('out')", "shutil.rmtree('out')")
    kernel(folder).cells(*cells)
    again = kernel(folder)
    again.cell(cells[0])
    (folder / "out" / "mine").write_text("mine")

    assert again.cell(cells[1]) == RESTORED
    assert (folder / "out" / "mine").read_text() == "mine"


def test_two_equal_cells_that_add_to_a_file_are_both_restored(folder: Path) -> None:
    add = "n = int(open('n').read()) + 1\nwith open('n', 'w') as f: f.write(str(n))"
    (folder / "n").write_text("0")
    first = kernel(folder)
    ran = [first.cell(add, step=step) for step in "ab"]

    again = kernel(folder)

    assert ran == [RAN, RAN]
    assert [again.cell(add, step=step) for step in "ab"] == [RESTORED, RESTORED]
    assert (again["n"], (folder / "n").read_text()) == (2, "2")


OPEN_DB = "import sqlite3\nc = sqlite3.connect('rows.db')\n"
MAKE_ROW = (
    "c.execute('drop table if exists t')\nc.execute('create table t (x)')\n"
    "c.execute('insert into t values ({})')"
)
ADD_ROW = "n = str(c.execute('select x from t').fetchone()[0])\nc.execute('insert into t values (0)')"
CLOSE_DB = "\nc.commit(); c.close(); del c"
SEEN_BY = {
    "reads": ("open('f', 'w').write('{}')", "n = open('f').read()"),
    "changes": (
        "open('f', 'w').write('{}')",
        "with open('f', 'r+') as f:\n    n = f.read(); _ = f.write('x')\ndel f",
    ),
    "lists": (
        "import os, shutil\nshutil.rmtree('d', ignore_errors=True)\nos.mkdir('d')\nopen('d/{}', 'w').close()",
        "n = os.listdir('d')[0]",
    ),
    "database": (OPEN_DB + MAKE_ROW + CLOSE_DB, OPEN_DB + ADD_ROW + CLOSE_DB),
    "database elsewhere": (
        OPEN_DB.replace("rows", "../rows") + MAKE_ROW + CLOSE_DB,
        OPEN_DB.replace("rows", "../rows") + ADD_ROW + CLOSE_DB,
    ),
}


@pytest.mark.parametrize("again", [False, True], ids=["here", "in a new process"])
@pytest.mark.parametrize("way", SEEN_BY)
def test_what_a_cell_above_leaves_in_files_once_it_was_edited_is_seen_below(
    folder: Path, way: str, again: bool
) -> None:
    above, below = SEEN_BY[way]
    notebook = kernel(folder)
    notebook.cell(above.format(1), step="cell:a")
    notebook.cell(below, step="cell:b")
    assert notebook.cell(above.format(22), step="cell:a") == RAN

    notebook = kernel(folder) if again else notebook
    if again:
        assert notebook.cell(above.format(22), step="cell:a") == RESTORED

    assert notebook.cell(below, step="cell:b") == RAN
    assert notebook["n"] == "22"
    notebook = kernel(folder)
    assert notebook.cell(above.format(22), step="cell:a") == RESTORED
    assert notebook.cell(below, step="cell:b") == RESTORED
    assert notebook["n"] == "22"


@pytest.mark.parametrize("way", SEEN_BY)
def test_what_a_cell_that_was_put_in_above_leaves_in_files_is_seen_below(folder: Path, way: str) -> None:
    above, below = SEEN_BY[way]
    notebook = kernel(folder)
    notebook.cell(above.format(1), step="cell:a")
    notebook.cell(below, step="cell:b")
    notebook.cell(above.format(22), step="cell:between")

    notebook = kernel(folder)
    assert notebook.cell(above.format(1), step="cell:a") == RESTORED
    assert notebook.cell(above.format(22), step="cell:between") == RESTORED

    assert notebook.cell(below, step="cell:b") == RAN
    assert notebook["n"] == "22"


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("way", SEEN_BY)
def test_what_a_cell_below_has_left_in_files_keeps_none_above_from_being_restored(
    folder: Path, way: str, resumed: bool
) -> None:
    above, below = SEEN_BY[way]
    later = "open('d/22', 'w').close()" if way == "lists" else above.format(22)
    cells = {"cell:a": above.format(1), "cell:b": below, "cell:c": f"{later}\nlast = 1"}
    notebook = kernel(folder)
    for step, source in cells.items():
        assert notebook.cell(source, step=step) == RAN

    notebook = kernel(folder)
    if resumed:
        notebook.session.resume()
    for _ in range(2):
        for step, source in cells.items():
            assert notebook.cell(source, step=step) == RESTORED, step
    assert notebook["n"] == "1"


def test_cells_that_change_a_database_one_after_the_other_do_so_once(folder: Path) -> None:
    cells = {
        "cell:a": OPEN_DB + "c.execute('create table t (x)')" + CLOSE_DB,
        "cell:b": OPEN_DB + "c.execute('insert into t values (1)')" + CLOSE_DB,
        "cell:c": OPEN_DB + "c.execute('update t set x = x + 1')" + CLOSE_DB,
    }
    notebook = kernel(folder)
    for step, source in cells.items():
        assert notebook.cell(source, step=step) == RAN

    for number in range(3):
        notebook = kernel(folder) if number else notebook
        for step, source in cells.items():
            assert notebook.cell(source, step=step) == RESTORED, step
    with sqlite3.connect(folder / "rows.db") as rows:
        assert rows.execute("select x from t").fetchall() == [(2,)]


def run_all(notebook: Kernel, *sources: str) -> list[str]:
    """Run or restore cells from the top on; the first of them is `cell:0`."""
    return [notebook.cell(source, step=f"cell:{number}") for number, source in enumerate(sources)]


HEADER = "with open('f', 'w') as f: f.write('{}')\ndel f"
ADD = "with open('f', 'a') as f: f.write('{}')\ndel f"


def test_what_an_edited_cell_adds_is_added_to_what_the_cells_above_left(folder: Path) -> None:
    run_all(kernel(folder), HEADER.format("1"), ADD.format("old"))

    assert run_all(kernel(folder), HEADER.format("1"), ADD.format("new")) == [RESTORED, RAN]

    assert (folder / "f").read_text() == "1new"


@pytest.mark.parametrize("again", [False, True], ids=["here", "in a new process"])
def test_a_cell_adds_anew_to_a_file_that_was_written_anew(folder: Path, again: bool) -> None:
    notebook = kernel(folder)
    run_all(notebook, HEADER.format("1"), ADD.format("row"), "n = open('f').read()")

    notebook = kernel(folder) if again else notebook
    assert run_all(notebook, HEADER.format("2"), ADD.format("row"), "n = open('f').read()") == [RAN] * 3

    assert notebook["n"] == "2row"
    assert run_all(notebook, HEADER.format("2"), ADD.format("row")) == [RESTORED] * 2
    assert (folder / "f").read_text() == "2row"


def test_a_cell_that_adds_to_a_log_is_restored_whatever_others_have_added(folder: Path) -> None:
    run_all(kernel(folder), ADD.format("one"), ADD.format("two"))

    assert run_all(kernel(folder), ADD.format("three"), ADD.format("two")) == [RAN, RESTORED]

    assert (folder / "f").read_text() == "onetwothree"


def test_what_a_failed_cell_has_added_to_a_file_is_not_lost(folder: Path) -> None:
    notebook = kernel(folder)
    run_all(notebook, HEADER.format("1"))
    with pytest.raises(ZeroDivisionError):
        notebook.cell(ADD.format("an hour of work") + "\n1 / 0", step="cell:1")

    notebook = kernel(folder)
    assert run_all(notebook, HEADER.format("1"), "other = 1") == [RESTORED, RAN]

    assert (folder / "f").read_text() == "1an hour of work"
    assert [line for line in notebook.restored.problems if "`f`" in line] == [
        "`f` holds what a cell that failed has left in it; remove it to have it as before that"
    ]
    (folder / "f").unlink()
    run_all(kernel(folder), HEADER.format("1"))
    assert (folder / "f").read_text() == "1"


@pytest.mark.parametrize("how", ["os.replace('f', 'g')", "os.link('f', 'g')", "open('f', 'a+').seek(0)"])
def test_what_a_cell_renames_links_or_may_read_is_an_input_of_it(folder: Path, how: str) -> None:
    run_all(kernel(folder), HEADER.format("1"), f"import os\n{how}")
    (folder / "g").unlink(missing_ok=True)

    assert run_all(kernel(folder), HEADER.format("2"), f"import os\n{how}") == [RAN, RAN]
    assert run_all(kernel(folder), HEADER.format("2"), f"import os\n{how}") == [RESTORED] * 2
    assert (folder / ("f" if "a+" in how else "g")).read_text() == "2"


def test_files_of_former_cells_are_not_in_a_folder_that_a_restored_cell_made_anew(folder: Path) -> None:
    anew = "import os, shutil\nshutil.rmtree('parts', ignore_errors=True)\nos.mkdir('parts')"
    write = "for n in range({}):\n    with open(f'parts/{{n}}', 'w') as f: f.write('x')\ndel f, n"
    read = "names = sorted(os.listdir('parts'))"
    notebook = kernel(folder)
    run_all(notebook, anew, write.format(3), read)
    assert notebook["names"] == ["0", "1", "2"]
    (folder / "parts" / "mine").touch()

    notebook = kernel(folder)
    assert run_all(notebook, anew, write.format(2), read) == [RESTORED, RAN, RAN]

    assert notebook["names"] == ["0", "1", "mine"]


def test_a_cell_that_would_leave_by_itself_what_another_one_left_by_accident_runs(folder: Path) -> None:
    insert = "import subprocess\nsubprocess.run(['sed', '-i', 's/^/1/', 'f'])"
    run_all(kernel(folder), HEADER.format("6"), "pass", insert)
    assert (folder / "f").read_text() == "16"

    assert run_all(kernel(folder), HEADER.format("6"), insert, insert) == [RESTORED, RAN, RAN]

    assert (folder / "f").read_text() == "116"


def test_why_a_cell_ran_again_for_a_file_is_said(folder: Path) -> None:
    change = OPEN_DB + "c.execute('insert into t values (0)')" + CLOSE_DB
    notebook, said = kernel(folder), []
    for number in (1, 2):
        drafts = []
        for step, source in enumerate(
            [HEADER.format(number), ADD.format("row"), OPEN_DB + MAKE_ROW.format(number) + CLOSE_DB, change]
        ):
            assert notebook.cell(source, step=f"cell:{step}") == RAN
            drafts.append(notebook.last.draft)
        said.append(drafts)

    reasons = [[text for _, _, text, *_ in condition_reasons(*pair)] for pair in zip(*said, strict=True)]
    assert [text.replace(f"{folder}/", "") for text in reasons[1] + reasons[3]] == [
        "the file `f`, which it adds to or changes, was written anew by a cell above",
        "the database `rows.db` has changed since",
    ]


SHELL = "import subprocess\nsubprocess.run(['sh', '-c', '{}'])"


def test_what_another_program_wrote_over_a_file_is_written_anew_once_a_cell_above_is_edited(
    folder: Path,
) -> None:
    notebook = kernel(folder)
    cells = SHELL.format("echo over > f"), "n = open('f').read()"
    run_all(notebook, SHELL.format("echo 1 > f"), *cells)

    assert run_all(notebook, SHELL.format("echo 2 > f"), *cells) == [RAN, RAN, RESTORED]

    assert notebook["n"] == "over\n"


def test_what_another_program_added_to_a_file_is_added_anew_once_a_cell_above_is_edited(folder: Path) -> None:
    notebook = kernel(folder)
    cells = SHELL.format("echo more >> f"), "n = open('f').read()"
    run_all(notebook, SHELL.format("echo 1 > f"), *cells)

    assert run_all(notebook, SHELL.format("echo 2 > f"), *cells) == [RAN] * 3

    assert notebook["n"] == "2\nmore\n"


def test_an_edited_cell_reads_what_another_program_wrote_for_it_and_not_what_came_later(folder: Path) -> None:
    first, last = SHELL.format("echo 1 > f"), SHELL.format("echo 9 > f")
    run_all(kernel(folder), first, "n = open('f').read()", last)

    notebook = kernel(folder)
    assert run_all(notebook, first, "n = open('f').read() + '!'", last) == [RESTORED, RAN, RESTORED]

    assert notebook["n"] == "1\n!"
    assert (folder / "f").read_text() == "9\n"


def test_a_log_that_other_programs_add_to_makes_no_cell_run_again(folder: Path) -> None:
    cells = SHELL.format("echo one >> log"), SHELL.format("echo two >> log")
    notebook = kernel(folder)
    run_all(notebook, *cells)

    for again in range(3):
        notebook = kernel(folder) if again else notebook
        assert run_all(notebook, *cells) == [RESTORED] * 2
    assert (folder / "log").read_text() == "one\ntwo\n"


def test_a_file_that_another_program_changed_is_put_back(folder: Path) -> None:
    (folder / "f").write_text("a\n")
    cell = SHELL.format("sed -i s/a/b/ f")
    run_all(kernel(folder), cell)
    (folder / "f").unlink()

    assert run_all(kernel(folder), cell) == [RESTORED]

    assert (folder / "f").read_text() == "b\n"


@pytest.mark.parametrize("resumed", [False, True])
def test_what_cells_have_in_a_folder_that_one_of_them_made_anew_is_left_there(
    folder: Path, resumed: bool
) -> None:
    anew = "import os, shutil\nshutil.rmtree('parts', ignore_errors=True)\nos.mkdir('parts')\n"
    cells = f"{anew}open('parts/own', 'w').close()", "open('parts/two', 'w').close()"
    run_all(kernel(folder), *cells)

    notebook = kernel(folder)
    if resumed:
        notebook.session.resume()
    else:
        run_all(notebook, *cells)
    notebook.cell("later = 1", step="cell:later")

    assert sorted(each.name for each in (folder / "parts").iterdir()) == ["own", "two"]


def test_a_cell_that_was_there_first_stands_below_all_the_same_where_it_ran_after_the_other(
    folder: Path,
) -> None:
    kernel(folder).cell("pass", step="cell:below")
    cells = {
        "cell:above": OPEN_DB + MAKE_ROW.format(1) + CLOSE_DB,
        "cell:below": OPEN_DB + "c.execute('update t set x = 2')" + CLOSE_DB,
    }
    notebook = kernel(folder)
    for step, source in cells.items():
        assert notebook.cell(source, step=step) == RAN

    notebook = kernel(folder)
    for step, source in cells.items():
        assert notebook.cell(source, step=step) == RESTORED, step
