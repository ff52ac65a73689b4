"""One turn as a script: which hop runs when, what runs together, what is kept at the end.

Knows nothing about HTTP or Ray, nor about whether the turn may run at all: deployments/conversation.py took the session for
it. Nothing is kept unless the whole turn is.
"""

import asyncio
import datetime as dt
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deployments.config import Deadlines, IngressSettings
from deployments.engines.base import PromptTooLong
from deployments.models import Models, ModelUnavailable, Vectors
from deployments.schemas.errors import ApiError
from deployments.schemas.native import (
    ChatReply,
    ChatRequest,
    EthicsReply,
    MemoryReply,
    PoseReply,
    SavedMemory,
    Timings,
    UsedMemory,
)
from ohlora import answers, clock, ethics, memories, persona, prompts
from ohlora.pose import Pose
from state.errors import LedgerChanged
from state.store import Store
from state.types import Begun, Lease, MemoryWrite, Turn, texts_to_embed

logger = logging.getLogger("ray.serve")
Emit = Callable[[str, dict[str, Any]], None]


@dataclass
class _Recalled:
    """The remembered item that a prompt is about, and vectors made on the way."""

    text: str | None = None
    used: UsedMemory | None = None
    refreshed: list[tuple[str, list[Vectors], str]] = field(default_factory=list)


