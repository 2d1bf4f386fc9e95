"""The HTTP routes of the server."""

import asyncio
import contextlib
import hmac
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from nmt import alignment
from nmt.errors import NmtError
from nmt.serve.answers import (
    answer_of,
    calibration_for,
    check_count,
    check_size,
    job_of,
    keys_of,
    lines_of,
    refuse_if_all_failed,
    unsupported,
)
from nmt.serve.guard import Guard, Limits, Refused, body_of, error_response, validated
from nmt.serve.models import ServedModel, examples_of
from nmt.serve.prometheus import prometheus_text
from nmt.serve.schema import SuggestRequest, TranslateRequest, openapi

if TYPE_CHECKING:  # it imports torch, and the page can be sent before that is done
    from nmt.decoding.translation import Translation
    from nmt.runs.load import LoadedModel
    from nmt.serve.batcher import Batcher

STATIC = Path(__file__).parent / "static"
_SHARED = Path(alignment.__file__).parent / "page"  # files that the page shares with the report
_FILES = {
    "page.css": (_SHARED, "text/css"),
    "cards.js": (_SHARED, "text/javascript"),
    "page.js": (STATIC, "text/javascript"),
    "docs.js": (STATIC, "text/javascript"),
}
_TOO_MANY = "too many lines are waiting; try again in a second"
_Answer = Callable[[dict[str, Any]], Coroutine[Any, Any, Response]]


