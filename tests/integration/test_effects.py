"""What cells do outside the namespace, in real kernels: files, threads, magics, settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.headless import Notebook
from tests.integration.kernel import Kernel


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def kernel(work: Path) -> Kernel:
    return Kernel(work.parent / "home", notebook=work / "n.ipynb", cwd=work)


FILES = """%%checkpoint files
from pathlib import Path
Path("out").mkdir(exist_ok=True)
Path("out/a.txt").write_text("a")
!echo b > out/b.txt
"""
EFFECTS = """%%checkpoint effects
import gc, threading
from IPython.core.magic import register_line_magic
@register_line_magic
def twice(line):
    return line * 2
def seen(*_):
    pass
get_ipython().events.register("pre_run_cell", seen)
stop = threading.Event()
thread = threading.Thread(target=stop.wait, name="library", daemon=True)
thread.start()
del thread
"""
SETTINGS = """%%checkpoint settings
import gc, logging, signal
gc.set_threshold(600, 6, 6)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
logging.getLogger("app").setLevel(logging.DEBUG)
import xml.dom.minidom
"""


def test_files_callbacks_and_settings_after_a_kill(work: Path) -> None:
    with kernel(work) as first:
        assert first.run(FILES, cell="a").ok
        assert first.run(EFFECTS, cell="b").ok
        assert first.run(SETTINGS, cell="c").ok
        first.kill()
    for name in ("a.txt", "b.txt"):
        (work / "out" / name).unlink()
    (work / "out").rmdir()

    with kernel(work) as again:
        files = again.run(FILES, cell="a")
        effects = again.run(EFFECTS, cell="b")
        settings = again.run(SETTINGS, cell="c")
        told = str(again.run("%why effects").outputs)
        state = again.run(
            "gc.get_threshold(), signal.getsignal(signal.SIGUSR1).name, "
            "logging.getLogger('app').level, xml.dom.minidom.__name__"
        )

    assert "restored" in files.said
    assert ((work / "out/a.txt").read_text(), (work / "out/b.txt").read_text()) == ("a", "b\n")
    assert "ran again: it registered code of the notebook with `line magics`" in effects.said
    assert "`events.pre_run_cell`" in effects.said
    assert "thread" not in effects.said
    assert "it registered code of the notebook with `line magics`, which cannot be stored" in told
    assert "restored" in settings.said
    assert state.result == "((600, 6, 6), 'SIG_IGN', 10, 'xml.dom.minidom')"


def test_a_file_that_a_shell_line_made_and_its_cell_read_is_put_back(work: Path) -> None:
    cell = "%%checkpoint listed\n!echo hello > said.txt\nsaid = open('said.txt').read()"
    with kernel(work) as first:
        assert first.run(cell, cell="a").ok
        first.kill()
    (work / "said.txt").unlink()

    with kernel(work) as again:
        restored = again.run(cell, cell="a")
        said = again.run("said")

    assert "restored" in restored.said
    assert "`said.txt` was missing and is back" in restored.said
    assert (said.result, (work / "said.txt").read_text()) == ("'hello\\n'", "hello\n")


def test_a_resume_puts_back_files_and_names_what_does_not_run(work: Path) -> None:
    serve = (
        "%%checkpoint serve\nimport asyncio\nasync def loop():\n    await asyncio.sleep(60)\n"
        "task = asyncio.get_running_loop().create_task(loop())\nopen('log.txt', 'w').write('1')"
    )
    with kernel(work) as first:
        assert first.run(serve, cell="a").ok
        first.kill()
    (work / "log.txt").unlink()

    with kernel(work) as again:
        said = again.run("%resume").said

    assert "`log.txt` was missing and is back" in said
    assert "the task `loop` started by checkpoint `serve` is not running; run that cell again" in said
    assert (work / "log.txt").read_text() == "1"


DIES = (
    "import os, signal\ntick('c')\nif once('death'): os.kill(os.getpid(), signal.SIGKILL)\n"
    "print(open('table.csv').read(), n)"
)


@pytest.mark.further
def test_a_headless_run_goes_on_with_the_files_of_the_cells_before(tmp_path: Path) -> None:
    notebook = Notebook(
        tmp_path,
        [
            "tick('a')\nopen('table.csv', 'w').write('1')",
            "tick('b')\nn = int(open('table.csv').read())\nopen('table.csv', 'a').write('0')",
            DIES,
        ],
    )
    died = notebook.kitaru("run", "work.ipynb")
    table = next(tmp_path.rglob("table.csv"))
    table.unlink()

    resumed = notebook.kitaru("resume")

    assert (died.code, resumed.code) == (138, 0), resumed.stderr
    assert notebook.ticks() == ["a", "b", "c", "c"]
    assert table.read_text() == "10"
    assert "`table.csv` was missing and is back" in resumed.stderr
