from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kitaru_nb.errors import UsageError
from kitaru_nb.llm.prices import Prices
from kitaru_nb.model.cost import Usage

MILLION = Usage(1_000_000, 1_000_000)


def test_the_price_of_a_known_model_is_found():
    assert Prices().cost(MILLION, "gpt-4o", provider="openai") == 2.5 + 10


def test_the_parts_of_the_input_have_prices_of_their_own():
    usage = Usage(input=1_000, output=100, cache_read=200, cache_write=300)
    hour = Usage(input=1_000, output=100, cache_read=200, cache_write=300, cache_write_hour=300)

    cost = Prices().cost(usage, "claude-sonnet-4-5", provider="anthropic")
    longer = Prices().cost(hour, "claude-sonnet-4-5", provider="anthropic")

    assert cost == pytest.approx((500 * 3 + 200 * 0.3 + 300 * 3.75 + 100 * 15) / 1e6)
    assert longer == pytest.approx(cost + 300 * (6 - 3.75) / 1e6)


def test_sound_from_the_cache_has_a_price_of_its_own():
    usage = Usage(input=1_000, output=100, cache_read=900, input_audio=900, cache_read_audio=850)
    apart = Usage(input=1_000, output=100, cache_read=100, input_audio=200)

    cost = Prices().cost(usage, "gemini-2.5-flash", provider="google")
    more = Prices().cost(apart, "gemini-2.5-flash", provider="google")

    assert 0 < cost < more


def test_usage_that_contradicts_itself_has_no_price_and_is_no_error():
    assert Prices().cost(Usage(input=2, output=2, cache_read=50), "gpt-4o", provider="openai") is None


def test_a_cheaper_tier_is_cheaper():
    at = datetime(2026, 11, 1, tzinfo=UTC)

    usual = Prices().cost(Usage(1000, 1000), "gpt-5", provider="openai", at=at)
    flex = Prices().cost(Usage(1000, 1000, tier="flex"), "gpt-5", provider="openai", at=at)

    assert flex == usual / 2


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o", None),
        ("gpt-4o-2024-08-06", None),
        ("openai/gpt-4o", None),
        ("claude-sonnet-4-5", None),
        ("anthropic/claude-sonnet-4-5", None),
        ("gemini-2.5-pro", None),
        ("models/gemini-2.5-pro", "google"),
        ("text-embedding-3-small", None),
        ("gpt-4o", "azure"),
        ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"),
        ("openai/gpt-4o", "openrouter"),
    ],
)
def test_a_name_that_only_one_provider_sells_is_enough(model, provider):
    assert Prices().cost(Usage(1000, 10), model, provider=provider) > 0


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("no-such-model", "openai"),
        ("no-such-model", None),
        ("llama-3.3-70b", None),
        ("deepseek-chat", None),
        ("deepseek-r1:8b", "ollama"),
        ("gpt-4o", "ollama"),
        ("gpt-oss-20b", None),
        ("openai/gpt-oss-20b", None),
        ("someone/gpt-4o", None),
        ("gpt-4o", "no-such-provider"),
        (None, "openai"),
    ],
)
def test_an_unknown_price_is_none_and_never_zero(model, provider):
    assert Prices().cost(MILLION, model, provider=provider) is None


def test_the_model_that_answered_counts_before_the_one_asked_for():
    prices = Prices()

    answered = prices.cost(MILLION, "gpt-4o-mini", "gpt-4o", provider="openai")
    unknown = prices.cost(MILLION, "my-deployment", "gpt-4o", provider="azure")

    assert answered == prices.cost(MILLION, "gpt-4o-mini", provider="openai")
    assert unknown == prices.cost(MILLION, "gpt-4o", provider="openai")


def test_ones_own_table_counts_first():
    prices = Prices(
        {
            "gpt-4o": {"input": 1, "output": "2.5"},
            "my-*": {"input": 3, "output": 4, "cache_read": 0, "cache_write": 5},
            "my-better-*": {"input": 6, "output": 7},
            "ollama/*": {"input": 0, "output": 0},
        }
    )

    assert prices.cost(MILLION, "gpt-4o", provider="openai") == 3.5
    assert prices.cost(Usage(1_000_000, 0, 400_000, 100_000), "my-model") == pytest.approx(2.0)
    assert prices.cost(MILLION, "my-better-model") == 13
    assert prices.cost(MILLION, "llama3", provider="ollama") == 0
    assert prices.cost(Usage(1_000_000, 0, 400_000), "gpt-4o") == 1


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"input": 1},
        {"input": 1, "output": "lots"},
        {"input": 1, "output": float("nan")},
        {"input": -1, "output": 1},
        {"input": 1, "output": 1, "x": 1},
        3,
    ],
)
def test_a_price_that_is_none_is_said_to_be(entry):
    with pytest.raises(UsageError, match="`my-model`") as error:
        Prices({"my-model": entry})

    assert error.value.kind == "bad-price"
    assert "[tool.kitaru_nb.prices]" in error.value.hint
