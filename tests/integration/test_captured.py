"""`%%capture` above a step, in a real kernel: what it keeps is the same after a restore."""

from __future__ import annotations

from pathlib import Path

from tests.integration.kernel import Kernel, Ran

NOISY = """%%capture kept
%%checkpoint noisy
import sys
print('out')
print('err', file=sys.stderr)
display({'shown': 1})
7"""
READ = "%%checkpoint read\nread = kept.stdout, kept.stderr, [each.data for each in kept.outputs]"
SHOW = "print(read, kept.outputs[0].data == read[2][0], len(kept.outputs))"
CELLS = (NOISY, READ, SHOW)
EXPECTED = """('out\\n', 'err\\n', [{'text/plain': "{'shown': 1}"}, {'text/plain': '7'}]) True 2\n"""


def _turn(place: Path) -> list[Ran]:
    with Kernel(place / "home", notebook=place / "nb.ipynb", cwd=place) as kernel:
        return [kernel.run(source, cell=f"c{number}") for number, source in enumerate(CELLS)]


def test_what_a_capture_keeps_of_a_step_is_kept_again_when_it_is_restored(tmp_path: Path) -> None:
    first, again = _turn(tmp_path), _turn(tmp_path)

    assert ["saved" in each.said for each in first[:2]] == [True, True]
    assert ["restored" in each.said for each in again[:2]] == [True, True]
    assert first[2].stdout == again[2].stdout == EXPECTED
