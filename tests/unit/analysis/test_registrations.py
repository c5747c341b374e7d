"""Calls that hand a library something it keeps, as the code tells."""

from __future__ import annotations

import ast

import pytest

from kitaru_nb.analysis.registrations import REGISTERS, registrations_of


@pytest.mark.parametrize(
    ("source", "called", "given", "own"),
    [
        ("sqlite3.register_adapter(P, f)", "sqlite3.register_adapter", {"P", "f"}, False),
        ("copyreg.pickle(P, f)", "copyreg.pickle", {"P", "f"}, False),
        ("register_all(x, key=lambda a: a)", "register_all", {"x", "a"}, True),
        ("@lib.register\ndef f(): pass", "lib.register", set(), True),
        ("@lib.register_as('n')\nclass C: pass", "lib.register_as", set(), True),
        ("sys.addaudithook(f)", "sys.addaudithook", {"f"}, False),
        ("logging.setLogRecordFactory(f)", "logging.setLogRecordFactory", {"f"}, False),
    ],
)
def test_a_call_that_registers_is_found(source: str, called: str, given: set[str], own: bool) -> None:
    found = [each for each in registrations_of(ast.parse(source)) if ".".join(each.called) == called]

    assert REGISTERS.search(source)
    assert found
    assert any(each.own for each in found) is own
    assert frozenset[str]().union(*(each.given for each in found)) == given


@pytest.mark.parametrize("source", ["with dask.config.set(x=1): pass", "f().register(g)", "pickle.dumps(x)"])
def test_what_leaves_nothing_in_a_library_is_not(source: str) -> None:
    assert list(registrations_of(ast.parse(source))) == []
