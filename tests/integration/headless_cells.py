"""Cells of notebooks that run headless, and what becomes of them in a plain dict.

Beside the cells of `tests.unit.engine.machine_cells` there are those that only mean something in a
run: they write and read files, print and show, ask, count what they do.
"""

# ruff: noqa: E501 - a cell is read as a cell

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from kitaru_nb.engine.refs import checkpoint_names, steps
from kitaru_nb.errors import NotFoundError
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from tests.unit.engine.machine_cells import FIRST, cell_source

__all__ = ["BEGIN", "END", "HELPER", "SIDE", "evaluate", "plainly", "recorded"]

BEGIN = f"""
import kitaru_nb as kt, sys, warnings, pickle
from pathlib import Path
from side import tick, show, effect
import helper
{FIRST}"""

END = "show(globals())"

HELPER = """
items = [1]
table = {'k': [2]}

SCALE = 1

def scaled(v):
    return [v, SCALE]

def put(v):
    items.append(v)
    return items

def load(path):
    with open(path) as file:
        return file.read()
"""

SIDE = '''
import os, random, signal, string, sys

FOLDER = {folder!r}  # backwards: a path that a module names counts where a cell reads files


def where(name):
    return FOLDER[::-1] + "/" + name


def count(name):
    with open(where("ticks"), "a") as file:
        file.write(name + "\\n")


def asked(what):
    try:
        os.unlink(where(what))
    except FileNotFoundError:
        return False
    return True


def tick(name):
    """A cell begins, or ends: perhaps its kernel is killed there, or it raises."""
    count(name)
    if asked("die-" + name):
        os.kill(os.getpid(), signal.SIGKILL)
    if asked("fail-" + name):
        raise RuntimeError("asked to")


def effect(name, value):
    count(name)
    return value


def show(live):
    """What all names hold."""
    import hashlib
    import numpy as np
    import helper
    from tests.unit.engine.picture import Drawing, picture

    own = {{
        name: value
        for name, value in live.items()
        if name[0] != "_" and name not in ("In", "Out", "exit", "quit", "get_ipython", "open")
    }}
    drawn = picture(
        own,
        **{{
            "[random]": repr(random.getstate()),
            "[numpy]": repr(np.random.get_state()),
            "[KT_X]": os.environ.get("KT_X"),
            "[string.kt]": getattr(string, "kt", None),
            "[cwd]": os.path.relpath(os.getcwd(), os.path.dirname(helper.__file__)),
        }},
    )
    apart = Drawing({{}})  # what a module shares with names that only lead to it is not kept
    drawn += [("[helper]", apart.draw([helper.items, helper.table]))]
    text = "\\n".join(map(repr, drawn))
    digest = hashlib.sha1(text.encode()).hexdigest()
    with open(where("picture-" + digest), "w") as file:
        file.write(text)
    print("all names:", digest)
'''

_RUNS = [
    "print({x})",
    "print({x}, file=sys.stderr)",
    "print('a'); print('b', file=sys.stderr); print({n})",
    "display({n}, [{n}])\n{x} = display({n}, display_id='d@@')",
    "from IPython.display import HTML, Markdown\ndisplay(HTML('<b>{n}</b>'))\nMarkdown('# {n}')",
    "warnings.warn('w@@')",
    "{x};",
    "{x} = [{n}]\n{x}",
    "print('x' * {n}, end='')\nprint(end='y')",
    "h = display({n}, display_id=True)\nh.update([{n}])\ndel h",
    "from IPython.display import clear_output\nprint('old')\nclear_output()\nprint('new {n}')",
    "print({n}, flush=True)",
    "{x} = [p, {n}]",
    "{x} = {{'k': [t, p]}}",
    "p = p if isinstance(p, str) else p + 1",
    "t = t + str({n})",
    "{x} = helper.put({n})",
    "helper.items.append({y})",
    "{x} = helper.items",
    "helper.table['q'] = {y}",
    "{x} = helper.table['k']",
    "helper.table = {{'k': [{n}]}}",
    "helper.items = {x}",
    "from helper import items as {x}",
    "{x} = helper.load",
    "import helper as {x}",
    "kt.log(n={n})",
    "os.makedirs('sub@@', exist_ok=True)\nos.chdir('sub@@')\nos.chdir('..')",
    "{x} = os.path.basename(os.getcwd()) == {n}",
    "_hidden = [{n}]\n{x} = _hidden",
    "{x} = _",
    "{x} = Out",
    "{x} = [*Out.values()][-1:]",
    "{x} = __name__",
    "import time\ntime.sleep(0.05)",
    "import time\nfor n in range(3):\n    print(n)\n    time.sleep(0.02)\ndel n",
    "{x} = !echo {n}",
    "%precision 3\n{x} = {n}.123456",
    "%env KT_X={n}",
    "pd.set_option('display.precision', {n} + 2)\npd.Series([1.23456789])",
    "np.set_printoptions(precision={n} + 1)\nnp.array([1.23456789])",
    "exec('global {x}\\n{x} = [{n}]')",
    "sys.path.append('/nowhere/{n}')",
    "{x} = [p for p in sys.path if 'nowhere' in p]",
    "import logging\nlogging.getLogger('own').warning('w {n}')",
    "import decimal\ndecimal.getcontext().prec = {n} + 3\nprint(decimal.Decimal(1) / 3)",
]

