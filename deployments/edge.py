"""What every request passes first: it gets an id, loses headers that would steer Ray Serve, and its size is limited.

Two ASGI layers: one inside of Serve's proxy, which reads those headers before any of our code does, and one around the app.
"""

import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.config import IngressSettings
from deployments.schemas.errors import ApiError

logger = logging.getLogger("ray.serve")
_SANE_ID = re.compile(r"[A-Za-z0-9._:@-]{1,128}")
# By these a client could end its request at another time, keep it running after it left, or choose a replica. Serve takes the
# last one with underscores or hyphens.
_STEERING = (
    b"x-request-timeout-seconds",
    b"x-request-disconnect-disabled",
    b"serve_multiplexed_model_id",
    b"serve-multiplexed-model-id",
)
EXPOSED = ["x-request-id", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "idempotent-replayed"]  # fmt: skip
Render = Callable[[Scope, ApiError], ASGIApp]


class ProxyEdge:
    """Around Serve's proxy: drops steering headers and request ids that are not sane."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["headers"] = [
                (name, value)
                for name, value in scope["headers"]
                if name not in _STEERING and (name != b"x-request-id" or _SANE_ID.fullmatch(value.decode("latin-1")))
            ]
        await self._app(scope, receive, send)


def proxy_middlewares() -> list[Middleware]:
    """Named in RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH; Serve's proxy calls it when it starts."""
    return [Middleware(ProxyEdge)]


class Edge:
    """Around the app. Serve's proxy echoes a sane request id itself, so ``behind_serve`` leaves that to it."""

    def __init__(
        self, app: ASGIApp, settings: Callable[[], IngressSettings], render: Render, behind_serve: bool
    ) -> None:
        self._app, self._settings, self._render, self._behind_serve = app, settings, render, behind_serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        sane = bool(_SANE_ID.fullmatch(given))
        request_id = given if sane else uuid.uuid4().hex
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name not in _STEERING]
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"], state["headers"] = request_id, {}

        started = False

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                added = [(name.lower().encode(), value.encode()) for name, value in state["headers"].items()]
                if not (sane and self._behind_serve):
                    added.append((b"x-request-id", request_id.encode()))
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        settings = self._settings()
        limit = settings.max_body_bytes
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
            if sum(len(name) + len(value) for name, value in scope["headers"]) > settings.max_header_bytes:
                raise ApiError("headers_too_large", limit=settings.max_header_bytes)
            if declared.isdigit() and int(declared) > limit:
                raise ApiError("body_too_large", limit=limit)
            await self._app(scope, limited, with_headers)
        except ApiError as error:
            await self._refuse(scope, error)(scope, receive, with_headers)
        except Exception:
            logger.exception("request %s failed", request_id)
            if started:
                raise
            await self._refuse(scope, ApiError("internal_error"))(scope, receive, with_headers)

    def _refuse(self, scope: Scope, error: ApiError) -> ASGIApp:
        """The error, which pages of the configured origins may read like any other."""
        return Cors(self._render(scope, error), self._settings)


class Cors:
    """Lets pages of the configured origins call the API; the list may change while it runs."""

    def __init__(self, app: ASGIApp, settings: Callable[[], IngressSettings]) -> None:
        self._app, self._settings = app, settings
        self._made: tuple[tuple[str, ...], Callable[[Scope, Receive, Send], Awaitable[None]]] = ((), app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origins = self._settings().access.cors_origins
        if origins != self._made[0]:
            allowing = CORSMiddleware(
                self._app,
                allow_origins=list(origins),
                allow_methods=["GET", "POST", "PATCH", "DELETE"],
                allow_headers=["*"],  # client packages send headers of their own
                expose_headers=EXPOSED,
            )
            self._made = (origins, allowing if origins else self._app)
        await self._made[1](scope, receive, send)
