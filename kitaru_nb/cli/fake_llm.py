"""`fake-llm`: a language model that costs nothing, for tests, demos and trying things out."""

from __future__ import annotations

import json as json_text
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kitaru_nb.cli.output import Json
from kitaru_nb.errors import NotFoundError, UsageError
from kitaru_nb.testing.llm.files import answers_from_json
from kitaru_nb.testing.llm.script import Answers
from kitaru_nb.testing.llm.server import FakeLLM
from kitaru_nb.testing.llm.server import fake_llm as started

__all__ = ["fake_llm"]

_EXAMPLE = """--answers FILE, with JSON such as ["hi", "there"] in it"""


def fake_llm(
    *,
    port: Annotated[int, Parameter(metavar="N")] = 0,
    host: Annotated[str, Parameter(metavar="ADDRESS")] = "127.0.0.1",
    answers: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    latency: Annotated[float, Parameter(metavar="S")] = 0.0,
    chunk_latency: Annotated[float, Parameter(metavar="S")] = 0.0,
    gzip: bool = False,
    json: Json = False,
) -> int:
    """Serve a language model that costs nothing, until it is interrupted.

    It speaks OpenAI's chat completions, responses and embeddings and Anthropic's messages. Prints
    the variables that send their clients to it.

    Args:
        port: The port to listen on; a free one by default.
        host: The address to listen on.
        answers: JSON file of what it says: text, an answer, or a list of them in order.
        latency: Seconds before each answer.
        chunk_latency: Seconds before each piece of a streamed answer.
        gzip: Compress answers for clients that take it.
        json: Print one JSON document.
    """
    for option, seconds in (("--latency", latency), ("--chunk-latency", chunk_latency)):
        if not 0 <= seconds < float("inf"):
            message = f"{option} is {seconds:g}, which is no number of seconds"
            raise UsageError(message, kind="bad-latency", hint=f"{option} 0.5")
    given = None if answers is None else _read(answers)
    try:
        model = started(given, latency=latency, chunk_latency=chunk_latency, gzip=gzip, host=host, port=port)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"the fake model cannot listen on `{host}:{port}`: {error}",
            kind="cannot-listen",
            hint="leave `--host` out for this machine"
            if isinstance(error, socket.gaierror)
            else "leave `--port` out for a free port",
        ) from error
    with model, _ends_well():
        _tell(model, as_json=json)
        threading.Event().wait()
    if not json:
        tokens = model.tokens
        said = f"{model.requests} requests, {tokens.input} input tokens, {tokens.output} output tokens"
        print(said, file=sys.stderr)
    return 0


def _read(path: Path) -> Answers:
    try:
        return answers_from_json(json_text.loads(path.read_bytes()))
    except FileNotFoundError as error:
        raise NotFoundError(f"`{path}` does not exist", kind="no-such-file", hint=_EXAMPLE) from error
    except OSError as error:
        why = error.strerror or error
        raise NotFoundError(f"`{path}` cannot be read: {why}", kind="no-such-file", hint=_EXAMPLE) from error
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"`{path}` is not JSON: {error}", kind="bad-answer", hint=_EXAMPLE) from error


def _tell(model: FakeLLM, *, as_json: bool) -> None:
    """Print where it is, in one piece: whoever has read a line has the rest, even if it stops it then."""
    environ = model.environ()
    if as_json:
        document = {
            "url": model.url,
            "openai_url": model.openai_url,
            "anthropic_url": model.anthropic_url,
            "environ": environ,
        }
        said = (
            json_text.dumps(document) + "\n"
        )  # one line: the command goes on, so there is no end to wait for
    else:
        said = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environ.items())
    sys.stdout.write(said)
    sys.stdout.flush()


@contextmanager
def _ends_well() -> Iterator[None]:
    """Leave the block at Ctrl-C or SIGTERM: both are how this command ends."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)
