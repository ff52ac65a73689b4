"""What is kept about a person, for the person and for administrators: read it, change it, take it away.

Knows nothing about HTTP or Ray. Rules are ohlora's, storage is the store's; this embeds what is written and puts days and
keys into the person's time zone.
"""

import datetime as dt
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from deployments.models import Models, ModelUnavailable
from deployments.schemas import records as wire
from deployments.schemas.errors import ApiError
from ohlora import clock, ethics, memories, prompts
from state.store import Store
from state.types import texts_to_embed

EMBED_DEADLINE_S = 10.0


class Records:
    def __init__(
        self,
        models: Models,
        store: Store,
        *,
        embedder: str,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._models, self._store, self._embedder, self._now = models, store, embedder, now

    # -- memories

    async def memories(self, user: str, zone: str) -> wire.Memories:
        today = self._today(zone)
        items = await self._store.memories(user, today)
        return wire.Memories(memories=[_memory(item, today, zone) for item in items])

    async def remember(self, user: str, body: wire.NewMemory, zone: str) -> wire.Memory:
        """Writes an item; the same key replaces its value and keeps the history. Raises ApiError."""
        today = self._today(zone)
        key, value = _harmless(body.key, "key"), _harmless(body.value, "value")
        vectors = await self._embed(memories.embedding_texts(key, value, memories.date_of(key, today), today))
        item = await self._store.put_memory(
            user, key, value, today=today, now=self._now(), embeddings=vectors, embedder=self._embedder
        )
        return _memory(item, today, zone)

    async def change(self, user: str, memory_id: str, body: wire.ChangedMemory, zone: str) -> wire.Memory:
        """A new value for an item. Raises ApiError, NotFound."""
        today, value = self._today(zone), _harmless(body.value, "value")
        known = {item.id: item for item in await self._store.memories(user, today)}
        if memory_id not in known:
            raise ApiError("memory_not_found", detail=memory_id)
        vectors = await self._embed(texts_to_embed(known[memory_id].model_copy(update={"value": value}), today))
        item = await self._store.set_memory_value(
            user, memory_id, value, today=today, now=self._now(), embeddings=vectors, embedder=self._embedder
        )
        return _memory(item, today, zone)

    async def forget(self, user: str, memory_id: str) -> None:
        await self._store.delete_memory(user, memory_id)

    async def _embed(self, texts: list[str]) -> list[Any]:
        try:
            return [*await self._models.embed(texts, EMBED_DEADLINE_S)]
        except ModelUnavailable as error:
            raise ApiError("model_unavailable", detail=error.model) from error

    def _today(self, zone: str) -> dt.date:
        return clock.effective_date(self._now().astimezone(ZoneInfo(zone)))

    # -- sessions and the whole person

    async def sessions(self, user: str) -> wire.Sessions:
        found = await self._store.sessions(user)
        return wire.Sessions(sessions=[wire.Session.model_validate(info.model_dump()) for info in found])

    async def turns(self, user: str, session: str) -> wire.SessionTurns:
        return wire.SessionTurns(session_id=session, turns=await self._store.session_turns(user, session))

    async def delete_session(self, user: str, session: str) -> None:
        await self._store.delete_session(user, session)

    async def export(self, user: str) -> dict[str, Any]:
        return await self._store.export(user)

    async def erase(self, user: str) -> wire.Erasure:
        return wire.Erasure.model_validate(await self._store.erase(user, self._now()))

    # -- the ledger

    async def sanctions(self, user: str) -> wire.Sanctions:
        ledger = await self._store.ledger(user)
        until, active = ethics.blocked_until(ledger, self._now()) or (None, [])
        return wire.Sanctions(
            ledger=[_entry(entry) for entry in ledger],
            blocked_until=until,
            sanction_ids=[entry.id for entry in active],
        )

    async def appeal(self, user: str, body: wire.NewAppeal) -> wire.Entry:
        return _entry(await self._store.add_appeal(user, body.sanction_id, body.text, self._now()))

    async def lift(self, user: str, sanction_id: str, body: wire.LiftRequest) -> wire.Entry:
        return _entry(await self._store.lift(user, sanction_id, body.reason, self._now()))

    async def all_sanctions(self, limit: int, offset: int) -> wire.Page:
        return _page(await self._store.all_sanctions(limit=limit, offset=offset))

    async def all_appeals(self, limit: int, offset: int) -> wire.Page:
        return _page(await self._store.all_appeals(limit=limit, offset=offset))


def _harmless(text: str, param: str) -> str:
    """``text`` without control text: it will stand in a prompt."""
    cleaned = prompts.neutralise(text)
    if not cleaned:
        raise ApiError(
            "validation_error", param=param, detail=("제어 문구만 있고 내용이 없어요", "it holds control marks only")
        )
    return cleaned


def _memory(item: memories.MemoryItem, today: dt.date, zone: str) -> wire.Memory:
    expires = None
    if item.date is not None:
        end = dt.datetime.combine(item.date + dt.timedelta(days=1), dt.time(clock.DAY_STARTS_AT), ZoneInfo(zone))
        expires = end.astimezone(dt.UTC)
    return wire.Memory(
        id=item.id,
        key=item.key_on(today) or item.key,
        value=item.value,
        told_at=item.told_at.astimezone(dt.UTC),
        used_at=item.used_at.astimezone(dt.UTC) if item.used_at else None,
        expires_at=expires,
        history=[wire.OldValue(value=old.value, told_at=old.told_at.astimezone(dt.UTC)) for old in item.history],
    )


def _entry(entry: ethics.LedgerEntry) -> wire.Entry:
    return wire.Entry.model_validate(entry.model_dump())


def _page(page: Any) -> wire.Page:
    entries = [wire.UserEntry(user_id=found.user_id, entry=_entry(found.entry)) for found in page.entries]
    return wire.Page(entries=entries, next_offset=page.next_offset)
