"""Ingress: HTTP only. Routes in, typed errors out; a turn is the conversation's, what is kept is the store's.

Makes no model call and no Redis call of its own.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any, Literal

from fastapi import FastAPI
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.handle import DeploymentHandle
from tokenizers import Tokenizer

from deployments import access, embedded, http, sse
from deployments.config import AppConfig, IngressSettings
from deployments.conversation import Conversation, Stateless
from deployments.handles import ServeModels
from deployments.language_model import checked
from deployments.models import ModelUnavailable
from deployments.records import Records
from deployments.schemas.errors import ApiError
from deployments.schemas.native import AS_CONFIGURED, ChatRequest, Part, Ready, Sampling
from state.errors import StoreUnavailable
from state.limits import Allowance
from state.store import Store

logger = logging.getLogger("ray.serve")
READY_DEADLINE_S = 3.0
REQUIRED = ("Answer", "EthicsSBERT")  # without the others a turn goes on and says so


@serve.deployment(max_ongoing_requests=256)
@serve.ingress()
class Ingress:
    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        config: AppConfig,
        profile: Literal["cpu", "gpu"],
        tokenizer: str | None,
        embedder: str,
        handles: dict[str, DeploymentHandle],
    ) -> None:
        count = _counter(tokenizer)
        self._profile: Literal["cpu", "gpu"] = profile
        self._models = ServeModels(handles, count)
        self._redis = embedded.keeper(config.data_dir) if config.redis_url == "embedded" else None
        self._data_dir = config.data_dir
        url = await embedded.url(self._redis) if self._redis else config.redis_url
        self._store = Store.from_url(url, config.store)
        self._configured = False
        self._started = False
        self._turns = 0
        self._conversation = Conversation(self._models, self._store, profile=profile, embedder=embedder)
        self.records = Records(self._models, self._store, embedder=embedder)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return http.create_app(self, behind_serve=True)

    def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Takes new rules from `user_config`, or keeps the old ones when the new are wrong."""
        current = self._conversation.settings if self._configured else None
        settings = checked(IngressSettings, user_config, "Ingress", current)
        try:
            access.refuse_open_address(_host(), settings.access)
        except ValueError as error:
            if current is None:
                raise
            logger.error("deployments.Ingress.user_config was refused and the old one goes on: %s", error)
            return
        self._conversation.settings = settings
        self._configured = True

    @property
    def settings(self) -> IngressSettings:
        return self._conversation.settings

    async def chat(
        self, request: ChatRequest, idempotency_key: str | None, sampling: Sampling = AS_CONFIGURED
    ) -> tuple[dict[str, Any], bool]:
        """The reply to one message and whether it was kept from an earlier request with this key."""
        with self._admitted():
            await self._check(request.persona)
            return await self._conversation.reply(
                request, sampling=sampling, idempotency_key=idempotency_key, body_digest=_digest(request, sampling)
            )

    async def events(
        self, request: ChatRequest, idempotency_key: str | None, sampling: Sampling = AS_CONFIGURED
    ) -> sse.Events:
        """The events of one turn as they happen."""
        turn = self._conversation.events(
            request, sampling=sampling, idempotency_key=idempotency_key, body_digest=_digest(request, sampling)
        )
        with self._admitted():
            await self._check(request.persona)
            async with aclosing(turn):
                async for event in turn:
                    yield event

    async def stateless(self, asked: Stateless) -> dict[str, Any]:
        """The reply to a message of a conversation that the client keeps itself."""
        with self._admitted():
            await self._check(asked.persona)
            return await self._conversation.stateless(asked)

    async def stateless_events(self, asked: Stateless) -> sse.Events:
        turn = self._conversation.stateless_events(asked)
        with self._admitted():
            await self._check(asked.persona)
            async with aclosing(turn):
                async for event in turn:
                    yield event

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        """Room for one turn more. Raises ApiError overloaded at once when there is none: waiting would slow those who are in."""
        if self._turns >= self.settings.max_turns:
            raise ApiError("overloaded")
        self._turns += 1
        try:
            yield
        finally:
            self._turns -= 1

    async def personas(self) -> list[str]:
        """Personas whose adapter Answer has, and whose documents can be looked up."""
        adapters = await self._models.adapters(READY_DEADLINE_S)
        return [
            name
            for name, persona in self.settings.personas.items()
            if (adapters is None or persona.adapter in adapters) and (not persona.retrieval or self._models.looks_up)
        ]

    async def count(self, user_id: str | None, key: str | None) -> list[Allowance]:
        """Counts one request of ``key`` about ``user_id`` against their limits."""
        return await access.count(self._store, self.settings.access, user_id, key)

    async def _check(self, persona: str) -> None:
        if persona not in self.settings.personas or (
            self.settings.personas[persona].retrieval and not self._models.looks_up
        ):
            known = ", ".join(await self.personas())
            raise ApiError("model_not_found", param="persona", detail=persona, known=known)
        await self._refuse_while_starting()

    async def _refuse_while_starting(self) -> None:
        """Before the models that no turn can do without have answered once, it would only wait for their loading."""
        if not self._started:
            ready = await self.ready()
            if not all(ready.deployments[name].ok for name in REQUIRED):
                raise ApiError("starting", retry_after=5)
            self._started = True

    async def ready(self) -> Ready:
        """Whether the store and every deployment answer, and what each of them is."""
        store, described = await asyncio.gather(self._check_store(), self._models.describe(READY_DEADLINE_S))
        parts = {
            name: Part(ok=False, reason=str(found)) if isinstance(found, ModelUnavailable) else Part(ok=True, **found)
            for name, found in described.items()
        }
        ready = store.ok and all(part.ok for part in parts.values())
        return Ready(status="ready" if ready else "not_ready", profile=self._profile, store=store, deployments=parts)

    async def check_health(self) -> None:
        """Never fails for Redis: a replica outlives an outage. The embedded one ends when nobody is connected for long, and
        this, called by Serve every few seconds, is what stays connected while no request comes, and brings it back."""
        store = await self._check_store()
        if self._redis and not store.ok:
            self._redis = await asyncio.to_thread(embedded.keeper, self._data_dir)

    async def _check_store(self) -> Part:
        try:
            await self._store.ping()
        except StoreUnavailable as error:
            return Part(ok=False, reason=str(error))
        return Part(ok=True)


def _host() -> str:
    """The address that Serve's proxies listen on."""
    client = _get_global_client(raise_if_no_controller_running=False)
    return (client.http_config.host or "") if client else "127.0.0.1"


def _digest(request: ChatRequest, sampling: Sampling) -> str:
    """What tells two bodies under one Idempotency-Key apart."""
    body = json.dumps(request.model_dump(mode="json") | sampling.model_dump(exclude_defaults=True), sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()


def _counter(tokenizer: str | None) -> Any:
    """Counts tokens of the answer model; words where the model is the fake."""
    if tokenizer is None:
        return lambda text: len(text.split())
    loaded = Tokenizer.from_file(tokenizer)
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)
