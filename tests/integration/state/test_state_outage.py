"""Redis away, hung, killed: the caller hears it in time, nothing is half there, and all goes on without a restart."""

import asyncio
import os
import random
import signal
import time

import pytest
from state_support import NOW, TODAY, begin, chat, remember, turn, turn_ids, warning

from state.embedded import EmbeddedRedis
from state.errors import LeaseLost, StoreUnavailable
from state.store import Store, StoreSettings


def kill(server: EmbeddedRedis, how: signal.Signals = signal.SIGKILL) -> None:
    assert server.pid
    os.kill(server.pid, how)


async def until_back(store: Store, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await store.ping()
        except StoreUnavailable:
            assert time.monotonic() < deadline, "Redis did not come back"
            await asyncio.sleep(0.02)


async def test_no_redis_is_said_at_once_and_names_the_setting() -> None:
    store = Store.from_url("redis://127.0.0.1:1", StoreSettings())
    for step in (store.ping(), begin(store), store.memories("mina", TODAY), store.erase("mina", NOW)):
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="redis_url"):
            await step
        assert time.monotonic() - started < 1
    await store.close()


async def test_the_last_acknowledged_turn_survives_sigkill(own_server: EmbeddedRedis) -> None:
    store = Store.from_url(own_server.url, StoreSettings())
    await chat(store, turn_id="t1", summary="요약", memory=remember("이름", "민아"), offences=[warning()])
    begun = await begin(store)
    kill(own_server)

    async def renew_until_it_fails() -> None:
        while True:
            await store.renew(begun.lease)

    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(renew_until_it_fails(), 10)
    await until_back(store)
    assert await turn_ids(store) == ["t1"]
    assert len(await store.ledger("mina")) == 1
    # Leases don't come back: the turn that was running is refused as a whole, and the next one goes on.
    with pytest.raises(LeaseLost):
        await store.commit(begun.lease, turn("lost", memory=remember("이름", "누구")))
    last = await begin(store)
    assert (last.turn_number, last.summary, [item.value for item in await store.memories("mina", TODAY)]) == (
        2,
        "요약",
        ["민아"],
    )
    await store.commit(last.lease, turn("t2"))
    assert await turn_ids(store) == ["t1", "t2"]
    await store.close()


async def test_a_hung_redis_is_unavailable_within_the_operation_timeout(own_server: EmbeddedRedis) -> None:
    store = Store.from_url(own_server.url, StoreSettings(operation_timeout_s=0.5))
    await store.ping()
    kill(own_server, signal.SIGSTOP)
    try:
        for step in (store.ping, lambda: begin(store), store.ping):
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await step()
            assert 0.3 < time.monotonic() - started < 1
    finally:
        kill(own_server, signal.SIGCONT)
    await until_back(store)
    # What was sent while it hung ran after all; the lease that nobody got was given back.
    started = time.monotonic()
    assert (await begin(store)).lease
    assert time.monotonic() - started < 5
    await store.close()


async def test_kills_under_load_lose_no_acknowledged_turn_and_keep_no_half_one(own_server: EmbeddedRedis) -> None:
    """A turn writes a row, a memory and a ledger entry: each is there with the others or not at all."""
    stores = [Store.from_url(own_server.url, StoreSettings(session_wait_s=5, lease_s=5)) for _ in range(2)]
    stop = asyncio.Event()
    acknowledged: set[str] = set()
    tried: set[str] = set()

    async def talk(i: int) -> None:
        user, n = f"u{i}", 0
        while not stop.is_set():
            name = f"{user}-{n}"
            n += 1
            try:
                begun = await begin(stores[i % 2], user)
                tried.add(name)
                kept = turn(
                    name, memory=remember(f"열쇠 {n}", name), offences=[warning().model_copy(update={"id": name})]
                )
                await stores[i % 2].commit(begun.lease, kept)
                acknowledged.add(name)
            except StoreUnavailable:
                await asyncio.sleep(0.02)
            except LeaseLost:
                pass

    talking = [asyncio.create_task(talk(i)) for i in range(6)]
    rng = random.Random(3)
    for _ in range(8):
        await asyncio.sleep(0.15 + rng.random() * 0.2)
        kill(own_server)
        await until_back(stores[0])
    stop.set()
    await asyncio.gather(*talking)
    assert len(acknowledged) > 50
    for i in range(6):
        user = f"u{i}"
        rows = await stores[0].session_turns(user, "s1")
        kept = [row["turn_id"] for row in rows]
        assert [row["turn_number"] for row in rows] == list(range(1, len(rows) + 1))
        assert len(set(kept)) == len(kept)
        assert {name for name in acknowledged if name.startswith(f"{user}-")} <= set(kept) <= tried
        assert {item.value for item in await stores[0].memories(user, TODAY)} == set(kept)
        assert [entry.id for entry in await stores[0].ledger(user)] == kept
    for store in stores:
        await store.close()
