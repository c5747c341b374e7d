"""From what changed to stored groups: what is written, in which order, and what is kept."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.artifacts.marker import marker_details
from kitaru_nb.engine.commit import Written, refuse_unstorable, write_groups, write_value
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.namespace import Names, Namespace
from kitaru_nb.errors import CorruptError, UnstorableError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.checkpoint import Group
from kitaru_nb.model.execution import Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.testing import a_draft, digest_of


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(Settings(home=tmp_path / "home"))
    yield engine
    engine.close()


def record(journal: Journal, written: Written) -> None:
    attempt, _ = journal.start(Identity(notebook="/a.ipynb"), owner=current_owner(), new=True, take_over=True)
    draft = a_draft(groups=tuple(written.groups))
    journal.commit(attempt, draft, artifacts=written.artifacts, locations=written.locations)


class Writer:
    """Runs source in a namespace and writes all of it."""

    def __init__(self, engine: Engine, source: str) -> None:
        self.engine = engine
        self.live: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
        self.namespace = Namespace(self.live)
        exec(source, self.live)

    def write(self, on_record: Mapping[Names, Group] | None = None, **options: Any) -> Written:
        state = self.namespace.observe()
        options.setdefault("by_step", frozenset(state.groups))
        return write_groups(
            self.engine, self.namespace, state, changed=state.groups, on_record=on_record or {}, **options
        )


def order(written: Written) -> list[Names]:
    return [group.names for group in written.groups]


def test_definitions_come_before_what_refers_to_them(engine: Engine) -> None:
    writer = Writer(
        engine, "x = 1\nrows = [1]\nclass B: pass\nclass A: pass\nb = B()\nclass C(A): pass\ndef f(): pass"
    )

    assert order(writer.write()) == [("B",), ("A",), ("C",), ("f",), ("x",), ("rows",), ("b",)]


def test_an_instance_refers_to_its_class_and_does_not_carry_it(engine: Engine) -> None:
    writer = Writer(engine, "class Model:\n    def fit(self):\n        return 'fit'\nm = Model()")

    written = writer.write()
    record(engine.journal, written)

    digest = written.groups[1].artifact
    asked: list[str] = []

    def resolve(anchor: Any) -> object:
        asked.append(anchor.name)
        assert anchor.artifact == written.groups[0].artifact
        return writer.live[anchor.name]

    assert type(engine.get(digest, namespace={}, resolve=resolve)["m"]) is writer.live["Model"]
    assert asked == ["Model"]


def test_a_reference_to_a_function_with_an_alias_is_met_by_its_name_alone(engine: Engine) -> None:
    writer = Writer(engine, "def f(): pass\ng = f\nkept = [f]")
    written = writer.write()
    record(engine.journal, written)
    met: list[Any] = []

    def resolve(anchor: Any) -> object:
        met.append((anchor.name, anchor.value))
        return None

    engine.get(written.groups[1].artifact, namespace={}, resolve=resolve)

    assert met == [("f", writer.namespace.digest({"f": writer.live["f"]}))]


def test_what_is_on_record_as_it_is_costs_nothing(engine: Engine) -> None:
    writer = Writer(engine, "rows = [1]\nother = [2]")
    first = writer.write()
    record(engine.journal, first)
    writer.live["other"].append(3)

    second = writer.write({group.names: group for group in first.groups})

    assert [a.digest for a in second.artifacts] == [second.groups[1].artifact]
    assert second.groups[0] == first.groups[0]
    assert second.groups[1] != first.groups[1]


def test_a_known_group_says_anew_whether_the_step_wrote_it(engine: Engine) -> None:
    writer = Writer(engine, "rows = [1]")
    (known,) = writer.write().groups

    (group,) = writer.write({("rows",): known}, by_step=frozenset()).groups

    assert (known.written, group.written) == (True, False)
    assert group.artifact == known.artifact


def test_an_excluded_name_is_a_marker_and_the_others_are_stored(engine: Engine) -> None:
    writer = Writer(engine, "rows = [1]\nboth = [rows]")

    written = writer.write(exclude=frozenset({"rows"}))
    record(engine.journal, written)

    (group,) = written.groups
    values: dict[str, Any] = engine.get(group.artifact, namespace={})
    assert group.unstorable == {"rows": "left out by --exclude"}
    assert marker_details(values["rows"])[:2] == ("rows", "list")
    assert values["both"] == [[1]]
    assert writer.live["rows"] == [1]


def test_what_could_not_be_stored_is_no_anchor(engine: Engine) -> None:
    writer = Writer(engine, "class Model: pass\nm = Model()")

    written = writer.write(exclude=frozenset({"Model"}))
    record(engine.journal, written)

    loaded: dict[str, Any] = engine.get(written.groups[1].artifact, namespace={})
    assert type(loaded["m"]).__name__ == "Model"


def test_strict_names_the_first_value_that_could_not_be_stored(engine: Engine) -> None:
    written = Writer(engine, "rows = [1]\ngen = (i for i in rows)").write()

    with pytest.raises(UnstorableError, match=r"`load` wrote `gen`") as refused:
        refuse_unstorable(written, "load")

    assert refused.value.hint == "%%checkpoint load --exclude gen"
    refuse_unstorable(Writer(engine, "rows = [1]").write(), "load")


def test_one_value_is_stored_by_itself(engine: Engine) -> None:
    writer = Writer(engine, "")
    written = Written()

    digest = write_value(engine, writer.namespace, "_", [1, 2], written)
    record(engine.journal, written)

    assert digest is not None
    assert engine.get(digest, namespace={}) == {"_": [1, 2]}


def test_a_value_that_cannot_be_stored_leaves_nothing(engine: Engine) -> None:
    written = Written()

    assert write_value(engine, Writer(engine, "").namespace, "_", (i for i in ()), written) is None
    assert written == Written()


def test_an_artifact_that_is_missing_is_named(engine: Engine) -> None:
    with pytest.raises(CorruptError) as refused:
        engine.get(digest_of("nothing"), namespace={})

    assert refused.value.kind == "missing-artifact"
