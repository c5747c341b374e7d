"""The options of an object store: whose they are, what fsspec calls them, and what the environment adds."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from kitaru_nb.errors import UsageError

__all__ = ["EXTRAS", "family_of", "sorted_options", "tries_and_patience"]

_CLIENT = frozenset(
    "allow_http allow_invalid_certificates connect_timeout http1_only http2_only pool_idle_timeout "
    "pool_max_idle_per_host proxy_url proxy_ca_certificate proxy_excludes randomize_addresses "
    "read_timeout root_certificate timeout user_agent".split()
)
_FLAGS = frozenset("allow_http allow_invalid_certificates http1_only http2_only randomize_addresses".split())
_RETRY = {"max_retries": "40", "retry_timeout": "60"}
_AT_ONCE = 2  # what obstore tries again by itself, within a second; the rest is `Bucket`'s doing

# What s3fs, gcsfs and adlfs call the same thing.
_SPELLINGS = {
    "s3": {
        "key": "access_key_id",
        "secret": "secret_access_key",
        "token": "session_token",
        "endpoint_url": "endpoint",
        "region_name": "region",
        "anon": "skip_signature",
    },
    "gs": {
        "token": "service_account",
        "endpoint_url": "base_url",
        "endpoint": "base_url",
        "anon": "skip_signature",
    },
    "az": {"endpoint_url": "endpoint", "anon": "skip_signature"},
}
EXTRAS = {"s3": "s3", "gs": "gcs", "az": "azure"}
"""Which extra of the package brings what a service needs, by `family_of` it."""

_FAMILIES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "file": "s3", "memory": "s3"}
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_CHECKSUM = "checksum_algorithm"
_CONNECTION = "connection_string"
_CONNECTION_PARTS = {
    "accountname": "account_name",
    "accountkey": "account_key",
    "sharedaccesssignature": "sas_key",
    "blobendpoint": "endpoint",
}
# Any of these says where credentials come from, so the file in the home folder is not asked.
_GIVEN = ("access_key_id", "aws_access_key_id", "skip_signature", "aws_skip_signature")
_GIVEN_ENV = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


def sorted_options(
    scheme: str, options: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """`options` as obstore takes them: of the service, of the HTTP client, of its retries.

    What obstore tries again by itself is for hiccups only: its pauses are random ones that need not
    grow, so that no number of them lasts for a given time. See `tries_and_patience` for the others.

    Raises:
        UsageError: kind ``bad-store-options``: a number is none.
    """
    family = family_of(scheme)
    service: dict[str, Any] = {}
    client: dict[str, Any] = {"timeout": "300s", "connect_timeout": "5s"}
    for given, value in options.items():
        name = _SPELLINGS[family].get(given, given)
        if name in _RETRY:
            continue
        if name in _CLIENT:
            client[name] = _flag(value) if name in _FLAGS else value
        else:
            service[name] = value
    if family == "s3":
        service = {**_profile(service), **service}
    elif family == "gs":
        service = {**_emulator(), **service}
    else:
        service = {**_connection(service), **service}
        service.pop(_CONNECTION, None)
    named = ("endpoint", "aws_endpoint", "azure_endpoint", "base_url", "google_base_url")
    endpoint = next((str(service[name]) for name in named if name in service), _from_environment(family))
    if endpoint.startswith("http://"):
        client.setdefault("allow_http", True)  # somebody who writes http:// means it
        if family == "s3":
            service.setdefault(_CHECKSUM, "SHA256")  # no TLS: else nothing may notice what a line garbles
    if str(service.get(_CHECKSUM, "")).lower() == "none":
        del service[_CHECKSUM]
    tries, patience = tries_and_patience(options)
    backoff = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=1), "base": 2}
    retry = {
        "max_retries": min(tries, _AT_ONCE),
        "retry_timeout": timedelta(seconds=patience),
        "backoff": backoff,
    }
    return service, client, retry


def family_of(url: str) -> str:
    """Whose service a URL (or its scheme) is of: ``s3``, ``gs`` or ``az``."""
    return _FAMILIES.get(url.partition("://")[0].lower(), "az")


def tries_and_patience(options: Mapping[str, str]) -> tuple[int, float]:
    """How often something is tried again, and for how many seconds at most.

    By default it is the time that counts, a minute: long enough for a service that is restarted, short
    enough for somebody who waits for a cell.

    Raises:
        UsageError: kind ``bad-store-options``: a number is none.
    """
    tries, patience = (options.get(name, default) for name, default in _RETRY.items())
    try:
        return int(tries), float(patience.removesuffix("s"))
    except ValueError:
        raise UsageError(
            "the options max_retries and retry_timeout are numbers",
            kind="bad-store-options",
            hint='max_retries = "40", retry_timeout = "60"',
        ) from None


def _flag(value: str) -> bool:
    return value.lower() in ("1", "true", "yes", "on")


def _from_environment(family: str) -> str:
    return next((os.environ[name] for name in _ENDPOINTS[family] if os.environ.get(name)), "")


def _emulator() -> dict[str, str]:
    """Where Google's own libraries go for a test; unlike them obstore would go to the real service."""
    place = os.environ.get("STORAGE_EMULATOR_HOST", "")
    if not place or os.environ.get("GOOGLE_BASE_URL"):
        return {}
    return {"base_url": place if "://" in place else f"http://{place}", "bearer_token": "none"}


