"""What a launcher of processes says of those that it cannot see."""

from __future__ import annotations

import json

import pytest

from kitaru_nb.errors import StackError
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.launcher import Handle
from kitaru_nb.stacks.local_launcher import LocalLauncher
from kitaru_nb.stacks.settings import resolve


def test_a_worker_of_another_machine_is_not_taken_for_dead() -> None:
    """A team's journal and a home on a network are seen by several machines."""
    launcher = LocalLauncher(Stack("local"), resolve())
    there = Handle(json.dumps(["another-host.example", "its-boot", 4711, 1, "ex_1"]))

    with pytest.raises(StackError) as away:
        launcher.poll(there)

    assert away.value.kind == "stack-unreachable"
