from __future__ import annotations

import base64
import json

import pytest

from kitaru_nb.llm.estimate import IMAGE_TOKENS, input_tokens
from kitaru_nb.llm.wire import canonical


def estimate(content):
    return input_tokens(canonical(json.dumps({"messages": [{"content": content}]}).encode())[1])


# What OpenAI's `cl100k_base` counts for these texts.
@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("The quick brown fox jumps over the lazy dog. " * 20, 200),
        ("Die Würde des Menschen bleibt unantastbar. " * 20, 240),
        ("def f(x):\n    return [y for y in range(x) if y % 2 == 0]\n" * 20, 440),
        ("人工智能是计算机科学的一个分支。" * 20, 380),
        ("Искусственный интеллект — это раздел информатики. " * 20, 420),
        ("3.14159, 2.71828, 1.41421, 1.61803, " * 20, 400),
        ("😀🎉🚀🔥" * 20, 200),
    ],
)
def test_the_estimate_leans_high_and_not_by_far(text, counted):
    assert 0.95 * counted <= estimate(text) <= 3.5 * counted


def test_an_image_counts_a_flat_amount_whatever_its_size():
    small = base64.b64encode(b"\x89PNG" + bytes(600)).decode()
    large = base64.b64encode(b"\x89PNG" + bytes(600_000)).decode()

    parts = [[{"type": "image", "source": {"type": "base64", "data": data}}] for data in (small, large)]
    linked = estimate([{"image_url": {"url": f"data:image/png;base64,{large}"}}, "look at this " * 50])

    assert estimate(parts[0]) == estimate(parts[1])
    assert IMAGE_TOKENS < estimate(parts[1]) < IMAGE_TOKENS + 200
    assert IMAGE_TOKENS < linked < IMAGE_TOKENS + 500


def test_an_image_that_is_only_linked_counts_as_well():
    text = "look at this " * 50

    with_image = estimate([text, {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}])

    assert with_image > estimate([text]) + IMAGE_TOKENS


def test_a_long_pdf_counts_its_pages():
    pdf = base64.b64encode(b"%PDF-1.7" + bytes(1_000_000)).decode()

    assert estimate([{"data": pdf}]) > 50_000


def test_a_text_without_spaces_is_no_image():
    assert estimate("ACGT" * 20_000) > 20_000
