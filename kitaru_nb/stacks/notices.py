"""Telling people how an attempt ended: one notice for each thing that happened and each target.

It is told by the process that ran the notebook, so that no browser and no server has to be there,
and only when the journal says that the attempt has ended. A notice is claimed on record before it
is sent. So it is sent at most once, whoever else comes to the same end; one that a crash cut short
stays untold. Nothing that goes wrong here harms or delays the run: it is logged, and on record.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.describe import execution_json
from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import KitaruError, StoreError, UsageError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.execution import Execution, ExecutionStatus
from kitaru_nb.model.notice import NoticeKind, Target
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.config import referred, reveal, user_file
from kitaru_nb.stacks.notify import OWN_SECRETS, SECRET, SERVER
from kitaru_nb.stacks.outcome import Exit, Outcome
from kitaru_nb.stacks.public_hosts import allowed_hosts

__all__ = ["FAILED", "SENDING", "SENT", "Notice", "kind_of", "notice_of", "tell", "undeliverable"]

SENDING = "notice.sending"
"""The kind of event that claims a notice for one target."""

SENT = "notice.sent"
"""The kind of event that says: it was taken."""

FAILED = "notice.failed"
"""The kind of event that says: it was not, or not in time, and why."""

logger = logging.getLogger(
    "papermill"
)  # where all that is said about a run goes; loading it costs too much here

_PATIENCE = 10.0  # seconds for all targets together
_TIMEOUT = 5.0  # seconds for one answer
_LONG = 500  # characters of a reason
_RETRIED = (Exit.FAILED, Exit.TIMED_OUT, Exit.KERNEL_DIED)


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told.

    Attributes:
        key: What it is known by: the execution, what happened, and where.
        kind: What happened.
        title: It in one line.
        text: It for a person.
        document: It for a program. Neither has outputs of cells or values of parameters in it.
    """

    key: str
    kind: NoticeKind
    title: str
    text: str
    document: Mapping[str, Any]


def tell(
    engine: Engine, outcome: Outcome, *, retried: bool = False, settings: Settings | None = None
) -> None:
    """Tell whom the settings name how an attempt ended; takes at most `_PATIENCE` seconds.

    Args:
        engine: Where it is on record.
        outcome: How it ended.
        retried: Another attempt follows by itself where this one failed: then that is no news yet.
        settings: Who is told; those of the engine without it.
    """
    chosen = settings or engine.settings
    targets = chosen.notify.targets
    if not targets or outcome.exit is Exit.SUPERSEDED:
        return
    try:
        kind = kind_of(outcome)
        wanted = [each for each in targets if kind in each.on]
        if not wanted or (retried and outcome.exit in _RETRIED):
            return
        notice = notice_of(engine.journal.execution(outcome.execution), outcome, kind)
        _tell_all(engine.journal, notice, wanted, own=_is_own(chosen))
    except Exception as error:  # noqa: BLE001 - the run is over and on record; nothing here may change that
        logger.warning("nobody was told: %s", VAULT.mask(f"{type(error).__name__}: {error}"))


def undeliverable(settings: Settings) -> list[str]:
    """A line for each target that could not be told as things are, for want of a secret or a package.

    Nothing is looked up and nothing is sent. Said before a run, since at its end nobody is there.
    """
    said = []
    for target in settings.notify.targets:
        try:
            _ready(target, own=_is_own(settings))
        except UsageError as error:
            said.append(VAULT.mask(f"{target.label} will not be told: {error.message} ({error.hint})"))
    return said


def kind_of(outcome: Outcome) -> NoticeKind:
    """What has happened."""
    match outcome.status:
        case ExecutionStatus.COMPLETED:
            return NoticeKind.COMPLETED
        case ExecutionStatus.CANCELLED:
            return NoticeKind.CANCELLED
        case ExecutionStatus.WAITING:
            return NoticeKind.WAITING if outcome.wait else NoticeKind.BUDGET
        case ExecutionStatus.FAILED:
            return NoticeKind.FAILED
    return NoticeKind.DIED if outcome.exit is Exit.KERNEL_DIED else NoticeKind.INTERRUPTED


