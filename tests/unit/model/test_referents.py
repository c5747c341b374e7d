"""What lies directly inside objects, on each Python."""

from __future__ import annotations

from kitaru_nb.model.referents import referents


class Holder:
    """It has a ``__dict__``."""


def test_what_an_object_holds_is_inside_its_dict_too() -> None:
    held, key = [1], (2,)
    holder = Holder()
    holder.first = held  # type: ignore[attr-defined] # any object may be given one
    attributes = vars(holder)

    assert any(part is held for part in referents(attributes))
    attributes[key] = held  # type: ignore[index] # it is a dict like any other from now on
    assert {id(held), id(key)} <= {id(part) for part in referents(attributes)}


def test_of_many_objects_all_is_found() -> None:
    one, other, third = [1], [2], [3]
    holder = Holder()
    vars(holder)["x"] = one

    found = referents({"a": other}, vars(holder), [third], {})

    assert {id(one), id(other), id(third)} <= {id(part) for part in found}
