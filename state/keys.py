"""Names of everything kept in Redis. One hash tag per user puts all that a script touches into one cluster slot.

Knows nothing about what the keys hold. The kind comes before the session's or request's own id, which may contain
``:``, so that no id can be mistaken for another key.
"""

import re
from dataclasses import dataclass

_ID = re.compile(r"[A-Za-z0-9._:@-]{1,128}")

# The order in which every script gets its keys; prelude.lua gives them the same names.
USER_KEYS = ("sessions", "idems", "ledger", "kept", "items", "vectors", "version", "use", "expiry")
SESSION_KEYS = ("session", "turns", "queue", "waiting")


def checked(name: str, value: str) -> str:
    """``value`` if it is a sane id (http_api.md), else ValueError. No braces, so a hash tag can't be forged."""
    if not _ID.fullmatch(value):
        raise ValueError(f"{name} must be 1-128 of A-Z a-z 0-9 . _ : @ -")
    return value


@dataclass(frozen=True)
class UserKeys:
    prefix: str
    user_id: str

    def __post_init__(self) -> None:
        checked("user_id", self.user_id)

    def one(self, kind: str, own: str | None = None) -> str:
        name = f"{self.prefix}:{{{self.user_id}}}:{kind}"
        return name if own is None else f"{name}:{checked(kind, own)}"

    def all(self) -> list[str]:
        return [self.one(kind) for kind in USER_KEYS]

    def session(self, session_id: str) -> list[str]:
        return [self.one(kind, session_id) for kind in SESSION_KEYS]

    def turn(self, session_id: str, idempotency_key: str | None) -> list[str]:
        """Keys of a step in a session; without an Idempotency-Key the last one is a placeholder that isn't read."""
        return [*self.all(), *self.session(session_id), self.one("idem", idempotency_key)]


def index(prefix: str, kind: str) -> str:
    """Key of a list across users, with a slot of its own."""
    return f"{prefix}:index:{kind}"
