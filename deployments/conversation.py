"""Conversations: whether a message may be answered, the session that its turn holds, and the turn as a reply or as events.

Knows nothing about HTTP or Ray: models come as an object with one method a hop, the store as the store. What happens inside
of a turn stands in deployments/turn.py.
"""

import asyncio
import datetime as dt
import time
import unicodedata
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np

from deployments.config import IngressSettings
from deployments.models import Models
from deployments.schemas.errors import ApiError
from deployments.schemas.native import AS_CONFIGURED, ChatRequest, Sampling
from deployments.turn import Emit, TurnScript, blocked_error
from ohlora import clock, ethics, prompts
from state.store import Store
from state.types import Begun

Event = tuple[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Stateless:
    """A message of a conversation that the client keeps. ``previous`` is the exchange before it: asked and answered."""

    message: str
    persona: str
    user_id: str | None = None
    previous: tuple[str, str] | None = None
    sampling: Sampling = AS_CONFIGURED


async def as_events(run: Callable[[Emit], Awaitable[tuple[dict[str, Any], bool]]]) -> AsyncGenerator[Event, None]:
    """A turn as it happens: ``token`` events, ``pose``, and ``done`` with the whole reply.

    ``run`` is given what to call with an event, and returns the reply and whether it is a kept one. Raises what it raises, before
    or between events. Closing the generator ends the turn, which is then not kept.
    """
    happened: asyncio.Queue[Event | None] = asyncio.Queue()
    turn = asyncio.ensure_future(run(lambda name, data: happened.put_nowait((name, data))))
    turn.add_done_callback(lambda _: happened.put_nowait(None))
    try:
        while (event := await happened.get()) is not None:
            yield event
        reply, replayed = turn.result()
        if replayed:
            yield "replayed", {}
            yield "token", {"text": reply["answer"]}
            yield "pose", reply["pose"]
        yield "done", reply
    finally:
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)