def _connection(options: Mapping[str, Any]) -> dict[str, str]:
    """What an Azure connection string says, which obstore does not read.

    The one in the environment counts where neither options nor environment name an account.
    """
    text = options.get(_CONNECTION, "")
    if not text and not any(name.removeprefix("azure_storage_") == "account_name" for name in options):
        named = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
        text = "" if named else os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    if not text:
        return {}
    parts = (part.partition("=") for part in text.split(";") if part.strip())
    said = {name.strip().lower(): value.strip() for name, _, value in parts}
    if said.get("usedevelopmentstorage", "").lower() == "true":
        return {"use_emulator": "true"}
    found = {ours: said[theirs] for theirs, ours in _CONNECTION_PARTS.items() if said.get(theirs)}
    if "account_name" not in found:
        raise UsageError(
            f"the Azure {_CONNECTION} names no account",
            kind="bad-store-options",
            hint="AccountName=…;AccountKey=…, as `az storage account show-connection-string` prints it",
        )
    suffix = said.get("endpointsuffix", "core.windows.net")
    if "endpoint" not in found and suffix != "core.windows.net":
        protocol = said.get("defaultendpointsprotocol", "https")
        found["endpoint"] = f"{protocol}://{found['account_name']}.blob.{suffix}"
    return found


def _profile(options: Mapping[str, Any]) -> dict[str, str]:
    """Key and region of the chosen profile in ~/.aws, where neither options nor environment give a key."""
    if any(name in options for name in _GIVEN) or any(os.environ.get(name) for name in _GIVEN_ENV):
        return {}
    chosen = os.environ.get("AWS_PROFILE", "default")
    keys = _section("AWS_SHARED_CREDENTIALS_FILE", "credentials", chosen)
    config = _section("AWS_CONFIG_FILE", "config", chosen if chosen == "default" else f"profile {chosen}")
    found = {**config, **keys}
    if "aws_access_key_id" not in found or "aws_secret_access_key" not in found:
        return {}
    taken = {
        "access_key_id": found["aws_access_key_id"],
        "secret_access_key": found["aws_secret_access_key"],
    }
    if "aws_session_token" in found:
        taken["session_token"] = found["aws_session_token"]
    if "region" in found and not (os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
        taken["region"] = found["region"]
    return taken


def _section(variable: str, name: str, section: str) -> dict[str, str]:
    path = Path(os.environ.get(variable) or Path.home() / ".aws" / name)
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, configparser.Error):
        return {}
    return dict(parser[section]) if parser.has_section(section) else {}
