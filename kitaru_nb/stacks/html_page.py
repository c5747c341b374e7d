"""An executed notebook as a page: what nbconvert makes of it, without anything that could run."""

from __future__ import annotations

import copy
import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from kitaru_nb.errors import UsageError
from kitaru_nb.stacks.notebooks import is_remote, local_path, write_atomically

__all__ = ["need_nbconvert", "page_of", "page_path", "write_html"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:"
_SHOWN = (
    "text/html",
    "text/markdown",
    "image/svg+xml",  # as a picture in a data URL, where scripts do not run
    "text/latex",
    "image/png",
    "image/jpeg",
    "text/plain",
)
_TAGS = (
    "table thead tbody tfoot tr th td caption colgroup col p div span pre code br hr h1 h2 h3 h4 h5 h6 a b i "
    "u s em strong small mark del ins sub sup abbr blockquote ul ol li dl dt dd img figure figcaption "
    "details summary kbd samp var cite q time"
).split()
_ATTRIBUTES = {
    "*": ["class", "id", "style", "title"],
    "a": ["href"],
    "img": ["src", "alt", "width", "height"],
    "td": ["colspan", "rowspan"],
    "th": ["colspan", "rowspan", "scope"],
    "details": ["open"],
}
_GONE = (  # with what is in them: their text is no text for a reader
    "script style iframe object embed template noscript svg math head title base link meta form audio video"
).split()
_HREFS = ("#", "./", "http:", "https:", "mailto:")


def need_nbconvert() -> None:
    """Refuse to begin without what makes the pages.

    Raises:
        UsageError: kind ``missing-package``.
    """
    if find_spec("nbconvert") is None:
        message = "--html needs nbconvert, which is not installed here"
        raise UsageError(message, kind="missing-package", hint="pip install 'kitaru-nb[html]'")


def write_html(output: str) -> str:
    """Write the page of an executed notebook beside it; what kept it from that, or nothing.

    After a crash it is the old page or the new one, whole. A run that completed has completed also
    where its page could not be made, so that is told and not raised. An output that is no local file
    gets none.
    """
    if is_remote(output):
        return ""
    source = Path(local_path(output))
    target = page_path(source)
    try:
        write_atomically(page_of(nbformat.read(source, as_version=4), source.name), target)
    except OSError as error:
        return f"the page `{target}` could not be written: {error.strerror or error}"
    except Exception as error:  # noqa: BLE001 - whatever nbconvert meets in a notebook that anybody made
        return f"the page `{target}` could not be made: {type(error).__name__}: {error}"
    return ""


def page_path(output: Path) -> Path:
    """Where the page of an executed notebook is."""
    return output.with_name(output.name.removesuffix(".ipynb") + ".html")


def page_of(nb: NotebookNode, title: str) -> str:
    """The page of a notebook. Whatever its cells show, nothing in the page runs or is fetched.

    So mathematics is shown as it was written, and a widget or a chart that is a script as the picture
    or the text that was saved with it.
    """
    from bs4 import BeautifulSoup  # noqa: PLC0415 - comes with nbconvert, which is an extra
    from nbconvert.exporters import HTMLExporter  # noqa: PLC0415 - as above

    exporter: Any = HTMLExporter(sanitize_html=True, log=_quiet_log())  # type: ignore[no-untyped-call] # published half typed
    exporter.register_filter("clean_html", _cleaned)  # its own leaves a table's head and body out
    markup, _ = exporter.from_notebook_node(_stripped(nb), resources={"metadata": {"name": title}})
    soup: Any = BeautifulSoup(markup, features="html.parser")
    for script in soup.find_all("script"):  # nbconvert's own, which fetch more
        script.decompose()
    for element in soup.find_all(True):
        for name in [name for name in element.attrs if name.lower().startswith("on")]:
            del element.attrs[name]
        if "href" in element.attrs and not str(element["href"]).strip().lower().startswith(_HREFS):
            del element.attrs["href"]
        if "src" in element.attrs and not str(element["src"]).strip().lower().startswith("data:image/"):
            del element.attrs["src"]
    policy = soup.new_tag("meta", attrs={"http-equiv": "Content-Security-Policy", "content": _POLICY})
    soup.head.insert(0, policy)
    return str(soup)


def _quiet_log() -> logging.Logger:
    """A log without readers: of pictures without a text beside them nbconvert warns each time."""
    log = logging.getLogger("kitaru_nb.pages")
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    return log


def _cleaned(markup: str | bytes) -> str:
    """What may stay of HTML and of Markdown that cells show or hold."""
    from bleach import clean  # noqa: PLC0415 - as above
    from bleach.css_sanitizer import CSSSanitizer  # noqa: PLC0415 - as above
    from bs4 import BeautifulSoup  # noqa: PLC0415 - as above

    text = markup.decode() if isinstance(markup, bytes) else str(markup)
    soup = BeautifulSoup(text, features="html.parser")
    for element in soup.find_all(_GONE):
        element.decompose()
    return str(
        clean(
            str(soup),
            tags=_TAGS,
            attributes=_ATTRIBUTES,
            protocols=["http", "https", "mailto", "data"],
            css_sanitizer=CSSSanitizer(),
            strip=True,
        )
    )


def _stripped(nb: NotebookNode) -> NotebookNode:
    """A copy with what is shown and nothing else: metadata goes into the page without quotes around it."""
    shown = copy.deepcopy(nb)
    language = shown.metadata.get("language_info", {})
    shown["metadata"] = nbformat.from_dict({"language_info": {"name": str(language.get("name", "python"))}})
    for cell in shown.cells:
        cell["metadata"] = nbformat.from_dict({})
        if cell.cell_type == "raw":
            cell["cell_type"] = "markdown"
            cell["source"] = "\n".join(f"    {line}" for line in cell.source.splitlines())
        if "outputs" in cell:
            cell["outputs"] = [found for each in cell.outputs if (found := _shown(each)) is not None]
    return shown


def _shown(output: NotebookNode) -> NotebookNode | None:
    """What of an output can be shown; None where that is nothing."""
    if "data" not in output:
        return output
    output["metadata"] = nbformat.from_dict({})
    output["data"] = nbformat.from_dict({kind: data for kind, data in output.data.items() if kind in _SHOWN})
    return output if output.data else None
