"""The tap on both HTTP libraries, without any SDK: the same tests for each."""

from __future__ import annotations

import asyncio
import gc
import gzip
import importlib
import json
import subprocess
import sys
import textwrap
from datetime import timedelta

import httpx
import httpx2
import pytest

from kitaru_nb.errors import KitaruError, StoreError, Suspended
from kitaru_nb.llm import tap
from kitaru_nb.llm.httpx_tap import REPLAYED
from kitaru_nb.model.cost import Usage
from tests.llm_meter import MemoryMeter, MemoryTicket

URL = "https://api.openai.com/v1/chat/completions"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = {**CHAT, "stream": True}
USAGE = {"prompt_tokens": 10, "completion_tokens": 3}


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def lib(request):
    return request.param


@pytest.fixture
def meter():
    meter = MemoryMeter()
    tap.install(lambda: meter)
    yield meter
    tap.uninstall()
    assert meter.open == 0, "a ticket was left open"


def event(document):
    return f"data: {document if isinstance(document, str) else json.dumps(document)}\n\n".encode()


def events(body, number=1):
    """What a server answers to a streamed request."""
    parts = [
        event({"model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": f"w{number}"}}]}),
        event({"model": "gpt-4o", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    ]
    if (body.get("stream_options") or {}).get("include_usage"):
        parts.append(event({"model": "gpt-4o", "choices": [], "usage": USAGE}))
    return [*parts, event("[DONE]")]


def stream_of(lib, on_close):
    """A class of streams that have to be read, from bytes and errors."""

    class Stream(lib.SyncByteStream, lib.AsyncByteStream):
        def __init__(self, parts):
            self.parts = parts

        def __iter__(self):
            for part in self.parts:
                if isinstance(part, BaseException):
                    raise part
                yield part

        async def __aiter__(self):
            for part in list(self):
                yield part

        def close(self):
            on_close()

        async def aclose(self):
            on_close()

    return Stream


class Server:
    """A transport that answers like OpenAI."""

    def __init__(self, lib, **options):
        self.lib = lib
        self.requests = []
        self.closed = 0
        self.options = options
        stream, server = stream_of(lib, self.on_close), self

        class Transport(lib.BaseTransport, lib.AsyncBaseTransport):
            def handle_request(self, request):
                status, headers, parts = server.answer(request)
                return lib.Response(status, headers=headers, stream=stream(parts))

            async def handle_async_request(self, request):
                return self.handle_request(request)

        self.transport = Transport()

    def on_close(self):
        self.closed += 1

    def answer(self, request):
        self.requests.append(request)
        number = len(self.requests)
        body = json.loads(request.read() or b"{}")
        if error := self.options.get("errors", {}).get(number):
            return error, {"content-type": "application/json"}, [b'{"error": "no"}']
        if (refused := self.options.get("refuses")) and refused in body:
            return 400, {"content-type": "application/json"}, [b'{"error": "unknown field"}']
        if body.get("stream"):
            parts, kind = events(body, number), "text/event-stream"
            if cut := self.options.get("cut"):
                parts = [*parts[: cut[0]], *cut[1:]]
        else:
            choice = {"index": 0, "message": {"content": f"w{number}"}}
            parts = [json.dumps({"model": "gpt-4o-x", "choices": [choice], "usage": USAGE}).encode()]
            kind = "application/json"
        headers = {"content-type": kind, "x-request-id": f"req_{number}", "set-cookie": "s=secret"}
        if self.options.get("gzip"):
            parts = [gzip.compress(b"".join(parts))]
            parts = [parts[0][:20], parts[0][20:]]
            headers["content-encoding"] = "gzip"
        return 200, headers, parts

    def client(self, **options):
        return self.lib.Client(transport=self.transport, **options)

    def async_client(self, **options):
        return self.lib.AsyncClient(transport=self.transport, **options)


def text(lines):
    """What a streamed answer says."""
    documents = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert all(document["choices"] for document in documents), "a chunk without choices"
    return "".join(
        choice["delta"].get("content", "") for document in documents for choice in document["choices"]
    )


def test_an_answer_is_recorded_and_served_again(lib, meter):
    server = Server(lib)
    live = server.client().post(URL, json=CHAT, headers={"authorization": "Bearer secret"})
    meter.next_attempt()

    again = server.client().post(URL, json=CHAT, headers={"authorization": "Bearer other"})

    assert len(server.requests) == 1
    assert again.json() == live.json()
    assert type(again) is type(live)
    assert (again.status_code, again.headers["x-request-id"]) == (200, "req_1")
    assert again.elapsed >= timedelta(0)
    assert again.extensions[REPLAYED] is True
    assert REPLAYED not in live.extensions
    [answer] = meter.recorded
    assert (answer.usage, answer.model) == (Usage(10, 3), "gpt-4o-x")
    assert answer.duration > 0


def test_headers_never_reach_the_meter(lib, meter):
    Server(lib).client(headers={"x-api-key": "secret"}).post(URL, json=CHAT, auth=("me", "secret"))

    [answer], [request] = meter.recorded, meter.requests
    assert answer.headers == {"content-type": "application/json", "x-request-id": "req_1"}
    assert "secret" not in repr((answer, request))


def test_async_calls_are_recorded_and_served_again(lib, meter):
    server = Server(lib)

    async def call():
        async with server.async_client() as client:
            return (await client.post(URL, json=CHAT)).json()

    live = asyncio.run(call())
    meter.next_attempt()

    assert asyncio.run(call()) == live
    assert len(server.requests) == 1


def test_a_stream_is_recorded_with_its_usage_and_served_without(lib, meter):
    server = Server(lib)

    def call():
        with server.client().stream("POST", URL, json=STREAMED) as response:
            return list(response.iter_lines())

    live = call()
    meter.next_attempt()
    again = call()

    assert text(live) == "w1"
    assert again == live
    assert json.loads(server.requests[0].content)["stream_options"] == {"include_usage": True}
    assert meter.recorded[0].usage == Usage(10, 3)
    assert len(server.requests) == server.closed == 1


def test_an_async_stream_is_recorded_with_its_usage_and_served_without(lib, meter):
    server = Server(lib)

    async def call():
        async with server.async_client() as client, client.stream("POST", URL, json=STREAMED) as response:
            return b"".join([chunk async for chunk in response.aiter_bytes()]).decode().splitlines()

    live = asyncio.run(call())
    meter.next_attempt()

    assert asyncio.run(call()) == live
    assert text(live) == "w1"
    assert meter.recorded[0].usage == Usage(10, 3)
    assert server.closed == 1


def test_who_asks_for_the_usage_gets_it_live_and_served(lib, meter):
    server = Server(lib)
    asked = {**STREAMED, "stream_options": {"include_usage": True}}

    live = server.client().post(URL, json=asked).text
    meter.next_attempt()
    again = server.client().post(URL, json=asked).text

    assert again == live
    assert '"usage"' in live


def test_a_stream_that_is_read_at_once_hides_the_usage_as_well(lib, meter):
    server = Server(lib)

    live = server.client().post(URL, json=STREAMED)
    meter.next_attempt()
    again = server.client().post(URL, json=STREAMED)

    assert text(live.text.splitlines()) == "w1"
    assert again.text == live.text
    assert live.headers["x-request-id"] == "req_1"
    assert live.elapsed >= timedelta(0)
    assert meter.recorded[0].usage == Usage(10, 3)


def test_the_users_request_is_the_responses_request(lib, meter):
    with Server(lib).client().stream("POST", URL, json=STREAMED) as response:
        response.read()

    assert "stream_options" not in json.loads(response.request.content)


def test_the_record_is_durable_before_the_user_sees_the_end(lib, meter):
    with Server(lib).client().stream("POST", URL, json=STREAMED) as response:
        seen = [
            (b"finish_reason" in chunk or b"[DONE]" in chunk, len(meter.recorded))
            for chunk in response.iter_bytes()
        ]

    assert (False, 0) in seen
    assert (True, 0) not in seen
    assert (True, 1) in seen


def test_a_client_that_stops_reading_at_the_end_and_never_closes_has_its_record(lib, meter):
    response = (
        Server(lib).client().send(Server(lib).client().build_request("POST", URL, json=STREAMED), stream=True)
    )
    chunks = response.iter_bytes()

    while b"finish_reason" not in next(chunks):
        pass

    assert len(meter.recorded) == 1
    chunks.close()


@pytest.mark.parametrize("broken", [True, False], ids=["drops", "ends"])
def test_a_cut_stream_is_not_recorded_and_is_asked_for_again(lib, meter, broken):
    error = [lib.ReadError("connection lost")] if broken else []
    server = Server(lib, cut=(1, *error))
    try:
        live = server.client().post(URL, json=STREAMED).text
    except lib.ReadError:
        live = "lost"
    server.options.clear()

    again = server.client().post(URL, json=STREAMED).text

    assert live in (
        "lost",
        event({"model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": "w1"}}]}).decode(),
    )
    assert text(again.splitlines()) == "w2"
    assert len(meter.recorded) == 1
    assert len(meter.failures) == 1


