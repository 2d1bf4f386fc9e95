"""The fields that requests may have, and the description of requests and answers in OpenAPI."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nmt import __version__


class TranslateRequest(BaseModel):
    """A request to translate, with the fields of LibreTranslate and further ones."""

    model_config = ConfigDict(extra="ignore")

    q: Annotated[str | list[str], Field(description="A text, or a list of texts. Each line is translated separately.")]
    source: Annotated[str, Field(description="The source language, or auto.")] = "auto"
    target: Annotated[str, Field(description="The target language; empty for the model's.")] = ""
    format: Literal["text", "html"] = "text"
    alternatives: Annotated[int, Field(ge=0, le=20, description="Further translations of each text.")] = 0
    api_key: str = ""
    model: Annotated[str, Field(description="The name of a model; empty for the first.")] = ""
    alignment: Annotated[bool, Field(description="Words with character offsets, links and the matrix.")] = False
    scores: Annotated[bool, Field(description="Scores and log-probabilities in nats.")] = False
    confidence: Annotated[bool, Field(description="The model's confidence in each target word, 0 to 1.")] = False
    prefix: Annotated[str, Field(description="What the translation must begin with.")] = ""
    require: Annotated[
        list[str], Field(max_length=20, description="Phrases that the translation must have, as whole words.")
    ] = []
    forbid: Annotated[
        list[str], Field(max_length=100, description="Phrases that the translation must not have, as whole words.")
    ] = []
    hide: Annotated[
        list[tuple[int, int]],
        Field(max_length=100, description="Spans of source characters that attention may not look at."),
    ] = []


class SuggestRequest(BaseModel):
    """A request for words that could follow the beginning of a translation."""

    q: Annotated[str, Field(description="One line of source text.")]
    prefix: Annotated[str, Field(description="The beginning of the translation, up to the end of a word.")] = ""
    count: Annotated[int, Field(ge=1, le=50)] = 8
    look_at: Annotated[
        tuple[int, int] | None,
        Field(description="The span of source characters that attention looks at for this word; all if it is missing."),
    ] = None
    model: str = ""
    api_key: str = ""


def openapi(title: str) -> dict[str, Any]:
    """Return the OpenAPI description of the interface."""

    def body(model: type[BaseModel]) -> dict[str, Any]:
        schema = {"schema": model.model_json_schema()}
        return {"required": True, "content": {"application/json": schema, "application/x-www-form-urlencoded": schema}}

    def answers(text: str, kind: str = "application/json") -> dict[str, Any]:
        error = {"application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}}
        codes = {"400": "wrong", "403": "no key", "408": "too slow", "413": "too long", "503": "busy"}
        return {
            "200": {"description": text, "content": {kind: {}}},
            **{code: {"description": why, "content": error} for code, why in codes.items()},
        }

    def get(summary: str, text: str, kind: str = "application/json") -> dict[str, Any]:
        return {"get": {"summary": summary, "responses": answers(text, kind)}}

    translate = {"summary": "Translate texts", "requestBody": body(TranslateRequest)}
    stream = {
        "summary": "Translate texts, with a server-sent event for each line",
        "requestBody": body(TranslateRequest),
    }
    detect = {
        "summary": "The language of the first model's source",
        "requestBody": body(TranslateRequest) | {"required": False},
    }
    suggest = {"summary": "Words that could come next", "requestBody": body(SuggestRequest)}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": __version__},
        "paths": {
            "/translate": {"post": translate | {"responses": answers("translatedText, and what was asked for")}},
            "/translate/stream": {
                "post": stream | {"responses": answers("events, each with the number of its line", "text/event-stream")}
            },
            "/detect": {"post": detect | {"responses": answers("a list with one language")}},
            "/suggest": {
                "post": suggest | {"responses": answers("words with probabilities, and whether a space comes before")}
            },
            "/languages": get("The languages of the models", "a list"),
            "/models": get("The models", "a list with languages and what each is"),
            "/health": get("Whether the server answers", "status"),
            "/frontend/settings": get("Limits", "settings as LibreTranslate gives them"),
            "/metrics": get("Counts for Prometheus", "text", "text/plain"),
        },
    }
