from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kitaru_nb.errors import CorruptError, KernelError
from kitaru_nb.stacks.attempt import _boot_error

KERNEL: Any = SimpleNamespace(
    name="py", manager=SimpleNamespace(kernel_spec=SimpleNamespace(argv=["/env/bin/python", "-m"]))
)


def test_an_error_raised_in_the_kernel_keeps_its_class_and_hint() -> None:
    error = _boot_error({"ename": "CorruptError", "evalue": "`x` is damaged\n  Try: run it again"}, KERNEL)

    assert type(error) is CorruptError
    assert (error.message, error.hint) == ("`x` is damaged", "run it again")


@pytest.mark.parametrize("ename", ["ModuleNotFoundError", "ImportError"])
def test_a_kernel_without_kitaru_nb_gets_the_command_for_its_own_python(ename: str) -> None:
    error = _boot_error({"ename": ename, "evalue": "No module named 'kitaru_nb'"}, KERNEL)

    assert error.kind == "kernel-without-kitaru"
    assert error.hint.startswith("/env/bin/python -m pip install kitaru-nb")


@pytest.mark.parametrize("ename", ["ZeroDivisionError", "Suspended", "KitaruErrors"])
def test_any_other_refusal_is_a_kernel_error_with_its_name(ename: str) -> None:
    error = _boot_error({"ename": ename, "evalue": "why"}, KERNEL)

    assert type(error) is KernelError
    assert f"{ename}: why" in error.message
