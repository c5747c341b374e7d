"""HTTP as the fake speaks it: one request in, one answer out, whole or piece by piece."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

__all__ = ["BadRequestError", "Exchange"]


class BadRequestError(Exception):
    """The request cannot be read; the message says why."""


class Exchange(BaseHTTPRequestHandler):
    """Reads JSON and writes documents and streams; what they hold is decided by whoever derives from it.

    A client that goes away in the middle is met as a `ConnectionError` of the write.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet; every write ends with a flush
    zipped = False

    def read_json(self) -> Any:
        """The body of the request.

        Raises:
            BadRequestError: It is no JSON.
        """
        try:
            return json.loads(self._read_body() or b"{}")
        except ValueError as error:
            raise BadRequestError(f"the body is not JSON: {error}") from error

    def send_document(
        self, document: object, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send `document` as JSON."""
        self.send_json(json.dumps(document).encode(), status=status, headers=headers)

    def send_json(
        self, body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None, drop: bool = False
    ) -> None:
        """Send `body`; with `drop` only half of what was announced, and then nothing more."""
        if self._zips():
            body = zlib.compress(body, wbits=31)
        self._begin(status, {"Content-Type": "application/json", "Content-Length": str(len(body))}, headers)
        self.wfile.write(body[: len(body) // 2] if drop else body)
        self.wfile.flush()
        self.close_connection |= drop

    def send_stream(
        self, events: Iterable[bytes], *, headers: Mapping[str, str] | None = None, drop: bool = False
    ) -> None:
        """Send each of `events` as it comes; with `drop` the connection is closed instead of ended."""
        chunked = self.request_version != "HTTP/1.0"
        said = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
        said |= {"Transfer-Encoding": "chunked"} if chunked else {"Connection": "close"}
        squeeze = zlib.compressobj(wbits=31) if self._zips() else None
        self._begin(200, said, headers)
        self.wfile.flush()
        for event in events:
            sent = event
            if squeeze is not None:
                sent = squeeze.compress(event) + squeeze.flush(zlib.Z_SYNC_FLUSH)
            self._send_chunk(sent, chunked=chunked)
        if drop:
            self.close_connection = True
            return
        if squeeze is not None:
            self._send_chunk(squeeze.flush(), chunked=chunked)
        if chunked:
            self._send_chunk(b"", chunked=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the standard library
        """Nothing is printed for a request; `calls` lists them."""

    def _begin(self, status: int, *headers: Mapping[str, str] | None) -> None:
        self.send_response(status)
        for some in headers:
            for name, value in (some or {}).items():
                self.send_header(name, value)
        if self._zips():
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()

    def _send_chunk(self, data: bytes, *, chunked: bool) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
        self.wfile.flush()

    def _zips(self) -> bool:
        return self.zipped and "gzip" in self.headers.get("Accept-Encoding", "")

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            continue  # trailers, up to the empty line
        return b"".join(parts)
