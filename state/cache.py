"""What this process already read of people's memories, so that a turn needn't load a thousand embeddings again.

Knows nothing about Redis and decides nothing: an entry counts only while the version that Redis names is its own. Every
write of an item or a vector, from anywhere, changes that version, and an erasure removes it. Bounded by items.
"""

import datetime as dt
from collections import OrderedDict
from dataclasses import dataclass

from ohlora.memories import MemoryItem
from state.types import Vector


@dataclass(frozen=True)
class Loaded:
    """Ids and vectors of one user's items as they read on ``today``; ``stale`` are those that ``embedder`` didn't embed."""

    version: str
    embedder: str
    today: dt.date
    ids: list[str]
    vectors: Vector
    stale: list[MemoryItem]

    @property
    def size(self) -> int:
        return len(self.ids) + len(self.stale)


class MemoryCache:
    """Least recently used users go first once ``max_items`` items are held; 0 holds none."""

    def __init__(self, max_items: int) -> None:
        self._max_items = max_items
        self._size = 0
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()

    def get(self, user_id: str, embedder: str, today: dt.date) -> Loaded | None:
        loaded = self._loaded.get(user_id)
        if loaded is None or loaded.embedder != embedder or loaded.today != today:
            return None
        self._loaded.move_to_end(user_id)
        return loaded

    def put(self, user_id: str, loaded: Loaded) -> None:
        self.drop(user_id)
        if not 0 < loaded.size <= self._max_items:
            return
        self._loaded[user_id] = loaded
        self._size += loaded.size
        while self._size > self._max_items:
            self.drop(next(iter(self._loaded)))

    def drop(self, user_id: str) -> None:
        loaded = self._loaded.pop(user_id, None)
        if loaded:
            self._size -= loaded.size
