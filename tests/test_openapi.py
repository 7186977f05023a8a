"""The OpenAPI document names everything, and the service keeps to it."""

import asyncio
import json
import os
from types import SimpleNamespace

import bentoml
import httpx
import pytest
import schemathesis
from conftest import Server
from hypothesis import HealthCheck, given, settings

from serving import routes
from serving.settings import Settings


def test_docs_name_every_endpoint_and_error(tiny_server: Server) -> None:
    document = httpx.get(f"{tiny_server.url}/docs.json").json()
    posts = {path for path, item in document["paths"].items() if "post" in item}
    assert posts == set(POSTS)
    for path in posts:
        responses = document["paths"][path]["post"]["responses"]
        always = {"200", "400", "401", "408", "413", "415", "422", "429", "500"}
        more = {"504"} if path in ON_DOCUMENTS else {"404", "503"} if path == "/v1/corrections" else set()
        assert set(responses) == always | more
        for status in set(responses) - {"200"}:
            assert responses[status]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorResponse"}
    for path in set(document["paths"]) - posts:
        assert httpx.get(f"{tiny_server.url}{path}").status_code == 200, path
    assert {"/v1/topics", "/v1/info", "/", "/healthz", "/readyz", "/metrics", "/docs.json"} <= set(document["paths"])
    assert document["components"]["schemas"]["TopicId"]["enum"] == ["finance", "screening"]
    references = {part.split('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]}
    assert references == set(document["components"]["schemas"])


@pytest.mark.parametrize("keys", [{"api_key": "a"}, {"api_keys": f"desk={'0' * 64}"}, {"api_keys_file": "keys.json"}, {}])
def test_docs_say_that_a_key_is_needed(monkeypatch: pytest.MonkeyPatch, keys: dict[str, str]) -> None:
    """A client that was generated from them could not authenticate itself otherwise."""
    monkeypatch.setattr(routes, "settings", Settings(**keys))
    monkeypatch.setattr(bentoml, "get_current_service", lambda: SimpleNamespace(model=SimpleNamespace(topics=[])))
    document = json.loads(asyncio.run(routes.docs(None)).body)
    assert ("securitySchemes" in document["components"]) is bool(keys)
    assert document["paths"]["/v1/topics"]["get"].get("security") == ([{"key": []}] if keys else None)


ON_DOCUMENTS = ("/v1/analyze", "/v1/classify", "/v1/summarize", "/v1/files")
POSTS = (*ON_DOCUMENTS, "/v1/corrections", "/v1/label-studio/export", "/v1/label-studio/import")
GETS = ("/v1/topics", "/v1/info", "/", "/docs.json", "/livez", "/healthz", "/readyz", "/metrics")
POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
# A quick run in ``make test``; ``make nightly`` says how many.
CASES = int(os.environ.get("WENZHAI_CONTRACT_CASES", "25"))
BOUNDED = settings(
    max_examples=CASES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize(
    "path, method, mode",
    [*((path, "POST", mode) for path in POSTS for mode in (POSITIVE, NEGATIVE)), *((path, "GET", POSITIVE) for path in GETS)],
)
def test_the_service_keeps_to_its_document(
    tiny_server: Server, path: str, method: str, mode: schemathesis.GenerationMode
) -> None:
    """Schemathesis makes requests from the document, right and wrong ones, and compares the answers with it."""
    schema = schemathesis.openapi.from_url(f"{tiny_server.url}/docs.json")
    statuses = []

    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    @BOUNDED
    def check(case: schemathesis.Case) -> None:
        statuses.append(case.call_and_validate(base_url=tiny_server.url).status_code)

    check()
    assert (404 if path == "/v1/corrections" else 200 if mode is POSITIVE else 422) in statuses  # 404: none are stored here


def test_answers_lead_to_requests(tiny_server: Server) -> None:
    """Stateful: schemathesis follows the document's links, from the topics to the requests that name them."""
    schema = schemathesis.openapi.from_url(f"{tiny_server.url}/docs.json")
    schema.config.update(base_url=tiny_server.url)
    asked = []

    class Workflow(schema.as_state_machine()):  # type: ignore[misc]
        def after_call(self, response: schemathesis.Response, case: schemathesis.Case) -> None:
            asked.append((case.operation.path, response.status_code))

    Workflow.run(settings=settings(BOUNDED, max_examples=max(5, CASES // 5), stateful_step_count=4))
    assert ("/v1/topics", 200) in asked and {"/v1/classify", "/v1/summarize"} & {path for path, _ in asked}
