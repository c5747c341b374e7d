"""What a model call costs: a table of one's own over the prices of `genai-prices`.

The prices come with that package, so nothing is fetched. It is imported when the first price is
looked up: that takes a good part of a second, and most notebooks never ask.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from kitaru_nb.errors import UsageError
from kitaru_nb.model.cost import Usage

__all__ = ["Price", "Prices", "price_hint"]

_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens.

    Attributes:
        input: Of input at the full price.
        output: Of output, reasoning included.
        cache_read: Of input from the provider's cache; None for the same as `input`.
        cache_write: Of input written to it; None for the same as `input`.
    """

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None

    def of(self, usage: Usage) -> Decimal:
        """What that usage costs."""
        read = self.input if self.cache_read is None else self.cache_read
        write = self.input if self.cache_write is None else self.cache_write
        fresh = max(0, usage.input - usage.cache_read - usage.cache_write)
        total = (
            fresh * self.input
            + usage.output * self.output
            + usage.cache_read * read
            + usage.cache_write * write
        )
        return total / _MILLION


class Prices:
    """Looks up what usage costs. A model without a price has none: it never costs $0.

    Args:
        table: Prices of one's own, which count before all others: of a name of a model, or a
            pattern such as ``"my-*"`` or ``"ollama/*"``, to ``{"input": …, "output": …}`` and, where
            they differ, ``"cache_read"`` and ``"cache_write"``, in US dollars per million tokens.

    Raises:
        UsageError: A price in the table is not one.
    """

    def __init__(self, table: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._given = dict(table or {})
        self._table = {name: _price(name, entry) for name, entry in self._given.items()}

    def setting_with(self, model: str) -> str:
        """The setting `prices` as JSON, with an example of a price for `model` in it."""
        return json.dumps({**self._given, model: {"input": 0.15, "output": 0.60}})

    def cost(
        self, usage: Usage, *models: str | None, provider: str | None = None, at: datetime | None = None
    ) -> float | None:
        """What a call cost in US dollars, or None when its price is not known.

        Args:
            usage: What it used.
            models: Names of the model, best first: the one that answered, the one asked for.
            provider: Who bills for it, as `ModelRequest.provider`; None where that is not known.
            at: When it was made, since prices change; now where it is not given.
        """
        exact = self.exact(usage, *models, provider=provider, at=at)
        return None if exact is None else float(exact)

    def exact(
        self, usage: Usage, *models: str | None, provider: str | None = None, at: datetime | None = None
    ) -> Decimal | None:
        """As `cost`, not rounded."""
        names = [model for model in models if model]
        for name in names:
            if (own := self._own(name, provider)) is not None:
                return own.of(usage)
        for name in names:
            if (known := _known(usage, name, provider, at)) is not None:
                return known
        return None

    def _own(self, model: str, provider: str | None) -> Price | None:
        """The price in the table: the name itself, else the longest pattern that fits."""
        spellings = (model, f"{provider}/{model}")
        for spelling in spellings:
            if spelling in self._table:
                return self._table[spelling]
        fitting = [
            pattern
            for pattern in self._table
            if any(fnmatch.fnmatchcase(spelling, pattern) for spelling in spellings)
        ]
        return self._table[max(fitting, key=len)] if fitting else None


def price_hint(model: str) -> str:
    """What to put into pyproject.toml, as it stands, to give a model a price."""
    entry = f"{json.dumps(model)} = {{ input = 0.15, output = 0.60 }}"
    return f"[tool.kitaru_nb.prices]  # in pyproject.toml, US dollars per million tokens\n{entry}"


def _price(name: str, entry: Mapping[str, Any]) -> Price:
    fields = ("input", "output", "cache_read", "cache_write")
    try:
        if not {"input", "output"} <= entry.keys() <= set(fields):
            raise ValueError
        price = Price(**{field: Decimal(str(value)) for field, value in entry.items()})
        if any(not value.is_finite() or value < 0 for field in fields if (value := getattr(price, field))):
            raise ValueError
    except (AttributeError, InvalidOperation, ValueError):
        raise UsageError(
            f"the price of `{name}` is `{entry}`, which does not give `input` and `output` as numbers",
            kind="bad-price",
            hint=price_hint(name),
        ) from None
    return price


_OWN_NAMES = {
    "anthropic": ("claude",),
    "openai": ("gpt-", "o1", "o3", "o4", "chatgpt-", "codex-", "text-embedding-", "ft:"),
    "google": ("gemini",),
    "x-ai": ("grok-",),
}
"""Models that one provider alone sells: behind a proxy their name still tells who bills for them."""

_OPEN = ("gpt-oss",)
"""Names like those, of models that anybody may run."""


def _known(usage: Usage, model: str, provider: str | None, at: datetime | None) -> Decimal | None:
    """The price as `genai-prices` has it."""
    if provider == "ollama":
        return None  # one's own machine; a table may say what its power costs
    import genai_prices  # noqa: PLC0415 - see the module

    # Where both are told, it asks for what they have in common.
    sound_read = usage.cache_read_audio if usage.cache_read and usage.input_audio else None
    told = genai_prices.Usage(
        input_tokens=usage.input,
        output_tokens=usage.output,
        cache_read_tokens=usage.cache_read or None,
        cache_write_tokens=usage.cache_write or None,
        cache_write_1h_tokens=usage.cache_write_hour or None,
        input_audio_tokens=usage.input_audio or None,
        cache_audio_read_tokens=sound_read,
        output_audio_tokens=usage.output_audio or None,
        web_searches=usage.searches or None,
    )
    for who, name in _candidates(model, provider):
        try:
            found = genai_prices.calc_price(
                told, name, provider_id=who, genai_request_timestamp=at, price_context=_context(usage)
            )
        except LookupError:
            continue
        except ValueError:  # it finds that the usage contradicts itself: no reason to lose the answer
            return None
        return found.total_price
    return None


def _candidates(model: str, provider: str | None) -> list[tuple[str, str]]:
    """Who may bill for a model, and under which name."""
    model = model.removeprefix("models/")  # as Gemini spells them
    if provider is not None:
        # Azure sells OpenAI's models at OpenAI's prices, and its own list is short.
        return [(provider, model)] + ([("openai", model)] if provider == "azure" else [])
    prefix, _, name = model.rpartition("/")
    names = [(who, name) for who, starts in _OWN_NAMES.items() if name.startswith(starts)]
    if name.startswith(_OPEN) or (prefix and prefix not in _OWN_NAMES):
        return []
    return [(prefix, name)] if prefix else names


def _context(usage: Usage) -> dict[str, str] | None:
    if usage.tier == "batch":
        return {"processing": "batch"}
    return {"service_tier": usage.tier} if usage.tier else None
