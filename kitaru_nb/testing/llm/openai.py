"""What OpenAI's endpoints share: errors."""

from __future__ import annotations

from kitaru_nb.testing.llm.answers import Failure
from kitaru_nb.testing.llm.dialect import Document

__all__ = ["error"]

_TYPES = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    403: "invalid_request_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
}


def error(failure: Failure) -> Document:
    """The body of an error."""
    kind = failure.type or _TYPES.get(failure.status, "server_error")
    return {"error": {"message": failure.message, "type": kind, "param": None, "code": None}}
