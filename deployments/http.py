"""The FastAPI app: routes, request ids, limits of a request, and errors mapped to HTTP in one place.

Knows the service it calls by the few methods below; it never sees a model or Redis.
"""

import logging
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments import http_records, sse
from deployments.config import IngressSettings
from deployments.records import Records
from deployments.schemas.errors import ApiError, ErrorReply, language_of
from deployments.schemas.native import ChatReply, ChatRequest, Health, Id, Ready
from state import errors as state_errors

logger = logging.getLogger("ray.serve")
_SANE_ID = re.compile(r"[A-Za-z0-9._:@-]{1,128}")
# Headers by which a client could steer Ray Serve itself. Serve's proxy has read them by now; nothing below does.
_STEERING = (b"x-request-timeout-seconds", b"x-request-disconnect-disabled", b"serve_multiplexed_model_id")
_WEB = Path(__file__).with_name("web")
# The chat page runs its own scripts and talks to its own server, nothing else; a new version of it is seen at once.
_WEB_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Service(Protocol):
    @property
    def settings(self) -> IngressSettings: ...
    async def chat(self, request: ChatRequest, idempotency_key: str | None) -> tuple[dict[str, Any], bool]: ...
    def events(self, request: ChatRequest, idempotency_key: str | None) -> sse.Events: ...
    async def ready(self) -> Ready: ...
    @property
    def records(self) -> Records: ...


