"""One connection to Redis: from a URL to a client, from a script's name to its answer, from Redis's errors to ours.

Knows nothing about what the scripts do. A script is sent once more when the connection broke, which is safe because
every one of them may run twice; nothing is tried for longer than ``operation_timeout_s``.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import redis.asyncio as aioredis
from pydantic import BaseModel, ConfigDict, Field
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from state.cache import MemoryCache
from state.errors import StoreUnavailable
from state.keys import UserKeys

T = TypeVar("T")
Client = aioredis.Redis | aioredis.RedisCluster

# The server is there but can't serve this now: for a caller the same as no server.
_AWAY = (
    exceptions.ConnectionError,  # also BusyLoadingError, AuthenticationError, MaxConnectionsError
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.ClusterError,
    exceptions.MasterDownError,
    exceptions.TryAgainError,
    exceptions.OutOfMemoryError,
    OSError,
    TimeoutError,
)
_AWAY_REPLIES = ("MISCONF", "NOREPLICAS", "BUSY ", "OOM ", "UNKILLABLE", "CLUSTERDOWN", "READONLY", "MASTERDOWN")


class StoreSettings(BaseModel):
    """How state is kept. Times are in the unit that the name ends with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key_prefix: str = Field("ohlora", pattern=r"^[A-Za-z0-9._-]+$", description="First part of every key in Redis")
    retention_days: int = Field(
        365,
        gt=0,
        description="How long turns stay readable: older ones go with the next turn of their session, "
        "the others this long after its last turn",
    )
    max_memories: int = Field(
        1000, gt=0, description="Memory items per user; past it those used, or else told, longest ago are dropped"
    )
    max_history: int = Field(100, gt=0, description="Earlier values kept of one memory item; the oldest go first")
    lease_s: float = Field(60, gt=0, description="How long a turn may take before another may take its session over")
    session_wait_s: float = Field(10, ge=0, description="How long a turn waits for the turns before it in its session")
    idempotency_hours: float = Field(24, gt=0, description="How long a reply is kept for its Idempotency-Key")
    idle_s: float = Field(180, gt=0, description="After this much silence the next turn starts without the summary")
    connect_timeout_s: float = Field(1.0, gt=0, description="Longest wait for a connection to Redis")
    operation_timeout_s: float = Field(
        2.0, gt=0, description="Longest time for one step of the store, one more try included"
    )
    max_connections: int = Field(64, gt=0, description="Connections to Redis per process")
    cached_items: int = Field(
        20_000, ge=0, description="Memory items with embeddings that a process keeps read; 0 reads them for every turn"
    )


@cache
def script(*names: str) -> tuple[str, str]:
    """The Lua text made of ``names`` after the prelude, and its SHA-1."""
    folder = Path(__file__).parent / "lua"
    text = "\n".join((folder / f"{name}.lua").read_text(encoding="utf-8") for name in ("prelude", *names))
    return text, sha1(text.encode(), usedforsecurity=False).hexdigest()


class Database:
    def __init__(self, client: Client, settings: StoreSettings) -> None:
        self.client = client
        self.settings = settings
        self.cache = MemoryCache(settings.cached_items)

    def keys(self, user_id: str) -> UserKeys:
        return UserKeys(self.settings.key_prefix, user_id)

    async def run(self, names: tuple[str, ...], keys: list[str], arguments: dict[str, Any], *blobs: bytes) -> list[Any]:
        """Runs a script: ``arguments`` arrive as JSON without those that are None, ``blobs`` as they are."""
        text, sha = script(*names)
        given = json.dumps({k: v for k, v in arguments.items() if v is not None}, ensure_ascii=False)

        async def once() -> list[Any]:
            try:
                return await self.client.evalsha(sha, len(keys), *keys, given, *blobs)
            except exceptions.NoScriptError:
                return await self.client.eval(text, len(keys), *keys, given, *blobs)

        return await self.attempt(once)

    async def attempt(self, step: Callable[[], Awaitable[T]]) -> T:
        """Does ``step``, which must be safe to do twice, within the operation timeout. Raises StoreUnavailable."""
        try:
            async with asyncio.timeout(self.settings.operation_timeout_s):
                try:
                    return await step()
                except (exceptions.ConnectionError, OSError):
                    await asyncio.sleep(0.01)
                    return await step()
        except _AWAY as error:
            raise StoreUnavailable(f"Redis (redis_url): {type(error).__name__}: {error}") from error
        except exceptions.ResponseError as error:
            if str(error).startswith(_AWAY_REPLIES):
                raise StoreUnavailable(f"Redis (redis_url): {error}") from error
            raise