def test_a_stream_that_breaks_off_gives_what_it_had_first(lib, meter):
    server = Server(lib, cut=(2, lib.ReadError("connection lost")))
    seen = []

    with server.client().stream("POST", URL, json=STREAMED) as response, pytest.raises(lib.ReadError):
        seen.extend(response.iter_bytes())

    assert b"finish_reason" in b"".join(seen)
    assert meter.recorded == []
    assert meter.failures == [("ReadError: connection lost", None)]


def test_an_error_in_the_midst_of_a_stream_ends_the_call_at_once(lib, meter):
    """Some clients raise what it says and close nothing."""
    server = Server(lib, cut=(1, event({"error": {"message": "overloaded"}})))
    client = server.client()
    response = client.send(client.build_request("POST", URL, json=STREAMED), stream=True)
    chunks = response.iter_bytes()

    assert b"overloaded" not in next(chunks)
    assert b"overloaded" in next(chunks)

    assert [reason for reason, _ in meter.failures] == ['it says {"message": "overloaded"}']
    chunks.close()


def test_a_stream_that_is_closed_early_is_not_recorded(lib, meter):
    server = Server(lib)
    with server.client().stream("POST", URL, json=STREAMED) as response:
        next(response.iter_bytes())

    assert meter.failures == [("closed before its end", None)]
    assert meter.recorded == []
    assert server.closed == 1


