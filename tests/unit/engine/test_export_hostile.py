"""A file that was damaged, or that somebody made to do harm: a clear error, and nothing here is changed."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.artifacts.values import checked_buffers, manifest_digest
from kitaru_nb.cli.main import main
from kitaru_nb.engine.export_check import check_export, records_in
from kitaru_nb.engine.export_file import ARTIFACTS, EXTENTS, RECORDS, ExportReader, ExportWriter
from kitaru_nb.errors import CorruptError, KitaruError, StoreError, UntrustedError, UsageError
from kitaru_nb.journal.portable import MALFORMED
from kitaru_nb.model.artifact import Artifact, Extent
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.keys import Keyring
from kitaru_nb.stacks.open import open_engine
from tests.unit.engine.people import CELLS, LOAD, People, members, rewritten, signed_by, told

REFUSALS = (CorruptError, StoreError, UntrustedError, UsageError)


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> People:
    return People(tmp_path, monkeypatch)


@pytest.fixture
def path(people: People) -> Path:
    """What ana exported."""
    return people.exports("ana", people.runs("ana", *CELLS))


@pytest.fixture
def mallory(people: People) -> Keyring:
    """The key of somebody who writes files by hand."""
    return people.be("mallory")


@pytest.fixture
def unchanged(people: People) -> Iterator[None]:
    """Ben's store is at the end as it is now, byte for byte where it is on record."""
    people.runs("ben", LOAD)
    before = people.records("ben")
    yield
    assert people.records("ben") == before


def refused(people: People, path: Path) -> KitaruError:
    with pytest.raises(REFUSALS) as error:
        people.imports("ben", path)
    assert error.value.message
    assert error.value.hint
    return error.value


# Damage


def test_any_flipped_byte_is_seen_or_does_not_matter(people: People) -> None:
    path = people.exports("ana", people.runs("ana", LOAD))
    whole = path.read_bytes()
    people.be("ben")
    with closing(open_engine(Settings(home=people.home("ben")))) as engine:
        valid = engine.trust.keys.is_valid

        def content() -> list[Any]:
            with ExportReader(path, is_valid=valid) as reader:
                check_export(reader, engine.trust)
                return list(records_in(reader))

        right, seen = content(), 0
        ends = {*range(60), *range(len(whole) - 400, len(whole))}
        for at in sorted({*range(0, len(whole), 23), *ends}):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << (at % 8)
            path.write_bytes(damaged)
            try:
                assert content() == right, at
            except REFUSALS:
                seen += 1

    assert seen > len(whole) / 23 * 0.9


