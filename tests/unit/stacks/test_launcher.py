"""Which launcher a stack has, and what a stack's file may say to it."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from kitaru_nb.errors import UsageError
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks import config, launcher
from kitaru_nb.stacks.config import stack_of
from kitaru_nb.stacks.launcher import launcher_of, option
from kitaru_nb.stacks.local_launcher import LocalLauncher
from kitaru_nb.stacks.settings import resolve

FILE = Path("/project/kitaru_nb.toml")


class Mine(LocalLauncher):
    OPTIONS = ("speed",)


@pytest.fixture
def settings() -> Settings:
    return resolve()


@pytest.fixture
def _mine(monkeypatch: pytest.MonkeyPatch) -> None:
    brought = {"mine": EntryPoint("mine", f"{__name__}:Mine", "kitaru_nb.launchers")}
    monkeypatch.setattr(EntryPoint, "load", lambda _self: Mine)
    for module in (config, launcher):
        monkeypatch.setattr(module, "others_launchers", lambda: brought)


def test_a_launcher_is_named_or_is_a_table_with_options() -> None:
    named = stack_of("a", {"launcher": "slurm"}, FILE)
    told = stack_of("b", {"launcher": {"type": "slurm", "partition": "gpu"}}, FILE)

    assert (named.launcher, named.launcher_options) == ("slurm", {})
    assert (told.launcher, told.launcher_options) == ("slurm", {"partition": "gpu"})
    for wrong in ({"partition": "gpu"}, 3, {"type": 3}):
        with pytest.raises(UsageError, match="neither a name nor a table"):
            stack_of("c", {"launcher": wrong}, FILE)


def test_an_unknown_launcher_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="`nomad`, which does not exist") as refused:
        stack_of("a", {"launcher": "nomad"}, FILE)

    assert "slurm" in refused.value.hint


@pytest.mark.usefixtures("_mine")
def test_a_package_can_bring_a_launcher(settings: Settings) -> None:
    stack = stack_of("a", {"launcher": {"type": "mine", "speed": 3}}, FILE)

    assert type(launcher_of(stack, settings)) is Mine


@pytest.mark.usefixtures("_mine")
def test_an_option_that_means_nothing_is_refused_with_the_one_that_was_meant(settings: Settings) -> None:
    with pytest.raises(UsageError) as refused:
        launcher_of(Stack("a", launcher="mine", launcher_options={"sped": 3}), settings)

    assert (refused.value.kind, refused.value.hint) == ("unknown-launcher-option", "speed = …")


def test_an_option_of_another_type_is_refused() -> None:
    stack = Stack("a", launcher="mine", launcher_options={"speed": "fast", "on": True}, source="here.toml")

    assert option(stack, "speed", str) == "fast"
    assert option(stack, "missing", int, 7) == 7
    for name, kind in (("speed", int), ("on", int)):
        with pytest.raises(UsageError) as refused:
            option(stack, name, kind)
        assert (refused.value.kind, refused.value.hint) == ("bad-launcher-option", "mend here.toml")


def test_a_secret_in_an_option_is_refused_however_deep() -> None:
    with pytest.raises(UsageError) as refused:
        stack_of("a", {"launcher": {"type": "slurm", "env": {"api_token": "abc"}}}, FILE)

    assert refused.value.kind == "secret-in-stack-file"
