"""The server extension in a real Jupyter server, with real kernels, runs and stacks."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from tests.further import further
from tests.integration.headless import Notebook, finished, start
from tests.integration.kernel import Kernel
from tests.integration.test_team import STACK
from tests.patience import PATIENCE, until
from tests.postgres_server import PostgresServer
from tests.s3_server import BUCKET, KEY, SECRET, S3Server
from tests.served import API, Api, quoted, started


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    with started(tmp_path) as api:
        yield api


def status_of(api: Api, execution: str) -> str:
    return str(api.found(f"executions/{execution}")["status"])


def until_it_is(api: Api, execution: str, *statuses: str) -> str:
    return str(until(lambda: (now := status_of(api, execution)) in statuses and now))


ASKING = [
    "tick('before')\nx = 20",
    "import kitaru_nb as kt\nok = kt.wait('Publish?', name='publish')",
    "tick('after')\nprint(x + ok)",
]


@pytest.mark.parametrize("by", ["browser", further("terminal")])
def test_an_answer_makes_a_suspended_run_go_on_by_itself(server: Api, tmp_path: Path, by: str) -> None:
    notebook = Notebook(tmp_path, ASKING)
    assert notebook.kitaru("run", "work.ipynb").code == 75
    (wait,) = server.found("waits")["waits"]
    execution = wait["execution"]
    assert status_of(server, execution) == "waiting"

    with server.listening() as heard:
        if by == "browser":
            answer = server.post(f"waits/{quoted(wait['address'])}/answer", {"answer": True})
            assert answer.status_code == 200
        else:
            assert finished(start(["-m", "kitaru_nb", "approve", "publish"], tmp_path)).code == 0
        heard.until(lambda event: wait["address"] in event["waits"])
        until_it_is(server, execution, "completed", "failed")

    assert status_of(server, execution) == "completed"
    assert notebook.ticks() == ["before", "after"], "what had run was not run again"
    shown = nbformat.read(notebook.output, as_version=4)
    assert shown.cells[-1].outputs[0].text == "21\n"
    assert server.found(f"executions/{execution}")["attempts"] == 2
    assert server.error(server.post(f"executions/{execution}/resume")) == (400, "nothing-to-resume")


def test_a_run_whose_kernel_was_killed_goes_on_from_the_browser(server: Api, tmp_path: Path) -> None:
    cells = [
        "tick('paid')\nx = 1",
        "import os, time\nopen('pid', 'w').write(str(os.getpid()))\nif once('slow'): time.sleep(1000)",
        "tick('end')",
    ]
    notebook = Notebook(tmp_path, cells)
    running = start(["-m", "kitaru_nb", "run", "work.ipynb"], tmp_path)
    pid = int(until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    os.kill(pid, signal.SIGKILL)
    assert finished(running).code == 138
    (execution,) = server.found("executions")["executions"]
    assert execution["status"] == "interrupted"

    answer = server.post(f"executions/{execution['id']}/resume")

    assert answer.json()["execution"] == execution["id"]
    assert until_it_is(server, execution["id"], "completed", "failed") == "completed"
    assert notebook.ticks() == ["paid", "end"]


def test_a_run_is_cancelled_wherever_it_is_and_stays_so(server: Api, tmp_path: Path) -> None:
    Notebook(tmp_path, ["tick('begun')", "import time\nopen('there', 'w')\ntime.sleep(1000)"])
    running = start(["-m", "kitaru_nb", "run", "work.ipynb"], tmp_path)
    until((tmp_path / "there").exists)
    (execution,) = server.found("executions")["executions"]

    answer = server.post(f"executions/{execution['id']}/cancel")
    again = server.post(f"executions/{execution['id']}/cancel")
    ended = finished(running)

    assert answer.json() == again.json() == {"execution": execution["id"], "status": "cancelled"}
    assert ended.code == 143
    assert ended.last_line.startswith("kitaru: cancelled execution=")
    found = server.found(f"executions/{execution['id']}")
    assert (found["status"], found["attempts"]) == ("cancelled", 1)
    assert server.error(server.post(f"executions/{execution['id']}/resume")) == (400, "nothing-to-resume")
    assert [each["status"] for each in found["checkpoints"]] == ["completed", "completed"]


@pytest.mark.further
def test_a_replay_with_other_inputs_runs_in_a_process_of_its_own(server: Api, tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('load')\nrate = 2", "tick('fit')\ny = rate * 10", "print(y)"])
    assert notebook.kitaru("run", "work.ipynb").code == 0
    (original,) = server.found("executions")["executions"]
    names = [each["name"] for each in server.found(f"executions/{original['id']}")["checkpoints"]]
    place = f"executions/{original['id']}/replay"
    assert server.error(server.post(place, {"from": "nothing"})) == (404, "unknown-checkpoint")
    assert server.error(
        server.post(place, {"from": names[2], "inputs": {"rate": {"expr": "open('x')"}}})
    ) == (
        400,
        "bad-change",
    )

    begun = server.post(place, {"from": names[2], "inputs": {"rate": {"expr": "3"}}}).json()["execution"]

    assert until_it_is(server, begun, "completed", "failed") == "completed"
    assert notebook.ticks() == ["load", "fit", "fit"]
    assert server.found(f"executions/{begun}")["parent"] == original["id"]
    lines = server.found(f"executions/{begun}/logs")["lines"]
    assert "30" in [line["text"] for line in lines if line["stream"] == "stdout"]
    told = server.found("diff", a=original["id"], b=begun)
    assert told["first_difference"] is not None
    assert server.found(f"executions/{original['id']}")["replays"] == [begun]
    odd = server.post(place, {"from": names[2], "inputs": {"rate": {"expr": "{1, 2}"}}})
    assert odd.status_code == 200, "a notebook takes any literal"
    assert until_it_is(server, odd.json()["execution"], "completed", "failed") == "failed", "sets have no *"


def test_a_replay_of_a_flow_runs_in_a_process_of_its_own(server: Api, tmp_path: Path) -> None:
    program = tmp_path / "agent.py"
    program.write_text(
        "import os, kitaru_nb as kt\n"
        "@kt.checkpoint\n"
        "def fetch(n):\n    open('side', 'a').write('f')\n    return n\n"
        "@kt.checkpoint\n"
        "def double(n):\n    open('side', 'a').write(str(os.getpid()) + ' ')\n    return n * 2\n"
        "@kt.flow\n"
        "def agent(n: int = 1):\n    return double(fetch(n))\n"
        "if __name__ == '__main__':\n    print(agent(4))\n"
    )
    assert finished(start([str(program)], tmp_path)).code == 0
    (original,) = server.found("executions")["executions"]

    answer = server.post(f"executions/{original['id']}/replay", {"from": "double"})

    assert answer.status_code == 200, answer.text
    begun = answer.json()["execution"]
    assert until_it_is(server, begun, "completed", "failed") == "completed"
    side = (tmp_path / "side").read_text()
    assert side.count("f") == 1, "what is before was not run again"
    assert len(set(side.replace("f", "").split())) == 2


SLOW = """
import json, sys, time
from pathlib import Path
import kitaru_nb as kt

