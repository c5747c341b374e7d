"""A named place to run: a launcher, an artifact store and a journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["LOCAL", "Stack"]


@dataclass(frozen=True, slots=True)
class Stack:
    """Where to run and where to record. Secrets are in it by reference only.

    Attributes:
        name: What it is called.
        launcher: How work is started; ``local`` is this machine.
        launcher_options: What that launcher is told, such as a partition; JSON values.
        store: URL of the artifact store; None for the folder in the home.
        journal: URL of the journal; None for the file in the home.
        journal_password: Reference to the password of the journal's user.
        signing_key: Reference to the secret with which the team signs what it records.
        options: Options of the artifact store, such as ``region``; a secret one is a reference.
        settings: Settings that hold on this stack unless something stronger says otherwise.
        source: The file that it is from.
    """

    name: str
    launcher: str = "local"
    launcher_options: Mapping[str, Any] = field(default_factory=dict)
    store: str | None = None
    journal: str | None = None
    journal_password: str | None = None
    signing_key: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    source: str = "built in"

    def to_json(self) -> dict[str, Any]:
        """Its fields, as `stack show --json` prints them."""
        return {
            "name": self.name,
            "launcher": self.launcher,
            "launcher_options": dict(self.launcher_options),
            "store": self.store,
            "journal": self.journal,
            "journal_password": self.journal_password,
            "signing_key": self.signing_key,
            "options": dict(self.options),
            "settings": dict(self.settings),
            "source": self.source,
        }


LOCAL = Stack("local")
"""Everything on this machine, in the home; needs no file."""
