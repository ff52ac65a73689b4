"""What the routes share: the service they call, who may call it and how often, and errors as HTTP.

Knows the service by the few methods below; it never sees a model or Redis.
"""

import logging
from collections.abc import Callable
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from deployments import access, sse
from deployments.config import IngressSettings
from deployments.conversation import Stateless
from deployments.records import Records
from deployments.schemas.errors import ApiError, language_of
from deployments.schemas.native import ChatRequest, Ready, Sampling
from ohlora.persona import INVALID, NOT_JSON
from state import errors as state_errors
from state.limits import Allowance

logger = logging.getLogger("ray.serve")


class Service(Protocol):
    @property
    def settings(self) -> IngressSettings: ...
    @property
    def records(self) -> Records: ...
    async def chat(
        self, request: ChatRequest, idempotency_key: str | None, sampling: Sampling = ...
    ) -> tuple[dict[str, Any], bool]: ...
    def events(self, request: ChatRequest, idempotency_key: str | None, sampling: Sampling = ...) -> sse.Events: ...
    async def stateless(self, asked: Stateless) -> dict[str, Any]: ...
    def stateless_events(self, asked: Stateless) -> sse.Events: ...
    async def personas(self) -> list[str]: ...
    async def count(self, user_id: str | None, key: str | None) -> list[Allowance]: ...
    async def ready(self) -> Ready: ...


async def admitted(
    request: Request, service: Service, user_id: str | None, *, admin: bool = False, counted: bool = True
) -> str | None:
    """The user that the caller acts for, once key, permission and limits allow it. Raises ApiError."""
    caller = access.caller(service.settings.access, request.headers.get("authorization", ""))
    if admin:
        caller.administering()
    elif counted or user_id is not None:
        user_id = caller.acting_for(user_id)
    if counted:
        allowances = await service.count(None if admin else user_id, caller.key)
        request.scope["state"]["headers"].update(access.headers(allowances))
        if refused := [allowance for allowance in allowances if not allowance.allowed]:
            raise ApiError("rate_limited", retry_after=max(allowance.retry_s for allowance in refused))
    return user_id


def rendered(scope: Any, error: ApiError) -> JSONResponse:
    language = language_of(Request(scope).headers.get("accept-language", ""))
    headers = {"Content-Language": ("ko", "en")[language]}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error.body(language, scope["state"]["request_id"]), error.status, headers)


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


def add_errors(app: FastAPI) -> None:
    """Every exception that a route can raise, as the error a client sees."""

    def on(kind: type[Exception], make: Callable[[Request, Any], ApiError]) -> None:
        async def handler(request: Request, error: Exception) -> JSONResponse:
            response = rendered(request.scope, make(request, error))
            response.headers.update(getattr(error, "headers", None) or {})  # Allow, where the method is wrong
            return response

        app.add_exception_handler(kind, handler)

    on(RequestValidationError, _of_validation)
    on(HTTPException, _of_http)
    for kind in (ApiError, state_errors.NotFound, *_OF_STORE):
        on(kind, lambda _, error: as_api_error(error) or ApiError("internal_error"))


def error_body(request: Request, error: Exception) -> dict[str, Any]:
    """The body of an error that came after a stream had begun."""
    known = as_api_error(error)
    if known is None:
        logger.error("request %s failed", request.scope["state"]["request_id"], exc_info=error)
    language = language_of(request.headers.get("accept-language", ""))
    return (known or ApiError("internal_error")).body(language, request.scope["state"]["request_id"])


def _of_validation(request: Request, error: RequestValidationError) -> ApiError:
    """The first thing that is wrong with a request; a body that is no JSON has a code of its own."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return ApiError("invalid_json", detail=first.get("ctx", {}).get("error", "JSON"))
    if first["loc"] == ("body",) and "json" not in request.headers.get("content-type", ""):
        return ApiError("invalid_json", detail=NOT_JSON)
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
    english = first["msg"].removeprefix("Value error, ")
    # Only our own sentence is a pattern: pydantic's may quote what the client sent, braces and all.
    korean = INVALID[first["type"]].format(**first.get("ctx", {})) if first["type"] in INVALID else english
    return ApiError("validation_error", param=where, detail=(korean, english))


def _of_http(request: Request, error: HTTPException) -> ApiError:
    if error.status_code == 405:
        return ApiError("method_not_allowed", detail=request.method)
    if error.status_code == 404:
        return ApiError("not_found", detail=request.url.path)
    if isinstance(error.__cause__, ApiError):  # raised while FastAPI read the body: too large
        return error.__cause__
    # FastAPI's own 400: a body that could not be read as UTF-8.
    return ApiError("invalid_json", detail=str(error.detail))
