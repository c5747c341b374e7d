"""The fast look for secrets: it may suspect too much and never too little."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from kitaru_nb.artifacts import secret_scan
from kitaru_nb.artifacts.secret_places import places_in
from kitaru_nb.artifacts.secret_rules import BEGINNINGS, shapes_in
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
    *[
        {name: VALUE}
        for name in ("passwd", "passphrases", "credentials_x", "authorization", "secrets", "TOKENS_A")
    ],
    *["github_pat_" + "a1" * 12, "xapp-" + "a1" * 12, "GOCSPX-" + "a1" * 12],
    "AccountName=a;AccountKey=" + "a1+/" * 20 + "==;EndpointSuffix=core.windows.net",
    "https://a.blob.core.windows.net/c?sv=2024-05-04&sig=" + "a1%2B" * 12,
    *["SG." + "a1" * 11 + "." + "b2" * 20, "ya29." + "a1" * 12, "glptt-" + "a1" * 12, "ghs_" + "a1" * 12],
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


AHEAD = [[], [f"w{number}" for number in range(20_000)], ["A few Cs. " + "Text without end. " * 160]]
"""What stands before a secret: nothing, much, and few strings for so many bytes."""


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("ahead", AHEAD, ids=["small", "large", "text"])
@pytest.mark.parametrize("fast", [False, True], ids=["memo", "digest"])
@pytest.mark.parametrize("value", HELD, ids=repr)
def test_a_secret_is_suspected_in_any_stream(value: Any, fast: bool, ahead: list[str]) -> None:
    stream = streamed([ahead, value], fast=fast)

    assert may_hold_secret(stream, memo=not fast)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("ahead", AHEAD, ids=["small", "large", "text"])
@pytest.mark.parametrize("value", CLEAN, ids=repr)
def test_what_is_none_is_not_suspected(value: object, ahead: list[str]) -> None:
    assert not may_hold_secret(streamed([ahead, value]))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("begin", [text for _, texts in BEGINNINGS for text in texts])
def test_every_beginning_of_a_known_shape_leads_to_its_shape(begin: str) -> None:
    texts = [begin, *(before + begin for before in ("githu", "do", "dop"))]
    ends = [
        "a1" * 30,
        "a1" * 30 + ".eyJ" + "a1" * 9 + "." + "a1" * 9,
        "GPAT-" + "a1" * 30,
        "a1" * 9 + "." + "a1" * 9,
        "a1" * 30 + ";",
        "a1" * 30 + "&",
    ]
    ends += ["-" + "a1" * 30, "live_" + "a1" * 30, "pt_" + "a1" * 30, "A1" * 8, "b-" + "a1" * 30]
    ends += [" PRIVATE KEY-----", "user:" + "a1" * 30 + "@host"]
    held = [text + end for text in texts for end in ends if shaped(text + end)]

    missed = [text for text in held if not may_hold_secret(streamed([text]))]

    assert held or begin in ("asic ", "earer ")
    assert missed == []


@pytest.mark.usefixtures("way")
def test_a_key_is_suspected_at_the_very_beginning_of_the_bytes() -> None:
    assert may_hold_secret(b"sk-abcdefghijklmnopqrstuvwx")
    assert may_hold_secret(b"hf_abcdefghijklmnopqrstuvwxyz" + b" " * 40_000)


@pytest.mark.parametrize("memo", [False, True])
@pytest.mark.parametrize(
    "value",
    [
        [number / 7 for number in range(100_000)],
        np.random.default_rng(1).bytes(1 << 20),
        [f"information {number} of a_station, at-most the long-word" for number in range(20_000)],
        [{"name": f"on{number}", "last_value": number, "see": "false"} for number in range(20_000)],
    ],
    ids=["floats", "image", "texts", "dicts"],
)
def test_next_to_nothing_has_to_be_looked_at_closer(value: object, memo: bool) -> None:
    stream = streamed(value, fast=not memo)

    places = places_in(stream, np, memo=memo)

    assert len(places.begins) + len(places.names) < len(stream) / 1000


def test_numpy_is_loaded_once_it_pays_and_not_before() -> None:
    program = """
import sys
from kitaru_nb.artifacts.secret_scan import may_hold_secret
for number in range(2000):
    may_hold_secret(b"a" * 6000)  # the same again counts: short ones are not taken note of
    if "numpy" in sys.modules: break
print(number)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert 1000 < int(ended.stdout) < 1500


@pytest.mark.usefixtures("way")
def test_a_secret_of_the_environment_is_found_at_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", VALUE)
    text = "a" * 40_000

    found = [may_hold_secret((text[:at] + VALUE + text[at:]).encode()) for at in range(32_700, 32_800)]

    assert all(found)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size", [100, 33_000, 300_000, 600_001])
def test_what_is_new_among_what_was_looked_through_before_is_found(size: int) -> None:
    clean = np.random.default_rng(2).integers(97, 122, size, dtype="u1").tobytes()
    assert not may_hold_secret(clean)
    secret = b" ghp_abcdefghijklmnopqrstuvwxyz0123456789 "
    places = [0, 1, size // 3, size // 2, size - 700, size - len(secret), size]

    found = [may_hold_secret(clean[: max(0, at)] + secret + clean[max(0, at) :]) for at in places]
    replaced = [may_hold_secret(clean[:at] + secret + clean[at + len(secret) :]) for at in places if at >= 0]

    assert all(found)
    assert all(replaced)


def test_a_block_is_looked_through_again_when_another_secret_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = b"b" * 50_000 + b"hunter3hunter3x" + b"b" * 50_000
    before = may_hold_secret(data)

    monkeypatch.setenv("OTHER_API_KEY", "hunter3hunter3x")

    assert (before, may_hold_secret(data)) == (False, True)


def shaped(text: str) -> bool:
    """Whether the exact way finds a key in it; not one that only a header tells."""
    return any(family != "header" for _, _, family in shapes_in(text))


def streamed(value: object, *, fast: bool = False) -> bytes:
    path: list[bytes] = []

    class Sink:
        write = path.append

    pickler = pickle.Pickler(Sink(), 5)
    pickler.fast = fast
    pickler.dump(value)
    return b"".join(path)
