"""Which HTTP requests are model calls, and what they ask for.

A request is a model call when its path *and* its body say so: plenty of servers have a
``/messages`` or a ``/responses`` that has nothing to do with models, and a request wrongly taken
for a model call would be answered from the record instead of being sent. The host does not
matter, so proxies and local servers count like the providers themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
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
    most, answers = api.limit(wanted)
    return ModelRequest(
        key=_key(method, f"{scheme}{host}{_lasting(host, port)}{path}{_format(query)}", text),
        method=method,
        url=address,
        api=api.name,
        model=_model(wanted, path),
        provider=_provider(host, port, api.name),
        streamed=api.streamed(wanted, path),
        body=text,
        max_tokens=most,
        input_tokens=input_tokens(text),
        answers=answers,
    )


def canonical(body: bytes) -> tuple[Any, bytes]:
    """A body as data and in canonical form; None and the body itself where it is not JSON.

    Order of keys, spacing and escapes do not count.
    """
    try:
        data = _decode(body.decode())
    except ValueError:
        return None, body
    return data, _encode(data).encode("utf-8", "surrogatepass")


# Kept: `json.loads` and `json.dumps` set these up anew for each call.
_decode = json.JSONDecoder().decode
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


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
        limit: The most output tokens it may be answered with, or None; and how many answers it
            asks for.
    """

    name: str
    fits: Callable[[Any, str], bool]
    streamed: Callable[[Json, str], bool]
    limit: Callable[[Json], tuple[int | None, int]]


def _has(*names: str) -> Callable[[Any, str], bool]:
    """A body that has all of these names."""
    wanted = frozenset(names)
    return lambda data, _: isinstance(data, dict) and wanted <= data.keys()


def _has_model_or(other: str, *names: str) -> Callable[[Any, str], bool]:
    """A body that has all of these names, and `other` if not the model."""
    wanted = frozenset(names)
    return lambda data, _: (
        isinstance(data, dict) and wanted <= data.keys() and ("model" in data or other in data)
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


def _at(*names: str, inside: str = "", times: str = "") -> Callable[[Json], tuple[int | None, int]]:
    """The number under the first of these names that has one, and the number of answers.

    Args:
        names: Names that providers give to the limit.
        inside: The object that holds them and `times`, or the body itself.
        times: The name of how many answers are asked for.
    """

    def limit(data: Json) -> tuple[int | None, int]:
        place = data.get(inside) if inside else data
        if not isinstance(place, dict):
            return None, 1
        answers = place.get(times) if times else 1
        answers = answers if isinstance(answers, int) and answers > 1 else 1
        for name in names:
            # Ollama writes -1 for no limit.
            if name in place and isinstance(found := place[name], int) and found >= 0:
                return found * answers, answers
        return None, answers

    return limit


def _nothing(_: Json) -> tuple[int | None, int]:
    return 0, 1


_CHAT = _Api(
    "openai-chat", _has("messages"), _body_says, _at("max_completion_tokens", "max_tokens", times="n")
)
_TEXT = _Api("openai-text", _has("prompt"), _body_says, _at("max_tokens", times="n"))
_RESPONSES = _Api("openai-responses", _has_model_or("prompt"), _body_says, _at("max_output_tokens"))
_EMBEDDINGS = _Api("embeddings", _has_in_azure, _never, _nothing)
_ANTHROPIC = _Api("anthropic", _has_model_or("anthropic_version", "messages"), _body_says, _at("max_tokens"))
_ANTHROPIC_ON_VERTEX = _Api("anthropic", _has("messages"), _path_says, _at("max_tokens"))
_GEMINI = _Api(
    "gemini",
    _has("contents"),
    _path_says,
    _at("maxOutputTokens", inside="generationConfig", times="candidateCount"),
)
_GEMINI_EMBEDDING = _Api("embeddings", _has("content"), _never, _nothing)
_GEMINI_EMBEDDINGS = _Api("embeddings", _has("requests"), _never, _nothing)
_OLLAMA = _Api("ollama", _has("model"), _unless_told, _at("num_predict", inside="options"))
_OLLAMA_EMBEDDINGS = _Api("embeddings", _has("model"), _never, _nothing)
_CONVERSE = _Api("bedrock-converse", _has("messages"), _path_says, _at("maxTokens", inside="inferenceConfig"))
_INVOKE = _Api("bedrock-invoke", lambda _, __: True, _path_says, _at("max_tokens", "max_gen_len"))

_APIS = {
    "chat": _CHAT,
    "text": _TEXT,
    "responses": _RESPONSES,
    "messages": _ANTHROPIC,
    "ollama_embeddings": _OLLAMA_EMBEDDINGS,
    "embeddings": _EMBEDDINGS,
    "gemini": _GEMINI,
    "gemini_embedding": _GEMINI_EMBEDDING,
    "gemini_embeddings": _GEMINI_EMBEDDINGS,
    "predict": _ANTHROPIC_ON_VERTEX,
    "ollama": _OLLAMA,
    "converse": _CONVERSE,
    "invoke": _INVOKE,
}
_PATHS = re.compile(
    r"(?:(?P<chat>/chat/completions)"
    r"|(?P<text>/completions)"
    r"|(?P<responses>/responses)"
    r"|(?P<messages>/messages)"
    r"|(?P<ollama_embeddings>/api/embed(?:dings)?)"
    r"|(?P<embeddings>/embeddings)"
    r"|(?P<gemini>:(?:g|streamG)enerateContent)"
    r"|(?P<gemini_embedding>:embedContent)"
    r"|(?P<gemini_embeddings>:batchEmbedContents)"
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
