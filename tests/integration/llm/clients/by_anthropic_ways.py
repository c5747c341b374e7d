"""Less usual ways through Anthropic's client."""

from __future__ import annotations

import anthropic
from walking import ASKED, CLAUDE, Seen, path

SMALL = {"model": CLAUDE, "max_tokens": 100, "messages": ASKED}


@path
def anthropic_raw_response() -> Seen:
    raw = anthropic.Anthropic().messages.with_raw_response.create(**SMALL)
    assert raw.status_code == 200
    return Seen("".join(block.text for block in raw.parse().content))


@path
def anthropic_streaming_response() -> Seen:
    with anthropic.Anthropic().messages.with_streaming_response.create(**SMALL) as raw:
        return Seen("".join(raw.iter_text()))


@path
def anthropic_stream_left_at_its_end() -> Seen:
    """Stops reading at the reason why the model stopped, and closes nothing."""
    said = []
    for event in anthropic.Anthropic().messages.create(**SMALL, stream=True):
        if event.type == "content_block_delta":
            said.append(event.delta.text)
        if event.type == "message_delta":
            break
    return Seen("".join(said))
