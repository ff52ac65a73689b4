"""Embeddings as bytes: how the vectors of one item are kept, and how those of a thousand are read without parsing.

Knows nothing about models; an embedder is only a name. Layout of one item: 16 bytes of header (8 of the embedder's
digest, then count and dimension as little-endian uint32), then count x dimension float32. The second vector of an item
told about tomorrow is for how it reads the day after (ohlora.memories.embedding_texts).
"""

import datetime as dt
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from ohlora.memories import MemoryItem
from state.types import Vector, Vectors

_HEADER = struct.Struct("<8sII")


@lru_cache(maxsize=64)
def _digest(embedder: str) -> bytes:
    return blake2b(embedder.encode(), digest_size=8).digest()


def pack(vectors: Vectors, embedder: str) -> bytes:
    """One item's vectors, one or two of them, each of shape (d,). Raises ValueError for any other shape."""
    array = np.ascontiguousarray(vectors, dtype="<f4")
    if array.ndim != 2 or array.shape[0] not in (1, 2) or not array.shape[1]:
        raise ValueError(f"embeddings of one item must have shape (1 or 2, d), not {array.shape}")
    return _HEADER.pack(_digest(embedder), *array.shape) + array.tobytes()


def matrix(
    items: Sequence[MemoryItem], stored: Mapping[str, bytes], embedder: str, today: dt.date
) -> tuple[list[MemoryItem], Vector, list[MemoryItem]]:
    """Items with a vector of ``embedder``, their vectors (n, d) for ``today``, and the items that need new vectors."""
    digest = _digest(embedder)
    usable: list[MemoryItem] = []
    rows: list[bytes] = []
    stale: list[MemoryItem] = []
    width = 0
    for item in items:
        blob = stored.get(item.id)
        if blob is None or not blob.startswith(digest):
            stale.append(item)
            continue
        _, count, dimension = _HEADER.unpack_from(blob)
        width = width or dimension
        if dimension != width:
            stale.append(item)
            continue
        row = 1 if count == 2 and item.key_on(today) != item.key else 0
        start = _HEADER.size + 4 * dimension * row
        usable.append(item)
        rows.append(blob[start : start + 4 * dimension])
    return usable, np.frombuffer(b"".join(rows), dtype="<f4").reshape(len(usable), width), stale
