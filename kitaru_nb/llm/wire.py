"""Which HTTP requests are model calls, and what they ask for.

A request is a model call when its path *and* its body say so: plenty of servers have a
``/messages`` or a ``/responses`` that has nothing to do with models, and a request wrongly taken
for a model call would be answered from the record instead of being sent. The host does not
matter, so proxies and local servers count like the providers themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from blake3 import blake3

from kitaru_nb.llm.estimate import input_tokens
from kitaru_nb.llm.meter import ModelRequest, RequestKey

__all__ = ["canonical", "is_candidate", "model_request"]

Json = dict[str, Any]


def is_candidate(method: str, path: str) -> bool:
    """Whether a request may be a model call, by method and path alone. Costs next to nothing."""
    return method == "POST" and _PATHS.search(path) is not None


def model_request(method: str, url: str, body: bytes) -> ModelRequest | None:
    """The model call that a request makes, or None when it is something else."""
    parts = _URL.match(url)
    if parts is None or method != "POST":
        return None
    scheme, host, port, path, query = parts.groups("")
    place = _PATHS.search(path)
    if place is None:
        return None
    api = _APIS[place.lastgroup or ""]
    data, text = canonical(body)
    if not api.fits(data, path):
        return None
    address = f"{scheme}{host}{port}{path}"
    wanted = data if isinstance(data, dict) else {}
    return ModelRequest(
        key=_key(method, f"{scheme}{host}{_lasting(host, port)}{path}{_format(query)}", text),
        method=method,
        url=address,
        api=api.name,
        model=_model(wanted, path),
        provider=_provider(host, port, api.name),
        streamed=api.streamed(wanted, path),
        body=text,
        max_tokens=api.limit(wanted),
        input_tokens=input_tokens(text),
    )


def canonical(body: bytes) -> tuple[Any, bytes]:
    """A body as data and in canonical form; None and the body itself where it is not JSON.

    Order of keys, spacing and escapes do not count.
    """
    try:
        data = json.loads(body)
        return data, json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
            "utf-8", "surrogatepass"
        )
    except ValueError:
        return None, body


def _key(method: str, address: str, text: bytes) -> RequestKey:
    return RequestKey(blake3(b"%b\0%b\0%b" % (method.encode(), address.encode(), text)).hexdigest())


_URL = re.compile(r"(https?://)(?:[^/?#@]*@)?(\[[^\]]*\]|[^/:?#]*)(:\d+)?([^?#]*)(?:\?([^#]*))?")
_LOOPBACK = re.compile(r"localhost$|127\.|\[::1\]$")
_FIRST_FLEETING_PORT = 32768


def _lasting(host: str, port: str) -> str:
    """The port, unless it is one that a local server is given anew each time it starts.

    An agent tested against a server that it starts itself must find its record again.
    """
    fleeting = port and int(port[1:]) >= _FIRST_FLEETING_PORT and _LOOPBACK.match(host)
    return "" if fleeting else port


def _format(query: str) -> str:
    """The one thing in a query that changes what comes back: how a stream is framed."""
    return "?alt=sse" if "alt=sse" in query else ""


# -- the wire formats


@dataclass(frozen=True, slots=True)
class _Api:
    """One wire format.

    Attributes:
        name: What `ModelRequest.api` says.
        fits: Whether a body, with the path, is such a request.
        streamed: Whether it asks for a stream.
        limit: The most output tokens it may be answered with, or None.
    """

    name: str
    fits: Callable[[Any, str], bool]
    streamed: Callable[[Json, str], bool]
    limit: Callable[[Json], int | None]


def _has(*names: str) -> Callable[[Any, str], bool]:
    """A body with one of the names of each group ``a|b``."""
    groups = [name.split("|") for name in names]
    return lambda data, _: (
        isinstance(data, dict) and all(any(name in data for name in group) for group in groups)
    )


def _has_in_azure(data: Any, path: str) -> bool:
    """An embedding request; Azure names the model in the path."""
    return isinstance(data, dict) and "input" in data and ("model" in data or "/deployments/" in path)


def _body_says(data: Json, _: str) -> bool:
    return data.get("stream") is True


def _path_says(_: Json, path: str) -> bool:
    return "tream" in path.rpartition("/")[2]


def _unless_told(data: Json, _: str) -> bool:
    return data.get("stream") is not False


def _never(_: Json, __: str) -> bool:
    return False


def _at(*paths: str, times: str = "") -> Callable[[Json], int | None]:
    """The number at the first of these dotted paths that has one, times the number of answers."""

    def limit(data: Json) -> int | None:
        found = next((n for path in paths if (n := _number(data, path)) is not None), None)
        if found is None or found < 0:
            return None
        return found * max(1, _number(data, times) or 1) if times else found

    return limit


def _number(data: Any, path: str) -> int | None:
    for name in path.split("."):
        data = data.get(name) if isinstance(data, Mapping) else None
    return data if isinstance(data, int) and not isinstance(data, bool) else None


def _nothing(_: Json) -> int | None:
    return 0


_CHAT = _Api(
    "openai-chat", _has("messages"), _body_says, _at("max_completion_tokens", "max_tokens", times="n")
)
_TEXT = _Api("openai-text", _has("prompt"), _body_says, _at("max_tokens", times="n"))
_RESPONSES = _Api("openai-responses", _has("model|prompt"), _body_says, _at("max_output_tokens"))
_EMBEDDINGS = _Api("embeddings", _has_in_azure, _never, _nothing)
_ANTHROPIC = _Api("anthropic", _has("messages", "model|anthropic_version"), _body_says, _at("max_tokens"))
_ANTHROPIC_VERTEX = _Api(
    "anthropic",
    _has("messages"),
    lambda data, path: _body_says(data, path) or _path_says(data, path),
    _at("max_tokens"),
)
_GEMINI = _Api(
    "gemini",
    _has("contents"),
    _path_says,
    _at("generationConfig.maxOutputTokens", times="generationConfig.candidateCount"),
)
_GEMINI_EMBEDDINGS = _Api("embeddings", _has("content|requests"), _never, _nothing)
_OLLAMA = _Api("ollama", _has("model", "messages|prompt"), _unless_told, _at("options.num_predict"))
_OLLAMA_EMBEDDINGS = _Api("embeddings", _has("model", "input|prompt"), _never, _nothing)
_CONVERSE = _Api("bedrock-converse", _has("messages"), _path_says, _at("inferenceConfig.maxTokens"))
_INVOKE = _Api(
    "bedrock-invoke",
    lambda _, __: True,
    _path_says,
    _at("max_tokens", "max_gen_len", "inferenceConfig.maxTokens", "textGenerationConfig.maxTokenCount"),
)

_APIS = {
    "chat": _CHAT,
    "text": _TEXT,
    "responses": _RESPONSES,
    "messages": _ANTHROPIC,
    "ollama_embeddings": _OLLAMA_EMBEDDINGS,
    "embeddings": _EMBEDDINGS,
    "gemini": _GEMINI,
    "gemini_embeddings": _GEMINI_EMBEDDINGS,
    "predict": _ANTHROPIC_VERTEX,
    "ollama": _OLLAMA,
    "converse": _CONVERSE,
    "invoke": _INVOKE,
}
_PATHS = re.compile(
    r"(?:(?P<chat>/chat/completions)"
    r"|(?P<text>/completions)"
    r"|(?P<responses>/responses)"
    r"|(?P<messages>/messages)"
    r"|(?P<ollama_embeddings>/api/embed)"
    r"|(?P<embeddings>/embeddings)"
    r"|(?P<gemini>:(?:g|streamG)enerateContent)"
    r"|(?P<gemini_embeddings>:(?:e|batchE)mbedContents?)"
    r"|(?P<predict>/publishers/anthropic/models/[^/]+:(?:r|streamR)awPredict)"
    r"|(?P<ollama>/api/(?:chat|generate))"
    r"|(?P<converse>/model/[^/]+/converse(?:-stream)?)"
    r"|(?P<invoke>/model/[^/]+/invoke(?:-with-response-stream)?))$"
)

# -- who answers

_IN_PATH = re.compile(r"/(?:models?|deployments)/([^/]+?)(?::[A-Za-z]+)?(?:/|$)")


def _model(data: Json, path: str) -> str | None:
    named = data.get("model")
    if isinstance(named, str) and named:
        return named
    found = _IN_PATH.search(path)
    return unquote(found[1]) if found else None


_PROVIDERS = {
    "api.anthropic.com": "anthropic",
    "api.cerebras.ai": "cerebras",
    "api.cohere.ai": "cohere",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.fireworks.ai": "fireworks",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.moonshot.ai": "moonshotai",
    "api.openai.com": "openai",
    "api.perplexity.ai": "perplexity",
    "api.together.xyz": "together",
    "api.voyageai.com": "voyageai",
    "api.x.ai": "x-ai",
    "api.z.ai": "zai",
    "openrouter.ai": "openrouter",
}
_FAMILIES = {
    ".amazonaws.com": "aws",
    ".azure.com": "azure",
    ".azure-api.net": "azure",
    ".googleapis.com": "google",
    ".openai.com": "openai",
}
_OLLAMA_PORT = ":11434"


def _provider(host: str, port: str, api: str) -> str | None:
    if api == "ollama" or port == _OLLAMA_PORT:
        return "ollama"
    found = _PROVIDERS.get(host)
    return found or next((who for family, who in _FAMILIES.items() if host.endswith(family)), None)
