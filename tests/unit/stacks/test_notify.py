"""The setting `notify` as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru_nb.errors import UsageError
from kitaru_nb.model.notice import USUAL, NoticeKind, Notify, Target
from kitaru_nb.stacks.notify import notify_of
from kitaru_nb.stacks.settings import resolve

HOOK = "https://hooks.example/x?y=1"


@pytest.mark.parametrize(
    ("raw", "targets"),
    [
        ("off", ()),
        (False, ()),
        ([], ()),
        (HOOK, (Target(HOOK),)),
        ("ana@example.org", (Target("mailto:ana@example.org"),)),
        (f"{HOOK} secret:env:SLACK on=completed", (
            Target(HOOK, (NoticeKind.COMPLETED,)), Target("secret:env:SLACK", (NoticeKind.COMPLETED,)),
        )),
        ([HOOK, {"to": HOOK, "on": ["failed"]}], (Target(HOOK), Target(HOOK, (NoticeKind.FAILED,)))),
        ('[{"to": "mailto:a@b.c", "server": "smtp://mx", "from": "x@y.z"}]',
         (Target("mailto:a@b.c", USUAL, None, "smtp://mx", "x@y.z"),)),
        ({"to": HOOK, "secret": "secret:env:HOOK"}, (Target(HOOK, USUAL, "secret:env:HOOK"),)),
    ],
)  # fmt: skip
def test_targets_are_read_as_they_are_written(raw: object, targets: tuple[Target, ...]) -> None:
    assert notify_of(raw, what="notify") == Notify(targets)


@pytest.mark.parametrize(
    "raw",
    [
        *(
            "",
            "on=failed",
            "ftp:x",
            "hello",
            "https://",
            "https://x:0",
            "https://x:99999999",
            "[1",
            "mailto:a b",
        ),
        *(f"{HOOK} on=done", "mailto:a@b.c\r\nBcc:d@e.f,", 3, [3], {"url": HOOK}, {"to": ""}),
        *({"to": HOOK, "on": 3}, {"to": HOOK, "on": ["done"]}, {"to": "https://x/\nHost: y"}),
        *({"to": "mailto:a@b.c", "server": "mx"}, {"to": "mailto:a@b.c", "from": "x\ny@z"}),
    ],
)
def test_what_names_nobody_is_refused(raw: object) -> None:
    with pytest.raises(UsageError) as refused:
        notify_of(raw, what="notify")

    assert refused.value.kind == "bad-notify"


@pytest.mark.parametrize(
    "raw",
    [
        "slack://token-a/token-b",
        "https://ana:hunter2hunter2@hooks.example",
        {"to": HOOK, "secret": "hunter2hunter2"},
        {"to": "mailto:a@b.c", "server": "smtp://ana:hunter2hunter2@mx"},
    ],
)
def test_a_secret_that_is_written_out_is_refused_and_not_repeated(raw: object) -> None:
    with pytest.raises(UsageError) as refused:
        notify_of(raw, what="notify")

    assert refused.value.kind == "secret-in-settings"
    assert "hunter2" not in str(refused.value)
    assert "token-b" not in str(refused.value)


def test_the_strongest_layer_says_who_is_told(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.kitaru_nb]\nnotify = [{to = "https://a.example", on = ["completed"]}]\n'
    )

    project = resolve(environ={}, cwd=tmp_path)
    user = resolve(environ={"KITARU_NB_NOTIFY": "https://b.example"}, cwd=tmp_path)
    nobody = resolve(environ={"KITARU_NB_NOTIFY": "off"}, cwd=tmp_path)

    assert str(project.notify) == "https://a.example on completed"
    assert str(user.notify) == "https://b.example on failed,died,waiting,budget"
    assert str(nobody.notify) == "off"