class TurnScript:
    """The one run of one turn: what it was given, and what its hops left behind."""

    def __init__(
        self,
        models: Models,
        store: Store,
        settings: IngressSettings,
        policy: ethics.EthicsPolicy,
        memory_threshold: float,
        embedder: str,
        *,
        request: ChatRequest,
        session: str,
        prompt: str,
        now: dt.datetime,
        local: dt.datetime,
        begun: Begun,
        lease: Lease,
        started: float,
        emit: Emit | None,
    ) -> None:
        self._models, self._store, self._settings, self._policy = models, store, settings, policy
        self._memory_threshold, self._embedder = memory_threshold, embedder
        self._request, self._session, self._prompt = request, session, prompt
        self._now, self._local, self._today = now, local, clock.effective_date(local)
        self._begun, self._lease, self._started = begun, lease, started
        self._deadlines: Deadlines = settings.deadlines_s
        self._turn_id = uuid.uuid4().hex
        self._timings = Timings()
        self._degraded: list[str] = []
        self._emit, self._sent = emit, ""

    async def run(self) -> dict[str, Any]:
        scores, recalled = await together(self._score(), self._recall())
        suspects = ethics.suspected(self._policy, scores)
        if suspects and not any(category.needs_refusal for category in suspects):
            await self._block_or_go_on(scores, answer="")  # certain without an answer, so no model writes one
        bare = clock.with_time_context(self._prompt, self._local)
        turn_input = prompts.answer_input(bare, memory=recalled.text, summary=self._begun.summary)
        remembering = asyncio.create_task(self._remember(turn_input))
        try:
            answer = await self._answer(turn_input, bare, hold=bool(suspects) or self._emit is None)
            verdict = await self._block_or_go_on(scores, answer)
            self._send(answer)
            said = answer != answers.LEFT_ON_READ
            pose, summary, write = await together(
                self._express(answer if said else None),
                self._summarise(turn_input, answer if said else None),
                remembering,
            )
        finally:
            remembering.cancel()
            await asyncio.gather(remembering, return_exceptions=True)
        reply = self._reply(scores, recalled, verdict, answer, pose, summary, write)
        return await self._commit(reply, recalled, verdict, scores, answer, summary, write)

    async def _score(self) -> dict[str, float]:
        with self._timed("ethics"):
            try:
                return await self._models.ethics_scores(self._prompt, self._policy.labels, self._deadlines.ethics)
            except ModelUnavailable as error:
                # Fails closed: without a score nothing says that this may be answered.
                raise refused(error) from error

    async def _recall(self) -> _Recalled:
        begun, recalled = self._begun, _Recalled()
        if not begun.ids and not begun.stale:
            return recalled
        with self._timed("memory_search"):
            try:
                prompt, ids, vectors = await self._embedded(recalled)
            except ModelUnavailable as error:
                self._go_on_without("memory_search", error)
                return recalled
            found = memories.best(prompt, vectors, threshold=self._memory_threshold)
            item = await self._store.memory(self._lease.user_id, ids[found[0]], self._today) if found else None
        if found and item:  # it may have been forgotten meanwhile
            key = item.key_on(self._today) or item.key
            recalled.text = memories.item_text(key, item.value)
            recalled.used = UsedMemory(id=item.id, key=key, value=item.value, similarity=round(found[1], 4))
        return recalled

    async def _embedded(self, recalled: _Recalled) -> tuple[Vectors, list[str], Vectors]:
        """Vectors of the prompt and of the items. Items whose vectors another model made are embedded again, and kept."""
        texts = [texts_to_embed(item, self._today) for item in self._begun.stale]
        flat = [text for of_item in texts for text in of_item]
        embedded = await self._models.embed([self._prompt, *flat], self._deadlines.memory_search)
        if not texts:
            return embedded[0], self._begun.ids, self._begun.vectors
        at, fresh = 1, []
        for item, of_item in zip(self._begun.stale, texts, strict=True):
            made = [*embedded[at : at + len(of_item)]]
            recalled.refreshed.append((item.id, made, self._embedder))
            fresh.append(made[0])
            at += len(of_item)
        vectors = np.vstack([*([self._begun.vectors] if self._begun.ids else []), *fresh])
        return embedded[0], self._begun.ids + [item.id for item in self._begun.stale], vectors

    async def _answer(self, turn_input: str, bare: str, hold: bool) -> str:
        """The first fit answer; after the last try she leaves the message on read. A calendar mistake is tried warmer.

        Where a long memory or summary leaves no room for an answer, the ``bare`` prompt is answered. What no rule can refuse
        any more is sent on the way, unless nobody listens or the verdict has to be waited for (``hold``); once something was sent nothing is
        tried again, and an answer that turns out unfit ends where it was fit.
        """
        warmer = 0.0
        with self._timed("answer"):
            for _ in range(self._settings.answer_tries):
                text = ""
                try:
                    async with aclosing(
                        self._models.answer(turn_input, round(warmer, 1), self._deadlines.answer)
                    ) as chunks:
                        async for chunk in chunks:
                            self._timings.first_token = self._timings.first_token or self._elapsed(self._started)
                            text += chunk.text
                            if not hold:
                                self._send(answers.sendable(text, self._local))
                except PromptTooLong:
                    if turn_input == bare:
                        tokens = self._models.count_tokens(bare)
                        raise ApiError(
                            "prompt_too_long", param="message", fields={"tokens": tokens, "limit": tokens - 1}
                        ) from None
                    turn_input = bare
                    continue
                except ModelUnavailable as error:
                    raise refused(error) from error
                answer = answers.clean(text)
                refusal = answers.refusal(answer, self._local)
                if refusal is None and answer.startswith(self._sent):
                    return answer
                if self._sent:
                    return self._sent
                if refusal is answers.Refusal.CALENDAR:
                    warmer += 0.1
        return answers.LEFT_ON_READ

    def _send(self, answer: str) -> None:
        """Emits what ``answer`` has more than was sent before."""
        if self._emit and len(answer) > len(self._sent) and answer.startswith(self._sent):
            self._emit("token", {"text": answer[len(self._sent) :]})
            self._sent = answer

    async def _remember(self, turn_input: str) -> MemoryWrite | None:
        with self._timed("memory"):
            try:
                found = await self._models.extract(turn_input, self._deadlines.memory)
                if found is None:
                    return None
                key, value = (prompts.neutralise(part) for part in found)
                if not key or not value:
                    return None
                date = memories.date_of(key, self._today)
                texts = memories.embedding_texts(key, value, date, self._today)
                vectors = await self._models.embed(texts, self._deadlines.memory_search)
            except ModelUnavailable as error:
                self._go_on_without("memory", error)
                return None
        return MemoryWrite(key=key, value=value, date=date, vectors=[*vectors], embedder=self._embedder)

    async def _express(self, answer: str | None) -> Pose:
        pose = Pose()
        if answer is not None:
            with self._timed("pose"):
                try:
                    pose = Pose.parse(await self._models.express(answer, self._deadlines.pose)) or pose
                except ModelUnavailable as error:
                    self._go_on_without("pose", error)
        if self._emit:
            self._emit("pose", _pose_reply(pose).model_dump())
        return pose

    async def _summarise(self, turn_input: str, answer: str | None) -> str | None:
        if answer is None:
            return None
        with self._timed("summary"):
            try:
                return await self._models.summarise(turn_input, answer, self._deadlines.summary)
            except ModelUnavailable as error:
                self._go_on_without("summary", error)
                return None

    def _go_on_without(self, part: str, error: ModelUnavailable) -> None:
        self._degraded.append(part)
        logger.warning("turn %s goes on without %s: %s", self._turn_id, part, error)

    async def _block_or_go_on(self, scores: dict[str, float], answer: str) -> ethics.Verdict:
        """The verdict, unless it is a block: that one is kept, nothing else of the turn is, and the user is refused."""
        ledger = self._begun.ledger
        while True:
            verdict = ethics.judge(self._policy, scores, answer, ledger, self._now)
            if verdict.kind != "block":
                return verdict
            entries = self._entries(verdict)
            assert verdict.until is not None  # every block has an end
            categories = [offence.category for offence in verdict.offences]
            refused = {"until": verdict.until.isoformat(), "categories": categories, "id": entries[-1].id}
            turn = Turn(
                turn_id=self._turn_id, at=self._now, today=self._today, prompt=self._prompt, answer="", summary=None,
                reply={"blocked": refused}, memory=None, used_memory_id=None, offences=entries, blocked=True,
            )  # fmt: skip
            try:
                await asyncio.shield(self._store.commit(self._lease, turn))
            except LedgerChanged as changed:
                ledger = changed.ledger
                continue
            raise blocked_error(verdict.until, categories, entries[-1].id)

    def _entries(self, verdict: ethics.Verdict) -> list[ethics.LedgerEntry]:
        kind = ethics.Kind.BLOCK if verdict.kind == "block" else ethics.Kind.WARNING
        return [
            ethics.LedgerEntry(
                id=f"{self._turn_id}-{offence.category}",
                kind=kind,
                at=self._now,
                category=offence.category,
                level=offence.level,
                until=verdict.until,
            )
            for offence in verdict.offences
        ]

    def _reply(
        self,
        scores: dict[str, float],
        recalled: _Recalled,
        verdict: ethics.Verdict,
        answer: str,
        pose: Pose,
        summary: str | None,
        write: MemoryWrite | None,
    ) -> ChatReply:
        saved = SavedMemory(id=write.id, key=write.key, value=write.value) if write else None
        return ChatReply(
            turn_id=self._turn_id,
            session_id=self._session,
            persona=self._request.persona,
            answer=answer,
            pose=_pose_reply(pose),
            memory=MemoryReply(used=recalled.used, saved=saved),
            summary=summary,
            ethics=EthicsReply(verdict=verdict.kind, categories=[o.category for o in verdict.offences], scores=scores),
            system_message=warning_text(verdict),
            degraded=sorted(self._degraded),
            timings_ms=self._timings,
        )

    async def _commit(
        self,
        reply: ChatReply,
        recalled: _Recalled,
        verdict: ethics.Verdict,
        scores: dict[str, float],
        answer: str,
        summary: str | None,
        write: MemoryWrite | None,
    ) -> dict[str, Any]:
        while True:
            begin = time.perf_counter()
            self._timings.total = self._elapsed(self._started)
            turn = Turn(
                turn_id=self._turn_id, at=self._now, today=self._today, prompt=self._prompt, answer=answer,
                summary=summary, reply=reply.model_dump(mode="json"), memory=write,
                used_memory_id=recalled.used.id if recalled.used else None, offences=self._entries(verdict),
                blocked=False, refreshed=recalled.refreshed,
            )  # fmt: skip
            try:
                # Shielded: once the script is on its way the turn is kept, whether or not the client waits for it.
                await asyncio.shield(self._store.commit(self._lease, turn))
                break
            except LedgerChanged as changed:
                # Another session of this person was judged meanwhile: the level of this offence is a later one.
                self._begun.ledger[:] = changed.ledger
                verdict = await self._block_or_go_on(scores, answer)
                reply.system_message = warning_text(verdict)
        if self._lease.idempotency_key is None:  # else the reply stays exactly as it was stored for a repeat
            self._timings.commit = self._elapsed(begin)
            self._timings.total = self._elapsed(self._started)
        return reply.model_dump(mode="json")

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            setattr(self._timings, name, self._elapsed(begin))

    @staticmethod
    def _elapsed(since: float) -> float:
        return round((time.perf_counter() - since) * 1000, 2)


