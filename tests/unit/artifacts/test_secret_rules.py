"""What counts as a secret, by its name and by its shape."""

from __future__ import annotations

import pytest

from kitaru_nb.artifacts.secret_rules import is_secret_name, is_secret_under, open_from, shapes_in

VALUE = "hunter2hunter2x"


@pytest.mark.parametrize(
    "name",
    [
        *("OPENAI_API_KEY", "apiKey", "x-api-key", "API_KEY_PROD", "db_password", "PGPASSWORD", "dbpassword"),
        *(
            "token",
            "access_token",
            "client_secret",
            "Authorization",
            "aws_secret_access_key",
            "fs.s3a.secret.key",
        ),
        *("_secret_value", "passphrase", "credentials", "OPENAI_APIKEY", "KEY", "secretKey"),
    ],
)
def test_a_name_that_holds_the_word_as_a_word_is_a_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "monkey",
            "keyboard",
            "tokenizer",
            "keynote",
            "secretary",
            "primary_key",
            "foreignKey",
            "public_key",
        ),
        *("sort_key", "cache_key", "idempotency_key", "eos_token", "max_tokens", "input_tokens", "token_id"),
        *("x", "a key to it all, and some more text", "PATH", ""),
    ],
)
def test_other_names_are_not(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            ("api_key", VALUE),
            ("DB_PASSWORD", "correct-horse-battery-staple"),
            ("Authorization", f"Bearer {VALUE}"),
        ],
        *[
            ("password", "p@ss,w0rd!{}<>"),
            ("key", "9f86d081884c7d659a2f"),
            ("key", "key-5f4dcc3b5aa765d61d8327deb882cf99"),
            ("key", "secret-5f4dcc3b5aa765d61d8327deb882cf99"),
            ("key", "acme-live-5f4dcc3b5aa765d61d8327deb882cf99"),
            ("key", "acme_api-5f4dcc3b5aa765d61d8327deb882cf99"),
            ("key", "secret-60f25444-e3e5-4526-989d-8de811318417"),
            ("key", "pat-na1-60f25444-e3e5-4526-989d-8de811318417"),
            ("key", "60f25444-e3e5-4526-989d-8de811318417"),
            ("api_token", "canary_token_in_it"),
        ],
        ("SECRET_KEY", "0a1b2c3d4e5f60718293a4b5c6d7e8f9"),
    ],
)
def test_a_value_under_such_a_name_is_a_secret(name: str, value: str) -> None:
    assert is_secret_under(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("api_key", "short"), ("api_key", "12345678901234"), ("api_key", "internationalization")],
        *[("key", "customer_segment"), ("key", "2024-01-15T10:00:00"), ("token", "<|endoftext|>")],
        *[
            ("API_KEY", "/run/secrets/openai"),
            ("API_KEY", "OPENAI_API_KEY"),
            ("api_key", "secret:env:OPENAI_API_KEY"),
        ],
        *[("password", "the words of a sentence"), ("api_key", "xxxxxxxxxxxxxxxx"), ("region", VALUE)],
        ("key_file", "keys/service-account.json"),
        ("key", "__dask_blockwise__0"),
        ("key", "open_zarr-5f4dcc3b5aa765d61d8327deb882cf99tas"),
        *[
            ("key", f"{task}-5f4dcc3b5aa765d61d8327deb882cf99")
            for task in (
                "original-array",
                "prod-aggregate",
                "tokenize",
                "train_test_split",
                "latest",
                "bypass",
            )
        ],
        *[
            ("key", f"{task}-60f25444-e3e5-4526-989d-8de811318417")
            for task in ("inc", "f", "_load", "lambda")
        ],
    ],
)
def test_numbers_words_paths_and_placeholders_are_not(name: str, value: str) -> None:
    assert not is_secret_under(name, value)


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("sk-ant-abcdefghijklmnop1234", "anthropic"),
        ("sk-proj-abcdefghijklmnop1234", "openai"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "github"),
        ("github_pat_11ABCDEFG0abcdefghijkl_mnop", "github"),
        ("AKIAIOSFODNN7EXAMPLE", "aws"),
        ("xoxb-123456789012-abcdef", "slack"),
        ("AIzaSyA-1234567890abcdefghijklmnopqrstu", "google"),
        ("hf_abcdefghijklmnopqrstuvwxyz", "huggingface"),
        ("glpat-abcdefghijklmnopqrst", "gitlab"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N", "jwt"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----", "pem"),
    ],
)
def test_a_known_shape_is_found_wherever_it_stands(text: str, family: str) -> None:
    within = f"the key is '{text}', all right"

    assert shapes_in(text) == [(0, len(text), family)]
    assert [within[start:end] for start, end, _ in shapes_in(within)] == [text]


@pytest.mark.parametrize("password", [VALUE, f"p@{VALUE}", f"{VALUE}@1"])
def test_the_password_in_a_url_is_found_alone(password: str) -> None:
    url = f"postgresql://user:{password}@host:5432/db"

    assert [url[start:end] for start, end, _ in shapes_in(url)] == [password]


@pytest.mark.parametrize(
    "text",
    [
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey={};EndpointSuffix=core.windows.net",
        "AccountKey={};AccountName=a",
        "AccountName=a;AccountKey={}",
        "Endpoint=sb://a.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey={}",
        "https://a.blob.core.windows.net/c?sv=2024-05-04&se=2030&sig={}",
        "?sig={}&sv=2024-05-04",
    ],
)
def test_a_key_or_signature_of_azure_is_found_alone(text: str) -> None:
    value = "a1B2c3D4+/" * 8 + "a1B2c3==" if "sig" not in text else "a1B2c3D4%2B%2F" * 3 + "a1B2c3%3D"
    held = text.format(value)

    assert [(held[start:end], family) for start, end, family in shapes_in(held)] == [(value, "azure")]
    begun = held[: held.index(value) + len(value) - 3]
    assert open_from(begun) <= held.index(value), "what is there so far is held back"


@pytest.mark.parametrize("text", ["f(a;AccountKey=None)", "?sig=none&x=1", "AccountKey=short;", "a&sig=b"])
def test_words_in_the_place_of_azures_keys_are_none(text: str) -> None:
    assert shapes_in(text) == []


def test_the_secret_beside_an_aws_key_is_found() -> None:
    text = "AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

    assert [text[start:end] for start, end, _ in shapes_in(text)] == text.split()


@pytest.mark.parametrize(
    "text",
    [
        "task-specific-performance-metrics",
        "a basic understanding-of-the-thing",
        "me@host",
        r"(?:(?:[\w\+\-\.]{2,})://)?(?:\S+(?::\S*)?@)?(?:\w+)",
        "https?://([^:]+):([^@]+)@",
    ],
)
def test_prose_has_no_shape(text: str) -> None:
    assert shapes_in(text) == []
