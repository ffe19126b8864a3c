"""What the API takes and gives: what OpenAPI says of it, and what is checked. How long texts may be, `guard` says."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from lxtlike.composites import COMPOSITES
from lxtlike.serve.jobs import State, Step
from lxtlike.targets import OBJECTIVES

MAX_NEW_TOKENS = 512
_ID, _PLACE = 2**31 - 1, 1_000_000


def _whole(value: Any) -> Any:
    """In JSON, 5.0 is an integer too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WHOLE = BeforeValidator(_whole)
CompositeName: TypeAlias = Literal[tuple(COMPOSITES)]  # type: ignore[valid-type]
ObjectiveName: TypeAlias = Literal[tuple(OBJECTIVES)]  # type: ignore[valid-type]
Text: TypeAlias = Annotated[str, Field(min_length=1)]
Choice: TypeAlias = Text | Annotated[int, Field(ge=0, le=_ID), _WHOLE]


class _Taken(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Message(_Taken):
    """One turn of a chat."""

    role: str = Field(min_length=1, max_length=50, description="system, user, assistant, ...")
    content: str


class _Asked(_Taken):
    text: Text | Annotated[list[Message], Field(min_length=1)] = Field(
        description="The input. A list of messages goes through the tokenizer's chat template."
    )
    completion: Text | None = Field(None, description="A continuation that is given, of language models.")
    objective: ObjectiveName = Field("logit", description="What is explained of the target.")
    composite: CompositeName | None = Field(
        None, description="Which rules; without it those that the server started with."
    )


class ExplanationRequest(_Asked):
    """One prediction to explain; the fields are the arguments of `Explainer.explain`."""

    target: Choice | None = Field(
        None, description="A token's text or a label, or an id. Without it, what the model puts first."
    )
    contrast: Choice | None = Field(None, description="Explain the target minus this one; mean: minus all.")
    position: Annotated[int, Field(ge=-_PLACE, le=_PLACE), _WHOLE] | None = Field(
        None, description="The token whose output is read; without it, as the task has it."
    )
    context: Text | None = Field(None, description="Where a question's answer stands, or the second text of a pair.")
    layers: bool = Field(False, description="Relevance behind every layer as well.")
    heads: bool = Field(False, description="Relevance of every attention head as well.")


class GenerationRequest(_Asked):
    """A continuation to generate, and to explain token by token."""

    max_new_tokens: Annotated[int, _WHOLE] = Field(20, ge=1, le=MAX_NEW_TOKENS, description="How many at most.")


class ProgressState(BaseModel):
    """How far a job is in what it does now."""

    step: Step
    done: int
    all: int


class JobState(BaseModel):
    """A job as it is now."""

    id: str
    state: State
    ahead: int = Field(description="How many jobs come first, while this one is queued.")
    progress: ProgressState | None
    error: str | None = Field(description="Why it failed.")


class CompositeState(BaseModel):
    """A set of rules."""

    name: str
    summary: str


class ModelState(BaseModel):
    """The model that is served, what can be chosen, and how much may be asked."""

    name: str
    task: str
    composite: str = Field(description="The one that is used where none is asked for.")
    composites: list[CompositeState]
    objectives: list[str]
    labels: list[str] = Field(description="Of a classifier.")
    generates: bool = Field(description="Whether the model writes texts.")
    mask: str | None = Field(description="What stands for the word that a masked language model fills in.")
    chat: bool = Field(description="Whether the tokenizer has a chat template.")
    examples: list[str]
    max_bytes: int
    max_new_tokens: int
    waiting: int = Field(description="How many jobs may wait.")
    versions: dict[str, str]


class Problem(BaseModel):
    """What was wrong, in a sentence."""

    error: str
