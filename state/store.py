"""The store as the serving side sees it: everything that is kept about people, behind one class.

Knows nothing about models, HTTP or Ray. Each step is one script on one cluster slot, safe to send twice.
"""

import datetime as dt
from typing import Any

from ohlora.ethics import LedgerEntry
from ohlora.memories import MemoryItem, date_of
from state import ledger, limits, memories, people, turns
from state.database import Database, StoreSettings, connect
from state.keys import index
from state.limits import Allowance
from state.types import Begun, Lease, LedgerPage, MemoryWrite, SessionInfo, Turn, Vectors

__all__ = ["Store", "StoreSettings"]


class Store:
    def __init__(self, database: Database) -> None:
        self._db = database
        self.settings = database.settings

    @classmethod
    def from_url(cls, url: str, settings: StoreSettings) -> "Store":
        """Connects on first use. Raises ValueError, naming ``redis_url``, for a URL that can't be one."""
        return cls(Database(connect(url, settings), settings))

    async def ping(self) -> None:
        """Raises StoreUnavailable when Redis doesn't answer."""
        await self._db.attempt(self._db.client.ping)

    async def close(self) -> None:
        await self._db.client.aclose()

    # -- a turn

    async def begin(
        self,
        *,
        user_id: str,
        session_id: str,
        now: dt.datetime,
        today: dt.date,
        embedder: str,
        idempotency_key: str | None = None,
        body_digest: str | None = None,
    ) -> Begun:
        """Takes the session for one turn and reads what the turn needs, in one round trip when nothing is waited for.

        ``embedder`` names the model that the caller searches with. Raises SessionBusy, IdempotencyInProgress,
        IdempotencyMismatch, StoreUnavailable.
        """
        return await turns.begin(
            self._db,
            user_id=user_id,
            session_id=session_id,
            now=now,
            today=today,
            embedder=embedder,
            idempotency_key=idempotency_key,
            body_digest=body_digest,
        )

    async def renew(self, lease: Lease) -> None:
        """Gives a turn ``lease_s`` more. Raises LeaseLost."""
        await turns.renew(self._db, lease)

    async def commit(self, lease: Lease, turn: Turn) -> None:
        """Keeps the turn and gives the session to the next one; a repeat of the same turn id changes nothing.

        Raises LeaseLost and LedgerChanged; nothing is written then, and after LedgerChanged the lease still holds.
        """
        await turns.commit(self._db, lease, turn)

    async def release(self, lease: Lease) -> None:
        """Gives the session up without a turn; safe to call twice."""
        await turns.release(self._db, lease)

    # -- memories

    async def memories(self, user_id: str, today: dt.date) -> list[MemoryItem]:
        """What is remembered on ``today``, newest first; an unknown user has none."""
        return await memories.items(self._db, user_id, today)

    async def memory(self, user_id: str, memory_id: str, today: dt.date) -> MemoryItem | None:
        """One item as it is now, or None when it is gone or its day is another."""
        return next(iter(await memories.find(self._db, user_id, [memory_id], today)), None)

    async def put_memory(
        self,
        user_id: str,
        key: str,
        value: str,
        *,
        today: dt.date,
        now: dt.datetime,
        embeddings: Vectors,
        embedder: str,
    ) -> MemoryItem:
        """Writes an item; ``embeddings`` are of ``ohlora.memories.embedding_texts``. Raises ValueError."""
        write = MemoryWrite(key=key, value=value, date=date_of(key, today), vectors=embeddings, embedder=embedder)
        return await memories.put(self._db, user_id, write, today=today, now=now)

    async def set_memory_value(
        self,
        user_id: str,
        memory_id: str,
        value: str,
        *,
        today: dt.date,
        now: dt.datetime,
        embeddings: Vectors,
        embedder: str,
    ) -> MemoryItem:
        """A new value; ``embeddings`` are of ``state.types.texts_to_embed``. Raises NotFound, ValueError."""
        return await memories.set_value(
            self._db, user_id, memory_id, value, today=today, now=now, embeddings=embeddings, embedder=embedder
        )

    async def delete_memory(self, user_id: str, memory_id: str) -> None:
        """Forgets an item with its history. Raises NotFound."""
        await memories.delete(self._db, user_id, memory_id)

    # -- a person

    async def sessions(self, user_id: str) -> list[SessionInfo]:
        """Sessions with at least one turn, the last used first."""
        return await people.sessions(self._db, user_id)

    async def session_turns(self, user_id: str, session_id: str) -> list[dict[str, Any]]:
        """Turns in order: turn_number, turn_id, at, prompt, answer, summary, reply. Raises NotFound."""
        return await people.session_turns(self._db, user_id, session_id)

    async def delete_session(self, user_id: str, session_id: str) -> None:
        """Removes turns, summary and stored replies of a session; memories stay. Raises NotFound."""
        await people.delete_session(self._db, user_id, session_id)

    async def export(self, user_id: str) -> dict[str, Any]:
        """Everything kept about a person, as JSON. Raises NotFound when nothing is."""
        return await people.export(self._db, user_id)

    async def erase(self, user_id: str, now: dt.datetime) -> dict[str, Any]:
        """Erases a person: ``{"erased": {kind: count}, "kept": {"ledger": […], "until": …} | None}``."""
        return await people.erase(self._db, user_id, now)

    # -- limits

    async def take_of_user(self, user_id: str, requests: int, per_s: float) -> Allowance:
        """Counts one request about a user against ``requests`` in ``per_s`` seconds."""
        return await limits.take(self._db, self._db.keys(user_id).one("rate"), requests, per_s)

    async def take_of_key(self, name: str, requests: int, per_s: float) -> Allowance:
        """Counts one request of an API key, by its name."""
        return await limits.take(self._db, index(self.settings.key_prefix, f"rate:{name}"), requests, per_s)

    # -- the ledger

    async def ledger(self, user_id: str) -> list[LedgerEntry]:
        """Every entry, oldest first; an unknown user has none."""
        return await ledger.read(self._db, user_id)

    async def add_appeal(self, user_id: str, sanction_id: str, text: str, now: dt.datetime) -> LedgerEntry:
        """Raises NotFound for a sanction that isn't in the user's ledger."""
        return await ledger.appeal(self._db, user_id, sanction_id, text, now)

    async def lift(self, user_id: str, sanction_id: str, reason: str, now: dt.datetime) -> LedgerEntry:
        """Adds a lift, or returns the one there is. Raises NotFound for a sanction that isn't in the user's ledger."""
        return await ledger.lift(self._db, user_id, sanction_id, reason, now)

    async def all_sanctions(self, *, limit: int = 50, offset: int = 0) -> LedgerPage:
        """Warnings, blocks and lifts of ``limit`` users, those with the newest entry first."""
        return await ledger.page(self._db, ledger.SANCTIONS, limit=limit, offset=offset)

    async def all_appeals(self, *, limit: int = 50, offset: int = 0) -> LedgerPage:
        """Appeals of ``limit`` users, those with the newest entry first."""
        return await ledger.page(self._db, ledger.APPEALS, limit=limit, offset=offset)
