from __future__ import annotations

from typing import Any

import nbformat

from kitaru_nb.stacks.client import CellClient, Reply, _as_reply


def client(*outputs: list[Any]) -> CellClient:
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=list(o)) for o in outputs])

    class Manager:
        def __init__(self) -> None:
            self.nb = nb

    return CellClient(Manager(), tick=lambda: None)


def display(text: str, name: str, kind: str = "display_data") -> dict[str, Any]:
    return {
        "output_type": kind,
        "data": {"text/plain": text},
        "metadata": {},
        "transient": {"display_id": name},
    }


def test_the_record_takes_the_place_of_what_was_seen() -> None:
    shown = client([{"output_type": "stream", "name": "stdout", "text": "part"}])
    cell = shown.nb.cells[0]

    shown.show_record(cell, 0, [{"output_type": "stream", "name": "stdout", "text": "whole"}], 7)

    assert [output.text for output in cell.outputs] == ["whole"]
    assert cell.execution_count == 7


def test_an_update_of_an_earlier_cells_display_changes_that_cell() -> None:
    shown = client([], [])
    first, second = shown.nb.cells

    shown.show_record(first, 0, [display("0 %", "bar")], 1)
    shown.show_record(second, 1, [display("100 %", "bar", "update_display_data")], 2)

    assert first.outputs[0].data["text/plain"] == "100 %"
    assert "transient" not in first.outputs[0]
    assert second.outputs == []


def test_a_reply_says_which_checkpoint_the_cell_became() -> None:
    content = {
        "status": "ok",
        "execution_count": 3,
        "user_expressions": {
            "kitaru_nb": {"status": "ok", "data": {"text/plain": "{'seq': 5, 'status': 'restored'}"}}
        },
    }

    assert _as_reply({"content": content}) == Reply(ok=True, count=3, seq=5, restored=True)


def test_a_plain_cells_reply_and_an_error_have_no_checkpoint() -> None:
    plain = {"status": "ok", "execution_count": 1, "user_expressions": {"kitaru_nb": {"status": "error"}}}
    error = {"status": "error", "ename": "E", "evalue": "v", "execution_count": 2}

    assert _as_reply({"content": plain}) == Reply(ok=True, count=1)
    assert _as_reply({"content": error}) == Reply(ok=False, count=2, ename="E", evalue="v")


def test_a_reply_says_that_the_cell_called_exit() -> None:
    payload = [{"source": "ask_exit", "keepkernel": False}]

    reply = _as_reply({"content": {"status": "ok", "execution_count": 3, "payload": payload}})

    assert reply.exits


def test_a_kernel_that_is_not_ready_yet_has_no_cell_to_settle() -> None:
    shown = client([])
    shown._awaited = ("id of the first question", None, -1)

    assert shown.settle(patience=0.0) is None
