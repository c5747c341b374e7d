"""What takes long to load is loaded when it is asked for, and does the same then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# In the place of `rfc3987_syntax`, which is not installed here: `jsonschema` imports this one name of it.
_PACKAGE = {
    "__init__.py": "from .syntax_helpers import is_valid_syntax, is_valid_syntax_iri\n",
    "syntax_helpers.py": """
def is_valid_syntax(term, value):
    return value.startswith(("https:", "//")) and (term == "iri_reference" or ":" in value)

def is_valid_syntax_iri(value):
    return is_valid_syntax("iri", value)
""",
}

_TRY = """
import json, sys
if {deferred}:
    from kitaru_nb.stacks.deferred import defer_imports
    defer_imports()
import jsonschema
loaded = lambda: "rfc3987_syntax.syntax_helpers" in sys.modules
at_import = loaded()
checker = jsonschema.FormatChecker()
found = []
for text in ("https://ex\\u00e4mple.org/\\u00fc", "no address", "//a b", 7):
    for kind in ("iri", "iri-reference"):
        found.append(checker.conforms(text, kind))
import rfc3987_syntax
print(json.dumps([at_import, found, loaded(), rfc3987_syntax.is_valid_syntax_iri("https:b")]))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "rfc3987_syntax").mkdir()
    for name, source in _PACKAGE.items():
        (tmp_path / "rfc3987_syntax" / name).write_text(source)
    return tmp_path


def _told(package: Path, *, deferred: bool) -> list[object]:
    code = _TRY.format(deferred=deferred)
    env = {**os.environ, "PYTHONPATH": str(package)}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    told: list[object] = json.loads(ran.stdout)
    return told


def test_the_grammar_is_built_when_an_address_is_looked_at_and_answers_the_same(package: Path) -> None:
    deferred, plain = _told(package, deferred=True), _told(package, deferred=False)

    assert (deferred[0], plain[0]) == (False, True)
    assert deferred[1:] == plain[1:]
    assert deferred[1:] == [[True, True, False, False, False, True, True, True], True, True]


@pytest.mark.parametrize("words", [["kitaru_nb", "executions"], ["kitaru_nb.stacks", "submitted", "--help"]])
def test_neither_a_command_nor_a_worker_builds_it(package: Path, words: list[str]) -> None:
    code = f"""
import runpy, sys
sys.argv = {["", *words[1:]]!r}
try:
    runpy.run_module({words[0]!r}, run_name="__main__", alter_sys=True)
except SystemExit:
    import jsonschema
    assert "rfc3987_syntax.syntax_helpers" not in sys.modules
    print("asked", jsonschema.FormatChecker().conforms("https:b", "iri"))
"""
    env = {**os.environ, "PYTHONPATH": str(package)}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)

    assert ran.stdout.splitlines()[-1] == "asked True"


def test_papermill_is_loaded_without_pyarrow_and_reads_where_that_is_needed(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text("{}")
    code = """
import sys
from kitaru_nb.stacks.deferred import defer_imports
defer_imports()
from papermill import iorw
print(sorted({"pyarrow", "numpy"} & sys.modules.keys()))
print([type(found).__name__ for found in (iorw.FileSelector("a"), iorw.FileSelector("b"))])
import pyarrow.fs
from pyarrow.fs import FileSelector, LocalFileSystem
print(type(iorw.FileSelector("a")) is FileSelector is pyarrow.fs.FileSelector)
print([found.base_name for found in LocalFileSystem().get_file_info(iorw.FileSelector(sys.argv[1]))])
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert ran.stdout.splitlines() == ["[]", "['FileSelector', 'FileSelector']", "True", "['a.ipynb']"]


@pytest.mark.parametrize("first", ["pyarrow.fs", "papermill.iorw"])
def test_who_needs_pyarrow_has_all_of_it(first: str) -> None:
    code = f"""
from kitaru_nb.stacks.deferred import defer_imports
defer_imports()
import {first}
import papermill.iorw, pyarrow.fs, pyarrow.parquet, pyarrow.dataset
print(type(pyarrow.fs.FileSelector), type(papermill.iorw.FileSelector("a")) is pyarrow.fs.FileSelector)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout == "<class 'type'> True\n"


def test_a_second_command_in_the_process_defers_nothing_twice() -> None:
    twice = "defer_imports()\ndefer_imports()\nimport papermill.iorw"
    code = f"from kitaru_nb.stacks.deferred import defer_imports\n{twice}"

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr


_CHECKED = {
    "uri": ("https://a.org/b?c", "no address"),
    "uri-reference": ("//a/b", "a b"),
    "duration": ("P1Y2M", "P1", "a day", "P1DT"),
}

_CHECKS = """
import json, sys
if {deferred}:
    from kitaru_nb.stacks.deferred import defer_imports
    defer_imports()
import jsonschema
at_import = sorted({{"arrow", "isoduration", "rfc3986_validator"}} & sys.modules.keys())
checker = jsonschema.FormatChecker()
found = [[checker.conforms(text, kind) for text in texts] for kind, texts in {checked!r}.items()]
print(json.dumps([at_import, found]))
"""


def test_addresses_and_spans_of_time_are_checked_alike_and_their_checkers_load_then() -> None:
    told = []
    for deferred in (True, False):
        code = _CHECKS.format(deferred=deferred, checked=_CHECKED)
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        told.append(json.loads(ran.stdout))

    assert told[0][0] == []
    assert told[0][1] == told[1][1]
    assert told[0][1] == [[True, False], [True, False], [True, False, False, False]]


def test_papermill_reads_an_address_though_requests_was_not_loaded() -> None:
    code = """
import http.server, json, sys, threading
from kitaru_nb.stacks.deferred import defer_imports
defer_imports()
from papermill.iorw import papermill_io
before = "requests" in sys.modules
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"here")
    def log_message(self, *_words):
        pass
with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
    threading.Thread(target=server.handle_request).start()
    text = papermill_io.read(f"http://127.0.0.1:{server.server_port}/a.ipynb")
import requests, requests.exceptions
from papermill import iorw
print(before, text, iorw.requests.get is requests.get, iorw.requests.exceptions is requests.exceptions)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout == "False here True True\n"