def notice_of(execution: Execution, outcome: Outcome, kind: NoticeKind) -> Notice:
    """What is told of an attempt that ended so."""
    identity = execution.identity
    name = Path(identity.notebook).name if identity.notebook else identity.flow or execution.id
    reason = VAULT.mask_shown(outcome.reason)[:_LONG]
    where = outcome.wait or outcome.checkpoint or ""
    if kind in (NoticeKind.WAITING, NoticeKind.BUDGET):  # another question, or another limit, is news
        where += "/" + hashlib.sha256(outcome.reason.encode()).hexdigest()[:8]
    told = "is over its budget" if kind is NoticeKind.BUDGET else _SAID[kind]
    title = f"{name} {told}" + (f" at {outcome.checkpoint}" if outcome.checkpoint else "")
    hint = outcome.hint or ("" if kind in _OVER else f"kitaru-nb resume {execution.id}")
    lines = [f"{title}.", *([reason] if reason else []), *([f"Try: {hint}"] if hint else [])]
    lines += ["", f"execution {execution.id}, attempt {execution.epoch}"]
    known = execution_json(execution)
    document = {
        "id": f"{execution.id}/{kind}" + (f"/{where.strip('/')}" if where else ""),
        "event": str(kind),
        "execution": execution.id,
        "status": known["status"],
        "notebook": name if identity.notebook else None,
        "flow": identity.flow,
        "stack": identity.stack,
        "checkpoint": outcome.checkpoint,
        "wait": outcome.wait,
        "reason": reason or None,
        "hint": hint or None,
        **{key: known[key] for key in ("started_at", "ended_at", "duration", "cost", "tags", "attempts")},
    }
    masked: dict[str, Any] = VAULT.mask_json(document)
    return Notice(str(masked["id"]), kind, VAULT.mask(title), VAULT.mask("\n".join(lines)), masked)


_SAID = {
    NoticeKind.COMPLETED: "is done",
    NoticeKind.FAILED: "failed",
    NoticeKind.DIED: "lost its kernel",
    NoticeKind.INTERRUPTED: "was interrupted",
    NoticeKind.CANCELLED: "was cancelled",
    NoticeKind.WAITING: "waits for an answer",
}
_OVER = (NoticeKind.COMPLETED, NoticeKind.CANCELLED)


@dataclass(slots=True)
class _Sending:
    """One notice on its way to one target."""

    target: Target
    told: Mapping[str, Any]
    thread: threading.Thread | None = None
    problem: str | None = None
    done: bool = False


def _tell_all(journal: Journal, notice: Notice, targets: Sequence[Target], *, own: bool) -> None:
    """Claim, send to all at the same time, and say how it went."""
    sending = [
        _Sending(target, told)
        for target in targets
        if (told := _claimed(journal, notice, target)) is not None
    ]
    until = time.monotonic() + _PATIENCE
    for each in sending:
        # a name that is not looked up in time cannot be given up; a thread that nobody waits for can
        each.thread = threading.Thread(target=_send, args=(each, notice, own), daemon=True)
        each.thread.start()
    for each in sending:
        assert each.thread is not None
        each.thread.join(max(0.0, until - time.monotonic()))
        problem = each.problem if each.done else f"no answer within {_PATIENCE:g} s"
        if problem is not None:
            logger.warning("%s was not told: %s", each.told["to"], problem)
        data = dict(each.told) if problem is None else {**each.told, "problem": problem}
        journal.record_event(_execution_of(notice), SENT if problem is None else FAILED, data)


def _execution_of(notice: Notice) -> Any:
    return notice.document["execution"]


def _claimed(journal: Journal, notice: Notice, target: Target) -> Mapping[str, Any] | None:
    """What is on record of a notice that is this process's to send; None where it is another's."""
    digest = hashlib.sha256(target.to.encode()).hexdigest()[:12]
    told = {"notice": notice.key, "to": target.label, "target": digest}
    with journal.holding():
        for event in journal.events(_execution_of(notice)):
            if event.kind == SENDING and dict(event.data) == told:
                return None
        journal.record_event(_execution_of(notice), SENDING, told)
    return told


