"""What doctor finds, without starting a kernel's Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru_nb.model.execution import Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks import doctor
from kitaru_nb.stacks.doctor import examine
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve


@pytest.fixture(autouse=True)
def kernels(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The kernels that are found; asking real ones takes a process each and is tested elsewhere."""
    found = [{"name": "python3", "python": "/py", "language": "python", "kitaru_nb": True, "error": None}]
    monkeypatch.setattr(doctor, "_kernel", lambda name, spec: found[0])
    return found


def kinds(problems: list[doctor.Problem]) -> list[str]:
    assert all(problem.hint for problem in problems)
    return [problem.kind for problem in problems]


def test_a_fresh_place_is_usable_and_stays_untouched(tmp_path: Path) -> None:
    found = examine(Settings(home=tmp_path / "home"))

    assert found.usable
    assert found.home["exists"] is False
    assert not (tmp_path / "home").exists()


def test_a_journal_whose_maker_died_before_its_tables_were_there_is_usable(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home" / "journal.db").touch(0o600)

    diagnosis = examine(Settings(home=tmp_path / "home"))

    assert diagnosis.usable, diagnosis.problems


def test_a_used_place_tells_what_is_in_it(tmp_path: Path) -> None:
    engine = open_engine(Settings(home=tmp_path / "home"))
    engine.journal.start(Identity(notebook="/a.ipynb"), owner=current_owner())
    engine.close()

    found = examine(Settings(home=tmp_path / "home", sources={"home": "KITARU_NB_HOME"}))

    assert found.usable
    assert (found.journal["executions"], found.journal["checked"]) == (1, True)
    assert found.journal["format"] >= 1
    assert found.settings[0] == {"name": "home", "value": str(tmp_path / "home"), "source": "KITARU_NB_HOME"}


def test_a_home_under_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    found = examine(Settings(home=tmp_path / "file" / "home"))

    assert kinds(found.problems) == ["home-not-a-folder"]
    assert found.home["writable"] is False


def test_a_damaged_journal_is_a_problem(tmp_path: Path) -> None:
    open_engine(Settings(home=tmp_path / "home")).close()
    (tmp_path / "home" / "journal.db").write_bytes(b"\xff" * 5000)

    found = examine(Settings(home=tmp_path / "home"))

    assert not found.usable


def test_a_home_that_others_can_look_into_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    (tmp_path / "home").chmod(0o755)

    found = examine(Settings(home=tmp_path / "home"))

    assert found.usable
    assert "home-open-to-others" in kinds(found.warnings)


def test_a_network_file_system_is_said_with_what_it_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "file_system", lambda path: "nfs4")

    found = examine(Settings(home=tmp_path / "home"))

    assert "network-file-system" in kinds(found.warnings)
    assert found.home["network"]


def test_without_any_kernel_that_has_kitaru_nb_nothing_can_run(tmp_path: Path, kernels) -> None:
    kernels[0]["kitaru_nb"] = False

    found = examine(Settings(home=tmp_path / "home"))

    assert kinds(found.warnings)[-1] == "kernel-without-kitaru"
    assert kinds(found.problems) == ["no-kernel"]
    assert found.warnings[-1].hint == "/py -m pip install kitaru-nb"


def test_a_kernel_that_cannot_start_is_a_warning(tmp_path: Path, kernels) -> None:
    kernels[0] |= {"error": "`/py`: No such file or directory", "kitaru_nb": None}

    assert "broken-kernel" in kinds(examine(Settings(home=tmp_path / "home")).warnings)


def test_it_speaks_of_the_folders_of_the_stack_not_of_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kitaru_nb.toml").write_text(
        '[stacks.team]\nstore = "values"\njournal = "sqlite:///records/journal.db"\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KITARU_NB_STACK", "team")
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    engine = open_engine(resolve())
    engine.journal.start(Identity(notebook="/a.ipynb"), owner=current_owner())
    engine.store.write([memoryview(bytes(200_000))], index=engine.journal)
    engine.close()
    (tmp_path / "home").rmdir()
    (tmp_path / "home").write_text("a file where the home would be")
    (tmp_path / "records").chmod(0o755)

    found = examine(resolve())

    records, values = str(tmp_path / "records"), str(tmp_path / "values")
    assert found.usable, "the stack keeps nothing in the home"
    assert [each["path"] for each in found.folders] == [records, values]
    assert found.stack["where"] == {"journal": f"{records}/journal.db", "store": values}
    assert (found.journal["path"], found.journal["executions"]) == (f"{records}/journal.db", 1)
    assert found.disk["path"] == values
    assert found.disk["bytes"] > 200_000
    assert (found.home["used"], found.home["path"]) == (False, str(tmp_path / "home"))
    assert "home-open-to-others" in kinds(found.warnings)


def test_a_folder_of_the_stack_that_cannot_be_written_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "values").write_text("")
    (tmp_path / "kitaru_nb.toml").write_text('[stacks.team]\nstore = "values/deep"\n')
    monkeypatch.chdir(tmp_path)

    found = examine(resolve(stack="team", home=tmp_path / "home"))

    (problem,) = found.problems
    assert problem.kind == "home-not-a-folder"
    assert str(tmp_path / "values" / "deep") in problem.message
    assert "KITARU_NB_STACK=local" in problem.hint
