"""One turn: its place among the turns of its session, what it needs to know, and keeping all of it or nothing.

Knows nothing about models or verdicts. Order and exclusion come from Redis alone (a lease with a fencing token, a queue
of tickets), so they hold across replicas.
"""

import asyncio
import contextlib
import datetime as dt
import json
import time
import uuid
from typing import Any

import numpy as np

from ohlora.ethics import blocked_until
from state.cache import Loaded
from state.database import Database
from state.errors import IdempotencyInProgress, IdempotencyMismatch, LeaseLost, LedgerChanged, SessionBusy, StateError
from state.ledger import SANCTIONS, parse_ledger, remember_user
from state.memories import find, item_arguments
from state.types import Begun, Lease, Turn
from state.vectors import matrix, pack

# A waiter asks again well before its place in the queue runs out; one that died holds up the others for this long.
_WAITER_S = 3.0
_POLL_S = (0.01, 0.2)
_DONE_BYTES = 2048
_EMPTY = np.empty((0, 0), dtype=np.float32)
_background: set[asyncio.Task[None]] = set()


async def begin(
    db: Database,
    *,
    user_id: str,
    session_id: str,
    now: dt.datetime,
    today: dt.date,
    embedder: str,
    idempotency_key: str | None,
    body_digest: str | None,
) -> Begun:
    settings = db.settings
    lease = Lease(user_id, session_id, uuid.uuid4().hex, 0, 0, idempotency_key, body_digest or "")
    keys = db.keys(user_id).turn(session_id, idempotency_key)
    known = db.cache.get(user_id, embedder, today)
    arguments = {
        **_holder(lease),
        "retention_s": settings.retention_days * 86400,
        "lease_ms": int(settings.lease_s * 1000),
        "waiter_ms": int(_WAITER_S * 1000),
        "idempotency_ms": int(settings.idempotency_hours * 3_600_000),
    }
    give_up = time.monotonic() + settings.session_wait_s
    try:
        while True:
            status, *found = await db.run(("begin",), keys, arguments)
            match status:
                case b"mismatch":
                    raise IdempotencyMismatch(f"Idempotency-Key {idempotency_key} was used with another body")
                case b"running":
                    raise IdempotencyInProgress(f"Idempotency-Key {idempotency_key} is still running")
                case b"replay":
                    return Begun(json.loads(found[0]), None, None, [], _EMPTY, [], [], 0)
                case b"ok":
                    return await _begun(db, lease, found, known, now, today, embedder)
            position, entries = found
            ledger = parse_ledger(entries)
            if blocked_until(ledger, now):
                await release(db, lease)
                return Begun(None, None, None, [], _EMPTY, [], ledger, 0)
            left = give_up - time.monotonic()
            if left <= 0:
                await release(db, lease)
                raise SessionBusy(f"session {session_id} is busy")
            await asyncio.sleep(min(_POLL_S[0] * (position + 1), _POLL_S[1], left))
    except (StateError, asyncio.CancelledError) as error:
        # The script may have run although its answer never came: nobody would give that lease back.
        if not isinstance(error, (IdempotencyMismatch, IdempotencyInProgress, SessionBusy)):
            _release_later(db, lease)
        raise


async def _begun(
    db: Database,
    lease: Lease,
    found: list[Any],
    known: Loaded | None,
    now: dt.datetime,
    today: dt.date,
    embedder: str,
) -> Begun:
    entries, (summary, last_at, count), version = found
    ledger = parse_ledger(entries)
    lease.turn_number = int(count or 0) + 1
    lease.ledger_length = len(ledger)
    if blocked_until(ledger, now):
        await release(db, lease)
        return Begun(None, None, None, [], _EMPTY, [], ledger, lease.turn_number)
    idle = last_at is None or now.timestamp() - float(last_at) >= db.settings.idle_s
    version = (version or b"").decode()
    loaded = known
    if loaded is None or loaded.version != version:
        loaded = await _load(db, lease.user_id, version, embedder, today)
        db.cache.put(lease.user_id, loaded)
    lease.stale_values = {item.id: item.value for item in loaded.stale}
    return Begun(
        replay=None,
        lease=lease,
        summary=None if idle or summary is None else summary.decode(),
        ids=loaded.ids,
        vectors=loaded.vectors,
        stale=list(loaded.stale),
        ledger=ledger,
        turn_number=lease.turn_number,
    )


