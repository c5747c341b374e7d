"""Programs of flows and recorded calls, made at random from a seed.

What a program does hangs on nothing but its source, so it ends the same each time; what is recorded
concurrently touches nothing that is shared.
"""

from __future__ import annotations

import random
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Program", "program"]

KINDS = ("list", "dict", "arr", "df", "obj")

HEAD = (Path(__file__).parent / "flow_head.txt").read_text(encoding="utf-8")
"""What every program begins with: recorded functions of all kinds."""

NEW = {
    "list": ("[{n}, [{n}]]", "[]", "[{n}, {n}, {n}]", "[[1], {{'a': {n}}}]"),
    "dict": ("{{'k0': {n}}}", "{{}}", "{{'l': [{n}], 'm': {{}}}}"),
    "arr": (
        "np.arange({n} + 3)",
        "np.ones(({n} % 2 + 2, 3))",
        "np.arange(12).reshape(3, 4)",
        "np.zeros(4, 'i2')",
    ),
    "df": (
        "pd.DataFrame({{'a': [{n}, 2, 3], 'b': [1.5, 2.5, {n}]}})",
        "pd.DataFrame({{'a': range({n} + 2), 's': ['x', 'y'] + ['z'] * {n}}})",
    ),
    "obj": ("Node({n})", "Node({n} + 1)"),
}

# What is done to a value in place: {p} is it, {q} another value of any kind, {t} a number.
DO = {
    "list": (
        "{p}.append({t})",
        "{p}.extend([{t}, [{t}]])",
        "{p}[:] = {p}[-4:]",
        "{p}.insert(0, {{'t': {t}}})",
        "{p}.append({q})",
        "{p}.append({q})",
        "{p}.reverse()",
        "del {p}[3:]",
        "{p} += [{t}]",
        "{p}.append({p}[0] if {p} else [])",
        "{p}.append([]); {p}[-1].append({q})",
    ),
    "dict": (
        "{p}['k%d' % ({t} % 3)] = {t}",
        "{p}.setdefault('l', []).append({t})",
        "{p}.pop('k0', None)",
        "{p}['q'] = {q}",
        "{p}['q'] = {q}",
        "{p}['me'] = {p}",
        "{p}.setdefault('m', {{}})['in'] = {q}",
        "{p}.update(a={t}, b=[{t}])",
        "{p}['x'] = {p}.get('q')",
    ),
    "arr": (
        "{p} += 1",
        "{p}[0] = {t} % 7",
        "{p}[::2] *= 2",
        "{p}.sort()",
        "{p}[...] = {p}[::-1].copy()",
        "np.add({p}, 1, out={p})",
        "{p}.flat[-1] = {t} % 5",
    ),
    "df": (
        "{p}['c'] = {p}['a'] * 2",
        "{p}.loc[0, 'a'] = {t} % 9",
        "{p}.drop(columns=[c for c in {p}.columns if c == 'c'], inplace=True)",
        "{p}.iloc[1, 0] = 5",
        "{p}['n%d' % ({t} % 2)] = {t} % 4",
        "{p}.sort_values('a', inplace=True, ignore_index=True)",
        "{p}.columns = [str(c).lower() for c in {p}.columns]",
    ),
    "obj": (
        "{p}.items.append({t})",
        "{p}.tag += 1",
        "{p}.link = {q}",
        "{p}.link = {q}",
        "{p}.extra = [{t}, {p}.items]",
        "{p}.arr[0] += 1",
        "{p}.items = {p}.items[-3:]",
        "{p}.__dict__.pop('extra', None)",
        "{p}.view = {p}.arr[1:]",
    ),
}

PARTS = {
    "list": ("{p}[0] if {p} else None", "{p}[-1:]", "{p}[-1] if {p} else {p}", "list({p})"),
    "dict": ("{p}.get('l')", "{p}.get('q')", "dict({p})", "[{p}, {p}.get('q')]"),
    "arr": ("{p}[1:]", "{p}.copy()", "{p} * 2", "{p}[::2]", "[{p}, {p}[:1]]", "{p}.T"),
    "df": ("{p}.copy()", "{p}[['a']]", "{p}['a'].sum()", "{p}.head(1)", "{p}.describe()"),
    "obj": ("{p}.items", "{p}.link", "{p}.arr", "{p}.arr[:2]", "[{p}.items, {p}]"),
}

