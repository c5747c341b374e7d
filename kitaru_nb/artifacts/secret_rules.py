"""What counts as a secret: names that say so, and the shapes of well-known keys.

The shapes are those that the services publish, as collected by GitHub's list of supported
secret scanning patterns and by the default rules of gitleaks; where these want an exact
length, a minimum is enough here. Nothing here knows a value: `artifacts.vault` does.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import compress

__all__ = [
    "AWAY",
    "BEGINNINGS",
    "LEAST",
    "SECRET_WORDS",
    "SHAPES",
    "is_secret_argument",
    "is_secret_list",
    "is_secret_name",
    "is_secret_under",
    "may_have_shape",
    "open_from",
    "shapes_in",
]

LEAST = 12
"""Characters that a value has at least to be taken for a secret."""

_MOST = 8192  # a value under a secret's name that is longer is a document
_WORDS = frozenset(
    "key keys token tokens secret secrets password passwords passwd passphrase passphrases credential "
    "credentials authorization apikey apikeys".split()
)
_ENDS = ("password", "passwd", "apikey", "secretkey", "accesskey", "accesstoken", "authtoken")
_KEYS = frozenset(["key", "keys"])
_PASSWORDS = frozenset(["password", "passwords", "passwd", "passphrase", "secret", "secrets"])
_PLACES = frozenset(["file", "path", "folder", "dir", "name", "id", "url", "env", "var"])  # where a secret is
_TOKENS = frozenset(["token", "tokens"])
# What stands before KEY or TOKEN where it is none of the lock's kind.
_OTHER_KEYS = frozenset(
    "primary foreign public sort partition range hash cache group index join row unique candidate surrogate "
    "natural composite map dict lookup merge object idempotency dedup routing step cell checkpoint shard "
    "column answer kv s3 file metadata config registry".split()
)
_OTHER_TOKENS = frozenset(
    "bos eos pad unk mask cls sep special next page continuation csrf max min num n input output prompt "
    "completion total cached stop start end begin image audio video".split()
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NAME = re.compile(r"[A-Za-z_$][\w$ .:\[\]-]{0,99}")


@lru_cache(maxsize=8192)
def is_secret_name(name: str) -> bool:
    """Whether a variable, key, attribute or header of that name holds a secret.

    The name has to hold the word as a word: ``API_KEY``, ``apiKey`` and ``x-api-key`` do,
    ``monkey`` and ``tokenizer`` do not, nor do ``primary_key`` and ``eos_token``.
    """
    if not 3 <= len(name) <= 100 or _NAME.fullmatch(name) is None:
        return False
    words = [word.lower() for word in _WORD.findall(name)]
    if words and words[-1].endswith(_ENDS):
        return True
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        if word not in _WORDS or (word in _KEYS and before in _OTHER_KEYS):
            continue
        if word in _TOKENS and (before in _OTHER_TOKENS or words[place + 1 : place + 2] == ["id"]):
            continue
        return True
    return False


_LOCKS = frozenset("api auth access bearer refresh private".split())


def is_secret_list(name: str) -> bool:
    """Whether each text of a list that goes by that name is a secret: ``api_keys``, ``passwords``.

    Lists called ``feature_keys`` or ``tokens`` are full of data, unlike single values.
    """
    if not is_secret_name(name):
        return False
    words = frozenset(word.lower() for word in _WORD.findall(name))
    return not words.isdisjoint(_PASSWORDS | {"credentials", "apikeys"} | _LOCKS)


_SCHEME = re.compile(r"(?i:bearer|basic|token|digest)\s+(?=\S+$)")
_NUMBER = re.compile(r"[\d\s.,:+\-/TZ_]+")  # dates and times, too
_PATH = re.compile(r"(?:[a-zA-Z]:)?[/\\~.][\w .~/\\-]*|[\w.-]+(?:/[\w.-]+)*\.[a-z]{1,5}")
_URL = re.compile(r"[a-zA-Z][\w+.-]*://")
_IDENTIFIER = re.compile(r"[A-Za-z]+(?:[_. /:-][A-Za-z]+)*")
_SNAKE = re.compile(r"[a-z]+(?:_[a-z]+)+")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_OF_TASK = re.compile(
    r"(?!(?:[\w-]*[_-])?(?:key|api|token|secret|pass|password|auth|cred|credentials)[_-]|[\w-]*-(?:live|prod|test)-[0-9a-f]{32})"
    r"(?:[a-z]\w{2,}(?:-[a-z]\w*)*-[0-9a-f]{32}(?![0-9a-f])\w*|[a-z_]\w*-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"|__[a-z]+(?:_[a-z]+)*__\d*"
)
"""A word and a digest or UUID, as dask calls what it will compute, or a word between underscores."""
_TOKEN_LIKE = re.compile(r"[\w+/=.:~!$%@#*&^-]+")


def is_secret_under(name: str, value: str) -> bool:
    """Whether `value` is a secret, standing under `name`: no number, word, path, text or template.

    A name that is nothing but the word (``key``, ``token``) is what loops over keys and tokens
    are full of: there the value has to look generated, too.
    """
    if not LEAST <= len(value) <= _MOST or not is_secret_name(name):
        return False
    scheme = _SCHEME.match(value)
    value = value[scheme.end() :] if scheme is not None else value
    if any(character.isspace() for character in value) or value.isalpha() or value.startswith("secret:"):
        return False
    if _VARIABLE.fullmatch(value) and is_secret_name(value):
        return False  # the name of the variable that holds it
    if _NUMBER.fullmatch(value) or _PATH.fullmatch(value) or _URL.match(value) or len(set(value)) <= 3:
        return False
    words = frozenset(word.lower() for word in _WORD.findall(name))
    if words & _PASSWORDS or name.isupper():
        return len(words) > 1 or _SNAKE.fullmatch(value) is None
    if _TOKEN_LIKE.fullmatch(value) is None:
        return False
    if len(words) > 1:
        return _SNAKE.fullmatch(value) is None or "token" in words or "api" in words
    if _OF_TASK.fullmatch(value):
        return False
    return _IDENTIFIER.fullmatch(value) is None and any(character.isdigit() for character in value)


def is_secret_argument(name: str, value: str) -> bool:
    """Whether `value` is a secret, given to the option `name` of a command: a short one, too.

    Nobody reads a name into an option by accident, so that a password may be a word there.
    """
    if not value or not is_secret_name(name):
        return False
    words = frozenset(word.lower() for word in _WORD.findall(name))
    if words & _PASSWORDS:
        return not words & _PLACES
    if words <= _KEYS or words & _PLACES:
        return is_secret_under(name, value)
    return not (_NUMBER.fullmatch(value) or _PATH.fullmatch(value) or _URL.match(value))


_RULES = {
    "anthropic": r"sk-ant-[A-Za-z0-9_-]{16,}",
    "openai": r"sk-(?!ant-)[A-Za-z0-9_-]{20,}",
    "stripe": r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}",
    "github": r"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}",
    "gitlab": r"gl(?:pat|dt|rt|ptt|oas)-[A-Za-z0-9_-]{16,}",
    "aws": r"A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])",
    "slack": r"xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{16,}",
    "google": r"AIza[A-Za-z0-9_-]{30,}|GOCSPX-[A-Za-z0-9_-]{20,}|ya29\.[A-Za-z0-9_-]{20,}",
    # In a connection string, and in an address: with something beside it that is quick to look for.
    "azure": r"(?:(?<=;AccountKey=)|(?<=;SharedAccessKey=))[A-Za-z0-9+/]{40,}={0,2}"
    r"|(?:(?<=AccountKey=)|(?<=SharedAccessKey=))[A-Za-z0-9+/]{40,}={0,2}(?=;)"
    r"|(?<=&sig=)[A-Za-z0-9+/%]{40,}={0,2}|(?<=\?sig=)[A-Za-z0-9+/%]{40,}={0,2}(?=&)",
    "huggingface": r"hf_[A-Za-z0-9]{20,}",
    "npm": r"npm_[A-Za-z0-9]{30,}",
    "pypi": r"pypi-[A-Za-z0-9_-]{40,}",
    "groq": r"gsk_[A-Za-z0-9]{20,}",
    "xai": r"xai-[A-Za-z0-9]{20,}",
    "perplexity": r"pplx-[A-Za-z0-9]{20,}",
    "nvidia": r"nvapi-[A-Za-z0-9_-]{20,}",
    "langsmith": r"lsv2_[a-z]{2}_[A-Za-z0-9_]{20,}",
    "replicate": r"r8_[A-Za-z0-9]{30,}",
    "digitalocean": r"do[opr]_v1_[a-f0-9]{40,}",
    "sendgrid": r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    "jwt": r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
}
_PEM = (
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[\s\S]*?-----END (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----|[\s\S]*)"
)
# What cannot stand before the password in a URL stands there in patterns that match URLs.
_IN_URL = r"""(?<=://)[^\s:/@"'<>?#\[\]\\^|]{0,200}:(?P<url>[^\s/"'<>{}]{12,})@"""
_IN_HEADER = r"(?i:\bbearer|\bbasic)\s+(?P<header>[A-Za-z0-9._~+/=-]{16,})"
SHAPES = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    + "|".join(f"(?P<{family}>{rule})" for family, rule in _RULES.items())
    + f")|(?P<pem>{_PEM})|{_IN_URL}|{_IN_HEADER}"
)
"""Finds keys of a known shape in text; the group that matched is the family."""


