"""A bucket: which URLs and options it takes, and what becomes of the answers."""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kitaru_nb.artifacts.bucket import Bucket
from kitaru_nb.artifacts.bucket_errors import bucket_error
from kitaru_nb.artifacts.bucket_options import sorted_options
from kitaru_nb.artifacts.object_store import ObjectStore
from kitaru_nb.errors import StoreError, UsageError
from kitaru_nb.testing import MemoryIndex, content, views

pytest.importorskip("obstore", reason="obstore is not installed", exc_type=ImportError)


@pytest.fixture(autouse=True)
def no_cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR_HOST")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://bucket", {}),
        ("s3://bucket/some/prefix/", {"region": "eu-central-1"}),
        (
            "s3a://bucket/prefix",
            {"key": "k", "secret": "s", "token": "t", "endpoint_url": "http://here:9000"},
        ),
        ("gs://bucket/prefix", {"anon": "true"}),
        ("gcs://bucket/prefix", {"skip_signature": "true"}),
        ("gs://bucket/prefix", {"bearer_token": "t", "endpoint_url": "https://here"}),
        ("azure://container/prefix", {"account_name": "account", "sas_token": "sv=1&sig=x"}),
        ("az://container", {"connection_string": "AccountName=account;AccountKey=a2V5"}),
        ("az://container", {"account_name": "a", "tenant_id": "t", "client_id": "c", "client_secret": "s"}),
        ("az://container/prefix", {"account_name": "account", "account_key": "a2V5"}),
        ("abfs://container@account.dfs.core.windows.net/prefix", {"skip_signature": "true"}),
        ("abfss://container/prefix", {"account_name": "account", "anon": "true"}),
    ],
)
def test_a_store_is_opened_by_fsspecs_spelling(url: str, options: dict[str, str]) -> None:
    bucket = Bucket(url, options)

    bucket._opened()

    assert bucket.url == url.rstrip("/")


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "bucket/prefix", "", "s3://", "s3:///prefix", "s3://bucket?region=x", "s3://b#x"]
)
def test_a_url_that_names_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        ObjectStore(url)

    assert caught.value.kind == "bad-store-url"
    assert caught.value.hint


@pytest.mark.parametrize(
    "url", ["s3://key:hunter2-secret@bucket/x", "s3://hunter2-secret@bucket", "az://c/p?sig=hunter2-secret"]
)
def test_a_secret_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        ObjectStore(url)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"regional": "eu"}, "regional"),
        ({"skip_signature": "hunter2-secret"}, "boolean"),
        ({"timeout": "hunter2-secret"}, "Duration"),
        ({"max_retries": "many"}, "max_retries"),
    ],
)
def test_a_wrong_option_is_named_and_its_value_is_not(options: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        Bucket("s3://bucket", options)._opened()

    assert caught.value.kind == "bad-store-options"
    assert "hunter2" not in str(caught.value)


def test_an_endpoint_without_tls_is_taken_as_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "allow_http" not in sorted_options("s3", {"endpoint": "https://here"})[1]
    assert sorted_options("s3", {"endpoint": "http://here:9000"})[1]["allow_http"] is True

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://here:9000")

    assert sorted_options("s3", {})[1]["allow_http"] is True


def test_without_tls_each_object_carries_its_digest() -> None:
    assert "checksum_algorithm" not in sorted_options("s3", {"endpoint": "https://here"})[0]
    assert sorted_options("s3", {"endpoint": "http://here"})[0]["checksum_algorithm"] == "SHA256"
    for asked in ("none", "CRC64NVME"):
        found = sorted_options("s3", {"endpoint": "http://here", "checksum_algorithm": asked})[0]
        assert found.get("checksum_algorithm", "none") == asked


def test_keys_are_found_where_the_aws_tools_keep_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = one\naws_secret_access_key = s1\n"
        "[work]\naws_access_key_id = two\naws_secret_access_key = s%2\naws_session_token = t\n"
    )
    (tmp_path / "config").write_text("[default]\nregion = eu-north-1\n[profile work]\nregion = eu-west-1\n")

    default = sorted_options("s3", {})[0]
    monkeypatch.setenv("AWS_PROFILE", "work")
    work = sorted_options("s3", {"region": "eu-west-3"})[0]

    assert default == {"access_key_id": "one", "secret_access_key": "s1", "region": "eu-north-1"}
    assert work == {
        "access_key_id": "two",
        "secret_access_key": "s%2",
        "session_token": "t",
        "region": "eu-west-3",
    }


