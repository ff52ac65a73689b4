"""Fixtures shared by all tests."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from state.embedded import EmbeddedRedis
from state.store import Store, StoreSettings


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A real redis-server, for the whole test run."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def store(redis_server: EmbeddedRedis, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """A store on the test run's Redis, under keys of this test alone."""
    settings = StoreSettings(key_prefix=f"t{abs(hash(request.node.nodeid)) % 10**9}", session_wait_s=0.5)
    store = Store.from_url(redis_server.url, settings)
    yield store
    await store.close()


@pytest.fixture(scope="session")
def project() -> Path:
    return Path(__file__).resolve().parent.parent
