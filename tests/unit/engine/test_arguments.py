"""The arguments of a script: on record without secrets, and given again."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Sequence
from types import ModuleType

import pytest

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.arguments import Told, given_again, is_own_command, script_arguments, told_arguments
from kitaru_nb.errors import UsageError
from kitaru_nb.model.json_text import json_writer

KEY = "sk-" + "a1B2c3D4" * 4


def again(told: Told) -> list[str]:
    with given_again(["agent.py", *told]):
        return sys.argv[1:]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["formal", "--n", "3"],
        ["--tone=formal", "", "a b", "x=1", "ü", "--", "-v"],
        ["--max-tokens", "400", "--tokenizer=bpe", "--key", "title", "--key-file", "keys/mine.pem"],
        ["--token", "17"],
    ],
)
def test_arguments_are_on_record_as_they_are(arguments: Sequence[str]) -> None:
    assert told_arguments(arguments) == arguments


@pytest.mark.parametrize(
    "arguments",
    [
        ["--api-key", "otters7"],
        ["--token=pw0"],
        ["-p", KEY],
        [f"url=https://me:{KEY}@host/"],
        ["--password", "12345678"],
        ["model.api_key=abc"],
        [f'{{"headers": "Bearer {KEY}"}}'],
    ],
)
def test_a_secret_is_not_on_record_and_whoever_reads_it_is_told_so(arguments: Sequence[str]) -> None:
    told = told_arguments(arguments)

    secret = next(
        each for each in (KEY, "otters7", "pw0", "12345678", "abc") if any(each in a for a in arguments)
    )
    assert secret not in json_writer()(told)
    VAULT.forget()  # as in another process
    with pytest.raises(UsageError, match=r"`agent\.py` reads its arguments, one of which was a secret"):
        again(told)


def test_a_secret_that_is_in_the_environment_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_API_KEY", "otters-and-beavers-7")
    told = told_arguments(["--url", "https://host/?k=otters-and-beavers-7", "--api-key=otters-and-beavers-7"])

    assert "otters" not in json_writer()(told)
    assert again(told) == ["--url", "https://host/?k=otters-and-beavers-7", "--api-key=otters-and-beavers-7"]


def test_only_what_reads_the_secret_itself_is_refused() -> None:
    told = told_arguments(["formal", "--token=pw0"])

    with given_again(["agent.py", *told]):
        assert len(sys.argv) == 3
        assert sys.argv[:2] == ["agent.py", "formal"]
        with pytest.raises(UsageError, match="token"):
            list(sys.argv)
        copied = pickle.loads(pickle.dumps(sys.argv))
    with pytest.raises(UsageError, match="token"):
        copied[2]


def test_arguments_that_are_no_text_come_back() -> None:
    told = told_arguments([os.fsdecode(b"\xff.txt")])

    json_writer()(told).encode()
    assert again(told) == [os.fsdecode(b"\xff.txt")]


def test_what_was_there_is_there_again_afterwards() -> None:
    before = sys.argv

    def ends() -> None:
        with given_again(["agent.py", "formal"]):
            sys.exit(sys.argv[1])

    with pytest.raises(SystemExit, match="formal"):
        ends()

    assert sys.argv is before
    with given_again(None):
        assert sys.argv is before


def test_a_child_of_a_flow_whose_arguments_are_withheld_is_on_record_with_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main = ModuleType("__main__")
    main.__file__ = "/there/agent.py"
    monkeypatch.setitem(sys.modules, "__main__", main)
    told = ["/there/agent.py", *told_arguments(["--token=pw0"])]

    with given_again(told):
        assert script_arguments() == told


def test_a_prompt_and_a_command_of_ours_have_no_arguments_of_a_script(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import kitaru_nb.__main__ as command  # noqa: PLC0415 - what `python -m kitaru_nb` runs

    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    assert script_arguments() is None
    monkeypatch.setitem(sys.modules, "__main__", command)
    assert is_own_command(command)
    assert script_arguments() is None
