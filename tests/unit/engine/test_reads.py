"""A part of a group of names that was loaded as something else is what it was read as before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.engine.kernel import RAN, RESTORED, Kernel

pytest.importorskip("matplotlib")

DRAWN = (
    "import io, matplotlib; matplotlib.use('agg'); import matplotlib.pyplot as plt\n"
    "fig, ax = plt.subplots(); line, = ax.plot([1, 2, 3]); fig.savefig(io.BytesIO()); plt.close(fig)"
)
"""A figure that was drawn is another one once it was loaded: to be drawn, and laid out anew."""
TITLED = "ax.set_title('t'); line.set_ydata([3, 2, 1])"
MORE = "ax.plot([0, 1])"


def _kernel(folder: Path) -> Kernel:
    return Kernel(
        folder / "home", notebook=folder / "w" / "nb.ipynb", settings={"paranoid": False}
    ).take_over()


def test_steps_that_read_a_part_of_a_figure_are_restored_after_the_figure_was(tmp_path: Path) -> None:
    first = _kernel(tmp_path)
    ran = [first.cell(source, step=source) for source in (DRAWN, TITLED, MORE)]

    again = _kernel(tmp_path)

    assert ran == [RAN] * 3
    assert [again.cell(source, step=source) for source in (DRAWN, TITLED, MORE)] == [RESTORED] * 3
    assert again.plain("(ax.get_title(), len(ax.lines), ax.lines[0] is line)") == ("t", 2, True)


def test_a_part_that_a_plain_cell_changed_after_the_restore_counts_as_changed(tmp_path: Path) -> None:
    _kernel(tmp_path).cells(DRAWN, "read = ax.get_title()")

    again = _kernel(tmp_path)
    again.cell(DRAWN)
    again.plain("ax.set_title('other')")

    assert again.cell("read = ax.get_title()") == RAN
    assert again["read"] == "other"