class Conversation:
    """Turns of one app. ``settings`` may be exchanged between two turns."""

    def __init__(
        self,
        models: Models,
        store: Store,
        *,
        profile: Literal["cpu", "gpu"],
        embedder: str,
        settings: IngressSettings | None = None,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._models = models
        self._store = store
        self._profile: Literal["cpu", "gpu"] = profile
        self._embedder = embedder
        self._now = now
        self.settings = settings or IngressSettings()

    @property
    def settings(self) -> IngressSettings:
        return self._settings

    @settings.setter
    def settings(self, settings: IngressSettings) -> None:
        self._settings = settings
        self._policy = settings.policy(self._profile)
        self._numbers = settings.cpu if self._profile == "cpu" else settings.gpu

    async def reply(
        self,
        request: ChatRequest,
        *,
        sampling: Sampling = AS_CONFIGURED,
        idempotency_key: str | None = None,
        body_digest: str | None = None,
        emit: Emit | None = None,
    ) -> tuple[dict[str, Any], bool]:
        """The reply to one message, as JSON, and whether it is the kept reply of an earlier request with the same key.

        ``emit``, where there is one, is called with each event of the turn but ``done``.

        Raises ApiError for what a client must know, and the store's errors. Whatever is raised, nothing of the turn is
        kept, but for the ledger entries of a block.
        """
        prompt = self._prompt(request.message, request.persona)
        session = request.session_id or uuid.uuid4().hex
        now = self._now()
        local = now.astimezone(ZoneInfo(request.timezone or self.settings.default_timezone))
        started = time.perf_counter()
        begun = await self._store.begin(
            user_id=request.user_id,
            session_id=session,
            now=now,
            today=clock.effective_date(local),
            embedder=self._embedder,
            idempotency_key=idempotency_key,
            body_digest=body_digest,
        )
        if begun.replay is not None:
            if refused := begun.replay.get("blocked"):
                raise blocked_error(dt.datetime.fromisoformat(refused["until"]), refused["categories"], refused["id"])
            return begun.replay, True
        self._refuse_if_blocked(begun.ledger, now)
        assert begun.lease is not None  # neither replayed nor blocked
        turn = TurnScript(
            self._models, self._store, self.settings, self._policy, self._numbers, self._embedder,
            persona_name=request.persona, session=session, prompt=prompt, sampling=sampling, now=now, local=local,
            begun=begun, started=started, emit=emit,
        )  # fmt: skip
        try:
            async with asyncio.timeout(self.settings.deadlines_s.turn):
                return await turn.run(), False
        except BaseException as error:
            # Shielded, because a client that leaves cancels this task, and the session must not stay taken.
            with suppress(Exception):
                await asyncio.shield(self._store.release(begun.lease))
            if isinstance(error, TimeoutError):
                raise ApiError("deadline_exceeded") from error
            raise

    async def stateless(self, asked: Stateless, *, emit: Emit | None = None) -> dict[str, Any]:
        """The reply to one message of a conversation that the client keeps itself: nothing of it is kept here. A named user who is
        blocked is refused. Raises as ``reply`` does."""
        prompt = self._prompt(asked.message, asked.persona)
        now = self._now()
        local = now.astimezone(ZoneInfo(self.settings.default_timezone))
        ledger = await self._store.ledger(asked.user_id) if asked.user_id else []
        self._refuse_if_blocked(ledger, now)
        begun = Begun(
            replay=None, lease=None, summary=None, ids=[], vectors=np.empty((0, 0), np.float32), stale=[],
            ledger=ledger, turn_number=0,
        )  # fmt: skip
        turn = TurnScript(
            self._models, self._store, self.settings, self._policy, self._numbers, self._embedder,
            persona_name=asked.persona, session="", prompt=prompt, sampling=asked.sampling, now=now, local=local,
            begun=begun, started=time.perf_counter(), emit=emit, previous=asked.previous,
        )  # fmt: skip
        try:
            async with asyncio.timeout(self.settings.deadlines_s.turn):
                return await turn.run()
        except TimeoutError as error:
            raise ApiError("deadline_exceeded") from error

    def events(
        self,
        request: ChatRequest,
        *,
        sampling: Sampling = AS_CONFIGURED,
        idempotency_key: str | None = None,
        body_digest: str | None = None,
    ) -> AsyncGenerator[Event, None]:
        """``reply`` as it happens."""
        return as_events(
            lambda emit: self.reply(
                request, sampling=sampling, idempotency_key=idempotency_key, body_digest=body_digest, emit=emit
            )
        )

    def stateless_events(self, asked: Stateless) -> AsyncGenerator[Event, None]:
        """``stateless`` as it happens."""

        async def run(emit: Emit) -> tuple[dict[str, Any], bool]:
            return await self.stateless(asked, emit=emit), False

        return as_events(run)

    def _prompt(self, message: str, persona: str) -> str:
        """What a model may read of a message. Raises ApiError for a message that is too long or says nothing, and for a
        persona that isn't there."""
        self._check_length(message, persona)
        prompt = prompts.neutralise(message)
        if not prompt:
            only_marks = ("제어 문구만 있고 내용이 없어요", "it holds control marks only")
            raise ApiError("validation_error", param="message", detail=only_marks)
        return prompt

    def _check_length(self, message: str, persona: str) -> None:
        if persona not in self.settings.personas:
            raise ApiError("model_not_found", param="persona", detail=persona, known=", ".join(self.settings.personas))
        limit = self.settings.personas[persona].max_prompt_tokens or self._numbers.max_prompt_tokens
        tokens = self._models.count_tokens(unicodedata.normalize("NFC", message))
        if tokens > limit:
            raise ApiError("prompt_too_long", param="message", fields={"tokens": tokens, "limit": limit})

    def _refuse_if_blocked(self, ledger: list[ethics.LedgerEntry], now: dt.datetime) -> None:
        blocked = ethics.blocked_until(ledger, now)
        if blocked:
            until, entries = blocked
            raise blocked_error(until, [e.category or "" for e in entries], entries[-1].id)
