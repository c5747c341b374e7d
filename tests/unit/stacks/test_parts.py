"""Where a stack keeps its parts: what it names, and what goes with it where it names only one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kitaru_nb.engine.gc import Policy, collect
from kitaru_nb.errors import StoreError, UsageError
from kitaru_nb.model.checkpoint import Group
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import LOCAL, Stack
from kitaru_nb.stacks.open import load, open_engine
from kitaru_nb.stacks.parts import (
    as_typed_in,
    folders_of,
    journal_file,
    object_store,
    own_files,
    parted,
    store_folder,
)
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.testing import a_draft

HOME = Path("/home/ana/kitaru")
SETTINGS = Settings(home=HOME)
FILE = "/work/project/kitaru_nb.toml"


def of(store: str | None = None, journal: str | None = None) -> Stack:
    return Stack("team", store=store, journal=journal, source=FILE)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///rel.db", "/work/project/rel.db"),
        ("sqlite:///data/rel.db", "/work/project/data/rel.db"),
        ("sqlite:////srv/abs.db", "/srv/abs.db"),
        ("sqlite:////srv/two%20words.db", "/srv/two words.db"),
        ("sqlite:///~/own.db", str(Path("~/own.db").expanduser())),
    ],
)
def test_a_journal_file_is_meant_as_sqlalchemy_means_it(url: str, path: str) -> None:
    assert journal_file(SETTINGS, of(journal=url)) == Path(path)


def test_an_absolute_path_that_lacks_its_own_slash_is_refused_with_both_ways_to_write_it(
    tmp_path: Path,
) -> None:
    """`tmp` or `home` would be a new folder beside the file, and nobody would find the journal there."""
    first = tmp_path.parts[1]
    stack = Stack("team", journal=f"sqlite://{tmp_path}/j.db", source=str(tmp_path / "kitaru_nb.toml"))

    with pytest.raises(UsageError, match="has three slashes") as caught:
        journal_file(SETTINGS, stack)
    with pytest.raises(UsageError, match="has three slashes"):
        as_typed_in(tmp_path, f"sqlite://{tmp_path}/j.db", Path("/cfg"))

    meant = tmp_path.relative_to("/") / "j.db"
    absolute, relative = f"sqlite:////{meant}", f"sqlite:///./{meant}"
    assert caught.value.kind == "bad-journal-url"
    assert f'"{absolute}"' in caught.value.hint
    assert f'"{relative}"' in caught.value.hint
    assert journal_file(SETTINGS, replace(stack, journal=absolute)) == tmp_path / "j.db"
    assert journal_file(SETTINGS, replace(stack, journal=relative)) == tmp_path / meant
    assert as_typed_in(tmp_path, relative, tmp_path) == relative
    (tmp_path / first).mkdir()
    assert journal_file(SETTINGS, stack) == tmp_path / meant, "where there is one already it is meant"


@pytest.mark.parametrize(
    "url", ["sqlite://rel.db", "sqlite://", "sqlite:///", "sqlite:rel.db", "mysql://x/y"]
)
def test_a_journal_url_that_names_no_file_is_refused_with_the_ways_to_write_one(url: str) -> None:
    with pytest.raises(UsageError, match="kind that does not exist") as caught:
        journal_file(SETTINGS, of(journal=url))

    assert "sqlite:///" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "path"),
    [("values", "/work/project/values"), ("/srv/values", "/srv/values"), ("file:///srv/v", "/srv/v")],
)
def test_a_folder_of_values_is_relative_to_the_file_of_the_stack(url: str, path: str) -> None:
    assert store_folder(SETTINGS, of(store=url)) == Path(path)


def test_a_file_url_with_a_host_is_refused_not_guessed() -> None:
    with pytest.raises(UsageError, match="kind that does not exist"):
        store_folder(SETTINGS, of(store="file://srv/values"))


def test_a_stack_that_names_neither_is_in_the_home() -> None:
    assert journal_file(SETTINGS, of()) == HOME / "journal.db"
    assert store_folder(SETTINGS, of()) == HOME / "store"
    assert folders_of(SETTINGS, of()) == folders_of(SETTINGS, LOCAL) == (HOME,)


def test_a_stack_that_names_one_part_has_the_other_beside_it() -> None:
    assert journal_file(SETTINGS, of(store="values")) == Path("/work/project/values/journal.db")
    assert store_folder(SETTINGS, of(journal="sqlite:////srv/journal.db")) == Path("/srv/store")
    assert store_folder(SETTINGS, of(journal="sqlite:////srv/b.db")) == Path("/srv/b-store")
    assert folders_of(SETTINGS, of(store="values")) == (Path("/work/project/values"),)


def test_beside_a_server_the_other_part_is_in_a_folder_of_the_home_of_its_own() -> None:
    one = journal_file(SETTINGS, of(store="s3://bucket/one"))
    two = journal_file(SETTINGS, of(store="s3://bucket/two"))
    values = store_folder(SETTINGS, of(journal="postgresql://ana@db/work"))

    assert one is not None
    assert two is not None
    assert values is not None
    assert one != two
    assert one.parent.parent == two.parent.parent == values.parent.parent == HOME / "stacks"
    assert folders_of(SETTINGS, of("s3://bucket/one", "postgresql://ana@db/work")) == ()


@pytest.mark.parametrize(
    ("stack", "apart"),
    [
        (of(journal="postgresql://ana@db/work"), True),
        (of("s3://bucket/one", "postgresql://ana@db/work"), False),
        (of("/mnt/team", "postgresql://ana@db/work"), False),
        (of("s3://bucket/one"), False),
        (of(journal="sqlite:////srv/journal.db"), False),
        (of(), False),
    ],
)
def test_records_on_a_server_with_values_on_one_machine_are_told_of(stack: Stack, *, apart: bool) -> None:
    told = parted(SETTINGS, stack)

    assert (told is not None) == apart
    assert told is None or f"`{store_folder(SETTINGS, stack)}`" in told[0]


def test_what_is_ours_is_named_file_by_file_in_a_folder_of_the_users() -> None:
    ours = own_files(SETTINGS, of("values", "sqlite:///rel.db"))

    assert {HOME, Path("/work/project/values"), Path("/work/project/rel.db-wal")} <= set(ours)
    assert Path("/work/project") not in ours


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("values", "sub/values"),
        ("sqlite:///j.db", "sqlite:///sub/j.db"),
        ("../values", "/work/project/sub/../values"),
        ("/srv/values", "/srv/values"),
        ("sqlite:////srv/j.db", "sqlite:////srv/j.db"),
        ("~/values", "~/values"),
        ("s3://bucket/x", "s3://bucket/x"),
        ("postgresql://ana@db/work", "postgresql://ana@db/work"),
    ],
)
def test_what_is_typed_in_a_folder_is_meant_from_there(typed: str, written: str) -> None:
    assert as_typed_in(Path("/work/project/sub"), typed, Path("/work/project")) == written


def test_below_another_folder_a_typed_path_is_written_out() -> None:
    assert as_typed_in(Path("/work"), "v", Path("/home/ana/.config")) == "/work/v"
    assert as_typed_in(Path("/work"), "sqlite:///j.db", Path("/cfg")) == "sqlite:////work/j.db"


@pytest.fixture
def stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with stacks that name one part only, and two that name one folder."""
    (tmp_path / "kitaru_nb.toml").write_text(
        '[stacks.values]\nstore = "values"\n[stacks.records]\njournal = "sqlite:///records.db"\n'
        '[stacks.one]\nstore = "both"\njournal = "sqlite:///one.db"\n'
        '[stacks.two]\nstore = "both"\njournal = "sqlite:///two.db"\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    return tmp_path


def keep(stack: str, value: bytes) -> None:
    """Store `value` as `x` in a finished execution on a stack."""
    engine = open_engine(resolve(stack=stack))
    attempt, _ = engine.journal.start(Identity(notebook=f"/{stack}.ipynb"), owner=current_owner())
    stored = engine.put({"x": value}, namespace={})
    engine.store.flush()
    group = Group(("x",), stored.artifact.digest, stored.artifact.digest)
    draft = engine.trust.signed(a_draft("step", groups=(group,)), attempt.execution)
    engine.journal.commit(attempt, draft, artifacts=[stored.artifact], locations=stored.locations)
    engine.journal.finish(attempt, ExecutionStatus.COMPLETED)
    engine.close()


@pytest.mark.parametrize("other", ["values", "records"])
def test_a_stack_that_names_one_part_leaves_what_others_stored_alone(
    stacks: Path, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = bytes(range(256)) * 4096
    keep("local", value)
    keep(other, value)
    engine = open_engine(resolve(stack=other), limited=False)
    collect(engine.journal, engine.store, Policy(), grace=-60)
    engine.close()

    assert load("x") == value
    monkeypatch.setenv("KITARU_NB_STACK", other)
    assert load("x") == value
    engine = open_engine(resolve(stack=other), read_only=True)
    assert len(engine.journal.executions()) == 1
    engine.close()
    assert stacks.is_dir()


def test_a_folder_of_values_belongs_to_the_journal_that_used_it_first(stacks: Path) -> None:
    value = bytes(range(256)) * 4096
    keep("one", value)

    with pytest.raises(StoreError) as refused:
        keep("two", value)
    engine = open_engine(resolve(stack="two"), limited=False)
    with pytest.raises(StoreError) as kept:
        collect(engine.journal, engine.store, Policy(), grace=-60)
    engine.close()

    assert refused.value.kind == kept.value.kind == "foreign-store"
    assert str(stacks / "both") in refused.value.message
    keep("one", value)  # and stays its own
    assert (stacks / "both" / "owner").stat().st_mode & 0o777 == 0o600


CLOUDS = [
    ("s3://bucket/x", "secret_access_key", "kitaru-nb[s3]"),
    ("gs://bucket/x", "service_account_key", "kitaru-nb[gcs]"),
    ("az://container/x", "account_key", "kitaru-nb[azure]"),
    ("abfs://container@account.dfs.core.windows.net/x", "connection_string", "kitaru-nb[azure]"),
]


@pytest.mark.parametrize(("url", "option", "extra"), CLOUDS)
def test_a_bucket_gets_the_secret_that_its_stack_refers_to(
    url: str, option: str, extra: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed", exc_type=ImportError)
    stack = Stack("team", store=url, options={option: "secret:env:TEAM_STORE_KEY"}, source=FILE)
    monkeypatch.setenv("TEAM_STORE_KEY", "hunter2-hunter2")

    store = object_store(Settings(home=tmp_path), stack, read_only=False, owner=None)

    assert store._bucket._options == {"retry_timeout": "60", option: "hunter2-hunter2"}
    assert "hunter2" not in f"{store!r} {stack!r}"


@pytest.mark.parametrize(
    ("given", "seconds"), [({}, 7.0), ({"retry_timeout": "90"}, 90.0)], ids=["the setting", "the stack"]
)
def test_a_bucket_is_waited_for_as_long_as_its_stack_or_else_the_setting_says(
    given: dict[str, str], seconds: float, tmp_path: Path
) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed", exc_type=ImportError)
    stack = Stack("team", store="s3://bucket/x", options=given, source=FILE)

    store = object_store(Settings(home=tmp_path, patience=7.0), stack, read_only=False, owner=None)

    assert store._bucket._tries[1] == seconds


@pytest.mark.parametrize(("url", "option", "extra"), CLOUDS)
def test_a_secret_or_a_package_that_a_bucket_needs_and_has_not_is_named(
    url: str, option: str, extra: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed", exc_type=ImportError)
    stack = Stack("team", store=url, options={option: "secret:env:TEAM_STORE_KEY"}, source=FILE)
    monkeypatch.delenv("TEAM_STORE_KEY", raising=False)

    with pytest.raises(UsageError, match="TEAM_STORE_KEY, which is not set") as secret:
        object_store(Settings(home=tmp_path), stack, read_only=False, owner=None)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(StoreError, match="needs the package obstore") as package:
        object_store(Settings(home=tmp_path), stack, read_only=False, owner=None)

    assert secret.value.kind == "missing-secret"
    assert f"`{option}` of stack `team`" in secret.value.message
    assert (package.value.kind, package.value.hint) == ("missing-package", f"pip install '{extra}'")