GLOBALS = {"list": "GL", "dict": "GD", "arr": "GA", "obj": "GO"}


END = """
end(result=result, GL=GL, GD=GD, GN=GN, GA=GA, GO=GO, HELD=HELD,
add=[c.cell_contents for c in add.__wrapped__.__closure__ if c.cell_contents is not kt],
seen=remember.__wrapped__.__defaults__, calls=sorted(vars(tally2).items()), names=Deep.names, made=Deep.made,
later=globals().get("LATER"), state=[random.random(), float(np.random.rand())],
files=[[p.name, p.read_text()] for p in sorted(pathlib.Path(".").glob("*.txt"))])
"""


def cells_of(lines: list[str], rng: random.Random) -> list[str]:
    """Statements of a flow as the cells of a notebook."""
    statements: list[list[str]] = []
    for line in lines:
        inner = line.startswith((" ", "except", "finally", "else")) and statements
        if inner:
            statements[-1].append(line)
        else:
            statements.append([line])
    cells: list[list[str]] = []
    for statement in statements:
        if cells and rng.random() < 0.4:
            cells[-1] += statement
        else:
            cells.append(list(statement))
    return [("%%checkpoint\n" if rng.random() < 0.5 else "") + "\n".join(cell) for cell in cells]


@dataclass
class Function:
    """A recorded function: what it takes, and of what kind its result is."""

    name: str
    takes: tuple[str, ...]
    gives: str  # a kind, or any
    source: str
    calls: tuple[str, ...] = ()


@dataclass
class Program:
    """A program, its flows' names, and what an edit can be made of.

    Attributes:
        head: Up to the functions.
        functions: By name, in order.
        flows: Sources of flows, the main one last.
        waits: Names of its waits.
    """

    functions: dict[str, Function] = field(default_factory=dict)
    cells: list[str] = field(default_factory=list)
    flows: list[str] = field(default_factory=list)
    tail: str = ""
    body: str = ""
    calls: int = 0

    def notebook(self, *, around: int = 0, edited: tuple[str, ...] = ()) -> list[str]:
        """Its text as cells, which do what the main flow does."""
        whole = self.source(around=around, edited=edited)
        head = whole[: whole.index("@kt.flow\ndef main")]
        rng = random.Random(around)
        remark = f"# remark {around}\n" if around else ""
        cells = []
        for cell in self.cells:
            lines = []
            for line in cell.splitlines():
                if line.strip() == "#AROUND":
                    if around:
                        lines.append(
                            line.replace("#AROUND", rng.choice(["unused = 1", "# remark", "assert True"]))
                        )
                else:
                    lines.append(line)
            cells.append(remark + "\n".join([*lines, "pass"]))
        return [head, *cells]

    def source(self, *, around: int = 0, edited: tuple[str, ...] = ()) -> str:
        """Its text; with edits of code around the calls, and of functions that are recorded."""
        functions = [
            each.source.replace("#EDIT", "t += 100" if each.name in edited else "pass")
            for each in self.functions.values()
        ]
        rng = random.Random(around)
        lines = []
        for line in "\n".join(self.flows).splitlines():
            if line.strip() == "#AROUND":
                if around:
                    indent = line[: len(line) - len(line.lstrip())]
                    lines.append(indent + rng.choice(["unused = 1", "# remark", "assert True", "helper(3)"]))
                continue
            lines.append(line)
        if around:
            functions = [f"# {around}\n{each}" for each in functions]
        head = HEAD.replace("\nK = 3\n", "\nK = 5\n") if "K" in edited else HEAD
        return "\n".join([head, *functions, *lines, self.tail])


IN_CELLS = {"wait", "child", "mapchild", "steps", "key"}


def program(
    seed: int, *, size: int = 8, features: frozenset[str] | None = None, cells: bool = False
) -> Program:
    """The program of that seed."""
    return _Maker(random.Random(seed), size, features, cells).made()


