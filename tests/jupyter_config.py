"""Jupyter as tests want it: with none of the extensions that are only installed beside ours."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

__all__ = ["without_extensions"]

_FRONTS = ["@jupyterlab/scheduler"]
_SERVERS = ["jupyter_scheduler"]


def without_extensions(config: Path, fronts: Iterable[str] = (), servers: Iterable[str] = ()) -> None:
    """Have Jupyter leave out what is named, and what `tests/integration/test_notebook_jobs.py` brought."""
    files = {
        "labconfig/page_config.json": {"disabledExtensions": dict.fromkeys([*_FRONTS, *fronts], True)},
        "jupyter_server_config.d/without.json": {
            "ServerApp": {"jpserver_extensions": dict.fromkeys([*_SERVERS, *servers], False)}
        },
    }
    for name, told in files.items():
        (config / name).parent.mkdir(parents=True, exist_ok=True)
        (config / name).write_text(json.dumps(told))
