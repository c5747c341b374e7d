"""Canary secrets in every place a notebook has: none of them in any byte that is left behind."""

from __future__ import annotations

from pathlib import Path

import cloudpickle
import pytest

from kitaru_nb.engine.book import Book
from kitaru_nb.engine.call import Call
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.flow import Turn
from kitaru_nb.engine.flow_handle import FlowHandle
from kitaru_nb.engine.lease import Lease
from kitaru_nb.engine.scope import Scope
from kitaru_nb.engine.trust import Trust
from kitaru_nb.stacks.keys import Keyring, config_folder
from tests.integration.canaries import found_in
from tests.integration.headless import Notebook
from tests.integration.kernel import Kernel

VARIABLE = "c4n4ry-1n-v4r14bl3-0001"
ATTRIBUTE = "c4n4ry-1n-4ttr1but3-0002"
CLOSURE = "c4n4ry1ncl0sur30003"
DEFAULT = "c4n4ry-1n-d3f4ult-0004"
ENVIRONMENT = "c4n4ry1n3nv1r0nm3nt0005"
URL = "c4n4ry1nurl0006"
SHAPED = "sk-c4n4ry1nth3sh4p30f4k3y0007"
HEADER = "c4n4ry1nh34d3r0008"
PARAMETER = "c4n4ry-1n-p4r4m3t3r-0009"
CONSTANT = "ghp_c4n4ry1n4c0nst4nt0fc0d30010"
PRINTED = "c4n4ry1npr1nt0011"
RAISED = "c4n4ry1ntr4c3b4ck0012"
BYTES = "xoxb-c4n4ry-1n-byt3s-0013"
COLUMN = "c4n4ry-1n-4-c0lumn-0014"
SHOWN = "c4n4ry1nwh4t1sshown0015"
LOGGED = "c4n4ry1n4l0gl1n30016"
SAID = "c4n4ry1n4n3rr0r0017"
NOTED = "c4n4ry1nwh4t1sn0t3d0018"
ALL = [
    VARIABLE,
    ATTRIBUTE,
    CLOSURE,
    DEFAULT,
    ENVIRONMENT,
    URL,
    SHAPED,
    HEADER,
    PARAMETER,
    CONSTANT,
    PRINTED,
    RAISED,
]
ALL += [BYTES, COLUMN, SHOWN, LOGGED, SAID, NOTED]

CELLS = [
    f"db_password = '{VARIABLE}'\nconfig = {{'api_key': '{ATTRIBUTE}'}}",
    f"""class Client:
    def __init__(self, token): self.token = token
client = Client(token='{ATTRIBUTE}')
def closing(auth_token):
    def call(): return auth_token
    return call
closed = closing('{CLOSURE}')
def default(x=1, password='{DEFAULT}'): return password
def constant(): return '{CONSTANT}'
""",
    f"""import os, requests
copied = dict(os.environ)
url = 'postgresql://user:{URL}@host/db'
history = [{{'role': 'user', 'content': 'my key is {SHAPED} ok'}}] * 3
session = requests.Session()
session.headers['Authorization'] = 'Bearer {HEADER}'
data = b'{BYTES}'
""",
    f"""from IPython.display import Markdown, display
app_secret = '{PRINTED}'
print(app_secret, os.environ['CANARY_API_KEY'])
display(Markdown('**' + app_secret + '** ' + url))
copied
""",
    f"""import pandas as pd, polars as pl, pyarrow as pa
lines = [f'line {{n}} of many' for n in range(9000)] + [copied['CANARY_API_KEY'], url, '{SHAPED}']
tables = [pd.DataFrame({{'a': lines}}), pl.DataFrame({{'a': lines}}), pa.table({{'a': lines}})]
tables += [pd.DataFrame({{'user': [1], 'api_key': ['{COLUMN}']}}), pl.DataFrame({{'api_key': ['{COLUMN}']}})]
""",
    f"""import logging, kitaru_nb as kt
def put(*parts): return ''.join(parts)  # so that no source spells out what is shown
class Login:
    def __init__(self, **fields): self.fields = fields
    def __repr__(self): return f"Login({{', '.join(f'{{k}}={{v!r}}' for k, v in self.fields.items())}})"
print({{'user': 'ana', 'client_secret': put('{SHOWN[:9]}', '{SHOWN[9:]}')}})
logging.warning('it was %s', Login(password=put('{LOGGED[:9]}', '{LOGGED[9:]}')))
kt.log(api_key=put('{NOTED[:9]}', '{NOTED[9:]}'), login=Login(password=put('{NOTED[:9]}', '{NOTED[9:]}')))
""",
    """
seen = [db_password, config, client.token, closed(), default(), constant(), url, history, api_key, data]
seen += [session.headers['Authorization'], copied['CANARY_API_KEY'], app_secret]
import hashlib
hash_of = hashlib.sha256(repr(seen).encode()).hexdigest()
print(hash_of)
""",
]


