"""The fast look for secrets: it may suspect too much and never too little."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np  # noqa: F401 - the scan uses it where it is loaded
import pytest

from kitaru_nb.artifacts import secret_scan
from kitaru_nb.artifacts.secret_scan import may_hold_secret
from tests.unit.artifacts.test_secret_rules import VALUE

HELD = [
    {"api_key": VALUE},
    {"API_KEY_PROD": VALUE},
    {"x": b"ghp_abcdefghijklmnopqrstuvwxyz0123456789"},
    {b"Authorization": f"Bearer {VALUE}".encode()},
    ["about " * 40 + "sk-abcdefghijklmnopqrstuvwx"],
    f"postgresql://user:{VALUE}@host/db",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA-1234567890abcdefghijklmnopqrstu",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow",
    *["glpat-abcdefghijklmnopqrst", "hf_abcdefghijklmnopqrstuvwxyz", "xoxb-123456789012-abcdef"],
    *[
        "sk_live_abcdefghijklmnopqrst",
        "npm_" + "a1" * 18,
        "gsk_" + "a1" * 12,
        "xai-" + "a1" * 12,
        "r8_" + "a1" * 18,
    ],
    *[
        "pypi-" + "a1" * 25,
        "pplx-" + "a1" * 12,
        "nvapi-" + "a1" * 12,
        "lsv2_pt_" + "a1" * 12,
        "dop_v1_" + "a1" * 24,
    ],
    *["github_pat_" + "a1" * 12, "xapp-" + "a1" * 12, "GOCSPX-" + "a1" * 12],
]
CLEAN: list[object] = [
    *[{"primary_key": VALUE}, {"monkey": VALUE}, {"eos_token": "<|endoftext|>"}, {"key": "customer_segment"}],
    *[{"token": "internationalization"}, {"tokens": 123456789012345}, "task-specific-performance-metrics"],
]


@pytest.fixture(params=["numpy", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the vector instructions of numpy, and without."""
    if request.param == "plain":
        monkeypatch.delitem(sys.modules, "numpy")
        monkeypatch.setattr(secret_scan, "_WORTH_NUMPY", 1 << 40)
    secret_scan._clean[1].clear()
    return str(request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("ahead", [0, 20_000])
@pytest.mark.parametrize("fast", [False, True], ids=["memo", "digest"])
@pytest.mark.parametrize("value", HELD, ids=repr)
def test_a_secret_is_suspected_in_a_small_and_in_a_large_stream(value: Any, fast: bool, ahead: int) -> None:
    stream = streamed([[f"w{number}" for number in range(ahead)], value], fast=fast)

    assert may_hold_secret(stream, memo=not fast)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("ahead", [0, 20_000])
@pytest.mark.parametrize("value", CLEAN, ids=repr)
def test_what_is_none_is_not_suspected(value: object, ahead: int) -> None:
    assert not may_hold_secret(streamed([[f"w{number}" for number in range(ahead)], value]))


@pytest.mark.usefixtures("way")
def test_a_secret_of_the_environment_is_found_at_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", VALUE)
    text = "a" * 40_000

    found = [may_hold_secret((text[:at] + VALUE + text[at:]).encode()) for at in range(32_700, 32_800)]

    assert all(found)


def test_a_block_is_looked_through_again_when_another_secret_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = b"b" * 50_000 + b"hunter3hunter3x" + b"b" * 50_000
    before = may_hold_secret(data)

    monkeypatch.setenv("OTHER_API_KEY", "hunter3hunter3x")

    assert (before, may_hold_secret(data)) == (False, True)


def streamed(value: object, *, fast: bool = False) -> bytes:
    path: list[bytes] = []

    class Sink:
        write = path.append

    pickler = pickle.Pickler(Sink(), 5)
    pickler.fast = fast
    pickler.dump(value)
    return b"".join(path)