@pytest.mark.usefixtures("unchanged")
def test_a_file_cut_short_anywhere_is_refused(people: People, path: Path) -> None:
    whole = path.read_bytes()
    for length in (0, 1, 3, 21, 22, 100, len(whole) // 3, len(whole) - 700, len(whole) - 23, len(whole) - 1):
        path.write_bytes(whole[:length])

        assert refused(people, path).kind in ("not-an-export", "corrupt-export"), length


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("content", [b"", b"hello\n" * 99, bytes(4096), b"PK\3\4" + bytes(99)])
def test_another_kind_of_file_is_refused(people: People, content: bytes) -> None:
    path = people.folder / "x.kitaru"
    path.write_bytes(content)

    refused(people, path)


def test_no_file_and_a_folder_are_refused(people: People) -> None:
    assert refused(people, people.folder / "none").kind == "file-not-readable"
    assert refused(people, people.folder).kind == "file-not-readable"


# Zip files


def zipped(path: Path, parts: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in parts:
            file.writestr(zipfile.ZipInfo(name), data, compress_type=compression)
    return path


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "name", ["../../outside", "/tmp/outside", "records.jsonl/../../outside", "a" * 60_000, "extents.bin"]
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_in_the_file_becomes_no_path(people: People, path: Path, name: str) -> None:
    hostile = zipped(people.folder / "h.kitaru", [*members(path).items(), (name, b"boo")])

    assert refused(people, hostile).kind == "not-an-export"

    assert not list(people.folder.parent.rglob("outside*"))
    assert not Path("/tmp/outside").exists()


@pytest.mark.usefixtures("unchanged")
def test_nothing_is_inflated(people: People, path: Path) -> None:
    parts = {**members(path), "extents.bin": bytes(300 << 20)}

    hostile = zipped(people.folder / "h.kitaru", list(parts.items()), zipfile.ZIP_DEFLATED)

    assert "not stored as it is" in refused(people, hostile).message


@pytest.mark.usefixtures("unchanged")
def test_not_even_an_honest_file_may_be_compressed(people: People, path: Path) -> None:
    smaller = zipped(people.folder / "h.kitaru", list(members(path).items()), zipfile.ZIP_DEFLATED)

    assert "not stored as it is" in refused(people, smaller).message


@pytest.mark.usefixtures("unchanged")
def test_a_directory_of_a_million_names_is_not_read(people: People, path: Path) -> None:
    hostile = zipped(
        people.folder / "h.kitaru", [*members(path).items(), *((f"{n}", b"") for n in range(3000))]
    )

    assert refused(people, hostile).kind == "not-an-export"


@pytest.mark.usefixtures("unchanged")
def test_a_directory_that_only_the_large_record_tells_of_is_not_read(people: People, path: Path) -> None:
    whole = path.read_bytes()
    end = whole[-22:]
    size, offset = struct.unpack("<II", end[12:20])
    large = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1 << 40, 1 << 40, 1 << 50, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(whole) - 22, 1)
    assert size < 4096
    path.write_bytes(whole[:-22] + large + locator + end)

    assert refused(people, path).kind == "not-an-export"


@pytest.mark.usefixtures("unchanged")
def test_what_the_file_says_of_itself_is_signed(people: People, path: Path) -> None:
    parts = members(path)
    manifest = json.loads(parts["manifest.json"])
    changes: list[dict[str, Any]] = [
        {"values": False},
        {"members": {**manifest["members"], "extents.bin": {"bytes": 0, "blake3": "0" * 64}}},
        {"signature": {"key": manifest["signature"]["key"], "sig": "00"}},
        {"signature": None},
        {"members": []},
        {"bytes": 1 << 80},
    ]
    for change in changes:
        parts["manifest.json"] = json.dumps({**manifest, **change}).encode()

        assert refused(people, zipped(path, list(parts.items()))).kind == "corrupt-export", change


@pytest.mark.usefixtures("unchanged")
def test_a_file_of_a_later_release_is_told_apart_from_a_damaged_one(
    people: People, path: Path, mallory: Keyring
) -> None:
    def later(lines: list[Any]) -> None:
        lines[1][1]["body"]["colour"] = "blue"

    for file in (
        rewritten(path, mallory, records=later),
        rewritten(path, mallory, about={"version": 2}),
    ):
        error = refused(people, file)

        assert (error.kind, error.hint) == ("export-newer", "pip install -U kitaru-nb")


# Records, values and signatures


def step(lines: list[Any], number: int) -> dict[str, Any]:
    found: dict[str, Any] = [fields for kind, fields in lines if kind == "step"][number]
    return found


FORGERIES: dict[str, tuple[str, Callable[[list[Any]], Any]]] = {
    "a name": ("forged-record", lambda ls: step(ls, 0)["body"].update(name="other")),
    "a source": ("forged-record", lambda ls: step(ls, 0)["body"].update(source="import os")),
    "a value": (
        "forged-record",
        lambda ls: step(ls, 0)["body"]["groups"][0].__setitem__(1, step(ls, 3)["body"]["groups"][0][1]),
    ),
    "a status": ("forged-record", lambda ls: step(ls, 0).update(status="restored")),
    "a key": ("forged-record", lambda ls: step(ls, 0).update(key="0" * 64)),
    "an order": ("forged-record", lambda ls: step(ls, 1).update(parent=None)),
    "an execution": (
        "forged-record",
        lambda ls: [
            fields.update({"id" if kind == "run" else "execution": "ex_" + "0" * 26}) for kind, fields in ls
        ],
    ),
    "no signature": ("unsigned-record", lambda ls: step(ls, 0)["body"].pop("signature")),
    "a signature of another": (
        "forged-record",
        lambda ls: step(ls, 0)["body"].update(signature=step(ls, 1)["body"]["signature"]),
    ),
}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("what", FORGERIES)
def test_a_record_that_its_signer_did_not_sign_is_refused(
    people: People, path: Path, mallory: Keyring, what: str
) -> None:
    kind, edit = FORGERIES[what]
    about = {"execution": "ex_" + "0" * 26} if what == "an execution" else None

    error = refused(people, rewritten(path, mallory, records=edit, about=about))

    assert error.kind == kind
    assert isinstance(error, UntrustedError)


@pytest.mark.usefixtures("unchanged")
def test_somebody_else_cannot_put_together_what_a_trusted_key_signed(
    people: People, path: Path, mallory: Keyring
) -> None:
    """Events, statuses and costs are not signed one by one: who exports them vouches for them."""

    def approve(lines: list[Any]) -> None:
        last = copy.deepcopy(lines[-1])
        last[1].update(kind="wait.answered", data={"answer": True})
        lines.append(last)

    ana = people.be("ana").public
    people.be("ben").trust(ana)
    people.be("mallory")

    error = refused(people, rewritten(path, mallory, records=approve))

    assert error.kind == "untrusted-key"
    assert mallory.public in error.hint


@pytest.mark.usefixtures("unchanged")
def test_wrong_bytes_are_refused(people: People, path: Path, mallory: Keyring) -> None:
    for change in (
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data[:-1],
        lambda data: data + b"more",
        lambda _data: b"",
    ):
        assert refused(people, rewritten(path, mallory, extents=change)).kind == "corrupt-export"


def artifact(listed: list[Any], codec: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in listed if each["codec"] == codec)
    return found


@pytest.mark.usefixtures("unchanged")
def test_steps_whose_values_are_not_there_are_refused(people: People, path: Path, mallory: Keyring) -> None:
    empty = rewritten(path, mallory, artifacts=lambda listed: listed.clear(), extents=lambda _data: b"")

    assert "are not in it" in refused(people, empty).message


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "lie",
    [
        {"anchors": ["0" * 64]},
        {"anchors": ["../../x"]},
        {"names": [1]},
        {"names": {"a": []}, "name": None},
        {"format": "x"},
    ],
    ids=str,
)
def test_a_manifest_that_leads_nowhere_is_refused(
    people: People, path: Path, mallory: Keyring, lie: dict[str, Any]
) -> None:
    """Everything that `gc`, a listing or an error message looks at in one before it is loaded."""
    assert refused(people, with_manifest(path, mallory, lie)).kind == "corrupt-export"


