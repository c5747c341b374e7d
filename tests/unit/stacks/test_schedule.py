"""A command in tables of times: what reads them gets back the words that were written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kitaru_nb.errors import UsageError
from kitaru_nb.stacks.calendars import When
from kitaru_nb.stacks.schedule import Kind, Schedule, schedule_name, written

NIGHTLY = When.parse("0 2 * * *")
WORDS = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="".join(map(chr, range(32))) + "\x7f"),
    max_size=20,
)
HARD = "a b%d $HOME $(NAME) `x` 'y' \"z\" \\ ; # & | * ? ~ ! ^ é 😀 \u2028\u0085\ufeff %% $$ \\n"
PRINT = (
    "import json, os, sys; print(json.dumps([os.getcwd(), os.environ.get('KITARU_NB_HOME'), sys.argv[1:]]))"
)


def schedule(
    *words: str, folder: str = "/srv/work", environ: dict[str, str] | None = None, **more
) -> Schedule:
    return Schedule("kitaru-nb-x", NIGHTLY, folder, words, environ or {}, **more)


def line_of(text: str) -> str:
    """The last line of a table: the one that is no comment."""
    (line,) = [line for line in text.split("\n") if line and not line.startswith("#")]
    return line


def as_systemd_reads(text: str) -> list[str]:
    """The words of one line of a unit: quotes, then specifiers, then variables."""
    words, word, quote, rest = [], None, "", iter(text)
    for each in rest:
        if each == "\\":
            word = (word or "") + next(rest)
        elif quote and each == quote:
            quote = ""
        elif not quote and each in "'\"":
            quote, word = each, word or ""
        elif not quote and each in " \t":
            words, word = [*words, *([] if word is None else [word])], None
        else:
            word = (word or "") + each
    words += [] if word is None else [word]
    assert not quote
    for word in words:
        assert "%" not in word.replace("%%", "")
    return [word.replace("%%", "%").replace("$$", "$") for word in words]


def value_of(unit: str, key: str) -> str:
    (value,) = re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)
    return value


@pytest.mark.parametrize("kind", [Kind.CRON, Kind.SLURM])
def test_the_shell_that_cron_and_slurm_start_gets_every_word(kind: Kind, tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s 50% "done" $HOME'
    folder.mkdir()
    home = str(tmp_path / "h $(x)")
    told = schedule(
        sys.executable, "-c", PRINT, HARD, "", "-p", folder=str(folder), environ={"KITARU_NB_HOME": home}
    )

    (made,) = written(told, kind)
    line = line_of(made.text)
    command = line.split(" ", 5)[5]
    ran = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, check=True, env={}, cwd="/"
    )

    assert json.loads(ran.stdout) == [str(folder), home, [HARD, "", "-p"]]


@given(WORDS)
@example(HARD)
def test_nothing_in_a_word_ends_the_command_for_cron(word: str) -> None:
    (made,) = written(schedule("run", word), Kind.CRON)

    assert "%" not in line_of(made.text)


@given(st.lists(WORDS, min_size=1, max_size=4))
@example([HARD, ""])
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_systemd_reads_the_words_that_were_written(words: list[str]) -> None:
    service, _ = written(schedule("/bin/true", *words, environ={"KITARU_NB_HOME": words[0]}), Kind.SYSTEMD)

    assert as_systemd_reads(value_of(service.text, "ExecStart")) == ["/usr/bin/env", "/bin/true", *words]
    environ = as_systemd_reads(value_of(service.text, "Environment").replace("$", "$$"))
    assert environ == [f"KITARU_NB_HOME={words[0]}"]


def test_a_percent_sign_in_the_folder_is_none_of_systemds_own() -> None:
    service, _ = written(schedule("run", folder="/srv/50%h"), Kind.SYSTEMD)

    assert value_of(service.text, "WorkingDirectory") == "/srv/50%%h"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    for made in written(schedule("/bin/true", HARD, "", folder="/tmp"), Kind.SYSTEMD):
        (tmp_path / str(made.name)).write_text(made.text, encoding="utf-8")

    units = sorted(map(str, tmp_path.iterdir()))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )

    said = [line for line in verified.stderr.splitlines() if "kitaru-nb" in line]
    assert (verified.returncode, said) == (0, [])


@given(st.lists(WORDS, min_size=1, max_size=4))
@example([HARD, ""])
def test_kubernetes_reads_the_words_that_were_written(words: list[str]) -> None:
    told = schedule(
        "kitaru-nb", *words, folder=f"/{words[0]}", environ={"KITARU_NB_HOME": words[0]}, needs=["KEY"]
    )

    (made,) = written(told, Kind.K8S)
    job = yaml.safe_load(made.text)
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]

    assert [word.replace("$$", "$") for word in container["command"]] == ["kitaru-nb", *words]
    assert not any(re.search(r"(?<!\$)(\$\$)*\$\(", word) for word in container["command"])
    assert container["workingDir"] == f"/{words[0]}"
    assert container["env"][0]["value"].replace("$$", "$") == words[0]
    assert container["env"][1] == {
        "name": "KEY",
        "valueFrom": {"secretKeyRef": {"name": "kitaru-nb", "key": "KEY"}},
    }
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert job["spec"]["schedule"] == "0 2 * * *"


def test_an_image_that_nobody_named_cannot_be_pulled_from_a_stranger() -> None:
    (made,) = written(schedule("kitaru-nb"), Kind.K8S)

    image = re.findall(r'image: "(.*)"', made.text)

    assert image != []
    assert not re.fullmatch(r"[a-z0-9]+([._/-][a-z0-9]+)*(:[\w.-]+)?", image[0])


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("word", ["a\nb", "a\rb", "\x00", "\x1b[31m", "\udc80"])
def test_what_would_end_a_line_is_refused(kind: Kind, word: str) -> None:
    for told in (schedule("run", word), schedule("run", folder=f"/{word}")):
        with pytest.raises(UsageError) as refused:
            written(told, kind)

        assert refused.value.kind == "unwritable-schedule"


@pytest.mark.parametrize("folder", ["/srv/x ", "/srv/x\\"])
def test_a_folder_that_systemd_would_read_otherwise_is_refused(folder: str) -> None:
    with pytest.raises(UsageError) as refused:
        written(schedule("run", folder=folder), Kind.SYSTEMD)

    assert refused.value.kind == "unwritable-schedule"


@given(WORDS, WORDS)
def test_a_name_is_one_that_all_of_them_take(notebook: str, value: str) -> None:
    name = schedule_name(f"/srv/{notebook}.ipynb", ["run", value])

    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
    assert len(name) <= 52
    assert name != schedule_name(f"/srv/{notebook}.ipynb", ["run", f"{value}x"])
