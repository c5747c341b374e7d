"""Two executions side by side: where they part, and what no difference is."""

from __future__ import annotations

from pathlib import Path

from kitaru_nb import checkpoint, record_usage
from kitaru_nb.engine.book import Book
from kitaru_nb.engine.context import inside
from kitaru_nb.engine.diff import diff_executions
from kitaru_nb.engine.lease import Lease
from kitaru_nb.model.execution import ExecutionStatus, Identity
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine
from tests.unit.engine.turns import Attempts


def test_a_step_that_was_reused_is_the_same_though_its_model_calls_were_not_made_again(
    tmp_path: Path,
) -> None:
    attempts = Attempts(tmp_path / "home")

    @checkpoint(reuse=True)
    def research() -> str:
        record_usage("one", input_tokens=100, output_tokens=20, cost=0.5)
        return "facts"

    @checkpoint
    def draft(tone: str) -> str:
        return f"a {tone} note"

    executions = []
    for tone in ("plain", "cheerful"):
        lease = Lease(attempts.engine, Identity(flow=f"tests:{tone}"))
        book = Book(attempts.engine, lease.take)
        with inside(book.scope("flow")):
            research()
            draft(tone)
        executions.append(book.execution)
        book.close()
        lease.give_back(ExecutionStatus.COMPLETED)

    def opened() -> object:
        return open_engine(Settings(home=tmp_path / "home"), read_only=True)

    found = diff_executions(opened, *executions)  # type: ignore[arg-type] # an engine

    assert found.first is not None
    assert found.first.name == "draft"
    assert [step.same for step in found.steps] == [True, False]
    assert {each.what for each in found.first.differences} == {"input", "value"}
