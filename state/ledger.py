"""A user's ledger of warnings, blocks, lifts and appeals, and the administrator's lists across users.

Knows nothing about levels or periods (ohlora.ethics). Ledgers are only ever added to. The lists across users are sorted
sets in slots of their own, so no script can write them together with a ledger: a user is added to the list before the
entry is written, hence none is ever missing, and a name without entries is taken out when the list is read. A SCAN
would need no list, but goes over every key of every user for one page.
"""

import asyncio
import datetime as dt
import time
import uuid
from collections.abc import Collection
from typing import Any

from pydantic import TypeAdapter

from ohlora.ethics import Kind, LedgerEntry
from state.database import Database
from state.errors import NotFound, StoreUnavailable
from state.keys import index
from state.types import LedgerPage, UserEntry

SANCTIONS, APPEALS = "sanctions", "appeals"
_KINDS = {SANCTIONS: (Kind.WARNING, Kind.BLOCK, Kind.LIFT), APPEALS: (Kind.APPEAL,)}
# A name without entries may be one whose entry is just being written.
_HEAL_AFTER_S = 3600
_TRIES = 20
_LEDGER = TypeAdapter(list[LedgerEntry])


def parse_ledger(stored: list[bytes]) -> list[LedgerEntry]:
    return _LEDGER.validate_json(b"[" + b",".join(stored) + b"]")


async def read(db: Database, user_id: str) -> list[LedgerEntry]:
    """Every entry, oldest first."""
    _, entries = await db.run(("read_ledger",), db.keys(user_id).all(), {})
    return parse_ledger(entries)


async def appeal(db: Database, user_id: str, sanction_id: str, text: str, now: dt.datetime) -> LedgerEntry:
    return await _append(db, APPEALS, user_id, Kind.APPEAL, sanction_id, text, now)


async def lift(db: Database, user_id: str, sanction_id: str, reason: str, now: dt.datetime) -> LedgerEntry:
    """Lifts a sanction; one that was lifted before stays as it was."""
    for entry in await read(db, user_id):
        if entry.kind is Kind.LIFT and entry.sanction_id == sanction_id:
            return entry
    return await _append(db, SANCTIONS, user_id, Kind.LIFT, sanction_id, reason, now)


async def _append(
    db: Database, listed: str, user_id: str, kind: Kind, sanction_id: str, text: str, now: dt.datetime
) -> LedgerEntry:
    entry = LedgerEntry(id=uuid.uuid4().hex, kind=kind, at=now, sanction_id=sanction_id, text=text)
    for _ in range(_TRIES):
        ledger = await read(db, user_id)
        for known in ledger:
            # Our own entry when its answer was lost, or the lift of another administrator.
            if known.id == entry.id or (kind is Kind.LIFT is known.kind and known.sanction_id == sanction_id):
                return known
        if not any(known.id == sanction_id and known.kind in (Kind.WARNING, Kind.BLOCK) for known in ledger):
            raise NotFound("sanction", sanction_id)
        await remember_user(db, listed, user_id, now)
        arguments = {"entry": entry.model_dump_json(exclude_none=True), "ledger_length": len(ledger)}
        status, *_ = await db.run(("append_ledger",), db.keys(user_id).all(), arguments)
        if status == b"ok":
            return entry
    raise StoreUnavailable(f"the ledger of {user_id} changes too fast")


async def remember_user(db: Database, listed: str, user_id: str, at: dt.datetime) -> None:
    """Puts a user on a list across users; to be done before the entry itself is written."""
    key = index(db.settings.key_prefix, listed)
    await db.attempt(lambda: db.client.zadd(key, {user_id: at.timestamp()}, gt=True))


async def forget_user(db: Database, user_id: str, *, lists: Collection[str] = (SANCTIONS, APPEALS)) -> None:
    for listed in lists:
        await db.run(("unindex",), [index(db.settings.key_prefix, listed)], {"user_id": user_id})


async def page(db: Database, listed: str, *, limit: int, offset: int) -> LedgerPage:
    """Entries of ``limit`` users from ``offset`` on: those with the newest entry first, newest entries first."""
    key = index(db.settings.key_prefix, listed)
    # One more tells whether there is a next page.
    found: list[Any] = await db.attempt(
        lambda: db.client.zrange(key, offset, offset + limit, desc=True, withscores=True)
    )
    users = [(name.decode(), score) for name, score in found[:limit]]
    ledgers = await asyncio.gather(*(read(db, user_id) for user_id, _ in users))
    entries = []
    removed = 0
    for (user_id, score), ledger in zip(users, ledgers, strict=True):
        own = [UserEntry(user_id=user_id, entry=entry) for entry in ledger if entry.kind in _KINDS[listed]]
        entries += own
        if not own and score < time.time() - _HEAL_AFTER_S:
            await db.run(("unindex",), [key], {"user_id": user_id, "score": score})
            removed += 1
    entries.sort(key=lambda row: row.entry.at, reverse=True)
    return LedgerPage(entries=entries, next_offset=offset + limit - removed if len(found) > limit else None)
