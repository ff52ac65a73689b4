"""Everything kept about one person: their sessions and turns, the export of all of it, and its erasure.

Knows nothing about HTTP. What an erasure finds it finds by two indexes of the user (sessions, Idempotency-Keys), and the
script that deletes checks that they are still what was read.
"""

import datetime as dt
import json
from typing import Any

from ohlora.ethics import blocked_until
from state import ledger, memories
from state.database import Database
from state.errors import NotFound, StoreUnavailable
from state.types import SessionInfo

_TRIES = 50


async def sessions(db: Database, user_id: str) -> list[SessionInfo]:
    """Sessions with at least one turn, the last used first."""
    keys = db.keys(user_id)
    names = await _members(db, keys.one("sessions"))

    async def read() -> list[list[bytes | None]]:
        pipe = db.client.pipeline(transaction=False)
        for name in names:
            pipe.hmget(keys.one("session", name), ["count", "first_at", "last_at"])
        return await pipe.execute()

    rows = await db.attempt(read) if names else []
    found = [
        SessionInfo(session_id=name, turns=int(count), started_at=_time(first_at), last_at=_time(last_at))
        for name, (count, first_at, last_at) in zip(names, rows, strict=True)
        if count and first_at and last_at
    ]
    return sorted(found, key=lambda session: session.last_at, reverse=True)


async def session_turns(db: Database, user_id: str, session_id: str) -> list[dict[str, Any]]:
    """Every turn that is still kept, in order."""
    keys = db.keys(user_id)
    stored: list[Any] = await db.attempt(lambda: db.client.lrange(keys.one("turns", session_id), 0, -1))
    if not stored and not await db.attempt(lambda: db.client.hexists(keys.one("session", session_id), "count")):
        raise NotFound("session", session_id)
    return [json.loads(row.partition(b"|")[2]) for row in stored]


async def delete_session(db: Database, user_id: str, session_id: str) -> None:
    """Removes turns, summary and stored replies; what was remembered from it stays. A running turn is not kept."""
    keys = db.keys(user_id)
    for _ in range(_TRIES):
        replies = await _replies(db, user_id)
        forgotten = [name for name, reply in replies.items() if reply.get("session") == session_id]
        status, *_ = await db.run(
            ("delete_session",),
            [*keys.all(), *keys.session(session_id), *(keys.one("idem", name) for name in forgotten)],
            {"session_id": session_id, "idems": " ".join(replies), "forgotten": forgotten},
        )
        if status == b"missing":
            raise NotFound("session", session_id)
        if status == b"ok":
            return
    raise StoreUnavailable(f"sessions of {user_id} change too fast to delete one")


async def export(db: Database, user_id: str) -> dict[str, Any]:
    """Everything kept, as JSON. Raises NotFound when nothing is."""
    listed = await sessions(db, user_id)
    replies = await _replies(db, user_id)
    entries = await ledger.read(db, user_id)
    items = await memories.all_items(db, user_id)
    if not (listed or replies or entries or items):
        raise NotFound("user", user_id)
    return {
        "user_id": user_id,
        "memories": [item.model_dump(mode="json") for item in items],
        "sessions": [
            {**session.model_dump(mode="json"), "turns": await session_turns(db, user_id, session.session_id)}
            for session in listed
        ],
        "ledger": [entry.model_dump(mode="json", exclude_none=True) for entry in entries],
        "idempotent_replies": [
            {"idempotency_key": name, "session_id": reply["session"], "reply": json.loads(reply["reply"])}
            for name, reply in replies.items()
            if "reply" in reply
        ],
    }


async def erase(db: Database, user_id: str, now: dt.datetime) -> dict[str, Any]:
    """Removes everything but the ledger entries of a block in force, which go by themselves when it ends.

    Returns ``{"erased": {kind: count}, "kept": {"ledger": […], "until": …} | None}``. Turns still running are not kept.
    """
    keys = db.keys(user_id)
    for _ in range(_TRIES):
        names = await _members(db, keys.one("sessions"))
        requests = await _members(db, keys.one("idems"))
        entries = await ledger.read(db, user_id)
        block = blocked_until(entries, now)
        until, keep = block if block else (now, [])
        others = [key for name in names for key in keys.session(name)] + [keys.one("idem", name) for name in requests]
        others.append(keys.one("rate"))
        status, *found = await db.run(
            ("erase",),
            [*keys.all(), *others],
            {
                "sessions": " ".join(names),
                "idems": " ".join(requests),
                "ledger_length": len(entries),
                "keep": [entry.model_dump_json(exclude_none=True) for entry in keep],
                "keep_until_ms": int(until.timestamp() * 1000),
            },
        )
        if status == b"ok":
            db.cache.drop(user_id)
            lists = (ledger.APPEALS,) if keep else (ledger.SANCTIONS, ledger.APPEALS)
            await ledger.forget_user(db, user_id, lists=lists)
            kinds = ("memories", "sessions", "turns", "ledger_entries", "idempotent_replies")
            rows = [entry.model_dump(mode="json", exclude_none=True) for entry in keep]
            kept = {"ledger": rows, "until": until.isoformat()}
            return {"erased": dict(zip(kinds, found[0], strict=True)), "kept": kept if keep else None}
    raise StoreUnavailable(f"what is kept about {user_id} changes too fast to erase it")


async def _members(db: Database, key: str) -> list[str]:
    names: list[Any] = await db.attempt(lambda: db.client.zrange(key, 0, -1))
    return [name.decode() for name in names]


async def _replies(db: Database, user_id: str) -> dict[str, dict[str, str]]:
    """What is known by each Idempotency-Key, in the order of their index; empty for one that ran out."""
    keys = db.keys(user_id)
    names = await _members(db, keys.one("idems"))

    async def read() -> list[list[bytes | None]]:
        pipe = db.client.pipeline(transaction=False)
        for name in names:
            pipe.hmget(keys.one("idem", name), ["session", "reply"])
        return await pipe.execute()

    rows = await db.attempt(read) if names else []
    fields = ("session", "reply")
    return {
        name: {field: value.decode() for field, value in zip(fields, row, strict=True) if value is not None}
        for name, row in zip(names, rows, strict=True)
    }


def _time(epoch: bytes) -> dt.datetime:
    return dt.datetime.fromtimestamp(float(epoch), dt.UTC)