def test_a_stream_that_is_dropped_gives_its_reservation_back(lib, meter):
    client = Server(lib).client()

    response = client.send(client.build_request("POST", URL, json=STREAMED), stream=True)
    assert meter.open == 1
    del response
    gc.collect()

    assert meter.failures == [("dropped before its end", None)]


def test_an_error_is_not_recorded_and_the_retry_is_recorded_once(lib, meter):
    server = Server(lib, errors={1: 500, 2: 429})

    statuses = [server.client().post(URL, json=CHAT).status_code for _ in range(3)]
    meter.next_attempt()
    again = server.client().post(URL, json=CHAT)

    assert statuses == [500, 429, 200]
    assert [reason for reason, _ in meter.failures] == ["status 500", "status 429"]
    assert again.json()["choices"][0]["message"]["content"] == "w3"
    assert len(meter.recorded) == 1
    assert len(server.requests) == 3


def test_an_error_to_a_streamed_request_is_the_users_to_read(lib, meter):
    server = Server(lib, errors={1: 500})

    with server.client().stream("POST", URL, json=STREAMED) as response:
        assert response.read() == b'{"error": "no"}'

    assert [reason for reason, _ in meter.failures] == ["status 500"]
    assert server.closed == 1


def test_a_call_that_cannot_connect_gives_its_reservation_back(lib, meter):
    def refuse(request):
        raise lib.ConnectError("refused")

    client = lib.Client(transport=lib.MockTransport(refuse))

    with pytest.raises(lib.ConnectError):
        client.post(URL, json=CHAT)

    assert meter.failures == [("ConnectError: refused", None)]


def test_a_cancelled_call_gives_its_reservation_back(lib, meter):
    async def call():
        asked = asyncio.Event()

        async def hang(request):
            asked.set()
            await asyncio.Event().wait()

        async with lib.AsyncClient(transport=lib.MockTransport(hang)) as client:
            task = asyncio.create_task(client.post(URL, json=CHAT))
            await asked.wait()
            task.cancel()
            await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(call())

    assert meter.failures == [("CancelledError", None)]


def test_a_task_cancelled_in_the_midst_of_a_stream_is_given_nothing_more(lib, meter):
    async def call():
        seen, held = [], asyncio.Event()

        class Hanging(lib.AsyncByteStream):
            async def __aiter__(self):
                yield events({})[0]
                yield events({})[1]
                held.set()
                await asyncio.Event().wait()

        def answer(request):
            return lib.Response(200, headers={"content-type": "text/event-stream"}, stream=Hanging())

        async def read():
            async with (
                lib.AsyncClient(transport=lib.MockTransport(answer)) as client,
                client.stream("POST", URL, json=STREAMED) as response,
            ):
                async for chunk in response.aiter_bytes():
                    seen.append(chunk)  # noqa: PERF401 - a comprehension would lose them all

        task = asyncio.create_task(read())
        await held.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return seen

    assert asyncio.run(call()) == [events({})[0]]
    assert meter.recorded == []


