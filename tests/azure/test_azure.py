"""The store in Azure Blob Storage, against Azurite: `make test-azure`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from kitaru_nb.artifacts.object_store import ObjectStore
from kitaru_nb.errors import StoreError
from tests.azure_server import ACCOUNT, CONTAINER, KEY, AzureServer, azure_options
from tests.bucket_suite import BucketSuite


class TestAzure(BucketSuite):
    place = f"az://{CONTAINER}"

    @pytest.fixture
    def server(self, azure_server: AzureServer) -> AzureServer:
        return azure_server

    def options(self, endpoint: str, **more: str) -> dict[str, str]:
        return azure_options(endpoint, **more)

    @pytest.mark.parametrize("scheme", ["azure", "abfs", "abfss"])
    def test_every_spelling_of_a_url_leads_to_the_same_place(self, home: Path, scheme: str) -> None:
        url = self._url(home)
        ObjectStore(url, options=self.options(self._endpoint), owner="me").check()

        same = url.replace("az://", f"{scheme}://")
        with pytest.raises(StoreError, match="belongs to another journal"):
            ObjectStore(same, options=self.options(self._endpoint), owner="another").check()

    def test_the_account_may_stand_in_the_url(self, home: Path) -> None:
        url = self._url(home).replace(
            f"az://{CONTAINER}", f"abfs://{CONTAINER}@{ACCOUNT}.dfs.core.windows.net"
        )
        options = self.options(self._endpoint)
        del options["account_name"]

        ObjectStore(url, options=options).check()

    @pytest.mark.parametrize("given", ["option", "environment"])
    def test_a_connection_string_is_enough(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, given: str
    ) -> None:
        text = f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={self._endpoint}"
        if given == "environment":
            monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
        options = {"connection_string": text} if given == "option" else {}

        ObjectStore(self._url(home), options=options).check()

    @pytest.mark.parametrize(
        ("wrong", "kind", "why"),
        [
            ({"account_key": "d3JvbmctaHVudGVyMg=="}, "store-denied", "refuses this key"),
            ({"account_key": "", "sas_key": "sv=2021-12-02&sig=hunter2"}, "store-denied", "refuses this key"),
            ({"account_name": "nobody"}, "store-denied", "refuses this key"),
            ({"endpoint": "http://127.0.0.1:1/nobody"}, "store-unreachable", "Connection refused"),
        ],
    )
    def test_what_is_wrong_is_said(self, home: Path, wrong: Mapping[str, str], kind: str, why: str) -> None:
        options = {**self.options(self._endpoint, max_retries="0"), **wrong}
        store = ObjectStore(self._url(home), options={name: each for name, each in options.items() if each})

        with pytest.raises(StoreError, match=why) as caught:
            store.check()

        told = f"{caught.value!r} {caught.value}"
        assert caught.value.kind == kind
        assert self._url(home) in told
        assert caught.value.hint
        assert "hunter2" not in told
        assert KEY not in told
