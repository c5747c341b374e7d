"""Who gets notices in tests: a web server and a mail server, both real, on loopback."""

from __future__ import annotations

import json
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WebReceiver(ThreadingHTTPServer):
    """Answers with `status`, and keeps what came."""

    daemon_threads = True

    def __init__(
        self, status: int = 204, headers: dict[str, str] | None = None, *, silent: bool = False
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.headers = headers or {}
        self.silent = silent
        self.over = threading.Event()
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.place}/hook?a=1"

    @property
    def documents(self) -> list[dict]:
        return [json.loads(body) for _, _, body in self.requests]

    def handle_error(self, request, client_address) -> None:
        """A client that gives up is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: WebReceiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        if self.server.silent:
            self.server.over.wait(60)
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args) -> None:
        pass


class MailReceiver(socketserver.ThreadingTCPServer):
    """Takes every mail; with `refuses`, none."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *, refuses: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.refuses = refuses
        self.mails: list[str] = []
        self.commands: list[str] = []

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Conversation(socketserver.StreamRequestHandler):
    server: MailReceiver

    def handle(self) -> None:
        self._say("220 here")
        while line := self.rfile.readline().decode().strip():
            self.server.commands.append(line)
            match line.split()[0].upper():
                case "QUIT":
                    self._say("221 bye")
                    return
                case "EHLO":
                    self._say("250-here")
                    self._say("250 AUTH PLAIN LOGIN")
                case "AUTH":
                    self._say("235 welcome")
                case "RCPT" if self.server.refuses:
                    self._say("550 nobody of that name")
                case "DATA":
                    self._say("354 go on")
                    lines = iter(self.rfile.readline, b".\r\n")
                    self.server.mails.append(b"".join(lines).decode())
                    self._say("250 taken")
                case _:
                    self._say("250 fine")

    def _say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")


@contextmanager
def running(server):
    """`server` while it answers."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        if isinstance(server, WebReceiver):
            server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
