"""What a Dask scheduler's answers mean, and what its options may be."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import warnings
from typing import Any

import pytest

from kitaru_nb.errors import StackError, UsageError
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks import dask_calls
from kitaru_nb.stacks.dask_launcher import printed, state_of
from kitaru_nb.stacks.launcher import Capabilities, Handle, JobState, JobStatus, launcher_of
from kitaru_nb.stacks.settings import resolve

BEGUN = {"begun": "node1"}
EXIT = {"exit": 1}
JOB = "kitaru-nb-ex_01-0123abcd"


def dask(**options: Any) -> Any:
    return launcher_of(
        Stack("ours", launcher="dask", launcher_options=options, source="kitaru_nb.toml"), resolve()
    )


@pytest.mark.parametrize(
    ("task", "events", "state"),
    [
        ("processing", [], JobState(JobStatus.QUEUED)),
        ("queued", [], JobState(JobStatus.QUEUED)),
        ("processing", [BEGUN], JobState(JobStatus.RUNNING, reason="on node1")),
        ("processing", [BEGUN, {"said": b"x", "at": 0}], JobState(JobStatus.RUNNING, reason="on node1")),
        ("processing", [BEGUN, {"begun": "node2"}], JobState(JobStatus.RUNNING, reason="on node2")),
        ("waiting", [BEGUN], JobState(JobStatus.QUEUED)),
        (None, [BEGUN, {"said": b"x", "at": 0}, EXIT], JobState(JobStatus.EXITED, code=1)),
        ("memory", [BEGUN, EXIT], JobState(JobStatus.EXITED, code=1)),
        (None, [], JobState(JobStatus.LOST, reason="the Dask scheduler does not know it any more")),
    ],
)
def test_a_job_stands_where_its_task_and_its_events_say(
    task: str | None, events: list[dict[str, Any]], state: JobState
) -> None:
    assert state_of(task, events) == state


def test_a_task_that_ended_without_a_word_is_lost_with_where_it_was() -> None:
    """As when Dask has given it up, after it took several Dask workers with it."""
    state = state_of(None, [BEGUN, {"exit": 0}, {"begun": "node2"}])

    assert (state.status, state.code) == (JobStatus.LOST, None)
    assert "after it began on node2" in state.reason


def test_one_for_which_no_worker_is_there_says_so() -> None:
    assert "no worker of the cluster" in state_of("no-worker", []).reason


def test_a_scheduler_without_workers_says_so_and_what_to_start() -> None:
    state = state_of("no-worker", [], 0)

    assert (state.status, "dask worker" in state.reason) == (JobStatus.QUEUED, True)
    assert state_of("processing", [BEGUN], 0).status is JobStatus.RUNNING


def test_what_several_tries_printed_is_one_text_that_only_grows() -> None:
    events = [
        BEGUN,
        {"said": b"first ", "at": 0},
        {"said": b"try\n", "at": 6},
        {"begun": "node2"},
        {"said": b"second\n", "at": 0},
        EXIT,
    ]

    assert printed(events) == b"first try\nsecond\n"
    assert [printed(events, offset) for offset in (3, 10, 12, 17, 40)] == [
        b"st try\nsecond\n",
        b"second\n",
        b"cond\n",
        b"",
        b"",
    ]


def test_what_the_scheduler_has_dropped_is_left_out() -> None:
    assert printed([{"said": b"later", "at": 100}], offset=50) == b"later"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "names no Dask cluster"),
        ({"scheduler": "tcp://a:1", "workers": 2}, "both `scheduler` and `workers`"),
        ({"scheduler": "a.example:8786"}, "no address of a Dask scheduler"),
        ({"scheduler": 8786}, "no text"),
        ({"scheduler": "tcp://a:1", "resources": {"GPU": "one"}}, "`resources.GPU`"),
        ({"workers": True}, "no whole number"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        dask(**options)

    assert refused.value.kind == "bad-launcher-option"
    assert "kitaru_nb.toml" in refused.value.hint


def test_only_a_cluster_that_goes_on_by_itself_can_be_left() -> None:
    assert dask(scheduler="tls://a.example:8786").capabilities == Capabilities(
        detached=True, restarts=True, queues=True
    )
    assert dask(workers=2).capabilities == Capabilities(detached=False, same_files=True)


def test_what_dask_logs_and_warns_of_is_kept_back_for_as_long_as_it_is_asked() -> None:
    """Also where several ask at once: then what was before is there again after the last."""
    logger, filters = logging.getLogger("distributed.core"), list(warnings.filters)
    first, second = dask_calls._quiet(), dask_calls._quiet()

    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    while_asked = logger.disabled
    second.__exit__(None, None, None)

    assert (while_asked, logger.disabled) == (True, False)
    assert list(warnings.filters) == filters


@pytest.mark.parametrize(
    "handle",
    [
        "4711",
        "{}",
        json.dumps({"job": "other", "scheduler": "tcp://a:1"}),
        json.dumps({"job": JOB, "scheduler": "http://a:1"}),
        json.dumps({"job": JOB, "process": [1]}),
    ],
)
def test_the_handle_of_another_launcher_is_refused(handle: str) -> None:
    with pytest.raises(StackError, match="no job of a Dask cluster") as refused:
        dask(scheduler="tcp://a:1").poll(Handle(handle))

    assert refused.value.kind == "bad-handle"


def test_a_scheduler_that_is_not_there_is_said_to_be_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_calls, "_CONNECT", 0.2)

    with pytest.raises(StackError, match=r"tcp://127.0.0.1:9 does not answer") as refused:
        dask(scheduler="tcp://a:1").poll(Handle(json.dumps({"job": JOB, "scheduler": "tcp://127.0.0.1:9"})))

    assert refused.value.kind == "stack-unreachable"


def test_what_nobody_asked_for_any_more_is_not_told_after_the_last_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def ask() -> str:
        late = asyncio.get_running_loop().create_future()
        late.set_exception(TimeoutError("Timeout"))
        del late
        gc.collect()
        return "answer"

    assert asyncio.run(dask_calls._alone(ask())) == "answer"
    assert caplog.text == ""
    asyncio.run(ask())
    assert "never retrieved" in caplog.text, "as it would be told else"
