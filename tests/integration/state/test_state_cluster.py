"""The same store on a Redis Cluster of three nodes and behind a Sentinel, both started here on loopback."""

import asyncio
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis
from state_support import NOW, TODAY, begin, block, chat, remember, turn, turn_ids, warning

from state.embedded import _executable
from state.store import Store, StoreSettings

SLOTS = 16384


def free_port() -> int:
    """A port whose cluster-bus port (10,000 higher) exists as well."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port < 55_000:
            return port


@contextmanager
def server(folder: Path, port: int, *options: str) -> Iterator[redis.Redis]:
    folder.mkdir(parents=True)
    process = subprocess.Popen(
        [_executable(), *options, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    client = redis.Redis(port=port, protocol=2)
    try:
        wait_for(lambda: answers(client))
        yield client
    finally:
        process.terminate()
        process.wait()


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[tuple[Store, list[redis.Redis]]]:
    ports = [free_port() for _ in range(3)]
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(server(tmp_path / str(port), port, "--cluster-enabled", "yes", "--appendonly", "no"))
            for port in ports
        ]
        bounds = [0, SLOTS // 3, 2 * SLOTS // 3, SLOTS]
        for node, first, end in zip(nodes, bounds, bounds[1:], strict=False):
            node.execute_command("CLUSTER", "ADDSLOTS", *range(first, end))
        for i, node in enumerate(nodes):
            node.execute_command("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
        for port in ports[1:]:
            nodes[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port)
        wait_for(lambda: all(b"cluster_state:ok" in raw_info(node) for node in nodes))
        wait_for(lambda: all(b"cluster_known_nodes:3" in raw_info(node) for node in nodes))
        store = Store.from_url(f"redis+cluster://127.0.0.1:{ports[1]},127.0.0.1:{ports[0]}", StoreSettings())
        yield store, nodes
        await store.close()


def raw_info(node: redis.Redis) -> bytes:
    connection = node.connection_pool.get_connection()
    try:
        connection.send_command("CLUSTER", "INFO")
        reply = connection.read_response()
        assert isinstance(reply, bytes)
        return reply
    finally:
        node.connection_pool.release(connection)


async def test_every_step_works_on_a_cluster(cluster: tuple[Store, list[redis.Redis]]) -> None:
    store, nodes = cluster
    await store.ping()
    users = [f"user-{i}" for i in range(12)]
    for user in users:
        offence = block(until=NOW)
        await chat(store, user, turn_id="t1", memory=remember("이름", user), offences=[offence], summary="요약")
        await asyncio.gather(*(chat(store, user, turn_id=f"n{i}") for i in range(3)))
        begun = await begin(store, user, idempotency_key="k", body_digest="d")
        await store.commit(begun.lease, turn("t2"))
        assert (await begin(store, user, idempotency_key="k", body_digest="d")).replay
        assert len(await turn_ids(store, user)) == 5
        await store.add_appeal(user, offence.id, "억울해요", NOW)
        await store.lift(user, offence.id, "오판", NOW)
        assert len((await store.export(user))["sessions"]) == 1
        assert [item.value for item in await store.memories(user, TODAY)] == [user]
    assert all(node.dbsize() > 5 for node in nodes), "the users are not spread over the nodes"
    listed = await store.all_sanctions(limit=100)
    assert {row.user_id for row in listed.entries} == set(users)
    assert len((await store.all_appeals(limit=100)).entries) == 12
    for user in users:
        assert (await store.erase(user, NOW))["kept"] is None
    for node in nodes:
        assert [key for key in node.scan_iter() if b"user-" in key] == []
    assert (await store.all_sanctions()).entries == []


async def test_a_script_unknown_to_a_node_is_sent_again(cluster: tuple[Store, list[redis.Redis]]) -> None:
    store, nodes = cluster
    await chat(store, "mina", turn_id="t1")
    for node in nodes:
        node.script_flush()
    await chat(store, "mina", turn_id="t2", offences=[warning()])
    assert await turn_ids(store, "mina") == ["t1", "t2"]


async def test_a_sentinel_names_the_master(tmp_path: Path) -> None:
    port, watch = free_port(), free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(f"sentinel monitor ohlora 127.0.0.1 {port} 1\n")
    with server(tmp_path / "master", port) as master, server(tmp_path / "watch", watch, str(config), "--sentinel"):
        store = Store.from_url(f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{watch}/ohlora", StoreSettings())
        await store.ping()
        await chat(store, turn_id="t1")
        assert await turn_ids(store) == ["t1"]
        assert master.dbsize() > 1
        await store.close()
