"""The description thrown at a running server: whatever it allows is answered as it says."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from kitaru_nb.model.settings import Settings
from kitaru_nb.server.description import described
from kitaru_nb.stacks.open import open_engine
from tests.served import API, Api, quoted, started
from tests.unit.server.conftest import Recorder

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what it imports is its own affair
    import schemathesis

EXAMPLES = 15
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)
VERBS = ("get", "post")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    root = tmp_path_factory.mktemp("fuzzed")
    home = root / "home"
    with closing(open_engine(Settings(home=home))) as engine:
        recorder = Recorder(engine, root)
        recorder.ask(recorder.begin(tags=("a",)))
    places = {"KITARU_NB_HOME": str(home), "KITARU_NB_CONFIG": str(root / "config")}
    with started(root, "--KitaruServer.resume=False", env=places) as api:
        yield api


@pytest.fixture(scope="module")
def description(server: Api) -> Any:
    schemathesis.checks.load_all_checks()
    return schemathesis.openapi.from_dict(server.found("openapi.json"))


@pytest.mark.parametrize("verb", ["get", "post", "put", "patch", "delete"])
def test_whatever_is_no_route_is_answered_as_an_error(server: Api, verb: str) -> None:
    described_paths = {path.strip("/") for path in described("")["paths"]}
    letters = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=20)

    @hypothesis.given(parts=st.lists(letters, min_size=1, max_size=5))
    @hypothesis.settings(max_examples=EXAMPLES, derandomize=True, deadline=None)
    def ask(parts: list[str]) -> None:
        path = "/".join(["none", *map(quoted, parts)])
        hypothesis.assume(path not in described_paths)

        response = server.client.request(verb, API + path)

        assert server.error(response) == (404, "unknown-route")

    ask()


OPERATIONS = [
    (path, verb) for path, found in described("")["paths"].items() for verb in found if verb in VERBS
]


@pytest.mark.parametrize(("path", "verb"), OPERATIONS, ids=[f"{verb} {path}" for path, verb in OPERATIONS])
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_every_operation_answers_as_it_is_described(
    server: Api, description: Any, path: str, verb: str, mode: str
) -> None:
    operation = description[path][verb]
    generation = schemathesis.GenerationMode(mode)

    @hypothesis.given(case=operation.as_strategy(generation_mode=generation))
    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    def ask(case: Any) -> None:
        response = case.call(
            base_url=f"{server.url}kitaru-nb/api", headers={"Authorization": f"token {server.token}"}
        )
        # Too large is refused as well, which that check does not know.
        checked = [
            name for name in CHECKED if response.status_code != 413 or name != "negative_data_rejection"
        ]
        case.validate_response(
            response, checks=[schemathesis.checks.CHECKS.get_one(name) for name in checked]
        )
        assert response.status_code < 500

    try:
        ask()
    except hypothesis.errors.Unsatisfiable:
        pytest.skip("nothing can be wrong with it")
