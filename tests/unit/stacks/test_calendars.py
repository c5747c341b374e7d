"""Times of cron, and the same for systemd."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kitaru_nb.errors import UsageError
from kitaru_nb.stacks.calendars import When


@pytest.mark.parametrize(
    ("typed", "cron", "calendars"),
    [
        ("0 2 * * *", "0 2 * * *", ["*-*-* 02:00:00"]),
        ("@hourly", "0 * * * *", ["*-*-* *:00:00"]),
        (
            "*/15 9-17 * * MON-FRI",
            "0,15,30,45 9-17 * * 1-5",
            ["Mon,Tue,Wed,Thu,Fri *-*-* 09..17:00,15,30,45:00"],
        ),
        ("5 4 * jan,7 7", "5 4 * 1,7 0", ["Sun *-01,07-* 04:05:00"]),
        ("0 0 */10 * *", "0 0 1,11,21,31 * *", ["*-*-01,11,21,31 00:00:00"]),
        ("30 1 1/15 * *", "30 1 1,16,31 * *", ["*-*-01,16,31 01:30:00"]),
    ],
)
def test_a_time_is_written_for_cron_and_for_systemd(typed: str, cron: str, calendars: list[str]) -> None:
    when = When.parse(typed)

    assert (when.cron(), when.calendars()) == (cron, calendars)


def test_two_narrowed_days_each_count_alone_as_in_cron() -> None:
    when = When.parse("0 2 1 * 1")

    assert when.calendars() == ["*-*-01 02:00:00", "Mon *-*-* 02:00:00"]


def test_a_day_written_as_all_of_them_keeps_its_meaning() -> None:
    when = When.parse("0 2 1-31 * 1")  # each day fits, whatever its name: no `*`, which would leave Mondays

    assert when.cron() == "0 2 1-31 * 1"
    assert "*-*-* 02:00:00" in when.calendars()


@pytest.mark.parametrize(
    "typed",
    [
        *("", "0 2 * *", "60 2 * * *", "0 24 * * *", "0 2 0 * *", "0 2 * 13 *", "0 2 * * 8", "0 2 * * *  x"),
        *(
            "a 2 * * *",
            "5-1 2 * * *",
            "*/0 2 * * *",
            "*/-1 2 * * *",
            "0 2 * * mon-",
            "@reboot",
            "0 2 1 * */2",
            "0 2 */3 * 1",
            "1,,2 2 * * *",
        ),
        "٣ 2 * * *",
    ],
)
def test_what_is_no_time_is_refused(typed: str) -> None:
    with pytest.raises(UsageError) as refused:
        When.parse(typed)

    assert refused.value.kind == "bad-schedule"


def _field(first: int, last: int):
    numbers = st.lists(st.integers(first, last), min_size=1, max_size=4).map(
        lambda some: ",".join(map(str, some))
    )
    steps = st.integers(1, last + 1).map(lambda step: f"*/{step}")
    return st.one_of(st.just("*"), numbers, steps)


TIMES = st.tuples(_field(0, 59), _field(0, 23), _field(1, 31), _field(1, 12), _field(0, 7)).map(" ".join)


@given(TIMES)
def test_what_is_written_for_cron_means_what_was_typed(typed: str) -> None:
    _, _, days, _, weekdays = typed.split()
    assume("*" in (days, weekdays) or not (days + weekdays).count("*"))
    when = When.parse(typed)

    again = When.parse(when.cron())

    assert again.calendars() == when.calendars()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_reads_the_times() -> None:
    typed = ["0 2 * * *", "*/7 */5 1,15 2-4 1-5", "1 1 */2 * *", "59 23 31 12 7", "0 0 1-31 * 1", "1 1 1 1 1"]
    calendars = [calendar for each in typed for calendar in When.parse(each).calendars()]

    read = subprocess.run(
        ["systemd-analyze", "calendar", *calendars], capture_output=True, text=True, check=False
    )

    assert read.returncode == 0, read.stderr
