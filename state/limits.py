"""Rate limits held in Redis: the same limit whatever number of replicas counts.

Knows nothing about who is limited or what for. The generic cell rate algorithm: bursts up to the limit, then requests spread evenly.
"""

import math
from dataclasses import dataclass

from state.database import Database


@dataclass(frozen=True)
class Allowance:
    """What is left of a limit after one request. ``reset_s`` is when all of it is there again; ``retry_s`` is 0 when allowed."""

    limit: int
    remaining: int
    reset_s: int
    retry_s: int

    @property
    def allowed(self) -> bool:
        return self.retry_s == 0


async def take(db: Database, key: str, requests: int, per_s: float) -> Allowance:
    """Counts one request against ``requests`` in ``per_s`` seconds; one that is refused doesn't count."""
    arguments = {"requests": requests, "per_ms": per_s * 1000}
    _, remaining, reset_ms, retry_ms = await db.run(("limit",), [key], arguments)
    return Allowance(requests, remaining, math.ceil(reset_ms / 1000), math.ceil(retry_ms / 1000))
