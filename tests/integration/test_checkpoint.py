"""`%%checkpoint` in a real kernel: run or restore, what is repeated, what an edit does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.further import further
from tests.integration.kernel import Kernel, wait_for


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path


def start(place: Path, **options: object) -> Kernel:
    return Kernel(place / "home", notebook=place / "work" / "nb.ipynb", cwd=place / "work", **options)  # type: ignore[arg-type]


@pytest.fixture
def kernel(place: Path) -> Iterator[Kernel]:
    with start(place) as kernel:
        yield kernel


def test_a_cell_runs_once_and_is_restored_with_its_outputs_in_a_new_kernel(place: Path) -> None:
    cell = "%%checkpoint load\nprint('loading')\nopen('ran', 'a').write('x')\nrows = [1, 2, 3]\nlen(rows)"
    with start(place) as first:
        ran = first.run(cell, cell="a")
    with start(place) as second:
        restored = second.run(cell, cell="a")
        rows = second.run("rows, _")

    assert (ran.status, ran.stdout, ran.result) == ("ok", "loading\n", "3")
    assert (restored.status, restored.stdout, restored.result) == ("ok", "loading\n", "3")
    assert rows.result == "([1, 2, 3], 3)"
    assert (place / "work" / "ran").read_text() == "x"
    assert "`load` restored" in restored.said


@pytest.mark.further
def test_settings_in_the_notebooks_metadata_hold_in_its_kernel(place: Path) -> None:
    (place / "work" / "nb.ipynb").write_text('{"cells": [], "metadata": {"kitaru_nb": {"budget": 2.5}}}')
    with start(place) as kernel:
        kernel.run("%%checkpoint a\nx = 1", cell="a")
        found = kernel.run(
            "from kitaru_nb.notebook.extension import hooks\nhooks().session.engine.settings.budget"
        )

    assert found.result == "2.5"


def test_running_the_same_cell_again_by_hand_restores_it(kernel: Kernel) -> None:
    cell = "%%checkpoint a\nimport os\nvalue = os.urandom(8)"
    kernel.run(cell, cell="a")
    first = kernel.run("value").result

    again = kernel.run(cell, cell="a")

    assert kernel.run("value").result == first
    assert "restored" in again.said


@pytest.mark.further
def test_fresh_runs_the_cell_again(kernel: Kernel) -> None:
    kernel.run("%%checkpoint a\nimport os\nvalue = os.urandom(8)", cell="a")
    first = kernel.run("value").result

    again = kernel.run("%%checkpoint a --fresh\nimport os\nvalue = os.urandom(8)", cell="a")

    assert kernel.run("value").result != first
    assert "saved" in again.said


@pytest.mark.further
def test_a_comment_does_not_count_and_an_edit_does(kernel: Kernel) -> None:
    kernel.run("%%checkpoint a\nx = 1 + 1", cell="a")

    commented = kernel.run("# note\n%%checkpoint a\nx = 1+1   # sum", cell="a")
    edited = kernel.run("%%checkpoint a\nx = 1 + 2", cell="a")

    assert "restored" in commented.said
    assert "saved" in edited.said
    assert kernel.run("x").result == "3"


def test_a_changed_input_runs_the_cell_again(kernel: Kernel) -> None:
    kernel.run("K = 3\ndef f(x):\n    return x * K")
    kernel.run("%%checkpoint a\ny = f(2)", cell="a")
    kernel.run("K = 5")

    again = kernel.run("%%checkpoint a\ny = f(2)", cell="a")

    assert "saved" in again.said
    assert kernel.run("y").result == "10"


@pytest.mark.further
def test_an_edited_helper_runs_the_cell_again(kernel: Kernel) -> None:
    kernel.run("def g(x):\n    return x + 1\ndef f(x):\n    return g(x)")
    kernel.run("%%checkpoint a\ny = f(2)", cell="a")
    kernel.run("def g(x):\n    return x + 100")

    kernel.run("%%checkpoint a\ny = f(2)", cell="a")

    assert kernel.run("y").result == "102"


def test_top_level_await_works_and_is_restored(place: Path) -> None:
    cell = "%%checkpoint a\nimport asyncio\nawait asyncio.sleep(0)\nx = 5\nx"
    with start(place) as first:
        ran = first.run(cell, cell="a")
    with start(place) as second:
        restored = second.run(cell, cell="a")
        x = second.run("x")

    assert (ran.result, restored.result, x.result) == ("5", "5", "5")


@pytest.mark.further
def test_a_failing_cell_shows_its_own_line_and_is_not_recorded(kernel: Kernel) -> None:
    cell = "%%checkpoint a\nx = 1\n\n1 / 0"

    failed = kernel.run(cell, cell="a")
    again = kernel.run(cell, cell="a")

    assert failed.status == again.status == "error"
    assert failed.ename == again.ename == "ZeroDivisionError"
    shown = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(failed.traceback))
    assert "----> 4 1 / 0" in shown


@pytest.mark.further
def test_a_semicolon_suppresses_the_result_and_so_does_its_restore(place: Path) -> None:
    cell = "%%checkpoint a\nx = 5\nx;"
    with start(place) as first:
        ran = first.run(cell, cell="a")
    with start(place) as second:
        restored = second.run(cell, cell="a")

    assert ran.result is None
    assert restored.result is None


def test_in_place_changes_and_aliases_come_back(place: Path) -> None:
    cells = [
        ("a", "log = []\nalias = log"),
        ("b", "%%checkpoint b\nlog.append(1)\ntable = {'log': log}"),
    ]
    with start(place) as first:
        for name, source in cells:
            assert first.run(source, cell=name).ok
    with start(place) as second:
        for name, source in cells:
            assert second.run(source, cell=name).ok
        seen = second.run("log, alias is log, table['log'] is log")

    assert seen.result == "([1], True, True)"


def test_restored_instances_belong_to_the_class_of_the_notebook(place: Path) -> None:
    row = (
        "class Row:\n    def __init__(self, n):\n        self.n = n\n"
        "    def double(self):\n        return self.n * K\n"
    )
    cells = [
        ("a", row + "K = 2\nown = Row(1)"),
        ("b", "%%checkpoint b\nrows = [Row(i) for i in range(3)]"),
    ]
    with start(place) as first:
        for name, source in cells:
            first.run(source, cell=name)
    with start(place) as second:
        for name, source in cells:
            second.run(source, cell=name)
        second.run("K = 10")
        seen = second.run("all(isinstance(r, Row) for r in rows), rows[2].double(), type(own) is Row, own.n")

    assert seen.result == "(True, 20, True, 1)"


@pytest.mark.further
def test_restoring_leaves_alone_what_the_cell_did_not_touch(place: Path) -> None:
    with start(place) as first:
        first.run("other = 1\nclass Row: pass\nmine = Row(); mine.n = 1")
        first.run("%%checkpoint b\nrows = [Row()]", cell="b")
    with start(place) as second:
        second.run("other = 2\nclass Row: pass\nmine = Row(); mine.n = 2")
        second.run("%%checkpoint b\nrows = [Row()]", cell="b")
        seen = second.run("other, mine.n, type(rows[0]) is Row is type(mine)")

    assert seen.result == "(2, 2, True)"


@pytest.mark.further
def test_two_cells_with_one_name_are_refused(kernel: Kernel) -> None:
    kernel.run("%%checkpoint load\nx = 1", cell="a")

    second = kernel.run("%%checkpoint load\ny = 2", cell="b")

    assert second.status == "error"
    assert "two cells are called `load`" in second.evalue
    assert kernel.run("'y' in dir()").result == "False"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%%checkpoint a --frsh", "--frsh"),
        further("%%checkpoint ''", "name"),
        further("%%checkpoint a/b", "a/b"),
        further("%%checkpoint " + "x" * 300, "name"),
        further("%%checkpoint a b", "`b`"),
    ],
)
def test_a_bad_directive_is_refused_before_the_cell_runs(kernel: Kernel, line: str, words: str) -> None:
    refused = kernel.run(f"{line}\nran = True", cell="a")

    assert refused.status == "error"
    assert words in refused.evalue
    assert "Try:" in "\n".join(refused.traceback)
    assert kernel.run("'ran' in dir()").result == "False"


@pytest.mark.further
def test_one_percent_asks_for_two(kernel: Kernel) -> None:
    refused = kernel.run("%checkpoint load")

    assert refused.status == "error"
    assert "did you mean `%%checkpoint`" in refused.evalue


def test_a_read_file_that_changed_runs_the_cell_again(kernel: Kernel, place: Path) -> None:
    data = place / "work" / "data.csv"
    data.write_text("1")
    kernel.run("%%checkpoint a\nx = open('data.csv').read()", cell="a")
    data.write_text("2")

    kernel.run("%%checkpoint a\nx = open('data.csv').read()", cell="a")

    assert kernel.run("x").result == "'2'"


@pytest.mark.further
def test_a_cell_tag_does_the_same_as_the_magic(kernel: Kernel) -> None:
    kernel.run("import os\nvalue = os.urandom(8)", cell="a", tags=["checkpoint"])
    first = kernel.run("value").result

    again = kernel.run("import os\nvalue = os.urandom(8)", cell="a", tags=["checkpoint"])

    assert kernel.run("value").result == first
    assert "restored" in again.said


def test_a_name_that_could_not_be_stored_is_refused_where_it_is_read(place: Path) -> None:
    cells = [("a", "%%checkpoint a\ngen = (i for i in range(3))\nn = 5"), ("b", "%%checkpoint b\nlist(gen)")]
    with start(place) as first:
        first.run(cells[0][1], cell="a")
    with start(place) as second:
        restored = second.run(cells[0][1], cell="a")
        refused = second.run(cells[1][1], cell="b")
        n = second.run("n")

    assert "`gen`" in restored.said
    assert refused.status == "error"
    assert "`gen`" in refused.evalue
    assert n.result == "5"


def test_why_names_the_input_that_differs(kernel: Kernel) -> None:
    kernel.run("K = 3")
    kernel.run("%%checkpoint a\ny = K * 2", cell="a")
    kernel.run("K = 4")
    kernel.run("%%checkpoint a\ny = K * 2", cell="a")

    why = kernel.run("%why a")

    assert "`K` holds another value" in "".join(o["data"]["text/plain"] for o in why.outputs)


@pytest.mark.further
def test_a_name_bound_to_the_value_it_had_is_bound_again_when_restored(place: Path) -> None:
    with start(place) as first:
        first.run("x = 1")
        first.run("%%checkpoint a\nx = 1\ny = 2", cell="a")
    with start(place) as second:
        second.run("x = 5")
        restored = second.run("%%checkpoint a\nx = 1\ny = 2", cell="a")
        seen = second.run("x, y")

    assert "restored" in restored.said
    assert seen.result == "(1, 2)"


@pytest.mark.further
def test_a_cell_that_may_have_bound_a_name_is_not_restored_over_another_value(place: Path) -> None:
    cell = "%%checkpoint a\nif n > 10:\n    x = 1\ny = n"
    with start(place) as first:
        first.run("n = 20\nx = 1")
        first.run(cell, cell="a")
    with start(place) as second:
        second.run("n = 20\nx = 5")
        second.run(cell, cell="a")
        seen = second.run("x, y")

    assert seen.result == "(1, 20)"


@pytest.mark.further
def test_a_loop_run_again_by_hand_is_restored(kernel: Kernel) -> None:
    loop = "for i in range(3):\n    with open('paid', 'a') as f:\n        f.write(str(i))\nprint(i)"
    cell = "%%checkpoint a\n" + loop
    kernel.run(cell, cell="a")

    again = kernel.run(cell, cell="a")

    assert "restored" in again.said
    assert kernel.run("open('paid').read()").result == "'012'"


def test_an_edited_project_module_runs_the_cell_again_in_a_new_kernel(place: Path) -> None:
    module = place / "work" / "helper.py"
    cell = "%%checkpoint a\nimport helper\ny = helper.double(2)"
    module.write_text("def double(x):\n    return x * 2\n")
    with start(place) as first:
        first.run(cell, cell="a")
    module.write_text("def double(x):\n    return x * 200\n")
    with start(place) as second:
        again = second.run(cell, cell="a")
        y = second.run("y")

    assert "saved" in again.said
    assert y.result == "400"


@pytest.mark.further
def test_a_plain_cell_that_was_edited_keeps_its_own_binding_of_an_alias(place: Path) -> None:
    with start(place) as first:
        first.run("log = []\nalias = log")
        first.run("%%checkpoint a\nlog.append(1)", cell="a")
    with start(place) as second:
        second.run("log = []\nalias = []")
        second.run("%%checkpoint a\nlog.append(1)", cell="a")
        seen = second.run("log, alias")

    assert seen.result == "([1], [])"


PROCESS = (
    "import json, logging, os, sys, random\n"
    "import numpy as np, pandas as pd\n"
    "random.seed(3); np.random.seed(3)\n"
    "os.environ['MODE'] = 'fast'; os.environ['MY_API_KEY'] = 'sk-1234567890abcdef'\n"
    "os.makedirs('sub', exist_ok=True); os.chdir('sub')\n"
    "sys.path.insert(0, '/first'); sys.path.append('/last')\n"
    "logging.getLogger('mine').setLevel(logging.ERROR)\n"
    "pd.set_option('display.max_rows', 7); np.set_printoptions(precision=3)\n"
    "json.mine = 5\n"
    "40 + 2"
)
SEEN = (
    "(random.random(), np.random.rand(), os.environ.get('MODE'), os.environ.get('MY_API_KEY'),"
    " os.path.basename(os.getcwd()),"
    " sys.path[0], sys.path[-1], logging.getLogger('mine').level, pd.get_option('display.max_rows'),"
    " np.get_printoptions()['precision'], json.mine)"
)


@pytest.mark.parametrize("magic", ["", further("%%checkpoint a\n")])
def test_process_state_comes_back_with_resume_whichever_cell_set_it(place: Path, magic: str) -> None:
    with start(place) as first:
        first.run(magic + PROCESS, cell="a")
        first.run("%%checkpoint b\nx = 1\nx + 1", cell="b")
        expected = first.run(SEEN).result
        first.kill()
    with start(place) as second:
        report = second.run("%resume")
        seen = second.run(SEEN)

    assert report.ok, report
    assert expected is not None
    assert seen.result == expected.replace("'sk-1234567890abcdef'", "None")


@pytest.mark.further
def test_process_state_a_step_set_comes_back_when_the_step_is_restored(place: Path) -> None:
    with start(place) as first:
        first.run("%%checkpoint a\n" + PROCESS, cell="a")
        expected = first.run(SEEN).result
        first.kill()
    with start(place) as second:
        restored = second.run("%%checkpoint a\n" + PROCESS, cell="a")
        seen = second.run(SEEN)

    assert "restored" in restored.said, restored
    assert expected is not None
    assert seen.result == expected.replace("'sk-1234567890abcdef'", "None")
    assert restored.result == "42"


@pytest.mark.further
def test_resume_puts_the_history_of_results_back(place: Path) -> None:
    with start(place) as first:
        first.run("%%checkpoint a\nrows = [1, 2]\nrows", cell="a")
        first.run("%%checkpoint b\nlen(rows) * 21", cell="b")
        first.kill()
    with start(place) as second:
        second.run("%resume")
        seen = second.run("_, __ is rows, Out[2] is rows, _3")

    assert seen.result == "(42, True, True, 42)"


@pytest.mark.further
def test_the_result_of_a_cell_that_read_the_last_one_comes_back(place: Path) -> None:
    with start(place) as first:
        first.run("%%checkpoint a\n[1]", cell="a")
        first.run("%%checkpoint b\n_ + [2]", cell="b")
        first.kill()
    with start(place) as second:
        second.run("%resume")
        seen = second.run("_, __, Out[3]")

    assert seen.result == "([1, 2], [1], [1, 2])"


@pytest.mark.further
def test_after_a_resume_no_cell_takes_the_number_of_a_result_that_is_back(place: Path) -> None:
    with start(place) as first:
        first.run("%%checkpoint a\n1 + 1")
        for n in range(4):
            first.run(f"%%checkpoint b{n}\n{n} + 10")
        first.kill()

    with start(place) as second:
        second.run("%resume")
        seen = second.run("[*Out.values(), 'resume' in In[-2], In[-1].startswith('[*Out')]")

    assert seen.result == "[2, 10, 11, 12, 13, True, True]"


HALF = (
    "%%checkpoint a\n"
    "log.append(1); alias[0]['n'] += 1; big[:3] *= 2; frame.loc[0, 'a'] = 9; frame['b'] = 1\n"
    "box.items.append(4); box.extra = 5; total += 1; seen.add(3); draw = np.random.rand(); fresh = 1\n"
    "if FAIL:\n    raise ValueError('half-way')"
)


def test_a_failed_cell_stays_visible_and_starts_from_the_state_before_it_when_run_again(
    kernel: Kernel,
) -> None:
    kernel.run(
        "import numpy as np, pandas as pd\nclass Box: pass\nbox = Box(); box.items = [1]\n"
        "log = [{'n': 0}]; alias = log\n"
        "big = np.arange(6.); view = big[:2]\n"
        "frame = pd.DataFrame({'a': [1, 2]}); other = frame\ntotal = 0; seen = {1}\n"
        "np.random.seed(5); FAIL = True"
    )
    failed = kernel.run(HALF, cell="a")
    visible = kernel.run("log, total, 'fresh' in dir()").result
    kernel.run("FAIL = False")

    again = kernel.run(HALF, cell="a")

    assert failed.ename == "ValueError"
    assert visible == "([{'n': 1}, 1], 1, True)"
    assert again.ok, again
    state = kernel.run(
        "log, alias is log, big.tolist(), view.tolist(), other is frame, frame.a.tolist(),"
        " list(frame.columns),"
        " box.items, vars(box), total, seen, round(draw, 6)"
    ).result
    assert state == (
        "([{'n': 1}, 1],\n True,\n [0.0, 2.0, 4.0, 3.0, 4.0, 5.0],\n [0.0, 2.0],\n True,\n [9, 2],\n"
        " ['a', 'b'],\n"
        " [1, 4],\n {'items': [1, 4], 'extra': 5},\n 1,\n {1, 3},\n 0.221993)"
    )


@pytest.mark.further
def test_what_the_user_mends_after_a_failure_is_kept(kernel: Kernel) -> None:
    kernel.run("log = []\nrows = [1, None]")
    kernel.run("%%checkpoint a\nlog.append(0)\nsum(rows)", cell="a")
    kernel.run("rows[1] = 2")

    again = kernel.run("%%checkpoint a\nlog.append(0)\nsum(rows)", cell="a")

    assert again.result == "3"
    assert kernel.run("log, rows").result == "([0], [1, 2])"


def test_an_interrupted_cell_is_undone_too_and_rewind_does_so_by_hand(kernel: Kernel, place: Path) -> None:
    kernel.run("log = []")
    request = kernel.send(
        "%%checkpoint a\nimport time\nlog.append(1)\nopen('started', 'w').close()\ntime.sleep(60)", cell="a"
    )
    wait_for(place / "work" / "started")
    kernel.interrupt()
    stopped = kernel.wait(request)
    assert stopped.ename == "KeyboardInterrupt"
    assert "kitaru_nb/" not in "".join(stopped.traceback)  # it ends where the user's code was
    before = kernel.run("log").result

    undone = kernel.run("%rewind --undo")

    assert (before, kernel.run("log").result) == ("[1]", "[]")
    assert "`a`" in undone.said


@pytest.mark.further
def test_an_interrupt_between_two_statements_stops_the_cell(kernel: Kernel) -> None:
    kernel.run("import os, signal, sys\nlog, armed = [], []")
    kernel.run(
        "def press(event, args):\n"
        "    if event == 'compile' and armed:\n"
        "        armed.clear()\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.addaudithook(press)"
    )

    stopped = kernel.run("%%checkpoint a\narmed.append(1)\nlog.append('went on')", cell="a")

    assert stopped.ename == "KeyboardInterrupt"
    assert "kitaru_nb/" not in "".join(stopped.traceback)
    assert kernel.run("log").result == "[]"


def test_rewind_takes_the_namespace_back_to_a_checkpoint(kernel: Kernel) -> None:
    kernel.run("%%checkpoint one\nrows = [1]", cell="a")
    kernel.run("%%checkpoint two\nrows.append(2)\nmore = 1", cell="b")
    kernel.run("loose = 1")

    rewound = kernel.run("%rewind one")

    assert "`one`" in rewound.said
    assert kernel.run("rows, 'more' in dir(), 'loose' in dir()").result == "([1], False, False)"


@pytest.mark.parametrize(
    ("plain", "edited", "cell"),
    [
        (
            "import os; os.environ['MODE'] = '1'",
            "import os; os.environ['MODE'] = '2'",
            "y = os.environ['MODE']",
        ),
        further(
            "import os\nos.makedirs('d1', exist_ok=True)",
            "import os\nos.makedirs('d1', exist_ok=True); os.chdir('d1')",
            "y = os.getcwd()",
        ),
        further(
            "import os; os.environ['MODE'] = '1'\ndef mode():\n    return os.environ['MODE']",
            "import os; os.environ['MODE'] = '2'\ndef mode():\n    return os.environ['MODE']",
            "y = mode()",
        ),
        further("import json; json.K = 1", "import json; json.K = 2", "y = json.K"),
        (
            "import random; random.seed(1)",
            "import random; random.setstate(random.Random(5).getstate())",
            "y = random.random()",
        ),
        further(
            "n = 1",
            "n = 1; open('late.txt', 'w').write('x')",
            "try:\n    y = open('late.txt').read()\nexcept OSError:\n    y = None",
        ),
    ],
)  # fmt: skip
def test_what_a_cell_sees_of_the_process_is_a_condition(
    place: Path, plain: str, edited: str, cell: str
) -> None:
    with start(place) as first:
        first.run(plain, cell="p")
        first.run("%%checkpoint a\n" + cell, cell="a")
        before = first.run("y").result
    with start(place) as second:
        second.run(edited, cell="p")
        again = second.run("%%checkpoint a\n" + cell, cell="a")
        y = second.run("y").result

    assert again.ok, again
    assert y != before


@pytest.mark.parametrize(
    "cell",
    [
        "import subprocess\ny = subprocess.check_output(['cat', 'data.txt'])",
        further("y = !cat data.txt\ny = list(y)"),
        further("import subprocess\ny = subprocess.check_output(['cat', str(where)])"),
    ],
)
def test_a_file_named_in_a_string_counts_for_readers_that_cannot_be_seen(
    kernel: Kernel, place: Path, cell: str
) -> None:
    data = place / "work" / "data.txt"
    data.write_text("1")
    kernel.run("from pathlib import Path\nwhere = Path('data.txt').absolute()")
    kernel.run("%%checkpoint a\n" + cell, cell="a")
    before = kernel.run("y").result
    same = kernel.run("%%checkpoint a\n" + cell, cell="a")
    data.write_text("2")

    kernel.run("%%checkpoint a\n" + cell, cell="a")

    assert "restored" in same.said
    assert kernel.run("y").result != before


@pytest.mark.further
def test_a_file_the_cell_itself_writes_does_not_make_it_run_again(kernel: Kernel) -> None:
    cell = "%%checkpoint a\nimport os\nwith open('out.txt', 'wb') as f:\n    f.write(os.urandom(4))"
    kernel.run(cell + "\n", cell="a")
    kernel.run("%%checkpoint b --fresh\n" + cell.partition("\n")[2], cell="b")

    again = kernel.run("%%checkpoint b\n" + cell.partition("\n")[2], cell="b")

    assert "restored" in again.said


@pytest.mark.parametrize("back", ["%resume", "%%checkpoint draw\n{draw}"])
def test_a_figure_that_came_back_is_shown_as_a_picture(place: Path, back: str) -> None:
    draw = "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()"
    with start(place) as first:
        assert first.run(f"%%checkpoint draw\n{draw}", cell="draw").ok
        first.kill()

    with start(place) as second:
        assert second.run(back.format(draw=draw), cell="draw").ok
        shown = second.run("fig")

    assert "image/png" in shown.outputs[-1]["data"]


@pytest.mark.further
def test_an_ordinary_notebook_pays_for_nothing_again_in_a_new_kernel(place: Path) -> None:
    cells = {
        "imports": """%%checkpoint
