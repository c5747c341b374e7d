"""Azurite, the Azure Storage emulator, on this machine. It is JavaScript: `make test-azure` brings it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.patience import PATIENCE
from tests.ports import free_ports

CONTAINER, ACCOUNT = "kitaru", "kitarutests"
KEY = base64.b64encode(secrets.token_bytes(32)).decode()

_PROGRAM = Path(__file__).parent / "azure" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
_VERSION = "2021-12-02"


class AzureServer:
    """Azurite's blob service, kept in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (self.port,) = free_ports(1)
        options = [f"--blobPort={self.port}", "--blobHost=127.0.0.1", "--inMemoryPersistence"]
        options += ["--disableTelemetry", "--silent", "--skipApiVersionCheck"]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [_node(), str(_PROGRAM), *options],
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
            )
        self._wait()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _wait(self) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return self._make_container()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    log = (self._folder / "log").read_text(encoding="utf-8", errors="replace")
                    self.stop()
                    raise RuntimeError(f"Azurite did not start:\n{log[-3000:]}") from None
                time.sleep(0.05)

    def _make_container(self) -> None:
        """Ask for the container as Azure wants it: obstore reads and writes blobs and makes none."""
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": _VERSION}
        named = "".join(f"{name}:{value}\n" for name, value in headers.items())
        place = f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
        signed = hmac.digest(
            base64.b64decode(KEY), f"PUT{12 * chr(10)}{named}{place}".encode(), hashlib.sha256
        )
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(signed).decode()}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("PUT", f"/{ACCOUNT}/{CONTAINER}?restype=container", headers=headers)
            answer = connection.getresponse()
            assert answer.status == 201, answer.read()
        finally:
            connection.close()


@contextmanager
def started(folder: Path) -> Iterator[AzureServer]:
    """A server in `folder` that is gone afterwards; the test is skipped where there is none to start."""
    pytest.importorskip("obstore", reason="obstore is not installed", exc_type=ImportError)
    if not _PROGRAM.exists():
        pytest.skip("Azurite is not installed: make test-azure")
    server = AzureServer(folder)
    try:
        yield server
    finally:
        server.stop()


def azure_options(endpoint: str, **more: str) -> dict[str, str]:
    """What a store needs to know to get to the server at `endpoint`, and not to wait long for it."""
    return {
        "endpoint": endpoint,
        "account_name": ACCOUNT,
        "account_key": KEY,
        "max_retries": "1",
        "retry_timeout": "10",
        **more,
    }


def _node() -> str:
    """The Node that Playwright's wheel brings: the same everywhere, and new enough."""
    driver = pytest.importorskip("playwright._impl._driver", reason="playwright is not installed")
    return str(driver.compute_driver_executable()[0])
