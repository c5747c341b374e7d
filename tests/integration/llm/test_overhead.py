"""The tap costs next to nothing, counted in function calls, which no busy machine changes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.llm_pythons import llm_environ


def test_the_tap_costs_one_percent_idle_and_five_recording_at_most(python: Path) -> None:
    done = subprocess.run(
        [python, "-W", "ignore", Path(__file__).with_name("overhead.py")],
        env=llm_environ({}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )

    counted = [json.loads(line) for line in done.stdout.splitlines()]

    assert [found["way"] for found in counted] == ["plain", "stream"]
    for found in counted:
        assert found["idle"] <= found["without"] * 1.01, found
        assert found["recording"] <= found["without"] * 1.05, found
        assert found["serving"] <= found["without"], found
