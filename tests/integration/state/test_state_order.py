"""Hundreds of turns interleaved by many tasks and processes, against a model that takes them one after another."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable

from state_support import TODAY, begin, python, remember, turn

from state.store import Store

Open = Callable[..., Store]

# Each worker takes turns of shared sessions and tells, for each one that was acknowledged, the number it was given.
WORKER = """
import asyncio, json, random, sys
from state.store import Store, StoreSettings
from state_support import begin, remember, turn

async def main(url, name, count):
    store = Store.from_url(url, StoreSettings(session_wait_s=60))
    rng = random.Random(name)
    async def one(i):
        session = f"s{rng.randrange(3)}"
        begun = await begin(store, session=session)
        await asyncio.sleep(rng.random() * 0.004)
        turn_id = f"{name}-{i}"
        if rng.random() < 0.1:
            await store.release(begun.lease)
            return
        summary = f"{begun.summary or ''}"[-200:] + f"|{turn_id}"
        kept = turn(turn_id, summary=summary, memory=remember(f"열쇠 {name} {i}", turn_id))
        await store.commit(begun.lease, kept)
        if rng.random() < 0.2:
            await store.commit(begun.lease, kept)
        print(json.dumps([session, begun.turn_number, turn_id, begun.summary]), flush=True)
    for start in range(0, count, 10):
        await asyncio.gather(*(one(i) for i in range(start, start + 10)))
    await store.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def test_turns_of_four_processes_are_kept_once_and_in_order(open_store: Open, redis_url: str) -> None:
    store = open_store()
    workers = [python(WORKER, redis_url, f"w{i}", "80") for i in range(4)]
    outputs = await asyncio.gather(*(asyncio.to_thread(worker.communicate) for worker in workers))
    assert [worker.returncode for worker in workers] == [0] * 4
    told = [json.loads(line) for output, _ in outputs for line in output.splitlines()]
    assert len(told) > 250

    kept = 0
    for session in ("s0", "s1", "s2"):
        rows = await store.session_turns("mina", session)
        kept += len(rows)
        # The sequential model: numbers without a gap, and each turn saw the summary of exactly the turn before.
        assert [row["turn_number"] for row in rows] == list(range(1, len(rows) + 1))
        expected = sorted((n, turn_id) for s, n, turn_id, _ in told if s == session)
        assert [(row["turn_number"], row["turn_id"]) for row in rows] == expected
        seen = {turn_id: summary for s, _, turn_id, summary in told if s == session}
        before = None
        for row in rows:
            assert seen[row["turn_id"]] == before
            before = row["summary"]
    assert kept == len(told)
    memories = Counter(item.value for item in await store.memories("mina", TODAY))
    assert memories == Counter(turn_id for _, _, turn_id, _ in told)


async def test_turns_of_many_tasks_with_short_leases_are_kept_once_or_refused(open_store: Open) -> None:
    """Holders that sleep past their lease: what was acknowledged is kept, what was refused isn't."""
    from state.errors import LeaseLost

    stores = [open_store(lease_s=0.03, session_wait_s=30) for _ in range(3)]
    rng = random.Random(7)
    kept: list[str] = []
    lost: list[str] = []

    async def one(i: int) -> None:
        store = stores[i % 3]
        begun = await begin(store, session=f"s{i % 2}")
        await asyncio.sleep(rng.random() * 0.04)
        try:
            await store.commit(begun.lease, turn(f"t{i}"))
            kept.append(f"t{i}")
        except LeaseLost:
            lost.append(f"t{i}")

    await asyncio.gather(*(one(i) for i in range(120)))
    assert lost, "no holder was late: the test shows nothing"
    assert len(kept) + len(lost) == 120
    for session in ("s0", "s1"):
        rows = await stores[0].session_turns("mina", session)
        assert [row["turn_number"] for row in rows] == list(range(1, len(rows) + 1))
        in_session = [turn_id for turn_id in kept if int(turn_id[1:]) % 2 == int(session[1])]
        assert sorted(row["turn_id"] for row in rows) == sorted(in_session)


async def test_two_sessions_of_one_user_lose_no_memory(open_store: Open) -> None:
    """Both write the same keys at the same time: every value is there, as the current one or in the history."""
    stores = [open_store(), open_store()]

    async def talk(i: int) -> None:
        for n in range(40):
            begun = await begin(stores[i], session=f"s{i}")
            await stores[i].commit(begun.lease, turn(memory=remember(f"열쇠 {n % 4}", f"{i}-{n}")))

    await asyncio.gather(talk(0), talk(1))
    items = await stores[0].memories("mina", TODAY)
    assert len(items) == 4
    told = [value for item in items for value in (item.value, *(change.value for change in item.history))]
    assert sorted(told) == sorted(f"{i}-{n}" for i in range(2) for n in range(40))