async def _load(db: Database, user_id: str, version: str, embedder: str, today: dt.date) -> Loaded:
    """Vectors and days, without the texts: a thousand items are searched before one is parsed.

    Read after ``version``, so what is read may be newer than it and is then read again by the next turn, never older. Not a part
    of the script: Lua would copy every vector twice.
    """
    keys = db.keys(user_id)

    async def read() -> list[Any]:
        pipe = db.client.pipeline(transaction=False)
        pipe.hgetall(keys.one("vectors"))
        pipe.zrange(keys.one("expiry"), 0, -1, withscores=True)
        return await pipe.execute()

    stored, days = await db.attempt(read) if version else ({}, [])
    ids, vectors, stale = matrix(stored, {name: int(day) for name, day in days}, embedder, today)
    return Loaded(version, embedder, today, ids, vectors, await find(db, user_id, stale, today) if stale else [])


async def renew(db: Database, lease: Lease) -> None:
    arguments = {**_holder(lease), "lease_ms": int(db.settings.lease_s * 1000)}
    keys = db.keys(lease.user_id).turn(lease.session_id, lease.idempotency_key)
    status, *_ = await db.run(("renew",), keys, arguments)
    if status == b"lost":
        raise LeaseLost(f"session {lease.session_id} went to another holder")


async def release(db: Database, lease: Lease) -> None:
    keys = db.keys(lease.user_id).turn(lease.session_id, lease.idempotency_key)
    await db.run(("release",), keys, _holder(lease))


async def commit(db: Database, lease: Lease, turn: Turn) -> None:
    settings = db.settings
    if turn.blocked:
        kept: dict[str, Any] = {"refreshed": []}
        blobs: list[bytes] = []
    else:
        kept, blobs = _kept(db, lease, turn)
    arguments = {
        **_holder(lease),
        **kept,
        "turn_id": turn.turn_id,
        "version": uuid.uuid4().hex,
        "at": turn.at.timestamp(),
        "offences": [entry.model_dump_json(exclude_none=True) for entry in turn.offences],
        "ledger_length": lease.ledger_length,
        "reply": json.dumps(turn.reply, ensure_ascii=False) if lease.idempotency_key else None,
        "retention_s": settings.retention_days * 86400,
        "idempotency_ms": int(settings.idempotency_hours * 3_600_000),
        "done_bytes": _DONE_BYTES,
    }
    if turn.offences:
        await remember_user(db, SANCTIONS, lease.user_id, turn.at)
    keys = db.keys(lease.user_id).turn(lease.session_id, lease.idempotency_key)
    status, *found = await db.run(("memory", "commit"), keys, arguments, *blobs)
    if status == b"lost":
        raise LeaseLost(f"session {lease.session_id} went to another holder")
    if status == b"ledger":
        ledger = parse_ledger(found[0])
        lease.ledger_length = len(ledger)
        raise LedgerChanged(ledger)


def _kept(db: Database, lease: Lease, turn: Turn) -> tuple[dict[str, Any], list[bytes]]:
    """Arguments and vectors of a turn that is kept: first the new item's vectors, then the refreshed ones."""
    record = {
        "turn_number": lease.turn_number,
        "turn_id": turn.turn_id,
        "at": turn.at.isoformat(),
        "prompt": turn.prompt,
        "answer": turn.answer,
        "summary": turn.summary,
        "reply": turn.reply,
    }
    blobs = [pack(turn.memory.vectors, turn.memory.embedder) if turn.memory else b""]
    refreshed = []
    for memory_id, vectors, embedder in turn.refreshed:
        if memory_id in lease.stale_values:
            refreshed.append({"id": memory_id, "value": lease.stale_values[memory_id]})
            blobs.append(pack(vectors, embedder))
    kept = {
        "turn": json.dumps(record, ensure_ascii=False),
        "summary": turn.summary,
        "used": turn.used_memory_id,
        "used_at": turn.at.isoformat(),
        "memory": item_arguments(db, turn.memory, turn.at, turn.today) if turn.memory else None,
        "refreshed": refreshed,
    }
    return kept, blobs


def _holder(lease: Lease) -> dict[str, Any]:
    """Who asks, for every script about a lease."""
    return {
        "token": lease.token,
        "session_id": lease.session_id,
        "idempotent": lease.idempotency_key is not None,
        "key": lease.idempotency_key,
        "digest": lease.body_digest or "",
    }


def _release_later(db: Database, lease: Lease) -> None:
    async def quietly() -> None:
        with contextlib.suppress(StateError):  # Redis is away: the lease runs out by itself
            await release(db, lease)

    task = asyncio.create_task(quietly())
    _background.add(task)
    task.add_done_callback(_background.discard)
