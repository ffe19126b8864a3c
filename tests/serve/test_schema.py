"""The API against its own OpenAPI document: whatever fits it is answered, whatever does not is refused, never with a 500."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from serving import served

from lxtlike import Explainer

OPERATIONS = [
    ("/api/model", "GET"),
    ("/api/explanations", "POST"),
    ("/api/generations", "POST"),
    ("/api/jobs/{id}", "GET"),
    ("/api/jobs/{id}/cancel", "POST"),
    ("/api/jobs/{id}/result", "GET"),
    ("/api/jobs/{id}/page", "GET"),
    ("/api/jobs/{id}/table", "GET"),
]
POSITIVE = [(*operation, GenerationMode.POSITIVE) for operation in OPERATIONS]
NEGATIVE = [(*operation, GenerationMode.NEGATIVE) for operation in OPERATIONS[1:]]  # the first takes nothing


@pytest.fixture(scope="module")
def address(explainer: Explainer) -> Iterator[str]:
    with served(explainer, waiting=1000) as address:
        yield address


@pytest.fixture(scope="module")
def described(address: str) -> Any:
    return schemathesis.openapi.from_url(f"{address}/openapi.json")


def result(address: str, job: Mapping[str, Any]) -> requests.Response:
    """The answer with the result of a job that has ended, or that is forgotten."""
    url = f"{address}/api/jobs/{job['id']}/result"
    until = time.monotonic() + 60
    while (answer := requests.get(url, timeout=10)).status_code == 409 and time.monotonic() < until:
        time.sleep(0.02)
    return answer


def test_all_operations_are_here(described: Any) -> None:
    found = [operation.ok() for operation in described.get_all_operations()]
    assert [(operation.path, operation.method.upper()) for operation in found] == OPERATIONS


@pytest.mark.parametrize(("path", "method", "mode"), POSITIVE + NEGATIVE)
def test_it_does_what_its_document_says(
    described: Any, address: str, path: str, method: str, mode: GenerationMode
) -> None:
    asked = {"text": "the box holds a red ball"}
    done = requests.post(f"{address}/api/explanations", json=asked, timeout=10).json()
    assert result(address, done).status_code == 200
    jobs = []

    @given(case=described[path][method].as_strategy(generation_mode=mode))
    @settings(
        max_examples=20,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        if "{id}" in path and mode is GenerationMode.POSITIVE:
            case.path_parameters = {"id": done["id"]}  # or all it would ever see is 404
        if isinstance(case.body, dict) and "max_new_tokens" in case.body and mode is GenerationMode.POSITIVE:
            case.body["max_new_tokens"] = 2  # what is generated takes time and is not what is tested
        answer = case.call_and_validate()
        if answer.status_code == 202:
            jobs.append(answer.json())

    check()
    for job in jobs:
        answer = result(address, job)
        assert answer.status_code in (200, 422, 404), answer.text
