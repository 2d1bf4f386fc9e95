"""Routes, limits and headers."""

import asyncio
import contextlib
import hmac
import html
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nmt.errors import NmtError
from nmt.serve.models import ServedModel, alignment_fields, examples_of, languages_of
from nmt.serve.schema import SuggestRequest, TranslateRequest, openapi

if TYPE_CHECKING:
    from nmt.decoding.translation import Translation
    from nmt.evaluation.calibration import Calibration
    from nmt.serve.batcher import Job

STATIC = Path(__file__).parent / "static"
_TYPES = {"page.css": "text/css", "page.js": "text/javascript", "docs.js": "text/javascript"}
LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})
_MOST_HYPOTHESES = 2_000  # lines times translations of each, in one request
_LONGEST_PREFIX = 2_000  # characters
# Comments, scripts and styles whole, and tags with whatever their quoted attributes hold.
_TAG = re.compile(
    r"""(<!--.*?(?:-->|$)|<script\b.*?(?:</script\s*>|$)|<style\b.*?(?:</style\s*>|$)|<(?:[^<>"']|"[^"]*"|'[^']*')*>)""",
    re.DOTALL | re.IGNORECASE,
)
_SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
Asked = TypeVar("Asked", bound=BaseModel)


class Refused(Exception):
    """A request that gets an error instead of an answer."""

    def __init__(self, status: int, message: str):
        """Take the HTTP status and what the client is told."""
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True)
class Limits:
    """What a request may ask for, and who may ask.

    Attributes:
        characters: the most characters of a request's texts.
        lines: the most lines of a request's texts.
        seconds: after so many an unfinished request is given up.
        api_key: what clients must know; None if everybody may ask.
        hosts: names under which the server may be addressed; None for any.
        origins: other sites whose pages may ask.
    """

    characters: int = 20_000
    lines: int = 500
    seconds: float = 60.0
    api_key: str | None = None
    hosts: frozenset[str] | None = LOCAL_HOSTS
    origins: frozenset[str] = frozenset()

    @property
    def body(self) -> int:
        """The most bytes of a request."""
        return 12 * self.characters + 10_000


