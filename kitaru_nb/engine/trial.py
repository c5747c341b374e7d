"""A trial of what is stored: objects of foreign classes are loaded once in a child process.

The child does nothing but unpickle and look at what came of it. It is started when the first
such object is met, kept for the life of the kernel, and asked once for each class and version
of its code. Good verdicts are kept in the home, so that the next kernel asks for nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

from kitaru_nb.analysis.code_names import function_names
from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.artifacts.foreign import judging, left_out, portrait
from kitaru_nb.artifacts.hidden import revealing
from kitaru_nb.artifacts.kinds import home_of, is_immutable_atom, is_users, kind_name
from kitaru_nb.artifacts.pickle_codec import PickleCodec, referring
from kitaru_nb.errors import UnstorableError

__all__ = ["Trial", "serve"]

FILE = "trials.json"
_SECONDS = 30.0
_LARGEST = 64 << 20  # bytes of one object; more is taken at its word, and that is said
_FORMAT = "1"
_PROGRAM = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from kitaru_nb.engine.trial import serve; serve()"
)
_codec = PickleCodec()


class Trial:
    """Judges foreign classes for one kernel.

    Args:
        home: Where verdicts are kept between kernels; nothing is kept when it cannot be written.

    Attributes:
        said: Sentences about what was found since `hear` was called last.
    """

    def __init__(self, home: Path) -> None:
        self._file = home / FILE
        self._verdicts: dict[str, str] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._pid = os.getpid()
        self._unusable = False
        self._reasons: dict[type, str] = {}
        self.said: list[str] = []

    def hear(self) -> list[str]:
        """What is to be said about the last commit; each sentence is given once."""
        said, self.said = list(dict.fromkeys(self.said)), []
        return said

    def __call__(self, foreign: Mapping[type, object], namespace: dict[str, Any]) -> Mapping[type, str]:
        """Why instances of some of these classes must not be stored. Inner objects come first."""
        bad: dict[type, str] = {}
        for cls, obj in reversed(list(foreign.items())):
            reason = self._verdict(cls, obj, namespace)
            if reason:
                bad[cls] = reason
                name = obj.__qualname__ if isinstance(obj, type) else kind_name(obj)
                self.said.append(f"`{name}` is not stored: {reason}")
        return bad

    def close(self) -> None:
        """Let the child go."""
        child, self._child = self._child, None
        if child is not None and os.getpid() == self._pid:
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            child.kill()
            child.wait()

    def _verdict(self, cls: type, obj: object, namespace: dict[str, Any]) -> str:
        known = self._known()
        version = _version(cls, namespace) + _left_out(obj)
        if version in known:
            return known[version]
        try:
            reason = self._try(cls, obj, namespace)
        except (OSError, EOFError, ValueError, pickle.PickleError, UnstorableError, RecursionError) as error:
            self._unusable = self._unusable or isinstance(error, OSError)
            self.said.append(
                f"`{kind_name(obj)}` is stored and was not verified: {str(error) or type(error).__name__}"
            )
            return ""
        known[version] = reason
        if not reason:  # what failed may have failed for a moment: the next kernel tries again
            self._keep({version: "" for version, found in known.items() if not found})
        return reason

    def _try(self, cls: type, obj: object, namespace: dict[str, Any]) -> str:
        with judging(None), revealing(), referring(()):  # whole: the child has nothing that is there
            value = _codec.encode({"": obj}, namespace=namespace)
            support = _codec.encode(_support(cls, namespace), namespace=namespace)
        if sum(buffer.nbytes for buffer in value.buffers) > _LARGEST:
            raise UnstorableError("it is too large for a trial")
        kinds = _unstorable_aspects(obj, namespace) if value.unstorable else {}
        before = portrait(obj, namespace, kinds_only=kinds)
        packed = [(one.meta, [bytes(buffer) for buffer in one.buffers]) for one in (support, value)]
        answer = self._ask({"path": sys.path, "cwd": _cwd(), "streams": packed, "kinds": kinds})
        if answer["missing"] in namespace:
            raise UnstorableError(f"the trial had no `{answer['missing']}`")
        if answer["error"]:
            return f"a trial load failed: {answer['error']}"
        return _difference(before, answer["portrait"], strict=is_users(cls))

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._unusable or os.getpid() != self._pid:
            raise OSError("there is no process to try it in")
        child = self._child
        if child is None or child.poll() is not None:
            self.close()
            child = self._child = _start()
        timer = threading.Timer(_SECONDS, child.kill)
        timer.daemon = True
        timer.start()
        try:
            _send(child.stdin, pickle.dumps(request))
            answer: dict[str, Any] = json.loads(_receive(child.stdout))
        except (EOFError, BrokenPipeError) as error:
            self.close()
            raise EOFError("the process that tried it ended") from error
        finally:
            timer.cancel()
        return answer

    def _known(self) -> dict[str, str]:
        if self._verdicts is None:
            self._verdicts = {}
            with contextlib.suppress(OSError, ValueError):
                found = json.loads(self._file.read_text(encoding="utf-8"))
                self._verdicts = {str(key): str(reason) for key, reason in found.items()}
        return self._verdicts

    def _keep(self, verdicts: Mapping[str, str]) -> None:
        new = self._file.with_name(f"{FILE}.{os.getpid()}")
        with contextlib.suppress(OSError):
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(dict(verdicts), file)
            new.replace(self._file)


def _version(cls: type, namespace: dict[str, Any]) -> str:
    """The class and what its code is, so that a verdict holds until that changes."""
    module = sys.modules.get(cls.__module__)
    path = getattr(module, "__file__", None)
    if home_of(cls) == "__main__" or path is None:
        code: object = digest_values({"": cls}, namespace=namespace)
    else:
        try:
            code = (Path(path).stat().st_size, Path(path).stat().st_mtime_ns)
        except OSError:
            code = ""
    return f"{_FORMAT} {sys.version_info[:2]} {cls.__module__}.{cls.__qualname__} {code}"


def _left_out(obj: object) -> str:
    """The attributes that this very object leaves out, as others of its class may not."""
    with contextlib.suppress(Exception):  # how it is reduced is its own affair, and is tried in a moment
        return " ".join(("", *left_out(obj, obj.__reduce_ex__(5))))
    return ""


def _support(cls: type, namespace: dict[str, Any]) -> dict[str, Any]:
    """The functions, classes, modules and constants of the notebook that the class's code reads."""
    found: dict[str, Any] = {}
    waiting: list[Any] = [cls]
    while waiting:
        obj = waiting.pop()
        held = (
            [part for base in obj.__mro__ for part in vars(base).values()] if isinstance(obj, type) else [obj]
        )
        for function in (getattr(part, "__func__", part) for part in held):
            if not isinstance(function, FunctionType) or function.__globals__ is not namespace:
                continue
            for name in function_names(function.__code__).names - found.keys():
                value = namespace.get(name)
                if isinstance(value, FunctionType | type):
                    found[name] = value
                    waiting.append(value)
                elif value is not None and is_immutable_atom(value):
                    found[name] = value
    return found