def everything(folder: Path) -> list[str]:
    source = folder / "work.ipynb"
    text = source.read_text()
    source.unlink()  # what its author typed is in it
    try:
        return found_in([folder], ALL)
    finally:
        source.write_text(text)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CANARY_API_KEY", ENVIRONMENT)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return tmp_path


RAISING = (
    f"pin_token = '{RAISED}'\nonce('x') and 1/0\n"
    f"raise ValueError(pin_token, {{'auth_token': put('{SAID[:9]}', '{SAID[9:]}')}})"
)
AGAIN = """
again = [db_password, config, client.token, closed(), default(), constant(), url, history, api_key, data]
again += [session.headers['Authorization'], copied['CANARY_API_KEY'], app_secret]
assert again == seen
assert tables[0].equals(pd.DataFrame({'a': lines})) and tables[1].equals(pl.DataFrame({'a': lines}))
assert tables[2].column('a').to_pylist() == lines
assert tables[3]['api_key'][0] == tables[4]['api_key'][0] != ''
assert hashlib.sha256(repr(seen).encode()).hexdigest() == hash_of
"""


def test_no_canary_is_left_behind_and_a_resume_has_them_all(folder: Path) -> None:
    notebook = Notebook(folder, [*CELLS, RAISING])
    given = ("-p", "api_key", PARAMETER, "--log-output")

    failed = notebook.kitaru("run", "work.ipynb", *given)

    assert failed.code == 1
    assert everything(folder) == []
    assert not [secret for secret in ALL if secret in failed.stdout + failed.stderr]
    shown = notebook.shown()[-2]

    notebook.edit(len(CELLS), AGAIN)
    done = notebook.kitaru("run", "work.ipynb", *given)

    assert done.code == 0, done.stderr
    assert f"{len(CELLS) + 2} restored" in done.stdout
    assert notebook.shown()[-2] == shown
    assert everything(folder) == []


@pytest.mark.further
def test_a_run_goes_on_with_another_key_and_pays_for_nothing_twice(folder: Path) -> None:
    cells = ["import os\nkey = os.environ['CANARY_API_KEY']", "tick(str(len(key)))", "once('x') and 1/0"]
    notebook = Notebook(folder, cells)
    notebook.kitaru("run", "work.ipynb", "-p", "api_key", PARAMETER)

    other = {"CANARY_API_KEY": "4n0th3r-k3y-4n0th3r", "API_KEY": "4n0th3r-p4r4m3t3r-0014"}
    notebook.edit(2, f"assert (key, api_key) == {tuple(other.values())}")
    done = notebook.kitaru("resume", env=other)

    assert done.code == 0, done.stderr
    assert len(notebook.ticks()) == 1
    assert notebook.executions()[0].attempts == 2
    assert dict(notebook.executions()[0].identity.parameters) == {"api_key": "secret:param:api_key"}


@pytest.mark.further
def test_what_is_missing_is_named_before_it_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook(
        folder, ["import os\nkey = os.environ['CANARY_API_KEY']", "once('x') and 1/0\nprint(key)"]
    )
    notebook.kitaru("run", "work.ipynb", "-p", "api_key", PARAMETER)
    monkeypatch.delenv("CANARY_API_KEY")

    without = notebook.kitaru("resume")
    given = notebook.kitaru("run", "work.ipynb", "-p", "api_key", PARAMETER)

    assert without.code == 2
    assert "parameter `api_key` is a secret" in without.stderr
    assert "API_KEY=" in without.stderr
    assert given.code == 1
    assert "the environment variable `CANARY_API_KEY` is not set" in given.stderr


