"""Every way a user's code asks a model, one function each: a program for the Pythons with the clients.

``python tests/integration/llm/clients PATTERN…`` walks the paths whose names match and prints one JSON
line for each: its name, what the model said, the tokens that the client saw (null where it does not
tell), and what the server counted. The environment says which server: a fake model, as `fake_llm` starts
it. A path asks one question, or with a tool two.
"""

from __future__ import annotations

import asyncio
import fnmatch
import importlib
import json
import os
import sys
import urllib.request
from dataclasses import asdict
from typing import Any

from walking import PATHS, Path, Seen

LIBRARIES = ["openai", "anthropic", "litellm", "pydantic_ai", "agents", "langchain"]


def main(patterns: list[str]) -> None:
    for library in LIBRARIES:
        try:
            importlib.import_module(f"by_{library}")
        except ModuleNotFoundError as error:
            print(f"without {library}: {error}", file=sys.stderr)
    # One loop for all: LangChain keeps its connections, and they belong to the loop they began in.
    with asyncio.Runner() as loop:
        for name, path in PATHS.items():
            if any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
                print(json.dumps(walk(name, path, loop)), flush=True)


def walk(name: str, path: Path, loop: asyncio.Runner) -> dict[str, Any]:
    """Walk one path: what its client saw, and what the server counted meanwhile."""
    before, error = counted(), None
    try:
        found = path()
        seen = loop.run(found) if asyncio.iscoroutine(found) else found
    except Exception as failure:  # noqa: BLE001 - the next path is to be walked too
        seen, error = Seen(), f"{type(failure).__name__}: {failure}"
    after = counted()
    return {
        "path": name,
        **asdict(seen),
        "error": error,
        "server": {key: after[key] - before[key] for key in after},
    }


def counted() -> dict[str, int]:
    """How much the server was asked so far."""
    with urllib.request.urlopen(os.environ["ANTHROPIC_BASE_URL"] + "/_count") as answer:
        count = json.load(answer)
    return {
        "requests": count["requests"],
        "input": count["tokens"]["input"],
        "output": count["tokens"]["output"],
    }


if __name__ == "__main__":
    main(sys.argv[1:] or ["*"])
