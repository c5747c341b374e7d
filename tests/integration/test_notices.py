"""Somebody is told how a run ended: real runs, a real web server, a real mail server."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from email import message_from_string
from pathlib import Path
from socket import create_connection

import pytest

import kitaru_nb as kt
from kitaru_nb.cli.main import main
from kitaru_nb.errors import StoreError, UsageError
from kitaru_nb.stacks import mail as mailing
from kitaru_nb.stacks.mail import send_mail
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.public_hosts import ALLOWED
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.webhook import post
from tests.integration.headless import Notebook
from tests.patience import PATIENCE
from tests.receivers import MailReceiver, WebReceiver, running

KEY = "a shared secret of the test"
FAILS = "print('the figures')\nif once('b'): raise ValueError('no rows')\nif once('c'): raise KeyError('x')"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command in this process, which has loaded papermill already, with more in its environment."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, **env: str) -> int:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        return main([*words, "--no-progress"] if words[0] in ("run", "resume") else words)

    return run


@pytest.fixture
def hook() -> Iterator[WebReceiver]:
    with running(WebReceiver()) as server:
        yield server


def told(server: WebReceiver, **more: str) -> dict[str, str]:
    """The environment of a run that tells `server`."""
    return {"KITARU_NB_NOTIFY": server.url, "KITARU_NB_NOTIFY_SECRET": KEY, ALLOWED: server.place, **more}


def notices() -> list[tuple[str, dict]]:
    """What is on record of notices of the newest execution."""
    with closing(open_engine(resolve(), read_only=True)) as engine:
        events = engine.journal.events(engine.journal.execution("latest").id)
    return [(event.kind, dict(event.data)) for event in events if event.kind.startswith("notice.")]


def deliver(url: str, *allowed: str) -> None:
    post(url, b"{}", secret=KEY, notice="n1", timestamp=1, timeout=PATIENCE, allowed=allowed)


def test_a_run_that_fails_is_told_once_and_signed(tmp_path: Path, here, hook: WebReceiver) -> None:
    notebook = Notebook(tmp_path, ["tick('a')", FAILS])

    first = here("run", "work.ipynb", "-p", "customer", "ada", **told(hook))
    again = here("resume")
    third = here("resume")

    assert [first, again, third] == [1, 1, 0]
    ((path, headers, body),) = hook.requests
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = b64encode(hmac.new(KEY.encode(), signed, hashlib.sha256).digest()).decode()
    document = json.loads(body)
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 600
    assert path == "/hook?a=1"
    assert (document["event"], document["status"], document["notebook"]) == ("failed", "failed", "work.ipynb")
    assert (document["reason"], document["execution"]) == ("ValueError: no rows", notebook.executions()[0].id)
    assert b"the figures" not in body
    assert b"ada" not in body
    assert [kind for kind, _ in notices()] == ["notice.sending", "notice.sent"]


@pytest.mark.further
def test_a_kernel_that_is_killed_is_told_and_a_retry_keeps_it_quiet(
    tmp_path: Path, hook: WebReceiver
) -> None:
    dies = "import os, signal\nif once('x'): os.kill(os.getpid(), signal.SIGKILL)\nif once('y'): os._exit(3)"
    notebook = Notebook(tmp_path, ["tick('a')", dies])

    died = notebook.kitaru("run", "work.ipynb", env=told(hook))
    before = len(hook.requests)
    ended = notebook.kitaru("run", "work.ipynb", "--retries", "1", env=told(hook))

    assert (died.code, ended.code) == (138, 0), ended.stderr
    (document,) = hook.documents
    assert before == 1
    assert (document["event"], document["status"]) == ("died", "interrupted")
    assert re.search(r"SIGKILL.*it used \d+ MB of memory", document["reason"])


def test_a_question_is_told_with_what_answers_it_and_its_end_when_asked(
    tmp_path: Path, here, hook: WebReceiver
) -> None:
    asks = "import kitaru_nb as kt\nif kt.wait('Publish?', name='publish'): tick('yes')"
    notebook = Notebook(tmp_path, [asks])

    waits = here("run", "work.ipynb", **told(hook, KITARU_NB_NOTIFY=f"{hook.url} on=waiting,completed"))
    still = here("run", "work.ipynb")
    here("approve", "publish")
    done = here("resume")

    assert (waits, still, done) == (75, 75, 0)
    assert [each["event"] for each in hook.documents] == ["waiting", "completed"]
    assert hook.documents[0]["wait"] == f"{notebook.executions()[0].id}/publish"
    assert "kitaru-nb approve" in hook.documents[0]["hint"]


def test_a_name_in_any_script_is_told_too(tmp_path: Path, here, hook: WebReceiver) -> None:
    notebook = Notebook(tmp_path, ["import kitaru_nb as kt\nkt.wait('公開しますか', name='公開 é')"])

    code = here("run", "work.ipynb", **told(hook))

    assert code == 75
    ((_path, headers, body),) = hook.requests
    assert json.loads(body)["wait"] == f"{notebook.executions()[0].id}/公開 é"
    assert headers["webhook-id"].isascii()
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    made = b64encode(hmac.new(KEY.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{made}"


@kt.flow
def _agent(fails: bool) -> str:
    if fails:
        raise ValueError("no rows")
    return _inner()


@kt.flow
def _inner() -> str:
    return "yes" if kt.wait("Publish?", name="publish") else "no"


def test_a_flow_of_a_script_is_told_as_a_notebook_is(here, hook: WebReceiver, monkeypatch) -> None:
    for name, value in told(hook, KITARU_NB_NOTIFY=f"{hook.url} on=failed,waiting,completed").items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ValueError, match="no rows"):
        _agent(True)
    with pytest.raises(SystemExit):
        _agent(False)
    here("approve", "publish")
    _agent(False)

    assert [each["event"] for each in hook.documents] == ["failed", "waiting", "completed"]
    assert hook.documents[0]["reason"] == "ValueError: no rows"
    assert hook.documents[0]["flow"].endswith(":_agent")
    assert "kitaru-nb approve" in hook.documents[1]["hint"]


@pytest.mark.further
def test_a_receiver_that_never_answers_changes_nothing_for_the_run(tmp_path: Path, here, capsys) -> None:
    Notebook(tmp_path, ["1 / 0"])
    with running(WebReceiver(silent=True)) as server:
        ended = here("run", "work.ipynb", **told(server))

        assert len(server.requests) == 1

    assert ended == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("kitaru: failed execution=")
    assert [kind for kind, _ in notices()] == ["notice.sending", "notice.failed"]


def test_a_projects_file_cannot_reach_this_machine(tmp_path: Path, here, hook: WebReceiver) -> None:
    Notebook(tmp_path, ["1 / 0"])
    (tmp_path / "pyproject.toml").write_text(f'[tool.kitaru_nb]\nnotify = "{hook.url}"\n')

    ended = here("run", "work.ipynb", KITARU_NB_NOTIFY_SECRET=KEY)

    assert (ended, hook.requests) == (1, [])
    (_, failed) = notices()
    assert failed[0] == "notice.failed"
    assert ALLOWED in failed[1]["problem"]


def test_a_setting_that_names_nobody_is_said_before_anything_runs(tmp_path: Path, here) -> None:
    notebook = Notebook(tmp_path, ["tick('a')"])

    refused = here("run", "work.ipynb", KITARU_NB_NOTIFY="slack://a/b")

    assert (refused, notebook.ticks()) == (2, [])


def test_a_redirect_is_not_followed(hook: WebReceiver) -> None:
    with running(WebReceiver(307, {"Location": hook.url})) as server, pytest.raises(StoreError, match="307"):
        deliver(server.url, server.place)

    assert (len(server.requests), hook.requests) == (1, [])


@pytest.mark.parametrize("status", [200, 202, 204])
def test_what_takes_it_says_so_with_any_good_status(status: int) -> None:
    with running(WebReceiver(status)) as server:
        deliver(server.url, server.place)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_refused_unless_the_user_names_it(host: str, hook: WebReceiver) -> None:
    port = hook.server_address[1]

    with pytest.raises(UsageError) as private:
        deliver(f"https://{host}:{port}/")
    with pytest.raises(UsageError) as plain:
        deliver(f"http://{host}:{port}/", f"{host}:{port + 1}")

    assert (private.value.kind, plain.value.kind) == ("private-address", "not-encrypted")
    assert hook.requests == []


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # of apprise, on Python 3.11
def test_everything_else_is_told_by_apprise(tmp_path: Path, here, hook: WebReceiver) -> None:
    pytest.importorskip("apprise")
    Notebook(tmp_path, ["raise ValueError('no rows')"])

    ended = here("run", "work.ipynb", KITARU_NB_NOTIFY="secret:env:CHAT", CHAT=f"json://{hook.place}/a-token")

    assert ended == 1
    (document,) = hook.documents
    assert document["title"].startswith("work.ipynb failed")
    assert "ValueError: no rows" in document["message"]
    assert [(kind, data["to"]) for kind, data in notices()] == [
        ("notice.sending", "secret:env:CHAT"),
        ("notice.sent", "secret:env:CHAT"),
    ]


def mail(server: str, *allowed: str, subject: str = "work.ipynb failed") -> None:
    send_mail(
        "ana@example.org",
        server=server,
        sender=None,
        subject=subject,
        text="It failed.\nTry: kitaru-nb resume ex_1",
        notice="n1",
        timeout=PATIENCE,
        allowed=allowed,
    )


def test_a_run_that_fails_is_told_by_mail(tmp_path: Path, here) -> None:
    Notebook(tmp_path, ["tick('a')", "raise ValueError('no rows')"])
    with running(MailReceiver()) as server:
        env = {"KITARU_NB_NOTIFY": "ana@example.org", "KITARU_NB_NOTIFY_SMTP": f"smtp://{server.place}"}
        ended = here("run", "work.ipynb", **env, **{ALLOWED: server.place})

    assert ended == 1
    (text,) = server.mails
    message = message_from_string(text)
    assert message["To"] == "ana@example.org"
    assert str(message["Subject"]).startswith("work.ipynb failed")
    assert "ValueError: no rows" in message.get_payload()
    assert "kitaru-nb resume" in message.get_payload()


def test_a_subject_stays_one_header() -> None:
    with running(MailReceiver()) as server:
        mail(f"smtp://{server.place}", server.place, subject="x\r\nBcc: eve@example.org\r\n\r\nhello")

    (text,) = server.mails
    assert message_from_string(text)["Bcc"] is None


def test_a_password_goes_over_no_plain_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(MailReceiver()) as server:
        with pytest.raises(UsageError) as private:
            mail(f"smtp://ana:hunter2@{server.place}")
        with monkeypatch.context() as patch:  # as if it were a public one
            patch.setattr(mailing, "open_connection", lambda host, port, **_: create_connection((host, port)))
            with pytest.raises(UsageError) as plain:
                mail(f"smtp://ana:hunter2@{server.place}")
        said = list(server.commands)
        mail(f"smtp://ana:hunter2@{server.place}", server.place)

    assert (private.value.kind, plain.value.kind) == ("private-address", "not-encrypted")
    assert not any("AUTH" in command for command in said)
    assert len(server.mails) == 1


def test_a_server_that_refuses_is_said_without_what_it_said() -> None:
    with running(MailReceiver(refuses=True)) as server, pytest.raises(StoreError) as refused:
        mail(f"smtp://{server.place}", server.place)

    assert "ana@example.org" not in str(refused.value)
