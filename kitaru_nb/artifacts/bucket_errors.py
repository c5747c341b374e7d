"""What an object store answered, told to a person: which bucket, why, and what to type.

obstore gives the services' answers as text only. What is looked for in it are protocol fields:
the error code of the S3, GCS or Azure answer, the HTTP status, the system's error number. None
of the text itself is passed on, since addresses in it can carry signatures.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from kitaru_nb.artifacts.bucket_options import family_of
from kitaru_nb.errors import StoreError

__all__ = [
    "EXISTS",
    "NO_BUCKET",
    "PAST_END",
    "REFUSED",
    "UNREACHABLE",
    "UNSUPPORTED",
    "answer_code",
    "bucket_error",
    "vanished",
]

REFUSED = frozenset({"store-credentials", "store-denied"})
"""Kinds of errors that other credentials may mend."""

EXISTS, PAST_END, UNREACHABLE = "object-exists", "past-end", "store-unreachable"
UNSUPPORTED = "store-unsupported"
"""Kinds of errors that a bucket itself knows what to do about."""

NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound", "NoSuchContainer", "AccountNotFound"})
"""Codes that say the bucket itself is missing."""


class _Told(NamedTuple):
    kind: str
    why: str
    hint: str


_CREDENTIALS = {
    "s3": "export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… (or the options of the stack), then again",
    "gs": "gcloud auth application-default login, or export GOOGLE_APPLICATION_CREDENTIALS=key.json "
    "(or the option service_account of the stack), then again",
    "az": "export AZURE_STORAGE_ACCOUNT_NAME=… AZURE_STORAGE_ACCOUNT_KEY=… (or the options of the stack), "
    "then again",
}
_BY_SERVICE = "the one of `_CREDENTIALS`"
_NO_SUCH = _Told("no-such-bucket", "there is no such bucket", "make the bucket, or correct the store's URL")
_REFUSED = _Told("store-credentials", "the credentials are not accepted", _BY_SERVICE)
_EXPIRED = _Told("store-credentials", "the credentials have expired", "renew them, then run the cell again")
_NONE = _Told("store-credentials", "no credentials were found", _BY_SERVICE)
_DENIED = _Told(
    "store-denied",
    "these credentials may not do that",
    "allow them to get, put, delete and list objects below the store's prefix",
)
_NOT_FROM_HERE = _Told(
    "store-denied",
    "the account refuses this key or this network",
    "check the key and the account's network rules (firewall), then run the cell again",
)
_SKEWED = _Told(
    "clock-skew",
    "this machine's clock is too far off for the signature",
    "set the clock (timedatectl set-ntp true), then run the cell again",
)
_REGION = _Told(
    "store-region", "the bucket is in another region", "set the option region (or AWS_REGION) to the bucket's"
)
_FULL = _Told("disk-full", "there is no room left", "free some space there, then run the cell again")
_BUSY = _Told(UNREACHABLE, "it is overloaded or down", "wait a little, then run the cell again")
_GARBLED = _Told(
    UNREACHABLE,
    "what arrived there is not what was sent",
    "look at the network in between, then run the cell again",
)
_FROZEN = _Told("store-read-only", "it only takes reads", "open a store that takes writes")

_ARCHIVED = _Told(
    "store-archived",
    "the object was moved to an archive, which a lifecycle rule of the bucket does",
    "restore it there (aws s3api restore-object), and exempt the store's prefix from that rule",
)

_EXISTS = _Told(EXISTS, "another object has that name already", "run the cell again")
_PAST_END = _Told(PAST_END, "the object ends before that", "run the cell again with --fresh")
_UNSUPPORTED = _Told(UNSUPPORTED, "it cannot do that", "use a service with the S3, GCS or Azure interface")

_CODES = {
    "PreconditionFailed": _EXISTS,
    "InvalidRange": _PAST_END,
    "AuthorizationFailure": _NOT_FROM_HERE,
    "NotImplemented": _UNSUPPORTED,
    **dict.fromkeys("InvalidObjectState BlobArchived BlobBeingRehydrated".split(), _ARCHIVED),
    **dict.fromkeys(NO_BUCKET, _NO_SUCH),
    **dict.fromkeys(
        "InvalidAccessKeyId SignatureDoesNotMatch AuthenticationFailed InvalidToken InvalidSecurity "
        "NoAuthenticationInformation InvalidAuthenticationInfo UnrecognizedClientException".split(),
        _REFUSED,
    ),
    **dict.fromkeys(
        "ExpiredToken ExpiredTokenException TokenRefreshRequired RequestExpired".split(), _EXPIRED
    ),
    **dict.fromkeys(
        "AccessDenied AllAccessDisabled AuthorizationPermissionMismatch "
        "InsufficientAccountPermissions AccountProblem BlobImmutableDueToPolicy".split(),
        _DENIED,
    ),
    **dict.fromkeys("RequestTimeTooSkewed RequestInTheFuture".split(), _SKEWED),
    **dict.fromkeys(
        "PermanentRedirect TemporaryRedirect AuthorizationHeaderMalformed "
        "IllegalLocationConstraintException".split(),
        _REGION,
    ),
    **dict.fromkeys("QuotaExceeded XMinioStorageFull InsufficientStorage".split(), _FULL),
    # Another put of that very name is under way, such as an earlier try of ours that nobody answered.
    **dict.fromkeys("ConditionalRequestConflict OperationAborted".split(), _BUSY),
    **dict.fromkeys(
        "BadDigest InvalidDigest XAmzContentSHA256Mismatch XAmzContentChecksumMismatch Md5Mismatch".split(),
        _GARBLED,
    ),
    **dict.fromkeys("SlowDown ServiceUnavailable InternalError ServerBusy OperationTimedOut".split(), _BUSY),
    **dict.fromkeys("ContainerBeingDeleted AccountIsDisabled MethodNotAllowed".split(), _FROZEN),
}
_STATUSES = {
    301: _REGION,
    307: _REGION,
    401: _REFUSED,
    403: _DENIED,
    405: _FROZEN,
    409: _EXISTS,
    412: _EXISTS,
    416: _PAST_END,
    429: _BUSY,
    501: _UNSUPPORTED,
    507: _FULL,
}
_TYPES = {
    "AlreadyExistsError": _EXISTS,
    "PermissionDeniedError": _DENIED,
    "UnauthenticatedError": _REFUSED,
    "NotSupportedError": _UNSUPPORTED,
    "NotImplementedError": _UNSUPPORTED,
}
# Where clouds hand credentials to their own machines: asked when none were given, and silent elsewhere.
_METADATA = re.compile(
    r"https?://(169\.254\.169\.254|169\.254\.170\.2|metadata\b|metadata\.google\.internal)"
)
# obstore's own finding, where a service answers a range past the end as if all were well.
_TOO_FAR = re.compile(r"\bStartTooLarge \{")
_SYSTEM = re.compile(r'Os \{\s*code: (\d+),\s*kind: \w+,\s*message: "([^"]*)"')
# What the places that give out tokens say: Google's for a key file, Microsoft's for a client secret.
_NO_TOKEN = re.compile(
    r'"error"\s*:\s*"(invalid_grant|invalid_client|invalid_request|invalid_scope|unauthorized_client)"'
)
_DNS = re.compile(r"dns error|failed to lookup address", re.IGNORECASE)


def answer_code(error: BaseException) -> str | None:
    """The error code in the service's answer, such as ``NoSuchBucket``."""
    found = re.search(r"<Code>([\w.]+)</Code>", str(error))
    return found[1] if found else None


