from __future__ import annotations

from kitaru_nb.model.execution import default_output


def test_the_default_output_stands_beside_the_notebook() -> None:
    assert default_output("/work/train.ipynb") == "/work/train.out.ipynb"
