"""Grids: which points a command means, what their outputs are called, and what makes two grids the same.

Everything here only decides; `batch` runs the points, `rounds` finds them on record.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from kitaru_nb.errors import UsageError
from kitaru_nb.stacks.masking import masked_parameters
from kitaru_nb.stacks.notebooks import json_parameters

__all__ = [
    "GRID",
    "Factor",
    "Point",
    "default_name",
    "digest_of",
    "filled_template",
    "fitting_names",
    "label_of",
    "points_of",
    "refuse_paths",
    "refuse_shared",
    "shown_values",
]

GRID = "grid"
"""The one key of a YAML document that holds axes."""

_PLAIN = re.compile(r"[A-Za-z0-9+=_-]+(?:\.[A-Za-z0-9+=_-]+)*\Z")  # no dot at an end, none beside another
_OTHER = re.compile(r"[^A-Za-z0-9+=_-]+")
_LONGEST_VALUE = 32  # characters of a value in a file's name
_LONGEST_NAME = 140  # bytes; 255 are usual, and a spare file's name is a little longer
_DIGEST_BYTES = 4

Factor = Sequence[Mapping[str, Any]]
"""Alternatives of which a point takes one, each a few parameters with their values."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a grid.

    Attributes:
        number: Its place in the grid, from 1 on.
        values: What it varies: parameters that are not the same for all.
        notebook: The notebook, absolute or a URL; empty for a replay.
    """

    number: int
    values: Mapping[str, Any] = field(default_factory=dict)
    notebook: str = ""


def points_of(factors: Sequence[Factor], notebooks: Sequence[str] = ("",)) -> list[Point]:
    """Every combination of one alternative of each factor, for each notebook, in the order given.

    Raises:
        UsageError: kind ``bad-grid``: two factors give the same parameter, or two points are equal.
    """
    _refuse_twice(factors)
    combined = [
        {name: value for part in parts for name, value in part.items()}
        for parts in itertools.product(*factors)
    ]
    points = [
        Point(number, values, notebook)
        for number, (notebook, values) in enumerate(itertools.product(notebooks, combined), 1)
    ]
    seen: dict[str, Point] = {}
    for point in points:
        same = seen.setdefault(_text_of(point), point)
        if same is not point:
            raise UsageError(
                f"points {same.number} and {point.number} of the grid are the same: {label_of(point)}",
                kind="bad-grid",
                hint="give each value once",
            )
    return points


def shown_values(point: Point) -> dict[str, str]:
    """A point's values as text; secrets are labels in it."""
    masked = masked_parameters(json_parameters(point.values))
    return {name: _shown(value) for name, value in masked.items()}


def label_of(point: Point, *, notebook: bool = False) -> str:
    """What a point is called for a person: ``alpha=0.1 model=a``; secrets are labels in it."""
    told = " ".join(f"{name}={value}" for name, value in shown_values(point).items())
    named = os.path.basename(point.notebook)  # noqa: PTH119 - it may be a URL
    return " ".join(filter(None, (named if notebook or not told else "", told)))


def default_name(point: Point, stem: str, *, always: bool = False) -> str:
    """The file name of a point's output: ``<stem>.<name>-<value>….out.ipynb``.

    Names and values become letters, digits and ``+=_-.`` of ASCII: no value is a path. Where that
    changed one, where the name is too long, and with `always`, a digest of the values keeps it apart.
    """
    texts = shown_values(point)
    parts = [f"{_plain(name)}-{_plain(text)}" for name, text in texts.items()]
    changed = always or any(_plain(text) != text for pair in texts.items() for text in pair)
    room = _LONGEST_NAME - len(".out.ipynb") - 2 * _DIGEST_BYTES - 1
    name = ".".join([stem, *parts])
    if len(name.encode()) > room:
        changed, name = True, name.encode()[:room].decode(errors="ignore").rstrip(".")
    return f"{name}.{_digest(_text_of(point))}.out.ipynb" if changed and point.values else f"{name}.out.ipynb"


