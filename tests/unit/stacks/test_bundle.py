"""What travels with a run: the notebook without what it shows, and the project's modules it imports."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest

from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import StackError, UntrustedError, UsageError
from kitaru_nb.model.execution import Execution, Identity, current_owner
from kitaru_nb.stacks import bundle as bundles
from kitaru_nb.stacks.bundle import Bundle, bundle_of, keep, kept
from kitaru_nb.stacks.environment import Environment, compared, differences, keep_environment
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve


@pytest.fixture
def engine() -> Iterator[Engine]:
    with closing(open_engine(resolve())) as opened:
        yield opened


def run_of(engine: Engine, notebook: Path) -> Execution:
    attempt, _ = engine.journal.start(
        Identity(notebook=str(notebook), output="/o.ipynb"), owner=current_owner()
    )
    return engine.journal.execution(attempt.execution)


def written(folder: Path, *cells: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nb.cells[0].outputs = [nbformat.v4.new_output("stream", text="what it showed")]
    nbformat.write(nb, folder / "work.ipynb")
    return folder / "work.ipynb"


def made(notebook: Path) -> Bundle:
    found = bundle_of(str(notebook))
    assert found is not None
    return found


def test_modules_of_the_project_travel_with_all_that_they_import(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    package = tmp_path / "src" / "notebooks"
    (package / "parts").mkdir(parents=True)
    (package / "parts" / "__init__.py").write_text("")
    (package / "parts" / "deep.py").write_text("from . import deeper")
    (package / "parts" / "deeper.py").write_text("X = 1")
    (package / "unused.py").write_text("")
    notebook = written(package, "%matplotlib inline\nfrom parts import deep", "import json, numpy")

    found = made(notebook)

    below = "src/notebooks"
    assert sorted(found.files) == [
        f"{below}/parts/__init__.py",
        f"{below}/parts/deep.py",
        f"{below}/parts/deeper.py",
        f"{below}/work.ipynb",
    ]
    assert (found.notebook, found.paths) == (f"{below}/work.ipynb", (below,))
    assert b"what it showed" not in found.files[found.notebook]
    assert "numpy" in found.packages
    assert sys.path[0] != str(package), "the path is as it was"


def test_packages_called_like_their_modules_are_found_without_a_look_at_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text("import zarr.core")
    with monkeypatch.context() as patch:
        patch.delattr(bundles, "packages_distributions")
        found = made(written(tmp_path, "import own, json\nimport numpy.linalg"))
    others = made(written(tmp_path, "import yaml, nothing_of_that_name"))

    assert found.packages == {name: version(name) for name in ("numpy", "zarr")}
    assert others.packages == {"PyYAML": version("PyYAML")}


def test_a_package_that_is_only_called_like_a_module_is_not_the_one_that_travels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Debian's or a fork's packages are: `image` on PyPI has nothing to do with a module `image`."""
    installed = tmp_path / "installed"
    for name, brings in (("shapes", "unrelated.py"), ("shapes-fork", "shapes/__init__.py")):
        about = installed / f"{name.replace('-', '_')}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "RECORD").write_text(f"{brings},,\n{about.name}/METADATA,,\n")
    (installed / "shapes").mkdir()
    (installed / "shapes" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(installed)

    found = made(written(tmp_path / "project", "import shapes"))

    assert found.packages == {"shapes-fork": "1.0"}


def test_a_bundle_is_the_same_until_something_that_runs_changes(tmp_path: Path) -> None:
    notebook = written(tmp_path, "import helper")
    (tmp_path / "helper.py").write_text("X = 1")
    before = made(notebook)
    shown = nbformat.read(notebook, as_version=4)
    shown.cells[0].outputs = []
    nbformat.write(shown, notebook)
    assert made(notebook).digest == before.digest

    (tmp_path / "helper.py").write_text("X = 2")

    assert made(notebook).digest != before.digest


def test_it_comes_out_as_it_went_in(tmp_path: Path, engine: Engine) -> None:
    notebook = written(tmp_path / "here", "import helper", "x = 'ü'")
    (tmp_path / "here" / "helper.py").write_bytes(
        "# -*- coding: latin-1 -*- Gr\xfc\xdfe\nX = 1".encode("latin-1")
    )
    sent, run = made(notebook), run_of(engine, notebook)
    keep(engine, run, sent)
    keep(engine, run, sent)
    assert [event.kind for event in engine.journal.events(run.id)].count("bundle.kept") == 1

    found = kept(engine, run)
    assert found is not None
    path = found.unpack(tmp_path / "there")

    assert nbformat.read(path, as_version=4).cells[1].source == "x = 'ü'"
    assert path.with_name("helper.py").read_bytes() == (tmp_path / "here" / "helper.py").read_bytes()
    assert found.is_at(str(notebook))
    (tmp_path / "here" / "helper.py").write_text("X = 2")
    assert not found.is_at(str(notebook)), "another module lies beside it: it would run with that"
    written(tmp_path / "here", "x = 2")
    assert not found.is_at(str(notebook)), "another notebook lies there now"


def test_what_tells_a_secret_is_left_behind_and_missed_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_API_KEY", "k3y-of-the-team-0123")
    notebook = written(tmp_path, "import helper")
    (tmp_path / "helper.py").write_text("KEY = 'k3y-of-the-team-0123'")
    assert made(notebook).left == ("helper.py",)
    assert "k3y-of-the-team-0123" not in str(made(notebook).to_json())

    found = made(written(tmp_path, "key = 'k3y-of-the-team-0123'"))

    with pytest.raises(StackError) as refused:
        found.unpack(tmp_path / "there")
    assert refused.value.kind == "bundle-incomplete"


def test_a_bundle_that_a_stranger_signed_is_not_run(tmp_path: Path, engine: Engine) -> None:
    notebook = written(tmp_path, "x = 1")
    run = run_of(engine, notebook)
    engine.journal.record_event(run.id, "bundle.kept", made(notebook).to_json())

    with pytest.raises(UntrustedError) as refused:
        kept(engine, run)
    assert refused.value.kind == "untrusted-bundle"


@pytest.mark.parametrize("name", ["../out.py", "/etc/out.py", "a/../../out.py"])
def test_no_name_in_a_bundle_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    evil = Bundle("work.ipynb", {"work.ipynb": b"{}", name: b""})

    with pytest.raises(StackError) as refused:
        evil.unpack(tmp_path / "there")

    assert refused.value.kind == "bundle-damaged"
    assert not (tmp_path / "out.py").exists()


def test_a_python_that_lacks_something_is_refused_and_another_version_is_said(tmp_path: Path) -> None:
    here = made(written(tmp_path, "import numpy, zarr"))
    own = Environment.here(here.packages)
    assert compared(here, own) == []

    for there, what in (
        (replace(own, python="2.7"), r"Python 3\.\d+, and the worker's on .* is 2\.7"),
        (replace(own, packages={"zarr": "3"}), r"lacks numpy=="),
    ):
        with pytest.raises(StackError, match=what) as refused:
            compared(here, there)
        assert refused.value.kind == "environment-differs"
    assert compared(here, replace(own, packages={**own.packages, "numpy": "0.1"}))[0].startswith(
        "numpy is 0.1"
    )


def test_a_checked_stack_is_compared_before_anything_is_submitted(tmp_path: Path) -> None:
    settings, here = resolve(), made(written(tmp_path, "import numpy"))
    assert differences(settings, here) == [], "nobody has looked yet"
    stack = settings.place
    assert stack is not None

    keep_environment(settings, stack, asdict(replace(Environment.here(()), packages={})))

    with pytest.raises(StackError, match="lacks numpy"):
        differences(settings, here)


def test_a_bundle_that_is_too_large_is_refused_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "LARGEST", 100)

    with pytest.raises(UsageError) as refused:
        bundle_of(str(written(tmp_path, "x = 1")))

    assert refused.value.kind == "bundle-too-large"


def test_a_notebook_behind_a_url_is_read_by_the_worker() -> None:
    assert bundle_of("s3://bucket/work.ipynb") is None