def test_a_short_option_takes_no_letters_out_of_what_is_told() -> None:
    with pytest.raises(UsageError) as caught:
        Bucket("az://container", {"account_name": "a", "account_key": "not in base64!"})._opened()

    assert "Invalid Access Key" in caught.value.message
    assert "not in base64!" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options", "hint"),
    [
        ("az://container/x", {}, "account_name"),
        ("abfs://container/x", {}, "account_name"),
        ("gs://bucket/x", {"service_account": "/no/such.json"}, "service_account_key"),
        ("gs://bucket/x", {"service_account_key": '{"private_key": "hunter2"}'}, "service_account_key"),
    ],
)
def test_what_a_service_needs_and_has_not_is_said_before_it_is_asked(
    url: str, options: dict[str, str], hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        Bucket(url, options)._opened()

    assert caught.value.kind == "bad-store-options"
    assert hint in (caught.value.hint or "")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5==;EndpointSuffix=core.windows.net",
            {"account_name": "a", "account_key": "a2V5=="},
        ),
        (
            "accountname=a; accountkey=k; EndpointSuffix=core.chinacloudapi.cn;",
            {"account_name": "a", "account_key": "k", "endpoint": "https://a.blob.core.chinacloudapi.cn"},
        ),
        (
            "AccountName=a;BlobEndpoint=http://here:1/a;SharedAccessSignature=sv=1&sig=x%3D",
            {"account_name": "a", "endpoint": "http://here:1/a", "sas_key": "sv=1&sig=x%3D"},
        ),
        ("UseDevelopmentStorage=true", {"use_emulator": "true"}),
    ],
)
def test_an_azure_connection_string_says_who_and_where(
    monkeypatch: pytest.MonkeyPatch, text: str, found: dict[str, str]
) -> None:
    assert sorted_options("az", {"connection_string": text})[0] == found

    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)

    assert sorted_options("abfs", {})[0] == found
    assert sorted_options("az", {"account_name": "another"})[0] == {"account_name": "another"}
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "another")
    assert sorted_options("az", {})[0] == {}


def test_a_connection_string_without_an_account_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="names no account") as caught:
        sorted_options("az", {"connection_string": "AccountKey=hunter2"})

    assert "hunter2" not in str(caught.value)


def test_googles_emulator_is_asked_where_googles_own_libraries_would_ask_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "localhost:4443")

    service, client, _ = sorted_options("gs", {})

    assert service["base_url"] == "http://localhost:4443"
    assert client["allow_http"] is True
    assert sorted_options("gs", {"endpoint": "https://here"})[0]["base_url"] == "https://here"
    monkeypatch.setenv("GOOGLE_BASE_URL", "https://there")
    assert "base_url" not in sorted_options("gs", {})[0]


@pytest.mark.parametrize("given", ["option", "environment", "anonymous"])
def test_keys_that_are_given_win_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id=one\naws_secret_access_key=s1\n")
    if given == "environment":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    options = {"option": {"key": "other", "secret": "s"}, "anonymous": {"anon": "true"}}.get(given, {})

    found = sorted_options("s3", options)[0]

    assert found.get("access_key_id", "other") == "other"


@pytest.mark.parametrize("text", ["", "not an ini file", "[default]\naws_access_key_id = half\n"])
def test_a_credentials_file_without_keys_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "credentials").write_text(text)

    assert sorted_options("s3", {})[0] == {}


@pytest.mark.parametrize("url", ["memory://one", "file://{folder}/objects"])
def test_the_places_for_tests_keep_and_find_again(tmp_path: Path, url: str) -> None:
    url = url.format(folder=tmp_path)
    store = ObjectStore(url)
    (location,) = store.write(views(content(1)), index=MemoryIndex())
    store.flush()

    assert bytes(ObjectStore(url).read(location)) == content(1)