@pytest.mark.parametrize("error", [Suspended(), KitaruError("over budget")], ids=["suspended", "refused"])
def test_a_refused_call_is_not_made(lib, meter, error):
    server = Server(lib)
    meter.refuse = error

    async def call():
        async with server.async_client() as client:
            await client.post(URL, json=CHAT)

    with pytest.raises(type(error)):
        server.client().post(URL, json=CHAT)
    with pytest.raises(type(error)):
        asyncio.run(call())

    assert server.requests == []


def full_disk(monkeypatch):
    """Have no answer recorded until the function that is given back is called."""
    done = MemoryTicket.done

    def full(self, answer):
        self.meter.open -= 1
        self.meter.give_back(self.request.key, self.number)
        raise StoreError("the disk is full")

    monkeypatch.setattr(MemoryTicket, "done", full)
    return lambda: monkeypatch.setattr(MemoryTicket, "done", done)


@pytest.mark.parametrize("body", [CHAT, STREAMED], ids=["whole", "stream"])
def test_an_answer_that_cannot_be_recorded_does_not_reach_the_user_and_is_not_paid_again(
    lib, meter, body, monkeypatch
):
    free = full_disk(monkeypatch)
    server = Server(lib)
    seen = []

    with server.client().stream("POST", URL, json=body) as response, pytest.raises(StoreError):
        seen.extend(response.iter_bytes())
    with pytest.raises(StoreError):  # as an SDK does that makes the call again
        server.client().post(URL, json=body)
    free()
    answer, other = [server.client().post(URL, json=body).text for _ in range(2)]

    assert b"finish_reason" not in b"".join(seen)
    assert b'"usage"' not in b"".join(seen)
    assert "w1" in answer
    assert "w2" in other
    assert len(server.requests) == server.closed == len(meter.recorded) == 2


@pytest.mark.parametrize("body", [CHAT, STREAMED], ids=["whole", "stream"])
def test_compressed_answers_are_read_and_served_again(lib, meter, body):
    server = Server(lib, gzip=True)

    def streamed():
        with server.client().stream("POST", URL, json=body) as response:
            return "".join(response.iter_text())

    async def async_streamed():
        async with server.async_client() as client, client.stream("POST", URL, json=body) as response:
            return (await response.aread()).decode()

    live = [server.client().post(URL, json=body).text, streamed(), asyncio.run(async_streamed())]
    meter.next_attempt()
    again = [server.client().post(URL, json=body).text, streamed(), asyncio.run(async_streamed())]

    assert again == live
    assert [answer.usage for answer in meter.recorded] == [Usage(10, 3)] * 3
    assert all(answer.body.startswith((b"{", b"data: ")) for answer in meter.recorded)
    assert len(server.requests) == 3
    assert '"choices": []' not in "".join(live)


def test_a_transport_that_has_the_answer_ready_is_recorded(lib, meter):
    """Mock and caching transports hand over a body that is never read from a stream."""

    def ready(request):
        body = json.loads(request.content)
        if not body.get("stream"):
            return lib.Response(200, json={"model": "m", "usage": USAGE})
        content = b"".join(events(body))
        return lib.Response(200, headers={"content-type": "text/event-stream"}, content=content)

    client = lib.Client(transport=lib.MockTransport(ready))

    def streamed():
        with client.stream("POST", URL, json=STREAMED) as response:
            return list(response.iter_lines())

    live = [client.post(URL, json=CHAT).json(), streamed()]
    meter.next_attempt()
    again = [client.post(URL, json=CHAT).json(), streamed()]

    assert again == live
    assert text(live[1]) == "w1"
    assert [answer.usage for answer in meter.recorded] == [Usage(10, 3)] * 2


