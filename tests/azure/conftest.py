"""Azurite, started when the first test asks for it."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.azure_server import AzureServer, started


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[AzureServer, None, None]:
    """The official emulator of Azure Storage."""
    with started(tmp_path_factory.mktemp("azure")) as server:
        yield server
