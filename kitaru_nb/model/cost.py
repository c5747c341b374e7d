"""What a model call used: tokens, in one shape whichever provider counted them; and small costs in words."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Usage", "dollars", "small_dollars"]

_LEAST = 0.00005  # dollars that four digits show


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call.

    Providers disagree on what they include; here the parts are always parts of the whole, so
    that ``input - cache_read - cache_write`` is what was read at the full price.

    Attributes:
        input: All input tokens, those read from and written to a cache included.
        output: All output tokens, those spent on reasoning included.
        cache_read: Input tokens that came from the provider's cache.
        cache_write: Input tokens that were written to it.
        cache_write_hour: Of these, the ones kept for an hour, which cost more.
        reasoning: Output tokens that were spent on reasoning, where the provider tells.
        input_audio: Input tokens that were sound.
        cache_read_audio: Of these, the ones that came from the cache.
        output_audio: Output tokens that were sound.
        searches: Searches of the web that the provider made and bills for.
        tier: The service tier that was billed, such as ``"flex"``; empty for the usual one.
    """

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_hour: int = 0
    reasoning: int = 0
    input_audio: int = 0
    output_audio: int = 0
    searches: int = 0
    tier: str = ""
    cache_read_audio: int = 0

    @property
    def total(self) -> int:
        """Input and output together."""
        return self.input + self.output


def small_dollars(cost: float) -> str:
    """``$0.0042``, and ``<$0.0001`` for what four digits would show as nothing."""
    return "<$0.0001" if 0 < cost < _LEAST else f"${cost:.4f}"


def dollars(amount: float) -> str:
    """Two decimals, or as many as a small amount needs."""
    digits = 2 if not amount or amount >= 1 else 4 if amount >= 0.01 else 6
    return f"${amount:.{digits}f}"
