import datetime as dt
import decimal
import enum
import functools
import itertools
import pathlib
import sys
import types
import warnings
from collections import Counter, OrderedDict, defaultdict, deque
from fractions import Fraction
from typing import Any, NamedTuple

import attrs
import pytest
import typing_extensions

from kitaru_nb.artifacts.digest import digest_values, walk_digest
from kitaru_nb.artifacts.pickle_codec import PickleCodec
from kitaru_nb.artifacts.ties import Tie, tied

_ran: list[str] = []


class Doubling(dict[str, Any]):
    def __setitem__(self, key: str, value: Any) -> None:
        _ran.append(key)
        super().__setitem__(key, value * 2)


class Extended(list[Any]):
    def append(self, item: Any) -> None:
        super().append(item * 2)

    def extend(self, items: Any) -> None:
        super().extend(item * 2 for item in items)


class Typed(list[Any]):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.kind = kind

    def append(self, item: Any) -> None:
        super().append(self.kind(item))


class DoubledSet(set[int]):
    def __init__(self, items: Any) -> None:
        super().__init__(item * 2 for item in items)


class DoubledFrozen(frozenset[int]):
    def __new__(cls, items: Any) -> Any:
        return super().__new__(cls, (item * 2 for item in items))


class Point(NamedTuple):
    x: int


class DoubledPoint(Point):
    def __new__(cls, x: int) -> Any:
        return super().__new__(cls, x * 2)


class NamedCounter(Counter[str]):
    def __init__(self, name: str, **counts: int) -> None:
        super().__init__(**counts)
        self.name = name


class SlottedCounter(Counter[str]):
    __slots__ = ("note",)


class SlottedDefault(defaultdict[str, Any]):
    __slots__ = ("note",)


class SlottedError(Exception):
    __slots__ = ("note",)


class TwoPartError(ValueError):
    def __new__(cls, one: int, two: int) -> Any:
        made = super().__new__(cls, one)
        made.two = two  # type: ignore[attr-defined] # an attribute
        return made

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one)


class LastUsed(OrderedDict[str, int]):
    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room


class Ring(deque[Any]):
    def __init__(self, room: int) -> None:
        super().__init__(maxlen=room)


class Day(dt.date):
    def __new__(cls, text: str) -> Any:
        return super().__new__(cls, *map(int, text.split("-")))


class Hours(dt.timedelta):
    def __new__(cls, hours: int) -> Any:
        return super().__new__(cls, hours=hours)


class Share(Fraction):
    def __new__(cls, text: str) -> Any:
        return super().__new__(cls, *map(int, text.split("-")))


class Joined(pathlib.PurePosixPath):
    def __new__(cls, one: str, two: str) -> Any:
        return super().__new__(cls, one + two)


class Attributes(dict[str, Any]):
    def __init__(self, **held: Any) -> None:
        super().__init__(**held)
        self.__dict__ = self

    def __setitem__(self, key: str, value: Any) -> None:
        raise AssertionError(key)


def _typed() -> Typed:
    made = Typed(int)
    made.append("3")
    return made


def _noted(obj: Any) -> Any:
    obj.note = [1]
    return obj


def _last_used() -> LastUsed:
    made = LastUsed(2)
    made.update(a=1, b=2)
    made.move_to_end("a")
    return made


MADE: dict[str, Any] = {
    "dict": lambda: Doubling(a=1),
    "list": lambda: Extended([1, 2]),
    "list with a kind": _typed,
    "set": lambda: DoubledSet([1]),
    "frozenset": lambda: DoubledFrozen([1]),
    "named tuple": lambda: DoubledPoint(2),
    "Counter": lambda: NamedCounter("words", a=2),
    "Counter with slots": lambda: _noted(SlottedCounter("aab")),
    "defaultdict with slots": lambda: _noted(SlottedDefault(list, a=[1])),
    "exception with slots": lambda: _noted(SlottedError("x")),
    "exception": lambda: TwoPartError(1, 2),
    "OrderedDict": _last_used,
    "deque": lambda: Ring(2),
    "date": lambda: Day("2024-01-02"),
    "timedelta": lambda: Hours(3),
    "Fraction": lambda: _noted(Share("1-2")),
    "path": lambda: Joined("a", "b/c"),
}


def _round_trip(value: Any) -> Any:
    done = PickleCodec().encode({"": value}, namespace=globals())
    assert not done.unstorable
    return PickleCodec().decode(done.meta, lambda i: done.buffers[i], namespace=globals())[""]


def _seen(obj: Any) -> Any:
    content = (
        list(obj.items()) if isinstance(obj, dict) else list(obj) if hasattr(obj, "__iter__") else str(obj)
    )
    return type(obj), content, getattr(obj, "__dict__", None), getattr(obj, "note", None), repr(obj)


@pytest.mark.parametrize("kind", MADE)
def test_what_went_through_a_class_does_not_do_so_again(kind: str) -> None:
    value = MADE[kind]()
    _ran.clear()

    back = _round_trip(value)

    assert _seen(back) == _seen(value)
    assert _ran == []


@pytest.mark.parametrize("make", [digest_values, walk_digest])
@pytest.mark.parametrize("kind", MADE)
def test_a_restored_instance_has_the_digest_it_had(kind: str, make: Any) -> None:
    value = MADE[kind]()

    back = _round_trip(value)

    assert make({"": back}, namespace=globals()) == make({"": value}, namespace=globals())


