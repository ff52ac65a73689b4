"""The ingress's own health, without a cluster."""

from typing import Any

import pytest
import redis

from deployments import embedded
from deployments.ingress import Ingress
from state.store import Store, StoreSettings


class Bare(Ingress.func_or_class):  # type: ignore[misc,attr-defined]
    """The ingress without what Serve starts and ends around it."""

    async def __init__(self, store: Store) -> None:  # type: ignore[misc]  # as Serve asks of a class like this
        self._store, self._redis, self._data_dir = store, "keeper", "data"

    def __del__(self) -> None:
        pass


async def bare(store: Store) -> Any:
    made = object.__new__(Bare)
    await made.__init__(store)
    return made


async def test_its_health_check_stays_connected_to_redis(redis_server, monkeypatch: pytest.MonkeyPatch):
    """The embedded Redis ends without clients, and a replica that has had no request yet is connected to nothing."""
    monkeypatch.setattr(embedded, "keeper", lambda _: pytest.fail("it is there"))
    store = Store.from_url(redis_server.url, StoreSettings())
    made = await bare(store)
    with redis.Redis.from_url(redis_server.url) as looker:
        before = len(looker.client_list())
        await made.check_health()
        assert len(looker.client_list()) == before + 1
    assert made._redis == "keeper"
    await store.close()


async def test_an_embedded_redis_that_ended_is_asked_for_again(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded, "keeper", lambda data_dir: f"another for {data_dir}")
    store = Store.from_url(f"unix://{tmp_path}/none.sock", StoreSettings())
    made = await bare(store)
    await made.check_health()
    assert made._redis == "another for data"
    await store.close()
