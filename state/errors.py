"""What can go wrong between a turn and the store, as types that a caller can act on.

Knows nothing about HTTP statuses or the words a user reads.
"""

from collections.abc import Sequence
from typing import Literal

from ohlora.ethics import LedgerEntry

Kind = Literal["user", "memory", "session", "sanction"]


class StateError(Exception):
    """Any refusal or failure of the store."""


class StoreUnavailable(StateError):
    """Redis can't be reached, is loading, was too slow, or the connection broke. Nothing half-written stays."""


class SessionBusy(StateError):
    """The turns before this one took longer than ``session_wait_s``."""


class LeaseLost(StateError):
    """The fencing token is stale and nothing was written: another holder took the session over, it was deleted, or Redis was
    restarted while the turn ran (leases are not durable)."""


class LedgerChanged(StateError):
    """Another session of this user changed the ledger meanwhile. Nothing was written; judge again on ``ledger``."""

    def __init__(self, ledger: Sequence[LedgerEntry]) -> None:
        super().__init__("the ledger of this user changed since the turn began")
        self.ledger = list(ledger)


class IdempotencyInProgress(StateError):
    """A request with this Idempotency-Key is still running."""


class IdempotencyMismatch(StateError):
    """This Idempotency-Key was used with another body."""


class NotFound(StateError):
    """What was asked for isn't kept; ``kind`` says what it was."""

    def __init__(self, kind: Kind, name: str) -> None:
        super().__init__(f"no such {kind}: {name}")
        self.kind: Kind = kind
