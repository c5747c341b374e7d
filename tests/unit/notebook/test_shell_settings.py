"""What cells set of the shell: told as what differs, and set in a shell that has none of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kitaru_nb.engine.switches import RARE
from kitaru_nb.notebook import extension
from kitaru_nb.notebook.shell_settings import ShellSettings

CELLS = {
    "get_ipython().ast_node_interactivity = 'all'": lambda shell: shell.ast_node_interactivity,
    "%config InteractiveShell.autocall = 1": lambda shell: shell.autocall,
    "%config Completer.use_jedi = False": lambda shell: shell.Completer.use_jedi,
    "%precision 3": lambda shell: shell.display_formatter.format(2 / 3)[0]["text/plain"],
    "%pprint": lambda shell: shell.display_formatter.formatters["text/plain"].pprint,
    "%xmode Minimal": lambda shell: shell.InteractiveTB.mode,
    "%load_ext storemagic": lambda shell: "store" in shell.magics_manager.magics["line"],
    "%load_ext autoreload\n%autoreload 2": lambda shell: (
        shell.magics_manager.registry["AutoreloadMagics"]._reloader.check_all
    ),
    "%alias kt echo": lambda shell: dict(shell.alias_manager.aliases).get("kt"),
}


@pytest.fixture
def shells() -> Iterator[Any]:
    """Makes shells; none of them stays the one of this process."""
    made = []

    def make() -> InteractiveShell:
        made.append(InteractiveShell())
        return made[-1]

    yield make
    for shell in made:
        shell.history_manager.end_session()


@pytest.mark.parametrize("source", CELLS)
def test_what_a_cell_sets_of_the_shell_is_told_and_set_in_another(shells: Any, source: str) -> None:
    first, other = shells(), shells()
    told, wanted = ShellSettings(first), ShellSettings(other)
    assert told.changed() == {}

    first.run_cell(source).raise_error()
    wanted.put(told.changed())

    assert told.changed() == wanted.changed() != {}
    assert CELLS[source](other) == CELLS[source](first)
    assert RARE["shell"].search(source)


@pytest.mark.parametrize("source", ["%load_ext kitaru_nb", *(f"%{name}" for _, name in extension._MAGICS)])
def test_our_own_magics_set_nothing_of_the_shell(source: str) -> None:
    assert not RARE["shell"].search(f"import os\n{source}\nx = 1")
    assert RARE["shell"].search(f"{source}\n%precision 3")
    assert RARE["shell"].search(f"{source}2")


def test_what_is_not_wanted_is_as_it_was_found(shells: Any) -> None:
    shell = shells()
    shell.autocall = 2
    settings = ShellSettings(shell)
    shell.run_cell("%precision 3\n%xmode Minimal\n%alias kt echo\nget_ipython().autocall = 1").raise_error()

    settings.put({})

    assert settings.changed() == {}
    assert shell.autocall == 2


def test_an_extension_that_is_not_there_is_named_and_the_rest_is_set(shells: Any) -> None:
    shell = shells()

    with pytest.raises(ValueError, match="extension `kt_no_such`"):
        ShellSettings(shell).put({"extensions": ["kt_no_such"], "shell:shell.autocall": 1})

    assert shell.autocall == 1
