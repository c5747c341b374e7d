"""Clients of web services: stored by how they were made, without what is open and without secrets.

A client of an HTTP library or SDK is its settings around a pool of connections. The settings
are stored, the pool comes back empty. A key that stands in the environment is stored as the
name of its variable and filled in when the client is made again; a key that is given in code is
not stored, and the client is then not made again by itself.

The public names here are part of the stored format: pickles refer to them, so they may not
move or change their meaning.
"""

from __future__ import annotations

import builtins
import importlib
import sys
import weakref
from collections.abc import Callable
from typing import Any

from kitaru_nb.artifacts.anew import NOTED, Unstorable
from kitaru_nb.artifacts.hidden import live_value, why_missing
from kitaru_nb.artifacts.kinds import is_cached, kind_name
from kitaru_nb.artifacts.marker import Marker
from kitaru_nb.artifacts.notes import place, say_lost, say_made
from kitaru_nb.artifacts.vault import VAULT, Ref

__all__ = [
    "is_client",
    "keeps_cookies",
    "make_aws_client",
    "make_aws_resource",
    "make_aws_session",
    "make_client",
    "reduce_client",
    "reduce_cookies",
    "set_client",
]


def is_client(cls: type) -> bool:
    """Whether instances of `cls` are clients, or pools of connections of an HTTP library."""
    # Asked for every class of every look: most are no one's child.
    if len(cls.__mro__) <= _ALONE:
        return cls.__module__ == "boto3.session" and _way(cls) is not None
    return cls not in _BUILTIN and _way(cls) is not None


_ALONE = 2  # the class and `object`
_BUILTIN = frozenset(found for found in vars(builtins).values() if isinstance(found, type))


def _way(cls: type) -> Callable[[Any], Any] | None:
    if cls not in _ways:
        _ways[cls] = _way_of(cls)
    return _ways[cls]


_ways: weakref.WeakKeyDictionary[type, Callable[[Any], Any] | None] = weakref.WeakKeyDictionary()


def _way_of(cls: type) -> Callable[[Any], Any] | None:
    for base in cls.__mro__:
        module, name = str(base.__module__), base.__qualname__
        root = module.partition(".")[0]
        if root.startswith("httpcore") and name.endswith(("ConnectionPool", "HTTPProxy")):
            return _reduce_pool
        if (root.startswith("httpx") and name == "BaseClient") or (
            module.endswith("._base_client") and name == "BaseClient"
        ):
            return _reduce_settings
        if module == "botocore.client" and name == "BaseClient":
            return _reduce_aws_client
        if module == "boto3.session" and name == "Session":
            return _reduce_aws_session
        if module == "boto3.resources.base" and name == "ServiceResource":
            return _reduce_aws_resource
    return None


def reduce_client(client: Any) -> Any:
    """How a client or pool is stored.

    Raises:
        Unstorable: it holds credentials in a way that cannot be told again.
    """
    way = _way(type(client))
    assert way is not None  # asked before, by `is_client`
    return way(client)


def _reduce_pool(pool: Any) -> Any:
    state = {**vars(pool), "_connections": [], "_requests": []}
    lock: Any = state.get("_optional_thread_lock")
    if str(type(lock).__module__).startswith("httpcore"):  # it may belong to a loop
        state["_optional_thread_lock"] = type(lock)()
    return make_client, (type(pool), {}, kind_name(pool)), state, None, None, set_client


def _reduce_settings(client: Any) -> Any:
    cls = type(client)
    state = {name: value for name, value in vars(client).items() if not is_cached(cls, name)}
    opened: Any = state.get("_state")
    if getattr(opened, "name", None) == "OPENED":
        state["_state"] = type(opened).UNOPENED
    if cls.__module__.endswith("._base_client"):  # an SDK's own HTTP client: its cookies are the server's
        cookies = state.get("_cookies")
        state["_cookies"] = type(cookies)() if cookies is not None else None
    secrets: dict[str, str] = {}
    known: dict[str, str] = {}
    for name, value in list(state.items()):
        if isinstance(value, str):
            parts = VAULT.parts(value, name)
            if parts is not None and len(parts) == 1 and isinstance(parts[0], Ref):
                ref = parts[0]
                secrets[name] = ref.name if ref.label.startswith("env:") else ""
                known[name] = f"{ref.label} {ref.fingerprint}"  # with a space: no secret itself
                state[name] = None
    return make_client, (cls, secrets, kind_name(client), known), state, None, None, set_client


def keeps_cookies(cls: type) -> bool:
    """Whether instances of `cls` are jars of cookies, or their policies."""
    module: Any = sys.modules.get("http.cookiejar")
    return module is not None and issubclass(cls, (module.CookieJar, module.DefaultCookiePolicy))


