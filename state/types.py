"""What goes into the store and what comes out: a turn, its lease, and the rows that the endpoints read.

Knows nothing about Redis. Times are aware datetimes; vectors are float32 and of unit length.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ohlora.ethics import LedgerEntry
from ohlora.memories import MemoryItem, embedding_texts, item_id

Vector = NDArray[np.float32]
Vectors = NDArray[np.float32] | Sequence[Vector]


@dataclass
class Lease:
    """The right to write one turn. ``token`` is the fencing token: once another holder took over it writes nothing.

    ``ledger_length`` is what the verdict was based on; ``Store.commit`` moves it on when it raises ``LedgerChanged``,
    so that the same lease can be used again after a second look at the ledger.
    """

    user_id: str
    session_id: str
    token: str
    turn_number: int
    ledger_length: int
    idempotency_key: str | None = None
    body_digest: str | None = None
    stale_values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Begun:
    """What a turn needs to know before any model runs.

    ``replay`` is the stored reply of a finished Idempotency-Key: there is no lease then, nor for a blocked user.
    ``vectors`` has shape (n, d), row i for the item ``ids[i]`` as it reads today; ``Store.memory`` reads the one that is found.
    ``stale`` are items that another embedder embedded: they can't be searched until ``Turn.refreshed`` brings their new vectors.
    """

    replay: dict[str, Any] | None
    lease: Lease | None
    summary: str | None
    ids: list[str]
    vectors: Vector
    stale: list[MemoryItem]
    ledger: list[LedgerEntry]
    turn_number: int


@dataclass(frozen=True, kw_only=True)
class MemoryWrite:
    """A thing to remember. ``vectors`` are those of ``ohlora.memories.embedding_texts``, in that order."""

    key: str
    value: str
    date: dt.date | None
    vectors: Vectors
    embedder: str

    @property
    def id(self) -> str:
        return item_id(self.key, self.date)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """All that one turn leaves behind. ``blocked`` keeps only the ledger entries and the idempotent reply."""

    turn_id: str
    at: dt.datetime
    today: dt.date
    prompt: str
    answer: str
    reply: dict[str, Any]
    summary: str | None = None
    memory: MemoryWrite | None = None
    used_memory_id: str | None = None
    offences: Sequence[LedgerEntry] = ()
    blocked: bool = False
    refreshed: Sequence[tuple[str, Vectors, str]] = ()


class SessionInfo(BaseModel):
    """One session in a user's list."""

    model_config = ConfigDict(frozen=True)

    session_id: str
    turns: int
    started_at: dt.datetime
    last_at: dt.datetime


class UserEntry(BaseModel):
    """A ledger entry with its user, for the administrator's lists."""

    model_config = ConfigDict(frozen=True)

    user_id: str
    entry: LedgerEntry


class LedgerPage(BaseModel):
    """One page of the administrator's list; ``next_offset`` is None on the last one."""

    model_config = ConfigDict(frozen=True)

    entries: list[UserEntry]
    next_offset: int | None


def texts_to_embed(item: MemoryItem, today: dt.date) -> list[str]:
    """What to embed when an item's vectors are remade on ``today``: it reads 오늘 now, even if it was told as 내일."""
    return embedding_texts(item.key_on(today) or item.key, item.value, item.date, today)
