"""The options of an object store: whose they are, what fsspec calls them, and what the environment adds."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from kitaru_nb.errors import UsageError

__all__ = ["sorted_options", "tries_and_patience"]

_CLIENT = frozenset(
    "allow_http allow_invalid_certificates connect_timeout http1_only http2_only pool_idle_timeout "
    "pool_max_idle_per_host proxy_url proxy_ca_certificate proxy_excludes randomize_addresses "
    "read_timeout root_certificate timeout user_agent".split()
)
_FLAGS = frozenset("allow_http allow_invalid_certificates http1_only http2_only randomize_addresses".split())
_RETRY = {"max_retries": "8", "retry_timeout": "60"}

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
    "gs": {"token": "service_account", "anon": "skip_signature"},
    "az": {"anon": "skip_signature"},
}
_FAMILIES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("STORAGE_EMULATOR_HOST",),
    "az": ("AZURE_ENDPOINT",),
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

    A transient error is retried with growing pauses for about a minute unless ``max_retries``
    and ``retry_timeout`` (seconds) say otherwise: long enough for a hiccup, short enough for
    somebody who waits for a cell.

    Raises:
        UsageError: kind ``bad-store-options``: a number is none.
    """
    family = _FAMILIES.get(scheme, "az")
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
    endpoint = str(service.get("endpoint") or service.get("aws_endpoint") or _from_environment(family))
    if endpoint.startswith("http://"):
        client.setdefault("allow_http", True)  # somebody who writes http:// means it
    tries, patience = tries_and_patience(options)
    backoff = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=15), "base": 2}
    retry = {"max_retries": tries, "retry_timeout": timedelta(seconds=patience), "backoff": backoff}
    return service, client, retry


def tries_and_patience(options: Mapping[str, str]) -> tuple[int, float]:
    """How often something is tried again, and for how many seconds at most.

    Raises:
        UsageError: kind ``bad-store-options``: a number is none.
    """
    asked = {**_RETRY, **options}
    try:
        return int(asked["max_retries"]), float(asked["retry_timeout"].removesuffix("s"))
    except ValueError:
        raise UsageError(
            "the options max_retries and retry_timeout are numbers",
            kind="bad-store-options",
            hint='max_retries = "8", retry_timeout = "60"',
        ) from None


def _flag(value: str) -> bool:
    return value.lower() in ("1", "true", "yes", "on")


def _from_environment(family: str) -> str:
    return next((os.environ[name] for name in _ENDPOINTS[family] if os.environ.get(name)), "")


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
