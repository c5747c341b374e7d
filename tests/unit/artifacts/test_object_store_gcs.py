"""The store in a bucket of Google Cloud Storage, as far as its emulator goes (`tests.gcs_server`)."""

from __future__ import annotations

import pytest

from tests.bucket_suite import BucketSuite
from tests.gcs_server import BUCKET, GcsServer, gcs_options

pytest.importorskip("obstore", reason="obstore is not installed", exc_type=ImportError)


class TestGoogleCloudStorage(BucketSuite):
    place = f"gs://{BUCKET}"

    @pytest.fixture
    def server(self, gcs_server: GcsServer) -> GcsServer:
        return gcs_server

    def options(self, endpoint: str, **more: str) -> dict[str, str]:
        return gcs_options(endpoint, **more)
