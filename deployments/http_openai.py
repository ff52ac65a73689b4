"""Routes of the OpenAI-compatible API, over the same turns as the native one.

Knows HTTP and the wire format; what a turn is stands in deployments/conversation.py.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response

from deployments import sse
from deployments.conversation import Stateless
from deployments.http_service import Service, admitted, error_body
from deployments.schemas import openai as wire
from deployments.schemas.errors import OF_TURN, ApiError, responses
from deployments.schemas.native import ChatRequest, Id

DONE = "data: [DONE]\n\n"


def router(service: Service) -> APIRouter:
    routes = APIRouter(tags=["openai"])

    @routes.post(
        "/v1/chat/completions",
        response_model=wire.Completion,
        responses=sse.described("With `stream`: data is a chat.completion.chunk, an error, or [DONE]")
        | responses("unsupported_parameter", *OF_TURN),
    )
    async def complete(
        request: Request,
        body: wire.CompletionRequest,
        idempotency_key: Annotated[Id | None, Header()] = None,
        x_session_id: Annotated[Id | None, Header(description="The conversation that is kept")] = None,
    ) -> Response:
        """A reply as the openai packages expect it. With a session it is a turn like any other; without one, the messages sent
        are all that is known and nothing is kept."""
        if names := body.unsupported():
            raise ApiError("unsupported_parameter", param=names[0], detail=", ".join(names))
        if body.prompt is None or not body.prompt.strip():
            nothing = ("사용자 메시지가 없어요", "there is no user message with text")
            raise ApiError("validation_error", param="messages", detail=nothing)
        user = await admitted(request, service, body.user)
        session = x_session_id or _session(body)
        asked: ChatRequest | Stateless
        if session:
            if user is None:
                missing = ("세션을 이어가려면 사용자 id가 필요해요", "a session needs the id of its user")
                raise ApiError("validation_error", param="user", detail=missing)
            asked = ChatRequest(user_id=user, session_id=session, message=body.prompt, persona=body.model)
        else:
            asked = Stateless(
                message=body.prompt, persona=body.model, user_id=user, previous=body.previous, sampling=body.sampling
            )
        created = int(time.time())
        if not body.stream:
            with _named_as_sent():
                if isinstance(asked, Stateless):
                    return JSONResponse(wire.completion(await service.stateless(asked), created))
                reply, replayed = await service.chat(asked, idempotency_key, body.sampling)
            return JSONResponse(
                wire.completion(reply, created), headers={"idempotent-replayed": "true"} if replayed else None
            )
        if isinstance(asked, Stateless):
            events = service.stateless_events(asked)
        else:
            events = service.events(asked, idempotency_key, body.sampling)
        chunks = wire.Chunks(
            request.scope["state"]["request_id"],
            body.model,
            created,
            bool(body.stream_options and body.stream_options.include_usage),
        )

        def frames(name: str, data: dict[str, Any]) -> str:
            if name == "error":
                return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
            made = "".join(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks.of(name, data))
            return made + (DONE if name == "done" else "")

        with _named_as_sent():
            return await sse.response(events, service.settings.ping_s, frames, lambda error: error_body(request, error))

    @routes.get("/v1/models", responses=responses())
    async def models(request: Request) -> wire.ModelList:
        """The personas that can be talked to."""
        await admitted(request, service, None, counted=False)
        return wire.ModelList(data=[wire.Model(id=name) for name in await service.personas()])

    @routes.get("/v1/models/{model}", responses=responses("model_not_found"))
    async def one_model(request: Request, model: str) -> wire.Model:
        """One of them."""
        await admitted(request, service, None, counted=False)
        known = await service.personas()
        if model not in known:
            raise ApiError("model_not_found", param="model", detail=model, known=", ".join(known))
        return wire.Model(id=model)

    return routes


@contextmanager
def _named_as_sent() -> Iterator[None]:
    """A turn's errors name fields of the native request; a client of this one knows others."""
    try:
        yield
    except ApiError as error:
        error.param = {"persona": "model", "message": "messages"}.get(error.param or "", error.param)
        raise


def _session(body: wire.CompletionRequest) -> str | None:
    """``metadata.session_id``. Raises ApiError where it is no id."""
    session = (body.metadata or {}).get("session_id")
    if session is None:
        return None
    try:
        return ChatRequest(user_id="-", session_id=session, message="-").session_id
    except ValueError:
        wrong = ("1–128자의 A–Z a–z 0–9 . _ : @ - 여야 해요", "it must be 1–128 of A–Z a–z 0–9 . _ : @ -")
        raise ApiError("validation_error", param="metadata.session_id", detail=wrong) from None
