"""What several tests need: the deployments' own classes in this process, behind handles that call them directly."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from deployments import access
from deployments.app import DEPLOYMENTS
from deployments.config import AppConfig, IngressSettings
from deployments.conversation import Conversation, Stateless
from deployments.engines.base import GenerationRequest
from deployments.engines.fake import FakeEngine, echo
from deployments.handles import ServeModels
from deployments.records import Records
from deployments.schemas.native import AS_CONFIGURED, ChatRequest, Part, Ready, Sampling
from state.limits import Allowance
from state.store import Store

FAKE_MODELS = {
    **{name: {"engine": "fake", "base": "none"} for name in ("answer", "summary", "memory", "pose")},
    **{name: {"engine": "fake", "model": "none"} for name in ("memory_sbert", "ethics_sbert")},
    "rag_sbert": {"engine": "fake", "model": "none", "documents": "models/tiny/documents"},
}


class LocalResponse:
    """What a handle's call gives back: awaited for a value, iterated for a stream, and it can be cancelled."""

    def __init__(self, work: Any) -> None:
        self._work = work
        self._task: asyncio.Task[Any] | None = None

    def __await__(self) -> Any:
        async def value() -> Any:
            return await self._work if hasattr(self._work, "__await__") else self._work

        self._task = asyncio.ensure_future(value())
        return self._task.__await__()

    def __aiter__(self) -> AsyncGenerator[Any, None]:
        return self._work

    def cancel(self) -> None:
        if self._task:
            self._task.cancel()


class LocalHandle:
    """Calls a replica in this process the way a DeploymentHandle calls one elsewhere. ``failure`` is raised instead."""

    def __init__(self, replica: Any) -> None:
        self.replica = replica
        self.failure: Exception | None = None
        self.calls: list[str] = []

    def options(self, **_: Any) -> "LocalHandle":
        return self

    def __getattr__(self, method: str) -> Any:
        handle = self

        class Method:
            def remote(self, *args: Any) -> LocalResponse:
                handle.calls.append(method)
                if handle.failure:
                    raise handle.failure
                return LocalResponse(getattr(handle.replica, method)(*args))

        return Method()


class LocalModels(ServeModels):
    """Every model deployment in this process on fakes. ``script`` says what the language models write; ``scores`` what the
    ethics encoder says, by prompt."""

    handles: dict[str, LocalHandle]

    @classmethod
    async def create(cls, script: Callable[[GenerationRequest], str] = echo) -> "LocalModels":
        config = AppConfig.model_validate({"cpu": FAKE_MODELS})
        handles = {}
        for name, model in config.cpu.items():
            kind = DEPLOYMENTS[name].func_or_class
            replica = kind.__new__(kind)
            if not hasattr(kind, "task"):
                replica._batched = _one_at_a_time(replica)  # Serve's batching runs inside of a replica only
            await replica.__init__(model, f"cpu.{name}")
            if hasattr(replica, "engine"):
                replica.engine = FakeEngine(script=script)
            handles[DEPLOYMENTS[name].name] = LocalHandle(replica)
        models = cls(handles, lambda text: len(text.split()))  # type: ignore[arg-type]
        models.handles = handles
        return models

    def score(self, **by_label: float) -> None:
        """Makes EthicsSBERT give these scores, whatever the prompt; labels not named score 0."""

        async def scores(prompt: str, labels: tuple[str, ...]) -> dict[str, float]:
            return {label: by_label.get(label, 0.0) for label in labels}

        self.handles["EthicsSBERT"].replica.scores = scores


def _one_at_a_time(replica: Any) -> Any:
    async def encode(text: str) -> Any:
        return replica._encode([text])[0]

    return encode


class LocalService:
    """What the ingress offers, on fakes; ``failure`` is raised instead of a reply."""

    def __init__(self, models: LocalModels, store: Store, settings: IngressSettings | None = None) -> None:
        self.models, self.store = models, store
        self.conversation = Conversation(models, store, profile="cpu", embedder="fake", settings=settings)
        self.records = Records(models, store, embedder="fake")
        self.failure: Exception | None = None
        self.parts = {"Answer": Part(ok=True)}

    @property
    def settings(self) -> IngressSettings:
        return self.conversation.settings

    async def chat(
        self, request: ChatRequest, idempotency_key: str | None, sampling: Sampling = AS_CONFIGURED
    ) -> tuple[dict[str, Any], bool]:
        if self.failure:
            raise self.failure
        return await self.conversation.reply(
            request, sampling=sampling, idempotency_key=idempotency_key, body_digest="d"
        )

    def events(self, request: ChatRequest, idempotency_key: str | None, sampling: Sampling = AS_CONFIGURED) -> Any:
        return self.conversation.events(request, sampling=sampling, idempotency_key=idempotency_key, body_digest="d")

    async def stateless(self, asked: Stateless) -> dict[str, Any]:
        if self.failure:
            raise self.failure
        return await self.conversation.stateless(asked)

    def stateless_events(self, asked: Stateless) -> Any:
        return self.conversation.stateless_events(asked)

    async def personas(self) -> list[str]:
        return [*self.settings.personas]

    async def count(self, user_id: str | None, key: str | None) -> list[Allowance]:
        return await access.count(self.store, self.settings.access, user_id, key)

    async def ready(self) -> Ready:
        ok = all(part.ok for part in self.parts.values())
        status = "ready" if ok else "not_ready"
        return Ready(status=status, profile="cpu", store=Part(ok=True), deployments=self.parts)