def connect(url: str, settings: StoreSettings) -> Client:
    """A client for ``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://host:port,…/master[/db]`` or
    ``redis+cluster://host:port,…`` (``rediss+…`` with TLS; ``user:password@`` before the hosts).

    It connects on first use.

    Raises ValueError, naming ``redis_url``, for anything else.
    """
    options: dict[str, Any] = {
        "socket_connect_timeout": settings.connect_timeout_s,
        "socket_timeout": settings.operation_timeout_s,
        "retry": Retry(NoBackoff(), 0),  # retries are Database.attempt's
        "protocol": 2,
        "lib_name": None,
        "lib_version": None,
    }
    scheme, _, rest = url.partition("://")
    try:
        if scheme in ("redis", "rediss", "unix") and rest:
            if scheme != "unix" and not urlsplit(url).hostname:
                raise ValueError("no host")
            pool = aioredis.BlockingConnectionPool.from_url(
                url, max_connections=settings.max_connections, timeout=settings.operation_timeout_s, **options
            )
            return aioredis.Redis.from_pool(pool)
        if scheme in ("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"):
            return _distributed(scheme, rest, settings, options)
    except (ValueError, TypeError) as error:
        raise ValueError(f"redis_url {_without_password(url)!r} can't be used: {error}") from error
    raise ValueError(
        f"redis_url {_without_password(url)!r} must begin with redis://, rediss://, unix://, redis+sentinel:// or "
        "redis+cluster:// and name a server"
    )


def _distributed(scheme: str, rest: str, settings: StoreSettings, options: dict[str, Any]) -> Client:
    authority, _, path = rest.partition("/")
    login, _, hosts = authority.rpartition("@")
    if login:
        user, colon, password = login.partition(":")
        options["username"] = unquote(user) or None
        options["password"] = unquote(password) if colon else None
    if scheme.startswith("rediss"):
        options["ssl"] = True
    nodes = [_host_and_port(node, 26379 if scheme.endswith("sentinel") else 6379) for node in hosts.split(",")]
    options["max_connections"] = settings.max_connections
    if scheme.endswith("sentinel"):
        master, _, db = path.partition("/")
        if not master:
            raise ValueError("a Sentinel URL ends with /MASTER")
        asking = {k: v for k, v in options.items() if k not in ("username", "password", "max_connections")}
        sentinel = Sentinel(nodes, sentinel_kwargs=asking, db=int(db or 0), **options)
        return sentinel.master_for(master)
    if path.strip("/"):
        raise ValueError("a Cluster has only database 0, so its URL has no path")
    startup = [aioredis.cluster.ClusterNode(host, port) for host, port in nodes]
    options["retry"] = Retry(NoBackoff(), 3)  # a cluster's client needs some to follow a moved slot
    return aioredis.RedisCluster(startup_nodes=startup, **options)


def _host_and_port(node: str, default: int) -> tuple[str, int]:
    parts = urlsplit(f"//{node}")
    if not parts.hostname:
        raise ValueError("an empty host name")
    return parts.hostname, parts.port or default


def _without_password(url: str) -> str:
    """``url`` without what an error message must not show."""
    scheme, mark, rest = url.partition("://")
    login, at, hosts = rest.rpartition("@")
    return f"{scheme}{mark}{'…@' if at else ''}{hosts}" if login or not at else url
