"""Less usual ways through OpenAI's client: raw responses, early stops, several answers."""

from __future__ import annotations

import openai
from walking import ASKED, GPT, QUESTION, Seen, of_chunks, of_completion, path


@path
def openai_chat_raw_response() -> Seen:
    raw = openai.OpenAI().chat.completions.with_raw_response.create(model=GPT, messages=ASKED)
    assert raw.status_code == 200
    assert raw.headers["content-type"].startswith("application/json")
    assert raw.elapsed.total_seconds() >= 0
    assert raw.http_response.request.method == "POST"
    return of_completion(raw.parse())


@path
def openai_chat_streaming_response() -> Seen:
    with openai.OpenAI().chat.completions.with_streaming_response.create(model=GPT, messages=ASKED) as raw:
        lines = list(raw.iter_lines())
    return Seen("".join(lines))


@path
async def openai_chat_streaming_response_async() -> Seen:
    async with (
        openai.AsyncOpenAI() as client,
        client.chat.completions.with_streaming_response.create(model=GPT, messages=ASKED) as raw,
    ):
        return Seen(b"".join([chunk async for chunk in raw.iter_bytes()]).decode())


@path
def openai_chat_stream_raw_response() -> Seen:
    raw = openai.OpenAI().chat.completions.with_raw_response.create(model=GPT, messages=ASKED, stream=True)
    return of_chunks(list(raw.parse()))


@path
def openai_chat_stream_left_at_its_end() -> Seen:
    """Stops reading at the reason why the model stopped, and closes nothing."""
    chunks = []
    for chunk in openai.OpenAI().chat.completions.create(model=GPT, messages=ASKED, stream=True):
        chunks.append(chunk)
        if chunk.choices[0].finish_reason:
            break
    return of_chunks(chunks)


@path
def openai_responses_raw_response() -> Seen:
    raw = openai.OpenAI().responses.with_raw_response.create(model=GPT, input=QUESTION)
    return Seen(raw.parse().output_text)
