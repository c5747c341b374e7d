"""The setting `notify`, as people write it: in a variable, a project's file, the settings of a stack."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from kitaru_nb.errors import UsageError
from kitaru_nb.model.notice import NOBODY, USUAL, NoticeKind, Notify, Target

__all__ = ["OWN_SECRETS", "SECRET", "SERVER", "notify_of"]

OWN_SECRETS = "KITARU_NB_NOTIFY_"
"""How variables are called that a project's file may refer to: it can come with somebody's folder."""

SECRET = f"secret:env:{OWN_SECRETS}SECRET"
"""What webhooks are signed with that name nothing else."""

SERVER = f"secret:env:{OWN_SECRETS}SMTP"
"""The server of mails that name nothing else."""

_REFERENCE = re.compile(r"secret:env:[A-Za-z_][A-Za-z0-9_]*")
_ADDRESS = re.compile(r"[^\s@<>,;:\"\\]+@[^\s@<>,;:\"\\]+")
_KEYS = ("to", "on", "secret", "server", "from")
_HINT = 'notify = [{ to = "https://…", on = ["failed", "waiting"], secret = "secret:env:NAME" }]'


def notify_of(raw: object, *, what: str) -> Notify:
    """Whom to tell.

    Text holds targets with spaces between, and perhaps ``on=failed,completed``; or JSON. Else it is
    a target or a list of them, each as text or as a table.

    Raises:
        UsageError: kind ``bad-notify``, or ``secret-in-settings`` for a secret that is written out.
    """
    if isinstance(raw, str) and raw.strip()[:1] in ("[", "{"):
        try:
            raw = json.loads(raw)
        except ValueError as error:
            raise _bad(what, f"it is not JSON: {error}") from None
    if raw is False or (isinstance(raw, str) and raw.strip().lower() in ("off", "false")):
        return NOBODY
    given: Sequence[Any] = raw if isinstance(raw, list | tuple) else [raw]
    targets = [target for each in given for target in _targets(each, what)]
    return Notify(tuple(dict.fromkeys(targets)))


def _targets(raw: object, what: str) -> list[Target]:
    if isinstance(raw, Target):
        return [raw]
    if isinstance(raw, str):
        words = raw.split()
        chosen = [word.removeprefix("on=") for word in words if word.startswith("on=")]
        on = _kinds(",".join(chosen).split(","), what) if chosen else USUAL
        told = [_target({"to": word}, on, what) for word in words if not word.startswith("on=")]
        if not told:
            raise _bad(what, f"`{raw}` names nobody")
        return told
    if not isinstance(raw, Mapping):
        raise _bad(what, f"`{raw}` is neither text nor a table")
    if unknown := [key for key in raw if key not in _KEYS]:
        raise _bad(what, f"`{unknown[0]}` means nothing there; there is only {', '.join(_KEYS)}")
    on = raw.get("on", list(USUAL))
    kinds = [on] if isinstance(on, str) else on
    if not isinstance(kinds, list | tuple):
        raise _bad(what, f"`on` is `{on}`")
    return [_target({k: v for k, v in raw.items() if k != "on"}, _kinds(kinds, what), what)]


def _kinds(names: Sequence[object], what: str) -> tuple[NoticeKind, ...]:
    known = {str(kind): kind for kind in NoticeKind}
    for name in names:
        if name not in known:
            raise _bad(what, f"`{name}` is nothing that is told; there is only {', '.join(known)}")
    return tuple(dict.fromkeys(known[str(name)] for name in names))


def _target(table: Mapping[str, object], on: tuple[NoticeKind, ...], what: str) -> Target:
    for key, value in table.items():
        if not isinstance(value, str) or not value.strip():
            raise _bad(what, f"`{key}` is not text")
    texts = {key: str(value).strip() for key, value in table.items()}
    to = texts.get("to", "")
    to = f"mailto:{to}" if _ADDRESS.fullmatch(to) else to
    _check_to(to, what)
    secret, server = texts.get("secret"), texts.get("server")
    if secret is not None and not _REFERENCE.fullmatch(secret):
        raise _written_out(what, "the `secret` of a webhook", "SECRET")
    if server is not None and not _REFERENCE.fullmatch(server):
        _check_url(server, ("smtp", "smtps"), what)
    sender = texts.get("from")
    if sender is not None and not _ADDRESS.fullmatch(sender):
        raise _bad(what, f"`from` is `{sender}`, which is no address")
    return Target(to, on, secret, server, sender)


def _check_to(to: str, what: str) -> None:
    if _REFERENCE.fullmatch(to):
        return
    if to.startswith("mailto:"):
        if not _ADDRESS.fullmatch(to.removeprefix("mailto:")):
            raise _bad(what, f"`{to}` is no address")
        return
    scheme = to.partition("://")[0] if "://" in to else ""
    if scheme and scheme not in ("http", "https"):
        raise _written_out(what, f"a URL `{scheme}://…` of apprise, which holds a password or token,", "URL")
    _check_url(to, ("http", "https"), what)


def _check_url(url: str, schemes: Sequence[str], what: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isprintable():
        raise _bad(what, f"`{url}` is no URL {schemes[-1]}://…")
    if parts.username or parts.password:
        raise _written_out(what, f"the password in `{parts.scheme}://…@{parts.hostname}`", "URL")


def _written_out(what: str, which: str, name: str) -> UsageError:
    return UsageError(
        f"{what} holds a secret that is written out: {which} belongs into an environment variable of its own",
        kind="secret-in-settings",
        hint=f'"secret:env:{OWN_SECRETS}{name}", and export {OWN_SECRETS}{name}',
    )


def _bad(what: str, why: str) -> UsageError:
    return UsageError(f"{what}: {why}", kind="bad-notify", hint=_HINT)