def reduce_cookies(obj: Any) -> Any:
    """How a jar of cookies, or its policy, is stored; None for anything else.

    Each of them notes the time of the request that it saw last. With it a client would be another
    one in each second that it is used.
    """
    if not keeps_cookies(type(obj)):
        return None
    value = obj.__reduce_ex__(5)
    if not isinstance(value, tuple) or len(value) < 3 or type(value[2]) is not dict:  # no state
        return None
    state = {name: held for name, held in value[2].items() if name != "_now"}
    return *value[:2], state, *value[3:]


def make_client(cls: Any, secrets: dict[str, str], kind: str, known: dict[str, str] | None = None) -> Any:
    """A client without its settings; a marker when a secret it needs is not known here.

    Args:
        cls: Its class.
        secrets: Attributes with the environment variable of the secret they hold, if it is in one.
        kind: What to call it.
        known: Labels and fingerprints of these secrets; another key is no other client.
    """
    made = cls.__new__(cls)
    for name, variable in secrets.items():
        ref = Ref(*(known or {}).get(name, f"env:{variable} ").rsplit(" ", 1))
        value = VAULT.find(ref, live_value)
        if value is None:
            return _not_made(kind, why_missing(ref))
        vars(made)[name] = value
    variable = next(iter(secrets.values()), "")
    say_made(kind, f"with the key in `{variable}`" if variable else "")
    return made


NOTED[object.__hash__(make_client)] = 3


def set_client(client: Any, state: dict[str, Any]) -> None:
    """Give a client made by `make_client` its settings, in the order they had."""
    if type(client) is Marker:
        return
    filled = dict(vars(client))
    vars(client).clear()
    vars(client).update({name: filled.get(name, value) for name, value in state.items()})


def _not_made(kind: str, reason: str) -> Marker:
    say_lost(kind, reason)
    return Marker(place(), kind, reason)


# --- AWS --------------------------------------------------------------------------------------


def _reduce_aws_client(client: Any) -> Any:
    return make_aws_client, (*_aws(client), _options(client.meta.config))


def _reduce_aws_resource(resource: Any) -> Any:
    client = resource.meta.client
    if type(resource).__qualname__ != f"{resource.meta.service_name}.ServiceResource":
        raise Unstorable("it belongs to a service resource that makes it")
    return make_aws_resource, (*_aws(client), _options(client.meta.config))


def _options(config: Any) -> dict[str, Any]:
    held = vars(config)
    return {
        name: held[name] for name in type(config).OPTION_DEFAULTS if name in held and name != "user_agent"
    }


def _reduce_aws_session(session: Any) -> Any:
    _refuse_literal(session._session._credentials)
    return make_aws_session, (session.region_name, session._session.profile)


def _refuse_literal(credentials: Any) -> None:
    if credentials is not None and getattr(credentials, "method", None) == "explicit":
        raise Unstorable(
            "its credentials are given in code, and secrets are not stored; put them into the environment"
        )


def make_aws_session(region: str | None, profile: str | None) -> Any:
    """A boto3 session with the credentials that this process finds."""
    try:
        made = importlib.import_module("boto3").Session(region_name=region, profile_name=profile)
    except Exception as error:  # noqa: BLE001 - whatever boto3 raises without that profile, say
        return _not_made("boto3 session", f"{type(error).__name__}: {error}")
    say_made("boto3 session", "with the credentials found here")
    return made


def _aws(client: Any) -> tuple[str, str | None, str | None]:
    _refuse_literal(client._request_signer._credentials)
    return client.meta.service_model.service_name, client.meta.region_name, client.meta.endpoint_url


def make_aws_client(service: str, region: str | None, endpoint: str | None, options: dict[str, Any]) -> Any:
    """A boto3 client with the credentials that this process finds."""
    return _aws_made("client", service, region, endpoint, options)


def make_aws_resource(service: str, region: str | None, endpoint: str | None, options: dict[str, Any]) -> Any:
    """A boto3 resource with the credentials that this process finds."""
    return _aws_made("resource", service, region, endpoint, options)


def _aws_made(
    what: str, service: str, region: str | None, endpoint: str | None, options: dict[str, Any]
) -> Any:
    kind = f"boto3 {service} {what}"
    try:
        maker = getattr(importlib.import_module("boto3"), what)
        config = importlib.import_module("botocore.config").Config(**options)
        made = maker(service, region_name=region, endpoint_url=endpoint, config=config)
    except Exception as error:  # noqa: BLE001 - whatever boto3 raises without a region, say
        return _not_made(kind, f"{type(error).__name__}: {error}")
    say_made(kind, "with the credentials found here")
    return made
