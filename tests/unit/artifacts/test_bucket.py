"""A bucket: which URLs and options it takes, and what becomes of the answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru_nb.artifacts.bucket import Bucket
from kitaru_nb.artifacts.bucket_errors import bucket_error
from kitaru_nb.artifacts.bucket_options import sorted_options
from kitaru_nb.artifacts.object_store import ObjectStore
from kitaru_nb.errors import UsageError
from kitaru_nb.testing import MemoryIndex, content, views

pytest.importorskip("obstore", reason="obstore is not installed", exc_type=ImportError)


@pytest.fixture(autouse=True)
def no_cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
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
        ("status code: 301 Moved Permanently: <Code>PermanentRedirect</Code>", "store-region"),
        ("status code: 400 Bad Request: <Code>AuthorizationHeaderMalformed</Code>", "store-region"),
        ("status code: 404 Not Found: <Code>NoSuchBucket</Code>", "no-such-bucket"),
        ("status code: 404 Not Found: <Code>ContainerNotFound</Code>", "no-such-bucket"),
        ("status code: 503 Slow Down: <Code>SlowDown</Code>", "store-unreachable"),
        ("status code: 502 Bad Gateway: ", "store-unreachable"),
        ("status code: 507 Insufficient Storage: ", "disk-full"),
        ("status code: 418 I'm a teapot: <Code>Teapot</Code>", "store-refused"),
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
