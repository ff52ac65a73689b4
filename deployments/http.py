"""The FastAPI app: the native chat, health, the pages, and every other router put together.

Knows the service it calls by the few methods of http_service.Service; it never sees a model or Redis.
"""

from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from deployments import http_openai, http_records, sse
from deployments.edge import Cors, Edge
from deployments.http_service import Service, add_errors, admitted, error_body, rendered
from deployments.schemas.errors import OF_TURN, ErrorReply, responses
from deployments.schemas.native import ChatReply, ChatRequest, Health, Id, Ready, native

_WEB = Path(__file__).with_name("web")
# The chat page runs its own scripts and talks to its own server, nothing else; a new version of it is seen at once.
_WEB_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def create_app(service: Service, *, behind_serve: bool = False) -> FastAPI:
    """The app. Serve's proxy echoes a request's id itself, so ``behind_serve`` leaves that to it."""
    app = FastAPI(
        title="Oh-LoRA Serve",
        version="0.1.0",
        summary="A Korean virtual companion of several small models",
        # An error of any route has this one form.
        responses={"default": {"model": ErrorReply, "description": "Error: a code, a sentence, and the request id"}},
    )
    app.add_middleware(Cors, settings=lambda: service.settings)
    app.add_middleware(Edge, settings=lambda: service.settings, render=rendered, behind_serve=behind_serve)
    add_errors(app)

    @app.post(
        "/v1/chat",
        response_model=ChatReply,
        responses=sse.described("With `stream`: token {text}, pose, done (the whole reply) or error; data is JSON")
        | responses(*OF_TURN),
        tags=["chat"],
    )
    async def chat(
        request: Request, body: ChatRequest, idempotency_key: Annotated[Id | None, Header()] = None
    ) -> Response:
        """One message to Oh-LoRA and her whole reply; with `stream` as server-sent events `token`, `pose`, `done`."""
        await admitted(request, service, body.user_id)
        if body.stream:
            return await sse.response(
                service.events(body, idempotency_key),
                service.settings.ping_s,
                lambda name, data: sse.frame(name, native(data) if name == "done" else data),
                lambda error: error_body(request, error),
            )
        reply, replayed = await service.chat(body, idempotency_key)
        return JSONResponse(native(reply), headers={"idempotent-replayed": "true"} if replayed else None)

    app.include_router(http_openai.router(service))
    app.include_router(http_records.router(service))

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> FileResponse:
        """The chat page."""
        return FileResponse(_WEB / "index.html", headers=_WEB_HEADERS)

    app.mount("/web", _Assets(directory=_WEB))

    @app.head("/livez", include_in_schema=False)
    @app.get("/livez", tags=["health"])
    async def livez() -> Health:
        """The process answers."""
        return Health()

    @app.head("/readyz", include_in_schema=False)
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