_FILES = [
    "Path('{file}.txt').write_text('{n}' * 3)",
    "with open('{file}.txt', 'w') as out:\n    out.write(repr({n}))",
    "np.save('{file}.npy', np.arange({n} + 2))",
    "pd.DataFrame({{'a': [{n}, 1]}}).to_csv('{file}.csv', index=False)",
    "with open('{file}.pkl', 'wb') as out:\n    pickle.dump([{n}, 'a'], out)",
    "os.makedirs('{file}.d', exist_ok=True)\nPath('{file}.d/one.txt').write_text('{n}')",
    "Path('{file}.tmp').write_text('{n}')\nos.replace('{file}.tmp', '{file}.txt')",
    "out = open('{file}.txt', 'w')\nout.write('{n}')\nout.close()\ndel out",
]

_READS = {
    ".world": [
        "{x} = open('data.txt').read()",
        "{x} = Path('data.txt').read_text()",
        "{x} = helper.load('data.txt')",
        "{x} = pd.read_csv('data.csv')",
        "{x} = np.loadtxt('data.txt')",
        "{x} = helper.scaled({n})",
        "{x} = helper.SCALE",
        "from helper import scaled\n{x} = scaled({y})",
        "from helper import scaled as {f}",
        "{x} = [helper.scaled]",
        "def {f}(v=None, u='@@'):\n    return helper.scaled(v)",
        "def {f}(v=None, u='@@'):\n    return open('data.txt').read()",
        "class C:\n    u = '@@'\n    def __init__(self, v): self.v = helper.scaled(v)",
        "{x} = os.environ.get('KT_E')",
        "{x} = os.environ['KT_E']",
        "{x} = os.getenv('KT_E', 'none')",
        "os.environ['KT_E'] = 'own{n}'",
        "def {f}(v=None, u='@@'):\n    return os.environ['KT_E']",
        "{x} = sorted(os.listdir('more'))",
        "{x} = [open(each).read() for each in sorted(Path('more').glob('*.txt'))]",
        "{x} = os.path.exists('more/b.txt')",
        "{x} = {f}()",
        "{x} = {f}({n})",
    ],
    ".txt": [
        "{x} = Path('{read}').read_text()",
        "with open('{read}') as file: {x} = file.read()\ndel file",
        "{x} = helper.load('{read}')",
        "{x} = [line for line in open('{read}')]",
        "{x} = open('{read}')\n{x} = {x}.readline()",
        "{x} = os.path.exists('{read}')",
        "{x} = sorted(each.name for each in Path().glob('f*.txt'))",
        "{x} = os.path.getsize('{read}')",
    ],
    ".npy": ["{x} = np.load('{read}')", "{x} = np.load('{read}', mmap_mode='r')[1:].copy()"],
    ".csv": ["{x} = pd.read_csv('{read}')", "{x} = open('{read}').readlines()"],
    ".pkl": ["{x} = pickle.load(open('{read}', 'rb'))"],
}
_REWRITES = {
    ".txt": [
        "with open('{read}', 'a') as out: out.write('{n}')",
        "Path('{read}').write_text('new {n}')",
        "os.remove('{read}')",
        "with open('{read}', 'r+') as out: out.write('{n}')",
    ],
}

_EFFECTS = [
    "{x} = kt.once('o@@', effect, 'once-@@', [{n}])",
    "@kt.checkpoint\ndef called@@(v):\n    effect('call-@@', 0)\n    return [v, {n}]\n{x} = called@@({n})",
    "@kt.checkpoint\ndef called@@(v):\n    effect('call-@@', 0)\n    return [v, {n}]\n{x} = [called@@(n) for n in range(3)]",
    "@kt.checkpoint\ndef many@@(v):\n    effect('call-@@', 0)\n    v.append({n})\nmany@@({l})",
    "{x} = kt.wait('ask @@?', int, name='w@@')",
    "{x} = [kt.wait('ask @@?', bool, name='w@@')]\n{x}.append({n})",
    "for n in kt.steps(range(3)):\n    {x} = [n]\ndel n",
]

WAIT = re.compile(r"kt\.wait\('ask (\d+)\?', (int|bool), name='w\1'\)")


def answer_of(number: str, schema: str) -> Any:
    return int(number) if schema == "int" else int(number) % 2 == 0


def plainly(source: str) -> str:
    """A cell as a kernel without the extension can run it."""
    source = re.sub(
        r"^kt\.log\(.*",
        "pass",
        re.sub(r"^%%checkpoint.*\n", "", source, flags=re.MULTILINE),
        flags=re.MULTILINE,
    )
    return WAIT.sub(lambda found: repr(answer_of(*found.groups())), source)


