"""What a commit says in words, without the secrets in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from kitaru_nb.artifacts.hidden import notice_function
from kitaru_nb.artifacts.secret_rules import LEAST, is_secret_name
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.model.checkpoint import Draft

__all__ = ["is_same_but_secrets", "learn_from", "masked_draft", "masked_output", "notice_names"]

_BINARY = ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf")


def masked_draft(draft: Draft) -> Draft:
    """`draft` with labels in the place of secrets, in all that it says in words."""
    changes: dict[str, Any] = {}
    source = VAULT.mask(VAULT.mask_source(draft.source))
    if source != draft.source:
        changes["source"] = source
    name = VAULT.mask(draft.name)
    if name != draft.name:
        changes["name"] = name
    if draft.outputs:
        changes["outputs"] = tuple(masked_output(output) for output in draft.outputs)
    if draft.error is not None:
        changes["error"] = {key: VAULT.mask_shown(text) for key, text in draft.error.items()}
    told = "\n".join([*draft.conditions, *(str(file["path"]) for file in draft.files)])
    if VAULT.mask(told) != told:
        # A file with a secret in its name is not found again: the step runs again. What was written is
        # put back by its path.
        changes["conditions"] = {VAULT.mask(name): state for name, state in draft.conditions.items()}
        changes["files"] = tuple(
            {**file, "path": VAULT.mask(file["path"])} if file["mode"] in ("read", "absent") else file
            for file in draft.files
        )
    return draft.having(**changes) if changes else draft


def notice_names(live: Mapping[str, object]) -> None:
    """Take note of the secrets that names of the notebook hold."""
    for name, value in list(live.items()):
        if type(value) is FunctionType:
            notice_function(value)
        elif type(name) is str and is_secret_name(name):
            VAULT.notice(name, value)


def is_same_but_secrets(recorded: str, source: str) -> bool:
    """Whether a source on record is `source`, where that spells out what is a label in the record.

    Of a literal it may only show when the cell has run that it is a secret.
    """
    return _aligned(recorded, source) is not None


def learn_from(recorded: str, source: str) -> None:
    """Take note of the secrets that are labels in a source on record, and spelled out in `source`."""
    match = _aligned(recorded, source)
    if match is not None:
        for label, value in zip(_LABEL.findall(recorded), match.groups(), strict=True):
            VAULT.meet_as(label.removeprefix("secret:"), value)


def _aligned(recorded: str, source: str) -> re.Match[str] | None:
    pieces = _LABEL.split(recorded)
    if len(pieces) == 1:
        return None
    pattern = rf"""([^\s"']{{{LEAST},}}?)""".join(map(re.escape, pieces))
    return re.fullmatch(pattern, source)


_LABEL = re.compile(r"secret:(?:env|param|name|shape):[\w.$-]+")


def masked_output(output: Mapping[str, Any]) -> Mapping[str, Any]:
    """A Jupyter output with labels in the place of secrets; pictures are left alone."""
    return {
        key: {kind: _masked_data(kind, value) for kind, value in content.items()}
        if key == "data" and isinstance(content, Mapping)
        else _masked_words(content)
        if key in _WORDS
        else VAULT.mask_json(content)
        for key, content in output.items()
    }


_WORDS = ("text", "evalue", "traceback")


def _masked_data(kind: str, value: Any) -> Any:
    if kind in _BINARY:
        return value
    return _masked_words(value) if kind == "text/plain" else VAULT.mask_json(value)


def _masked_words(content: Any) -> Any:
    """What Python has shown: text, or a list of its lines."""
    if isinstance(content, str):
        return VAULT.mask_shown(content)
    return (
        [_masked_words(each) for each in content] if isinstance(content, list) else VAULT.mask_json(content)
    )
