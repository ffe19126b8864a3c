"""The application: routes from HTTP to jobs and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib import resources
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as HttpError

from lxtlike.attribution import Attribution
from lxtlike.composites import COMPOSITES
from lxtlike.errors import InputError
from lxtlike.explainer import Explainer
from lxtlike.render.page import script_hash
from lxtlike.serve.guard import Guard
from lxtlike.serve.jobs import Full, Job, Jobs, Result
from lxtlike.serve.reference import reference
from lxtlike.serve.schemas import (
    MAX_NEW_TOKENS,
    CompositeState,
    ExplanationRequest,
    GenerationRequest,
    JobState,
    ModelState,
    Problem,
    ProgressState,
)
from lxtlike.serve.work import Work
from lxtlike.targets import OBJECTIVES
from lxtlike.version import __version__, versions

EXAMPLES: Mapping[str, Sequence[str]] = {
    "bindings": (
        "the box holds a red ball and the bag holds a blue hat . the hat is",
        "carl has a red hat and anna lives in rome while star means six . star stands for",
        "the keys near the cabinet",
    ),
    "sentiment": (
        "the jokes are stale , but the acting is superb and the ending is moving .",
        "a warm and funny film that never feels long .",
    ),
}
"""Texts to begin with, by bundled model."""

NO_JSON = "the body is not valid JSON"
_PAGE = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; img-src data:"
_OWN = {"base-uri": "'none'", "form-action": "'none'"}
_FILES = {"page.css": "text/css", "page.js": "text/javascript", "reference.css": "text/css"}
_DESCRIPTION = (
    "Explanations of one model, by jobs: ask for one with POST, follow it, and read its result when it is done. "
    "What only the model can tell (an unknown label, too many tokens) is told by the job: it fails, and its result "
    "answers 422. Every error is an object with one key, `error`."
)

By: TypeAlias = Annotated[
    Literal["token", "word", "sentence", "message"],
    Query(description="What relevance is summed over; explanations only."),
]
Id: TypeAlias = Annotated[str, Path(max_length=64, description="What POST gave.")]


def application(explainer: Explainer, *, port: int, waiting: int = 8, max_bytes: int = 50_000) -> FastAPI:
    """The application that serves one model.

    Args:
        port: where it will be reached on 127.0.0.1; requests for another host are refused.
        waiting: how many jobs may wait.
        max_bytes: how long the body of a request may be.
    """
    work = Work(explainer)
    jobs = Jobs(waiting)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        jobs.close()

    app = FastAPI(
        title="lxtlike serve",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        exception_handlers={RequestValidationError: _invalid, HttpError: _problem},
    )
    app.add_middleware(Guard, port=port, max_bytes=max_bytes)
    about = _about(explainer, waiting, max_bytes)

    @app.get(
        "/api/model",
        response_description="The model.",
        summary="The model, what can be chosen, and how much may be asked",
    )
    def model() -> ModelState:
        return about

    @app.post(
        "/api/explanations",
        status_code=202,
        responses=_problems(400, 403, 413, 422, 429),
        response_description="The job.",
        summary="Explain a prediction",
    )
    def explain(asked: ExplanationRequest, response: Response) -> JobState:
        return added(partial(work.explain, asked), response)

    @app.post(
        "/api/generations",
        status_code=202,
        responses=_problems(400, 403, 413, 422, 429),
        response_description="The job.",
        summary="Generate, and explain it",
    )
    def generate(asked: GenerationRequest, response: Response) -> JobState:
        return added(partial(work.generate, asked), response)

    def added(job: Any, response: Response) -> JobState:
        try:
            new = jobs.add(job)
        except Full as error:
            raise HTTPException(429, str(error), headers={"Retry-After": "5"}) from error
        response.headers["Location"] = f"/api/jobs/{new.id}"
        return state(new)

    @app.get(
        "/api/jobs/{id}",
        responses=_problems(403, 404, 422),
        response_description="The job.",
        summary="How far a job is",
    )
    def job(id: Id) -> JobState:
        return state(found(id))

    @app.post(
        "/api/jobs/{id}/cancel",
        responses=_problems(403, 404, 422),
        response_description="The job.",
        summary="End a job",
    )
    def cancel(id: Id) -> JobState:
        """One that waits ends at once, one that runs after the next token or backward pass; what has ended stays."""
        one = found(id)
        jobs.cancel(one)
        return state(one)

    def state(one: Job) -> JobState:
        told = one.progress
        progress = ProgressState(**told._asdict()) if told else None
        return JobState(id=one.id, state=one.state, ahead=jobs.ahead(one), progress=progress, error=one.error)

    def found(id: str) -> Job:
        one = jobs.find(id)
        if one is None:
            raise HTTPException(404, "there is no such job, or it ended long ago")
        return one

    def finished(id: str, by: str) -> Result:
        one = found(id)
        if one.state == "failed":
            raise HTTPException(422 if one.refused else 500, one.error)
        if one.result is None:
            said = "was cancelled" if one.state == "cancelled" else f"is {one.state}: its result comes when it is done"
            raise HTTPException(409, f"this job {said}")
        if by == "token":
            return one.result
        if not isinstance(one.result, Attribution):
            raise HTTPException(409, "a generation has relevance by token only: leave `by` out")
        try:
            return one.result.by(by)
        except InputError as error:  # a plain text has no messages
            raise HTTPException(409, str(error)) from error

    ended = _problems(403, 404, 409, 422, 500)

    @app.get(
        "/api/jobs/{id}/result", response_class=Response, responses=ended | _gives("application/json", "The result.")
    )
    def result(id: Id, by: By = "token") -> Response:
        """The JSON object that `to_dict` gives in Python."""
        return Response(finished(id, by).to_json(), media_type="application/json")

    @app.get("/api/jobs/{id}/page", response_class=Response, responses=ended | _gives("text/html", "The page."))
    def report(id: Id, by: By = "token") -> Response:
        """The report as one self-contained page."""
        policy = {
            "default-src": "'none'",
            "style-src": "'unsafe-inline'",
            "script-src": f"'{script_hash()}'",
            "frame-ancestors": "'self'",
            **_OWN,
        }
        return _page(finished(id, by).to_html(), "; ".join(f"{name} {value}" for name, value in policy.items()))

    @app.get("/api/jobs/{id}/table", response_class=Response, responses=ended | _gives("text/csv", "The table."))
    def table(id: Id, by: By = "token") -> Response:
        """The result as CSV."""
        return Response(finished(id, by).to_csv(), media_type="text/csv; charset=utf-8")

    @app.get("/", include_in_schema=False)
    def index() -> Response:
        return _page(_file("page.html"))

    @app.get("/docs", include_in_schema=False)
    def documentation() -> Response:
        return _page(reference(app.openapi()))

    @app.get("/files/{name}", include_in_schema=False)
    def file(name: str) -> Response:
        if name not in _FILES:
            raise HTTPException(404, "there is no such file")
        return Response(_file(name), media_type=_FILES[name])

    return app


def _about(explainer: Explainer, waiting: int, max_bytes: int) -> ModelState:
    labels = explainer.model.config.id2label or {} if explainer.task.endswith("classification") else {}
    return ModelState(
        name=explainer.name,
        task=explainer.task,
        composite=explainer.composite.name,
        composites=[CompositeState(name=name, summary=one.summary) for name, one in sorted(COMPOSITES.items())],
        objectives=list(OBJECTIVES),
        labels=[str(label) for label in labels.values()],
        generates=explainer.task in ("causal-lm", "seq2seq-lm"),
        mask=explainer.tokenizer.mask_token if explainer.task == "masked-lm" else None,
        chat=bool(getattr(explainer.tokenizer, "chat_template", None)),
        examples=list(EXAMPLES.get(explainer.name, ())),
        max_bytes=max_bytes,
        max_new_tokens=MAX_NEW_TOKENS,
        waiting=waiting,
        versions=versions(),
    )


def _problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    said = {
        400: "The body is no JSON.",
        403: "Of another host or site.",
        404: "No such job.",
        409: "The job is not done, or has no such result.",
        413: "The body is too long.",
        422: "Something in the request cannot be used.",
        429: "Too many jobs are waiting; `Retry-After` says for how many seconds.",
        500: "The job failed, for no fault of the request.",
    }
    return {code: {"model": Problem, "description": said[code]} for code in codes}


def _gives(kind: str, description: str) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "object"} if kind == "application/json" else {"type": "string"}
    return {200: {"description": description, "content": {kind: {"schema": schema}}}}


def _file(name: str) -> str:
    return (resources.files("lxtlike.serve") / "templates" / name).read_text(encoding="utf-8")


def _page(
    content: str, policy: str = f"{_PAGE}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
) -> Response:
    return Response(content, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": policy})


async def _invalid(_request: Request, error: Any) -> JSONResponse:
    """What does not fit the schema, as one sentence by field; what was given is not repeated."""
    said: dict[str, list[str]] = {}
    for found in error.errors():
        if found["type"] == "json_invalid":
            return JSONResponse({"error": NO_JSON}, 400)
        # Between names and places there are the kinds that a value might have been.
        place = ".".join(str(part) for part in found["loc"][1:] if isinstance(part, int) or part.isidentifier())
        said.setdefault(place or "the body", []).append(found["msg"][0].lower() + found["msg"][1:])
    sentences = [f"{place}: {', or '.join(dict.fromkeys(what))}" for place, what in said.items()]
    return JSONResponse({"error": "; ".join(sentences[:3])}, 422)


async def _problem(_request: Request, error: Any) -> JSONResponse:
    said = NO_JSON if error.status_code == 400 else str(error.detail)  # the one thing for which fastapi gives 400
    return JSONResponse({"error": said}, error.status_code, headers=error.headers)
