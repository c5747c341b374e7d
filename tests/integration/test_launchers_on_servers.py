"""The suite of launchers where everything is recorded on servers: PostgreSQL, and values in S3."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from kitaru_nb.model.stack import Stack
from kitaru_nb.testing.launcher_suite import LauncherSuite
from tests.further import further_in
from tests.postgres_server import PostgresServer
from tests.s3_server import BUCKET, KEY, SECRET, S3Server


@further_in(
    "test_what_the_worker_prints_can_be_read_from_any_byte_on",
    "test_a_cell_that_raises_is_a_failed_run",
    "test_a_failed_run_is_tried_again_by_the_worker",
    "test_a_worker_that_is_asked_to_end_leaves_a_run_that_goes_on",
    "test_many_are_submitted_at_once",
    "test_a_job_that_never_begins_is_given_up_with_what_it_said",
    "test_an_unknown_job_is_lost_and_cannot_be_harmed",
)
class TestLocalOnServers(LauncherSuite):
    @pytest.fixture(autouse=True)
    def _servers(
        self, s3_server: S3Server, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TEAM_SIGNING_KEY", "a-key-that-only-these-tests-sign-with")
        monkeypatch.setenv("TEAM_S3_KEY", KEY)
        monkeypatch.setenv("TEAM_S3_SECRET", SECRET)
        self.s3, self.postgres = s3_server, postgres_server

    def stack(self, folder: Path) -> Stack:
        name = f"l{uuid.uuid4().hex[:12]}"
        return Stack(
            "team",
            store=f"s3://{BUCKET}/{name}",
            journal=self.postgres.schema(name),
            signing_key="secret:env:TEAM_SIGNING_KEY",
            options={
                "endpoint": self.s3.endpoint,
                "region": "us-east-1",
                "access_key_id": "secret:env:TEAM_S3_KEY",
                "secret_access_key": "secret:env:TEAM_S3_SECRET",
            },
        )