class Server:
    """The routes, with the models that they ask."""

    def __init__(self, models: Sequence[ServedModel], limits: Limits, metrics_file: Path | None = None):
        """Take the parts.

        Args:
            models: at least one, unless only a training run is shown.
            limits: of requests.
            metrics_file: ``metrics.jsonl`` of a training run to look at.
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
        return _Guard(Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers), self.limits)

    def _post(
        self, answer: Callable[[dict[str, Any]], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return a handler that reads a body, checks the key, and turns what goes wrong into an answer."""

        async def handle(request: Request) -> Response:
            try:
                body = await asyncio.wait_for(_body_of(request, self.limits.body), self.limits.seconds)
                self._check_key(request, body)
                work = asyncio.create_task(_answered(answer, body))
                gone = asyncio.create_task(_gone(request))
                done, _ = await asyncio.wait({work, gone}, timeout=self.limits.seconds, return_when="FIRST_COMPLETED")
                gone.cancel()
                if work in done:
                    return self._counted(work.result())
                work.cancel()
                if gone in done:
                    return self._counted(_error(400, "the client went away"))
                raise Refused(503, f"the request took longer than {self.limits.seconds:.0f} s; ask for less text")
            except Refused as error:
                return self._counted(_error(error.status, error.message))
            except TimeoutError:
                return self._counted(_error(408, "the request did not arrive in time"))
            except ClientDisconnect:
                return self._counted(_error(400, "the client went away"))

        return handle

    def _counted(self, response: Response) -> Response:
        self.counts[str(response.status_code)] += 1
        return response

    def _check_key(self, request: Request, body: dict[str, Any]) -> None:
        if self._refuses(request, str(body.get("api_key") or "")):
            raise Refused(403, "this server wants an API key (api_key)")

    def _refuses(self, request: Request, given: str = "") -> bool:
        """Return whether a key is wanted and neither in the body nor in the headers."""
        wanted = self.limits.api_key
        given = given or request.headers.get("authorization", "").removeprefix("Bearer ")
        return wanted is not None and not hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())

    async def _translate(self, body: dict[str, Any]) -> Response:
        asked = _validated(TranslateRequest, body)
        texts = [asked.q] if isinstance(asked.q, str) else asked.q
        self._check_size(texts, asked.prefix)
        found = await self._translations(asked, texts)
        calibration = (await self._ready(asked.model))[0].calibration
        answers = [_answer(asked, text, lines, calibration) for text, lines in zip(texts, found, strict=True)]
        return JSONResponse(await self._joined(asked, answers))

    async def _joined(self, asked: TranslateRequest, answers: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the answers of all texts: as they are for one text, a list under each key for a list."""
        joined = dict(answers[0])
        if not isinstance(asked.q, str):
            joined = {key: [one[key] for one in answers] for key in _keys(asked)}
        if asked.source == "auto":
            loaded, _ = await self._model(asked.model).ready()
            language = {"confidence": 100, "language": languages_of(loaded)[0]}
            of_all: Any = language if isinstance(asked.q, str) else [language] * len(answers)
            joined["detectedLanguage"] = of_all
        return joined

    async def _translations(
        self, asked: TranslateRequest, texts: Sequence[str]
    ) -> "list[list[tuple[str, Translation | NmtError]]]":
        """Return for each text its lines, each with its translation, or with what went wrong."""
        from nmt.serve.batcher import Busy

        loaded, batcher = await self._ready(asked.model)
        self._check_languages(asked, *languages_of(loaded))
        jobs, owners = [], []
        for owner, text in enumerate(texts):
            for line in _lines(text, asked.format):
                jobs.append(_job(asked, line))
                owners.append((owner, line))
        if len(jobs) * (asked.alternatives + 1) > min(batcher.limit, _MOST_HYPOTHESES):
            raise Refused(413, f"{len(jobs)} lines with {asked.alternatives} alternatives are too many for one request")
        try:
            answers = await batcher.translate(jobs)
        except Busy:
            raise Refused(503, "too many lines are waiting; try again in a second") from None
        found: list[list[tuple[str, Translation | NmtError]]] = [[] for _ in texts]
        for (owner, line), answer in zip(owners, answers, strict=True):
            found[owner].append((line, answer))
        return found

    async def _stream(self, body: dict[str, Any]) -> Response:
        asked = _validated(TranslateRequest, body)
        texts = [asked.q] if isinstance(asked.q, str) else asked.q
        self._check_size(texts, asked.prefix)
        lines = [line for text in texts for line in text.split("\n")]
        calibration = (await self._ready(asked.model))[0].calibration

        async def events() -> AsyncIterator[str]:
            tasks = [asyncio.create_task(self._translations(asked, [line])) for line in lines]
            try:
                for number, (line, task) in enumerate(zip(lines, tasks, strict=True)):
                    try:
                        event = {"line": number, **_answer(asked, line, (await task)[0], calibration)}
                    except Refused as error:
                        event = {"line": number, "error": error.message}
                    yield f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
            finally:
                for task in tasks:
                    task.cancel()

        return StreamingResponse(events(), media_type="text/event-stream")

    async def _suggest(self, body: dict[str, Any]) -> Response:
        asked = _validated(SuggestRequest, body)
        self._check_size([asked.q], asked.prefix)
        _, batcher = await self._ready(asked.model)
        try:
            found = await batcher.suggest(asked.q.replace("\n", " "), asked.prefix, asked.count)
        except NmtError as error:
            raise Refused(400, str(error)) from None
        words = [{"word": each.word, "probability": round(each.probability, 6)} for each in found]
        return JSONResponse({"words": words})

    async def _detect(self, body: dict[str, Any]) -> Response:
        loaded, _ = await self._ready("")
        return JSONResponse([{"confidence": 100, "language": languages_of(loaded)[0]}])

    def _model(self, name: str) -> ServedModel:
        for model in self.models:
            if name in ("", model.name):
                return model
        names = ", ".join(model.name for model in self.models) or "none"
        raise Refused(400, f"there is no model '{name[:100]}'; the models are: {names}")

    async def _ready(self, name: str) -> Any:
        try:
            return await self._model(name).ready()
        except NmtError as error:
            raise Refused(503, str(error)) from None

    def _check_size(self, texts: Sequence[str], prefix: str) -> None:
        if len(prefix) > _LONGEST_PREFIX:
            raise Refused(413, f"the prefix has {len(prefix)} characters; at most {_LONGEST_PREFIX} are allowed")
        characters, lines = sum(map(len, texts)), sum(text.count("\n") + 1 for text in texts)
        if not texts:
            raise Refused(400, "q is empty")
        if characters > self.limits.characters:
            raise Refused(413, f"the text has {characters} characters; at most {self.limits.characters} are allowed")
        if lines > self.limits.lines:
            raise Refused(413, f"the text has {lines} lines; at most {self.limits.lines} are allowed")

    @staticmethod
    def _check_languages(asked: TranslateRequest, source: str, target: str) -> None:
        for given, known in ((asked.source, source), (asked.target, target)):
            if given not in ("auto", "", known):
                raise Refused(400, f"{given[:20]} is not supported; this model translates from {source} to {target}")

    async def _page(self, request: Request) -> Response:
        return FileResponse(STATIC / "page.html", media_type="text/html")

    async def _docs(self, request: Request) -> Response:
        return FileResponse(STATIC / "docs.html", media_type="text/html")

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        return FileResponse(STATIC / name, media_type=_TYPES[name]) if name in _TYPES else _error(404, "not found")

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(openapi("nmt serve"))

    async def _languages(self, request: Request) -> Response:
        pairs: dict[str, list[str]] = {}
        for model in self.models:
            with contextlib.suppress(NmtError):
                source, target = languages_of((await model.ready())[0])
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
                for side, code in zip(("source", "target"), languages_of((await model.ready())[0]), strict=True):
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
        """Return a few source sentences of the first model's test data, if it may be read."""
        if not self.models or self._refuses(request):
            return JSONResponse({"examples": []})
        loaded, _ = await self._ready("")
        return JSONResponse({"examples": await asyncio.to_thread(examples_of, loaded)})

    async def _training(self, request: Request) -> Response:
        if self.metrics_file is None or self._refuses(request):
            return JSONResponse({"records": []})
        from nmt.training.records import read_records

        return JSONResponse({"records": await asyncio.to_thread(read_records, self.metrics_file)})

    async def _metrics(self, request: Request) -> Response:
        lines = ["# TYPE nmt_requests_total counter"]
        lines += [f'nmt_requests_total{{status="{status}"}} {count}' for status, count in sorted(self.counts.items())]
        for name, kind in (("lines", "counter"), ("batches", "counter"), ("waiting", "gauge")):
            suffix = "_total" if kind == "counter" else ""
            lines.append(f"# TYPE nmt_{name}{suffix} {kind}")
            for model in self.models:
                value = getattr(model.batcher, name) if model.batcher is not None else 0
                lines.append(f"nmt_{name}{suffix}{{model={json.dumps(model.name)}}} {value}")
        return PlainTextResponse("\n".join(lines) + "\n")


class _Guard:
    """Checks under which name and from which site the server is asked, and adds headers to every answer."""

    def __init__(self, app: ASGIApp, limits: Limits):
        self.app, self.limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = _SECURITY | ({"access-control-allow-origin": origin} if origin in self.limits.origins else {})
                if message["status"] == 503:
                    added = added | {"retry-after": "1"}
                message["headers"] += [(name.encode(), str(value).encode("latin-1")) for name, value in added.items()]
            await send(message)

        reason = self._refusal(headers.get("host", ""), origin)
        if reason is not None:
            await _error(403, reason)(scope, receive, with_headers)
        elif scope["method"] == "OPTIONS" and origin in self.limits.origins:
            allowed = {
                "access-control-allow-headers": "content-type, authorization",
                "access-control-allow-methods": "GET, POST",
            }
            await Response(status_code=204, headers=allowed)(scope, receive, with_headers)
        else:
            await self.app(scope, receive, with_headers)

    def _refusal(self, host: str, origin: str | None) -> str | None:
        """Return why a request is refused; None if it is not.

        A name other than ours means that a site of somebody else has made its name point to this machine (rebinding).
        """
        if self.limits.hosts is not None and _hostname(host) not in self.limits.hosts:
            return "this server is not addressed under that name"
        if origin in (None, "null") or origin in self.limits.origins:
            return None if origin != "null" else "pages without an origin may not ask"
        return None if urlsplit(origin or "").netloc == host else "pages of other sites may not ask (--cors allows one)"


def _hostname(host: str) -> str:
    return re.sub(r":\d*$", "", host).lower()


async def _answered(answer: Callable[[dict[str, Any]], Awaitable[Response]], body: dict[str, Any]) -> Response:
    return await answer(body)


async def _gone(request: Request) -> None:
    """Return when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _not_found(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return _error(status, "not found" if status == 404 else "this address wants another method")


async def _failed(request: Request, error: Exception) -> Response:
    return _error(500, "something went wrong here; the server's log says what")


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status)


async def _body_of(request: Request, limit: int) -> dict[str, Any]:
    """Return the fields of a JSON or form body.

    Raises:
        Refused: if it is too large, or neither.
    """
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > limit:
            raise Refused(413, f"the request has more than {limit} bytes")
    if request.headers.get("content-type", "").partition(";")[0].strip() == "application/x-www-form-urlencoded":
        try:
            form = parse_qs(read.decode("utf-8"), keep_blank_values=True, max_num_fields=100, errors="strict")
        except ValueError:
            raise Refused(400, "the body is not a form in UTF-8") from None
        return {key: values if len(values) > 1 and key == "q" else values[-1] for key, values in form.items()}
    try:
        body = json.loads(read)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON in UTF-8") from None
    if not isinstance(body, dict):
        raise Refused(400, "the body is not a JSON object")
    return body


def _validated(model: type[Asked], body: dict[str, Any]) -> Asked:
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refused(400, "the request holds half a character (a lone surrogate)") from None
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"][:1])
        raise Refused(400, f"{place}: {first['msg']}") from None


def _lines(text: str, kind: str) -> list[str]:
    """Return what is translated of a text: its lines, or the texts between the tags of HTML."""
    if kind == "html":
        return [html.unescape(part) for part in _TAG.split(text)[::2]]
    return text.split("\n")


def _job(asked: TranslateRequest, line: str) -> "Job":
    from nmt.serve.batcher import Job

    with_links = asked.alignment
    return Job(line, asked.alternatives + 1, asked.prefix, tuple(asked.hide), with_links)


def _keys(asked: TranslateRequest) -> list[str]:
    """Return the names of what was asked for."""
    wanted = {
        "alternatives": asked.alternatives > 0,
        "alignment": asked.alignment,
        "scores": asked.scores,
        "confidence": asked.confidence,
    }
    return ["translatedText", *(name for name, is_wanted in wanted.items() if is_wanted)]


def _answer(
    asked: TranslateRequest,
    text: str,
    lines: "Sequence[tuple[str, Translation | NmtError]]",
    calibration: "Calibration",
) -> dict[str, Any]:
    """Return what was asked for of one text.

    Raises:
        Refused: if a single line was asked for and something is wrong with it.
    """
    errors = [answer for _, answer in lines if isinstance(answer, NmtError)]
    if errors and len(lines) == 1:
        raise Refused(400, str(errors[0]))
    found = [None if isinstance(answer, NmtError) else answer for _, answer in lines]
    answer: dict[str, Any] = {"translatedText": _joined_text(asked, text, [one.text if one else "" for one in found])}
    if asked.alternatives:
        most = max((len(one.others) for one in found if one), default=0)
        answer["alternatives"] = [
            _joined_text(
                asked, text, [one.others[rank].text if one and rank < len(one.others) else "" for one in found]
            )
            for rank in range(most)
        ]
    per_line: dict[str, list[Any]] = {
        "alignment": [alignment_fields(one) if one else None for one in found] if asked.alignment else [],
        "scores": [_scores(one) if one else None for one in found] if asked.scores else [],
        "confidence": [[round(v, 4) for v in one.confidence("words", calibration)] if one else None for one in found]
        if asked.confidence
        else [],
    }
    # Of a single line they are the thing itself; of several lines a list.
    answer |= {name: values[0] if len(values) == 1 else values for name, values in per_line.items() if values}
    return answer


def _joined_text(asked: TranslateRequest, text: str, parts: list[str]) -> str:
    if asked.format != "html":
        return "\n".join(part.replace("\n", " ") for part in parts)
    pieces = _TAG.split(text)
    pieces[::2] = [
        _like(html.escape(part, quote=False), between) for part, between in zip(parts, pieces[::2], strict=True)
    ]
    return "".join(pieces)


def _like(part: str, original: str) -> str:
    """Return a part with the white space around it that the original has."""
    if not original.strip():
        return original
    start, end = len(original) - len(original.lstrip()), len(original.rstrip())
    return original[:start] + part + original[end:]


def _scores(translation: "Translation") -> dict[str, Any]:
    import math

    log_prob = translation.log_prob
    return {
        "score": round(translation.score, 6) if math.isfinite(translation.score) else None,
        "log_prob": round(log_prob, 6) if math.isfinite(log_prob) else None,
        "proven": translation.proven,
    }
