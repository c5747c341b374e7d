"""`audit verify`: that nothing on record was changed afterwards."""

from __future__ import annotations

from contextlib import closing
from typing import Literal

from kitaru_nb.cli.output import Json, clean, print_json
from kitaru_nb.errors import CorruptError
from kitaru_nb.stacks.open import open_journal
from kitaru_nb.stacks.settings import resolve

__all__ = ["audit"]


def audit(action: Literal["verify"], /, *, json: Json = False) -> int:  # noqa: ARG001 - the only one there is
    """Check that nothing on record was changed, removed or put between afterwards.

    Every event, among them each question and each answer, holds the checksum of the one before
    it. The checksum of the newest one is printed: keep it elsewhere, and a later check tells
    whether all that was recorded until then is still there as it was.

    Args:
        action: verify: read and check everything; exit 1 when something is not as it was recorded.
        json: Print one JSON document.
    """
    problems, number, checksum = _verified()
    if json:
        told = [{"kind": each.kind, "message": each.message} for each in problems]
        print_json({"events": number, "newest": checksum or None, "problems": told})
    elif problems:
        for each in problems:
            print(f"damaged: {clean(each.message)}")
        print(clean(f"  Try: {problems[0].hint}"))
    else:
        print(f"{number} events, each as it was recorded; the newest has the checksum {checksum}")
    return 1 if problems else 0


def _verified() -> tuple[list[CorruptError], int, str]:
    """What is not as it was recorded; else how many events there are, and the newest one's checksum."""
    try:
        with closing(open_journal(resolve(), read_only=True)) as journal:
            problems = journal.verify()
            return problems, *((0, "") if problems else journal.newest_event())
    except CorruptError as error:  # so damaged that it cannot even be opened
        return [error], 0, ""
