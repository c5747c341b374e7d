"""What the tests of the engine share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.engine.kernel import Kernel, Start


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a kernel; one started later takes over as if the one before had been killed."""
    monkeypatch.chdir(tmp_path)
    started: list[Kernel] = []

    def begin(**options: Any) -> Kernel:
        kernel = Kernel(tmp_path / "home", **options)
        if started and "attempt" not in options:
            kernel.take_over()
        started.append(kernel)
        return kernel

    yield begin
    for kernel in reversed(started):
        kernel.stop()
