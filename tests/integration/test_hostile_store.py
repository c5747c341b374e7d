"""A store, or a file, that somebody hostile made, opened with everything there is: nothing of it runs."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import closing
from pathlib import Path

import pytest

import kitaru_nb
from kitaru_nb.cli.main import main
from kitaru_nb.engine.export import export_execution
from kitaru_nb.errors import KitaruError
from kitaru_nb.model.checkpoint import Group
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.keys import CONFIG, Keyring
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.testing import a_draft
from tests.further import further
from tests.integration.headless import Finished, finished, start
from tests.integration.hostile import CELLS, made_by_mallory, ran
from tests.integration.kernel import Kernel
from tests.unit.engine.kernel import Kernel as Start


class Victim:
    """Ben, who has been handed mallory's store, or has imported mallory's file."""

    def __init__(self, folder: Path, key: str, execution: str) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.notebook = folder / "work.ipynb"
        self.canaries = folder.parent / "canaries"
        self.key = key
        self.execution = execution

    def kernel(self) -> Kernel:
        return Kernel(self.home, notebook=self.notebook, cwd=self.folder)

    def command(self, *words: str) -> Finished:
        return finished(start(["-m", "kitaru_nb", *words], self.folder, {}))


@pytest.fixture(params=["store", further("file")])
def victim(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Victim:
    """Mallory works at the path that ben has, too: in a container everybody does."""
    folder, canaries = tmp_path / "work", tmp_path / "canaries"
    folder.mkdir()
    canaries.mkdir()
    monkeypatch.setenv(CONFIG, str(tmp_path / "mallory"))
    monkeypatch.setenv("KITARU_NB_HOME", str(folder / "home"))
    monkeypatch.chdir(folder)
    execution = made_by_mallory(folder / "home", folder / "work.ipynb", canaries)
    key = Keyring(tmp_path / "mallory").public
    (folder / "report.txt").unlink()
    if request.param == "file":
        with closing(open_engine(Settings(home=folder / "home"), read_only=True)) as engine:
            export_execution(engine, execution, tmp_path / "x.kitaru")
        shutil.rmtree(folder / "home")
    monkeypatch.setenv(CONFIG, str(tmp_path / "ben"))
    if request.param == "file":
        assert main(["import", str(tmp_path / "x.kitaru")]) == 0
    assert ran(canaries) == []
    return Victim(folder, key, execution)


def test_listing_looking_and_checking_run_nothing(victim: Victim, capsys: pytest.CaptureFixture[str]) -> None:
    id_ = victim.execution
    with closing(open_engine(Settings(home=victim.home), read_only=True)) as engine:
        digests = sorted(engine.journal.artifact_digests())
    for words in (
        ["executions"],
        ["executions", "--json"],
        ["show", id_],
        ["show", id_, "--json"],
        ["artifacts", id_],
        ["why", id_, "load"],
        ["store", "info"],
        ["store", "verify"],
        ["gc", "--dry-run"],
        ["doctor"],
        ["export", id_, "again.kitaru"],
        ["import", "again.kitaru"],
    ):
        assert main(words) == 0, words
    capsys.readouterr()
    for ref in (f"{id_}/load/rows", f"{id_}/define/far", f"{id_}/make/point", *digests):
        for more in ([], ["--out", "x.pkl"], ["--out", "x.json"], ["--out", "x.zarr"]):
            refused = main(["artifact", ref, *more])
            said = capsys.readouterr()
            if "/" in ref:
                assert refused == 1, (ref, more)
                assert "kitaru-nb trust" in said.err, (ref, more)

    assert ran(victim.canaries) == []


def test_resuming_in_a_real_kernel_runs_nothing_and_says_whom_to_trust(victim: Victim) -> None:
    with victim.kernel() as kernel:
        resumed = kernel.run(f"%resume {victim.execution}")
        rows = kernel.run("rows")
        used = kernel.run("rows[0]")
        number = kernel.run("number")
        loaded = kernel.run(f"import kitaru_nb\nkitaru_nb.load('rows', execution='{victim.execution}')")
        kernel.run("far(1)")
        kernel.run("point.x")

    assert resumed.ename == "UntrustedError"
    assert f"%kitaru trust {victim.key}" in "\n".join(resumed.traceback)
    assert "rows" in str(rows.result)
    assert not used.ok
    assert number.result == "7"
    assert loaded.ename == "UntrustedError"
    assert ran(victim.canaries) == []
    assert not (victim.folder / "report.txt").exists()
    assert not Path("/tmp/outside").exists()


def test_running_all_cells_runs_nothing_of_mallorys(victim: Victim, request: pytest.FixtureRequest) -> None:
    """In a store that was handed over it stops and says why; what was imported does not stand in the way."""
    handed = request.node.callspec.params["victim"] == "store"
    with victim.kernel() as kernel:
        done = [kernel.run(source, cell=f"c{n}") for n, source in enumerate(CELLS)]
        checks = kernel.run("number, rows") if not handed else None

    if handed:
        # `define` reads a name that `load` would have made, so it is another step here and runs.
        assert [each.ename for each in done] == ["UntrustedError", "", "UntrustedError", "NameError"]
        assert done[0].ename == "UntrustedError"
        assert f"%kitaru trust {victim.key}" in "\n".join(done[0].traceback)
    else:
        assert all(each.ok for each in done)
        assert checks is not None
        assert checks.result == "(7, [[1], [2]])"
    assert ran(victim.canaries) == []


def test_trusting_the_key_lets_everything_in(victim: Victim) -> None:
    """And shows that the payloads would have run: they are no blanks."""
    assert victim.command("trust", victim.key).code == 0

    with victim.kernel() as kernel:
        kernel.run(f"%resume {victim.execution}")

    assert {"value", "function", "class", "process"} <= set(ran(victim.canaries))


def test_trusting_the_key_restores_the_honest_part(victim: Victim) -> None:
    assert victim.command("trust", victim.key).code == 0

    with victim.kernel() as kernel:
        resumed = kernel.run(f"%resume {victim.execution} --at report")
        ran_again = kernel.run("number")

    assert "UntrustedError" not in resumed.ename
    assert ran_again.result == "7"


NAMES = (
    "../../x",
    "..",
    ".",
    "/etc/passwd",
    "/",
    "//x//../y",
    "~/x",
    "C:\\Windows\\x",
    "..\\..\\x",
    "a'; drop table checkpoints; --",
    'a"; DELETE FROM executions; --',
    "a' OR '1'='1",
    "x) UNION SELECT * FROM meta --",
    "%_%",
    "a\0b",
    "a\nb",
    "a\rb",
    "\x1b[2J\x1b]0;title\x07",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "&lt;b&gt;",
    "${HOME}",
    "$(touch canary)",
    "`touch canary`",
    "; touch canary",
    "--help",
    "-rf",
    "\u202eevil\u202c",
    "\ud800",
    "na\u00efve \U0001f600 \u4e2d\u6587 \u0301",
    "x" * 100_000,
    " ",
)
"""Names that somebody may type or record: for paths, SQL, shells, terminals, pages and parsers."""


def tree(folder: Path) -> set[str]:
    """Everything there but what is in the store."""
    return {str(path) for path in folder.rglob("*") if "home" not in path.relative_to(folder).parts}


@pytest.mark.further
@pytest.mark.filterwarnings("ignore:(?i)the (specified )?file:UserWarning")  # papermill's, of such a name
@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:24])
def test_a_hostile_name_that_is_typed_is_a_name_and_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("KITARU_NB_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    kernel = Start(home, settings={"paranoid": False})
    kernel.cell("%%checkpoint load\nnumber = 7", step="c0")
    kernel.stop()
    before, outside = tree(tmp_path), {path.name for path in tmp_path.parent.iterdir()}

    for words in (
        ["show", name],
        ["show", "--", name],
        ["why", "latest", name],
        ["why", name, "load"],
        ["artifacts", name],
        ["artifact", name],
        ["artifact", f"latest/{name}/number"],
        ["artifact", f"latest/load/{name}"],
        ["artifact", f"{name}/load/number"],
        ["pin", name],
        ["export", name, "out.kitaru"],
        ["executions", "--tag", name],
        ["trust", name],
        ["import", name],
        ["plan", name],
    ):
        code = main(words)
        said = capsys.readouterr().err
        assert code in (0, 1, 2), words
        assert not re.search("sqlite|syntax error|Traceback", said), (words, said)
        assert "\x1b" not in said, words
    for look in (
        lambda: kitaru_nb.load(name),
        lambda: kitaru_nb.load("number", execution=name),
        lambda: kitaru_nb.ZarrStore(name),
    ):
        with pytest.raises((KitaruError, ValueError)):
            look()

    assert tree(tmp_path) == before
    assert {path.name for path in tmp_path.parent.iterdir()} == outside
    with closing(open_engine(Settings(home=home), read_only=True)) as engine:
        assert engine.journal.verify() == []  # type: ignore[attr-defined]
        assert len(engine.journal.executions()) == 1


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:24])
def test_a_hostile_name_that_is_recorded_is_shown_and_does_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("KITARU_NB_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    identity = Identity(notebook=name, output=name, parameters={name: name}, flow=None, stack=name)
    with closing(open_engine(Settings(home=home))) as engine:
        attempt, _ = engine.journal.start(identity, owner=current_owner(), tags=[name])
        stored = engine.put({name: 7}, namespace={})
        digest = stored.artifact.digest
        fields = {"name": name, "step": name, "key": digest, "source": name, "reads": {name: digest}}
        files = ({"path": name, "mode": "written", "digest": digest, "bytes": 1, "below": name},)
        draft = a_draft(
            **fields,
            groups=(Group((name,), digest, digest, unstorable={name: name}),),
            conditions={f"file:{name}": name, name: name},
            files=files,
            deleted=(name,),
            outputs=({"output_type": "stream", "name": "stdout", "text": name},),
            error={"ename": name, "evalue": name},
        )
        draft = engine.trust.signed(draft, attempt.execution)
        engine.journal.commit(attempt, draft, artifacts=[stored.artifact], locations=list(stored.locations))
        engine.journal.record_event(attempt.execution, "noted", {name: name})
        engine.journal.finish(attempt, ExecutionStatus.FAILED, reason=name)
        id_ = attempt.execution
        assert engine.journal.executions(identity=identity)[0].identity == identity
        assert engine.journal.executions(notebook=name)[0].id == id_
        assert len(engine.journal.find(draft.key, notebook=name)) == 1
        assert engine.journal.checkpoints(id_)[0].draft == draft
    before = tree(tmp_path)

    for words in (
        ["executions"],
        ["executions", "--json"],
        ["show", id_],
        ["show", id_, "--json"],
        ["artifacts", id_],
        ["artifacts", id_, "--json"],
        ["store", "info"],
        ["store", "verify"],
        ["gc", "--dry-run"],
        ["export", id_, "out.kitaru"],
    ):
        assert main(words) == 0, words
        said = capsys.readouterr()
        assert "\x1b" not in said.out + said.err, words
        assert "Traceback" not in said.err
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home" / "other"))
    assert main(["import", "out.kitaru"]) == 0
    assert main(["show", id_, "--json"]) == 0
    shown = capsys.readouterr().out
    with closing(open_engine(Settings(home=tmp_path / "home" / "other"))) as engine:
        assert engine.journal.checkpoints(id_)[0].draft == draft
        with pytest.raises(KitaruError):  # %resume of it, by somebody in another folder
            Start(tmp_path / "home" / "third").session.resume(id_)

    assert json.dumps(name) in shown
    assert tree(tmp_path) == before | {str(tmp_path / "out.kitaru")}


def test_a_hostile_name_in_a_magic_of_a_real_kernel_runs_nothing(tmp_path: Path) -> None:
    weird = tmp_path / "a'; drop table checkpoints; --<b>"
    weird.mkdir()
    with Kernel(tmp_path / "home", notebook=weird / "wörk $(touch canary).ipynb", cwd=tmp_path) as kernel:
        assert kernel.run("%%checkpoint load\nnumber = 7", cell="c0").ok
        before = tree(tmp_path)
        for name in NAMES:
            for magic in ("%resume", "%rewind", "%why", "%%checkpoint"):
                if not name.isprintable():
                    continue
                done = kernel.run(f"{magic} {name[:200]}\npass")
                told = "\n".join([*done.traceback, done.stdout])
                assert not re.search("sqlite|OperationalError", told), (magic, name, told)
        number = kernel.run("number")
    with closing(open_engine(Settings(home=tmp_path / "home"), read_only=True)) as engine:
        assert engine.journal.verify() == []  # type: ignore[attr-defined]

    assert number.result == "7"
    assert tree(tmp_path) == before