def _unstorable_aspects(obj: object, namespace: dict[str, Any]) -> dict[str, str]:
    return {
        aspect: kind_name(value)
        for aspect, value in (
            (f".{name}", value) for name, value in (getattr(obj, "__dict__", None) or {}).items()
        )
        if _codec.encode({"": value}, namespace=namespace).unstorable
    }


_PASSING = "._is_copy"
"""Of a frame of pandas 2: of which one it is a part, to warn who writes to it; no pickle holds it."""


def _difference(before: Mapping[str, str], after: Mapping[str, str], *, strict: bool) -> str:
    """Why what came back is not what was stored; nothing when it is.

    The private attributes of an installed class are its own affair: caches and the like.
    """
    if before["type"] != after["type"]:
        return f"it comes back as a {after['type']}"
    for aspect, value in before.items():
        if (not strict and aspect.startswith("._")) or aspect == _PASSING:
            continue
        if aspect not in after:
            return f"it comes back without `{aspect}`"
        if after[aspect] not in (value, "any") and value != "any":
            return f"{aspect if aspect.startswith('its') else f'`{aspect}`'} comes back as something else"
    return ""


# --- the pipe and the child ---------------------------------------------------------------------


def _cwd() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:
        return None


def _start() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _PROGRAM, json.dumps(list(map(str, sys.path)))]
    return subprocess.Popen(  # noqa: S603 - our own interpreter and our own program
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _send(pipe: Any, data: bytes) -> None:
    pipe.write(len(data).to_bytes(8, "big"))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: Any) -> bytes:
    head = pipe.read(8)
    if len(head) < 8:
        raise EOFError
    size = int.from_bytes(head, "big")
    data: bytes = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def serve() -> None:
    """The child's whole life: load what comes in, say what it looks like."""
    incoming, outgoing = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open(
        "r+b"
    ) as nothing:  # what a class prints while it is loaded is not for the pipe
        os.dup2(nothing.fileno(), 1)
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - for the life of the process
        while True:
            try:
                request = pickle.loads(_receive(incoming))
            except EOFError:
                return
            _send(outgoing, json.dumps(_answer(request)).encode())


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    sys.path[:] = request["path"]
    namespace: dict[str, Any] = {"__name__": "__main__"}
    try:
        if request["cwd"] is not None:
            os.chdir(request["cwd"])
        for meta, buffers in request["streams"]:
            views = [memoryview(bytearray(buffer)) for buffer in buffers]
            found = _codec.decode(meta, views.__getitem__, namespace=namespace)
            namespace.update({name: value for name, value in found.items() if name})
        seen = portrait(found[""], namespace, kinds_only=request["kinds"])
    except BaseException as error:  # noqa: BLE001 - whatever the class raises is the finding
        missing = error.name if isinstance(error, NameError) else None
        return {"error": f"{type(error).__name__}: {error}", "missing": missing, "portrait": {}}
    return {"error": "", "missing": None, "portrait": seen}
