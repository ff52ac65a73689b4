"""The store as the serving side sees it: everything that is kept about people, behind one class.

Knows nothing about models, HTTP or Ray. Each step is one script on one cluster slot, safe to send twice.
"""

import datetime as dt

from state import turns
from state.database import Database, StoreSettings, connect
from state.types import Begun, Lease, Turn

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
