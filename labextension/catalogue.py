"""The template that translators begin from: every text that the extension shows.

`make catalogue` writes it where JupyterLab's own tools look for it, `kitaru_nb/locale/kitaru_nb.pot`;
`tests/unit/test_labextension.py` compares it with the sources. Line numbers are left out, so that it
changes when a text does.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import write_po
from jupyterlab_server.translation_utils import DEFAULT_SCHEMA_SELECTORS

HERE = Path(__file__).parent
DOMAIN = "kitaru_nb"
TEMPLATE = HERE.parent / DOMAIN / "locale" / f"{DOMAIN}.pot"

_CALLS = {"__": None, "_n": (1, 2), "_p": ((1, "c"), 2), "_np": ((1, "c"), 2, 3)}
_HEADER = f"""\
# The texts of the JupyterLab extension of {DOMAIN}, for translators. Written by `make catalogue`.
msgid ""
msgstr ""
"Project-Id-Version: {DOMAIN}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""

Text = tuple[str, str | tuple[str, ...], str | None]
"""Where it stands, the text or its singular and plural, and its context."""


def texts() -> Iterator[Text]:
    """Every text, as often as it occurs."""
    for file in sorted((HERE / "src").rglob("*.ts*")):
        if "__tests__" not in file.parts:
            with file.open("rb") as opened:
                found = extract("javascript", opened, keywords=_CALLS, options={"jsx": "True"})
                yield from ((_place(file), message, context) for _, message, _, context in found)
    for file in sorted((HERE / "schema").glob("*.json")):
        for text, context in _texts_of_schema(json.loads(file.read_text(encoding="utf-8"))):
            yield _place(file), text, context


def template() -> str:
    """What the template has to hold, each text once."""
    catalog = Catalog(domain=DOMAIN)
    for place, message, context in texts():
        catalog.add(message, locations=[(place, 0)], context=context)
    written = io.BytesIO()
    write_po(written, catalog, width=0, omit_header=True, sort_by_file=True, include_lineno=False)
    return _HEADER + written.getvalue().decode()


def _texts_of_schema(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """The texts that JupyterLab's server translates in a schema, with their contexts."""
    for key, value in schema.items():
        inner = value if isinstance(value, list) else [value]
        here = f"{path}/{key}"
        if isinstance(value, str) and (context := _context(here)) is not None:
            yield value, context
        for number, each in enumerate(inner):
            if isinstance(each, dict):
                yield from _texts_of_schema(each, f"{here}[{number}]" if inner is value else here)


def _context(path: str) -> str | None:
    fits = (
        context for pattern, context in DEFAULT_SCHEMA_SELECTORS.items() if re.fullmatch("/" + pattern, path)
    )
    return next(fits, None)


def _place(file: Path) -> str:
    return file.relative_to(HERE.parent).as_posix()


if __name__ == "__main__":
    TEMPLATE.parent.mkdir(exist_ok=True)
    TEMPLATE.write_text(template(), encoding="utf-8")