def with_manifest(path: Path, key: Keyring, lie: dict[str, Any]) -> Path:
    """One value with another description, under its digest, in records that are signed anew."""
    parts, data = members(path), {}
    listed = [json.loads(line) for line in parts[ARTIFACTS].splitlines()]
    at = 0
    for one in listed:
        for extent in _extents(one):
            if extent.digest not in data:
                data[extent.digest] = parts[EXTENTS][at : at + extent.length]
                at += extent.length
    chosen = artifact(listed, "pickle5")
    old, chosen["manifest"]["meta"] = chosen["digest"], {**chosen["manifest"]["meta"], **lie}
    chosen["digest"] = manifest_digest(chosen["manifest"])
    listed.sort(key=lambda one: one["digest"])
    ordered = {extent.digest: data[extent.digest] for one in listed for extent in _extents(one)}

    def records(lines: list[Any]) -> None:
        lines[:] = json.loads(json.dumps(lines).replace(old, chosen["digest"]))
        signed_by(key)(lines)

    def artifacts(found: list[Any]) -> None:
        found[:] = listed

    return rewritten(
        path, key, records=records, artifacts=artifacts, extents=lambda _data: b"".join(ordered.values())
    )


def _extents(one: dict[str, Any]) -> list[Extent]:
    manifest = one["manifest"]
    given = Artifact(manifest_digest(manifest), one["codec"], one["bytes"], manifest)
    return [extent for row in checked_buffers(given) for extent in row]


