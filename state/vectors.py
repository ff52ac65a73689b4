"""Embeddings as bytes: how the vectors of one item are kept, and how those of a thousand are read without parsing.

Knows nothing about models; an embedder is only a name. Layout of one item: 16 bytes of header (8 of the embedder's
digest, then count and dimension as little-endian uint32), then count x dimension float32. The second vector of an item
told about tomorrow is for how it reads the day after (ohlora.memories.embedding_texts).
"""

import datetime as dt
import struct
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b

import numpy as np

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
    stored: Mapping[bytes, bytes], days: Mapping[bytes, int], embedder: str, today: dt.date
) -> tuple[list[str], Vector, list[str]]:
    """Ids with a vector of ``embedder``, their vectors (n, d) for ``today``, and the ids that need new vectors.

    ``stored`` is by item id; ``days`` has the day (as an ordinal) of the items about one. Items of another day than today and
    tomorrow are left out.
    """
    digest, day_today = _digest(embedder), today.toordinal()
    usable: list[str] = []
    rows: list[memoryview] = []
    stale: list[str] = []
    width = 0
    for name, blob in stored.items():
        day = days.get(name)
        if day is not None and not 0 <= day - day_today <= 1:
            continue
        own, count, dimension = _HEADER.unpack_from(blob)
        width = width or dimension if own == digest else width
        if own != digest or dimension != width:
            stale.append(name.decode())
            continue
        start = _HEADER.size + (4 * dimension if count == 2 and day == day_today else 0)
        usable.append(name.decode())
        rows.append(memoryview(blob)[start : start + 4 * dimension])
    return usable, np.frombuffer(b"".join(rows), dtype="<f4").reshape(len(usable), width), stale
