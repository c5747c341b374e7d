"""What the hooks need of the engine and of what is shown. It loads with the first step, and once."""

from __future__ import annotations

from kitaru_nb.engine.cell import Cell
from kitaru_nb.engine.failures import Failures
from kitaru_nb.engine.live import ran_again
from kitaru_nb.engine.session import Outcome
from kitaru_nb.engine.steps import Given, Restore
from kitaru_nb.notebook import display
from kitaru_nb.notebook.opening import open_session

__all__ = ["Cell", "Failures", "Given", "Outcome", "Restore", "display", "open_session", "ran_again"]