class Server:
    """The routes, and the models that they use."""

    def __init__(self, models: Sequence[ServedModel], limits: Limits, metrics_file: Path | None = None):
        """Take the parts.

        Args:
            models: at least one, unless only a training run is shown.
            limits: the limits on requests.
            metrics_file: ``metrics.jsonl`` of a training run to show; None for none.
        """
        self.models, self.limits, self.metrics_file = list(models), limits, metrics_file
        self.counts: Counter[str] = Counter()

    def app(self) -> ASGIApp:
        """Return the application."""
        routes = [
            Route("/", self._page),
            Route("/docs", self._docs),
            Route("/static/{name}", self._static),
            Route("/openapi.json", self._openapi),
            Route("/translate", self._post(self._translate), methods=["POST"]),
            Route("/translate/stream", self._post(self._stream), methods=["POST"]),
            Route("/suggest", self._post(self._suggest), methods=["POST"]),
            Route("/detect", self._post(self._detect), methods=["POST"]),
            Route("/languages", self._languages),
            Route("/models", self._models),
            Route("/health", self._health),
            Route("/frontend/settings", self._settings),
            Route("/examples", self._examples),
            Route("/training", self._training),
            Route("/metrics", self._metrics),
        ]

        @contextlib.asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            for model in self.models:
                model.start()
            yield
            for model in self.models:
                await model.stop()

        handlers: dict[Any, Any] = {404: _not_found, 405: _not_found, 500: _failed}
        return Guard(Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers), self.limits)

    def _post(self, answer: _Answer) -> Callable[[Request], Awaitable[Response]]:
        """Return a handler that reads a body, checks the key, calls `answer`, and turns errors into responses."""

        async def handle(request: Request) -> Response:
            try:
                body = await asyncio.wait_for(body_of(request, self.limits.body), self.limits.seconds)
                self._check_key(request, body)
                work = asyncio.create_task(answer(body))
                gone = asyncio.create_task(_gone(request))
                done, _ = await asyncio.wait({work, gone}, timeout=self.limits.seconds, return_when="FIRST_COMPLETED")
                gone.cancel()
                if work in done:
                    return self._counted(work.result())
                work.cancel()
                if gone in done:
                    return self._counted(error_response(400, "the client went away"))
                raise Refused(503, f"the request took longer than {self.limits.seconds:.0f} s; ask for less text")
            except Refused as error:
                return self._counted(error_response(error.status, error.message))
            except TimeoutError:
                return self._counted(error_response(408, "the request did not arrive in time"))
            except ClientDisconnect:
                return self._counted(error_response(400, "the client went away"))

        return handle

    def _counted(self, response: Response) -> Response:
        self.counts[str(response.status_code)] += 1
        return response

    def _check_key(self, request: Request, body: dict[str, Any]) -> None:
        if self._refuses(request, str(body.get("api_key") or "")):
            raise Refused(403, "this server needs an API key (api_key)")

    def _refuses(self, request: Request, given: str = "") -> bool:
        """Return whether the server requires a key and neither `given` nor the headers have it."""
        wanted = self.limits.api_key
        given = given or request.headers.get("authorization", "").removeprefix("Bearer ")
        return wanted is not None and not hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())

    async def _translate(self, body: dict[str, Any]) -> Response:
        asked = validated(TranslateRequest, body)
        texts = [asked.q] if isinstance(asked.q, str) else asked.q
        check_size(self.limits, texts, asked.prefix, [*asked.require, *asked.forbid])
        loaded, batcher = await self._chosen(asked)
        found = await self._translations(asked, texts, batcher)
        refuse_if_all_failed([answer for lines in found for _, answer in lines])
        calibration = calibration_for(loaded, asked)
        answers = [answer_of(asked, *each, calibration) for each in zip(texts, found, strict=True)]
        return JSONResponse(self._joined(asked, answers, loaded.config.data.languages[0]))

    @staticmethod
    def _joined(asked: TranslateRequest, answers: list[dict[str, Any]], language: str) -> dict[str, Any]:
        """Join the answers of all texts: one text keeps its answer; a list of texts gets a list under each key."""
        joined: dict[str, Any] = dict(answers[0])
        if not isinstance(asked.q, str):
            joined = {key: [one[key] for one in answers] for key in keys_of(asked)}
            if any("errors" in one for one in answers):
                joined["errors"] = [one.get("errors") for one in answers]
        if asked.source == "auto":
            detected = {"confidence": 100, "language": language}
            joined["detectedLanguage"] = detected if isinstance(asked.q, str) else [detected] * len(answers)
        return joined

    async def _translations(
        self, asked: TranslateRequest, texts: Sequence[str], batcher: "Batcher"
    ) -> "list[list[tuple[str, Translation | NmtError]]]":
        """Split each text into lines and return each line with its translation or an error, grouped by text."""
        from nmt.serve.batcher import Busy

        jobs, owners = [], []
        for owner, text in enumerate(texts):
            for line in lines_of(text, asked.format):
                jobs.append(job_of(asked, line))
                owners.append((owner, line))
        check_count(len(jobs), asked, batcher.limit)
        try:
            answers = await batcher.translate(jobs)
        except Busy:
            raise Refused(503, _TOO_MANY) from None
        found: list[list[tuple[str, Translation | NmtError]]] = [[] for _ in texts]
        for (owner, line), answer in zip(owners, answers, strict=True):
            found[owner].append((line, answer))
        return found

    async def _stream(self, body: dict[str, Any]) -> Response:
        asked = validated(TranslateRequest, body)
        texts = [asked.q] if isinstance(asked.q, str) else asked.q
        check_size(self.limits, texts, asked.prefix, [*asked.require, *asked.forbid])
        if asked.format == "html":
            raise Refused(400, "a stream has one event for each line of text; send HTML to /translate")
        lines = [line for text in texts for line in text.split("\n")]
        loaded, batcher = await self._chosen(asked)
        check_count(len(lines), asked, batcher.limit)
        calibration = calibration_for(loaded, asked)
        deadline = asyncio.get_running_loop().time() + self.limits.seconds

        async def events() -> AsyncIterator[str]:
            tasks = [asyncio.create_task(self._translations(asked, [line], batcher)) for line in lines]
            try:
                for number, (line, task) in enumerate(zip(lines, tasks, strict=True)):
                    try:
                        async with asyncio.timeout_at(deadline):
                            found = (await task)[0]
                        refuse_if_all_failed([answer for _, answer in found])
                        event = {"line": number, **answer_of(asked, line, found, calibration)}
                    except Refused as error:
                        event = {"line": number, "error": error.message}
                    except TimeoutError:
                        event = {"line": number, "error": f"the stream took longer than {self.limits.seconds:.0f} s"}
                    yield f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
                    if task.cancelled():
                        return
            finally:
                for task in tasks:
                    task.cancel()

        return StreamingResponse(events(), media_type="text/event-stream")

    async def _suggest(self, body: dict[str, Any]) -> Response:
        from nmt.serve.batcher import Busy

        asked = validated(SuggestRequest, body)
        check_size(self.limits, [asked.q], asked.prefix)
        _, batcher = await self._ready(asked.model)
        try:
            found = await batcher.suggest(asked.q.replace("\n", " "), asked.prefix, asked.count, asked.look_at)
        except NmtError as error:
            raise Refused(400, str(error)) from None
        except Busy:
            raise Refused(503, _TOO_MANY) from None
        words = [{"word": one.word, "probability": round(one.probability, 6), "space": one.has_space} for one in found]
        return JSONResponse({"words": words})

    async def _detect(self, body: dict[str, Any]) -> Response:
        loaded, _ = await self._ready("")
        return JSONResponse([{"confidence": 100, "language": loaded.config.data.languages[0]}])

    def _model(self, name: str) -> ServedModel:
        for model in self.models:
            if name in ("", model.name):
                return model
        names = ", ".join(model.name for model in self.models) or "none"
        raise Refused(400, f"there is no model '{name[:100]}'; the models are: {names}")

    async def _ready(self, name: str) -> "tuple[LoadedModel, Batcher]":
        try:
            return await self._model(name).ready()
        except NmtError as error:
            raise Refused(503, str(error)) from None

    async def _chosen(self, asked: TranslateRequest) -> "tuple[LoadedModel, Batcher]":
        """Return the model that a request names, or else the first one for its languages, with its batcher."""
        for model in [self._model(asked.model)] if asked.model or not self.models else self.models:
            loaded, batcher = await self._ready(model.name)
            languages = loaded.config.data.languages
            if (wrong := unsupported(asked, languages)) is None:
                return loaded, batcher
        known = "/languages has the languages of all models"
        if asked.model or len(self.models) == 1:
            known = f"this model translates from {languages[0]} to {languages[1]}"
        raise Refused(400, f"{str(wrong)[:20]} is not supported; {known}")

    async def _page(self, request: Request) -> Response:
        return FileResponse(STATIC / "page.html", media_type="text/html")

    async def _docs(self, request: Request) -> Response:
        return FileResponse(STATIC / "docs.html", media_type="text/html")

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _FILES:
            return error_response(404, "not found")
        folder, kind = _FILES[name]
        return FileResponse(folder / name, media_type=kind)

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(openapi("nmt serve"))

    async def _languages(self, request: Request) -> Response:
        pairs: dict[str, list[str]] = {}
        for model in self.models:
            with contextlib.suppress(NmtError):
                source, target = (await model.ready())[0].config.data.languages
                pairs.setdefault(source, [])
                pairs.setdefault(target, [])
                if target not in pairs[source]:
                    pairs[source].append(target)
        return JSONResponse([{"code": code, "name": code, "targets": targets} for code, targets in pairs.items()])

    async def _models(self, request: Request) -> Response:
        return JSONResponse([model.description() for model in self.models])

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _settings(self, request: Request) -> Response:
        languages: dict[str, Any] = {}
        for model in self.models[:1]:
            with contextlib.suppress(NmtError):
                for side, code in zip(
                    ("source", "target"), (await model.ready())[0].config.data.languages, strict=True
                ):
                    languages[side] = {"code": code, "name": code}
        key = self.limits.api_key is not None
        return JSONResponse(
            {
                "apiKeys": key,
                "keyRequired": key,
                "charLimit": self.limits.characters,
                "frontendTimeout": 300,
                "language": languages,
                "suggestions": False,
                "supportedFilesFormat": [],
                "filesTranslation": False,
            }
        )

    async def _examples(self, request: Request) -> Response:
        """Return a few source sentences of the first model's data; see `examples_of`."""
        examples: list[str] = []
        with contextlib.suppress(Refused):  # the page says in another place that a model could not be loaded
            if self.models and not self._refuses(request):
                loaded, _ = await self._ready("")
                examples = await asyncio.to_thread(examples_of, loaded)
        return JSONResponse({"examples": examples})

    async def _training(self, request: Request) -> Response:
        if self.metrics_file is None or self._refuses(request):
            return JSONResponse({"records": []})
        from nmt.training.records import read_records

        return JSONResponse({"records": await asyncio.to_thread(read_records, self.metrics_file)})

    async def _metrics(self, request: Request) -> Response:
        return PlainTextResponse(prometheus_text(self.counts, self.models))


async def _gone(request: Request) -> None:
    """Wait until the client closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _not_found(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    response = error_response(status, "not found" if status == 404 else "this address needs another HTTP method")
    response.headers.update(getattr(error, "headers", None) or {})  # for a wrong method, `Allow` has the right ones
    return response


async def _failed(request: Request, error: Exception) -> Response:
    return error_response(500, "something went wrong here; the server's log says what")
