"""What every test shares: a home of its own, and an honest account of what was skipped.

Under ``KITARU_NB_REQUIRE_ALL=1`` (CI, where everything a test can ask for is installed) a
skipped or expected-to-fail test is a failed one.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

import hypothesis
import pytest

from tests import dask_cluster as dask
from tests import gcs_server as gcs
from tests import postgres_server as postgres
from tests.dask_cluster import DaskCluster
from tests.gcs_server import GcsServer
from tests.jupyter_config import without_extensions
from tests.postgres_server import PostgresServer
from tests.s3_server import S3Server, started

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

REQUIRE_ALL = os.environ.get("KITARU_NB_REQUIRE_ALL") == "1"

# No deadline: on a busy machine it tells how busy the machine is, not what the code does.
# CI tries the same examples each time, so that what it says is about the change at hand; runs
# by hand look further.
hypothesis.settings.register_profile(
    "kitaru_nb", deadline=None, print_blob=True, derandomize="CI" in os.environ
)
hypothesis.settings.load_profile("kitaru_nb")


@pytest.fixture(autouse=True, scope="session")
def _own_jupyter(tmp_path_factory: pytest.TempPathFactory) -> Generator[None, None, None]:
    """Keep the developer's own settings out of the tests, and unharmed."""
    folder = tmp_path_factory.mktemp("jupyter")
    without_extensions(folder / "config")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("JUPYTER_CONFIG_DIR", str(folder / "config"))
        patch.setenv("XDG_CONFIG_HOME", str(folder / "user"))  # the key of fingerprints is kept there
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")  # else importing jupyter_core warns that this will come
        yield


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a store of its own; no test may touch the developer's."""
    for name in [name for name in os.environ if name.startswith("KITARU_NB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "kitaru-nb-home"))
    monkeypatch.setenv("KITARU_NB_CONFIG", str(tmp_path.with_name(f"{tmp_path.name}-config")))


@pytest.fixture(autouse=True)
def _leaves_the_collector_on() -> Generator[None, None, None]:
    """A test that left it off would fail another one, and only where both meet in one worker."""
    yield
    left_off = not gc.isenabled()
    gc.enable()
    assert not left_off, "this test left the garbage collector switched off"


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], bool]:
    """Whether a file's bytes, or the names in a folder, were synced in this test."""
    numbers: set[int] = set()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (numbers.add(os.fstat(file).st_ino), fsync(file)))
    return lambda path: path.stat().st_ino in numbers


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[S3Server, None, None]:
    """A real S3 server, started when the first test asks for it."""
    with started(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[GcsServer, None, None]:
    """An emulator of Google Cloud Storage, started when the first test asks for it."""
    with gcs.started(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Generator[PostgresServer, None, None]:
    """A real PostgreSQL server, started when the first test asks for it."""
    with postgres.started() as server:
        yield server


@pytest.fixture(scope="session")
def dask_cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[DaskCluster, None, None]:
    """A real Dask scheduler with two workers, started when the first test asks for it."""
    with dask.started(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where everything must run."""
    return _strict((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a skip of a whole module into a failure where everything must run."""
    return _strict((yield))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was left out, by reason, so that a green run does not hide it."""
    reports = [*terminalreporter.getreports("skipped"), *terminalreporter.getreports("xfailed")]
    if reports:
        terminalreporter.section("not run here")
        for reason, count in Counter(map(_reason, reports)).most_common():
            terminalreporter.write_line(f"{count:5}  {reason}")


def _strict(report: Report) -> Report:
    if REQUIRE_ALL and report.outcome == "skipped":
        report.longrepr = f"left out where everything must run: {_reason(report)}"
        report.outcome = "failed"
        report.__dict__.pop("wasxfail", None)
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return f"expected to fail: {expected or 'no reason given'}"
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")
