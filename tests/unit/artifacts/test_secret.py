"""Secrets in what is stored: references in place of values, the same values back, a marker where missing."""

from __future__ import annotations

import collections
import json
import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
import requests

import kitaru_nb as kt
from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.artifacts.notes import Note, noting
from kitaru_nb.artifacts.pickle_codec import PickleCodec
from kitaru_nb.artifacts.plain_codec import PlainCodec
from kitaru_nb.artifacts.vault import VAULT, Vault
from kitaru_nb.errors import UsageError
from tests.integration.canaries import spellings

ENVIRONMENT = "c4n4ry1n3nv1r0nm3nt0001"
NAMED = "c4n4ry-und3r-4-n4m3-0002"
IN_PAIR = "c4n4ry-1n-4-s3ss10n-0005"
SHAPED = "sk-c4n4ryw1th4sh4p30003"


@pytest.fixture(autouse=True)
def _process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that knows of nothing but the environment."""
    monkeypatch.setenv("SOME_API_KEY", ENVIRONMENT)
    VAULT.forget()
    yield
    VAULT.forget()


class Agent:
    def __init__(self, token: str) -> None:
        self.token = token
        self.history = ["a", "b"]


@dataclass(frozen=True, slots=True)
class Account:
    user: str
    password: str


Login = collections.namedtuple("Login", "user password")  # noqa: PYI024 - as users write it


class Loud(str):
    __slots__ = ()


def closing(token: str) -> Callable[[], str]:
    def call() -> str:
        return token

    return call


def defaulting(x: int = 1, *, password: str = NAMED) -> str:
    return password


def session() -> requests.Session:
    made = requests.Session()
    made.headers["Authorization"] = f"Bearer {NAMED}"
    made.auth = ("user", SHAPED)
    return made


def logged_in() -> requests.Session:
    made = requests.Session()
    made.auth = ("user", IN_PAIR)
    return made


def in_notebook(function: Any) -> Any:
    """The function as if a cell had defined it."""
    function.__module__ = "__main__"
    function.__qualname__ = function.__name__
    return function


VALUES: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "text": (lambda: [NAMED, {"password": NAMED}], lambda found: found),
    "dict": (lambda: {"api_key": NAMED, "x-api-key": SHAPED}, lambda found: found),
    "in text": (lambda: [f"curl -H 'Authorization: {SHAPED}'", f"see {ENVIRONMENT}!"], lambda found: found),
    "url": (lambda: {"url": "postgresql://user:c4n4ry1nurl0004@host/db"}, lambda found: found),
    "environment": (lambda: dict(os.environ), lambda found: found["SOME_API_KEY"]),
    "attribute": (lambda: Agent(NAMED), lambda found: (found.token, found.history)),
    "slots": (lambda: Account("user", NAMED), lambda found: (found.user, found.password)),
    "named tuple": (lambda: Login("user", NAMED), lambda found: found),
    "closure": (lambda: in_notebook(closing(NAMED)), lambda found: found()),
    "default": (lambda: in_notebook(defaulting), lambda found: found()),
    "constant": (lambda: in_notebook(lambda: (SHAPED, "x")), lambda found: found()),
    "bytes": (
        lambda: {"h": [(b"Authorization", f"Bearer {NAMED}".encode())], "b": SHAPED.encode()},
        lambda found: found,
    ),
    "session": (session, lambda found: (dict(found.headers), found.auth)),
    "list": (lambda: {"of": {"api_keys": [IN_PAIR, f"{IN_PAIR}-2"], "x": 1}}, lambda found: found),
    "tuple": (lambda: {"passwords": (IN_PAIR, f"{IN_PAIR}-2", f"{IN_PAIR}-3", "x")}, lambda found: found),
    "set": (lambda: {"access_tokens": {IN_PAIR}}, lambda found: found),
    "session with a password": (logged_in, lambda found: found.auth),
    "secret str": (lambda: pydantic.SecretStr(NAMED), lambda found: found.get_secret_value()),
    "array": (lambda: np.array(["a", SHAPED]), lambda found: (found.tolist(), found.dtype, found.shape)),
    "large": (lambda: [f"row {n}" for n in range(30_000)] + [SHAPED], lambda found: found),
    "tuple in set": (lambda: {("api_key", NAMED), ("b", "c")}, lambda found: found),
    "key of a dict": (lambda: {SHAPED: 1}, lambda found: found),
}


def stored(value: object) -> tuple[dict[str, Any], list[bytes]]:
    encoded = PickleCodec().encode({"x": value}, namespace={})
    return dict(encoded.meta), [bytes(buffer) for buffer in encoded.buffers]


def loaded(meta: dict[str, Any], buffers: list[bytes], **live: object) -> tuple[Any, list[Note]]:
    views = [memoryview(bytearray(buffer)) for buffer in buffers]
    with noting() as notes:
        return PickleCodec().decode(meta, views.__getitem__, namespace=dict(live))["x"], notes


@pytest.mark.parametrize("kind", VALUES)
def test_no_byte_of_a_secret_is_stored_and_the_value_comes_back(kind: str) -> None:
    make, look = VALUES[kind]
    value = make()
    wanted = look(value)

    meta, buffers = stored(value)
    back, notes = loaded(meta, buffers)

    held = b"".join(buffers) + json.dumps(meta).encode()
    canaries = [ENVIRONMENT, NAMED, SHAPED, IN_PAIR, "c4n4ry1nurl0004"]
    assert [canary for canary in canaries for form in spellings(canary) if form in held] == []
    assert look(back) == wanted
    assert not [note for note in notes if note.lost]


def test_a_new_process_fills_in_from_the_environment() -> None:
    meta, buffers = stored({"a": ENVIRONMENT, "b": f"Bearer {ENVIRONMENT}"})
    VAULT.forget()

    back, notes = loaded(meta, buffers)

    assert back == {"a": ENVIRONMENT, "b": f"Bearer {ENVIRONMENT}"}
    assert {note.text for note in notes} == {"from the environment variable `SOME_API_KEY`"}


def test_a_known_secret_with_a_word_beside_it_is_filled_in_under_a_secrets_name_too() -> None:
    value = {"Authorization": f"Bearer {ENVIRONMENT}", "api_key": f"Token {ENVIRONMENT}"}
    value["password"] = f"{ENVIRONMENT}-{NAMED}"  # more than a word: nobody knows the rest
    VAULT.notice("auth_token", value["Authorization"])
    meta, buffers = stored({**value, "list": [value["Authorization"]]})
    VAULT.forget()

    back, _ = loaded(meta, buffers)

    assert is_marker(back.pop("password"))
    assert back == {
        "Authorization": value["Authorization"],
        "api_key": value["api_key"],
        "list": [value["Authorization"]],
    }


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("DATABASE_URL", "postgresql://user:c4n4ry1nurl0004@host/db"),
        ("AZURE_STORAGE_CONNECTION_STRING", f"AccountName=a;AccountKey={'c4n4ry+/' * 10}==;Suffix=x"),
    ],
)
def test_a_new_process_finds_a_key_within_a_variable_of_another_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    meta, buffers = stored([text])
    VAULT.forget()
    monkeypatch.setenv(variable, text)

    back, notes = loaded(meta, buffers)

    assert back == [text]
    assert not [note for note in notes if note.lost]
    assert not any(b"c4n4ry" in data for data in (*buffers, repr(meta).encode()))


def test_a_new_process_finds_each_of_several_keys_in_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"{IN_PAIR}-1", f"{IN_PAIR}-2"]
    meta, buffers = stored({"api_keys": keys})
    VAULT.forget()
    monkeypatch.setenv("OTHER_API_KEYS", ", ".join(keys))

    back, notes = loaded(meta, buffers)

    assert back == {"api_keys": keys}
    assert not [note for note in notes if note.lost]


def test_a_key_that_was_encrypted_is_known_again_and_nothing_else_is() -> None:
    (kept,) = VAULT.encrypted(f"use {SHAPED}, or {ENVIRONMENT}")
    label, mark, data = kept
    VAULT.forget()

    for strange in (None, 7, "text", [7], [["a"]], [[label, mark, "zz"]], [[label, mark[:4], data[:-2]]]):
        VAULT.know_again(strange)
    assert SHAPED not in VAULT.values()
    VAULT.know_again([kept])

    assert SHAPED not in "".join(kept)
    assert SHAPED in VAULT.values()


def test_a_list_of_data_is_none_of_secrets() -> None:
    value = {"feature_keys": ["user-id-2024-a", "monthly-usd-2024"], "tokens": ["w0rd-w1th-d1g1ts"]}

    meta, _ = stored(value)

    assert "secrets" not in meta


def test_another_key_in_the_same_variable_is_taken_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    meta, buffers = stored([ENVIRONMENT])
    VAULT.forget()
    monkeypatch.setenv("SOME_API_KEY", "r0t4t3dr0t4t3d0005")

    back, notes = loaded(meta, buffers)

    assert back == ["r0t4t3dr0t4t3d0005"]
    assert "another one than it was" in notes[0].text


@pytest.mark.parametrize("value", [{"a": ENVIRONMENT}, [f"Bearer {ENVIRONMENT}"]], ids=["whole", "part"])
def test_a_marker_says_which_variable_is_missing(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    meta, buffers = stored(value)
    VAULT.forget()
    monkeypatch.delenv("SOME_API_KEY")

    back, notes = loaded(meta, buffers)

    (inner,) = back.values() if isinstance(back, dict) else back
    assert is_marker(inner)
    assert [note.text for note in notes if note.lost] == [
        "the environment variable `SOME_API_KEY` is not set"
    ]


def test_an_object_that_cannot_be_made_with_a_marker_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Picky:
        def __init__(self, key: str) -> None:
            self.key = key + ""

        def __reduce__(self) -> Any:
            return Picky, (self.key,)

    meta, buffers = stored(Picky(ENVIRONMENT))
    VAULT.forget()
    monkeypatch.delenv("SOME_API_KEY")

    back, _ = loaded(meta, buffers)

    assert is_marker(back)


def test_two_secrets_of_one_name_are_not_taken_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    meta, buffers = stored([{"api_key": NAMED}, {"api_key": SHAPED}])
    VAULT.forget()
    monkeypatch.setenv("API_KEY", NAMED)

    back, _ = loaded(meta, buffers)

    assert back[0] == {"api_key": NAMED}
    assert is_marker(back[1]["api_key"])


def test_a_secret_that_the_notebook_spells_out_is_found_there(tmp_path: Path) -> None:
    meta, buffers = stored({"api_key": NAMED})
    notebook = tmp_path / "n.ipynb"
    notebook.write_text(json.dumps({"cells": [{"source": [f"use('{NAMED}')\n"]}]}))
    VAULT.forget()
    VAULT.read_later(str(notebook))

    assert loaded(meta, buffers)[0] == {"api_key": NAMED}


def test_a_secret_within_binary_data_only_comes_back_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    meta, buffers = stored(b"\0\1" + ENVIRONMENT.encode() + b"\2\3")
    assert loaded(meta, buffers)[0] == b"\0\1" + ENVIRONMENT.encode() + b"\2\3"
    VAULT.forget()
    monkeypatch.setenv("SOME_API_KEY", "an0th3rl3ngth")

    assert is_marker(loaded(meta, buffers)[0])


@pytest.mark.parametrize("value", [bytearray(SHAPED.encode()), Loud(SHAPED)], ids=["bytearray", "own class"])
def test_what_cannot_be_taken_out_is_not_stored(value: object) -> None:
    encoded = PickleCodec().encode({"x": value}, namespace={})

    assert "secret" in encoded.unstorable["x"]
    assert SHAPED.encode() not in b"".join(bytes(buffer) for buffer in encoded.buffers)


def test_a_plain_text_is_left_to_json_and_a_secret_is_not() -> None:
    def is_left(values: dict[str, object]) -> bool:
        return PlainCodec().encode(values, namespace={}) is not None

    assert is_left({"a": "a plain text", "n": 1})
    assert is_left({"a": {"b": ["a plain text"]}})
    assert not is_left({"api_key": NAMED})
    for text in (f"see {SHAPED}", ENVIRONMENT):
        assert not is_left({"a": text})
        assert not is_left({"a": [{"b": text}]})
        assert not is_left({"a": {text: 1}})
    assert not is_left({"a": {"api_key": NAMED}})


def test_a_text_that_holds_no_secret_costs_no_second_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Vault, "parts", lambda *_: pytest.fail("looked at each text"))

    meta, _ = stored({"model": "a-model", "messages": [{"role": "user", "content": "key to the token"}] * 50})

    assert "secrets" not in meta


# --- digests ------------------------------------------------------------------------------------


def digest(value: object, name: str = "x") -> str:
    return digest_values({name: value}, namespace={})


def test_another_key_in_the_environment_is_no_other_value(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [digest(ENVIRONMENT), digest({"k": [f"Bearer {ENVIRONMENT}"] * 100})]
    other = "r0t4t3dr0t4t3d0005-longer"

    monkeypatch.setenv("SOME_API_KEY", other)

    assert [digest(other), digest({"k": [f"Bearer {other}"] * 100})] == before
    assert digest(ENVIRONMENT) != before[0]


def test_another_key_of_a_known_shape_under_a_secrets_name_is_no_other_value() -> None:
    assert digest(SHAPED, "api_key") == digest("sk-4n0th3rk3y0fth4tsh4p3", "api_key")
    assert digest(Agent(SHAPED)) == digest(Agent("sk-4n0th3rk3y0fth4tsh4p3"))
    assert digest(SHAPED, "api_key") != digest(SHAPED, "other_key")


def test_anything_else_counts_by_its_value() -> None:
    assert digest(NAMED, "password") != digest(NAMED + "1", "password")
    assert digest([SHAPED, "a"]) != digest(["sk-4n0th3rk3y0fth4tsh4p3", "a"])
    assert digest({"cache_key": NAMED}) != digest({"cache_key": NAMED + "1"})


def test_what_was_met_before_does_not_change_a_digest() -> None:
    before = digest([NAMED, {"a": NAMED}])
    VAULT.meet("api_key", NAMED)

    assert digest([NAMED, {"a": NAMED}]) == before


def test_a_digest_of_a_guessable_secret_takes_long_to_make(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    monkeypatch.setattr("kitaru_nb.artifacts.digest._slow", lambda made: asked.append(made) or b"s" * 32)

    assert digest(NAMED, "password") == (b"s" * 32).hex()
    digest(ENVIRONMENT)
    digest("plain text that is none")
    assert len(asked) == 1


# --- words --------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [ENVIRONMENT, 'qu"\\3d-4nd-l0ng-ü', "p@ss/w0rd+w1th=s1gns"])
def test_no_spelling_of_a_secret_is_left_in_words(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", secret)
    forms = [*spellings(secret)[:4], *spellings(secret)[6:]]
    text = " ".join(["begin", *(form.decode() for form in forms), "end"])

    masked = VAULT.mask(text)

    assert masked == " ".join(["begin", *["secret:env:SOME_API_KEY"] * len(forms), "end"])


def test_words_without_secrets_are_left_alone() -> None:
    text = "the key to a token is a secret password, see https://host:8080/a@b"

    assert VAULT.mask(text) is text


def test_a_source_is_masked_alike_in_a_process_that_knows_nothing() -> None:
    source = (
        f"api_key = '{NAMED}'\nuse(password='{NAMED}', url='x://u:{NAMED}@h', k='{SHAPED}')\n# {ENVIRONMENT}"
    )

    first = VAULT.mask_source(source)
    VAULT.hear(source)
    VAULT.meet("other", NAMED)
    again = VAULT.mask_source(source)

    assert first == again
    assert not [canary for canary in (NAMED, SHAPED, ENVIRONMENT) if canary in first]
    compile(first, "cell", "exec")


def test_a_secret_in_a_source_is_seen_whatever_stands_before_its_name() -> None:
    source = f"connect({{'user': 'ana', 'client_secret': '{NAMED}'}})"

    assert NAMED not in VAULT.mask_source(source)


def test_json_is_masked_by_the_names_in_it() -> None:
    masked = VAULT.mask_json({"api_key": NAMED, "rows": [1, {"token": SHAPED}], "name": "x"})

    assert masked == {
        "api_key": "secret:name:api_key",
        "rows": [1, {"token": "secret:name:token"}],
        "name": "x",
    }


def test_a_fingerprint_is_the_users_own(tmp_path: Path) -> None:
    mine, yours = Vault(tmp_path / "a" / "key"), Vault(tmp_path / "b" / "key")

    assert mine.fingerprint(NAMED) == Vault(tmp_path / "a" / "key").fingerprint(NAMED)
    assert mine.fingerprint(NAMED) != yours.fingerprint(NAMED)
    assert (tmp_path / "a" / "key").stat().st_mode & 0o777 == 0o600


# --- Secret -------------------------------------------------------------------------------------


def test_a_secret_shows_its_name_and_reveals_its_value() -> None:
    secret = kt.Secret("SOME_API_KEY")

    assert (repr(secret), str(secret), f"{secret}") == ("Secret('SOME_API_KEY')",) * 3
    assert secret.reveal() == ENVIRONMENT
    assert secret == kt.Secret.env("SOME_API_KEY")
    assert ENVIRONMENT.encode() not in pickle.dumps(secret)
    assert pickle.loads(pickle.dumps(secret)) == secret


def test_a_secret_that_is_not_set_says_what_to_set() -> None:
    with pytest.raises(UsageError, match="`NO_SUCH_KEY` is not set") as raised:
        kt.Secret("NO_SUCH_KEY").reveal()

    assert raised.value.kind == "missing-secret"


def test_a_secret_that_was_asked_for_is_kept_in_memory_and_stored_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("getpass.getpass", lambda _prompt: NAMED)
    secret = kt.Secret.ask("TYPED_KEY")

    meta, buffers = stored({"client": secret, "header": f"Bearer {secret.reveal()}"})

    assert NAMED.encode() not in b"".join(buffers)
    assert loaded(meta, buffers)[0] == {"client": secret, "header": f"Bearer {NAMED}"}
    VAULT.forget()
    assert is_marker(loaded(meta, buffers)[0]["header"])


@pytest.mark.parametrize(
    "shown",
    [
        "{'user': 'ana', 'client_secret': '%s'}",
        "Login(password='%s', n=1)",
        '{"auth-token": "%s"}',
        "<Kind.SECRET_TOKEN: '%s'>",
        "[('X-Api-Key', b'%s')]",
        "RuntimeError: bad login {'api_key': '%s'}",
        "401 Client Error: Unauthorized for url: https://api.example/v1?n=3&api_key=%s&m=4",
    ],
)
def test_what_python_shows_under_a_secrets_name_is_masked(shown: str) -> None:
    masked = VAULT.mask_shown(shown % NAMED)

    assert NAMED not in masked
    assert "secret:name:" in masked
    assert NAMED not in dict(VAULT._met)  # what is only shown is no secret anywhere else


@pytest.mark.parametrize(
    "shown",
    [
        "{'key': 'user-1234-abcd-5'}",
        "{'primary_key': 'user-1234-abcd'}",
        "token='a word or two more'",
        "x='1'",
    ],
)
def test_what_python_shows_under_another_name_is_left_alone(shown: str) -> None:
    assert VAULT.mask_shown(shown) == shown