class _Maker:
    def __init__(self, rng: random.Random, size: int, features: frozenset[str] | None, cells: bool) -> None:
        self.rng, self.size, self.features, self.in_cells = rng, size, features, cells
        self.program = Program()
        self.fresh = 0
        self.in_child = False

    def made(self) -> Program:
        rng = self.rng
        for number in range(rng.randint(3, 6)):
            self.function(f"f{number}")
        if rng.random() < 0.6:
            self.program.flows.append(self.flow("child", "n=0, xs=None", 3, child=True))
        self.program.flows.append(self.flow("main", "n=0", self.size))
        self.program.tail = (
            'if __name__ == "__main__":\n    result = main(3)\n    tell("completed", "main")\n'
            + textwrap.indent(END, "    ")
        )
        return self.program

    def name(self, prefix: str = "v") -> str:
        self.fresh += 1
        return f"{prefix}{self.fresh}"

    # Recorded functions

    def function(self, name: str) -> None:
        rng = self.rng
        takes = tuple(rng.choice(KINDS) for _ in range(rng.choice([1, 1, 2, 2, 3])))
        names = [f"p{i}" for i in range(len(takes))]
        pool = list(zip(names, takes, strict=True))
        lines = [f"note({name!r})", "t = n", "#EDIT"]
        uses_globals = rng.random() < 0.5
        if uses_globals:
            pool += [(GLOBALS[kind], kind) for kind in rng.sample(sorted(GLOBALS), 2)]
            if rng.random() < 0.4:
                lines[:0] = ["global GN"]
                lines += ["GN += 1"]
        calls = []
        for _ in range(rng.randint(1, 4)):
            which = rng.random()
            if which < 0.6:
                lines.append(self.do(pool, "t"))
            elif which < 0.75 and self.program.functions:
                other = rng.choice(list(self.program.functions.values()))
                arguments = self.arguments(other, pool, "t % 3")
                if arguments is not None:
                    calls.append(other.name)
                    new = self.name("w")
                    lines.append(f"{new} = call({other.name!r}, {other.name}, {arguments})")
                    lines.append(f"t += num({new})")
                    pool.append((new, other.gives))
            elif which < 0.85:
                kind = rng.choice(KINDS)
                new = self.name("w")
                lines.append(f"{new} = {rng.choice(NEW[kind]).format(n='(t % 4)')}")
                pool.append((new, kind))
            elif which < 0.92:
                lines.append(f"HELD[{rng.choice('abc')!r}] = {rng.choice(pool)[0]}")
            else:
                lines.append(f"t += helper({rng.choice(pool)[0]})")
        if rng.random() < 0.5:
            lines.append("here()")
        gives, result = self.result(pool)
        lines.append(f"return {result}")
        options = rng.choice(["", "", "", "(retries=1)", f"(name='named-{name}')", "(timeout=60)"])
        source = f"@kt.checkpoint{options}\ndef {name}({', '.join(names)}, n=0):\n" + textwrap.indent(
            "\n".join(lines), "    "
        )
        self.program.functions[name] = Function(name, takes, gives, source, tuple(calls))

    def result(self, pool: list[tuple[str, str]]) -> tuple[str, str]:
        rng = self.rng
        which = rng.random()
        name, kind = rng.choice(pool)
        if which < 0.35:
            return kind, name
        if which < 0.6 and kind in PARTS:
            return "any", rng.choice(PARTS[kind]).format(p=name)
        if which < 0.75:
            other, _ = rng.choice(pool)
            return "tuple", f"({name}, {other})"
        if which < 0.85:
            return "any", "t"
        new = rng.choice(KINDS)
        return new, rng.choice(NEW[new]).format(n="(t % 4)")

    def do(self, pool: list[tuple[str, str]], t: str) -> str:
        able = [each for each in pool if each[1] in DO]
        if not able:
            return "pass"
        name, kind = self.rng.choice(able)
        other, _ = self.rng.choice(pool)
        did = self.rng.choice(DO[kind]).format(p=name, q=other, t=t)
        if did.startswith(f"{name} += [") and name.startswith("G"):
            return f"{name}.extend([1])"
        if did == f"{name} += 1" and name.startswith("G"):
            return f"np.add({name}, 1, out={name})"
        return did

    def arguments(self, function: Function, pool: list[tuple[str, str]], n: str) -> str | None:
        found = []
        for kind in function.takes:
            able = [name for name, its in pool if its == kind]
            if not able:
                return None
            found.append(self.rng.choice(able))
        return ", ".join([*found, *([n] if self.rng.random() < 0.6 else [])])

    # Flows

    def flow(self, name: str, takes: str, size: int, *, child: bool = False) -> str:
        self.in_child = child
        self.pool: list[tuple[str, str]] = [(GLOBALS[k], k) for k in sorted(GLOBALS)]
        self.lines: list[str] = []
        for kind in KINDS:
            new = self.name()
            self.lines.append(f"{new} = {self.rng.choice(NEW[kind]).format(n=self.rng.randint(0, 3))}")
            self.pool.append((new, kind))
        for _ in range(size):
            self.statement(depth=0)
        shown = self.rng.sample(self.pool, min(6, len(self.pool)))
        named = sorted({each for each, _ in shown})
        result = f"return [{', '.join(named)}]"
        seeded = [] if child else ["random.seed(1)", "np.random.seed(1)"]
        if not child:
            self.program.cells = cells_of([*seeded, *self.lines, f"result = [{', '.join(named)}]"], self.rng)
            self.program.cells.append(END)
        body = "\n".join(["global GN", *seeded, *self.lines, "#AROUND", result])
        return f"@kt.flow\ndef {name}({takes}):\n" + textwrap.indent(body, "    ")

    def statement(self, depth: int, indent: str = "") -> None:
        kinds = {
            "call": 10,
            "do": 6,
            "new": 2,
            "loop": 1.5,
            "three": 1,
            "try": 1,
            "branch": 1,
            "submit": 1,
            "map": 1,
            "once": 1,
            "saved": 1,
            "channel": 1,
            "stream": 0.7,
            "wait": 0.7,
            "child": 1,
            "threads": 0.6,
            "processes": 0.3,
            "async": 1.2,
            "steps": 0.7,
            "method": 1.5,
            "partial": 0.7,
            "recursion": 0.7,
            "closure": 1.2,
            "flaky": 0.5,
            "log": 0.5,
            "bad": 0.6,
            "part": 2,
            "global": 1,
            "key": 0.4,
            "mapchild": 0.3,
            "more": 8,
        }
        if self.features is not None:
            kinds = {k: v for k, v in kinds.items() if k in self.features}
        if self.in_cells:
            kinds = {k: v for k, v in kinds.items() if k not in IN_CELLS}
        chosen = self.rng.choices(list(kinds), list(kinds.values()))[0]
        before = len(self.lines)
        getattr(self, f"_{chosen}")(depth)
        if self.rng.random() < 0.3:
            self.lines.append("#AROUND")
        if self.rng.random() < 0.3:
            self.lines.append("here()")
        del before

    def _call(self, depth: int) -> None:
        function = self.rng.choice(list(self.program.functions.values()))
        arguments = self.arguments(function, self.pool, str(self.rng.randint(0, 2)))
        if arguments is None:
            return
        new = self.name()
        self.lines.append(f"{new} = call({function.name!r}, {function.name}, {arguments})")
        if function.gives == "tuple":
            self.lines.append(f"{new} = {new}[{self.rng.randint(0, 1)}]")
            self.pool.append((new, "any"))
        else:
            self.pool.append((new, function.gives))

    def _do(self, depth: int) -> None:
        self.lines.append(self.do(self.pool, str(self.rng.randint(0, 9))))

    def _new(self, depth: int) -> None:
        kind = self.rng.choice(KINDS)
        new = self.name()
        self.lines.append(f"{new} = {self.rng.choice(NEW[kind]).format(n=self.rng.randint(0, 3))}")
        self.pool.append((new, kind))

    def _part(self, depth: int) -> None:
        name, kind = self.rng.choice(self.pool)
        new = self.name()
        if kind in PARTS and self.rng.random() < 0.6:
            self.lines.append(f"{new} = {self.rng.choice(PARTS[kind]).format(p=name)}")
            self.pool.append((new, "any"))
        else:
            self.lines.append(f"{new} = [{name}, {self.rng.choice(self.pool)[0]}]")
            self.pool.append((new, "list"))

    def _global(self, depth: int) -> None:
        name, _ = self.rng.choice(self.pool)
        self.lines.append(f"HELD[{self.rng.choice('abc')!r}] = {name}")
        if self.rng.random() < 0.3:
            self.lines.append("GN += 5")

    def inside(self, opening: str, count: int, depth: int) -> None:
        lines, pool = self.lines, list(self.pool)
        self.lines = []
        for _ in range(count):
            self.statement(depth + 1)
        inner, self.lines, self.pool = self.lines, lines, pool
        self.lines.append(opening)
        self.lines += textwrap.indent("\n".join(inner or ["pass"]), "    ").splitlines()

    def _loop(self, depth: int) -> None:
        if depth < 2:
            self.inside(f"for i in range({self.rng.randint(2, 3)}):", self.rng.randint(1, 2), depth)

    def _steps(self, depth: int) -> None:
        if depth < 1:
            self.inside(f"for i in kt.steps(range({self.rng.randint(2, 3)})):", self.rng.randint(1, 2), depth)

    def _branch(self, depth: int) -> None:
        if depth < 2:
            name, _ = self.rng.choice(self.pool)
            self.inside(f"if num({name}) % 2:", self.rng.randint(1, 2), depth)

    def _three(self, depth: int) -> None:
        new = self.name()
        n = self.rng.choice(["1", "i", "i % 2", "2"])
        function = self.rng.choice(["square", "Node.make"])
        self.lines.append(f"{new} = [call({function!r}, {function}, {n}) for i in range(3)]")
        self.pool.append((new, "list"))

    def _try(self, depth: int) -> None:
        new = self.name()
        self.lines += [
            "try:",
            f"    {new} = call('picky', picky, {self.rng.randint(0, 3)})",
            "except ValueError as error:",
            f"    {new} = [str(error)]",
        ]
        self.pool.append((new, "list"))

    def _bad(self, depth: int) -> None:
        self.lines += ["try:", f"    bad({self.rng.randint(0, 3)})", "except KeyError: GL.append('bad')"]

    def _flaky(self, depth: int) -> None:
        if depth:
            return
        new = self.name()
        self.lines.append(f"{new} = call('flaky', flaky, {self.rng.randint(0, 3)}, {new!r})")
        self.pool.append((new, "dict"))

    def _submit(self, depth: int) -> None:
        new, count = self.name(), self.rng.randint(2, 4)
        function = self.rng.choice(["square(i)", "square(i % 2)", "pushed([i])", "pushed([])"])
        name, argument = function[:-1].split("(", 1)
        begun = f"[{name}.submit({argument}) for i in range({count})]"
        self.lines.append(f"{new} = list(call('{name}*{count}', lambda: kt.gather(*{begun})))")
        self.pool.append((new, "list"))

    def _map(self, depth: int) -> None:
        new, count = self.name(), self.rng.randint(2, 6)
        items = self.rng.choice([f"range({count})", "[1, 1, 2]", f"(j for j in range({count}))"])
        key = self.rng.choice(["", ", key=str", ", max_workers=2"])
        if self.rng.random() < 0.5:
            items = f"[[j] for j in {items}]"
            self.lines.append(f"{new} = call('pushed*9', pushed.map, {items}{key})")
        elif self.rng.random() < 0.5:
            self.lines.append(f"{new} = call('picky*9', picky.map, {items}, on_error='collect'{key})")
        else:
            self.lines.append(f"{new} = call('square*9', square.map, {items}{key})")
        self.pool.append((new, "list"))

    def _once(self, depth: int) -> None:
        new, n = self.name(), self.rng.randint(1, 3)
        self.lines.append(f"{new} = call('charge', kt.once, 'charge {n}', charge, {n})")
        self.pool.append((new, "dict"))

    def _key(self, depth: int) -> None:
        self.lines.append("tell('key', kt.idempotency_key('pay'))")

    def _log(self, depth: int) -> None:
        self.lines.append(f"kt.log(loss={self.rng.randint(0, 5)}, at='x')")

    def _saved(self, depth: int) -> None:
        able = [name for name, kind in self.pool if kind in ("list", "dict", "arr", "df", "obj")]
        name, other = self.rng.choice(able), self.name()
        label = f"saved{self.rng.randint(0, 2)}"
        self.lines.append(f"kt.save({label!r}, {name})")
        if self.rng.random() < 0.5:
            self.lines.append(self.do(self.pool, "3"))
        self.lines.append(f"{other} = kt.load({label!r})")
        self.pool.append((other, "any"))

    def _channel(self, depth: int) -> None:
        new, label = self.name(), f"box{self.rng.randint(0, 2)}"
        self.lines += [
            f"kt.channel({label!r}).send([{self.rng.randint(0, 3)}])",
            "here()",
            f"{new} = kt.channel({label!r}).receive(timeout=5)",
        ]
        self.pool.append((new, "list"))

    def _stream(self, depth: int) -> None:
        new, label = self.name(), f"tokens{self.rng.randint(0, 1)}"
        self.lines += [
            f"kt.stream({label!r}).append({self.rng.randint(0, 2)})",
            f"{new} = list(kt.stream({label!r}))",
        ]
        self.pool.append((new, "list"))

    def _wait(self, depth: int) -> None:
        if self.in_child:
            return
        new, label = self.name(), f"ask{self.rng.randint(0, 2)}"
        self.lines.append(f"{new} = kt.wait('How many?', int, name={label!r})")
        self.pool.append((new, "any"))

    def _child(self, depth: int) -> None:
        if self.in_child or len(self.program.flows) != 1:
            return
        new = self.name()
        self.lines.append(f"{new} = call('child', child, {self.rng.randint(0, 2)})")
        self.pool.append((new, "list"))

    def _mapchild(self, depth: int) -> None:
        if self.in_child or len(self.program.flows) != 1:
            return
        new = self.name()
        self.lines.append(f"{new} = call('child', lambda: child.run({self.rng.randint(0, 2)}).result())")
        self.pool.append((new, "list"))

    def _threads(self, depth: int) -> None:
        new = self.name()
        n = self.rng.choice(["range(4)", "[1, 1, 2]"])
        self.lines += [
            "with ThreadPoolExecutor(2) as pool:",
            f"    {new} = call('square*4', lambda: list(pool.map(square, {n})))",
        ]
        self.pool.append((new, "any"))

    def _processes(self, depth: int) -> None:
        new = self.name()
        items = self.rng.choice(["range(4)", "[1, 1, 2]"])
        self.lines += [
            "with multiprocessing.get_context('fork').Pool(2) as pool:",
            f"    {new} = call('square*4', pool.map, square, {items}, chunksize=1)",
        ]
        self.pool.append((new, "list"))

    def _async(self, depth: int) -> None:
        new = self.name()
        lists = [name for name, kind in self.pool if kind == "list"]
        work = self.rng.choice(
            ["together(4)", "agathered(3)", f"apushed({self.rng.choice(lists)}, {self.rng.randint(0, 2)})"]
        )
        self.lines.append(f"{new} = asyncio.run({work})")
        self.pool.append((new, "list"))

    def _method(self, depth: int) -> None:
        new = self.name()
        nodes = [name for name, kind in self.pool if kind == "obj"]
        lists = [name for name, kind in self.pool if kind == "list"]
        which = self.rng.random()
        if which < 0.6:
            self.lines.append(
                f"{new} = call('Node.step', {self.rng.choice(nodes)}.step, {self.rng.randint(1, 2)})"
            )
            self.pool.append((new, "list"))
        elif which < 0.8:
            self.lines.append(f"{new} = call('Node.make', Node.make, {self.rng.randint(1, 2)})")
            self.pool.append((new, "obj"))
        else:
            self.lines.append(f"{new} = call('Node.paired', Node.paired, {self.rng.choice(lists)}, 1)")
            self.pool.append((new, "dict"))

    def _more(self, depth: int) -> None:
        rng, new = self.rng, self.name()
        n, m = rng.randint(0, 3), rng.randint(0, 2)
        lists = [name for name, kind in self.pool if kind == "list"]
        dicts = [name for name, kind in self.pool if kind == "dict"]
        frames = [name for name, kind in self.pool if kind == "df"]
        xs, ys = rng.choice(lists), rng.choice(lists)
        points = [name for name, kind in self.pool if kind == "point"]
        deeps = [name for name, kind in self.pool if kind == "deep"]
        slots = [name for name, kind in self.pool if kind == "slot"]
        functions = [name for name, kind in self.pool if kind == "function"]
        rngs = [name for name, kind in self.pool if kind == "rng"]
        choices = [
            ("any", f"call('scaled', scaled, {n})"),
            ("list", f"call('wrapped', wrapped, {n})"),
            ("list", f"call('wrapped', wrapped, {n}, {xs})"),
            ("list", f"call('wrapped', wrapped, {n}, {xs}, a={ys}, b={xs})"),
            ("dict", f"call('wrapped2', wrapped2, {n})"),
            ("any", f"call('remember', remember, {n})"),
            ("any", f"call('remember', remember, {n}, {xs})"),
            ("any", f"call('tally', tally, {n})"),
            ("point", f"Point({n}, {xs})"),
            ("deep", f"Deep({n})"),
            ("slot", f"Slotted({n})"),
            ("any", f"call('drawn', drawn, {m})"),
            ("any", f"random.seed({n}) or np.random.seed({n})"),
            ("rng", f"np.random.default_rng({n})"),
            ("rng", f"random.Random({n})"),
            ("any", f"call('wrote', wrote, '{m}', 'text{n}').read_text()"),
            ("any", f"call('appended', appended, '{m}', 'line{n}')"),
            ("function", f"call('adder', adder, {xs}, {n})"),
            (
                "any",
                f"call('applied', applied, {rng.choice([*functions, 'str', 'len', 'helper'])}, "
                + (xs if rng.random() < 0.5 else rng.choice(["()", "'ab'"]))
                + ")",
            ),
            ("list", f"call('insists', insists, {xs}, {n})"),
            ("any", f"call('sets', sets, {{1, {n}}}, {rng.choice(dicts)}, collections.deque([{n}]))"),
            ("list", "call('swapped', swapped)"),
            ("list", f"call('unbound', unbound, {n})"),
            ("any", f"call('frames', frames, {rng.choice(frames)}, {n})"),
            ("any", f"call('grouped', grouped, {rng.choice(frames)})"),
            ("any", f"call('errors', errors, {n})"),
            ("any", f"call('wrapped', wrapped, 1, a={xs}, b=copy.deepcopy({xs}))"),
            ("list", f"asyncio.run(acall('aouter', aouter, {xs}, {m}))"),
            ("any", f"asyncio.run(acaught({xs}, {m}))"),
            ("list", f"asyncio.run(amapped({n}))"),
            ("any", f"call('f*', max, [{n}, 1])"),
        ]
        choices += [
            ("list", f"call('asked', asked, {n}, {xs})"),
            ("list", f"chat({n + 1})"),
            ("list", f"[ask('three') for _ in range({n})]"),
            ("list", f"asyncio.run(acall('aasked', aasked, {n}))"),
            ("list", "call('ask', lambda: list(ThreadPoolExecutor(2).map(ask, ['x', 'y', 'x'])))"),
        ] * 2
        if not self.in_child and not self.in_cells:
            choices += [("any", f"call('achild', lambda: asyncio.run(afamily({n})))")]
        choices += [("any", f"call('points', points, {p}, {n})") for p in points]
        choices += [("any", f"{p}.path") for p in points]
        choices += [("deep", f"call('Deep.step', {p}.step, {n})") for p in deeps * 2]
        choices += [("any", f"{p}.by") for p in deeps]
        choices += [("any", f"call('slotted', slotted, {p}, {m})") for p in slots * 2]
        choices += [("any", f"call('drawn_by2', drawn_by2, {p}, {m})") for p in rngs]
        choices += [("any", f"{p}({m})") for p in functions]
        kind, text = rng.choice(choices)
        self.lines.append(f"{new} = {text}")
        self.pool.append((new, kind))
        if rng.random() < 0.15:
            self.lines += [
                "try:",
                f"    call('spoiled', spoiled, {xs}, {n})",
                "except KeyError as error:",
                f"    {xs}.append(str(error))",
            ]
        if rng.random() < 0.04 and not depth:
            self.lines.append(f"{self.name()} = call('slow', slow, {n}, {new!r})")
        if rng.random() < 0.12:
            base = self.name()
            self.lines += [
                f"{base} = np.arange(6)",
                f"{base}m = call('memory', memory, {base}, {base}[{m}:])",
                f"{base}[0] += 5",
            ]
            self.pool += [(base, "arr"), (f"{base}m", "any")]

    def _partial(self, depth: int) -> None:
        lists = [name for name, kind in self.pool if kind == "list"]
        self.lines.append(f"GN += call('scale', twice, {self.rng.choice(lists)})")

    def _recursion(self, depth: int) -> None:
        new = self.name()
        lists = [name for name, kind in self.pool if kind == "list"]
        acc = self.rng.choice([*lists, "[]"])
        self.lines.append(f"{new} = call('down', down, {self.rng.randint(1, 3)}, {acc})")
        self.pool.append((new, "list"))

    def _closure(self, depth: int) -> None:
        new = self.name()
        self.lines.append(f"{new} = call('add', add, {self.rng.randint(1, 2)})")
        self.pool.append((new, "any"))
