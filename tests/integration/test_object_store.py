"""A notebook whose values are in a bucket: killed, resumed elsewhere, and cut off from it half-way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.kernel import Kernel
from tests.s3_server import BUCKET, Cable, S3Server, s3_options

pytest.importorskip("obstore", reason="obstore is not installed", exc_type=ImportError)

CELLS = {
    "imports": "import numpy as np, pandas as pd",
    "array": "%%checkpoint array\nopen('ran', 'a').write('array ')\n"
    "big = np.arange(1_000_000.0)\nview = big[10:20]",
    "frame": "%%checkpoint frame\nopen('ran', 'a').write('frame ')\n"
    "frame = pd.DataFrame({'n': np.arange(30_000), 'text': [f'row {n}' for n in range(30_000)]})",
    "change": "%%checkpoint change\nopen('ran', 'a').write('change ')\n"
    "big[:1000] *= 2\nframe['half'] = frame.n / 2",
}
STATE = (
    "import hashlib\n"
    "(hashlib.sha256(big.tobytes()).hexdigest(), view.tolist(), np.shares_memory(view, big),"
    " frame.dtypes.astype(str).to_dict(), int(pd.util.hash_pandas_object(frame).sum()))"
)


@pytest.fixture
def cable(s3_server: S3Server) -> Iterator[Cable]:
    cable = Cable(s3_server.port)
    yield cable
    cable.close()


def start(place: Path, cable: Cable) -> Kernel:
    """A kernel whose journal is in the home and whose values are in a bucket."""
    (place / "work").mkdir(parents=True, exist_ok=True)
    kernel = Kernel(place / "home", notebook=place / "work" / "nb.ipynb", cwd=place / "work", load=False)
    options = {"url": f"s3://{BUCKET}/{place.parent.name}", "options": s3_options(cable.endpoint)}
    opened = kernel.run(
        "import kitaru_nb.artifacts.local_store as _local\n"
        "from kitaru_nb.artifacts.object_store import ObjectStore as _ObjectStore\n"
        f"_options = {options!r}\n"
        "_local.LocalStore = lambda folder, read_only=False, **_:"
        " _ObjectStore(_options['url'], options=_options['options'], read_only=read_only)\n"
        "get_ipython().run_line_magic('load_ext', 'kitaru_nb')\n"
    )
    assert opened.ok, opened
    return kernel


def run(kernel: Kernel, *names: str) -> None:
    for name in names or CELLS:
        ran = kernel.run(CELLS[name], cell=name)
        assert ran.ok, (name, ran.evalue, ran.traceback)


def ran(place: Path) -> list[str]:
    return (place / "work" / "ran").read_text().split()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "place"


@pytest.mark.further
def test_a_killed_notebook_is_resumed_from_the_bucket(place: Path, cable: Cable) -> None:
    with start(place, cable) as first:
        run(first)
        wanted = first.run(STATE).result
        first.kill()

    with start(place, cable) as second:
        resumed = second.run("%resume")
        found = second.run("import numpy as np, pandas as pd\n" + STATE)

    assert resumed.ok, resumed
    assert wanted is not None
    assert found.result == wanted, (resumed, found)
    assert ran(place) == ["array", "frame", "change"]
    assert [path.name for path in (place / "home").rglob("*.pack")] == []


@pytest.mark.further
def test_a_bucket_that_is_gone_during_a_save_is_a_clear_error_and_the_notebook_goes_on_when_it_is_back(
    place: Path, cable: Cable
) -> None:
    with start(place, cable) as kernel:
        run(kernel, "imports", "array", "frame")
        with cable.cut():
            refused = kernel.run(CELLS["change"], cell="change")
        shown = kernel.run("%kitaru executions --json").stdout
        again = kernel.run(CELLS["change"], cell="change")
        wanted = kernel.run(STATE).result
        kernel.kill()

    with start(place, cable) as second:
        with cable.cut():
            cut_off = second.run("%resume")
            touched = second.run("big.sum()")
        resumed = second.run("%resume")
        found = second.run("import numpy as np, pandas as pd\n" + STATE)

    assert (refused.status, refused.ename) == ("error", "StoreError"), refused
    assert "s3://" in refused.evalue
    assert "Try:" in refused.evalue
    assert shown
    assert again.ok, again
    assert touched.status == "error", touched
    assert "s3://" in cut_off.evalue + cut_off.said, cut_off
    assert resumed.ok, resumed
    assert found.result == wanted, (resumed, found)
