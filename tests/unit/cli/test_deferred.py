"""What takes long to load is loaded when it is asked for, and does the same then."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("rfc3987_syntax")

_TRY = """
import json, sys
if {deferred}:
    from kitaru_nb.cli.deferred import defer_address_grammar
    defer_address_grammar()
import jsonschema
at_import = "lark" in sys.modules
checker = jsonschema.FormatChecker()
found = []
for text in ("https://ex\\u00e4mple.org/\\u00fc", "no address", "//a b", 7):
    for kind in ("iri", "iri-reference"):
        found.append(checker.conforms(text, kind))
import rfc3987_syntax
print(json.dumps([at_import, found, "lark" in sys.modules, rfc3987_syntax.is_valid_syntax_iri("a:b")]))
"""


def _told(*, deferred: bool) -> list[object]:
    code = _TRY.format(deferred=deferred)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told: list[object] = json.loads(ran.stdout)
    return told


def test_the_grammar_is_built_when_an_address_is_looked_at_and_answers_the_same() -> None:
    deferred, plain = _told(deferred=True), _told(deferred=False)

    assert (deferred[0], plain[0]) == (False, True)
    assert deferred[1:] == plain[1:]
    assert True in deferred[1]  # type: ignore[operator]
    assert False in deferred[1]  # type: ignore[operator]