class Scripted:
    """An S3 server that gives the answers it was told to give, one for each request."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        left, self.asked = iter(answers), list[tuple[str, str | None]]()

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(handler) -> None:  # noqa: N805 - the test's own is `self`
                handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
                self.asked.append((handler.command, handler.headers.get("If-None-Match")))
                status, code = next(left)
                handler.send_response(status)
                handler.send_header("ETag", '"x"')
                body = f"<Error><Code>{code}</Code></Error>".encode() if code else b""
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            do_GET = do_PUT  # noqa: N815 - the protocol's

            def log_message(handler, *args: object) -> None:  # noqa: N805
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def bucket(self, **more: str) -> Bucket:
        endpoint = f"http://127.0.0.1:{self.server.server_port}"
        options = {"endpoint": endpoint, "region": "r", "access_key_id": "k", "secret_access_key": "s"}
        return Bucket("s3://bucket/x", {**options, **more})

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize(
    "between",
    [
        [(409, "ConditionalRequestConflict")],
        [(409, "OperationAborted")],
        [(503, "SlowDown")],
        [(400, "BadDigest")],
        [(412, "PreconditionFailed"), (404, "NoSuchKey")],  # it was there, and was removed before the look
    ],
)
def test_a_put_that_meets_another_try_of_its_own_is_tried_again(between: list[tuple[int, str]]) -> None:
    server = Scripted(*between, (200, ""))

    server.bucket().put_new("key", memoryview(b"content"))

    puts = [condition for command, condition in server.asked if command == "PUT"]
    assert puts == ["*", "*"]
    server.close()


def test_a_put_that_always_meets_another_ends_in_an_error_of_the_store() -> None:
    server = Scripted(*[(412, "PreconditionFailed"), (404, "NoSuchKey")] * 3)

    with pytest.raises(StoreError) as caught:
        server.bucket(max_retries="2").put_new("key", memoryview(b"content"))

    assert caught.value.kind == "store-unreachable"
    server.close()


AWS = "Generic S3 error: Error performing PUT https://b.s3.amazonaws.com/x?X-Amz-Signature=hunter2 in 1s - "


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (
            "status code: 403 Forbidden: <Code>RequestTimeTooSkewed</Code>",
            "clock-skew",
        ),
        ("status code: 403 Forbidden: <Code>AccessDenied</Code>", "store-denied"),
        ("status code: 403 Forbidden: ", "store-denied"),
        ("status code: 400 Bad Request: <Code>ExpiredToken</Code>", "store-credentials"),
        ("status code: 401 Unauthorized: ", "store-credentials"),
        ("status code: 403 Forbidden: <Code>InvalidObjectState</Code>", "store-archived"),
        ("status code: 400 Bad Request: <Code>KMS.DisabledException</Code>", "store-refused"),
        ("status code: 301 Moved Permanently: <Code>PermanentRedirect</Code>", "store-region"),
        ("status code: 400 Bad Request: <Code>AuthorizationHeaderMalformed</Code>", "store-region"),
        ("status code: 404 Not Found: <Code>NoSuchBucket</Code>", "no-such-bucket"),
        ("status code: 404 Not Found: <Code>ContainerNotFound</Code>", "no-such-bucket"),
        ("status code: 503 Slow Down: <Code>SlowDown</Code>", "store-unreachable"),
        ("status code: 502 Bad Gateway: ", "store-unreachable"),
        ("status code: 507 Insufficient Storage: ", "disk-full"),
        ("status code: 418 I'm a teapot: <Code>Teapot</Code>", "store-refused"),
        (
            'status code: 400 Bad Request: {"error":"invalid_grant","error_description":"x"}',
            "store-credentials",
        ),
        ('status code: 401 Unauthorized: {"error": "invalid_client"}', "store-credentials"),
        ("status code: 403 Forbidden: <Code>AuthorizationFailure</Code>", "store-denied"),
        ("status code: 412 Precondition Failed: <Code>PreconditionFailed</Code>", "object-exists"),
        ("status code: 409 Conflict: <Code>BlobAlreadyExists</Code>", "object-exists"),
        ("Wanted range\nDebug source: StartTooLarge {\n requested: 10,", "past-end"),
        ("HTTP error: error sending request\n operation timed out", "store-unreachable"),
        ("Error performing PUT http://169.254.169.254/latest/api/token in 5s", "store-credentials"),
    ],
)
def test_every_answer_is_told_by_its_cause_with_what_to_do(answer: str, kind: str) -> None:
    told = bucket_error(OSError(AWS + answer), "the values could not be written", where="s3://b/prefix")

    assert told.kind == kind
    assert told.message.startswith("the values could not be written in `s3://b/prefix`: ")
    assert told.hint
    assert "hunter2" not in str(told)


@pytest.mark.parametrize(
    ("where", "hint"),
    [
        ("s3://b", "AWS_"),
        ("gs://b", "GOOGLE_"),
        ("gcs://b", "GOOGLE_"),
        ("az://c", "AZURE_"),
        ("abfs://c", "AZURE_"),
    ],
)
def test_how_credentials_are_given_is_told_for_the_service_that_was_asked(where: str, hint: str) -> None:
    answer = OSError("status code: 401 Unauthorized: ")

    told = bucket_error(answer, "the values could not be written", where=where)

    assert told.kind == "store-credentials"
    assert hint in (told.hint or "")