def evaluate(
    cells: list[dict[str, Any]],
    *,
    world: str,
    replace: int | None = None,
    insert: int | None = None,
    seed: int = 0,
    number: int = 0,
    only: str | None = None,
) -> dict[str, Any]:
    """Run cells in a plain dict: what each raised; a cell that is asked for is made first.

    Args:
        cells: Their `id` and `source`.
        replace: The place of one that is to become another.
        insert: The place at which a new one is to be.
        seed: For chance.
        number: What ``@@`` becomes.
        only: The kinds of cells to choose from.
    """
    chance = random.Random(seed)
    folder = Path(tempfile.mkdtemp())
    (folder / "outside").mkdir()
    (folder / "side.py").write_text(SIDE.format(folder=str(folder / "outside")[::-1]))
    shutil.copytree(world, folder, dirs_exist_ok=True)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    main = sys.modules["__main__"] = ModuleType("__main__")
    live = vars(main)
    live["__builtins__"] = builtins
    raised: list[str | None] = []
    made = None
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        shell = InteractiveShell.instance(user_module=main, user_ns=live)
        shell.ast_node_interactivity = "last_expr"
        shell.display_formatter.active_types = ["text/plain"]
        for place in range(len(cells) + 1):
            if place in (replace, insert):
                id_ = cells[place]["id"] if place == replace else f"c{number}"
                made = _made(chance, live, id_, number, only)
                if place == insert:
                    _run(shell, made, raised)
            if place < len(cells):
                _run(shell, made if place == replace and made else cells[place]["source"], raised)
    return {"raised": raised, "made": made}


def _run(shell: Any, source: str, raised: list[str | None]) -> None:
    result = shell.run_cell(plainly(source), store_history=True)
    error = result.error_before_exec or result.error_in_exec
    raised.append(None if error is None else type(error).__name__)


def _made(chance: random.Random, live: Mapping[str, Any], id_: str, number: int, only: str | None) -> str:
    pick = lambda among: chance.choice(list(among))  # noqa: E731
    there = sorted(each.name for each in Path().glob("f*.*"))
    parts = []
    for n in range(pick([1, 1, 2, 2, 3])):
        kinds = (
            ["plain"] * 5
            + ["runs"] * 3
            + (["files"] if n == 0 else [])
            + (["reads"] * 3 if there else [])
            + ["effects"]
            + (["rewrites"] if there else [])
            + ["world"] * 2
        )
        kind = only or pick(kinds)
        if kind == "plain":
            parts.append(cell_source(pick, live).replace("@@", f"{number}{n}"))
            continue
        more: dict[str, str] = {}
        among: Sequence[str] = {"runs": _RUNS, "files": _FILES, "effects": _EFFECTS}.get(kind, ())
        if kind == "world":
            among = _READS[".world"]
        if kind in ("reads", "rewrites"):
            by_ending = _READS if kind == "reads" else _REWRITES
            fitting = [each for each in there if Path(each).suffix in by_ending]
            if not fitting:
                continue
            more["read"] = pick(fitting)
            among = by_ending[Path(more["read"]).suffix]
        if kind == "files":
            more["file"] = f"f_{id_}"
        template = pick(among)
        fill = {name: pick("abcd") for name in "xyz"} | {
            "f": pick("fg"),
            "g": pick("fg"),
            "n": pick(range(4)),
        }
        fill["l"] = pick([name for name in "abcd" if isinstance(live.get(name), list)] or "abcd")
        parts.append(template.format(**fill, **more).replace("@@", f"{number}{n}"))
    body = "\n".join(parts) or "pass"
    end = ""
    with contextlib.suppress(SyntaxError):
        tree = ast.parse(body)
        if tree.body and not isinstance(tree.body[-1], ast.Expr) and not body.rstrip().endswith(";"):
            end = f"\ntick('{id_}-end')"
    marked = f"%%checkpoint{pick(['', '', f' n{number}'])}\n" if pick([0, 0, 0, 0, 1]) else ""
    return f"{marked}tick('{id_}')\n{body}{end}"


def recorded(execution: str | None = None) -> Any:
    """Executions, newest first; or the steps of one."""
    try:
        opened = open_engine(resolve(), read_only=True)
    except NotFoundError:  # nothing is recorded yet
        return []
    with closing(opened) as engine:
        journal = engine.journal
        if execution is None:
            return [
                {
                    "id": each.id,
                    "status": each.status.value,
                    "parent": each.parent,
                    "output": each.identity.output,
                    "attempts": each.attempts,
                }
                for each in journal.executions()
            ]
        all_steps = [
            {
                "step": each.draft.step,
                "name": each.draft.name,
                "source": each.draft.source,
                "status": each.draft.status.value,
                "seq": each.seq,
                "parent": each.draft.parent,
                "epoch": each.epoch,
            }
            for each in journal.checkpoints(execution)
        ]
        standing = steps(journal, execution)
        return {
            "all": all_steps,
            "standing": [
                {
                    "name": name,
                    "step": each.draft.step,
                    "kind": each.draft.kind.value,
                    "status": each.draft.status.value,
                }
                for name, each in zip(checkpoint_names(standing), standing, strict=True)
            ],
        }
