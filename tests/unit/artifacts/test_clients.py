"""Clients of web services: stored by how they were made, without secrets and open connections."""

from __future__ import annotations

import functools
import sys
import threading
import types
from http.cookiejar import Cookie, CookieJar
from typing import Any
from urllib.request import Request

import pytest

from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.artifacts.notes import Note, noting
from kitaru_nb.artifacts.pickle_codec import PickleCodec
from kitaru_nb.artifacts.vault import VAULT

KEY = "a-secret-that-is-long-enough"
VARIABLE = "SOME_SDK_API_KEY"


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package shaped like the generated SDKs (`openai`, `anthropic`): a client around a pool."""
    package, base, core = (
        types.ModuleType(name) for name in ("some_sdk", "some_sdk._base_client", "httpcore")
    )

    class BaseClient:
        def __init__(self, api_key: str, url: str = "http://x") -> None:
            self.api_key, self.url = api_key, url
            self.pool = core.ConnectionPool()

        @functools.cached_property
        def chat(self) -> object:
            return object()

    class Interface:
        pass

    class ConnectionPool(Interface):
        def __init__(self) -> None:
            self._connections: list[Any] = []
            self._requests: list[Any] = []
            self._optional_thread_lock = threading.Lock()
            self._max_connections = 7

    class Client(BaseClient):
        pass

    for module, cls in ((base, BaseClient), (core, Interface), (core, ConnectionPool), (package, Client)):
        cls.__module__, cls.__qualname__ = module.__name__, cls.__name__
        setattr(module, cls.__name__, cls)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv(VARIABLE, KEY)
    return package


def stored(client: object) -> Any:
    return PickleCodec().encode({"client": client}, namespace={})


def loaded(encoded: Any) -> tuple[Any, list[Note]]:
    buffers = [memoryview(bytearray(buffer)) for buffer in encoded.buffers]
    with noting() as notes:
        return PickleCodec().decode(encoded.meta, buffers.__getitem__, namespace={})["client"], notes


def digest(value: object) -> str:
    return digest_values({"x": value}, namespace={})


def test_a_client_comes_back_with_its_settings_and_no_connection(sdk: Any) -> None:
    client = sdk.Client(KEY, "http://y")
    client.pool._connections.append(object())

    back, notes = loaded(stored(client))

    assert (back.api_key, back.url, back.pool._max_connections) == (KEY, "http://y", 7)
    assert back.pool._connections == []
    assert ("some_sdk.Client", f"with the key in `{VARIABLE}`") in {(note.kind, note.text) for note in notes}


def test_its_key_is_not_in_the_bytes(sdk: Any) -> None:
    encoded = stored(sdk.Client(KEY))

    assert KEY.encode() not in b"".join(bytes(buffer) for buffer in encoded.buffers)


def test_without_its_key_a_marker_says_which_variable(sdk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = stored(sdk.Client(KEY))
    monkeypatch.delenv(VARIABLE)
    VAULT.forget()

    back, notes = loaded(encoded)

    assert is_marker(back)
    assert [note.text for note in notes if note.lost] == [f"the environment variable `{VARIABLE}` is not set"]


def test_a_key_that_is_given_in_code_is_not_stored(sdk: Any) -> None:
    encoded = stored(sdk.Client("sk-abcdefghijklmnopqrstuvwxyz"))

    assert b"abcdefghijklmnop" not in b"".join(bytes(buffer) for buffer in encoded.buffers)
    assert loaded(encoded)[0].api_key == "sk-abcdefghijklmnopqrstuvwxyz"
    VAULT.forget()
    assert is_marker(loaded(encoded)[0])


def test_another_key_that_is_given_in_code_is_no_other_client(sdk: Any) -> None:
    assert digest(sdk.Client("sk-abcdefghijklmnopqrstuvwxyz")) == digest(
        sdk.Client("sk-zyxwvutsrqponmlkjihgfedcba")
    )


def test_a_placeholder_key_is_kept(sdk: Any) -> None:
    back, _ = loaded(stored(sdk.Client("test")))

    assert back.api_key == "test"


def test_using_a_client_does_not_change_what_it_counts_as(sdk: Any) -> None:
    client = sdk.Client(KEY)
    before = digest(client)

    client.chat  # noqa: B018 - looking it up fills a cache
    client.pool._connections.append(object())

    assert digest(client) == before
    assert digest(sdk.Client(KEY, "http://y")) != before


def test_a_key_that_reads_like_a_name_takes_no_attribute_for_its_value(sdk: Any) -> None:
    client = sdk.Client("fake-key")
    held = dict(vars(client))
    vars(client).clear()
    vars(client).update({"api_key": "fake-key", "_api_key_provider": None, **held, "secret": KEY})

    again, _ = loaded(stored(client))

    assert again.api_key == "fake-key"
    assert list(vars(again))[:2] == ["api_key", "_api_key_provider"]


def test_a_jar_of_cookies_is_the_same_one_after_a_request_in_another_second() -> None:
    jar = CookieJar()
    before = digest(jar)

    jar.add_cookie_header(Request("http://x.test/"))

    assert jar._now  # it has noted the time
    assert digest(jar) == before
    back, _ = loaded(stored(jar))
    back.add_cookie_header(Request("http://x.test/"))
    assert digest(back) == before


def test_a_jar_of_cookies_is_another_one_with_another_cookie() -> None:
    jar = CookieJar()
    before = digest(jar)

    jar.set_cookie(
        Cookie(0, "a", "1", None, False, "x.test", True, False, "/", True, False, None, True, None, None, {})
    )

    assert digest(jar) != before
