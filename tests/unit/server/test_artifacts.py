"""Previews of stored values: right, bounded, and without a pickle being loaded."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kitaru_nb.artifacts.marker import Marker
from kitaru_nb.model.checkpoint import Group
from kitaru_nb.testing import a_draft
from tests.served import Api
from tests.unit.server.conftest import Recorder


class Trap:
    """Leaves a trace wherever it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def stored(recorder: Recorder, *, why: Mapping[str, str] | None = None, **values: Any) -> str:
    """The start of a ref of each of `values`, stored each by itself and signed with the user's own key."""
    attempt = recorder.begin()
    groups, artifacts, locations = [], [], []
    for name, value in values.items():
        found = recorder.engine.put({name: value}, namespace={})
        lost = {name: why[name]} if why and name in why else {}
        digest = found.artifact.digest
        groups.append(Group((name,), digest, digest, written=True, unstorable=lost))
        artifacts.append(found.artifact)
        locations += found.locations
    recorder.engine.store.flush()
    draft = a_draft(name="make", groups=tuple(groups))
    draft = recorder.engine.trust.signed(draft, attempt.execution, fresh=artifacts)
    recorder.journal.commit(attempt, draft, artifacts=artifacts, locations=locations)
    return f"{attempt.execution}/make/"


def test_an_array_is_described_and_read_in_parts(api: Api, recorder: Recorder) -> None:
    array = np.arange(3_000_000.0).reshape(1500, 2000)
    ref = stored(recorder, w=array) + "w"

    found = api.found("artifacts", ref=ref)
    part = api.found("artifacts/slice", ref=ref, start="10,1990", stop="12,3000")
    cut = api.found("artifacts/slice", ref=ref)

    assert (found["kind"], found["shape"], found["dtype"], found["names"]) == (
        "array",
        [1500, 2000],
        "float64",
        ["w"],
    )
    assert part["values"] == array[10:12, 1990:].tolist()
    assert (part["start"], part["stop"], part["whole"]) == ([10, 1990], [12, 2000], False)
    assert np.array(cut["values"]).shape == tuple(cut["stop"])
    assert np.array(cut["values"]).size <= 10_000


def test_statistics_are_those_of_the_array(api: Api, recorder: Recorder) -> None:
    array = np.random.default_rng(1).normal(size=(300, 400))
    array[0, :7] = np.nan
    array[1, 0] = np.inf
    ref = stored(recorder, w=array) + "w"

    found = api.found("artifacts/slice", ref=ref, **{"as": "statistics"})

    finite = array[np.isfinite(array)]
    assert (found["count"], found["nan"], found["infinite"], found["sampled"]) == (120_000, 7, 1, False)
    assert found["mean"] == pytest.approx(finite.mean())
    assert found["std"] == pytest.approx(finite.std())
    assert (found["min"], found["max"]) == (finite.min(), finite.max())
    assert sum(found["histogram"]["counts"]) > 1000


