"""One server for all of a module's tests; each has a home, and so records, of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kitaru_nb.engine.engine import Engine
from kitaru_nb.model.execution import Attempt, Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.wait import Question, Wait, binding_of
from kitaru_nb.stacks.open import open_engine
from tests.served import Api, in_process


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def api(root: Path) -> Iterator[Api]:
    with in_process(root) as (_, found):
        yield found


@pytest.fixture
def engine() -> Iterator[Engine]:
    with closing(open_engine(Settings(home=Path(os.environ["KITARU_NB_HOME"])))) as opened:
        yield opened


class Recorder:
    """Puts executions and waits on record."""

    def __init__(self, engine: Engine, root: Path) -> None:
        self.engine = engine
        self.journal = engine.journal
        self.root = root

    def begin(
        self, notebook: str = "n.ipynb", *, tags: tuple[str, ...] = (), output: bool = False
    ) -> Attempt:
        path = self.root / notebook
        identity = Identity(
            notebook=str(path), output=str(path.with_suffix(".out.ipynb")) if output else None
        )
        attempt, _ = self.journal.start(identity, owner=current_owner(), tags=tags, new=True)
        return attempt

    def ask(
        self,
        attempt: Attempt,
        text: str = "Publish?",
        *,
        name: str = "publish",
        schema: object = None,
        **more: object,
    ) -> Wait:
        kind = {"type": "boolean"} if schema is None else schema
        assert isinstance(kind, dict)
        question = Question(name, "cell:a", 0, text, kind, binding_of(text, kind, None), **more)  # type: ignore[arg-type]
        return self.journal.ask(attempt, question)[0]


@pytest.fixture
def recorder(engine: Engine, root: Path) -> Recorder:
    return Recorder(engine, root)
