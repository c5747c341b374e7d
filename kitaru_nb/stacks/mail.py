"""One mail to somebody who wants to be told."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Collection
from email.message import EmailMessage
from email.utils import formatdate
from urllib.parse import unquote, urlsplit

from kitaru_nb.errors import StoreError, UsageError
from kitaru_nb.stacks.public_hosts import ALLOWED, open_connection

__all__ = ["send_mail"]


class _Server(smtplib.SMTP):
    """A mail server at an address that was looked at; with `tls` encrypted from the first byte."""

    def __init__(
        self, host: str, port: int, *, timeout: float, allowed: Collection[str], tls: ssl.SSLContext | None
    ) -> None:
        self._allowed = allowed
        self._tls = tls
        super().__init__(host, port, timeout=timeout)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = open_connection(host, port, timeout=timeout, allowed=self._allowed)
        return plain if self._tls is None else self._tls.wrap_socket(plain, server_hostname=host)


def send_mail(
    address: str,
    *,
    server: str,
    sender: str | None,
    subject: str,
    text: str,
    notice: str,
    timeout: float,
    allowed: Collection[str] = frozenset(),
) -> None:
    """Hand a mail to a server, encrypted where the server can; a password goes over nothing else.

    Args:
        address: Who gets it.
        server: ``smtp://[USER:PASSWORD@]HOST[:PORT]``, or ``smtps://`` where it is encrypted from
            the start.
        sender: Who it is from.
        subject: What it is about, on one line.
        text: What it says.
        notice: What a mail is known by that was sent before.
        timeout: Seconds for each answer.
        allowed: See `public_hosts.open_connection`.

    Raises:
        UsageError: kind ``private-address``, ``not-encrypted``, ``bad-notify``.
        StoreError: kind ``not-taken``: the server refused it.
        OSError: it could not be reached.
    """
    parts = urlsplit(server)
    host, direct = parts.hostname or "", parts.scheme == "smtps"
    if parts.scheme not in ("smtp", "smtps") or not host:
        raise UsageError("the mail server is no URL smtp://HOST", kind="bad-notify")
    port = parts.port or (465 if direct else 587 if parts.username else 25)
    context = ssl.create_default_context()
    message = EmailMessage()
    message["Subject"] = " ".join(subject.split())
    message["From"] = sender or f"kitaru-nb@{socket.gethostname()}"
    message["To"] = address
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{notice}@kitaru-nb>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    try:
        tls = context if direct else None
        with _Server(host, port, timeout=timeout, allowed=allowed, tls=tls) as smtp:
            smtp.ehlo_or_helo_if_needed()
            encrypted = direct
            if not direct and smtp.has_extn("starttls"):
                smtp.starttls(context=context)
                encrypted = True
            if parts.username:
                if not encrypted and not {host, f"{host}:{port}"} & set(allowed):
                    raise UsageError(
                        f"the mail server `{host}` takes no encrypted connection, and no password goes there",
                        kind="not-encrypted",
                        hint=f"smtps://…, or export {ALLOWED}={host}:{port}",
                    )
                smtp.login(unquote(parts.username), unquote(parts.password or ""))
            smtp.send_message(message)
    except smtplib.SMTPException as error:
        # its text can hold what the server said about the address or the password
        raise StoreError(
            f"`{host}` did not take the mail: {type(error).__name__}", kind="not-taken"
        ) from error
