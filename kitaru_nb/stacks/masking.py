"""Notebooks, parameters and logs of headless runs without the secrets in them."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Mapping
from typing import Any

from nbformat import NotebookNode, from_dict

from kitaru_nb.artifacts.vault import VAULT, Ref
from kitaru_nb.engine.secrecy import masked_output
from kitaru_nb.errors import UsageError

__all__ = ["filled_parameters", "mask_in_place", "masked_notebook", "masked_parameters", "quiet_logger"]

_LABEL = re.compile(r"secret:((?:env|param|name|shape):[\w$.-]+)")


def masked_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with labels in the place of secrets: what makes a run the same run, whatever its keys."""
    for name, value in parameters.items():
        if isinstance(value, str) and VAULT.is_secret(name, value):
            VAULT.give(name, value)
    masked: dict[str, Any] = VAULT.mask_json(dict(parameters))
    return masked


def filled_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they were given, with the secrets found here.

    Raises:
        UsageError: kind ``missing-secret``: one is not known here.
    """
    filled: dict[str, Any] = {name: _filled(value, name) for name, value in parameters.items()}
    return filled


def _filled(value: Any, name: str) -> Any:
    if isinstance(value, str):
        return _LABEL.sub(lambda match: _secret(match.group(1), name), value)
    if isinstance(value, Mapping):
        return {key: _filled(item, name) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(item, name) for item in value]
    return value


def _secret(label: str, parameter: str) -> str:
    found = VAULT.find(Ref(label))
    if found is None:
        kind, _, name = label.partition(":")
        variable = re.sub(r"\W", "_", name).upper() if kind != "shape" else ""
        raise UsageError(
            f"parameter `{parameter}` is a secret, which is not stored, and is not known here",
            kind="missing-secret",
            hint=f"export {variable}=..., or kitaru-nb run with -p {parameter} again"
            if variable
            else f"kitaru-nb run with -p {parameter} again",
        )
    return found


def masked_notebook(nb: NotebookNode) -> NotebookNode:
    """A notebook to be written: `nb` itself, or a copy where it holds secrets."""
    masked = [_masked_cell(cell) for cell in nb.cells]
    given = nb.metadata.get("papermill", {}).get("parameters") or {}
    parameters = masked_parameters(given)
    if parameters == given and all(new is old for new, old in zip(masked, nb.cells, strict=True)):
        return nb
    shown = copy.copy(nb)
    shown["cells"] = masked
    shown["metadata"] = copy.deepcopy(nb.metadata)
    if given:
        shown.metadata.papermill["parameters"] = from_dict(parameters)
    return shown


def mask_in_place(nb: NotebookNode) -> None:
    """Take the secrets out of a notebook that has been run."""
    masked = masked_notebook(nb)
    if masked is not nb:
        nb["cells"], nb["metadata"] = masked["cells"], masked["metadata"]


def _masked_cell(cell: NotebookNode) -> NotebookNode:
    source = VAULT.mask(VAULT.mask_source(cell.source))
    outputs = cell.get("outputs", [])
    shown = [masked_output(output) for output in outputs]
    if source == cell.source and shown == outputs:
        return cell
    masked = copy.copy(cell)
    masked["source"] = source
    if "outputs" in cell:
        masked["outputs"] = [from_dict(dict(output)) for output in shown]
    return masked


class _Mask(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        masked = VAULT.mask_shown(text)
        if masked != text:
            record.msg, record.args = masked, ()
        return True


_mask = _Mask()


def quiet_logger(logger: logging.Logger) -> None:
    """Have `logger` write no secrets from now on."""
    if _mask not in logger.filters:
        logger.addFilter(_mask)