def test_a_key_typed_into_a_notebook_is_neither_stored_nor_shown(folder: Path) -> None:
    home, notebook = folder / "home", folder / "n.ipynb"
    with Kernel(home, notebook=notebook) as first:
        first.run(f"typed = lambda: '{PRINTED}'[::1]\napp_token = typed()")
        ran = first.run(
            "%%checkpoint use\nprint('with', app_token)\nused = len(app_token)\napp_token", cell="use"
        )
        assert ran.ok
        assert PRINTED not in ran.stdout + str(ran.result)
        assert first.run("app_token").result == repr(PRINTED)

    assert everything_but_the_notebook(folder) == []
    with Kernel(home, notebook=notebook) as second:
        report = second.run("%resume")
        assert "app_token" in report.said
        assert second.run("used").result == str(len(PRINTED))
        assert "could not be stored" in str(second.run("app_token").result)
        assert not second.run("%%checkpoint again\nagain = app_token + '!'", cell="again").ok


def everything_but_the_notebook(folder: Path) -> list[str]:
    return found_in([path for path in folder.iterdir() if path.is_dir()], [PRINTED])


@pytest.mark.further
def test_a_file_with_a_key_in_it_is_left_where_it_is(folder: Path) -> None:
    cells = [
        "import os, json\njson.dump({'of': os.environ['CANARY_API_KEY']}, open('made.json', 'w'))\nn = 1",
        "once('x') and 1/0",
    ]
    notebook = Notebook(folder, cells)
    notebook.kitaru("run", "work.ipynb")

    assert found_in([path for path in folder.iterdir() if path.is_dir()], [ENVIRONMENT]) == []
    notebook.edit(1, "print(n)")
    done = notebook.kitaru("run", "work.ipynb")

    assert done.code == 0, done.stderr
    assert ENVIRONMENT in (folder / "made.json").read_text()


def test_what_runs_calls_and_events_is_stored_without_the_user_s_key(tmp_path: Path) -> None:
    home = tmp_path / "home"
    cells = [
        """import threading, kitaru_nb as kt
@kt.checkpoint
def f(x):
    if x < 0: gate.wait()
    return [x]
@kt.flow
def flow(x): return f(x)
gate = threading.Event()
""",
        """%%checkpoint
future = f.submit(3); threes = future.result(); several = [f.submit(i) for i in range(3)]
kt.gather(*several); events = kt.stream('events'); events.append('x'); box = kt.channel('box')
handle = flow.run(1); handle.result(); later = f.submit(-1); wrong = f.submit('x')
""",
        "%%checkpoint\ny = 1",
    ]
    with Kernel(home, notebook=tmp_path / "n.ipynb") as kernel:
        said = [kernel.run(source, cell=str(number)).said for number, source in enumerate(cells)]
        kernel.run("gate.set()")
        kernel.kill()
    key = Keyring(config_folder()).path.read_text("ascii").strip()

    left = [file for file in home.rglob("*") if file.is_file() and bytes.fromhex(key) in file.read_bytes()]
    with Kernel(home, notebook=tmp_path / "n.ipynb") as kernel:
        kernel.run("%resume")
        results = "future.result() is threes, [each.result() for each in several]"
        back = kernel.run(f"({results}, box.name, list(events))", cell="p")
        gone = kernel.run("later.result()", cell="q")
        raised = kernel.run("wrong.result()", cell="r")

    assert not left
    assert "not stored: `handle`, `later`" in said[1]
    assert back.result == "(True, [[0], [1], [2]], 'box', ['x'])"
    assert "`later` was a" in gone.evalue
    assert raised.ename == "TypeError"
    assert sum(file.stat().st_size for file in home.rglob("*.pack")) < 100_000


def test_a_secret_that_a_cell_reads_is_not_noted_as_a_file_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", ENVIRONMENT)
    home = tmp_path / "home"
    (tmp_path / f"{SHAPED}.txt").write_text("1")
    with Kernel(home, notebook=tmp_path / "n.ipynb") as kernel:
        kernel.run("import os; tok = os.environ['MY_TOKEN']; key = 'Bearer ' + tok", cell="a")
        said = kernel.run(
            f"%%checkpoint\nif not os.path.exists('ok'): n = len(tok + key)\nopen('{SHAPED}.txt').read()",
            cell="b",
        )
        kernel.kill()

    assert said.ok, said
    assert not found_in([home], [ENVIRONMENT, SHAPED])


@pytest.mark.parametrize("kind", [Engine, Book, Scope, Lease, Trust, Keyring, Turn, FlowHandle, Call])
def test_what_works_in_one_process_is_never_pickled(kind: type) -> None:
    with pytest.raises(TypeError, match="works in this process alone"):
        cloudpickle.dumps(kind.__new__(kind))
