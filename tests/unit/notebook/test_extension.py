"""`%load_ext kitaru_nb`: put in place, taken out again, and what it says on the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbformat.v4 import new_code_cell, new_notebook

from kitaru_nb.errors import KitaruError, UsageError
from kitaru_nb.model.execution import ExecutionStatus, Identity
from kitaru_nb.notebook import extension, late
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.testing import a_draft, dead_owner
from tests.unit.notebook.shell import Shell


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "train.ipynb"
    monkeypatch.setenv("KITARU_NB_NOTEBOOK", str(path))
    return path


@pytest.fixture
def shell(notebook: Path) -> Iterator[Shell]:
    shell = Shell()
    yield shell
    shell.stop()


def hooked(ip: InteractiveShell) -> list[str]:
    """The places where the extension is in a shell."""
    callbacks = [hook for name in ("pre_run_cell", "post_run_cell") for hook in ip.events.callbacks[name]]
    ours = [*callbacks, *ip.input_transformers_cleanup, *ip.ast_transformers]
    names = [
        getattr(hook, "__name__", type(hook).__name__)
        for hook in ours
        if hook.__module__.startswith("kitaru_nb")
    ]
    found = names
    magics = ip.magics_manager.magics
    return found + [f"{kind} {name}" for kind in magics for name in magics[kind] if name in MAGICS]


MAGICS = ("checkpoint", "resume", "why", "kitaru", "rewind")


def test_loading_twice_hooks_once(shell: Shell) -> None:
    before = hooked(shell.ip)

    extension.load(shell.ip)

    assert hooked(shell.ip) == before
    assert {"before_cell", "after_cell", "mark", "cell checkpoint", "line resume"} <= set(before)


def test_unloading_takes_everything_out_again(notebook: Path) -> None:
    shell = Shell()
    shell.run("%%checkpoint load\nx = 1")
    execution = shell.hooks.session.attempt.execution

    shell.stop()
    shell.stop()

    assert hooked(shell.ip) == []
    with closing(open_engine(resolve(), read_only=True)) as engine:
        assert engine.journal.execution(execution).status is ExecutionStatus.COMPLETED


def test_before_it_is_loaded_it_says_so() -> None:
    with pytest.raises(UsageError) as refused:
        extension.hooks()

    assert (refused.value.kind, refused.value.hint) == ("not-loaded", "%load_ext kitaru_nb")


def test_an_old_ipython_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("IPython.version_info", (7, 34, 0))

    with pytest.raises(UsageError) as refused:
        extension.load(None)

    assert refused.value.kind == "old-ipython"


@pytest.mark.parametrize("magic", MAGICS)
def test_every_magic_has_help(shell: Shell, magic: str) -> None:
    for kind in shell.ip.magics_manager.magics.values():
        if magic in kind:
            assert kind[magic].__doc__


def test_one_percent_sign_too_few(shell: Shell) -> None:
    error = shell.error("%checkpoint load")

    assert isinstance(error, UsageError)
    assert (error.kind, error.hint) == ("one-percent", "%%checkpoint load")


def test_a_checkpoint_below_other_code_is_explained(shell: Shell) -> None:
    error = shell.error("get_ipython().run_cell_magic('checkpoint', 'load', 'x = 1')")

    assert isinstance(error, UsageError)
    assert error.kind == "misplaced-checkpoint"


@pytest.mark.parametrize(
    "line", ["--nothing", "one two", "--at", "--at="], ids=["option", "two", "no name", "empty name"]
)
def test_resume_explains_what_it_takes(shell: Shell, line: str) -> None:
    error = shell.error(f"%resume {line}")

    assert isinstance(error, UsageError)
    assert error.kind == "unknown-option"
    assert "%resume [EXECUTION] [--at CHECKPOINT]" in error.hint


def test_resume_puts_the_last_kernels_names_back(notebook: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = Shell()
    first.run("%%checkpoint one\nrows = [1]")
    first.run("%%checkpoint two\nrows.append(2)")
    first.stop()
    shell = Shell()

    shell.run("%resume --at one")
    as_of_one = list(shell["rows"])
    shell.run("%resume")

    assert (as_of_one, shell["rows"]) == ([1], [1, 2])
    assert "go on with the cell after `two`" in capsys.readouterr().out
    shell.stop()


def test_why_says_what_decided(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run("%%checkpoint load\nx = 1")

    shell.run("%why load")

    assert "nothing was on record for it yet" in capsys.readouterr().out


def test_why_takes_a_name_in_quotes(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run('%%checkpoint "two words"\nx = 1')

    shell.run('%why "two words"')

    assert "`two words` ran" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line",
    [
        "%why {name}",
        '%why "{name}"',
        "%rewind '{name}'",
        "%resume latest --at {name}",
        "%replay latest --from {name}",
        '%replay "{name}" --from load',
        "%kitaru why latest {name}",
        "%kitaru exclude {name}",
    ],
)
def test_a_name_out_of_a_store_runs_nothing_in_a_magic(shell: Shell, tmp_path: Path, line: str) -> None:
    ran = tmp_path / "ran"
    shell.run("%%checkpoint load\nx = 1")
    shell.ip.user_ns["touch"] = ran.touch

    for name in ("{touch()}", "{touch()!r:}", "${touch()}", "$touch"):
        shell.run(line.format(name=name))

    assert not ran.exists()
    shell.run("%env ANY={touch()}")
    assert ran.exists(), "other people's magics are IPython's"


def test_a_variable_gives_one_word_to_kitaru_and_replay(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run("%%checkpoint load\nx = 1")
    shell.ip.user_ns |= {"first": shell.hooks.session.attempt.execution, "odd": "--undo no such"}

    shell.run("%kitaru show {first}")
    shell.run("%kitaru show $first")

    shown = capsys.readouterr().out
    assert shown.count(shell["first"]) >= 2
    assert "no execution `--undo no such`" in str(shell.error("%kitaru show -- {odd}"))
    assert "{nothing}" in str(shell.error("%kitaru show {nothing}"))
    replayed = shell.error("%replay {first} --from nosuch --set y={x}")
    assert "nosuch" in str(replayed)


def test_new_begins_a_new_execution(shell: Shell) -> None:
    shell.run("%%checkpoint load\nx = 1")
    before = shell.hooks.session.attempt.execution

    shell.run("%kitaru new")

    assert shell.hooks.session.attempt.execution != before


@pytest.mark.parametrize(
    ("line", "kind", "told"),
    [
        ("nosuch", UsageError, "there is no verb `nosuch`"),
        ("approve nosuch", KitaruError, "nothing waits under the name `nosuch`"),
    ],
)
def test_a_verb_that_fails_fails_its_cell(
    shell: Shell, capsys: pytest.CaptureFixture[str], line: str, kind: type[KitaruError], told: str
) -> None:
    error = shell.error(f"%kitaru {line}")

    assert isinstance(error, kind)
    assert error.kind == "verb-failed"
    assert error.message.startswith(told)
    assert error.hint
    assert "error:" not in capsys.readouterr().err  # said once: in the cell's two lines


def test_a_verb_that_says_itself_how_it_went_fails_its_cell(
    shell: Shell, notebook: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nb = new_notebook(cells=[new_code_cell("1 / 0")])
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nb, notebook.with_name("bad.ipynb"))

    error = shell.error(f"%kitaru run --no-progress {notebook.with_name('bad.ipynb')}")

    assert str(error).endswith("ended with exit code 1")
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_the_help_of_kitaru_names_what_only_a_notebook_has(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run("%kitaru")

    said = capsys.readouterr().out
    assert "%kitaru new" in said
    assert "%kitaru exclude NAME" in said


def died(notebook: Path, *names: str) -> None:
    """A kernel of the notebook that was killed after these steps."""
    with closing(open_engine(resolve())) as engine:
        attempt, _ = engine.journal.start(Identity(notebook=str(notebook)), owner=dead_owner())
        parent = None
        for name in names:
            parent = engine.journal.commit(attempt, a_draft(name, parent=parent)).seq


def test_a_notebook_whose_kernel_died_is_told_once(
    notebook: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    died(notebook, "load", "train")
    shell = Shell()

    shell.run("x = 1")
    shell.run("x = 2")

    said = capsys.readouterr().out
    assert said.count("2 checkpoints up to `train` can be restored") == 1
    shell.stop()


def test_loaded_by_the_kernels_start_it_is_told_in_the_first_cell_only(
    notebook: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    died(notebook, "load")
    shell = Shell(SimpleNamespace(get_parent=lambda _channel: {}))
    before = capsys.readouterr().out

    shell.run("x = 1")
    shell.run("x = 2")

    assert "can be restored" not in before
    assert capsys.readouterr().out.count("can be restored") == 1
    shell.stop()


@pytest.mark.parametrize("steps", [(), ("load",)])
def test_nothing_is_said_without_a_death_or_without_something_to_restore(
    notebook: Path, steps: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    if steps:
        first = Shell()
        first.run("%%checkpoint load\nx = 1")
        first.stop()
    else:
        died(notebook)
    capsys.readouterr()

    shell = Shell()
    shell.run("x = 1")

    assert "kitaru" not in capsys.readouterr().out
    shell.stop()


def test_threads_that_are_the_first_to_ask_get_one_session_and_one_scope(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, opened = threading.Event(), []

    def open_session(*given: Any) -> Any:
        opened.append(threading.get_ident())
        if len(opened) > 1:
            both.set()
        both.wait(0.5)  # a second one that comes meanwhile is seen
        return real(*given)

    real = late.open_session
    monkeypatch.setattr(late, "open_session", open_session)
    shell.ip.user_ns |= {"running_scope": shell.hooks.running_scope, "pool": ThreadPoolExecutor(2)}

    shell.run("scopes = list(pool.map(lambda _: running_scope(), range(2)))")

    first, second = shell.ip.user_ns["scopes"]
    assert first is second
    assert len(opened) == 1
