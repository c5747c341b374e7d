from __future__ import annotations

import subprocess
import sys

import nbformat
import pytest

from kitaru_nb.stacks.papermill_engine import KitaruEngine


def test_the_engine_module_loads_nothing_that_papermill_has_not_loaded() -> None:
    code = (
        "import papermill, sys; before = set(sys.modules); import kitaru_nb.stacks.papermill_engine;"
        "print(*[m for m in set(sys.modules) - before if not m.startswith('kitaru_nb')])"
    )

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.split() == []


def test_the_engine_module_can_be_imported_before_papermill() -> None:
    code = "import kitaru_nb.stacks.papermill_engine, papermill, sys; print(len(sys.modules) > 0)"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "True"


def test_the_kernel_is_the_one_asked_for_then_the_notebooks_then_python3(
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "py39", "display_name": "x"}})

    chosen = [KitaruEngine.nb_kernel_name(named, "mine"), KitaruEngine.nb_kernel_name(named)]
    quiet = capsys.readouterr().err
    default = KitaruEngine.nb_kernel_name(nbformat.v4.new_notebook())

    assert (chosen, default) == (["mine", "py39"], "python3")
    assert quiet == ""
    assert "names no kernel, `python3` is used" in capsys.readouterr().err


def test_the_language_is_the_one_asked_for_then_the_notebooks_then_python() -> None:
    nb = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "x", "display_name": "x", "language": "julia"}}
    )

    assert KitaruEngine.nb_language(nb, "R") == "R"
    assert KitaruEngine.nb_language(nb) == "julia"
    assert KitaruEngine.nb_language(nbformat.v4.new_notebook()) == "python"
