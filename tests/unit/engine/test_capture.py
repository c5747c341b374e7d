"""What a step showed, folded as a front end would."""

from __future__ import annotations

from typing import Any

from kitaru_nb.engine.capture import fold, notebook_outputs


def stream(text: str, name: str = "stdout") -> tuple[str, dict[str, Any]]:
    return "stream", {"name": name, "text": text}


def display(
    text: str, display_id: str | None = None, kind: str = "display_data"
) -> tuple[str, dict[str, Any]]:
    transient = {"display_id": display_id} if display_id else {}
    return kind, {"data": {"text/plain": text}, "metadata": {}, "transient": transient}


def shown(*messages: tuple[str, dict[str, Any]]) -> list[str]:
    """What is on the screen, one text for each output."""
    return [output.get("text") or output["data"]["text/plain"] for output in fold(messages)]


CLEAR = "clear_output", {"wait": False}
CLEAR_LATER = "clear_output", {"wait": True}


def test_what_is_written_to_one_stream_is_one_output() -> None:
    assert fold([stream("a"), stream("b")]) == [{"output_type": "stream", "name": "stdout", "text": "ab"}]


def test_streams_are_joined_only_while_nothing_stands_between_them() -> None:
    assert shown(stream("a"), stream("x", "stderr"), stream("b"), display("d"), stream("c")) == [
        "a",
        "x",
        "b",
        "d",
        "c",
    ]


def test_folding_leaves_the_messages_alone() -> None:
    messages = [stream("a"), stream("b"), display("d", "1"), display("e", "1", "update_display_data")]

    assert fold(messages) == fold(messages)
    assert messages[0] == stream("a")
    assert messages[2] == display("d", "1")


def test_clear_takes_away_what_stands_before_it() -> None:
    assert shown(stream("a"), display("d"), CLEAR, stream("b")) == ["b"]
    assert shown(stream("a"), CLEAR) == []


def test_clear_that_waits_does_so_until_something_new_is_shown() -> None:
    assert shown(stream("a"), CLEAR_LATER) == ["a"]
    assert shown(stream("a"), CLEAR_LATER, stream("b"), stream("c")) == ["bc"]


def test_an_update_does_not_end_the_wait_of_a_clear() -> None:
    messages = [display("a", "1"), CLEAR_LATER, display("b", "1", "update_display_data")]

    (output,) = fold(messages)

    assert (output["output_type"], output["data"]) == ("display_data", {"text/plain": "b"})


def test_clear_at_once_ends_the_wait_of_an_earlier_one() -> None:
    assert shown(stream("a"), CLEAR_LATER, CLEAR, stream("b"), stream("c")) == ["bc"]


def test_an_update_changes_the_display_in_its_place() -> None:
    assert shown(display("0 %", "bar"), stream("a"), display("100 %", "bar", "update_display_data")) == [
        "100 %",
        "a",
    ]


def test_an_update_reaches_every_display_of_that_name() -> None:
    assert shown(display("a", "1"), display("b", "1"), display("c", "1", "update_display_data")) == ["c", "c"]


def test_an_update_of_an_older_display_is_kept_as_one() -> None:
    (output,) = fold([display("b", "elsewhere", "update_display_data")])

    assert output["output_type"] == "update_display_data"
    assert output["transient"] == {"display_id": "elsewhere"}


def test_what_is_no_output_is_left_out() -> None:
    assert fold([("status", {"execution_state": "busy"}), ("comm_msg", {})]) == []


def test_an_error_is_shown() -> None:
    error = {"ename": "ValueError", "evalue": "no", "traceback": []}

    assert fold([("error", error)]) == [{"output_type": "error", **error}]


def test_a_result_gets_the_number_of_the_cell_in_the_notebook() -> None:
    outputs = fold([display("1", kind="execute_result"), stream("a")])

    assert notebook_outputs(outputs, 7) == [
        {"output_type": "execute_result", "data": {"text/plain": "1"}, "metadata": {}, "execution_count": 7},
        {"output_type": "stream", "name": "stdout", "text": "a"},
    ]


def test_a_notebook_has_no_transient_data_and_no_updates() -> None:
    outputs = fold([display("a", "1"), display("b", "2", "update_display_data")])

    assert notebook_outputs(outputs, 1) == [
        {"output_type": "display_data", "data": {"text/plain": "a"}, "metadata": {}}
    ]


def test_a_display_without_metadata_gets_some_since_the_format_asks_for_it() -> None:
    (cell,) = notebook_outputs([{"output_type": "display_data", "data": {}}], None)

    assert cell["metadata"] == {}
