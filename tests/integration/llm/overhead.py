"""What the tap costs in function calls: a program for the Pythons with the clients.

It prints one JSON line for each kind of call by OpenAI's client: Python and C function calls without the
tap, with it idle, recording and serving. The transport is in this process and the meter does nothing, so
the numbers are the tap's alone and the same on every machine.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai

sys.path.insert(0, str(Path(__file__).parents[3]))

from kitaru_nb.llm import tap
from kitaru_nb.llm.meter import ModelAnswer, ModelRequest, Waits
from kitaru_nb.model.cost import Usage

library = importlib.import_module("httpx2" if int(openai.__version__.partition(".")[0]) >= 3 else "httpx")
TEXT = "word " * 400
USAGE = {"prompt_tokens": 400, "completion_tokens": 400, "total_tokens": 800}
HEADERS = {f"x-header-{number}": "a value of some length" for number in range(16)}  # as many as OpenAI sends


class Body(library.SyncByteStream):
    def __init__(self, parts: list[bytes]) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[bytes]:
        yield from self.parts


def event(document: Any) -> bytes:
    return b"data: " + (document if isinstance(document, bytes) else json.dumps(document).encode()) + b"\n\n"


def chunk(*choices: Any, **others: Any) -> bytes:
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    return event({**base, "choices": list(choices), **others})


class Transport(library.BaseTransport):
    def handle_request(self, request: Any) -> Any:
        body = json.loads(request.content)
        if body.get("stream"):
            parts = [
                chunk({"index": 0, "delta": {"content": f"w{n}"}, "finish_reason": None}) for n in range(50)
            ]
            parts.append(chunk({"index": 0, "delta": {}, "finish_reason": "stop"}))
            if body.get("stream_options"):
                parts.append(chunk(usage=USAGE))
            parts.append(event(b"[DONE]"))
            kind = "text/event-stream"
        else:
            said = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": TEXT}}
            whole = {
                "id": "c",
                "object": "chat.completion",
                "created": 1,
                "model": "gpt-4o",
                "choices": [said],
            }
            parts, kind = [json.dumps({**whole, "usage": USAGE}).encode()], "application/json"
        return library.Response(200, headers={**HEADERS, "content-type": kind}, stream=Body(parts))


class Meter:
    """Remembers the last answer; serves it when told to."""

    serving = False
    last: ModelAnswer | None = None

    def begin(self, _: ModelRequest, *, waits: Waits = Waits.NOTHING) -> Any:
        return self.last if self.serving else self

    def done(self, answer: ModelAnswer) -> None:
        self.last = answer

    def failed(self, reason: str, usage: Usage | None = None) -> None:
        raise AssertionError(reason, usage)


def calls(function: Callable[[], Any]) -> int:
    """How many functions `function` calls, once it is warm."""
    count = 0

    def profile(_: Any, event: str, __: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    function(), function()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def main() -> None:
    client = openai.OpenAI(api_key="k", http_client=library.Client(transport=Transport()))
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": TEXT}]}
    create, meter = client.chat.completions.create, Meter()

    def plain() -> Any:
        return create(**asked)

    def stream() -> Any:
        return list(create(**asked, stream=True))

    for function in (plain, stream):
        metered: list[Meter] = []
        meter.serving = False
        found = {"way": function.__name__, "without": calls(function)}
        tap.install(lambda metered=metered: metered[0] if metered else None)
        found["idle"] = calls(function)
        metered.append(meter)
        found["recording"] = calls(function)
        meter.serving = True
        found["serving"] = calls(function)
        tap.uninstall()
        print(json.dumps(found))


if __name__ == "__main__":
    main()
