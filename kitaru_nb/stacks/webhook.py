"""One signed HTTP request to somebody who wants to be told.

Signed as https://www.standardwebhooks.com says, so that libraries for receivers exist.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ssl
import string
from collections.abc import Collection
from http.client import HTTPConnection, HTTPException
from urllib.parse import quote, urlsplit

from kitaru_nb.errors import StoreError, UsageError
from kitaru_nb.stacks.public_hosts import ALLOWED, open_connection

__all__ = ["header_id", "post", "signature"]

_PREFIX = "whsec_"
_PLAIN = "/:#!$&'()*+,;=@[] "  # what stays as it is in an id, beside letters and digits


def header_id(notice: str) -> str:
    """What the header ``webhook-id`` says: a header holds ASCII alone, and names are in any script."""
    return quote(notice, safe=_PLAIN)


def signature(secret: str, notice: str, timestamp: int, body: bytes) -> str:
    """What the header ``webhook-signature`` says: who does not know `secret` cannot make it."""
    key = secret.encode()
    if secret.startswith(_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            raise UsageError(
                f"the secret of the webhook begins with `{_PREFIX}`, but no base64 follows", kind="bad-notify"
            ) from None
    signed = f"{notice}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def post(
    url: str,
    body: bytes,
    *,
    secret: str,
    notice: str,
    timestamp: int,
    timeout: float,
    allowed: Collection[str] = frozenset(),
) -> None:
    """Send `body`, once. A redirect is not followed: it could lead anywhere.

    Args:
        url: Where to.
        body: JSON.
        secret: What it is signed with.
        notice: What the receiver knows a notice by that it has got before.
        timestamp: Seconds since 1970, against somebody who sends it again later.
        timeout: Seconds for each answer.
        allowed: See `public_hosts.open_connection`.

    Raises:
        UsageError: kind ``private-address``, ``not-encrypted``.
        StoreError: kind ``not-taken``: it answered with something else than 2xx.
        OSError: it could not be reached.
    """
    parts = urlsplit(url)
    host, encrypted = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if encrypted else 80)
    if not encrypted and not {host, f"{host}:{port}"} & set(allowed):
        raise UsageError(
            f"`{parts.scheme}://{host}` is not encrypted",
            kind="not-encrypted",
            hint=f"https://{host}, or export {ALLOWED}={host}:{port}",
        )
    known_by = header_id(notice)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "kitaru-nb",
        "webhook-id": known_by,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, known_by, timestamp, body),
    }
    connection = HTTPConnection(host, port, timeout=timeout)
    try:
        plain = open_connection(host, port, timeout=timeout, allowed=allowed)
        connection.sock = plain
        if encrypted:
            connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        path = quote(
            (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe="%" + string.punctuation
        )
        connection.request("POST", path, body, headers)
        status = connection.getresponse().status
    except HTTPException as error:
        raise StoreError(f"`{host}` does not speak HTTP: {type(error).__name__}", kind="not-taken") from error
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise StoreError(f"`{host}` answered {status}", kind="not-taken")
