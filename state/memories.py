"""Memory items outside a turn: reading, writing, changing and forgetting them.

Knows nothing about what makes two items the same one, how they read on a day or what text may be one: ohlora.memories
does. Whoever writes an item brings its embeddings.
"""

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from ohlora.memories import MemoryItem, item_text, parse
from state.database import Database
from state.errors import NotFound
from state.types import MemoryWrite, Vectors
from state.vectors import pack

_ITEMS = TypeAdapter(list[MemoryItem])


async def items(db: Database, user_id: str, today: dt.date) -> list[MemoryItem]:
    """What is remembered on ``today``, told last first."""
    return [item for item in await all_items(db, user_id) if item.key_on(today)]


async def all_items(db: Database, user_id: str) -> list[MemoryItem]:
    """Also those whose day has passed and that weren't removed yet."""
    key = db.keys(user_id).one("items")
    stored: list[Any] = await db.attempt(lambda: db.client.hvals(key))
    return sorted(_parsed(stored), key=lambda item: item.told_at, reverse=True)


async def find(db: Database, user_id: str, memory_ids: Sequence[str], today: dt.date) -> list[MemoryItem]:
    """Those of the items that are still there on ``today``, in the order asked for."""
    key = db.keys(user_id).one("items")
    stored: list[Any] = await db.attempt(lambda: db.client.hmget(key, list(memory_ids)))
    return [item for item in _parsed([one for one in stored if one]) if item.key_on(today)]


async def put(
    db: Database, user_id: str, write: MemoryWrite, *, today: dt.date, now: dt.datetime, must_exist: bool = False
) -> MemoryItem:
    """Raises ValueError for a key or value that no prompt could show as one item; NotFound with ``must_exist``."""
    key, value = " ".join(write.key.split()), " ".join(write.value.split())
    if parse(item_text(key, value)) != (key, value):
        raise ValueError("key and value must be short, not empty, and without [ ] or, in a key, a colon")
    write = MemoryWrite(key=key, value=value, date=write.date, vectors=write.vectors, embedder=write.embedder)
    arguments = {
        "memory": item_arguments(db, write, now, today),
        "must_exist": must_exist,
        "version": uuid.uuid4().hex,
    }
    keys = db.keys(user_id).all()
    status, *found = await db.run(("memory", "remember"), keys, arguments, pack(write.vectors, write.embedder))
    if status == b"missing":
        raise NotFound("memory", write.id)
    return MemoryItem.model_validate_json(found[0])


async def set_value(
    db: Database,
    user_id: str,
    memory_id: str,
    value: str,
    *,
    today: dt.date,
    now: dt.datetime,
    embeddings: Vectors,
    embedder: str,
) -> MemoryItem:
    """A new value under the key as it reads today; ``embeddings`` are of ``state.types.texts_to_embed``."""
    key = db.keys(user_id).one("items")
    stored = await db.attempt(lambda: db.client.hget(key, memory_id))
    item = MemoryItem.model_validate_json(stored) if stored else None
    reads = item.key_on(today) if item else None
    if item is None or reads is None:
        raise NotFound("memory", memory_id)
    write = MemoryWrite(key=reads, value=value, date=item.date, vectors=embeddings, embedder=embedder)
    return await put(db, user_id, write, today=today, now=now, must_exist=True)


async def delete(db: Database, user_id: str, memory_id: str) -> None:
    arguments = {"id": memory_id, "version": uuid.uuid4().hex}
    status, *_ = await db.run(("memory", "forget"), db.keys(user_id).all(), arguments)
    db.cache.drop(user_id)
    if status == b"missing":
        raise NotFound("memory", memory_id)


def item_arguments(db: Database, memory: MemoryWrite, now: dt.datetime, today: dt.date) -> dict[str, Any]:
    """What write_item in memory.lua reads."""
    arguments = {
        "id": memory.id,
        "key": memory.key,
        "value": memory.value,
        "told_at": now.isoformat(),
        "told": now.timestamp(),
        "today": today.toordinal(),
        "max_items": db.settings.max_memories,
        "max_history": db.settings.max_history,
    }
    if memory.date is not None:
        arguments |= {"date": memory.date.isoformat(), "day": memory.date.toordinal()}
    return arguments


def _parsed(stored: list[bytes]) -> list[MemoryItem]:
    return _ITEMS.validate_json(b"[" + b",".join(stored) + b"]")
