"""What every test with processes shares: none of them outlives its test, whatever becomes of that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.headless import end_what_was_started
from tests.integration.kernel import end_kernels


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    end_kernels()
    end_what_was_started()
