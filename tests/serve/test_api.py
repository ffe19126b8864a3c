"""The API gives what Python gives, and says clearly what it cannot do."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from serving import Client

from lxtlike import Explainer

sys.path.insert(0, str(Path(__file__).parents[1] / "propagation"))

import tiny_models
from explaining import untouched

TEXT = "the box holds a red ball and the bag holds a blue hat . the hat is"
REVIEW = "the jokes are stale , but the acting is superb ."


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"target": "red"},
        {"target": 50, "contrast": "blue", "objective": "logprob"},
        {"contrast": "mean", "layers": True, "heads": True},
        {"completion": "red ball", "objective": "logprob"},
        {"position": 3},
    ],
    ids=str,
)
def test_an_explanation_is_that_of_python(client: Client, explainer: Explainer, options: dict[str, Any]) -> None:
    job = client.ask("explanations", text=TEXT, **options)
    assert client.result(job).json() == explainer.explain(TEXT, **options).to_dict()


def test_another_composite_shares_the_model(client: Client, explainer: Explainer) -> None:
    composite = "input-x-gradient"
    own = Explainer(explainer.model, explainer.tokenizer, composite=composite, name="bindings")
    expected = own.explain(TEXT).to_dict()
    assert client.result(client.ask("explanations", text=TEXT, composite=composite)).json() == expected
    assert client.result(client.ask("explanations", text=TEXT, composite="attnlrp")).json()["composite"] == "attnlrp"


def test_a_generation_is_that_of_python(client: Client, explainer: Explainer) -> None:
    job = client.ask("generations", text=TEXT, max_new_tokens=4)
    assert client.result(job).json() == explainer.generate(TEXT, max_new_tokens=4).to_dict()
    assert client.wait(job)["progress"] == {"step": "explaining", "done": 4, "all": 4}
    given = client.ask("generations", text=TEXT, completion="red .")
    assert client.result(given).json() == explainer.generate(TEXT, completion="red .").to_dict()


def test_a_class(serving: Callable[..., Client], classifier: Explainer) -> None:
    client = serving(classifier)
    assert client.get("/api/model").json()["labels"] == ["negative", "positive"]
    job = client.ask("explanations", text=REVIEW, target="negative", contrast="positive")
    expected = classifier.explain(REVIEW, "negative", contrast="positive")
    assert client.result(job).json() == expected.to_dict()
    assert client.result(job, by="word").json() == expected.by("word").to_dict()
    generation = client.result(client.ask("generations", text=REVIEW))
    assert generation.status_code == 422
    assert "continues a text" in generation.json()["error"]


@pytest.mark.parametrize(("kind", "generates"), [("question-answering", False), ("seq2seq-lm", True)])
def test_other_tasks(serving: Callable[..., Client], kind: str, generates: bool) -> None:
    explainer = Explainer(tiny_models.model(kind), tiny_models.tokenizer())
    if generates:
        explainer.model.generation_config.num_beams = 2  # as many summarisers have it
    client = serving(explainer)
    assert client.get("/api/model").json()["generates"] is generates
    given = {"text": "the red ball is", "context": None if generates else "the box holds a red ball"}
    answer = client.result(client.ask("explanations", **given))
    assert client.result(client.ask("explanations", **given)).json() == explainer.explain(**given).to_dict()
    for choice in answer.json()["prediction"][:2]:
        one = client.result(client.ask("explanations", **given, target=choice["id"])).json()
        assert (one["target"]["id"], one["target"]["token"]) == (choice["id"], choice["token"])
    generation = client.result(client.ask("generations", text="the red ball is", max_new_tokens=3))
    assert generation.status_code == (200 if generates else 422)


def test_a_chat(serving: Callable[..., Client], chatting: Explainer) -> None:
    messages = [{"role": "system", "content": "the box"}, {"role": "user", "content": "holds a red ball"}]
    client = serving(chatting)
    assert client.get("/api/model").json()["chat"] is True
    client.result(client.ask("explanations", text=messages))
    job, expected = client.ask("explanations", text=messages), chatting.explain(messages, chat=True)
    assert client.result(job).json() == expected.to_dict()
    assert client.result(job, by="message").json() == expected.by("message").to_dict()
    generation = client.ask("generations", text=messages, max_new_tokens=2)
    assert client.result(generation).json() == chatting.generate(messages, chat=True, max_new_tokens=2).to_dict()


def test_other_forms_of_a_result(client: Client, explainer: Explainer) -> None:
    job, expected = client.ask("explanations", text=TEXT), explainer.explain(TEXT)
    page = client.result(job, "page", by="word")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text == expected.by("word").to_html()
    table = client.result(job, "table")
    assert table.headers["content-type"].startswith("text/csv")
    assert table.text == expected.to_csv()
    generation = client.ask("generations", text=TEXT, max_new_tokens=2)
    assert client.result(generation, "page").status_code == 200
    refused = client.result(generation, by="word")
    assert refused.status_code == 409
    assert "by token only" in refused.json()["error"]
    assert client.result(job, by="message").status_code == 409  # a plain text has no parts


def test_the_model_says_what_can_be_chosen(client: Client, explainer: Explainer) -> None:
    told = client.get("/api/model").json()
    assert (told["name"], told["task"], told["composite"]) == ("bindings", "causal-lm", "attnlrp")
    assert "cp-lrp" in [composite["name"] for composite in told["composites"]]
    assert (told["labels"], told["mask"], told["chat"]) == ([], None, False)
    for text in told["examples"]:
        assert explainer.explain(text).tokens


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"text": ""}, "text: string should have at least 1 character"),
        ({}, "text: field required"),
        ({"text": "a", "targets": "b"}, "targets: extra inputs"),
        ({"text": "a", "target": True}, "target: input should be a valid string"),
        ({"text": "a", "target": -1}, "target: "),
        ({"text": "a", "objective": "best"}, "objective: input should be 'logit', 'centered'"),
        ({"text": "a", "composite": "/etc/passwd"}, "composite: input should be 'attnlrp'"),
        ({"text": "a", "composite": "gamma:gamma=1"}, "composite: input should be 'attnlrp'"),
        ({"text": [{"role": "user"}]}, "text.0.content: field required"),
    ],
    ids=str,
)
def test_what_does_not_fit_the_schema(client: Client, asked: dict[str, Any], said: str) -> None:
    answer = client.post("/api/explanations", json=asked)
    assert answer.status_code == 422
    assert said in answer.json()["error"]
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 40_000, b'{"text": "\\ud800"}', b'{"text": NaN}', b"9" * 5000]
)
def test_what_is_no_json(client: Client, body: bytes) -> None:
    answer = client.post("/api/explanations", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]


def test_a_whole_number_may_be_written_as_a_fraction(client: Client) -> None:
    assert client.result(client.ask("generations", text="the", max_new_tokens=2.0)).status_code == 200
    assert client.post("/api/generations", json={"text": "the", "max_new_tokens": 2.5}).status_code == 422


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"text": "   "}, "text"),
        ({"text": "the " * 2000}, "the model takes at most"),
        ({"text": "the", "target": 10_000}, "out of range"),
        ({"text": "the", "position": 99}, "out of range"),
        ({"text": "the", "contrast": "red", "target": "red"}, "their difference is 0"),
        ({"text": [{"role": "user", "content": "hi"}]}, "no chat template"),
    ],
    ids=["blank", "long", "target", "position", "contrast", "chat"],
)
def test_what_only_the_model_can_refuse(client: Client, asked: dict[str, Any], said: str) -> None:
    job = client.ask("explanations", **asked)
    answer = client.result(job)
    assert answer.status_code == 422
    assert said in answer.json()["error"]
    assert client.wait(job)["error"] == answer.json()["error"]


def test_unknown_jobs_and_paths(client: Client) -> None:
    for path in ("", "/result", "/page", "/table"):
        assert client.get(f"/api/jobs/unknown{path}").status_code == 404
    assert client.post("/api/jobs/unknown/cancel").json() == {"error": "there is no such job, or it ended long ago"}
    assert client.get("/files/app.py").status_code == 404
    assert client.get("/files/..%2Fapp.py").status_code == 404
    wrong = client.delete("/api/model")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")


def test_a_long_job_shows_progress_waits_and_can_be_cancelled(
    serving: Callable[..., Client], explainer: Explainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One that ends itself soon would leave nothing to see.
    monkeypatch.setattr(explainer.model.generation_config, "eos_token_id", None)
    client = serving(explainer, waiting=1)
    with untouched(explainer.model):
        long = client.ask("generations", text=TEXT, max_new_tokens=100)
        seen = client.wait(long, "running")
        waiting = client.ask("explanations", text=TEXT)
        assert (waiting["state"], waiting["ahead"]) == ("queued", 1)
        full = client.post("/api/explanations", json={"text": TEXT})
        assert (full.status_code, full.headers["retry-after"]) == (429, "5")
        early = client.get(f"/api/jobs/{long['id']}/result")
        assert early.status_code == 409
        assert "is running" in early.json()["error"]
        while not seen["progress"] or seen["progress"]["step"] != "explaining":
            assert seen["state"] == "running"
            seen = client.get(f"/api/jobs/{long['id']}").json()
        assert seen["progress"]["all"] == 100
        began = time.monotonic()
        client.post(f"/api/jobs/{long['id']}/cancel")
        assert client.wait(long)["state"] == "cancelled"
        assert time.monotonic() - began < 5
        late = client.get(f"/api/jobs/{long['id']}/page")
        assert late.status_code == 409
        assert "was cancelled" in late.json()["error"]
        assert client.result(waiting).json() == explainer.explain(TEXT).to_dict()


def test_cancelling_while_it_generates(client: Client, explainer: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explainer.model.generation_config, "eos_token_id", None)
    with untouched(explainer.model):
        long = client.ask("generations", text=TEXT, max_new_tokens=100)
        while not (client.wait(long, "running")["progress"] or {}).get("done"):
            pass
        client.post(f"/api/jobs/{long['id']}/cancel")
        ended = client.wait(long)
    assert ended["state"] == "cancelled"
    assert ended["progress"]["step"] == "generating"
    assert client.result(client.ask("generations", text=TEXT, max_new_tokens=2)).status_code == 200


def test_many_ask_at_once(serving: Callable[..., Client], explainer: Explainer) -> None:
    client = serving(explainer, waiting=20)
    words = ["red", "blue", "green", "pink"] * 3
    with ThreadPoolExecutor(6) as pool, untouched(explainer.model):
        jobs = list(pool.map(lambda word: client.ask("explanations", text=TEXT, target=word), words))
        found = list(pool.map(lambda job: client.result(job).json(), jobs))
    assert [one["target"]["token"] for one in found] == words
    assert found[0] == found[4] == explainer.explain(TEXT, "red").to_dict()


def test_the_reference_names_everything(client: Client) -> None:
    page = client.get("/docs").text
    described = client.get("/openapi.json").json()
    for path in described["paths"]:
        assert path in page
    for name in described["components"]["schemas"]["ExplanationRequest"]["properties"]:
        assert f"<code>{name}</code>" in page
    assert "HTTPValidationError" not in json.dumps(described)
    assert "http" not in page.lower().replace("http-equiv", "")  # nothing of another place
