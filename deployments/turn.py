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
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deployments.answering import Answering, call_for
from deployments.config import Deadlines, IngressSettings, ProfileSettings
from deployments.engines.base import PromptTooLong
from deployments.models import Models, ModelUnavailable, UnknownAdapter, Vectors
from deployments.schemas.errors import ApiError
from deployments.schemas.native import (
    EthicsReply,
    MemoryReply,
    PoseReply,
    Sampling,
    SavedMemory,
    Source,
    Timings,
    TurnReply,
    UsedMemory,
)
from ohlora import answers, clock, ethics, memories, persona, prompts
from ohlora.pose import Pose
from state.errors import LedgerChanged
from state.store import Store
from state.types import Begun, MemoryWrite, Turn, texts_to_embed

logger = logging.getLogger("ray.serve")
Emit = Callable[[str, dict[str, Any]], None]


@dataclass
class _Known:
    """What a turn knows beside the prompt: the remembered item that it is about (and vectors made on the way), the summary of
    the turn before, documents."""

    text: str | None = None
    summary: str | None = None
    sources: list[Source] = field(default_factory=list)
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
        numbers: ProfileSettings,
        embedder: str,
        *,
        persona_name: str,
        session: str,
        prompt: str,
        sampling: Sampling,
        now: dt.datetime,
        local: dt.datetime,
        begun: Begun,
        started: float,
        emit: Emit | None,
        previous: tuple[str, str] | None = None,
    ) -> None:
        self._models, self._store, self._settings, self._policy = models, store, settings, policy
        self._numbers, self._embedder = numbers, embedder
        self._persona_name, self._persona = persona_name, settings.personas[persona_name]
        self._session, self._prompt, self._sampling, self._previous = session, prompt, sampling, previous
        self._now, self._local, self._today = now, local, clock.effective_date(local)
        self._begun, self._lease, self._started = begun, begun.lease, started
        self._deadlines: Deadlines = settings.deadlines_s
        self._turn_id = uuid.uuid4().hex
        self._timings = Timings()
        self._degraded: list[str] = []
        self._emit = emit
        self._answering = Answering(
            models,
            tries=settings.answer_tries,
            deadline=self._deadlines.answer,
            local=local,
            send=(lambda text: emit("token", {"text": text})) if emit else None,
        )

    async def run(self) -> dict[str, Any]:
        """The reply as JSON. Without a lease (the stateless form) nothing is kept, and a block is a reply that says so."""
        scores, known = await together(self._score(), self._know())
        suspects = ethics.suspected(self._policy, scores)
        certain = suspects and not any(category.needs_refusal for category in suspects)
        if certain and (verdict := await self._blocked(scores, answer="")):  # then no model writes one
            return self._unanswered(scores, known, verdict)
        turn_input, prompt, bare = self._prompts(known)
        remembering = asyncio.create_task(self._remember(turn_input))
        try:
            answer = await self._answer(prompt, bare, hold=bool(suspects) or self._emit is None)
            if verdict := await self._blocked(scores, answer):
                return self._unanswered(scores, known, verdict)
            self._answering.send(answer)
            said = answer != answers.LEFT_ON_READ
            pose, summary, write = await together(
                self._express(answer if said else None),
                self._summarise(turn_input, answer if said else None),
                remembering,
            )
        finally:
            remembering.cancel()
            await asyncio.gather(remembering, return_exceptions=True)
        verdict = ethics.judge(self._policy, scores, answer, self._begun.ledger, self._now)
        reply = self._reply(scores, known, verdict, answer, pose, summary, write)
        return await self._commit(reply, known, verdict, scores, answer, summary, write)

    async def _know(self) -> _Known:
        """What stands beside the prompt: a document, a remembered item, or the summary of the turn before."""
        if self._persona.format == "tutor":
            return await self._look_up()
        if not self._persona.remembers:
            return _Known()
        known, summary = await together(self._recall(), self._summary_before())
        known.summary = summary
        return known

    async def _summary_before(self) -> str | None:
        """Of the turn before: as it was kept, or made anew from the conversation that was sent along."""
        if self._previous is None:
            return self._begun.summary
        asked, answered = (prompts.neutralise(text) for text in self._previous)
        return await self._summarise(asked, answered)

    async def _look_up(self) -> _Known:
        known = _Known()
        if self._persona.retrieval:
            with self._timed("memory_search"):
                try:
                    found = await self._models.documents(self._prompt, self._deadlines.documents)
                except ModelUnavailable as error:
                    self._go_on_without("documents", error)
                    return known
            near = [one for one in found if one.similarity >= self._numbers.source_threshold]
            known.sources = [Source(id=f.id, title=f.title, text=f.text, similarity=f.similarity) for f in near]
        return known

    def _prompts(self, known: _Known) -> tuple[str, str, str]:
        """INPUT, the answer model's prompt, and a shorter one where that leaves no room."""
        if self._persona.format == "tutor":
            document = prompts.neutralise(known.sources[0].text) if known.sources else None
            bare = prompts.tutor_prompt(self._prompt, None)
            return self._prompt, prompts.tutor_prompt(self._prompt, document), bare
        bare = clock.with_time_context(self._prompt, self._local)
        turn_input = prompts.answer_input(bare, memory=known.text, summary=known.summary)
        return turn_input, prompts.answer_prompt(turn_input), prompts.answer_prompt(bare)

    async def _score(self) -> dict[str, float]:
        with self._timed("ethics"):
            try:
                return await self._models.ethics_scores(self._prompt, self._policy.labels, self._deadlines.ethics)
            except ModelUnavailable as error:
                # Fails closed: without a score nothing says that this may be answered.
                raise refused(error) from error

    async def _recall(self) -> _Known:
        begun, known = self._begun, _Known()
        if not begun.ids and not begun.stale:
            return known
        with self._timed("memory_search"):
            try:
                prompt, ids, vectors = await self._embedded(known)
            except ModelUnavailable as error:
                self._go_on_without("memory_search", error)
                return known
            found = memories.best(prompt, vectors, threshold=self._numbers.memory_threshold)
            user_id = self._lease.user_id if self._lease else ""  # nothing is recalled without a lease
            item = await self._store.memory(user_id, ids[found[0]], self._today) if found else None
        if found and item:  # it may have been forgotten meanwhile
            key = item.key_on(self._today) or item.key
            known.text = memories.item_text(key, item.value)
            known.used = UsedMemory(id=item.id, key=key, value=item.value, similarity=round(found[1], 4))
        return known

    async def _embedded(self, known: _Known) -> tuple[Vectors, list[str], Vectors]:
        """Vectors of the prompt and of the items. Items whose vectors another model made are embedded again, and kept."""
        texts = [texts_to_embed(item, self._today) for item in self._begun.stale]
        flat = [text for of_item in texts for text in of_item]
        embedded = await self._models.embed([self._prompt, *flat], self._deadlines.memory_search)
        if not texts:
            return embedded[0], self._begun.ids, self._begun.vectors
        at, fresh = 1, []
        for item, of_item in zip(self._begun.stale, texts, strict=True):
            made = [*embedded[at : at + len(of_item)]]
            known.refreshed.append((item.id, made, self._embedder))
            fresh.append(made[0])
            at += len(of_item)
        vectors = np.vstack([*([self._begun.vectors] if self._begun.ids else []), *fresh])
        return embedded[0], self._begun.ids + [item.id for item in self._begun.stale], vectors

    async def _answer(self, prompt: str, bare: str, hold: bool) -> str:
        """Where a long memory, summary or document leaves no room for an answer, the ``bare`` prompt is answered."""
        calls = [
            call_for(text, self._persona.adapter, self._persona.max_total_tokens, self._sampling)
            for text in dict.fromkeys((prompt, bare))
        ]
        with self._timed("answer"):
            try:
                return await self._answering.write(calls, hold=hold)
            except PromptTooLong:
                tokens = self._models.count_tokens(bare)
                raise ApiError(
                    "prompt_too_long", param="message", fields={"tokens": tokens, "limit": tokens - 1}
                ) from None
            except UnknownAdapter as error:
                # A persona that is configured, but whose adapter this profile does not have.
                logger.error("persona %s: %s", self._persona_name, error)
                known = ", ".join(name for name in self._settings.personas if name != self._persona_name)
                raise ApiError("model_not_found", param="persona", detail=self._persona_name, known=known) from error
            except ModelUnavailable as error:
                raise refused(error) from error
            finally:
                if self._answering.first_token:
                    self._timings.first_token = round((self._answering.first_token - self._started) * 1000, 2)

    async def _remember(self, turn_input: str) -> MemoryWrite | None:
        if not self._persona.remembers or self._persona.format == "tutor" or self._lease is None:
            return None
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
        if answer is None or not self._persona.remembers or self._persona.format == "tutor":
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

    async def _blocked(self, scores: dict[str, float], answer: str) -> ethics.Verdict | None:
        """Keeps a block, and nothing else of the turn, and refuses the user. Without a lease it is returned, and kept nowhere."""
        ledger = self._begun.ledger
        while True:
            verdict = ethics.judge(self._policy, scores, answer, ledger, self._now)
            if verdict.kind != "block":
                return None
            if self._lease is None:
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

    def _unanswered(self, scores: dict[str, float], known: _Known, verdict: ethics.Verdict) -> dict[str, Any]:
        """The reply to what would have blocked its user, where there is none to block."""
        self._answering.finish_reason = "content_filter"
        answer = persona.NOT_ANSWERED[0]
        self._answering.send(answer)
        self._timings.total = self._elapsed(self._started)
        return self._reply(scores, known, verdict, answer, Pose(), None, None).model_dump(mode="json")

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
        known: _Known,
        verdict: ethics.Verdict,
        answer: str,
        pose: Pose,
        summary: str | None,
        write: MemoryWrite | None,
    ) -> TurnReply:
        saved = SavedMemory(id=write.id, key=write.key, value=write.value) if write else None
        return TurnReply(
            turn_id=self._turn_id,
            session_id=self._session,
            persona=self._persona_name,
            answer=answer,
            pose=_pose_reply(pose),
            memory=MemoryReply(used=known.used, saved=saved),
            summary=summary,
            ethics=EthicsReply(verdict=verdict.kind, categories=[o.category for o in verdict.offences], scores=scores),
            system_message=warning_text(verdict) or self._not_found(known),
            sources=known.sources,
            finish_reason=self._answering.finish_reason,
            usage=self._answering.usage,
            degraded=sorted(self._degraded),
            timings_ms=self._timings,
        )

    def _not_found(self, known: _Known) -> str | None:
        return persona.NO_SOURCE[0] if self._persona.retrieval and not known.sources else None

    async def _commit(
        self,
        reply: TurnReply,
        known: _Known,
        verdict: ethics.Verdict,
        scores: dict[str, float],
        answer: str,
        summary: str | None,
        write: MemoryWrite | None,
    ) -> dict[str, Any]:
        if self._lease is None:
            self._timings.total = self._elapsed(self._started)
            return reply.model_dump(mode="json")
        while True:
            begin = time.perf_counter()
            self._timings.total = self._elapsed(self._started)
            turn = Turn(
                turn_id=self._turn_id, at=self._now, today=self._today, prompt=self._prompt, answer=answer,
                summary=summary, reply=reply.model_dump(mode="json"), memory=write,
                used_memory_id=known.used.id if known.used else None, offences=self._entries(verdict),
                blocked=False, refreshed=known.refreshed,
            )  # fmt: skip
            try:
                # Shielded: once the script is on its way the turn is kept, whether or not the client waits for it.
                await asyncio.shield(self._store.commit(self._lease, turn))
                break
            except LedgerChanged as changed:
                # Another session of this person was judged meanwhile: the level of this offence is a later one.
                self._begun.ledger[:] = changed.ledger
                await self._blocked(scores, answer)
                verdict = ethics.judge(self._policy, scores, answer, changed.ledger, self._now)
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