def test_an_instance_may_lead_to_itself() -> None:
    mapping, sequence, ring = Doubling(), Extended(), Ring(2)
    dict.__setitem__(mapping, "own", mapping)
    list.append(sequence, sequence)
    ring.append(ring)
    attributes = Attributes(x=1)
    attributes.own = attributes

    mapping, sequence, ring, attributes = _round_trip([mapping, sequence, ring, attributes])

    assert mapping["own"] is mapping
    assert sequence[0] is sequence
    assert ring[0] is ring
    assert ring.maxlen == 2
    assert attributes.__dict__ is attributes.own is attributes


def test_a_method_that_is_added_later_counts() -> None:
    class Late(list[int]):
        pass

    value = Late([1])
    _round_trip(value)
    Late.extend = Extended.extend  # type: ignore[method-assign,assignment] # that is the point

    assert list(_round_trip(value)) == [1]


class Kept(list[int]):
    def __reduce__(self) -> Any:
        return Kept, ([*self, 0],)

    def __setitem__(self, at: Any, item: Any) -> None:
        raise AssertionError


def test_what_a_class_says_of_itself_counts() -> None:
    assert list(_round_trip(Kept([1]))) == [1, 0]


class Operation(enum.Enum):
    ADD = functools.partial(max, 1)
    NOTHING = float("nan")
    ANY = object()


@pytest.mark.parametrize("member", Operation)
def test_a_member_whose_value_is_another_one_when_it_is_loaded_is_found_by_name(member: Operation) -> None:
    assert _round_trip(member) is member


def test_a_bound_super_comes_back_bound() -> None:
    class Base:
        def answer(self) -> int:
            return 1

    class Derived(Base):
        def answer(self) -> int:
            return 2

    made: Any = Derived()
    made.up = super(Derived, made)

    back = _round_trip(made)

    assert back.up.__self__ is back
    assert back.up.answer() == 1


def test_an_instance_of_another_class_than_it_says_is_named() -> None:
    class Wrong:
        def __reduce_ex__(self, _: Any) -> Any:
            return object.__reduce_ex__(Point(1), 2)

    done = PickleCodec().encode({"wrong": Wrong(), "x": 1}, namespace=globals())

    assert list(done.unstorable) == ["wrong"]


@pytest.mark.filterwarnings("ignore:Pickle, copy:DeprecationWarning")  # from Python 3.12 on
@pytest.mark.parametrize("within", range(4))
def test_a_groupby_goes_on_in_the_group_it_was_in(within: int) -> None:
    def begun() -> list[Any]:
        groups = itertools.groupby([1, 1, 2, 2, 3])
        _, group = next(groups)
        for _ in range(within):
            next(group, None)
        return [groups, group]

    def rest(pair: list[Any]) -> list[Any]:
        return [(key, list(group)) for key, group in pair[0]]

    assert rest(_round_trip(begun())) == rest(begun())
    assert list(_round_trip(begun())[1]) == list(begun()[1])


def test_a_value_is_stored_whatever_the_notebook_makes_of_warnings() -> None:
    class Loud:
        def __init__(self, n: int) -> None:
            self.n = n

        def __reduce__(self) -> Any:
            warnings.warn("it will not be pickled any more", DeprecationWarning, stacklevel=1)
            return Loud, (self.n,)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filters = warnings.filters.copy()

        assert _round_trip(Loud(3)).n == 3
        assert next(_round_trip(itertools.count(2))) == 2
        assert warnings.filters == filters


@attrs.define
class Cached:
    x: int

    @functools.cached_property
    def rows(self) -> list[int]:
        return [self.x]


def test_an_instance_of_attrs_keeps_what_it_has_worked_out() -> None:
    made = Cached(3)
    rows = made.rows

    made, rows = _round_trip([made, rows])

    assert made.rows is rows


def test_the_decimal_context_is_the_live_one() -> None:
    with decimal.localcontext() as context:
        context.prec = 9
        done = PickleCodec().encode({"c": context}, namespace=globals())
        context.prec = 4

        with tied(Tie.RESTORED):
            back = PickleCodec().decode(done.meta, lambda i: done.buffers[i], namespace=globals())["c"]

        assert back is context
        assert context.prec == 9


def test_an_alias_of_a_type_of_the_notebook_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    scope = {"__name__": "__main__", "TypeAliasType": typing_extensions.TypeAliasType}
    exec("Row = TypeAliasType('Row', list[int])", scope)
    monkeypatch.setattr(sys.modules["__main__"], "Row", scope["Row"], raising=False)

    back = _round_trip(scope["Row"])

    assert back.__value__ == list[int]
    assert back.__module__ == "__main__"


def test_a_function_of_a_module_made_by_hand_comes_back_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("made_by_hand")
    exec("def __getattr__(name): return name * 2", vars(module))
    monkeypatch.setitem(sys.modules, "made_by_hand", module)
    done = PickleCodec().encode({"m": module}, namespace=globals())
    monkeypatch.delitem(sys.modules, "made_by_hand")

    back: Any = PickleCodec().decode(done.meta, lambda i: done.buffers[i], namespace=globals())["m"]
    monkeypatch.setitem(sys.modules, "made_by_hand", back)

    assert back.ab == "abab"
    assert back.__getattr__.__globals__ is vars(back)
