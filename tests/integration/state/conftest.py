"""A real redis-server for the tests of the store: one for all, emptied before each test."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from state.embedded import EmbeddedRedis
from state.store import Store, StoreSettings


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    yield server.start()
    server.stop()


@pytest.fixture
def redis_url(redis_server: str) -> str:
    redis.Redis.from_url(redis_server).flushall()
    return redis_server


@pytest.fixture
async def open_store(redis_url: str) -> AsyncIterator[Callable[..., Store]]:
    """Opens stores with the given settings on the same server, as replicas would."""
    opened: list[Store] = []

    def open_one(url: str = redis_url, **settings: Any) -> Store:
        opened.append(Store.from_url(url, StoreSettings(**settings)))
        return opened[-1]

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Store:
    return open_store()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A server that the test may kill."""
    server = EmbeddedRedis(tmp_path / "redis")
    server.start()
    yield server
    server.stop()
