"""What an error says to type is typed, in the same kernel, and gets the user out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru_nb.stacks.settings import resolve
from tests.integration.kernel import Kernel, Ran
from tests.patience import until

BIG = "%%checkpoint big\nimport random\nbig = random.Random(1).randbytes(6_000_000)\nlen(big)"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    monkeypatch.setenv("KITARU_NB_MAX_BYTES", "3MB")
    with Kernel(resolve().home, notebook=tmp_path / "n.ipynb", cwd=tmp_path) as kernel:
        yield kernel


def said(ran: Ran) -> str:
    """What the cell shows of an error of ours."""
    return "\n".join(ran.traceback)


def typed(ran: Ran, pattern: str) -> str:
    """What the cell says to type."""
    (found,) = re.findall(pattern, said(ran))
    return str(found)


def test_a_limit_of_the_disk_is_raised_by_what_the_cell_says(kernel: Kernel) -> None:
    full = kernel.run(BIG, cell="a")

    kernel.run(typed(full, r"(%env KITARU_NB_MAX_BYTES=\w+)"), cell="b")
    done = kernel.run(BIG, cell="a")

    assert full.ename == "StoreError"
    assert done.result == "6000000"
    assert "`big` saved" in done.said


@pytest.mark.further
def test_a_limit_of_the_disk_that_is_no_size_is_told_as_that(kernel: Kernel) -> None:
    kernel.run(BIG, cell="a")
    kernel.run("%env KITARU_NB_MAX_BYTES=plenty", cell="b")

    refused = kernel.run(BIG, cell="a")
    kernel.run("%env KITARU_NB_MAX_BYTES=50MB", cell="b")
    done = kernel.run(BIG, cell="a")

    assert "`plenty`, which is not a number of bytes" in said(refused)
    assert "`big` saved" in done.said


@pytest.mark.further
def test_a_name_with_blanks_is_typed_as_it_is_told(kernel: Kernel) -> None:
    slow = '%%checkpoint "slow load" --timeout 1s\nimport time\ntime.sleep(60)'

    two = kernel.run("%%checkpoint slow load\n1", cell="a")
    late = kernel.run(slow, cell="a")
    line = typed(late, r"Try: (%%checkpoint .*?), or longer")
    done = kernel.run(f"{line}\nrows = 1", cell="a")

    assert typed(two, "Try: (.*)") == "%%checkpoint 'slow load'"
    assert line == "%%checkpoint 'slow load' --timeout 2s"
    assert "`slow load` saved" in done.said


@pytest.mark.further
def test_a_checkpoint_with_blanks_in_its_name_is_replayed_by_the_magic(
    tmp_path: Path, kernel: Kernel
) -> None:
    cell = '%%checkpoint "slow load"\nfound = 1'
    nbformat = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": {"name": "python3"}}}
    made = {"cell_type": "code", "id": "a", "source": cell, "metadata": {}, "outputs": []}
    notebook = {**nbformat, "cells": [{**made, "execution_count": None}]}
    notebook["metadata"]["kernelspec"] |= {"display_name": "Python 3", "language": "python"}
    (tmp_path / "n.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    kernel.run(cell, cell="a")

    told = kernel.run("%replay", cell="b")
    line = next(each.strip() for each in told.said.splitlines() if "--from" in each)
    begun = kernel.run(line, cell="b")

    assert line.endswith("--from 'slow load'")
    assert "from `slow load`" in begun.said
    assert "one name, in quotes" in said(kernel.run("%replay --from slow load", cell="b"))


@pytest.mark.further
def test_a_question_that_has_expired_is_asked_anew_when_it_is_changed(kernel: Kernel) -> None:
    kernel.run("import kitaru_nb as kt", cell="a")
    cell = "%%checkpoint ask\nanswer = kt.wait('{}', name='late', timeout=0.1)"
    kernel.run(cell.format("Publish?"), cell="b")

    def is_over() -> bool:
        return kernel.run(cell.format("Publish?"), cell="b").ename == "TimedOutError"

    until(is_over, "the deadline")
    late = kernel.run(cell.format("Publish?"), cell="b")
    again = kernel.run(cell.format("Publish it now?").replace("0.1", "600"), cell="b")
    kernel.run(re.findall(r"(%kitaru approve \S+),", again.said)[0], cell="c")
    done = kernel.run(cell.format("Publish it now?").replace("0.1", "600"), cell="b")

    assert "change the question and run the cell again" in said(late)
    assert again.ename == "Suspended"
    assert "`ask` saved" in done.said


@pytest.mark.further
def test_a_command_that_failed_in_a_cell_says_the_magic(kernel: Kernel) -> None:
    wrong = kernel.run("%kitaru showw latest", cell="a")
    kernel.run("%%checkpoint one\n1", cell="b")

    listed = kernel.run(typed(wrong, "Try: (%kitaru show)") + " latest", cell="c")

    assert listed.ok
    assert "one" in listed.outputs[0]["data"]["text/plain"]


@pytest.mark.further
def test_whoever_is_trusted_counts_when_the_cell_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = "%%checkpoint 'their own'\nclass Theirs: pass\nvalue = Theirs()"
    monkeypatch.setenv("KITARU_NB_CONFIG", str(tmp_path / "theirs"))
    with Kernel(resolve().home, notebook=tmp_path / "n.ipynb", cwd=tmp_path) as kernel:
        kernel.run(cell, cell="a")
    monkeypatch.setenv("KITARU_NB_CONFIG", str(tmp_path / "mine"))
    with Kernel(resolve().home, notebook=tmp_path / "n.ipynb", cwd=tmp_path) as kernel:
        refused = kernel.run(cell, cell="a")

        trusted = kernel.run(typed(refused, r"Try: (%kitaru trust \S+) if you know"), cell="b")
        restored = kernel.run(cell, cell="a")

    assert refused.ename == "UntrustedError"
    assert trusted.ok, trusted
    assert "`their own` restored" in restored.said


def test_a_damaged_value_is_had_again_by_what_the_next_cell_says(tmp_path: Path) -> None:
    cell = "%%checkpoint big{}\nimport random\nbig = random.Random(1).randbytes(3_000_000)"
    with Kernel(resolve().home, notebook=tmp_path / "n.ipynb", cwd=tmp_path) as kernel:
        kernel.run(cell.format(""), cell="a")
    files = [path for path in (resolve().home / "store").rglob("*") if path.is_file()]
    pack = max(files, key=lambda path: path.stat().st_size)
    stored = bytearray(pack.read_bytes())
    stored[len(stored) // 2] ^= 255
    pack.write_bytes(stored)
    with Kernel(resolve().home, notebook=tmp_path / "n.ipynb", cwd=tmp_path) as kernel:
        kernel.run("%resume", cell="b")

        refused = kernel.run("%%checkpoint first\nfirst = big[0]", cell="c")
        used = kernel.run("big[0]", cell="d")
        kernel.run(cell.format(" --fresh"), cell="a")
        done = kernel.run("%%checkpoint first\nfirst = big[0]", cell="c")

    assert said(refused).endswith("Try: run its cell with --fresh")
    assert "Try: run the cell that makes `big` again, with --fresh" in said(used)
    assert "`first` saved" in done.said
