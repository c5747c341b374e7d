"""What a flow's inputs are told as."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from kitaru_nb.engine.flow import told_inputs

_KEY = "sk-proj-" + "Ab3dE5gH7jK9mN1pQ3sT5vX7zA9cE1gH3jL5nP7rT9vX1zB"


def test_secrets_among_the_inputs_are_told_by_a_digest() -> None:
    inputs = {"key": _KEY, "db_password": "correcthorse7Battery", "nested": {"list": [_KEY]}, "n": 1}

    told = told_inputs(inputs, {})

    assert told["n"] == 1
    assert set(told["key"]) == {"type", "digest"}
    assert not any(secret in json.dumps(told) for secret in (_KEY[10:], "correcthorse7Battery"))
    assert told == told_inputs(inputs, {})


def test_beside_a_connection_everything_else_in_an_input_counts() -> None:
    def told(x: int) -> object:
        return told_inputs({"inputs": Held(sqlite3.connect(":memory:"), x)}, {})

    assert told(1) == told(1) != told(2)


@dataclass
class Held:
    """What cannot be stored, and what can."""

    connection: sqlite3.Connection
    x: int