def _send(each: _Sending, notice: Notice, own: bool) -> None:  # noqa: FBT001 - as a thread hands it on
    try:
        _deliver(each.target, notice, own=own)
    except KitaruError as error:
        each.problem = VAULT.mask(f"{error.message}" + (f" ({error.hint})" if error.hint else ""))
    except Exception as error:  # noqa: BLE001 - of three libraries and the network
        each.problem = VAULT.mask(f"{type(error).__name__}: {error}")
    each.done = True


@dataclass(frozen=True, slots=True)
class _Way:
    """How a target is told, with the secrets that it takes.

    Attributes:
        to: The whole URL.
        scheme: What it begins with.
        secret: What a webhook is signed with, or the server of a mail.
    """

    to: str
    scheme: str
    secret: str = ""


def _ready(target: Target, *, own: bool) -> _Way:
    """How a target is told.

    Raises:
        UsageError: something that this takes is not there.
    """
    to = _revealed(target.to, "who is told", own=own)
    scheme = to.partition(":")[0].lower()
    if scheme in ("http", "https"):
        secret = _revealed(target.secret or SECRET, "what a webhook is signed with", own=own)
        return _Way(to, scheme, secret)
    if scheme == "mailto":
        return _Way(to, scheme, _revealed(target.server or SERVER, "the mail server", own=own))
    if not own and to == target.to:  # apprise makes its own connections, also to private addresses, and
        raise UsageError(  # runs programs for some schemes
            f"a project's file may write out webhooks and mail addresses only, and this is `{scheme}:`",
            kind="bad-notify",
            hint="secret:env:KITARU_NB_NOTIFY_CHAT, and export that",
        )
    if importlib.util.find_spec("apprise") is None:
        raise UsageError(
            "telling by anything but webhook and mail needs apprise",
            kind="no-apprise",
            hint="pip install 'kitaru-nb[notify]'",
        )
    return _Way(to, scheme)


def _deliver(target: Target, notice: Notice, *, own: bool) -> None:
    way = _ready(target, own=own)
    to, scheme, secret = way.to, way.scheme, way.secret
    allowed = allowed_hosts()
    if scheme in ("http", "https"):
        from kitaru_nb.stacks.webhook import post  # noqa: PLC0415 - only where there is such a target

        body = json.dumps(notice.document, allow_nan=False).encode()
        at = int(time.time())
        post(to, body, secret=secret, notice=notice.key, timestamp=at, timeout=_TIMEOUT, allowed=allowed)
    elif scheme == "mailto":
        from kitaru_nb.stacks.mail import send_mail  # noqa: PLC0415 - as above

        send_mail(
            to.partition(":")[2],
            server=secret,
            sender=target.sender,
            subject=notice.title,
            text=notice.text,
            notice=hashlib.sha256(notice.key.encode()).hexdigest()[:32],
            timeout=_TIMEOUT,
            allowed=allowed,
        )
    else:  # the user's own, or the value of a variable that is for this
        _by_apprise(to, notice)


def _by_apprise(url: str, notice: Notice) -> None:
    import apprise  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415 - an extra, which is there

    teller = apprise.Apprise()
    if not teller.add(url):
        raise UsageError("apprise does not know that URL", kind="bad-notify", hint="apprise --details")
    if not teller.notify(title=notice.title, body=notice.text):
        raise StoreError(f"`{url.partition(':')[0]}` did not take it", kind="not-taken")


def _revealed(value: str, what: str, *, own: bool) -> str:
    """The value of a reference. What a project's file may refer to is made for this."""
    for name in [] if own else referred(value):
        if not name.startswith(OWN_SECRETS):
            raise UsageError(
                f"{what} is the environment variable {name}, and a project's file may name no such one",
                kind="bad-notify",
                hint=f"secret:env:{OWN_SECRETS}…, or name it in your own configuration",
            )
    return reveal(value, what=what)


def _is_own(settings: Settings) -> bool:
    """Whether the user said whom to tell, and not a file that may have come with somebody's folder."""
    source, place = settings.sources.get("notify", "argument"), settings.place
    if source in ("argument", "KITARU_NB_NOTIFY"):
        return True
    of_stack = place is not None and source == f"stack {place.name} in {place.source}"
    return of_stack and place is not None and Path(place.source) == user_file()
