from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.errors import KernelError
from kitaru_nb.stacks import warm
from kitaru_nb.stacks.warm import Made, Warm, fits, kernel_for, made_here, ready_next

MADE = Made({"argv": ["python"]}, {"A": "1"}, "/one", bound=False)


@pytest.mark.parametrize(
    ("changes", "is_fit"),
    [
        ({}, True),
        ({"folder": "/two"}, True),
        ({"folder": "/two", "bound": True}, False),
        ({"bound": True}, True),
        ({"environment": {"A": "2"}}, False),
        ({"environment": {}}, False),
        ({"spec": {"argv": ["python", "-X", "dev"]}}, False),
    ],
)
def test_a_spare_kernel_fits_where_a_cold_one_would_be_the_same(
    changes: dict[str, Any], is_fit: bool
) -> None:
    wanted = replace(MADE, **changes)

    assert fits(MADE, wanted) is is_fit
    assert fits(wanted, MADE) is is_fit


@pytest.mark.parametrize(
    ("path", "is_bound"),
    [(None, False), ("", False), ("/lib", False), ("/lib" + os.pathsep + "lib", True), (".", True)],
)
def test_a_relative_import_path_binds_a_kernel_to_its_folder(
    path: str | None, is_bound: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path)

    assert made_here("python3").bound is is_bound


@pytest.mark.parametrize(("name", "is_bound"), [("00-mine.py", True), ("a.ipy", True), ("README", False)])
def test_the_users_startup_files_bind_a_kernel_to_its_folder(
    name: str, is_bound: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    startup = tmp_path / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / name).touch()
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))

    assert made_here("python3").bound is is_bound


class _Kernel:
    made: list[_Kernel]

    def __init__(self, name: str) -> None:
        self.name = name
        self.told: list[str] = []
        self.alive = True
        self.pid: int | None = 1
        self.stopped = False
        _Kernel.made.append(self)

    def tell(self, code: str) -> None:
        self.told.append(code)

    def is_alive(self) -> bool:
        return self.alive

    def stop(self, *, patience: float) -> None:
        assert patience == 0
        self.stopped = True


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> list[_Kernel]:
    _Kernel.made = []
    monkeypatch.setattr(warm, "HeadlessKernel", _Kernel)
    return _Kernel.made


def test_without_a_keeper_no_kernel_is_started_ahead(kernels: list[_Kernel]) -> None:
    ready_next("python3")
    one = kernel_for("python3")

    assert kernels == [one]
    assert one.told == []  # type: ignore[attr-defined]


def test_the_spare_kernel_is_given_out_once(kernels: list[_Kernel]) -> None:
    with Warm():
        ready_next("python3")
        ready_next("python3")

        first, second = kernel_for("python3"), kernel_for("python3")

    assert kernels == [first, second]
    assert "enter" in kernels[0].told[-1]
    assert kernels[1].told == []
    assert not kernels[0].stopped


def test_a_spare_kernel_that_died_is_not_given_out(kernels: list[_Kernel]) -> None:
    with Warm():
        ready_next("python3")
        kernels[0].alive = False

        given = kernel_for("python3")

    assert kernels == [kernels[0], given]
    assert kernels[0].stopped


def test_a_spare_kernel_that_does_not_fit_is_ended(
    kernels: list[_Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Warm():
        ready_next("python3")
        monkeypatch.setenv("ADDED_SINCE", "1")

        given = kernel_for("python3")

    assert kernels == [kernels[0], given]
    assert kernels[0].stopped


def test_the_spare_kernel_ends_with_its_keeper(kernels: list[_Kernel]) -> None:
    with Warm():
        ready_next("python3")

    ready_next("python3")

    assert [kernel.stopped for kernel in kernels] == [True]


def test_a_kernel_that_runs_elsewhere_is_not_kept(
    kernels: list[_Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere(_Kernel):
        def __init__(self, name: str) -> None:
            super().__init__(name)
            self.pid = None

    monkeypatch.setattr(warm, "HeadlessKernel", Elsewhere)

    with Warm() as keeper:
        ready_next("python3")

        assert keeper.take("python3") is None
    assert [kernel.stopped for kernel in kernels] == [True]


def test_a_spare_kernel_that_cannot_be_started_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_name: str) -> None:
        raise KernelError("no room", kind="kernel-start")

    monkeypatch.setattr(warm, "HeadlessKernel", refuse)

    with Warm() as keeper:
        ready_next("python3")
        ready_next("no such kernel")

        assert keeper.take("python3") is None
