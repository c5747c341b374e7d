"""The OpenAPI document against the routes and the documents that there really are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from kitaru_nb.model.execution import ExecutionStatus
from kitaru_nb.server import events
from kitaru_nb.server.app import routes
from kitaru_nb.server.description import described
from kitaru_nb.server.handler import ROOT
from kitaru_nb.testing import a_draft
from tests.served import Api, Leaf, quoted
from tests.unit.server.conftest import Recorder

DOCUMENT = described("/base/kitaru-nb/api")
VERBS = {"get", "post", "put", "delete", "patch", "head"}


def fits(name: str, value: Any) -> None:
    """Raise unless `value` is what the description says of documents called `name`."""
    whole = Resource(contents=DOCUMENT, specification=DRAFT202012)
    registry = Registry().with_resource("urn:document", whole)
    schema = {"$ref": f"urn:document#/components/schemas/{name}"}
    Draft202012Validator(schema, registry=registry).validate(value)


def test_it_describes_every_route_and_verb_and_no_others() -> None:
    live = {
        re.sub(r"\(\[\^/\]\+\)", "{}", pattern.removeprefix(ROOT)).replace("\\", ""): set(
            Leaf(pattern, handler).verbs
        )
        for pattern, handler in routes()
    }
    told = {
        re.sub(r"{.*?}", "{}", path): VERBS & operations.keys()
        for path, operations in DOCUMENT["paths"].items()
    }

    assert told == live


def test_every_operation_says_how_it_is_refused() -> None:
    for operations in DOCUMENT["paths"].values():
        for verb in VERBS & operations.keys():
            assert {"200", "403", "503"} <= operations[verb]["responses"].keys()


def test_the_server_gives_the_document_with_its_own_address(api: Api) -> None:
    found = api.found("openapi.json")

    assert found["openapi"] == "3.1.0"
    assert found["servers"] == [{"url": "/kitaru-nb/api"}]
    assert found["paths"] == json.loads(json.dumps(DOCUMENT["paths"]))


def test_real_documents_are_as_they_are_described(api: Api, recorder: Recorder) -> None:
    attempt = recorder.begin()
    stored = recorder.engine.put({"rows": [1, 2]}, namespace={})
    recorder.engine.store.flush()
    group = stored.artifact
    recorder.journal.commit(attempt, a_draft(name="load"), artifacts=[group], locations=stored.locations)
    wait = recorder.ask(attempt)
    recorder.journal.finish(attempt, ExecutionStatus.WAITING)

    fits("Show", api.found("executions/latest"))
    fits("Execution", api.found("executions")["executions"][0])
    fits("Wait", api.found(f"waits/{quoted(wait.address)}"))
    fits("Inputs", api.found("executions/latest/inputs", checkpoint="load"))
    fits("Why", api.found("executions/latest/why", checkpoint="load"))
    fits("Diff", api.found("diff", a="latest", b=attempt.execution))
    fits("Line", api.found("executions/latest/logs")["lines"][0])
    fits("Artifact", api.found("artifacts", ref=group.digest))
    fits("Error", api.get("executions/nothing").json())
    fits("Error", api.post(f"waits/{quoted(wait.address)}/answer", {"answer": 3}).json())


def test_the_event_is_as_its_schema_says(recorder: Recorder) -> None:
    schema = yaml.safe_load(Path(events._SCHEMA).read_text())
    attempt = recorder.begin()
    recorder.ask(attempt)

    found = events.changes(recorder.journal.events(), [], {}, seq=3)

    Draft202012Validator(schema).validate(found)
    assert schema["$id"] == events.CHANGED
    assert found == {"executions": [attempt.execution], "waits": [f"{attempt.execution}/publish"], "seq": 3}
