"""Whatever is left behind by real work is readable by its owner alone: files 0600, folders 0700."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.headless import Finished, Notebook, finished, start
from tests.integration.kernel import Kernel

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")

OWN = ("work.ipynb", "work.out.ipynb", "interactive.ipynb", "report.txt", "side.txt", "side_journal.py")
"""The user's own files, whose modes are theirs to choose."""


@pytest.fixture
def no_umask() -> Iterator[None]:
    """The most open umask, for this process and those that it starts."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("no_umask")
def test_everything_that_real_work_leaves_is_readable_by_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    for name, folder in (
        ("KITARU_NB_HOME", "deep/er/home"),
        ("KITARU_NB_CONFIG", "config/kitaru-nb"),
        ("TMPDIR", "tmp"),
        ("JUPYTER_RUNTIME_DIR", "runtime"),
        ("XDG_CONFIG_HOME", "xdg"),
        ("XDG_CACHE_HOME", "cache"),
        ("XDG_DATA_HOME", "data"),
    ):
        monkeypatch.setenv(name, str(place / folder))
    (place / "tmp").mkdir(mode=0o700)

    def command(*words: str) -> Finished:
        return finished(start(["-m", "kitaru_nb", *words], place, {}))

    with Kernel(place / "deep/er/home", notebook=place / "interactive.ipynb", cwd=place) as kernel:
        kernel.run("import numpy as np")
        assert kernel.run(
            "%%checkpoint big\nbig = np.arange(3_000_000.)\nrows = [{'a': 1}] * 9", cell="c0"
        ).ok
        assert kernel.run("%%checkpoint file\nopen('report.txt', 'w').write('x' * 99)", cell="c1").ok
        assert not kernel.run("%%checkpoint bad\n1 / 0", cell="c2").ok
    with Kernel(place / "deep/er/home", notebook=place / "interactive.ipynb", cwd=place) as kernel:
        assert kernel.run("%resume").ok
        kernel.kill()
    book = Notebook(place, ["a = [1, 2, 3]", "import os\nb = os.urandom(200_000)"])
    assert book.kitaru("run", book.path.name, "--no-progress").code == 0
    for words in (
        ["gc", "--keep-days", "0"],
        ["gc", "--keep-days", "0", "--max-bytes", "1"],
        ["export", "latest", "whole.kitaru", "--records"],
        ["import", "whole.kitaru"],
        ["store", "migrate"],
        ["trust", "ed25519:" + "0" * 64],
        ["trust", "unsigned"],
        ["pin", "latest"],
        ["doctor"],
    ):
        assert command(*words).code == 0, words

    found = {path: stat.S_IMODE(path.lstat().st_mode) for path in place.rglob("*") if path.name not in OWN}
    open_to_others = {
        str(path.relative_to(place)): oct(mode)
        for path, mode in found.items()
        if mode & 0o077 and not _is_python(path) and not path.is_socket()
    }
    assert open_to_others == {}
    packs = [path for path in found if path.suffix == ".pack"]
    assert packs
    assert all(found[path] in (0o600, 0o400) for path in packs)
    assert found[place / "deep/er/home/journal.db"] == 0o600
    assert found[place / "deep/er/home"] == 0o700
    assert found[place / "config/kitaru-nb/signing-key"] == 0o600
    assert found[place / "whole.kitaru"] == 0o600


def _is_python(path: Path) -> bool:
    """Whether Python left it there."""
    return path.name == "__pycache__" or path.suffix == ".pyc"
