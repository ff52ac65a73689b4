"""From redis_url to a client, without a server: what is understood, and what an error says."""

import pytest
import redis.asyncio as aioredis
from pydantic import ValidationError
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection
from redis.asyncio.sentinel import SentinelConnectionPool

from state.database import StoreSettings, connect

SETTINGS = StoreSettings()


def test_single_servers() -> None:
    plain = connect("redis://user:secret@db.example:6380/3", SETTINGS)
    assert isinstance(plain, aioredis.Redis)
    options = plain.connection_pool.connection_kwargs
    assert (options["host"], options["port"], options["db"], options["password"]) == ("db.example", 6380, 3, "secret")
    assert options["socket_timeout"] == SETTINGS.operation_timeout_s
    tls = connect("rediss://db.example", SETTINGS)
    assert isinstance(tls, aioredis.Redis)
    assert tls.connection_pool.connection_class is SSLConnection
    local = connect("unix:///run/redis.sock", SETTINGS)
    assert isinstance(local, aioredis.Redis)
    assert local.connection_pool.connection_class is UnixDomainSocketConnection
    assert local.connection_pool.connection_kwargs["path"] == "/run/redis.sock"


def test_sentinel_names_its_hosts_and_master() -> None:
    client = connect("rediss+sentinel://user:p%40ss@a:1,b/mymaster/2", SETTINGS)
    assert isinstance(client, aioredis.Redis)
    pool = client.connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    assert pool.service_name == "mymaster"
    asked = [s.connection_pool.connection_kwargs for s in pool.sentinel_manager.sentinels]
    assert [(o["host"], o["port"]) for o in asked] == [("a", 1), ("b", 26379)]
    assert pool.connection_kwargs["password"] == "p@ss"
    assert pool.connection_kwargs["db"] == 2


def test_cluster_names_its_hosts() -> None:
    client = connect("redis+cluster://:secret@a:7000,b:7001", SETTINGS)
    assert isinstance(client, aioredis.RedisCluster)
    assert {(n.host, n.port) for n in client.startup_nodes} == {("a", 7000), ("b", 7001)}
    assert client.connection_kwargs["password"] == "secret"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost",
        "redis://",
        "redis://host:port",
        "redis+sentinel://a:1",
        "redis+sentinel:///master",
        "redis+cluster://a:1/3",
        "redis+cluster://",
        "redis+cluster://a:1,,b:2",
    ],
)
def test_anything_else_is_an_error_that_names_the_setting(url: str) -> None:
    with pytest.raises(ValueError, match="redis_url"):
        connect(url, SETTINGS)


def test_errors_show_no_password() -> None:
    with pytest.raises(ValueError, match="redis_url") as raised:
        connect("redis+sentinel://user:secret@a:1", SETTINGS)
    assert "secret" not in str(raised.value)


def test_settings_are_checked_and_described() -> None:
    with pytest.raises(ValidationError):
        StoreSettings(lease_seconds=3)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        StoreSettings(key_prefix="a{b}")
    assert all(field.description for field in StoreSettings.model_fields.values())