import os, logging
import numpy as np, pandas as pd
import matplotlib.pyplot as plt
from sklearn.linear_model import LinearRegression""",
        "fit": """%%checkpoint fit
os.makedirs('models', exist_ok=True)
X = np.arange(20.).reshape(10, 2)
model = LinearRegression().fit(X, X.sum(1))
open(os.path.join('models', 'model.txt'), 'w').close()""",
        "plot": """%%checkpoint plot
fig, ax = plt.subplots()
ax.plot(np.arange(5))
plt.show()""",
        "loop": """%%checkpoint loop
losses = []
for i in range(3):
    losses.append(0.1 * i)
pd.DataFrame({'l': losses})""",
        "log": """%%checkpoint log
logging.info('hello')
z = np.random.default_rng(0).random(3)
w = np.random.rand()""",
        "use": """%%checkpoint use
z2 = z * w + model.coef_.sum()""",
    }
    with start(place) as first:
        for name, cell in cells.items():
            assert first.run(cell, cell=name).ok
        first.kill()
    with start(place) as second:
        said = [second.run(cell, cell=name).said for name, cell in cells.items()]

    assert all("restored" in line for line in said), said


@pytest.mark.further
def test_where_no_ids_are_sent_a_cell_that_failed_is_given_its_calls_whatever_is_put_above_it(
    place: Path,
) -> None:
    define = (
        "import os, kitaru_nb as kt\n@kt.checkpoint\ndef ask(question):\n"
        "    open('asked', 'a').write(question)\n    return os.urandom(4).hex()\n"
    )
    cell = "%%checkpoint\nr = [ask('a'), ask('b')]\n1 / divisor\nr"
    above = "%%checkpoint\nr = [ask('a'), ask('c')]\nr"
    for _ in range(2):
        with start(place) as failing:
            failing.run(define + "divisor = 0")
            assert failing.run(cell).ename == "ZeroDivisionError"

    with start(place) as kernel:
        kernel.run(define + "divisor = 1")
        other, found = kernel.run(above), kernel.run(cell)

    assert found.ok
    assert found.result != other.result
    assert (place / "work" / "asked").read_text() == "abac"