def test_a_large_array_is_sampled_and_what_is_read_is_bounded(
    api: Api, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitaru_nb.engine.preview_slices._READ", 9 << 20)
    array = np.ones((4000, 2000), "f8")
    ref = stored(recorder, w=array) + "w"

    found = api.found("artifacts/slice", ref=ref, **{"as": "statistics"})
    column = api.found("artifacts/slice", ref=ref, start="0,0", stop="4000,1")
    picture = api.found("artifacts/slice", ref=ref, **{"as": "png"})

    assert found["sampled"] is True
    assert 0 < found["count"] < array.size
    assert column["stop"][0] < 4000
    assert picture["height"] < 256


def test_a_picture_is_a_small_png_of_the_array(api: Api, recorder: Recorder, tmp_path: Path) -> None:
    array = np.zeros((600, 1000))
    array[300:] = 1.0
    array[0, 0] = np.nan
    colours = np.zeros((10, 20, 3), "u1")
    colours[..., 0] = 255
    ref = stored(recorder, w=array, c=colours)

    found = api.found("artifacts/slice", ref=ref + "w", **{"as": "png"}, pixels=100)
    red = api.found("artifacts/slice", ref=ref + "c", **{"as": "png"})

    image = _image(found, tmp_path)
    assert image.size == (found["width"], found["height"]) == (100, 100)
    assert (image.getpixel((50, 10)), image.getpixel((50, 90))) == (0, 255)
    assert (found["low"], found["high"]) == (0.0, 1.0)
    assert _image(red, tmp_path).getpixel((3, 3)) == (255, 0, 0)


def _image(found: dict[str, Any], folder: Path) -> Image.Image:
    file = folder / "picture.png"
    file.write_bytes(base64.b64decode(found["data"]))
    with Image.open(file) as image:
        image.load()
        return image.copy()


def test_a_table_is_described_by_its_columns_and_read_row_by_row(api: Api, recorder: Recorder) -> None:
    frame = pd.DataFrame(
        {
            "n": np.arange(50_000),
            "x": np.linspace(0, 1, 50_000),
            "when": pd.date_range("2026-01-01", periods=50_000, freq="s"),
        }
    )
    ref = stored(recorder, df=frame) + "df"

    found = api.found("artifacts", ref=ref)
    rows = api.found("artifacts/slice", ref=ref, start="100", stop="103", columns="n,when")
    many = api.found("artifacts/slice", ref=ref)
    column = api.found("artifacts/slice", ref=ref, path="x", **{"as": "statistics"})

    assert (found["kind"], found["rows"], found["shape"]) == ("table", 50_000, [50_000, 3])
    assert [each["name"] for each in found["columns"]] == ["n", "x", "when"]
    assert rows["columns"]["n"] == [100, 101, 102]
    assert rows["columns"]["when"][0].startswith("2026-01-01T00:01:40")
    assert (rows["start"], rows["stop"], rows["rows"]) == (100, 103, 50_000)
    assert len(many["columns"]["n"]) == 500
    assert column["max"] == 1.0


def test_a_small_table_is_a_table_too(api: Api, recorder: Recorder) -> None:
    small = pd.DataFrame({"region": ["north", "south"], "orders": [1204, 987]})
    wide = pd.DataFrame({f"c{number}": np.arange(20.0) + number for number in range(30)})
    ref = stored(recorder, small=small, sums=wide.sum(), wide=wide)

    found = api.found("artifacts", ref=ref + "small")
    rows = api.found("artifacts/slice", ref=ref + "small", **{"as": "rows"})
    last = api.found("artifacts/slice", ref=ref + "wide", **{"as": "rows"}, start="19", columns="c29")

    assert (found["kind"], found["rows"], [each["name"] for each in found["columns"]]) == (
        "table",
        2,
        ["region", "orders"],
    )
    assert {name: rows["columns"][name] for name in small} == small.to_dict("list")
    assert last["columns"]["c29"] == [48.0]
    assert api.found("artifacts", ref=ref + "sums")["rows"] == 30


def test_what_of_a_table_cannot_be_shown_is_named(api: Api, recorder: Recorder, tmp_path: Path) -> None:
    trace = tmp_path / "unpickled"
    frame = pd.DataFrame({"n": [1, 2], "kept": [Trap(trace), 3]})
    ref = stored(recorder, frame=frame) + "frame"

    found = api.found("artifacts", ref=ref)

    assert [each["name"] for each in found["columns"]] == ["n"]
    assert "only a part of it can be read" in found["left_out"][0]
    assert not trace.exists()


def test_moments_periods_and_lengths_of_time_are_told_as_what_they_are(api: Api, recorder: Recorder) -> None:
    frame = pd.DataFrame(
        {
            "zone": pd.to_datetime(["2020-06-01 00:00", None]).tz_localize("Europe/Berlin"),
            "month": pd.PeriodIndex(["2020-01", None], freq="M"),
            "quarter": pd.PeriodIndex(["2019Q4", "1969Q4"], freq="Q-DEC"),
            "week": pd.PeriodIndex(["2020-01-06", "2020-01-13"], freq="W-SUN"),
            "length": pd.to_timedelta(["1 days 02:03:04.5", None]),
            "left": pd.to_timedelta(["-90s", "36h"]),
        },
        index=pd.date_range("2020-06-01", periods=2, freq="D", tz="Europe/Berlin"),
    )
    months = np.array([14, "NaT"], dtype="timedelta64[M]")
    ref = stored(recorder, df=frame, months=months)

    columns = api.found("artifacts/slice", ref=ref + "df", **{"as": "rows"})["columns"]
    listed = api.found("artifacts/slice", ref=ref + "months")["values"]

    assert [(each[:19], each[-1]) for each in columns["_index"]] == [
        ("2020-05-31T22:00:00", "Z"),
        ("2020-06-01T22:00:00", "Z"),
    ]
    assert columns["zone"][0].startswith("2020-05-31T22:00:00")
    assert (columns["zone"][0][-1], columns["zone"][1]) == ("Z", "NaT")
    assert columns["month"] == ["2020-01", "NaT"]
    assert columns["quarter"] == ["2019Q4", "1969Q4"]
    assert columns["week"][0] == f"{frame['week'].array.asi8[0]} of period[W-SUN]"
    assert columns["length"] == ["1 d 02:03:04.5", "NaT"]
    assert columns["left"] == ["-00:01:30", "1 d 12:00:00"]
    assert listed == ["14 M", "NaT"]


def test_times_of_day_are_told_as_such(api: Api, recorder: Recorder) -> None:
    pa = pytest.importorskip("pyarrow")
    times = pa.array([11_040_000_001, 0], pa.time64("us"))
    table = pa.table({"at": times, "n": pa.array(range(2))})
    ref = stored(recorder, df=table.to_pandas(types_mapper=pd.ArrowDtype)) + "df"

    columns = api.found("artifacts/slice", ref=ref, **{"as": "rows"})["columns"]

    assert columns["at"] == ["03:04:00.000001", "00:00:00"]


def test_the_smallest_and_largest_whole_number_are_exact(api: Api, recorder: Recorder) -> None:
    ref = stored(recorder, v=np.array([-(1 << 63), 0, (1 << 53) + 1]), few=np.array([3, 123_457]))

    large = api.found("artifacts/slice", ref=ref + "v", **{"as": "statistics"})
    small = api.found("artifacts/slice", ref=ref + "few", **{"as": "statistics"})

    assert (large["min"], large["max"]) == (str(-(1 << 63)), "9007199254740993")
    assert (small["min"], small["max"]) == (3, 123_457)


def test_a_text_that_is_cut_in_a_table_says_so(api: Api, recorder: Recorder) -> None:
    ref = stored(recorder, df=pd.DataFrame({"text": ["y" * 3000, "short"]})) + "df"

    columns = api.found("artifacts/slice", ref=ref, **{"as": "rows"})["columns"]

    assert columns["text"] == ["y" * 2000 + "… (3,000 characters)", "short"]


def test_a_column_that_arrays_cannot_hold_is_named(api: Api, recorder: Recorder) -> None:
    frame = pd.DataFrame({"n": [1, 2, 3], "between": pd.interval_range(0, 3)})
    ref = stored(recorder, df=frame) + "df"

    found = api.found("artifacts", ref=ref)

    assert [each["name"] for each in found["columns"]] == ["n"]
    assert any("`between`" in each for each in found["left_out"])


def test_of_what_could_not_be_stored_the_reason_is_told(api: Api, recorder: Recorder) -> None:
    why = "generator: a generator lives only in its own process"
    ref = stored(recorder, why={"lines": why}, lines=Marker("lines", "generator", why), rows=[1])

    lost, kept = api.found("artifacts", ref=ref + "lines"), api.found("artifacts", ref=ref + "rows")

    assert (lost["kind"], lost["marker"], lost["left_out"]) == ("opaque", True, [f"not stored: {why}"])
    assert not {"marker", "left_out"} & kept.keys()


@pytest.mark.parametrize(
    ("value", "kind", "told"),
    [
        ("some text", "text", {"preview": "some text", "length": 9}),
        (3, "json", {"preview": 3}),
        (
            {"a": [1, {"b": None}], "t": (1, 2)},
            "json",
            {"preview": {"a": [1, {"b": None}], "t": [1, 2]}, "length": 2},
        ),
        ([float("nan"), 1 << 60], "json", {"preview": ["nan", str(1 << 60)]}),
        (b"\x89PNG\r\n\x1a\n rest", "image", {"media": "image/png"}),
        (b"other", "opaque", {"length": 5}),
        (
            "x" * 30_000,
            "text",
            {
                "length": 30_000,
                "preview": "x" * 20_000,
                "left_out": ["the first 20,000 of 30,000 characters"],
            },
        ),
        (
            {1: "number", "1": "text", None: "none", "None": "text"},
            "json",
            {"preview": {"1 (int)": "number", "1": "text", "None (NoneType)": "none", "None": "text"}},
        ),
        (np.zeros(()), "opaque", {"type": "numpy.ndarray"}),
    ],
    ids=["text", "number", "data", "odd-numbers", "picture", "bytes", "long", "keys", "no-axis"],
)
def test_plain_values_are_shown(
    api: Api, recorder: Recorder, value: Any, kind: str, told: dict[str, Any]
) -> None:
    ref = stored(recorder, v=value) + "v"

    found = api.found("artifacts", ref=ref)

    assert found["kind"] == kind
    assert {name: found[name] for name in told} == told


def test_what_is_large_is_cut_and_says_so(api: Api, recorder: Recorder) -> None:
    ref = stored(recorder, v=list(range(100_000))) + "v"

    found = api.found("artifacts", ref=ref)

    assert (found["length"], found["whole"]) == (100_000, False)
    assert found["left_out"] == ["only its beginning is shown"]
    assert len(found["preview"]) <= 2000


def test_nothing_is_unpickled_by_whatever_is_asked(api: Api, recorder: Recorder, tmp_path: Path) -> None:
    trace = tmp_path / "unpickled"
    first = stored(recorder, v={"k": [Trap(trace)]}) + "v"
    second = stored(recorder, v={"k": [Trap(trace), 1]}) + "v"
    one, other = first.split("/")[0], second.split("/")[0]

    found = api.found("artifacts", ref=first)
    refused = api.get("artifacts/slice", ref=first)
    for path, query in (
        (f"executions/{one}", {}),
        (f"executions/{one}/why", {"checkpoint": "make"}),
        (f"executions/{one}/inputs", {"checkpoint": "make"}),
        (f"executions/{one}/logs", {}),
        ("diff", {"a": one, "b": other}),
    ):
        api.found(path, **query)
    page = api.get("diff.html", a=one, b=other)

    assert found["kind"] == "json"
    assert found["preview"] == {"k": ["<posix.system>"]}
    assert api.error(refused) == (400, "not-an-array")
    assert page.status_code == 200
    assert not trace.exists()


def test_of_a_value_that_is_not_unpickled_the_comparison_says_what_shows_it(
    api: Api, recorder: Recorder, tmp_path: Path
) -> None:
    one = stored(recorder, v=Trap(tmp_path / "a")).split("/")[0]
    other = stored(recorder, v=Trap(tmp_path / "b")).split("/")[0]

    (step,) = api.found("diff", a=one, b=other)["steps"]

    assert [each["lines"] for each in step["differences"] if each["what"] == "value"] == [
        [f"it differs, `kitaru-nb diff {one} {other}` shows in what"]
    ]


def test_two_executions_differ_in_data_that_is_shown_without_unpickling(api: Api, recorder: Recorder) -> None:
    one = stored(recorder, v={"model": "small", "k": [1, 2]}).split("/")[0]
    other = stored(recorder, v={"model": "large", "k": [1, 2]}).split("/")[0]

    (step,) = api.found("diff", a=one, b=other)["steps"]

    (value,) = [each for each in step["differences"] if each["what"] == "value"]
    assert value["lines"] == ["- model: 'small'", "+ model: 'large'"]


def test_a_value_that_was_removed_or_is_damaged_is_told(api: Api, recorder: Recorder) -> None:
    ref = stored(recorder, w=np.arange(500_000)) + "w"
    assert api.error(api.get("artifacts", ref=ref + "x")) == (404, "unknown-value")
    for pack in recorder.engine.settings.home.rglob("*"):
        if pack.is_file() and pack.stat().st_size > 1_000_000 and "journal" not in pack.name:
            pack.chmod(0o600)
            data = bytearray(pack.read_bytes())
            data[len(data) // 2] ^= 1
            pack.write_bytes(bytes(data))

    status, kind = api.error(api.get("artifacts/slice", ref=ref, **{"as": "statistics"}))

    assert (status, kind) == (503, "corrupt-artifact")
