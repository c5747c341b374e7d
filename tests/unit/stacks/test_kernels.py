from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from kitaru_nb.errors import KernelError, NotFoundError, UsageError
from kitaru_nb.stacks import kernels
from kitaru_nb.stacks.kernels import describe_exit, python_kernel, sweep_folders
from kitaru_nb.stacks.orphans import end_with_parent


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "stopped answering"),
        (0, "exit code 0 (a cell called exit())"),
        (3, "exit code 3"),
        (-9, "signal 9 (SIGKILL); out of memory"),
        (-11, "signal 11 (SIGSEGV)"),
        (-200, "signal 200"),
    ],
)
def test_an_exit_code_is_put_into_words(code: int | None, words: str) -> None:
    assert words in describe_exit(code)


def test_an_unknown_kernel_is_named_with_the_known_ones() -> None:
    with pytest.raises(NotFoundError, match="`nope`") as caught:
        python_kernel("nope")

    assert caught.value.kind == "unknown-kernel"
    assert "python3" in caught.value.hint


def test_a_kernel_of_another_language_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kernels" / "ir"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps({"argv": ["R"], "display_name": "R", "language": "R"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))

    with pytest.raises(UsageError, match="runs R"):
        python_kernel("ir")


def test_a_kernel_in_ipythons_own_folder_is_found_and_ranks_above_the_native_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "python3"):
        folder = tmp_path / "ipython" / "kernels" / name
        folder.mkdir(parents=True)
        spec = {"argv": ["python"], "display_name": f"{name} of IPython's", "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setattr(kernels, "jupyter_path", lambda *_: [str(tmp_path / "none")])
    monkeypatch.setattr("jupyter_client.kernelspec.jupyter_path", lambda *_: [str(tmp_path / "none")])

    found = [python_kernel(name).display_name for name in ("mine", "python3")]

    assert found == ["mine of IPython's", "python3 of IPython's"]


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks and no IPC on Windows")
def test_only_folders_of_dead_workers_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_bases", lambda: [tmp_path])
    used, lock = kernels._private_folder()
    dead = tmp_path / "kitaru-nb-dead"
    dead.mkdir()
    (dead / "lock").touch()
    (tmp_path / "other").mkdir()

    young = sweep_folders()
    old = sweep_folders(now=time.time() + 3600)

    assert (young, old) == ([], [dead])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([used.name, "other"])
    assert used.stat().st_mode & 0o777 == 0o700
    os.close(lock or 0)
    assert sweep_folders(now=time.time() + 3600) == [used]


def test_a_folder_whose_path_is_too_long_for_a_socket_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(kernels, "_bases", lambda: [long])

    with pytest.raises(KernelError, match="path short enough"):
        kernels._private_folder()

    assert list(long.iterdir()) == []


def test_a_process_is_tied_only_to_its_real_parent() -> None:
    assert end_with_parent(1 if os.getppid() != 1 else 2) is False