def bucket_error(error: BaseException, what: str, *, where: str) -> StoreError:
    """What to tell the user when an object store's answer to `what` was `error`.

    Args:
        error: What obstore raised.
        what: What was tried, such as ``"the values could not be written"``.
        where: The store's URL.
    """
    told = _understood(error)
    hint = _CREDENTIALS[family_of(where)] if told.hint is _BY_SERVICE else told.hint
    return StoreError(f"{what} in `{where}`: {told.why}", kind=told.kind, hint=hint)


def vanished(what: str, *, where: str) -> StoreError:
    """What to tell the user when an object was in the way, and then was not there; worth another try."""
    return StoreError(f"{what} in `{where}`: {_BUSY.why}", kind=_BUSY.kind, hint=_BUSY.hint)


def _understood(error: BaseException) -> _Told:
    text, code, status = str(error), answer_code(error), _status(error)
    if code in _CODES:
        return _CODES[code]
    if _TOO_FAR.search(text):
        return _PAST_END
    if _METADATA.search(text) or "CredentialsError" in text:
        return _NONE
    if _NO_TOKEN.search(text):
        return _REFUSED
    if status in _STATUSES:
        return _STATUSES[status]
    if status is not None and status >= 500:
        return _BUSY
    if type(error).__name__ in _TYPES:
        return _TYPES[type(error).__name__]
    if status is not None:
        why = f"it answered {status}{f' {code}' if code else ''}"
        return _Told("store-refused", why, "check the store's URL and options")
    return _Told(UNREACHABLE, _network(error), "check the network and the endpoint, then again")


def _status(error: BaseException) -> int | None:
    found = re.search(r"status code: (\d{3})\b", str(error))
    return int(found[1]) if found else None


def _network(error: BaseException) -> str:
    text = str(error)
    if system := _SYSTEM.search(text):
        return system[2]
    if _DNS.search(text):
        return "its address is not known to the network (DNS)"
    if re.search(r"\btim(ed|e) ?out\b|TimedOut", text):
        return "it did not answer in time"
    if re.search(r"certificate|TLS|InvalidCertificate", text):
        return "its TLS certificate is not trusted"
    return "it could not be reached"
