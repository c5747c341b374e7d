"""The panel in another language: a language pack as translators make one, in a real JupyterLab."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from playwright.sync_api import BrowserContext, expect

from tests.browser.site import TOKEN, Site

TEMPLATE = Path(__file__).parents[2] / "kitaru_nb" / "locale" / "kitaru_nb.pot"
LOCALE = "de_DE"
GERMAN = {
    (None, "Kitaru: waits and executions"): "Kitaru: Fragen und Ausführungen",
    (None, "Executions"): "Ausführungen",
    (None, "This notebook"): "Dieses Notebook",
    ("settings", "Go on after an answer"): "Nach einer Antwort weitermachen",
}


def language_pack(folder: Path) -> None:
    """What `pip install jupyterlab-language-pack-de-DE` puts there, with some of our texts translated."""
    package = folder / f"jupyterlab_language_pack_{LOCALE}"
    catalogs = package / "locale" / LOCALE / "LC_MESSAGES"
    catalogs.mkdir(parents=True)
    (package / "__init__.py").touch()
    told = folder / f"{package.name}-0.1.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.name}\nVersion: 0.1\n")
    (told / "entry_points.txt").write_text(f"[jupyterlab.languagepack]\n{LOCALE} = {package.name}\n")

    with TEMPLATE.open("rb") as file:
        catalog: Catalog = read_po(file, locale=LOCALE, domain="kitaru_nb")
    head = {"domain": "kitaru_nb", "language": LOCALE.replace("_", "-"), "plural_forms": catalog.plural_forms}
    words: dict[str, object] = {"": head}
    for (context, text), translation in GERMAN.items():
        message = catalog.get(text, context)
        assert message is not None, f"the template does not have `{text}`"
        message.string = translation
        words[text if context is None else f"{context}\x04{text}"] = [translation]
    with (catalogs / "kitaru_nb.mo").open("wb") as compiled:
        write_mo(compiled, catalog)
    (catalogs / "kitaru_nb.json").write_text(json.dumps(words), encoding="utf-8")


@dataclass
class Translated(Site):
    """A JupyterLab that finds a language pack, and speaks it."""

    pack: Path = Path()

    @property
    def environment(self) -> dict[str, str]:
        found = super().environment
        kept = [path for path in (str(self.pack), found.get("PYTHONPATH")) if path]
        return {**found, "PYTHONPATH": os.pathsep.join(kept)}


@pytest.fixture
def german(tmp_path: Path) -> Iterator[Site]:
    language_pack(tmp_path / "pack")
    chosen: Mapping[str, object] = {"@jupyterlab/translation-extension/plugin": {"locale": LOCALE}}
    with Translated("lab", tmp_path / "work", chosen, pack=tmp_path / "pack") as site:
        yield site


def test_the_panel_and_its_settings_speak_the_language_of_a_language_pack(
    german: Site, context: BrowserContext
) -> None:
    notebook = german.open(context, german.write("deutsch.ipynb", "1"))

    notebook.command("kitaru-nb:open-panel")

    panel = notebook.page.locator("#kitaru-nb-panel")
    expect(panel.get_by_role("heading", name="Ausführungen")).to_be_visible()
    expect(panel.get_by_text("Dieses Notebook", exact=True)).to_be_visible()
    expect(panel.get_by_text("All", exact=True)).to_be_visible()  # nobody has translated it
    title = notebook.page.locator('.lm-TabBar-tab[data-id="kitaru-nb-panel"]')
    expect(title).to_have_attribute("title", re.compile("Kitaru: Fragen und Ausführungen"))
    # In its list, which the Settings Editor shows, the server translates no extension's schema.
    request = context.request.get(
        f"{german.base}/lab/api/settings/kitaru-nb-labextension:kitaru?token={TOKEN}"
    )
    shown = request.json()["schema"]["properties"]["runOnAnswer"]
    assert shown["title"] == "Nach einer Antwort weitermachen"
