"""What tests of model calls share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.llm_pythons import LLM_PYTHONS, llm_python


@pytest.fixture(scope="session", params=LLM_PYTHONS)
def python(request: pytest.FixtureRequest) -> Path:
    """Each Python with model clients in turn."""
    return llm_python(request.param)