def may_have_shape(text: str) -> bool:
    """Whether `shapes_in` has to look, which takes some time."""
    met = compress(_BEGINS, map(text.__contains__, _WITHIN))
    return any(any(map(text.__contains__, begins)) for begins in met)


BEGINNINGS = (
    (
        "_",
        (
            "sk_",
            "rk_",
            "ghp_",
            "gho_",
            "ghu_",
            "ghs_",
            "ghr_",
            "github_pat_",
            "hf_",
            "npm_",
            "gsk_",
            "lsv2_",
            "r8_",
            "_v1_",
        ),
    ),
    (
        "-",
        (
            "sk-",
            "glpat-",
            "gldt-",
            "glrt-",
            "glptt-",
            "gloas-",
            "xox",
            "xapp-",
            "GOCSPX",
            "pypi-",
            "xai-",
            "pplx-",
        ),
    ),
    ("-", ("nvapi-", "-----BEGIN")),
    ("A", ("AKIA", "ASIA", "AIza")),
    ("eyJ", ("eyJ",)),
    ("://", ("://",)),
    (".", ("ya29.", "SG.")),
    ("Key=", ("AccountKey=", "SharedAccessKey=")),
    ("sig=", ("?sig=", "&sig=")),
    ("ic ", ("asic ",)),
    ("er ", ("earer ",)),
)
"""What keys of a known shape begin with; some need more to be one."""

