"""The server remembers where it has looked; what it gives up is closed, and never what is asked about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kitaru_nb.engine.pages import Wanted
from kitaru_nb.model.execution import Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.server import places as module
from kitaru_nb.server.places import Place, Places
from kitaru_nb.stacks.open import open_engine


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KITARU_NB_HOME", "")
    monkeypatch.setenv("KITARU_NB_CONFIG", str(tmp_path / "config"))
    monkeypatch.setattr(module, "_REMEMBERED", 4)
    return project(tmp_path / "served")


@pytest.fixture
def places(root: Path) -> Iterator[Places]:
    with closing(Places(root, None)) as found:
        yield found


def project(folder: Path) -> Path:
    """A folder with records of its own: one execution."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[tool.kitaru_nb]\nhome = "own"\n')
    with closing(open_engine(Settings(home=folder / "own"))) as engine:
        engine.journal.start(Identity(notebook=str(folder / "n.ipynb")), owner=current_owner())
    return folder


def looked_at(place: Place) -> Place:
    (only,) = place.page(Wanted(), limit=9).executions
    assert only.identity.notebook is not None
    return place


def is_open(place: Place) -> bool:
    return bool(place._open)


def test_a_place_that_is_given_up_is_closed(root: Path, places: Places) -> None:
    own = looked_at(places.own())
    found = [looked_at(places.of_notebook(project(root / name) / "n.ipynb")) for name in "abcdef"]

    assert [is_open(place) for place in found] == [False, False, True, True, True, True]
    assert places.known() == [own, *found[2:]]


def test_the_servers_own_place_is_never_given_up(root: Path, places: Places) -> None:
    own = looked_at(places.own())
    for name in "abcdef":
        places.of_notebook(project(root / name) / "n.ipynb")

    assert is_open(own)
    assert places.own() is own


def test_the_place_that_is_asked_about_again_stays(root: Path, places: Places) -> None:
    notebooks = [project(root / name) / "n.ipynb" for name in "abcde"]
    first, second, *_ = [looked_at(places.of_notebook(notebook)) for notebook in notebooks[:4]]
    assert places.of_notebook(notebooks[0]) is first
    places.of_notebook(notebooks[4])

    assert (is_open(first), is_open(second)) == (True, False)


def test_a_place_that_was_given_up_is_looked_at_anew(root: Path, places: Places) -> None:
    notebooks = [project(root / name) / "n.ipynb" for name in "abcde"]
    first = looked_at(places.of_notebook(notebooks[0]))
    for notebook in notebooks[1:]:
        places.of_notebook(notebook)

    again = looked_at(places.of_notebook(notebooks[0]))

    assert again is not first
    looked_at(first)  # whoever had it still reads there
    first.close()


def test_other_settings_in_a_folder_make_another_place_and_close_the_old_one(
    root: Path, places: Places
) -> None:
    folder = project(root / "a")
    old = looked_at(places.of_notebook(folder / "n.ipynb"))
    (folder / "pyproject.toml").write_text('[tool.kitaru_nb]\nhome = "own"\nbudget = 3\n')

    new = looked_at(places.of_notebook(folder / "n.ipynb"))

    assert (new is old, is_open(old), is_open(new)) == (False, False, True)


def test_asking_for_the_own_place_first_gives_up_nothing_more(root: Path, places: Places) -> None:
    found = [looked_at(places.of_notebook(project(root / name) / "n.ipynb")) for name in "abcd"]
    looked_at(places.own())
    plain = root / "plain"
    plain.mkdir()

    assert places.of_notebook(plain / "n.ipynb") is places.own()
    assert [is_open(place) for place in found] == [True] * 4
