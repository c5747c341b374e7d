"""A stack of a bucket and a database loses nothing and gives no wrong byte, whatever dies or lies."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kitaru_nb.model.stack import Stack
from tests.chaos import damage, scenario
from tests.chaos.chance import SEED
from tests.chaos.team import CELLS, Team, damages
from tests.postgres_server import PostgresServer
from tests.s3_server import BUCKET, Cable, S3Server, s3_options

pytestmark = pytest.mark.chaos

MORE = int(os.environ.get("KITARU_NB_TEST_CHAOS", "1"))


@pytest.fixture
def team(tmp_path: Path, s3_server: S3Server, postgres_server: PostgresServer) -> Iterator[Team]:
    name = f"team_{secrets.token_hex(4)}"
    stack = Stack(
        "team",
        store=f"s3://{BUCKET}/{name}",
        journal=postgres_server.schema(name),
        options=s3_options(s3_server.endpoint),
        source=str(tmp_path),
    )
    team = Team(tmp_path, stack)
    yield team
    team.end()


@pytest.fixture
def states(tmp_path: Path) -> list[dict[str, str]]:
    """The state after each step of a run that nothing disturbs."""
    kernel = scenario.start(tmp_path / "undisturbed")
    found = [scenario.end_state(kernel)]
    for number, cell in enumerate(CELLS):
        kernel.cell(cell, step=str(number))
        found.append(scenario.end_state(kernel))
    kernel.stop()
    return found


@pytest.mark.parametrize("count", [16, pytest.param(400, marks=pytest.mark.slow)])
def test_a_damaged_object_gives_right_data_or_an_error(team: Team, count: int) -> None:
    kernel = team.kernel("ana").take_over()
    for number, cell in enumerate(CELLS):
        kernel.cell(cell, step=str(number))
    kernel.plain(damage.READ)
    found = kernel["found"]
    kernel.stop()

    assert not list(damages(team, found, count=count * MORE, seed=SEED))


POINTS = ["before-object-put", "after-object-put", "before-flush", "after-flush"]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_laptop_that_dies_in_a_save_loses_nothing(
    team: Team, states: list[dict[str, str]], point: str, nth: int
) -> None:
    dying = team.process("ana", KITARU_NB_CRASH_AT=f"{point}:{nth}")
    told, said = dying.communicate()

    restored, ended = team.finished("ben")

    assert dying.returncode == -signal.SIGKILL, said
    assert restored >= len(told.split())
    assert ended == states


@pytest.mark.parametrize("kills", [2, pytest.param(25, marks=pytest.mark.slow)])
def test_laptops_that_die_at_any_moment_lose_nothing(
    team: Team, states: list[dict[str, str]], kills: int
) -> None:
    chance = random.Random(SEED)
    acknowledged = 0
    for number in range(kills * MORE):
        dying = team.process(f"laptop-{number}")
        assert dying.stdout is not None
        for _ in range(chance.randrange(1, len(CELLS))):
            dying.stdout.readline()
        dying.send_signal(signal.SIGKILL)
        acknowledged = max(acknowledged, len(dying.communicate()[0].split()))

    restored, ended = team.finished("ben")

    assert restored >= acknowledged
    assert ended == states


def test_a_laptop_that_hung_records_nothing_after_another_took_over(
    team: Team, states: list[dict[str, str]]
) -> None:
    hung = team.process("ana")
    assert hung.stdout is not None
    for _ in range(2):
        hung.stdout.readline()
    hung.send_signal(signal.SIGSTOP)
    restored, ended = team.finished("ben")
    hung.send_signal(signal.SIGCONT)
    said = hung.communicate()[1]

    again, _ = team.finished("cleo")

    assert hung.returncode == 1, said
    assert said.startswith("ConflictError superseded: ")
    assert restored >= 2
    assert (again, ended) == (len(CELLS), states)


def test_a_line_that_garbles_what_it_carries_gives_right_data_or_an_error(
    team: Team, s3_server: S3Server
) -> None:
    kernel = team.kernel("ana").take_over()
    for number, cell in enumerate(CELLS):
        kernel.cell(cell, step=str(number))
    kernel.plain(damage.READ)
    found = kernel["found"]
    kernel.stop()
    chance = random.Random(SEED)
    line = Cable(s3_server.port, back=lambda data: garbled(data, chance, 0.5))
    options = {**team.stack.options, "endpoint": line.endpoint}
    liars = Team(team.folder, replace(team.stack, options=options))

    wrong = [
        text
        for number in range(12 * MORE)
        for text in damage.wrong(found, lambda number=number: liars.kernel(f"liar-{number}"))
    ]

    line.close()
    assert not wrong


def test_what_a_line_garbled_on_its_way_to_the_bucket_is_sent_again(team: Team, s3_server: S3Server) -> None:
    chance, hits = random.Random(SEED), []

    def there(data: bytes) -> bytes:
        changed = garbled(data, chance, 0.1)
        hits.append(changed != data)
        return changed

    line = Cable(s3_server.port, there=there)
    options = {**team.stack.options, "endpoint": line.endpoint, "max_retries": "20", "retry_timeout": "60"}
    number = 0
    while sum(hits) < 5:
        garbling = Team(team.folder, replace(team.stack, options=options))
        kernel = garbling.kernel(f"ana-{number}").take_over()
        kernel.cell("import numpy as np", step="imports")
        kernel.cell(f"more = np.arange({number}, 900_000.0)", step=f"more-{number}")
        kernel.stop()
        number += 1

    line.close()
    straight = team.kernel("ben")
    straight.session.resume(take_over=True)
    engine = straight.engine
    places = [place for place in engine.journal.every_extent() if place.pack is not None]
    assert all(len(engine.store.read(place)) == place.extent.length for place in places)
    assert len(places) >= 6 * number
    straight.stop()


def garbled(data: bytes, chance: random.Random, often: float) -> bytes:
    """Large pieces, which are content and no headers, with one bit of some of them flipped."""
    if len(data) < 4096 or chance.random() > often:
        return data
    changed = bytearray(data)
    changed[chance.randrange(2048, len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def test_what_is_saved_while_others_collect_stays(team: Team) -> None:
    collecting = [team.process(f"gc-{number}", program="collect") for number in range(2)]
    for each in collecting:
        assert each.stdout is not None
        each.stdout.readline()
    saving = [team.process(f"saver-{number}", program="save") for number in range(2)]
    ends = [each.communicate() for each in saving]
    for each in collecting:
        each.send_signal(signal.SIGKILL)
    collected = [each.communicate()[0].split().count("collected") for each in collecting]

    assert [each.returncode for each in saving] == [0, 0], ends
    assert min(collected) > 0
    for number, (told, _) in enumerate(ends):
        reader = team.kernel(f"reader-{number}", notebook=f"saver-{number}")
        reader.session.resume(take_over=True)
        assert scenario.end_state(reader) == json.loads(told.splitlines()[-1])
        reader.stop()
    engine = team.kernel("verifier").engine
    places = [place for place in engine.journal.every_extent() if place.pack is not None]
    assert all(len(engine.store.read(place)) == place.extent.length for place in places)
    engine.close()