def fitting_names(points: Sequence[Point], stems: Sequence[str]) -> list[str]:
    """The default names of all points in one folder: no two are the same, whatever case counts there."""
    names = [default_name(point, stem) for point, stem in zip(points, stems, strict=True)]
    met = Counter(map(_folded, names))
    return [
        default_name(point, stem, always=True) if met[_folded(name)] > 1 else name
        for name, point, stem in zip(names, points, stems, strict=True)
    ]


def filled_template(template: str, point: Point, *, stem: str) -> str:
    """`template` with ``{notebook}`` and ``{point}`` filled in, unless parameters are called so."""
    own = {"notebook": stem, "point": str(point.number)}
    try:
        parts = _parsed(template)
    except ValueError:
        return template  # whoever fills in the rest says what is wrong with it
    done = ""
    for text, name, spec, conversion in parts:
        done += _literal(text)
        if name in own and name not in point.values:
            done += _literal(own[name])
        elif name is not None:
            done += "{" + name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "") + "}"
    return done


def refuse_paths(template: str, point: Point) -> None:
    """Refuse a value that would lead out of the folder that a template of outputs names.

    Raises:
        UsageError: kind ``bad-output-name``.
    """
    try:
        used = {(name or "").partition(".")[0].partition("[")[0] for _, name, _, _ in _parsed(template)}
    except ValueError:
        return  # whoever fills it in says what is wrong with it
    for name in sorted(used & point.values.keys()):
        text = str(point.values[name])
        if os.path.basename(text) != text or text in ("", ".", "..") or set(text) & set("/\\\0"):  # noqa: PTH119 - a text, which is to be no path
            message = f"`{name}` is {text!r} in point {point.number}, which cannot be in a file's name"
            hint = "leave {" + name + "} out of -o, or leave -o out: the default names are made safe"
            raise UsageError(message, kind="bad-output-name", hint=hint)


def refuse_shared(points: Sequence[Point], outputs: Sequence[str]) -> None:
    """Refuse two points that would write the same output.

    Raises:
        UsageError: kind ``shared-output``.
    """
    seen: dict[str, Point] = {}
    for point, output in zip(points, outputs, strict=True):
        other = seen.setdefault(_folded(output), point)
        if other is not point:
            told = f"points {other.number} and {point.number} would both be saved as `{output}`"
            varied = sorted(name for name in {*other.values, *point.values})
            names = "".join(f".{{{name}}}" for name in varied) or "-{notebook}"
            hint = f"-o out{names}.ipynb, or -o FOLDER/"
            raise UsageError(told, kind="shared-output", hint=hint)


def digest_of(points: Iterable[Point], told: Mapping[str, Any]) -> str:
    """What the same command finds its grid by: the points, and what else `told` holds of it."""
    text = json.dumps([[_text_of(point) for point in points], dict(told)], sort_keys=True, default=str)
    return _digest(text)


def _refuse_twice(factors: Sequence[Factor]) -> None:
    given = Counter(name for factor in factors for name in {name for part in factor for name in part})
    twice = next((name for name, count in given.items() if count > 1), None)
    if twice is not None:
        message = f"`{twice}` is given its values twice"
        raise UsageError(message, kind="bad-grid", hint=f"--grid {twice}=V1,V2 once, or in one file")


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _parsed(template: str) -> Iterable[tuple[str, str | None, str | None, str | None]]:
    return list(string.Formatter().parse(template))


def _text_of(point: Point) -> str:
    """All of a point as text; values of another type are another point."""
    values = masked_parameters(json_parameters(point.values))
    return json.dumps([point.notebook, values], sort_keys=True)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else str(value) if value is None else _json(value)


def _json(value: Any) -> str:
    return str(value) if isinstance(value, bool | int | float) else json.dumps(value)


def _plain(text: str) -> str:
    """`text` as a part of a file's name."""
    if _PLAIN.match(text) and len(text) <= _LONGEST_VALUE:
        return text
    cut = _OTHER.sub("_", text)[:_LONGEST_VALUE].strip("_")
    return cut or "_"


def _folded(name: str) -> str:
    """`name` as a file system compares it that minds neither case nor how an accent is written."""
    return unicodedata.normalize("NFC", name).casefold()


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