def refused(error: ModelUnavailable) -> ApiError:
    """What a client is told when a turn can't do without a model that did not answer."""
    return ApiError("overloaded") if error.overloaded else ApiError("model_unavailable", detail=error.model)


def _pose_reply(pose: Pose) -> PoseReply:
    return PoseReply(eyes=pose.eyes, mouth=pose.mouth, head=pose.head, scores=pose.scores, weights=pose.weights)


async def together(*work: Awaitable[Any]) -> Any:
    """Results of ``work`` run at the same time; when one fails the others are cancelled and waited for."""
    tasks = [asyncio.ensure_future(part) for part in work]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def warning_text(verdict: ethics.Verdict) -> str | None:
    if verdict.kind != "warning":
        return None
    return persona.WARNING[0].format(categories=_named([o.category for o in verdict.offences])[0])


def blocked_error(until: dt.datetime, categories: list[str], sanction_id: str) -> ApiError:
    categories = list(dict.fromkeys(categories))
    stamp = until.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    return ApiError(
        "user_blocked",
        fields={"blocked_until": stamp, "sanction_id": sanction_id} | {"categories": categories},
        until=stamp,
        named=_named(categories),
    )


def _named(categories: list[str]) -> tuple[str, str]:
    """Names of category keys in Korean and English; a key that an operator added names itself."""
    names = [persona.CATEGORY_NAMES.get(key, (key, key)) for key in categories]
    return ", ".join(name[0] for name in names), ", ".join(name[1] for name in names)
