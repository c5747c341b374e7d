"""Clients that the fake model does not speak with, each against a few canned answers.

``python tests/integration/llm/others.py`` prints one JSON line for each path that its Python has the
client for: Gemini, Ollama, Bedrock, and HTTP/2 with Brotli. Each is walked twice; the second walk must
ask nobody and see the same.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import os
import socket
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from kitaru_nb.llm import tap
from kitaru_nb.model.cost import Usage
from tests.llm_meter import MemoryMeter

USAGE = Usage(7, 3)
asked: list[str] = []


# -- answers


def gemini(text: str, reason: str | None) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    if reason:
        candidate["finishReason"] = reason
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-pro"}


def ollama(text: str, *, done: bool) -> dict[str, Any]:
    said = {
        "model": "llama3",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": text},
    }
    return {**said, "done": done, **({"prompt_eval_count": 7, "eval_count": 3} if done else {})}


CLAUDE = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [{"type": "text", "text": "hi"}],
    "usage": {"input_tokens": 7, "output_tokens": 3},
}
METRICS = {"inputTokenCount": 7, "outputTokenCount": 3}


def message(name: str, document: Any) -> bytes:
    """A message of an Amazon event stream, checksums and all."""
    told = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    head = b"".join(
        struct.pack(">B", len(key)) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in told.items()
    )
    payload = json.dumps(document).encode()
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    prelude += struct.pack(">I", zlib.crc32(prelude))
    whole = prelude + head + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def inside(document: Any) -> dict[str, str]:
    return {"bytes": base64.b64encode(json.dumps(document).encode()).decode()}


def answer(path: str, body: dict[str, Any]) -> tuple[str, list[bytes]]:
    """The type and the parts of the answer to a request."""
    operation = path.partition("?")[0].rpartition("/")[2].rpartition(":")[2]
    match operation:
        case "generateContent":
            return "application/json", [json.dumps(gemini("hi", "STOP")).encode()]
        case "streamGenerateContent":
            parts = [gemini("h", None), gemini("i", "STOP")]
            return "text/event-stream", [f"data: {json.dumps(part)}\r\n\r\n".encode() for part in parts]
        case "chat":
            parts = (
                [ollama("h", done=False), ollama("i", done=True)]
                if body.get("stream")
                else [ollama("hi", done=True)]
            )
            return "application/x-ndjson", [json.dumps(part).encode() + b"\n" for part in parts]
        case "converse":
            said = {"message": {"role": "assistant", "content": [{"text": "hi"}]}}
            whole = {
                "output": said,
                "stopReason": "end_turn",
                "usage": {"inputTokens": 7, "outputTokens": 3, "totalTokens": 10},
            }
            return "application/json", [json.dumps({**whole, "metrics": {"latencyMs": 1}}).encode()]
        case "converse-stream":
            return "application/vnd.amazon.eventstream", [
                message("messageStart", {"role": "assistant"}),
                message("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "hi"}}),
                message("messageStop", {"stopReason": "end_turn"}),
                message("metadata", {"usage": {"inputTokens": 7, "outputTokens": 3, "totalTokens": 10}}),
            ]
        case "invoke":
            return "application/json", [json.dumps(CLAUDE).encode()]
        case "invoke-with-response-stream":
            last = {"type": "message_stop", "amazon-bedrock-invocationMetrics": METRICS}
            delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}
            return "application/vnd.amazon.eventstream", [
                message("chunk", inside(part)) for part in (delta, last)
            ]
    raise AssertionError(path)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked.append(self.path)
        kind, parts = answer(self.path, body)
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for part in [*parts, b""]:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""


@contextmanager
def serving() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


# -- clients

of = importlib.import_module  # each Python has some of them


def gemini_client(url: str) -> Any:
    return of("google.genai").Client(api_key="k", http_options={"base_url": url})


def gemini_plain(url: str) -> Any:
    client = gemini_client(url)  # kept: it is closed when it is dropped
    return client.models.generate_content(model="gemini-2.5-pro", contents="hello").text


def gemini_stream(url: str) -> Any:
    client = gemini_client(url)
    parts = client.models.generate_content_stream(model="gemini-2.5-pro", contents="hello")
    return "".join(part.text for part in parts)


async def gemini_async(url: str) -> Any:
    client = gemini_client(url).aio
    whole = await client.models.generate_content(model="gemini-2.5-pro", contents="hello")
    stream = await client.models.generate_content_stream(model="gemini-2.5-pro", contents="hello")
    return whole.text + "".join([part.text async for part in stream])


ASKED = [{"role": "user", "content": "hello"}]


def ollama_plain(url: str) -> Any:
    return of("ollama").Client(host=url).chat(model="llama3", messages=ASKED).message.content


def ollama_stream(url: str) -> Any:
    return "".join(
        part.message.content for part in of("ollama").Client(host=url).chat("llama3", ASKED, stream=True)
    )


async def ollama_async(url: str) -> Any:
    parts = await of("ollama").AsyncClient(host=url).chat("llama3", ASKED, stream=True)
    return "".join([part.message.content async for part in parts])


def bedrock(url: str) -> Any:
    return of("boto3").client(
        "bedrock-runtime",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="k",
        aws_secret_access_key="s",
    )


CONVERSED = [{"role": "user", "content": [{"text": "hello"}]}]


def bedrock_converse(url: str) -> Any:
    told = bedrock(url).converse(modelId="anthropic.claude-x-v1:0", messages=CONVERSED)
    return told["output"]["message"]["content"][0]["text"]


def bedrock_converse_stream(url: str) -> Any:
    told = bedrock(url).converse_stream(modelId="anthropic.claude-x-v1:0", messages=CONVERSED)
    return "".join(
        event.get("contentBlockDelta", {}).get("delta", {}).get("text", "") for event in told["stream"]
    )


def bedrock_invoke(url: str) -> Any:
    body = json.dumps({"anthropic_version": "v", "messages": ASKED, "max_tokens": 9})
    told = bedrock(url).invoke_model(modelId="anthropic.claude-x-v1:0", body=body)
    return json.loads(told["body"].read())["content"][0]["text"]


def bedrock_invoke_stream(url: str) -> Any:
    body = json.dumps({"anthropic_version": "v", "messages": ASKED, "max_tokens": 9})
    told = bedrock(url).invoke_model_with_response_stream(modelId="anthropic.claude-x-v1:0", body=body)
    parts = [json.loads(event["chunk"]["bytes"]) for event in told["body"]]
    return "".join(part.get("delta", {}).get("text", "") for part in parts)


# -- HTTP/2 and Brotli


def http2_server(listening: socket.socket) -> None:
    """Answers chat completions over HTTP/2 with a Brotli body, one connection at a time."""
    whole = {"model": "gpt-4o", "usage": {"prompt_tokens": 7, "completion_tokens": 3}, "choices": []}
    while True:
        peer, _ = listening.accept()
        connection = of("h2.connection").H2Connection(of("h2.config").H2Configuration(client_side=False))
        connection.initiate_connection()
        peer.sendall(connection.data_to_send())
        while data := peer.recv(1 << 16):
            for event in connection.receive_data(data):
                if isinstance(event, of("h2.events").StreamEnded):
                    asked.append("/v1/chat/completions over HTTP/2")
                    headers = [
                        (":status", "200"),
                        ("content-type", "application/json"),
                        ("content-encoding", "br"),
                    ]
                    connection.send_headers(event.stream_id, headers)
                    body = of("brotli").compress(json.dumps(whole).encode())
                    connection.send_data(event.stream_id, body, end_stream=True)
            peer.sendall(connection.data_to_send())


def http2_brotli(_: str) -> Any:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=http2_server, args=(listening,), daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1/chat/completions"
        with of("httpx").Client(http1=False, http2=True) as client:
            plain = client.post(url, json={"model": "gpt-4o", "messages": []})
            with client.stream("POST", url, json={"model": "gpt-4o", "messages": [1]}) as streamed:
                read = json.loads(streamed.read())
        assert plain.http_version == "HTTP/2" or "kitaru_replayed" in plain.extensions
        return plain.json(), read


PATHS: dict[str, list[Callable[[str], Any]]] = {
    "google.genai": [gemini_plain, gemini_stream, gemini_async],
    "ollama": [ollama_plain, ollama_stream, ollama_async],
    "boto3": [bedrock_converse, bedrock_converse_stream, bedrock_invoke, bedrock_invoke_stream],
    "h2": [http2_brotli],
}


def walk(path: Callable[[str], Any], url: str) -> None:
    """One path, recorded and served."""
    meter = MemoryMeter()
    tap.install(lambda: meter)

    def once() -> Any:
        found = path(url)
        return asyncio.run(found) if asyncio.iscoroutine(found) else found

    before = len(asked)
    live = once()
    paid = len(asked) - before
    assert paid == len(meter.recorded) > 0, f"{paid} asked, {len(meter.recorded)} on record"
    usages = [answer.usage for answer in meter.recorded]
    assert usages == [USAGE] * paid, usages
    meter.next_attempt()
    seen = once()
    assert len(asked) == before + paid, f"{len(asked) - before - paid} paid again"
    assert seen == live, f"served {seen}, was {live}"
    assert meter.open == 0, "a ticket was left open"
    assert not meter.failures, meter.failures


def is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def main() -> None:
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    with serving() as url:
        for module, paths in PATHS.items():
            for path in paths if is_there(module) else ():
                try:
                    walk(path, url)
                    wrong = ""
                except Exception as error:  # noqa: BLE001 - the next path is to be walked too
                    wrong = f"{type(error).__name__}: {error}"
                print(json.dumps({"path": path.__name__, "wrong": wrong}), flush=True)


if __name__ == "__main__":
    main()
