"""Names that a function's compiled code mentions, and the words of Python that can reach any name."""

from __future__ import annotations

import dis
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from types import CodeType
from typing import NamedTuple

__all__ = [
    "ASK_ARGUMENTS",
    "ASK_ENVIRONMENT",
    "DYNAMIC_ATTRIBUTES",
    "DYNAMIC_MEMBERS",
    "DYNAMIC_MODULES",
    "DYNAMIC_NAMES",
    "FRAME_READERS",
    "IMPORTERS",
    "LONGEST_PATH",
    "OWN_SCOPE",
    "SUBCLASSES",
    "CodeNames",
    "function_names",
    "may_read",
    "modules_in",
    "without_data",
    "words_of",
]

# Builtins that reach names by other ways than their spelling. `locals`, `vars` and `dir` do so
# only at the top of a cell; inside a function they speak of its own variables.
DYNAMIC_NAMES = frozenset(
    {"exec", "eval", "globals", "get_ipython", "__builtins__", "__import__", "__loader__"}
)
OWN_SCOPE = frozenset({"locals", "vars", "dir"})
DYNAMIC_ATTRIBUTES = frozenset(
    {
        "__globals__",
        "_getframe",
        "currentframe",
        "f_back",
        "f_builtins",
        "f_globals",
        "f_locals",
        "get_ipython",
        "reload",
        "run_cell",
        "run_cell_async",
        "run_cell_magic",
        "run_line_magic",
        "user_global_ns",
        "user_ns",
        "__main__",
    }
)
SUBCLASSES = "__subclasses__"
"""The method by which a class leads to those that derive from it, whatever they are called."""

DYNAMIC_MEMBERS = frozenset({("sys", "modules"), ("inspect", "stack"), ("inspect", "trace")})
DYNAMIC_MODULES = frozenset({"__main__", "builtins"})

# Functions of pandas, numexpr, duckdb, polars and formula packages that look words of a string
# up in the frame of their caller.
FRAME_READERS = frozenset(
    "query eval evaluate sql execute from_formula dmatrix dmatrices Formula model_matrix "
    "ols gls wls glm gee logit probit mnlogit poisson negativebinomial mixedlm phreg rlm quantreg".split()
)


# Functions that import a module by the text of its name.
IMPORTERS = frozenset(
    {"__import__", "import_module", "find_spec", "resolve_name", "run_module", "run_path", "lazy_import"}
)


ASK_ENVIRONMENT = frozenset({"environ", "environb", "getenv", "getenvb", "expandvars"})
"""Words of code that asks for environment variables."""

ASK_ARGUMENTS = frozenset(
    {"parse_args", "parse_known_args", "parse_intermixed_args", "parse_known_intermixed_args"}
)
"""Words of code that takes ``sys.argv`` where it is given nothing else."""


class CodeNames(NamedTuple):
    """Names a function's code mentions: a superset of the globals it touches.

    Attributes:
        names: Global, attribute and import names of the code and all code nested in it, and
            words in strings that a library may look up; meet them with the namespace.
        dynamic: It may touch any global.
        by_text: It may hand text to a library that looks words of it up among the globals.
        imports: Dotted names of modules it may import; names imported from one count too.
        texts: The strings in it that are short enough for a path.
        asks: Those of its words that ask the process for something, see `ASK_ENVIRONMENT`.
        reads: It speaks of reading.
    """

    names: frozenset[str]
    dynamic: bool
    imports: frozenset[str] = frozenset()
    by_text: bool = False
    texts: frozenset[str] = frozenset()
    asks: frozenset[str] = frozenset()
    reads: bool = False


@lru_cache(maxsize=4096)
def function_names(code: CodeType) -> CodeNames:
    """Names that `code`, and code nested in it, may take from its globals.

    Costs microseconds; the answer is kept per code object.
    """
    codes = list(_nested_codes(code))
    names = {name for each in codes for name in each.co_names}
    dynamic = bool(names & DYNAMIC_ATTRIBUTES) or any(_loads_dynamic(each) for each in codes)
    by_text = not names.isdisjoint(FRAME_READERS)
    if by_text:
        texts = [text for each in codes for text in each.co_consts if isinstance(text, str)]
        names.update(word for text in texts for word in words_of(text))
    imports = {name for each in codes if _IMPORT_NAME in each.co_code[::2] for name in _imports(each)}
    if names & IMPORTERS:
        texts = [text for each in codes for text in each.co_consts if isinstance(text, str)]
        imports |= modules_in(texts)
    held = frozenset(
        text for each in codes for text in each.co_consts if type(text) is str and len(text) <= LONGEST_PATH
    )
    asks = (ASK_ENVIRONMENT | ASK_ARGUMENTS) & names
    return CodeNames(frozenset(names), dynamic, frozenset(imports), by_text, held, asks, may_read(names))


def may_read(words: Iterable[str]) -> bool:
    """Whether code that uses `words` speaks of reading something."""
    return any(map(_READS.search, words))


def modules_in(texts: Iterable[str]) -> set[str]:
    """Those of `texts` that could be the dotted name of a module."""
    return {text for text in texts if _DOTTED.fullmatch(text)}


def words_of(text: str) -> set[str]:
    """The words in `text` that could be names."""
    return set(_WORD.findall(text))


def without_data(annotation: str) -> str:
    """An annotation in quotes without the text that `Literal` and `Annotated` hold in it."""
    if "Literal" in annotation or "Annotated" in annotation:
        return _TEXT.sub("", annotation)
    return annotation


LONGEST_PATH = 4096
_READS = re.compile(r"read|scan|load|open|dataset|parquet|csv|sql|query|collect|connect|File|glob")
_IMPORT_NAME = dis.opmap["IMPORT_NAME"]
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_TEXT = re.compile(r"""(['"]).*?\1""")
_WORD = re.compile(r"[^\W\d]\w*")


def _nested_codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested_codes(constant)


def _imports(code: CodeType) -> Iterator[str]:
    module = ""
    for each in dis.get_instructions(code):
        if each.opname == "IMPORT_NAME":
            module = str(each.argval)
            yield module
        elif each.opname == "IMPORT_FROM":
            yield f"{module}.{each.argval}"


def _loads_dynamic(code: CodeType) -> bool:
    suspects = (DYNAMIC_NAMES | DYNAMIC_MODULES).intersection(code.co_names)
    if not suspects:  # `model.eval()` has "eval" in `co_names` too: only then look at the code itself
        return False
    return any(
        each.argval in suspects and each.opname in ("LOAD_GLOBAL", "LOAD_NAME", "IMPORT_NAME")
        for each in dis.get_instructions(code)
    )
