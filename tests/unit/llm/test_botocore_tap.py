"""The tap on botocore, on a module of its shape; the real one is met in the integration tests."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest

from kitaru_nb.llm.botocore_tap import patch
from kitaru_nb.model.cost import Usage
from tests.llm_meter import MemoryMeter
from tests.unit.llm.test_answers import AMAZON, STREAMS

HOST = "https://bedrock-runtime.us-east-1.amazonaws.com/model/m"
BODY = json.dumps({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}).encode()


class Response:
    def __init__(self, url, status_code, headers, raw):
        self.url, self.status_code, self.headers, self.raw = url, status_code, headers, raw

    @property
    def content(self):
        return b"".join(self.raw.stream())


class Raw:
    """An unread answer; an error among its parts is raised."""

    def __init__(self, parts):
        self.parts, self.closed = parts, False

    def stream(self, *args, **options):
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            yield part

    def close(self):
        self.closed = True


@pytest.fixture
def bedrock(monkeypatch):
    """An endpoint under the tap, its meter, and the answers that it is to get."""
    meter, answers, sent = MemoryMeter(), [], []

    class Endpoint:
        def _send(self, request):
            sent.append(request)
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            status, headers, parts = answer
            return Response(request.url, status, headers, Raw(parts))

    awsrequest = ModuleType("botocore.awsrequest")
    awsrequest.AWSResponse = Response
    monkeypatch.setitem(sys.modules, "botocore.awsrequest", awsrequest)
    module = ModuleType("botocore.endpoint")
    module.Endpoint = Endpoint
    unpatch = patch(module, lambda: meter)
    yield SimpleNamespace(endpoint=Endpoint(), meter=meter, answers=answers, sent=sent)
    unpatch()
    assert Endpoint._send.__qualname__.endswith("Endpoint._send")
    assert not hasattr(Endpoint._send, "__wrapped__")
    assert meter.open == 0


def request(operation, body=BODY):
    return SimpleNamespace(
        method="POST", url=f"{HOST}/{operation}", body=body, headers={"Authorization": "s"}
    )


def test_an_answer_is_recorded_and_served_again(bedrock):
    content = json.dumps({"usage": {"inputTokens": 5, "outputTokens": 2}}).encode()
    bedrock.answers.append((200, {"Content-Type": "application/json", "x-amzn-RequestId": "r"}, [content]))
    live = bedrock.endpoint._send(request("converse"))
    bedrock.meter.next_attempt()

    again = bedrock.endpoint._send(request("converse"))

    assert live.content == again.content == content
    assert type(again) is Response
    assert (again.status_code, again.headers["x-amzn-requestid"]) == (200, "r")
    assert bedrock.meter.recorded[0].usage == Usage(5, 2)
    assert len(bedrock.sent) == 1


def test_usage_is_read_from_headers_where_the_models_own_answer_has_none(bedrock):
    headers = {
        "Content-Type": "application/json",
        "X-Amzn-Bedrock-Input-Token-Count": "5",
        "X-Amzn-Bedrock-Output-Token-Count": "2",
    }
    bedrock.answers.append((200, headers, [b'{"completion": "hi"}']))

    live = bedrock.endpoint._send(request("invoke"))

    assert live.raw.read() == b'{"completion": "hi"}'
    assert bedrock.meter.recorded[0].usage == Usage(5, 2)
    assert bedrock.meter.recorded[0].headers == {"content-type": "application/json"}


def test_a_stream_is_recorded_before_its_end_is_handed_on(bedrock):
    _, frames, first_held = STREAMS["bedrock-converse"]
    bedrock.answers.append((200, {"content-type": AMAZON}, frames))
    live = bedrock.endpoint._send(request("converse-stream"))

    seen = [(chunk, len(bedrock.meter.recorded)) for chunk in live.raw.stream()]
    live.raw.close()
    bedrock.meter.next_attempt()
    again = bedrock.endpoint._send(request("converse-stream"))

    assert [recorded for _, recorded in seen] == [0] * first_held + [1]
    assert b"".join(again.raw.stream()) == b"".join(chunk for chunk, _ in seen) == b"".join(frames)
    assert len(bedrock.sent) == 1


def test_errors_are_not_recorded(bedrock):
    _, frames, _ = STREAMS["bedrock-converse"]
    bedrock.answers += [
        (429, {"content-type": "application/json"}, [b"{}"]),
        OSError("connection refused"),
        (200, {"content-type": AMAZON}, [frames[0], OSError("connection lost")]),
        (200, {"content-type": AMAZON}, frames),
    ]

    assert bedrock.endpoint._send(request("converse")).status_code == 429
    with pytest.raises(OSError, match="refused"):
        bedrock.endpoint._send(request("converse"))
    with pytest.raises(OSError, match="lost"):
        list(bedrock.endpoint._send(request("converse-stream")).raw.stream())
    bedrock.endpoint._send(request("converse-stream")).raw.close()

    assert bedrock.meter.recorded == []
    assert [reason for reason, _ in bedrock.meter.failures] == [
        "status 429",
        "OSError: connection refused",
        "OSError: connection lost",
        "closed before its end",
    ]


def test_other_services_are_left_alone(bedrock):
    bedrock.answers.append((200, {}, [b"{}"]))
    other = SimpleNamespace(method="POST", url="https://s3.amazonaws.com/bucket", body=BODY, headers={})

    bedrock.endpoint._send(other)

    assert bedrock.meter.requests == []


def test_a_stream_that_breaks_off_gives_what_it_had_first(bedrock):
    _, frames, _ = STREAMS["bedrock-converse"]
    bedrock.answers.append((200, {"content-type": AMAZON}, [*frames[:3], OSError("connection lost")]))
    seen = []

    with pytest.raises(OSError, match="lost"):
        seen.extend(bedrock.endpoint._send(request("converse-stream")).raw.stream())

    assert seen == frames[:3]
    assert bedrock.meter.recorded == []