def test_a_server_that_does_not_know_about_usage_is_asked_without(lib, meter):
    server = Server(lib, refuses="stream_options")

    answers = [server.client().post(URL, json=STREAMED) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert ["stream_options" in json.loads(request.content) for request in server.requests] == [
        True,
        False,
        False,
    ]
    assert [answer.usage for answer in meter.recorded] == [None, None]


def test_a_request_that_is_wrong_anyway_fails_as_it_would(lib, meter):
    server = Server(lib, refuses="messages")

    answer = server.client().post(URL, json=STREAMED)

    assert answer.status_code == 400
    assert len(server.requests) == 2
    assert [reason for reason, _ in meter.failures] == ["status 400"]


def test_redirects_are_followed_and_recorded_once(lib, meter):
    def handle(request):
        if request.url.path.startswith("/v1"):
            return lib.Response(307, headers={"location": "https://eu.example/v2/chat/completions"})
        return lib.Response(200, json={"model": "m", "usage": USAGE})

    client = lib.Client(transport=lib.MockTransport(handle), follow_redirects=True)

    answer = client.post(URL, json=CHAT)

    assert answer.status_code == 200
    assert len(meter.recorded) == 1


def test_the_users_hooks_run_for_served_answers_too(lib, meter):
    server, seen = Server(lib), []
    hooks = {
        "request": [lambda request: seen.append(request.method)],
        "response": [lambda response: seen.append(response.status_code)],
    }

    server.client(event_hooks=hooks).post(URL, json=CHAT)
    meter.next_attempt()
    server.client(event_hooks=hooks).post(URL, json=CHAT)

    assert seen == ["POST", 200] * 2


def test_other_requests_and_calls_outside_a_step_are_left_alone(lib, meter):
    server = Server(lib)
    server.client().get(URL)
    server.client().post("https://example.org/messages", json={"content": "hi"})
    server.client().post(URL, content=iter([json.dumps(CHAT).encode()]))
    tap.install(lambda: None)
    server.client().post(URL, json=STREAMED)

    assert meter.requests == []
    assert "stream_options" not in json.loads(server.requests[-1].content)


def test_equal_calls_at_the_same_time_keep_their_answers(lib, meter):
    server = Server(lib)

    async def calls():
        async with server.async_client() as client:
            answers = await asyncio.gather(*[client.post(URL, json=CHAT) for _ in range(4)])
        return [answer.json()["choices"][0]["message"]["content"] for answer in answers]

    live = asyncio.run(calls())
    meter.next_attempt()

    assert asyncio.run(calls()) == live
    assert sorted(live) == ["w1", "w2", "w3", "w4"]
    assert len(server.requests) == 4


def test_taking_the_tap_off_puts_the_clients_back(lib):
    before = lib.Client.send, lib.AsyncClient.send
    tap.install(lambda: None)
    tap.install(lambda: None)
    assert lib.Client.send is not before[0]

    tap.uninstall()
    tap.uninstall()

    assert (lib.Client.send, lib.AsyncClient.send) == before


def test_a_patch_that_came_after_ours_stays(lib, monkeypatch):
    tap.install(lambda: None)
    ours = lib.Client.send

    def theirs(self, request, **options):
        return ours(self, request, **options)

    monkeypatch.setattr(lib.Client, "send", theirs)
    tap.uninstall()

    assert lib.Client.send is theirs


def run(program):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["httpx", "httpx2"])
def test_a_library_that_is_imported_later_is_met(name):
    """And none is imported for the tap, nor is the loader another one than without it."""
    run(f"""
        import sys
        from kitaru_nb.llm import tap
        from tests.llm_meter import MemoryMeter

        meter = MemoryMeter()
        tap.install(lambda: meter)
        assert not {{"httpx", "httpx2", "botocore", "genai_prices"}} & sys.modules.keys()

        import {name} as lib
        import importlib, inspect, types
        assert type(lib.__loader__).__name__ == "SourceFileLoader"
        assert "exec_module" not in vars(lib.__loader__)
        assert inspect.getsource(lib)
        answer = lib.MockTransport(lambda request: lib.Response(200, json={{"model": "m"}}))
        lib.Client(transport=answer).post("{URL}", json={CHAT})
        assert len(meter.recorded) == 1
        importlib.reload(lib)
        lib.Client(transport=answer).post("{URL}", json={CHAT})
        assert len(meter.recorded) == 2
        tap.uninstall()
        lib.Client(transport=answer).post("{URL}", json={CHAT})
        assert len(meter.requests) == 2
        assert all(type(finder).__module__ != "kitaru_nb.llm.patches" for finder in sys.meta_path)
    """)


def test_a_library_that_is_missing_stays_missing():
    run("""
        import sys
        from kitaru_nb.llm import tap

        tap.install(lambda: None)
        sys.path[:] = []
        try:
            import httpx
        except ModuleNotFoundError as error:
            assert error.name == "httpx"
        else:
            raise SystemExit("found")
    """)


def test_the_clients_are_imported_here():
    # What this file asserts of both libraries is asserted of two, not of one under two names.
    assert importlib.import_module("httpx") is not importlib.import_module("httpx2")
    assert httpx.Client is not httpx2.Client
