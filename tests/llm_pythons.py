"""The Pythons that have model clients: openai 2 and openai 3 cannot be installed together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

__all__ = ["LLM_PYTHONS", "llm_environ", "llm_python"]

ROOT = Path(__file__).parents[1]

LLM_PYTHONS = {
    "llm2": {"openai", "anthropic", "litellm"},
    "llm3": {"openai", "anthropic", "pydantic_ai", "agents", "langchain"},
}
"""Their names, with what is installed in each."""


def llm_python(name: str) -> Path:
    """The Python called `name`; skips the test where it has not been made."""
    python = ROOT / f".venv-{name}" / "bin" / "python"
    if not (python.parents[1] / ".made").exists():
        pytest.skip("needs the Pythons with model clients (make llm)")
    return python


def llm_environ(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with `variables`, for a client that is to ask nobody else."""
    local = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # else importing litellm asks the network for prices
    return {**os.environ, **local, **variables}
