"""Checks of the size, sender and form of a request before it is answered, and the headers of every answer."""

import json
import re
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nmt.data.lines import is_unicode

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})
_LISTS = ("require", "forbid", "hide")  # fields that are lists, also with a single value
_SPANS = ("hide", "look_at")  # fields that are pairs of numbers, in a form "2,6"
_FIELDS = 1_000  # in a form
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
        """Take the HTTP status and the message for the client."""
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True)
class Limits:
    """Limits on the size of requests, and on who may send them.

    Attributes:
        characters: the maximum number of characters in a request's texts.
        lines: the maximum number of lines in a request's texts.
        seconds: the time after which an unfinished request is abandoned.
        api_key: the key that clients must send; None if none is needed.
        hosts: host names that requests may use for the server; None for any.
        origins: other sites whose pages may send requests.
    """

    characters: int = 20_000
    lines: int = 500
    seconds: float = 60.0
    api_key: str | None = None
    hosts: frozenset[str] | None = LOCAL_HOSTS
    origins: frozenset[str] = frozenset()

    @property
    def body(self) -> int:
        """The largest size of a request's body, in bytes."""
        return 12 * self.characters + 10_000


class Guard:
    """Rejects requests with a wrong host name or origin, and adds security headers to every response."""

    def __init__(self, app: ASGIApp, limits: Limits):
        """Take the application to guard, and the limits."""
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
            await error_response(403, reason)(scope, receive, with_headers)
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

        Another host name than ours means that a foreign site has made its name point to this machine (DNS rebinding).
        """
        if self.limits.hosts is not None and _hostname(host) not in self.limits.hosts:
            return "this server does not answer under that name"
        if origin in (None, "null") or origin in self.limits.origins:
            return None if origin != "null" else "pages without an origin may not ask"
        try:
            is_ours = urlsplit(origin or "").netloc == host
        except ValueError:  # such as http://[
            is_ours = False
        return None if is_ours else "pages of other sites may not ask (--cors allows one)"


def _hostname(host: str) -> str:
    return re.sub(r":\d*$", "", host).lower()


def error_response(status: int, message: str) -> JSONResponse:
    """Return an error in the format of LibreTranslate."""
    return JSONResponse({"error": message}, status_code=status)


async def body_of(request: Request, limit: int) -> dict[str, Any]:
    """Return the fields of a JSON or form body.

    Raises:
        Refused: if the body is too large, or neither JSON nor a form.
    """
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > limit:
            raise Refused(413, f"the request has more than {limit} bytes")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        raise Refused(400, "send JSON or a form that is application/x-www-form-urlencoded, not multipart")
    if kind == "application/x-www-form-urlencoded":
        return _form(bytes(read))
    try:
        body = json.loads(read) if read.strip() else {}
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON in UTF-8") from None
    if not isinstance(body, dict):
        raise Refused(400, "the body is not a JSON object")
    return body


def _form(body: bytes) -> dict[str, Any]:
    """Return the fields of a form.

    Raises:
        Refused: if it is not a form in UTF-8, or has too many fields.
    """
    if body.count(b"&") >= _FIELDS:
        raise Refused(413, f"the form has more than {_FIELDS} fields")
    try:
        form = parse_qs(body.decode("utf-8"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise Refused(400, "the body is not a form in UTF-8") from None
    fields: dict[str, Any] = dict(form)
    for key in _SPANS:
        if key in fields:
            fields[key] = [value.split(",") for value in fields[key]]
    return {
        key: values if key in _LISTS or (key == "q" and len(values) > 1) else values[-1]
        for key, values in fields.items()
    }


def validated(model: type[Asked], body: dict[str, Any]) -> Asked:
    """Check the fields of a body and return them as a request.

    Raises:
        Refused: if a field is wrong, naming the first one, or if there is a lone surrogate.
    """
    if not is_unicode(json.dumps(body, ensure_ascii=False)):
        raise Refused(400, "the request holds half a character (a lone surrogate)")
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"][:1])
        raise Refused(400, f"{place}: {first['msg']}") from None
