"""A hard limit on what model calls may cost, kept before each call and not found out after it.

What a call may cost at most is reserved before it is made: its input by estimate, its output by
the limit it sets itself. Calls under way at the same time share what is left, so together they do
not go over it either. Where they leave no room, a call waits for them: they nearly always cost less
than was set aside, and what ends before an execution is stopped is on record. Who is refused has not
paid anything.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kitaru_nb.llm.meter import Busy, ModelRequest, Waits
from kitaru_nb.llm.prices import Prices
from kitaru_nb.model.cost import Usage

__all__ = ["DEFAULT_OUTPUT_TOKENS", "WARN_AT", "Budget", "Refusal", "Reservation", "reserve", "worst_cost"]

DEFAULT_OUTPUT_TOKENS = 4_096
"""What is reserved for the output of a call that sets no limit of its own.

It is the one way past a budget: an answer that comes out longer is paid all the same, and then the
next call is refused. With a limit in each request there is none.
"""

WARN_AT = Decimal("0.8")
"""The part of the limit at which it is said that the end is near."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call was not made.

    Attributes:
        kind: ``"over-budget"`` or ``"no-price"``.
        message: What and why, in the words of `kitaru_nb.errors`.
        hint: What to type now; without a price, what `KITARU_NB_PRICES` has to be.
        limit: The limit in US dollars.
        spent: What has been spent of it.
        over: By how much the call would have gone over it; None without a price.
        suggested: A limit with which the call would have been made; None without a price.
    """

    kind: str
    message: str
    hint: str
    limit: float
    spent: float
    over: float | None = None
    suggested: float | None = None


class Budget:
    """A limit that any number of threads share.

    It lives in memory: after a crash it is made again with what the journal says was spent. A
    reservation that a crash cut short was never spent as far as the record knows.

    Args:
        limit: US dollars.
        spent: What earlier attempts spent of it.
        name: What it limits, for messages, such as ``"the budget of cell `draft`"``.
        raised: What to type so that it is a larger one, of whose amount it is given.
        warn: Called with a sentence the first time 80 % is spent, outside of any lock. It is not
            called for what was spent before.
    """

    def __init__(
        self,
        limit: float,
        *,
        spent: float = 0.0,
        name: str = "the budget",
        raised: Callable[[str], str] = "resume with --budget {}".format,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._limit = _exact(limit)
        self._spent = _exact(spent)
        self._reserved = Decimal(0)
        self._name = name
        self._raised = raised
        self._warn = warn
        self._warned = self._spent >= self._limit * WARN_AT
        self._met: set[int] = set()
        self._lock = threading.RLock()  # a stream that is garbage-collected gives back from anywhere

    def __reduce__(self) -> Any:
        """For another process: one of its own, of which as much is spent. It warns of nothing."""
        return _again, (self.limit, self.spent, self._name, self._raised(_AMOUNT))

    @property
    def limit(self) -> float:
        """US dollars."""
        return float(self._limit)

    @property
    def spent(self) -> float:
        """US dollars that are gone."""
        return float(self._spent)

    @property
    def left(self) -> float:
        """US dollars that are neither spent nor reserved; never below zero."""
        return float(max(Decimal(0), self._limit - self._spent - self._reserved))

    nothing = Decimal(0)
    """What is set aside for a call that is paid already."""

    @staticmethod
    def exact(dollars: float) -> Decimal:
        """An amount without the noise of a float."""
        return _exact(dollars)

    def take(self, amount: Decimal) -> Refusal | None:
        """Set `amount` aside; None when there was room for it."""
        with self._lock:
            over = self._spent + self._reserved + amount - self._limit
            if over <= 0:
                self._reserved += amount
                return None
            spent, reserved = self._spent, self._reserved
        return self._refusal(amount, over, spent, reserved)

    def raise_to(self, limit: float) -> None:
        """Allow more from now on; a lower limit changes nothing."""
        with self._lock:
            if (raised := _exact(limit)) > self._limit:
                self._limit, self._warned = raised, self._spent >= raised * WARN_AT

    def give_back(self, amount: Decimal, spent: Decimal = Decimal(0)) -> None:
        """End a reservation of `amount`, of which so much was `spent` (it may be more)."""
        with self._lock:
            self._reserved -= amount
            self._spent += spent
            now, crossed = self._spent, not self._warned and self._spent >= self._limit * WARN_AT
            self._warned = self._warned or crossed
        if crossed:
            part = f"{now / self._limit:.0%} of {self._name}"
            self._warn(f"{part} is spent: {_dollars(now)} of {_dollars(self._limit)}")

    def meets(self, record: int) -> bool:
        """Whether something on record, which was paid, is met for the first time: it counts once."""
        with self._lock:
            new = record not in self._met
            self._met.add(record)
        return new

    def _refusal(self, amount: Decimal, over: Decimal, spent: Decimal, reserved: Decimal) -> Refusal:
        under_way = f" and {_dollars(reserved)} set aside for calls under way" if reserved else ""
        suggested = (self._limit + over).quantize(Decimal("0.01"), rounding="ROUND_UP")
        return Refusal(
            kind="over-budget",
            message=(
                f"{self._name} of {_dollars(self._limit)} would be exceeded by {_dollars(over)}: "
                f"the call may cost {_dollars(amount)}, with {_dollars(spent)} spent{under_way}"
            ),
            hint=f"{self._raised(str(suggested))} or more, or give the request a lower `max_tokens`",
            limit=float(self._limit),
            spent=float(spent),
            over=float(over),
            suggested=float(suggested),
        )


_AMOUNT = "\0"


def _again(limit: float, spent: float, name: str, raised: str) -> Budget:
    return Budget(limit, spent=spent, name=name, raised=lambda amount: raised.replace(_AMOUNT, amount))


class Reservation:
    """What is set aside for one call, in each budget that it counts against."""

    ended = 0
    """How many have ended in this process."""

    def __init__(self, budgets: Sequence[Budget], amount: Decimal) -> None:
        self._budgets = tuple(budgets)
        self._amount = amount
        self._thread = threading.get_ident()
        self._lock = threading.Lock()

    @property
    def amount(self) -> float:
        """US dollars."""
        return float(self._amount)

    def settle(self, cost: float | None) -> None:
        """The call cost this much; None, where nobody said, counts all that was set aside.

        Only the first of `settle` and `release` counts.
        """
        self._end(self._amount if cost is None else _exact(cost))

    def release(self, cost: float | None = None) -> None:
        """The call failed. What the provider said it cost all the same, if anything, is spent."""
        self._end(Decimal(0) if cost is None else _exact(cost))

    def _end(self, spent: Decimal) -> None:
        with self._lock:
            budgets, self._budgets = self._budgets, ()
        for budget in budgets:
            budget.give_back(self._amount, spent)
        Reservation.ended += 1

    @property
    def counts_in(self) -> tuple[Budget, ...]:
        """The budgets that it is set aside in; none once it has ended."""
        return self._budgets

    def drop(self) -> None:
        """There was no room for it."""
        self._budgets = ()

    def stands_still(self, waits: Waits) -> bool:
        """Whether its call could not end while another one that is made here `waits`."""
        blocked = waits is Waits.THREAD and self._thread == threading.get_ident()
        return blocked or self in _around.get()


_open: weakref.WeakSet[Reservation] = weakref.WeakSet()
_open_lock = threading.Lock()
_around: ContextVar[tuple[Reservation, ...]] = ContextVar("kitaru_nb_calls_under_way", default=())
"""Of the calls that were begun here, or in what began this, those that may not have ended: open streams."""


def reserve(
    request: ModelRequest, budgets: Sequence[Budget], prices: Prices, *, waits: Waits = Waits.NOTHING
) -> Reservation | Refusal | Busy:
    """Set aside what a call may cost at most in all of `budgets`, or in none of them.

    With no budgets nothing is looked up and nothing refused. Where there is no room, a caller that
    `waits` is told so as long as calls are under way that can end meanwhile.
    """
    if not budgets:
        return Reservation((), Decimal(0))
    amount = worst_cost(request, prices)
    if amount is None:
        return _without_price(request, budgets[0], prices)
    made = Reservation(budgets, amount)
    before = _under_way(made, waits)  # what ends meanwhile has left room
    with _open_lock:
        _open.add(made)
    for taken, budget in enumerate(budgets):
        refused = budget.take(amount)
        if refused is not None:
            for earlier in budgets[:taken]:
                earlier.give_back(amount)
            made.drop()
            ended = Reservation.ended
            return Busy(ended) if budget in before or budget in _under_way(made, waits) else refused
    _around.set((*(each for each in _around.get() if each.counts_in), made))
    return made


def _under_way(made: Reservation, waits: Waits) -> set[Budget]:
    """The budgets in which other calls are under way that can end while the caller waits."""
    if waits is Waits.NOTHING:
        return set()
    with _open_lock:
        others = [each for each in _open if each is not made]
    return {budget for each in others if not each.stands_still(waits) for budget in each.counts_in}


def _in_child() -> None:
    """What the process that was forked has under way does not end here."""
    global _open_lock  # noqa: PLW0603 - another thread may have had it
    _open_lock = threading.Lock()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def worst_cost(request: ModelRequest, prices: Prices) -> Decimal | None:
    """The most that a call may cost, or None without a price; see `DEFAULT_OUTPUT_TOKENS`."""
    output = request.max_tokens
    if output is None:
        output = DEFAULT_OUTPUT_TOKENS * request.answers
    input_, body = request.input_tokens, request.body
    # Where a request asks for a cache, all of it may be written there, at a higher price.
    cached = input_ if b'"cache_control"' in body or b'"cachePoint"' in body else 0
    hour = cached if b'"ttl":"1h"' in body else 0
    tier = "priority" if b'"service_tier":"priority"' in body else ""
    usage = Usage(input_, output, cache_write=cached, cache_write_hour=hour, tier=tier)
    return prices.exact(usage, request.model, provider=request.provider)


def _without_price(request: ModelRequest, budget: Budget, prices: Prices) -> Refusal:
    model = request.model or "the model"
    return Refusal(
        kind="no-price",
        message=f"`{model}` has no price, so a budget cannot be kept: its first call was not made",
        hint=prices.setting_with(model),
        limit=budget.limit,
        spent=budget.spent,
    )


_NANO = Decimal("0.000000001")


def _exact(dollars: float) -> Decimal:
    """To a billionth: sums of floats carry dust that must not refuse the last cent."""
    return Decimal(repr(float(dollars))).quantize(_NANO)


def _dollars(amount: Decimal) -> str:
    """Two decimals, or as many as a small amount needs."""
    if not amount or amount >= Decimal("0.1"):
        return f"${amount:.2f}"
    return f"${amount.quantize(Decimal('0.000001'), rounding='ROUND_UP'):f}".rstrip("0")
