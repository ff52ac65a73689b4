"""Conversations: whether a message may be answered, the session that its turn holds, and the turn as a reply or as events.

Knows nothing about HTTP or Ray: models come as an object with one method a hop, the store as the store. What happens inside
of a turn stands in deployments/turn.py.
"""

import asyncio
import datetime as dt
import time
import unicodedata
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, Literal
from zoneinfo import ZoneInfo

from deployments.config import IngressSettings
from deployments.models import Models
from deployments.schemas.errors import ApiError
from deployments.schemas.native import ChatRequest
from deployments.turn import Emit, TurnScript, blocked_error
from ohlora import clock, ethics, prompts
from state.store import Store


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

    async def events(
        self, request: ChatRequest, *, idempotency_key: str | None = None, body_digest: str | None = None
    ) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """The same turn as it happens: ``token`` events, ``pose``, and ``done`` with the whole reply.

        Raises what ``reply`` raises, before or between events. Closing the generator ends the turn, which is then not kept.
        """
        happened: asyncio.Queue[tuple[str, dict[str, Any]] | None] = asyncio.Queue()
        turn = asyncio.create_task(
            self.reply(
                request,
                idempotency_key=idempotency_key,
                body_digest=body_digest,
                emit=lambda name, data: happened.put_nowait((name, data)),
            )
        )
        turn.add_done_callback(lambda _: happened.put_nowait(None))
        try:
            while (event := await happened.get()) is not None:
                yield event
            reply, replayed = turn.result()
            if replayed:
                yield "token", {"text": reply["answer"]}
                yield "pose", reply["pose"]
            yield "done", reply
        finally:
            turn.cancel()
            await asyncio.gather(turn, return_exceptions=True)

    async def reply(
        self,
        request: ChatRequest,
        *,
        idempotency_key: str | None = None,
        body_digest: str | None = None,
        emit: Emit | None = None,
    ) -> tuple[dict[str, Any], bool]:
        """The reply to one message, as JSON, and whether it is the kept reply of an earlier request with the same key.

        ``emit``, where there is one, is called with each event of the turn but ``done``.

        Raises ApiError for what a client must know, and the store's errors. Whatever is raised, nothing of the turn is
        kept, but for the ledger entries of a block.
        """
        self._check_length(request.message)
        prompt = prompts.neutralise(request.message)
        if not prompt:
            only_marks = ("제어 문구만 있고 내용이 없어요", "it holds control marks only")
            raise ApiError("validation_error", param="message", detail=only_marks)
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
            self._models, self._store, self.settings, self._policy, self._numbers.memory_threshold, self._embedder,
            request=request, session=session, prompt=prompt, now=now, local=local, begun=begun, lease=begun.lease,
            started=started, emit=emit,
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

    def _check_length(self, message: str) -> None:
        limit = self._numbers.max_prompt_tokens
        tokens = self._models.count_tokens(unicodedata.normalize("NFC", message))
        if tokens > limit:
            raise ApiError("prompt_too_long", param="message", fields={"tokens": tokens, "limit": limit})

    def _refuse_if_blocked(self, ledger: list[ethics.LedgerEntry], now: dt.datetime) -> None:
        blocked = ethics.blocked_until(ledger, now)
        if blocked:
            until, entries = blocked
            raise blocked_error(until, [e.category or "" for e in entries], entries[-1].id)
