"""The fake model as its user holds it: where it is, what it was asked, how to end it."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Self

from kitaru_nb.testing.llm.call import Call, Tokens
from kitaru_nb.testing.llm.fake import Fake
from kitaru_nb.testing.llm.handler import handler_for
from kitaru_nb.testing.llm.listener import Listener
from kitaru_nb.testing.llm.script import Answers

__all__ = ["FakeLLM", "fake_llm"]

_PROXIES = {"http_proxy", "https_proxy", "all_proxy"}


class FakeLLM:
    """A language model on this machine, as `fake_llm` starts it.

    It answers as soon as it exists, from any number of threads and processes, and is gone with
    `close` or at the end of a ``with`` block.
    """

    def __init__(
        self,
        answers: Answers = None,
        *,
        latency: float = 0.0,
        chunk_latency: float = 0.0,
        gzip: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str = "fake-key",
    ) -> None:
        self.api_key = api_key
        self._fake = Fake(answers, latency=latency, chunk_latency=chunk_latency, gzip=gzip)
        self._listener = Listener((host, port), handler_for(self._fake))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:49152``."""
        host, port = self._listener.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def openai_url(self) -> str:
        """What OpenAI's clients call `base_url`."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """What Anthropic's clients call `base_url`."""
        return self.url

    def environ(self) -> dict[str, str]:
        """The variables that send OpenAI's and Anthropic's clients here, and what is built on them."""
        variables = {
            "OPENAI_BASE_URL": self.openai_url,
            "OPENAI_API_BASE": self.openai_url,
            "OPENAI_API_KEY": self.api_key,
            "ANTHROPIC_BASE_URL": self.anthropic_url,
            "ANTHROPIC_API_URL": self.anthropic_url,
            "ANTHROPIC_API_KEY": self.api_key,
            "OPENAI_AGENTS_DISABLE_TRACING": "1",  # its traces go to OpenAI itself, whatever the base URL
        }
        if any(name.lower() in _PROXIES for name in os.environ):
            # Through a proxy this machine is another one.
            spared = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
            host = str(self._listener.server_address[0])
            variables["NO_PROXY"] = variables["no_proxy"] = ",".join(filter(None, [spared, host]))
        return variables

    @property
    def calls(self) -> list[Call]:
        """The requests so far, in the order they came; a copy."""
        return self._fake.calls

    @property
    def requests(self) -> int:
        """How many requests came, failures among them."""
        return len(self.calls)

    @property
    def tokens(self) -> Tokens:
        """What all answers count together."""
        return sum((call.tokens for call in self.calls), Tokens())

    def count(self) -> dict[str, Any]:
        """What ``GET /_count`` answers: requests and tokens, together, by endpoint and by model."""
        return self._fake.count()

    def script(self, answers: Answers) -> None:
        """Answer with these from now on.

        Raises:
            UsageError: Something among them is no answer.
        """
        self._fake.script(answers)

    def reset(self) -> None:
        """Forget the requests so far, and begin again with the first answer of a list."""
        self._fake.reset()

    def close(self) -> None:
        """Stop answering; connections that are open are closed. More than once does no harm."""
        if not self._fake.closing.is_set():
            self._fake.closing.set()
            self._listener.stop()


def fake_llm(
    answers: Answers = None,
    *,
    latency: float = 0.0,
    chunk_latency: float = 0.0,
    gzip: bool = False,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str = "fake-key",
) -> FakeLLM:
    """Start a language model that costs nothing and says what it is told to.

    It speaks OpenAI's chat completions, responses and embeddings and Anthropic's messages, streamed
    or not, and counts requests and tokens. It can be used the moment this returns::

        with fake_llm(answers=["hi", "there"]) as llm:
            client = openai.OpenAI(base_url=llm.openai_url, api_key=llm.api_key)
            ...
            assert llm.requests == 2

    Args:
        answers: What it says. None: numbered answers. Text, an `Answer`, a `ToolCall` or a
            `Failure`: that, always. A list of them: one after the other. A function: what it makes
            of the `Call`.
        latency: Seconds before each answer.
        chunk_latency: Seconds before each piece of a streamed answer.
        gzip: Compress answers for clients that take it.
        host: The address to listen on.
        port: The port to listen on; a free one by default.
        api_key: What `environ` gives as key. Any key is taken.

    Raises:
        UsageError: Something among the answers is no answer.
        OSError: The port is taken.
    """
    return FakeLLM(
        answers,
        latency=latency,
        chunk_latency=chunk_latency,
        gzip=gzip,
        host=host,
        port=port,
        api_key=api_key,
    )