if "replay" in sys.orig_argv:
    with open("begun", "a") as begun:
        begun.write(json.dumps(sys.orig_argv) + chr(10))
    while not Path("go").exists():
        time.sleep(0.02)

@kt.checkpoint
def double(n):
    return n * 2

@kt.flow
def agent(n="a"):
    return double(n)

if __name__ == "__main__":
    print(agent())
"""


@pytest.mark.further
def test_replays_that_take_long_to_begin_hold_up_nobody(server: Api, tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(SLOW)
    assert finished(start([str(tmp_path / "agent.py")], tmp_path)).code == 0
    (original,) = server.found("executions")["executions"]
    place = f"executions/{original['id']}/replay"
    begun = tmp_path / "begun"
    body = {"from": "double", "inputs": {"n": "only-for-us"}}

    with ThreadPoolExecutor() as people:
        asked = [people.submit(server.post, place, body) for _ in range(4)]
        try:
            until(lambda: begun.exists() and begun.read_text().count("\n") == len(asked))
            shown = server.client.get(API + "executions", timeout=PATIENCE / 5)
            waited = [each.done() for each in asked]
        finally:
            (tmp_path / "go").touch()
        answers = [each.result() for each in asked]

    assert shown.status_code == 200
    assert waited == [False] * 4, "all of them were still to begin"
    assert [answer.status_code for answer in answers] == [200] * 4, answers[0].text
    replays = {answer.json()["execution"] for answer in answers}
    assert len(replays) == 4, "each is told the one that its own process has begun"
    for each in replays:
        assert until_it_is(server, each, "completed", "failed") == "completed"
    assert server.found(f"executions/{original['id']}")["replays"]
    assert "only-for-us" not in begun.read_text(), "no list of processes shows what was given"
    given = server.found("artifacts", ref=f"{replays.pop()}/agent/result")
    assert given["preview"] == "only-for-us" * 2


@pytest.mark.further
def test_a_flow_is_not_replayed_with_what_json_cannot_hold(server: Api, tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(SLOW)
    assert finished(start([str(tmp_path / "agent.py")], tmp_path)).code == 0

    for text in ("{1, 2}", "(1, 2)", "b'x'", "{1: 2}", "1e400", "[{1}]"):
        answer = server.post("executions/latest/replay", {"from": "double", "inputs": {"n": {"expr": text}}})

        assert server.error(answer) == (400, "bad-change"), text
        assert "%replay --from double --set n=" in answer.json()["error"]["hint"]
    both = server.post(
        "executions/latest/replay", {"from": "double", "inputs": {"n": 1}, "overrides": {"n": 2}}
    )
    assert server.error(both) == (400, "bad-change"), "neither is left out without a word"
    assert len(server.found("executions")["executions"]) == 1


@pytest.mark.further
def test_a_replay_that_does_not_begin_is_told_with_what_its_process_said(server: Api, tmp_path: Path) -> None:
    program = tmp_path / "agent.py"
    program.write_text(SLOW)
    assert finished(start([str(program)], tmp_path)).code == 0
    program.write_text("raise RuntimeError('no such mood')")

    answer = server.post("executions/latest/replay", {"from": "double"})

    assert server.error(answer) == (502, "replay-not-begun")
    assert "no such mood" in answer.json()["error"]["message"]


@pytest.mark.further
def test_cells_are_fresh_or_stale_by_what_is_typed_and_the_record(server: Api, tmp_path: Path) -> None:
    notebook = tmp_path / "folder" / "work.ipynb"
    notebook.parent.mkdir()
    cells = {
        "load": "%%checkpoint load\nrows = [1, 2]",
        "plain": "k = 2",
        "fit": "%%checkpoint fit\nmodel = [r * k for r in rows]",
        "bad": "%%checkpoint bad\n1 / 0",
        "ask": "%%checkpoint ask\nok = kt.wait('Publish?', name='ok')",
    }

    def states(**edited: str) -> dict[str, Any]:
        listed = [{"id": name, "source": source} for name, source in {**cells, **edited}.items()]
        response = server.post("cells", {"notebook": "folder/work.ipynb", "cells": listed})
        assert response.status_code == 200, response.text
        return dict(response.json())

    assert states() == {"execution": None, "cells": {}, "dead": None}
    home = Path(os.environ["KITARU_NB_HOME"])
    kernel = Kernel(home, notebook=notebook)
    kernel.run("import kitaru_nb as kt", cell="imports")
    for name, source in cells.items():
        kernel.run(source, cell=name)

    found = states()
    edited = states(load="%%checkpoint load\nrows = [1, 2, 3]")
    commented = states(load="%%checkpoint load\n# only said\nrows = [1, 2]")

    assert {name: state["status"] for name, state in found["cells"].items()} == {
        "load": "fresh",
        "fit": "fresh",
        "bad": "failed",
        "ask": "waiting",
    }
    assert found["cells"]["bad"]["why"] == "ZeroDivisionError: division by zero"
    assert found["cells"]["ask"]["wait"] == f"{found['execution']}/ok"
    assert found["dead"] is None
    assert edited["cells"]["load"]["status"] == edited["cells"]["fit"]["status"] == "stale"
    assert "its code changed" in edited["cells"]["load"]["why"]
    assert "`rows` changes" in edited["cells"]["fit"]["why"]
    assert commented["cells"]["load"]["status"] == "fresh"

    kernel.kill()
    dead = until(lambda: states()["dead"])

    assert (dead["execution"], dead["restorable"], dead["last"]) == (found["execution"], 2, "fit")
    with Kernel(home, notebook=notebook) as again:
        again.run("import kitaru_nb as kt", cell="imports")
        assert "restored" in again.run(cells["load"], cell="load").said
        now = states()
        assert now["cells"]["load"]["status"] == "restored"
        assert now["cells"]["load"]["restored_from"] == found["execution"]
        assert now["dead"] is None


@pytest.mark.further
def test_a_folder_with_a_stack_of_its_own_is_looked_at_where_its_kernels_record(
    server: Api, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text('[tool.kitaru_nb]\nhome = "own"\n')
    environ = {name: value for name, value in os.environ.items() if name != "KITARU_NB_HOME"}
    with started(project.parent, env={"KITARU_NB_HOME": ""}) as api:
        notebook = Notebook(project, ["x = 1"])
        done = finished(
            start(["-m", "kitaru_nb", "run", str(notebook.path)], project, {**environ, "KITARU_NB_HOME": ""})
        )
        assert done.code == 0, done.stderr

        (found,) = api.found("executions", notebook="project/work.ipynb")["executions"]

        assert api.found(f"executions/{found['id']}")["status"] == "completed"
        assert (project / "own" / "journal.db").exists()


def test_a_folder_somebody_sent_cannot_have_the_server_spend_its_secrets(server: Api, tmp_path: Path) -> None:
    project = tmp_path / "sent"
    project.mkdir()
    stack = STACK.format(
        bucket="b", prefix="p", journal="postgresql://u@127.0.0.1:9/db", endpoint="http://127.0.0.1:9"
    )
    (project / "kitaru_nb.toml").write_text(stack)

    asked = [
        server.get("executions", notebook="sent/a.ipynb"),
        server.get("waits", notebook="sent/a.ipynb"),
        server.post("cells", {"notebook": "sent/a.ipynb", "cells": []}),
    ]

    assert [server.error(answer) for answer in asked] == [(400, "stack-elsewhere")] * 3


def test_a_folder_somebody_sent_runs_nothing_when_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITARU_NB_HOME", "")
    sent, log = tmp_path / "sent", tmp_path / "jupyter.log"
    sent.mkdir()
    (sent / "pyproject.toml").write_text('[tool.kitaru_nb]\nhome = "own"\n')
    theirs = {"KITARU_NB_CONFIG": str(tmp_path / "their-config")}
    asking = "import kitaru_nb as kt\nok = kt.wait('Publish?', name='publish')\nopen('ran', 'w').close()"
    notebook = Notebook(sent, [asking])
    del notebook.nb.cells[0]  # nothing is on record that would be refused for its signature
    notebook.save()
    assert notebook.kitaru("run", "work.ipynb", env=theirs).code == 75
    assert notebook.kitaru("approve", "latest/publish", env=theirs).code == 0
    ran = (sent / "ran").exists

    with started(tmp_path, env={"XDG_DATA_HOME": str(tmp_path / "data")}) as api:
        # what JupyterLab asks by itself when a notebook is opened
        body = {"notebook": "sent/work.ipynb", "cells": [{"id": "c0", "source": asking}]}
        assert api.post("cells", body).status_code == 200
        until(lambda: "does not go on by itself" in log.read_text() or ran())
        (found,) = api.found("executions", notebook="sent/work.ipynb")["executions"]

    assert (found["status"], found["attempts"], ran()) == ("waiting", 1, False)
    told = f"kitaru-nb resume {found['id']}"
    every, newest = notebook.kitaru("resume", "--all"), notebook.kitaru("resume")
    assert (every.code, told in every.stderr, ran()) == (0, True, False)
    assert (newest.code, told in newest.stderr, ran()) == (1, True, False)
    assert notebook.kitaru("resume", found["id"]).code == 0, "whoever names it has it run"
    assert ran()


@pytest.mark.further
def test_kernel_and_server_need_to_share_nothing_but_the_stack(
    tmp_path: Path, s3_server: S3Server, postgres_server: PostgresServer
) -> None:
    prefix = f"team-{os.urandom(4).hex()}"
    stack = STACK.format(
        bucket=BUCKET,
        prefix=prefix,
        journal=postgres_server.schema(prefix.replace("-", "_")),
        endpoint=s3_server.endpoint,
    )
    signing = os.urandom(32).hex()

    def machine(name: str) -> tuple[Path, dict[str, str]]:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "kitaru_nb.toml").write_text(stack, encoding="utf-8")
        return folder, {
            "KITARU_NB_HOME": str(folder / "home"),
            "KITARU_NB_CONFIG": str(folder / "config"),
            "TEAM_SIGNING_KEY": signing,
            "TEAM_S3_KEY": KEY,
            "TEAM_S3_SECRET": SECRET,
        }

    (away, away_env), (here, here_env) = machine("away"), machine("here")
    notebook = Notebook(away, ["import numpy as np\nw = np.arange(100_000.0)", *ASKING])
    run = ["-m", "kitaru_nb", "run", str(notebook.path)]
    asked = finished(start(run, away, away_env))
    assert asked.code == 75, asked.stderr

    with started(here, "--KitaruServer.resume=False", env=here_env) as api:
        (wait,) = api.found("waits")["waits"]
        shown = api.found(f"executions/{wait['execution']}")
        ref = next(
            a["ref"] for step in shown["checkpoints"] for a in step["artifacts"] if a["names"] == ["w"]
        )
        part = api.found("artifacts/slice", ref=ref, start="10", stop="13")
        with api.listening() as heard:
            answer = api.post(f"waits/{quoted(wait['address'])}/answer", {"answer": True})
            heard.until(lambda event: wait["address"] in event["waits"])

        assert part["values"] == [10.0, 11.0, 12.0]
        assert answer.json()["answered_by"].startswith("Anonymous ")
        assert finished(start(run, away, away_env)).code == 0
        assert status_of(api, wait["execution"]) == "completed"
        assert api.found(f"executions/{wait['execution']}")["attempts"] == 2


def test_who_answered_is_who_the_identity_provider_says(server: Api, tmp_path: Path) -> None:
    (tmp_path / "people.py").write_text(
        "from jupyter_server.auth import IdentityProvider, User\n"
        "class People(IdentityProvider):\n"
        "    async def get_user(self, handler):\n"
        "        known = await super().get_user(handler)\n"
        "        return User(username='ana', display_name='Ana Lima') if known else None\n"
    )
    notebook = Notebook(tmp_path, ASKING)
    assert notebook.kitaru("run", "work.ipynb").code == 75
    options = ["--ServerApp.identity_provider_class=people.People", "--KitaruServer.resume=False"]
    with started(tmp_path, *options, env={"PYTHONPATH": str(tmp_path)}) as api:
        (wait,) = api.found("waits")["waits"]

        answer = api.post(f"waits/{quoted(wait['address'])}/answer", {"answer": True, "by": "Mallory"})

    assert answer.json()["answered_by"] == "Ana Lima (ana)"
    with closing(open_engine(resolve(), read_only=True)) as engine:
        (found,) = engine.journal.waits()
    assert (found.answered_by, found.source) == ("Ana Lima (ana)", "server")


def test_the_extension_is_on_as_soon_as_it_is_installed(tmp_path: Path) -> None:
    done = finished(start(["-m", "jupyter_server.extension.serverextension", "list"], tmp_path))

    lines = [line for line in (done.stdout + done.stderr).splitlines() if "kitaru_nb" in line]
    assert any("enabled" in line for line in lines), lines
    assert any("OK" in line for line in lines), lines