def create_app(service: Service, *, behind_serve: bool = False) -> FastAPI:
    """The app. Serve's proxy echoes a request's id itself, so ``behind_serve`` leaves that to it."""
    app = FastAPI(
        title="Oh-LoRA Serve",
        version="0.1.0",
        summary="A Korean virtual companion of several small models",
        # An error of any route has this one form.
        responses={"default": {"model": ErrorReply, "description": "Error: a code, a sentence, and the request id"}},
    )
    app.add_middleware(_Edge, service=service, behind_serve=behind_serve)
    _add_errors(app)
    described = {
        403: "user_blocked: with blocked_until, categories and sanction_id",
        404: "model_not_found: no such persona",
        409: "session_busy, idempotency_in_progress",
        413: "body_too_large",
        422: "validation_error, prompt_too_long (with tokens and limit), idempotency_mismatch",
        503: "store_unavailable, model_unavailable, starting; with Retry-After",
    }

    @app.post(
        "/v1/chat",
        response_model=ChatReply,
        responses={code: {"model": ErrorReply, "description": text} for code, text in described.items()},
        tags=["chat"],
    )
    async def chat(
        request: Request, body: ChatRequest, idempotency_key: Annotated[Id | None, Header()] = None
    ) -> Response:
        """One message to Oh-LoRA and her whole reply; with `stream` as server-sent events `token`, `pose`, `done`."""
        if body.stream:
            events = service.events(body, idempotency_key)
            # The first event is waited for, so that a refusal still has its own status.
            first = await anext(events)
            frames = sse.frames(first, events, service.settings.ping_s, lambda error: _of_turn(request, error))
            return StreamingResponse(frames, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        reply, replayed = await service.chat(body, idempotency_key)
        return JSONResponse(reply, headers={"idempotent-replayed": "true"} if replayed else None)

    app.include_router(http_records.router(service.records, lambda: service.settings))

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> FileResponse:
        """The chat page."""
        return FileResponse(_WEB / "index.html", headers=_WEB_HEADERS)

    app.mount("/web", _Assets(directory=_WEB))

    @app.get("/livez", tags=["health"])
    async def livez() -> Health:
        """The process answers."""
        return Health()

    @app.get("/readyz", tags=["health"], response_model=Ready, responses={503: {"model": Ready}})
    async def readyz() -> JSONResponse:
        """Redis and every required deployment answer; 503 names what does not."""
        ready = await service.ready()
        headers = {} if ready.status == "ready" else {"Retry-After": "1"}
        return JSONResponse(ready.model_dump(), 200 if ready.status == "ready" else 503, headers)

    return app


class _Assets(StaticFiles):
    """Files of the chat page, under the same rules as the page."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(_WEB_HEADERS)
        return response


class _Edge:
    """What every request passes first: it gets an id, loses steering headers, and its body is limited."""

    def __init__(self, app: ASGIApp, service: Service, behind_serve: bool) -> None:
        self._app, self._service, self._behind_serve = app, service, behind_serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        sane = bool(_SANE_ID.fullmatch(given))
        request_id = given if sane else uuid.uuid4().hex
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name not in _STEERING]
        scope.setdefault("state", {})["request_id"] = request_id

        started = False

        async def with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if not (sane and self._behind_serve):
                    message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        limit = self._service.settings.max_body_bytes
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > limit:
                raise ApiError("body_too_large", limit=limit)
            return message

        declared = headers.get(b"content-length", b"0")
        try:
            if declared.isdigit() and int(declared) > limit:
                raise ApiError("body_too_large", limit=limit)
            await self._app(scope, limited, with_id)
        except ApiError as error:
            await _rendered(Request(scope), error)(scope, receive, with_id)
        except Exception:
            logger.exception("request %s failed", request_id)
            if started:
                raise
            await _rendered(Request(scope), ApiError("internal_error"))(scope, receive, with_id)


def _rendered(request: Request, error: ApiError) -> JSONResponse:
    language = language_of(request.headers.get("accept-language", ""))
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
    body = error.body(language, request.scope["state"]["request_id"])
    return JSONResponse(body, error.status, headers | {"Content-Language": ("ko", "en")[language]})


# Errors of the store that a client can do something about.
_OF_STORE: dict[type[Exception], str] = {
    state_errors.StoreUnavailable: "store_unavailable",
    state_errors.SessionBusy: "session_busy",
    state_errors.LeaseLost: "session_busy",
    state_errors.IdempotencyInProgress: "idempotency_in_progress",
    state_errors.IdempotencyMismatch: "idempotency_mismatch",
}


def as_api_error(error: Exception) -> ApiError | None:
    """The error that a client sees for what a turn or the store raised, or None for what should not happen."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, state_errors.NotFound):
        return ApiError(f"{error.kind}_not_found", detail=str(error))
    code = _OF_STORE.get(type(error))
    return ApiError(code) if code else None


def _add_errors(app: FastAPI) -> None:
    """Every exception that a route can raise, as the error a client sees."""

    def on(kind: type[Exception], make: Callable[[Request, Any], ApiError]) -> None:
        async def handler(request: Request, error: Exception) -> JSONResponse:
            response = _rendered(request, make(request, error))
            response.headers.update(getattr(error, "headers", None) or {})  # Allow, where the method is wrong
            return response

        app.add_exception_handler(kind, handler)

    on(RequestValidationError, lambda _, error: _of_validation(error))
    on(HTTPException, _of_http)
    for kind in (ApiError, state_errors.NotFound, *_OF_STORE):
        on(kind, lambda _, error: as_api_error(error) or ApiError("internal_error"))


def _of_turn(request: Request, error: Exception) -> dict[str, Any]:
    """The body of an error that came after a stream had begun."""
    known = as_api_error(error)
    if known is None:
        logger.error("request %s failed", request.scope["state"]["request_id"], exc_info=error)
    language = language_of(request.headers.get("accept-language", ""))
    return (known or ApiError("internal_error")).body(language, request.scope["state"]["request_id"])


def _of_validation(error: RequestValidationError) -> ApiError:
    """The first thing that is wrong with a request; a body that is no JSON has a code of its own."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return ApiError("invalid_json", detail=first.get("ctx", {}).get("error", "JSON"))
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
    return ApiError("validation_error", param=where, detail=first["msg"].removeprefix("Value error, "))


def _of_http(request: Request, error: HTTPException) -> ApiError:
    if error.status_code == 405:
        return ApiError("method_not_allowed", detail=request.method)
    if error.status_code == 404:
        return ApiError("not_found", detail=request.url.path)
    if isinstance(error.__cause__, ApiError):  # raised while FastAPI read the body: too large
        return error.__cause__
    # FastAPI's own 400: a body that could not be read as UTF-8.
    return ApiError("invalid_json", detail=str(error.detail))