_WITHIN = [within for within, _ in BEGINNINGS]
_BEGINS = [begins for _, begins in BEGINNINGS]

SECRET_WORDS = ("key", "token", "secret", "passw", "passphrase", "credential", "authoriz")
"""Parts of the words that a secret's name holds, in lower case."""

_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")
_NEAR = 120


def shapes_in(text: str) -> list[tuple[int, int, str]]:
    """Where keys of a known shape stand in `text`: start, end, family; in order, none within another."""
    found: list[tuple[int, int, str]] = []
    for at in sorted(_beginnings(text)):
        match = SHAPES.match(text, at)
        if match is None or (found and at < found[-1][1]):
            continue
        family = str(match.lastgroup)
        start, end = match.span(family)
        value = match.group(family)
        if family == "header" and not any(character.isdigit() for character in value):
            continue  # "basic understanding-of"
        if value.startswith("secret:"):
            continue
        found.append((start, end, family))
        if family == "aws":
            pair = _AWS_SECRET.search(text, end, end + _NEAR)
            found += [(*pair.span(), "aws")] if pair is not None else []
    return found


def _beginnings(text: str) -> set[int]:
    """Where a shape may begin."""
    places = set()
    for within, begins in BEGINNINGS:
        if within not in text:
            continue
        for begin in begins:
            at = text.find(begin)
            while at >= 0:
                places.add(at + AWAY.get(begin, 0))
                at = text.find(begin, at + 1)
    return {place for place in places if place >= 0}


_OPEN_WITHIN = 8192  # characters at the end that are looked at
_OPEN = (
    re.compile(r"-----BEGIN (?![\s\S]*-----END [A-Z ]+-----)[\s\S]*\Z"),
    re.compile(
        r"A[KS]IA[A-Z0-9]{16}(?![\s\S]*[^A-Za-z0-9/+=][A-Za-z0-9/+]{40}[^A-Za-z0-9/+=])"
        rf"[\s\S]{{0,{_NEAR + 40}}}\Z"
    ),
    re.compile(r"(?<!\S)\S*://\S*\Z"),
    re.compile(r"[?&]sig=[\w%+/=]*\Z"),
    re.compile(r"(?i:\bbearer|\bbasic)\s+[\w.~+/=-]*\Z"),
    re.compile(r"(?<![\w.~+/=-])(?![.=~/+-]+\Z)[\w.~+/=-]+\Z"),
)


def open_from(text: str) -> int:
    """Where in a text that goes on a key of a known shape may have begun; its length if nowhere."""
    away = max(0, len(text) - _OPEN_WITHIN)
    tail = text[away:]
    begun = (match.start() for match in (shape.search(tail) for shape in _OPEN) if match is not None)
    return away + min(begun, default=len(tail))


AWAY = {
    "://": 3,
    "earer ": -1,
    "asic ": -1,
    "_v1_": -3,
    "AccountKey=": 11,
    "SharedAccessKey=": 16,
    "?sig=": 5,
    "&sig=": 5,
}
"""Where a key begins, seen from one of `BEGINNINGS`, if not there."""
