"""Replays of notebooks: what was before the named cell is taken over, the cell and those after it run."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import nbformat
import pytest

import kitaru_nb as kt
from kitaru_nb.engine.refs import checkpoint_names, steps
from kitaru_nb.errors import KitaruError, NotFoundError, UsageError
from kitaru_nb.model.execution import Execution, ExecutionStatus
from kitaru_nb.stacks.background import log_of
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.replaying import NotebookHandle
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.testing import fake_llm
from tests.further import further
from tests.integration.headless import Finished, Notebook, finished, start
from tests.integration.kernel import Kernel
from tests.patience import PATIENCE, until

CELLS = [
    "tick('load')\nrows = [1, 2, 3]\nprint('loaded', len(rows))",
    "tick('clean')\nclean = [row * 2 for row in rows]",
    "tick('train')\nmodel = sum(clean) * rate\nmodel",
    "tick('score')\nprint(model + 1)",
]
FETCH = """%%checkpoint define
import kitaru_nb as kt
@kt.checkpoint
def fetch(n):
    tick(f'fetch{n}')
    return n * 10"""


def ran(folder: Path, cells: Sequence[str] = CELLS, *, first: str = "rate = 1") -> Notebook:
    """A notebook that a command has run to its end."""
    notebook = Notebook(folder, [first, *cells])
    done = notebook.kitaru("run", "work.ipynb", "--no-progress")
    assert done.code == 0, done.stderr
    ticks(notebook)
    return notebook


@pytest.fixture(autouse=True)
def _nothing_ticked() -> None:
    _seen.clear()


_seen: list[str] = []


def ticks(notebook: Notebook) -> list[str]:
    """What ran since this was asked last."""
    new = notebook.ticks()[len(_seen) :]
    _seen.extend(new)
    return new


def replayed(notebook: Notebook, *words: str) -> Finished:
    done = notebook.kitaru("replay", "latest", *words, "--no-progress")
    assert done.code == 0, done.stderr
    return done


def output_of(notebook: Notebook) -> nbformat.NotebookNode:
    """The notebook that the newest execution has written."""
    return nbformat.read(str(newest(notebook).identity.output), as_version=4)


def newest(notebook: Notebook) -> Execution:
    return notebook.executions()[0]


def statuses(execution: Execution) -> dict[str, str]:
    with closing(open_engine(resolve(), read_only=True)) as engine:
        found = steps(engine.journal, execution.id)
    return {
        name: "overridden" if step.draft.data.get("overridden") else step.draft.status.value
        for name, step in zip(checkpoint_names(found), found, strict=True)
    }


def texts(nb: nbformat.NotebookNode) -> dict[str, str]:
    """What each code cell shows, by its id."""
    return {
        cell["id"]: "".join(
            output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs
        ).strip()
        for cell in nb.cells
        if cell.cell_type == "code"
    }


def test_the_named_cell_and_those_after_it_run_on_what_the_ones_before_had_left(tmp_path: Path) -> None:
    notebook = ran(tmp_path)
    original = newest(notebook)
    source = notebook.path.read_bytes()

    done = replayed(notebook, "--from", "model", "--set", "rate=10")

    assert ticks(notebook) == ["train", "score"]
    assert texts(output_of(notebook)) == {
        "tools": "",
        "c0": "",
        "c1": "loaded 3",
        "c2": "",
        "c3": "120",
        "c4": "121",
    }
    assert newest(notebook).parent == original.id
    assert newest(notebook).saved_duration > 0
    assert str(newest(notebook).identity.output).endswith(f".replay-{newest(notebook).id[3:13]}.ipynb")
    assert f"replays {original.id} from `model`, with rate=10" in done.stderr
    assert notebook.path.read_bytes() == source
    assert f"replayed as {newest(notebook).id}" in notebook.kitaru("show", original.id).stdout


@pytest.mark.further
def test_the_named_cell_runs_though_it_is_marked_and_nothing_has_changed(tmp_path: Path) -> None:
    cells = [f"%%checkpoint {name}\ntick('{name}')\n{name} = 1" for name in ("load", "train", "score")]
    notebook = ran(tmp_path, cells)

    replayed(notebook, "--from", "train")

    assert ticks(notebook) == ["train", "score"]


@pytest.mark.further
def test_calls_before_the_named_one_in_its_cell_are_served(tmp_path: Path) -> None:
    notebook = ran(tmp_path, [FETCH, "tick('all')\ngot = [fetch(n) for n in range(3)]\nprint(got)"])

    replayed(notebook, "--from", "fetch#2")

    assert ticks(notebook) == ["all", "fetch1", "fetch2"]
    assert texts(output_of(notebook))["c2"] == "[0, 10, 20]"


def test_a_call_in_a_cell_can_be_given_instead_of_made(tmp_path: Path) -> None:
    notebook = ran(tmp_path, [FETCH, "got = [fetch(n) for n in range(3)]\nprint(got)"])

    replayed(notebook, "--from", "got", "--set", 'fetch#2="given"')

    assert ticks(notebook) == ["fetch0", "fetch2"]
    assert texts(output_of(notebook))["c2"] == "[0, 'given', 20]"


def test_a_cell_before_can_be_given_and_only_what_it_reaches_runs(tmp_path: Path) -> None:
    cells = [*CELLS[:2], "tick('apart')\napart = 7", *CELLS[2:]]
    notebook = ran(tmp_path, cells)

    replayed(notebook, "--from", "model", "--set", 'checkpoint.rows={"rows": [100]}')

    assert ticks(notebook) == ["clean", "train", "score"]
    assert texts(output_of(notebook))["c5"] == "201"
    fates = statuses(newest(notebook))
    assert (fates["rows"], fates["clean"], fates["apart"]) == ("overridden", "completed", "restored")


@pytest.mark.further
def test_a_replay_that_was_killed_goes_on_as_itself(tmp_path: Path) -> None:
    cells = [
        *CELLS[:3],
        "import os, signal\ntick('score')\nif once('x'): os.kill(os.getpid(), signal.SIGKILL)",
    ]
    notebook = Notebook(tmp_path, ["rate = 1", *cells, "print(model)"])
    (tmp_path / "once-x").touch()
    assert notebook.kitaru("run", "work.ipynb", "--no-progress").code == 0
    (tmp_path / "once-x").unlink()
    ticks(notebook)

    died = notebook.kitaru("replay", "--from", "model", "--set", "rate=10", "--no-progress")
    replay = newest(notebook)
    resumed = notebook.kitaru("resume", replay.id, "--no-progress")

    assert died.code == 138, died.stderr
    assert resumed.code == 0, resumed.stderr
    assert newest(notebook).id == replay.id
    assert ticks(notebook) == ["train", "score", "score"]  # the named cell is on record by then
    assert texts(output_of(notebook))["c5"] == "120"


@pytest.mark.further
def test_a_replay_whose_worker_is_killed_in_the_named_cell_goes_on_with_what_it_was_given(
    tmp_path: Path,
) -> None:
    cells = [
        *CELLS[:2],
        "tick('train')\nimport time\nwhile once('hold'): time.sleep(60)\nprint(sum(clean) * rate)",
    ]
    notebook = Notebook(tmp_path, ["rate = 1", *cells])
    (tmp_path / "once-hold").touch()
    assert notebook.kitaru("run", "work.ipynb", "--no-progress").code == 0
    (tmp_path / "once-hold").unlink()
    ticks(notebook)
    named = list(statuses(newest(notebook)))[-1]
    words = ["replay", "--from", named, "--set", "rate=10", "--no-progress"]
    worker = start(["-m", "kitaru_nb", *words], tmp_path)
    until(lambda: ticks(notebook) == ["train"])
    os.kill(worker.pid, signal.SIGKILL)
    finished(worker)
    resumed = notebook.kitaru("resume", "--no-progress")

    assert resumed.code == 0, resumed.stderr
    assert ticks(notebook) == ["train"]
    assert texts(output_of(notebook))["c3"] == "120"
    assert newest(notebook).attempts == 2


def test_a_cell_before_that_was_let_raise_is_shown_as_it_failed(tmp_path: Path) -> None:
    cells = ["print('seen')\n1 / 0", *CELLS]
    notebook = Notebook(tmp_path, ["rate = 1", *cells], tags={1: ["raises-exception"]})
    assert notebook.kitaru("run", "work.ipynb", "--no-progress").code == 0
    original = notebook.result().cells

    replayed(notebook, "--from", "model", "--set", "rate=10")
    again = notebook.kitaru("replay", "latest", "--from", list(statuses(newest(notebook)))[-1])
    shown = output_of(notebook).cells

    assert again.code == 0, again.stderr
    assert (shown[2].outputs, shown[2].execution_count) == (original[2].outputs, 3)
    assert [cell.execution_count for cell in shown if cell.cell_type == "code"] == [*range(1, 8)]


@pytest.mark.further
def test_edited_cells_before_are_taken_over_as_they_ran_and_the_others_run_as_they_are(
    tmp_path: Path,
) -> None:
    notebook = ran(tmp_path)
    notebook.edit(1, "tick('other-load')\nrows = [1000]")
    notebook.edit(3, "tick('other-train')\nmodel = max(clean)\nmodel")

    done = replayed(notebook, "--from", "model")

    assert ticks(notebook) == ["other-train", "score"]
    shown = output_of(notebook)
    assert texts(shown)["c3"] == "6"
    assert next(cell.source for cell in shown.cells if cell["id"] == "c1") == CELLS[0]
    assert "edited since, and taken over as they ran: `rows`" in done.stderr
    assert "edited since, and run as they are now: `model`" in done.stderr


@pytest.mark.further
def test_what_cells_before_had_saved_and_done_once_is_there(tmp_path: Path) -> None:
    pay = "kt.once('pay', tick, 'pay')"
    first = f"import kitaru_nb as kt\nkt.save('draft', 'text')\n{pay}\nkt.stream('s').append(1)"
    saved = "kt.load('draft', execution=kt.current_execution().id)"
    second = f"{pay}\nprint({saved}, list(kt.stream('s')))"
    notebook = ran(tmp_path, [first, second])

    replayed(notebook, "--from", list(statuses(newest(notebook)))[-1])

    assert ticks(notebook) == []
    assert texts(output_of(notebook))["c2"] == "text [1]"


@pytest.mark.further
def test_parameters_whose_cell_runs_are_the_ones_that_are_set(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["rate = 1", *CELLS], tags={0: ["parameters"]})
    assert notebook.kitaru("run", "work.ipynb", "--no-progress", "-p", "rate", "2").code == 0

    replayed(notebook, "--from", "rate", "--set", "rate=10")
    whole = texts(output_of(notebook))
    replayed(notebook, "--from", "model", "--set", "rate=5")

    assert whole["c3"] == "120"
    assert texts(output_of(notebook))["c3"] == "60"


@pytest.mark.further
@pytest.mark.parametrize("given", [[], ["-p", "other", "3"]])
def test_parameters_that_the_original_did_not_set_are_set_after_their_cell(
    tmp_path: Path, given: list[str]
) -> None:
    cells = ["rate = 1\nother = 0", *CELLS]
    notebook = Notebook(tmp_path, cells, tags={0: ["parameters"]})
    assert notebook.kitaru("run", "work.ipynb", "--no-progress", *given).code == 0

    replayed(notebook, "--from", "rate", "--set", "input.rate=10")
    whole = output_of(notebook)
    replayed(notebook, "--from", "model", "--set", "rate=5")

    sources = [cell.source for cell in whole.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    assert [source.splitlines()[1:] for source in sources] == [
        [*(["other = 3"] if given else []), "rate = 10"]
    ]
    assert texts(whole)["c3"] == "120"
    assert texts(output_of(notebook))["c3"] == "60"


@pytest.mark.further
def test_parameters_that_a_replay_sets_are_there_in_its_next_attempt_too(tmp_path: Path) -> None:
    dies = "import os, signal\nif once('death'): os.kill(os.getpid(), signal.SIGKILL)"
    notebook = Notebook(tmp_path, ["rate = 1", "once = lambda name: False", *CELLS], tags={0: ["parameters"]})
    assert notebook.kitaru("run", "work.ipynb", "--no-progress").code == 0
    notebook.nb.cells[2].source = "pass"
    notebook.nb.cells[4].source = f"{dies}\n{CELLS[1]}"
    notebook.save()

    died = notebook.kitaru("replay", "latest", "--from", "rate", "--set", "input.rate=10", "--no-progress")
    ended = notebook.kitaru("resume", newest(notebook).id, "--no-progress")

    assert (died.code, ended.code) == (138, 0), ended.stderr
    assert texts(output_of(notebook))["c4"] == "120"


@pytest.mark.further
def test_a_replay_of_a_replay_begins_with_what_that_had(tmp_path: Path) -> None:
    notebook = ran(tmp_path)
    replayed(notebook, "--from", "model", "--set", "rate=10")
    ticks(notebook)

    replayed(notebook, "--from", list(statuses(newest(notebook)))[-1])

    assert ticks(notebook) == ["score"]
    assert texts(output_of(notebook))["c4"] == "121"
    assert statuses(newest(notebook))["model"] == "restored"


def test_model_calls_before_the_named_cell_cost_nothing(tmp_path: Path) -> None:
    with fake_llm() as llm:
        ask = (
            "import httpx\ndef ask(text):\n    asked = [{'role': 'user', 'content': text}]\n"
            f"    return httpx.post('{llm.openai_url}/chat/completions', "
            "json={'model': 'gpt-4o', 'messages': asked}).json()['usage']"
        )
        notebook = ran(tmp_path, [ask, "ask('a')", "ask('b')", "ask('c')"])
        asked = llm.requests
        names = list(statuses(newest(notebook)))

        replayed(notebook, "--from", names[-2])

        assert (asked, llm.requests) == (3, 5)
    assert [call.prompt for call in llm.calls] == ["a", "b", "c", "b", "c"]
    replay, original = notebook.executions()
    assert replay.tokens is not None
    assert original.tokens is not None
    assert replay.tokens * 3 == original.tokens * 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        further(["--from", "modle"], "Try: model"),
        (["--from", "model", "--set", 'rows={"rows": [1]}'], "input.rows or checkpoint.rows"),
        further(
            ["--from", "model", "--set", 'checkpoint.rows={"other": 1}'],
            "`rows` is a cell, which gives `rows`",
        ),
        further(["--from", "model", "--set", "rate"], "--set NAME=VALUE"),
        further(["--from", "model", "-o", "work.ipynb"], "never overwrites"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_begun(
    tmp_path: Path, words: Sequence[str], told: str
) -> None:
    notebook = ran(tmp_path)

    refused = notebook.kitaru("replay", "latest", *words)

    assert refused.code in (1, 2)
    assert told in refused.stderr
    assert len(notebook.executions()) == 1


@pytest.mark.further
def test_a_cell_that_the_notebook_has_no_more_is_named(tmp_path: Path) -> None:
    notebook = ran(tmp_path)
    del notebook.nb.cells[-2]
    notebook.save()

    refused = notebook.kitaru("replay", "--from", "model", "--json")

    assert json.loads(refused.stdout)["error"]["kind"] == "unknown-cell"


# From Python


def test_replay_gives_a_handle_of_a_process_of_its_own(tmp_path: Path) -> None:
    notebook = ran(tmp_path)

    handle = kt.replay(from_="model", inputs={"rate": 10})
    output = handle.result(PATIENCE)

    assert isinstance(handle, NotebookHandle)
    assert handle.status is ExecutionStatus.COMPLETED
    assert texts(nbformat.read(output, as_version=4))["c4"] == "121"
    assert handle.execution == newest(notebook).id
    assert newest(notebook).attempts == 1
    assert output in handle._repr_mimebundle_()["text/html"]


@pytest.mark.further
def test_a_replay_that_failed_says_so_where_its_result_is_asked_for(tmp_path: Path) -> None:
    notebook = ran(tmp_path)
    notebook.edit(4, "1 / 0")

    handle = kt.replay(from_="model")

    with pytest.raises(KitaruError, match="ZeroDivisionError") as failed:
        handle.result(PATIENCE)
    assert failed.value.kind == "replay-failed"
    assert "ZeroDivisionError" in log_of(resolve().home, handle.execution).read_text()


@pytest.mark.further
def test_nothing_is_begun_where_the_checkpoint_is_unknown(tmp_path: Path) -> None:
    notebook = ran(tmp_path)

    with pytest.raises(NotFoundError):
        kt.replay(from_="no such")

    assert len(notebook.executions()) == 1


# Notebooks that are run by hand


BY_HAND = [
    "from side_journal import tick\nfactor = 3",
    "%%checkpoint load\ntick('load')\nrows = [1, 2, 3]",
    "extra = [10]\nrows.append(4)",
    "%%checkpoint train\ntick('train')\nmodel = sum(rows) * factor + extra[0]\nmodel",
    "%%checkpoint score\ntick('score')\nprint(model + 1)",
]


def by_hand(notebook: Notebook, kernel: Kernel, cells: Sequence[str]) -> None:
    for number, source in enumerate(cells):
        assert kernel.run(source, cell=f"c{number}").ok, source
    ticks(notebook)


def ended(notebook: Notebook) -> Execution:
    """The newest execution, once it has ended."""
    until(lambda: newest(notebook).status is not ExecutionStatus.RUNNING)
    return newest(notebook)


@pytest.mark.further
def test_what_a_plain_cell_had_bound_to_what_the_named_cell_binds_anew_is_there(tmp_path: Path) -> None:
    cells = ["rows = [1]\nkept = rows", "a = 0", "tick('plain')\na = rows", "rows = 5", "print(a, a is kept)"]
    notebook = Notebook(tmp_path, cells, tags={2: ["no-checkpoint"]})
    assert notebook.kitaru("run", "work.ipynb", "--no-progress").code == 0
    ticks(notebook)

    done = replayed(notebook, "--from", "rows-2")

    assert texts(output_of(notebook))["c4"] == "[1] True"
    assert ticks(notebook) == ["plain"]
    assert "run again: not all that the named one began with is on record" in done.stderr


@pytest.mark.further
def test_by_hand_what_plain_cells_had_changed_before_the_named_cell_is_there(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, BY_HAND)
    with Kernel(resolve().home, notebook=notebook.path, cwd=tmp_path) as kernel:
        by_hand(notebook, kernel, BY_HAND)
        kernel.run("factor = 100")

        said = kernel.run("%replay --from train --set extra=[factor]").said
        replay = ended(notebook)
        mine = kernel.run("rows, factor, extra, model").result

    assert replay.status is ExecutionStatus.COMPLETED, replay.reason
    assert ticks(notebook) == ["train", "score"]
    assert texts(output_of(notebook))["c3"] == str((1 + 2 + 3 + 4) * 3 + 100)
    assert mine == "([1, 2, 3, 4], 100, [10], 40)"
    assert "from `train`, with extra=[100]" in said
    assert f"%kitaru show {replay.id}" in said


@pytest.mark.further
def test_by_hand_the_cells_since_the_last_checkpoint_run_again_where_their_doing_is_not_on_record(
    tmp_path: Path,
) -> None:
    cells = [
        *BY_HAND[:2],
        "tick('plain')\nmodel = [0]",
        "%%checkpoint train\nmodel.append(sum(rows))\nprint(model)",
    ]
    notebook = Notebook(tmp_path, cells)
    with Kernel(resolve().home, notebook=notebook.path, cwd=tmp_path) as kernel:
        by_hand(notebook, kernel, cells)

        said = kernel.run("%replay --from train").said
        replay = ended(notebook)

    assert replay.status is ExecutionStatus.COMPLETED, replay.reason
    assert ticks(notebook) == ["plain"]
    assert texts(output_of(notebook))["c3"] == "[0, 6]"
    assert "the cells after `load` run again" in said


@pytest.mark.further
def test_a_name_that_nothing_has_is_refused_before_anything_begins(tmp_path: Path) -> None:
    cells = [*BY_HAND, "%replay --from train --set facter=2"]
    notebook = Notebook(tmp_path, cells)
    with Kernel(resolve().home, notebook=notebook.path, cwd=tmp_path) as kernel:
        by_hand(notebook, kernel, BY_HAND)

        refused = kernel.run(cells[-1])

    assert refused.ename == "UsageError"
    assert refused.evalue.startswith("`facter` holds nothing before `train`, and no cell uses it")
    assert "--set factor=..." in refused.evalue
    assert len(notebook.executions()) == 1
    with pytest.raises(UsageError, match="`nosuch` holds nothing"):
        kt.replay(from_="train", inputs={"nosuch": 2})


@pytest.mark.further
def test_by_hand_objects_of_the_notebook_can_be_given(tmp_path: Path) -> None:
    cells = ["%%checkpoint make\nscale = lambda x: x", "%%checkpoint use\nprint(scale(2))"]
    notebook = Notebook(tmp_path, cells)
    with Kernel(resolve().home, notebook=notebook.path, cwd=tmp_path) as kernel:
        by_hand(notebook, kernel, cells)
        kernel.run("times = 21\ndef scaled(x):\n    return x * times")

        kernel.run("%replay --from use --set scale=scaled")
        replay = ended(notebook)

    assert replay.status is ExecutionStatus.COMPLETED, replay.reason
    assert texts(output_of(notebook))["c1"] == "42"


@pytest.mark.further
def test_by_hand_a_call_in_a_plain_cell_can_be_named(tmp_path: Path) -> None:
    cells = [
        "from side_journal import tick\nimport kitaru_nb as kt",
        "%%checkpoint load\ntick('load')\nrows = [1, 2]",
        "@kt.checkpoint\ndef fetch(n):\n    tick(f'fetch{n}')\n    return n",
        "print([fetch(n) for n in rows])",
    ]
    notebook = Notebook(tmp_path, cells)
    with Kernel(resolve().home, notebook=notebook.path, cwd=tmp_path) as kernel:
        by_hand(notebook, kernel, cells)

        kernel.run("%replay --from fetch#2")
        replay = ended(notebook)

    assert replay.status is ExecutionStatus.COMPLETED, replay.reason
    assert ticks(notebook) == ["fetch2"]
    assert texts(output_of(notebook))["c3"] == "[1, 2]"


@pytest.mark.further
def test_by_hand_a_replay_is_refused_whose_cells_stand_in_another_order_than_they_ran(tmp_path: Path) -> None:
    cells = ["%%checkpoint train\nmodel.append(1)", "%%checkpoint load\nrows = [1]", "model = []"]
    notebook = Notebook(tmp_path, cells)
    with Kernel(resolve().home, notebook=notebook.path, cwd=tmp_path) as kernel:
        for number in (1, 2, 0):
            assert kernel.run(cells[number], cell=f"c{number}").ok

        refused = kernel.run("%replay --from train")

    assert refused.ename == "UsageError"
    assert "stands above that of `load`" in refused.evalue


@pytest.mark.further
def test_a_flow_in_a_notebook_is_replayed_by_the_magic_with_its_edited_code(tmp_path: Path) -> None:
    steps_ = "import kitaru_nb as kt\n@kt.checkpoint\ndef a(x):\n    return x + 1"
    flow = "@kt.flow\ndef agent(x):\n    return b(a(x))"
    with Kernel(resolve().home, notebook=tmp_path / "n.ipynb", cwd=tmp_path) as kernel:
        kernel.run(steps_)
        kernel.run("@kt.checkpoint\ndef b(x):\n    return x * 10")
        kernel.run(flow)
        first = kernel.run("agent(1)").result
        kernel.run("@kt.checkpoint\ndef b(x):\n    return x * 100")

        found = kernel.run("%kitaru executions --json")
        execution = next(each["id"] for each in json.loads(found.stdout) if each["flow"])
        second = kernel.run(f"%replay {execution} --from b")
        handle = kernel.run(
            f"h = kt.replay('{execution}', from_='a', inputs={{'x': 5}})\nh.result(), h.status.value"
        )

    assert (first, second.result) == ("20", "200"), second
    assert handle.result == "(600, 'completed')", handle


@pytest.mark.further
def test_a_replay_does_not_replay_again_where_the_notebook_holds_the_cell_that_asked_for_it(
    tmp_path: Path,
) -> None:
    cells = [*BY_HAND, "%replay --from train"]
    notebook = Notebook(tmp_path, cells)
    with Kernel(resolve().home, notebook=notebook.path, cwd=tmp_path) as kernel:
        by_hand(notebook, kernel, cells)
        replay = ended(notebook)

    assert replay.status is ExecutionStatus.COMPLETED, replay.reason
    assert len(notebook.executions()) == 2
    assert "this is a replay itself" in texts(output_of(notebook))[f"c{len(BY_HAND)}"]


@pytest.mark.further
def test_the_notebook_of_the_docs_asks_what_if(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "notebooks" / "04_what_if.ipynb"
    shutil.copy(source, tmp_path)

    done = finished(start(["-m", "kitaru_nb", "run", source.name, "--no-progress"], tmp_path))

    assert done.code == 0, done.stderr
    shown = texts(nbformat.read(tmp_path / "04_what_if.out.ipynb", as_version=4))
    with closing(open_engine(resolve(), read_only=True)) as engine:
        *replays, first = [each for each in engine.journal.executions() if each.identity.flow]
    paid = {each.id: each.cost for each in (first, *replays)}
    answer, facts, cheap, tone = (each.id for each in replays)
    assert all(each.status is ExecutionStatus.COMPLETED and each.parent == first.id for each in replays)
    assert "A cheerful note" in shown["tone"]
    assert "model calls paid: 1" in shown["tone"]
    assert "the first difference is in `draft`" in shown["diff"]
    assert paid[answer] is None
    assert paid[cheap] < paid[tone] < paid[first.id]
    assert facts in shown["facts"]
    assert "published: (gpt-4o) A plain note on: the dredger sank in 1911" in shown["facts"]
    assert "kept in the drawer\nmodel calls paid: 0" in shown["answer"]


def test_the_flow_of_a_notebook_is_replayed_when_its_kernel_is_gone(tmp_path: Path) -> None:
    with Kernel(resolve().home, notebook=tmp_path / "n.ipynb", cwd=tmp_path) as kernel:
        kernel.run("import kitaru_nb as kt\n@kt.checkpoint\ndef a(x):\n    return x + 1")
        kernel.run("@kt.flow\ndef agent(x, y=1):\n    return a(a(x)) * y")
        kernel.run("agent(1)")
    with closing(open_engine(resolve(), read_only=True)) as engine:
        execution = next(each for each in engine.journal.executions() if each.identity.flow)

    handle = kt.replay(execution, from_="a#2", inputs={"y": 7})

    assert handle.result() == 21


@pytest.mark.further
def test_a_magic_that_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    with Kernel(resolve().home, notebook=tmp_path / "n.ipynb", cwd=tmp_path) as kernel:
        kernel.run("%%checkpoint load\nrows = 1", cell="a")

        control = kernel.run("%replay")
        nowhere = kernel.run("%replay --set rows=2")
        text = kernel.run("%replay --from load --set tone=casual")

    assert control.ok, "alone it shows the control"
    assert (nowhere.ename, text.ename) == ("UsageError", "UsageError")
    assert "--from CHECKPOINT" in nowhere.evalue
    assert '--set tone="text"' in text.evalue