LIES: dict[str, Callable[[list[Any]], Any]] = {
    "codec": lambda a: artifact(a, "pickle5").update(codec="zarr"),
    "codec of the manifest": lambda a: artifact(a, "pickle5")["manifest"].update(codec="zarr"),
    "size": lambda a: a[0].update(bytes=1),
    "digest": lambda a: a[0].update(digest="0" * 64),
    "digest that is a path": lambda a: a[0].update(digest="../" * 20 + "x"),
    "missing": lambda a: a.pop(),
    "twice": lambda a: a.insert(0, a[0]),
    "order": lambda a: a.reverse(),
    "no manifest": lambda a: a[0].pop("manifest"),
    "manifest that is a list": lambda a: a[0].update(manifest=[]),
    "no object": lambda a: a.__setitem__(0, "artifact"),
}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("what", LIES)
def test_values_that_are_not_what_they_are_said_to_be_are_refused(
    people: People, path: Path, mallory: Keyring, what: str
) -> None:
    refused(people, rewritten(path, mallory, artifacts=LIES[what]))


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b"{}", b'["step"]', b"nothing", b"\xff", b"1" * 5000, b"[NaN]"]
)
def test_lines_that_are_no_records_are_refused(
    people: People, path: Path, mallory: Keyring, line: bytes
) -> None:
    parts = members(path)
    target = path.with_name("raw.kitaru")
    with ExportWriter(target) as writer:
        for name in (RECORDS, ARTIFACTS, EXTENTS):
            with writer.member(name) as write:
                write(parts[name] + (line + b"\n" if name == RECORDS else b""))
        manifest = json.loads(parts["manifest.json"])
        writer.finish({"execution": manifest["execution"], "values": True}, mallory.sign)

    refused(people, target)


HOSTILE: list[Any] = [
    None,
    True,
    -1,
    0,
    1 << 70,
    1e300,
    "",
    "../../../etc/passwd",
    "'; DROP TABLE checkpoints; --",
    "\ud800",
    "a\0b",
    "<script>alert(1)</script>",
    "x" * 100_000,
    [],
    {},
    [[]],
    {"": None},
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from _places(value[key], (*path, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _places(one, (*path, number))


def _replace(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


ROUNDS = int(os.environ.get("HOSTILE_ROUNDS", "60"))
VERBS = (
    ["executions"],
    ["executions", "--json"],
    ["show", "{}"],
    ["show", "{}", "--json"],
    ["artifacts", "{}", "--json"],
    ["store", "info"],
    ["store", "verify"],
    ["gc"],
    ["export", "{}", "again.kitaru"],
)


def test_whatever_a_record_holds_it_is_refused_or_can_be_looked_at(
    people: People, mallory: Keyring, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mallory signs what they write, so only its form protects the store. It may be a lie, and no harm."""
    monkeypatch.chdir(people.folder)
    theirs = people.runs("mallory", *CELLS[:1], "%%checkpoint two\ntwo = number + 2")
    path = people.exports("mallory", theirs)
    lines = told(path)
    choose, taken = random.Random(7), 0
    for number in range(ROUNDS):
        place, new = choose.choice(list(_places(lines))), choose.choice(HOSTILE)
        hostile = rewritten(path, mallory, records=lambda found, p=place, n=new: _lie(found, p, n, mallory))
        home = f"ben-{number}"
        try:
            arrived = people.imports(home, hostile).execution.id
        except REFUSALS:
            assert people.records(home) == [[], [], [], [], [], []], (place, new)
            continue
        taken += 1
        assert people.records(home)[0], (place, new)
        for verb in VERBS:
            assert main([word.format(arrived) for word in verb]) in (0, 1), (place, new, verb)
        assert "Traceback" not in capsys.readouterr().err, (place, new)

    assert 0 < taken < ROUNDS


def _lie(found: list[Any], place: tuple[Any, ...], new: Any, key: Keyring) -> None:
    _replace(found, place, new)
    with contextlib.suppress(*MALFORMED):  # what is no record cannot be signed: it stays as it is
        signed_by(key)(found)
