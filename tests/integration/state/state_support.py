"""Short forms for turns in the tests of the store. Nothing here stands in for Redis."""

import datetime as dt
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from ohlora.ethics import Kind, LedgerEntry
from ohlora.memories import date_of, embedding_texts
from state.store import Store
from state.types import Begun, MemoryWrite, Turn

ROOT = Path(__file__).resolve().parents[3]
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
TODAY = NOW.date()
SIZE = 8


def embed(text: str) -> np.ndarray:
    """A unit vector that follows from the text, so that a test can tell whose vector it got back."""
    vector = np.random.default_rng(list(text.encode())).random(SIZE, dtype=np.float32)
    return vector / np.linalg.norm(vector)


def remember(key: str, value: str, today: dt.date = TODAY, embedder: str = "m1") -> MemoryWrite:
    date = date_of(key, today)
    vectors = [embed(text) for text in embedding_texts(key, value, date, today)]
    return MemoryWrite(key=key, value=value, date=date, vectors=vectors, embedder=embedder)


async def begin(store: Store, user: str = "mina", session: str = "s1", **more: Any) -> Begun:
    given = {"now": NOW, "today": TODAY, "embedder": "m1", **more}
    return await store.begin(user_id=user, session_id=session, **given)


def turn(turn_id: str | None = None, **more: Any) -> Turn:
    turn_id = turn_id or uuid.uuid4().hex
    given: dict[str, Any] = {
        "turn_id": turn_id,
        "at": NOW,
        "today": TODAY,
        "prompt": f"질문 {turn_id}",
        "answer": f"답 {turn_id}",
        "reply": {"turn_id": turn_id, "answer": f"답 {turn_id}"},
        **more,
    }
    return Turn(**given)


async def chat(store: Store, user: str = "mina", session: str = "s1", now: dt.datetime = NOW, **more: Any) -> Turn:
    """One whole turn."""
    given = {"at": now, "today": now.date(), **more}
    begun = await begin(store, user, session, now=now, today=given["today"])
    assert begun.lease is not None
    kept = turn(**given)
    await store.commit(begun.lease, kept)
    return kept


def block(category: str = "hate", until: dt.datetime | None = None, at: dt.datetime = NOW) -> LedgerEntry:
    until = until or at + dt.timedelta(days=1)
    return LedgerEntry(id=uuid.uuid4().hex, kind=Kind.BLOCK, at=at, category=category, level=1, until=until)


def warning(category: str = "love", at: dt.datetime = NOW) -> LedgerEntry:
    return LedgerEntry(id=uuid.uuid4().hex, kind=Kind.WARNING, at=at, category=category, level=1)


async def turn_ids(store: Store, user: str = "mina", session: str = "s1") -> list[str]:
    return [row["turn_id"] for row in await store.session_turns(user, session)]


async def keys_of(store: Store, text: str) -> dict[str, str]:
    """Every key of the whole database whose name or content mentions ``text``, with its type."""
    client = store._db.client
    found = {}
    async for name in client.scan_iter(count=1000):
        kind = (await client.type(name)).decode()
        content: Any
        if kind == "hash":
            content = await client.hgetall(name)
        elif kind == "list":
            content = await client.lrange(name, 0, -1)
        elif kind == "zset":
            content = await client.zrange(name, 0, -1)
        else:
            content = await client.get(name)
        if text in name.decode() or text.encode() in repr_bytes(content):
            found[name.decode()] = kind
    return found


def repr_bytes(content: Any) -> bytes:
    if isinstance(content, bytes):
        return content
    if isinstance(content, dict):
        content = [*content.keys(), *content.values()]
    return b"\0".join(content or [])


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process that can import the project and this module."""
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
