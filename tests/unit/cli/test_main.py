"""Command lines, run in this process on a real store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from kitaru_nb.cli import executions
from kitaru_nb.cli.main import app, main
from kitaru_nb.errors import UsageError
from kitaru_nb.model.checkpoint import CheckpointStatus, Group, StepKind
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import begun_after, resolve
from kitaru_nb.testing import a_draft


@pytest.fixture
def execution() -> str:
    """An interrupted execution of `train.ipynb`: `load` restored, `train` failed."""
    engine = open_engine(Settings(home=Path(os.environ["KITARU_NB_HOME"])))
    identity = Identity(
        notebook="/home/ana/train.ipynb", output="/home/ana/out.ipynb", parameters={"lr": 0.1}
    )
    attempt, _ = engine.journal.start(identity, owner=current_owner(), tags=["nightly"])
    stored = engine.put({"rows": [1, 2, 3]}, namespace={})
    engine.store.flush()
    group = Group(("rows",), stored.artifact.digest, stored.artifact.digest)
    draft = engine.trust.signed(a_draft("load", groups=(group,)), attempt.execution)
    load = engine.journal.commit(attempt, draft, artifacts=[stored.artifact], locations=stored.locations)
    error = {"ename": "ValueError", "evalue": "no \x1b[31mrows"}
    failed = a_draft(
        "train", parent=load.seq, status=CheckpointStatus.FAILED, error=error, reads={"rows": group.value}
    )
    engine.journal.commit(attempt, failed)
    engine.journal.finish(attempt, ExecutionStatus.INTERRUPTED, reason="the kernel died: SIGKILL")
    engine.close()
    return attempt.execution


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_executions_is_an_array(execution: str, capsys) -> None:
    code, out, err = run(capsys, "executions", "--json")

    (document,) = json.loads(out)
    assert (code, err) == (0, "")
    assert (document["id"], document["status"], document["tags"]) == (execution, "interrupted", ["nightly"])


def test_an_error_of_several_lines_is_shown_as_lines(capsys) -> None:
    with closing(open_engine(resolve())) as engine:
        attempt, _ = engine.journal.start(Identity(notebook="/home/ana/a.ipynb"), owner=current_owner())
        error = {"ename": "TimedOutError", "evalue": "nobody answered\n  Try: \x1b[31mwait"}
        engine.journal.commit(attempt, a_draft(status=CheckpointStatus.FAILED, error=error))

    _, out, _ = run(capsys, "show", "latest")

    assert "train: TimedOutError: nobody answered\n    Try: \\x1b[31mwait\n" in out


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["--status", "interrupted"], 1), (["--status", "failed"], 0), (["--tag", "nightly"], 1),
        (["--tag", "x"], 0),
        (["--since", "1h"], 1), (["--since", "2999-01-01"], 0), (["--limit", "5"], 1),
    ],
)  # fmt: skip
def test_executions_are_filtered(words: list[str], count: int, execution: str, capsys) -> None:
    code, out, _ = run(capsys, "executions", *words, "--json")

    assert (code, len(json.loads(out))) == (0, count)


def test_without_any_record_executions_is_empty_and_makes_nothing(capsys) -> None:
    as_json = run(capsys, "executions", "--json")
    for_people = run(capsys, "executions")

    assert (as_json[0], json.loads(as_json[1])) == (0, [])
    assert for_people[0] == 0
    assert "nothing is recorded" in for_people[1]
    assert not Path(os.environ["KITARU_NB_HOME"]).exists()


def test_show_tells_what_happened_and_what_to_type(execution: str, capsys) -> None:
    code, out, _ = run(capsys, "show")

    assert code == 0
    assert "interrupted because: the kernel died: SIGKILL" in out
    assert "lr=0.1" in out
    assert "train: ValueError: no \\x1b[31mrows" in out
    assert f"kitaru-nb resume {execution}" in out


def test_show_tells_what_was_logged_and_that_nothing_more_is_to_come(capsys) -> None:
    with closing(open_engine(Settings(home=Path(os.environ["KITARU_NB_HOME"])))) as engine:
        attempt, _ = engine.journal.start(Identity(flow="a:b"), owner=current_owner())
        noted = a_draft("log", kind=StepKind.VALUE, scope="flow", data={"log": {"loss": 0.3}})
        engine.journal.commit(attempt, noted)
        engine.journal.finish(attempt, ExecutionStatus.COMPLETED)

    shown, logs = run(capsys, "show")[1], run(capsys, "logs")[1]

    assert "logged loss=0.3" in shown
    assert shown.endswith("\nno checkpoints\n")
    assert "  logged loss=0.3\n" in logs


def test_show_takes_the_start_of_an_id(execution: str, capsys) -> None:
    code, out, _ = run(capsys, "show", execution[:10], "--json")

    document = json.loads(out)
    assert code == 0
    assert [(c["name"], c["status"]) for c in document["checkpoints"]] == [
        ("load", "completed"),
        ("train", "failed"),
    ]


def test_why_names_the_reason(execution: str, capsys) -> None:
    code, out, _ = run(capsys, "why", "latest", "train")
    document = json.loads(run(capsys, "why", "latest", "train", "--json")[1])

    assert code == 0
    assert "ValueError" in out
    assert document["status"] == "failed"
    assert document["reasons"][0]["kind"] == "failed"
    assert list(document["reads"]) == ["rows"]


def test_artifacts_lists_refs_that_artifact_takes(execution: str, capsys) -> None:
    (listed,) = json.loads(run(capsys, "artifacts", "--json")[1])
    code, out, _ = run(capsys, "artifact", listed["ref"])
    document = json.loads(run(capsys, "artifact", listed["ref"], "--json")[1])

    assert code == 0
    assert "list\n[1, 2, 3]" in out
    assert document == listed


def test_an_artifact_is_written_to_a_file(execution: str, capsys, tmp_path: Path) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")

    code, _, _ = run(capsys, "artifact", "rows", "--out", str(tmp_path / "rows.pkl"))

    assert code == 0
    assert cloudpickle.loads((tmp_path / "rows.pkl").read_bytes()) == [1, 2, 3]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(execution: str, capsys, tmp_path: Path) -> None:
    code, _, err = run(capsys, "artifact", "rows", "--out", str(tmp_path / "missing" / "rows.pkl"))

    assert code == 1
    assert "could not be written: No such file or directory" in err
    assert list(tmp_path.iterdir()) == [Path(os.environ["KITARU_NB_HOME"])]


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["exections"], "there is no verb `exections`", "kitaru-nb executions"),
        (["--nope"], "there is no option `--nope`", "kitaru-nb --help"),
        (["show", "a", "b"], "`show` does not take `b`", "kitaru-nb show --help"),
        (
            ["executions", "--stack", "x"],
            "has no option `--stack`",
            "KITARU_NB_STACK=NAME kitaru-nb executions",
        ),
        (["executions", "--limt", "3"], "`executions` has no option `--limt`", "--limit, or"),
        (["executions", "--limit", "x"], "--limit is `x`, which is no whole number", "--limit 2"),
        (["run", "a.ipynb", "--budget", "free"], "--budget is `free`, which is no number", "--budget 0.5"),
        (["executions", "--status", "complete"], "--status", "--status completed"),
        (["store", "verifyy"], "invalid value `verifyy`", "kitaru-nb store verify"),
        (["executions", "--limit", "0"], "--limit is 0", "--limit 20"),
        (["executions", "--limit", "1", "--limit", "2"], "multiple times", "kitaru-nb executions --help"),
        (["executions", "--since", "yesterday"], "neither a length of time nor a date", "--since 2h"),
        (["why", "latest"], "`why` needs CHECKPOINT", "kitaru-nb why --help"),
        (["run"], "`run` needs NOTEBOOK", "kitaru-nb run NOTEBOOK"),
        (
            ["run", "a.ipynb", "-p", "x"],
            "`run` needs more than `x` after `-p`",
            "kitaru-nb run --help",
        ),
        (["run", "a.ipynb", "-p", "x=a b"], "needs more than `x=a b` after `-p`", "-p x 'a b'"),
        (["stack", "check", "loca"], "there is no stack `loca`", "kitaru-nb stack check local"),
        (["stack", "use", "zzz"], "there is no stack `zzz`", "one of local"),
        (["run", "a.ipynb", "--stack", "locl"], "there is no stack `locl`", "--stack local"),
        (["stack", "create", "a/b"], "a stack cannot be called `a/b`", "a-b"),
        (
            ["stack", "create", "x", "--store", "s3://b/p?x=1"],
            "s3://bucket/prefix and nothing more",
            "--option",
        ),
        (
            ["stack", "create", "x", "--journal", "/a/j.db"],
            "of a kind that does not exist",
            'journal = "sqlite:////a/j.db"',
        ),
        (["stack", "create", "x", "--store", "s3:/b"], "of a kind that does not exist", "s3://bucket"),
        (["fake-llm", "--latency=-1"], "--latency is -1, which is no number of seconds", "--latency 0.5"),
        (["fake-llm", "--host", "no.such.host.invalid"], "cannot listen", "--host"),
        (["fake-llm", "--answers", "/dev/null"], "is not JSON", "--answers FILE"),
        (["artifact", "a/b"], "`a/b` does not name a stored value", "latest/train/model"),
    ],
)
def test_a_wrong_command_line_says_what_to_type(words, message, hint, execution: str, capsys) -> None:
    code, out, err = run(capsys, *words)

    assert (code, out) == (2, "")
    assert message in err.splitlines()[0]
    assert hint in err.splitlines()[1]


def test_a_wrong_command_line_is_a_document_when_asked(capsys) -> None:
    code, out, err = run(capsys, "show", "a", "b", "--json")

    assert (code, err) == (2, "")
    assert json.loads(out)["error"]["kind"] == "unexpected-argument"


def test_what_is_not_there_is_a_failure_not_a_wrong_command_line(execution: str, capsys) -> None:
    code, out, _ = run(capsys, "why", "latest", "trian", "--json")

    assert code == 1
    assert json.loads(out)["error"] == {
        "kind": "unknown-checkpoint",
        "message": f"execution `{execution}` has no checkpoint `trian`; it has `load`, `train`",
        "hint": "train",
    }


def test_json_as_the_value_of_a_parameter_is_no_wish_for_json(capsys) -> None:
    code, out, err = run(capsys, "run", "missing.ipynb", "-p", "format", "--json")

    assert code != 0
    assert out == ""
    assert err.startswith("error: ")


def test_a_damaged_journal_is_an_error_without_a_traceback(execution: str, capsys) -> None:
    home = Path(os.environ["KITARU_NB_HOME"])
    (home / "journal.db").write_bytes(b"\xff" * 5000)

    code, out, err = run(capsys, "executions")

    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert "  Try: " in err


def test_ctrl_c_exits_130(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def interrupted(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(executions, "open_engine", interrupted)

    code, _, err = run(capsys, "executions")

    assert (code, err) == (130, "error: interrupted\n")


@pytest.mark.parametrize(("words", "said"), [([], "error: interrupted\n"), (["--json"], "")])
def test_ctrl_c_while_the_command_is_loaded_exits_130(tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "cyclopts.py").write_text("raise KeyboardInterrupt\n")  # where it comes as this is loaded
    command = [sys.executable, "-m", "kitaru_nb", "executions", *words]

    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (130, said)
    assert not words or json.loads(done.stdout)["error"]["kind"] == "interrupted"


@pytest.mark.parametrize("words", [["executions"], ["show", "nosuch"], ["executions", "--nosuch"]])
def test_a_reader_that_has_gone_ends_any_command_without_a_traceback(
    words: list[str], execution: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "kitaru_nb", *words, "--json"]

    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)

    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_help_lists_every_verb_in_order(capsys) -> None:
    code, out, _ = run(capsys, "--help")

    words = [
        "run",
        "resume",
        "executions",
        "show",
        "why",
        "artifacts",
        "artifact",
        "enable",
        "demo",
        "doctor",
    ]
    found = [
        line.split()[1] for line in out.splitlines() if line.startswith("│ ") and line.split()[1] in words
    ]
    assert code == 0
    assert found == words


@pytest.mark.parametrize("text", ['["q1", "y", "z"]', "[draft", "[1, 2]", '{"a": 1}', ""])
@pytest.mark.parametrize(
    ("words", "name", "expected"),
    [
        (["run", "a.ipynb", "-p", "x"], "parameters", lambda text: (("x", text),)),
        (["run", "a.ipynb", "-f"], "parameter_files", lambda text: (text,)),
        (["run", "a.ipynb", "--tag"], "tags", lambda text: (text,)),
        (["run", "a.ipynb", "--grid"], "grid", lambda text: (text,)),
        (["replay", "latest", "--from", "train", "--set"], "changes", lambda text: (text,)),
        (
            ["schedule", "show", "a.ipynb", "--as", "cron", "-p", "x"],
            "parameters",
            lambda text: (("x", text),),
        ),
        (["stack", "create", "s", "--option", "region"], "option", lambda text: (("region", text),)),
        (["answer", "wait", "--value"], "value", lambda text: text),
    ],
)
def test_a_value_reaches_its_option_as_it_was_typed(
    words: list[str], name: str, expected: Callable[[str], object], text: str
) -> None:
    _, bound, _ = app.parse_args([*words, text], print_error=False, exit_on_error=False)

    assert bound.arguments[name] == expected(text)


def test_a_notebook_whose_name_looks_like_a_list_is_one_notebook() -> None:
    _, bound, _ = app.parse_args(["run", '["a", "b"]'], print_error=False, exit_on_error=False)

    assert bound.args == ('["a", "b"]',)


@pytest.mark.parametrize("text", ["2h", "2026-03-01", "2026-03-01T10:00:00+02:00"])
def test_since_takes_a_length_of_time_or_a_date(text: str) -> None:
    assert begun_after(text).tzinfo is not None


@pytest.mark.parametrize("text", ["", "soon", "-2h", "99999999999d", "2026-13-01"])
def test_since_refuses_the_rest(text: str) -> None:
    with pytest.raises(UsageError, match="neither a length of time nor a date"):
        begun_after(text)


def test_an_unexpected_error_is_a_document_and_a_traceback_with_json(capsys, monkeypatch) -> None:
    def broken(*_args: object, **_options: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(executions, "open_engine", broken)

    code, out, err = run(capsys, "executions", "--json")

    assert code == 1
    assert json.loads(out)["error"]["message"] == "RuntimeError: broken"
    assert "Traceback" in err
