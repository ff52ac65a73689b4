"""Everything about one person: sessions, export, erasure, and the ledger with the administrator's lists."""

import asyncio
import datetime as dt
import json
import time
from collections.abc import Callable

import pytest
from state_support import NOW, TODAY, begin, block, chat, keys_of, remember, turn, turn_ids, warning

from ohlora.ethics import Kind, blocked_until
from state import ledger
from state.errors import NotFound
from state.store import Store

Open = Callable[..., Store]
MINUTE = dt.timedelta(minutes=1)


async def test_sessions_are_listed_last_used_first(store: Store) -> None:
    for i, session in enumerate(["a", "b", "a:turns", "a"]):
        await chat(store, session=session, now=NOW + i * MINUTE)
    await begin(store, session="never-kept")
    listed = await store.sessions("mina")
    assert [(s.session_id, s.turns) for s in listed] == [("a", 2), ("a:turns", 1), ("b", 1)]
    assert (listed[0].started_at, listed[0].last_at) == (NOW, NOW + 3 * MINUTE)
    assert await store.sessions("jun") == []
    with pytest.raises(NotFound) as missing:
        await store.session_turns("jun", "a")
    assert missing.value.kind == "session"


async def test_a_deleted_session_leaves_its_memories_and_the_other_sessions(store: Store) -> None:
    begun = await begin(store, session="s1", idempotency_key="k1", body_digest="d")
    secret = turn("t1", prompt="지울비밀", reply={"answer": "지울비밀"}, memory=remember("이름", "민아"))
    await store.commit(begun.lease, secret)
    begun = await begin(store, session="s2", idempotency_key="k2", body_digest="d")
    await store.commit(begun.lease, turn("t2", reply={"answer": "남을답"}))
    await store.delete_session("mina", "s1")
    assert not await keys_of(store, "지울비밀")
    assert [s.session_id for s in await store.sessions("mina")] == ["s2"]
    assert (await begin(store, idempotency_key="k2", body_digest="d")).replay == {"answer": "남을답"}
    assert (await begin(store, idempotency_key="k1", body_digest="d")).replay is None
    assert [item.value for item in await store.memories("mina", TODAY)] == ["민아"]
    for session in ("s1", "unknown"):
        with pytest.raises(NotFound):
            await store.delete_session("jun", session)


async def fill(store: Store, user: str) -> None:
    """A person with everything that can be kept about one."""
    entry = warning()
    for i, session in enumerate(["s1", "s2"]):
        begun = await begin(store, user, session, idempotency_key=f"k{i}", body_digest="d")
        kept = turn(memory=remember(f"열쇠 {i}", "값"), summary="요약", offences=[entry] if i else [])
        await store.commit(begun.lease, kept)
    await chat(store, user, memory=remember("내일 일정", "카페"))
    await store.add_appeal(user, entry.id, "억울해요", NOW)
    await begin(store, user, "s3", idempotency_key="running", body_digest="d")


async def test_export_is_json_of_everything_kept(store: Store) -> None:
    await fill(store, "mina")
    await fill(store, "jun")
    exported = json.loads(json.dumps(await store.export("mina"), ensure_ascii=False))
    assert exported["user_id"] == "mina"
    assert {item["key"] for item in exported["memories"]} == {"열쇠 0", "열쇠 1", "내일 일정"}
    assert {s["session_id"]: len(s["turns"]) for s in exported["sessions"]} == {"s1": 2, "s2": 1}
    assert [entry["kind"] for entry in exported["ledger"]] == ["warning", "appeal"]
    assert {row["idempotency_key"] for row in exported["idempotent_replies"]} == {"k0", "k1"}
    with pytest.raises(NotFound) as missing:
        await store.export("nobody")
    assert missing.value.kind == "user"


async def test_erasure_leaves_nothing_that_a_scan_finds_and_nobody_else_is_touched(store: Store) -> None:
    await fill(store, "mina")
    await fill(store, "jun")
    held = await begin(store, "mina", "s2")
    waiting = asyncio.create_task(begin(store, "mina", "s2"))
    await asyncio.sleep(0.05)
    waiting.cancel()
    before = await store.export("jun")
    assert len(await keys_of(store, "mina")) > 12
    result = await store.erase("mina", NOW)
    await asyncio.sleep(0.05)  # the cancelled waiter's release must not bring a key back
    assert await keys_of(store, "mina") == {}
    assert result == {
        "erased": {"memories": 3, "sessions": 2, "turns": 3, "ledger_entries": 2, "idempotent_replies": 2},
        "kept": None,
    }
    assert await store.export("jun") == before
    assert held.lease
    again = await store.erase("mina", NOW)
    assert set(again["erased"].values()) == {0}
    fresh = await begin(store, "mina", "s1", idempotency_key="k0", body_digest="d")
    assert (fresh.turn_number, fresh.ids, fresh.ledger, fresh.summary) == (1, [], [], None)


async def test_erasure_keeps_an_active_block_until_it_ends(store: Store) -> None:
    until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1.5)
    entry = block(until=until)
    await chat(store, offences=[warning()])
    await chat(store, offences=[entry], blocked=True)
    await store.add_appeal("mina", entry.id, "억울해요", NOW)
    result = await store.erase("mina", NOW)
    assert [row["id"] for row in result["kept"]["ledger"]] == [entry.id]
    assert dt.datetime.fromisoformat(result["kept"]["until"]) == until
    assert result["erased"]["ledger_entries"] == 2
    found = await keys_of(store, "mina")
    assert found == {store._db.keys("mina").one("kept"): "list", "ohlora:index:sanctions": "zset"}
    assert (await begin(store)).lease is None
    assert [row.entry for row in (await store.all_sanctions()).entries] == [entry]
    # A second erasure doesn't shorten it.
    assert (await store.erase("mina", NOW))["kept"]["until"] == result["kept"]["until"]
    await asyncio.sleep(1.6)
    assert await store.ledger("mina") == []
    assert (await begin(store)).lease


async def test_new_entries_outlive_the_kept_ones(store: Store) -> None:
    until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
    entry = block(until=until)
    await chat(store, offences=[entry], blocked=True)
    await store.erase("mina", NOW)
    lift = await store.lift("mina", entry.id, "오판", NOW)
    new = warning("politics")
    await chat(store, offences=[new])
    assert await store.ledger("mina") == [entry, lift, new]
    await asyncio.sleep(1.1)
    assert await store.ledger("mina") == [lift, new]


async def test_erasure_of_an_active_user_ends_and_is_whole(store: Store, open_store: Open) -> None:
    """Turns go on while it runs: each is either before it, and gone, or after it, and there."""
    other = open_store()
    stop = asyncio.Event()

    async def talk(i: int) -> None:
        from state.errors import LeaseLost

        while not stop.is_set():
            begun = await begin(other, session=f"s{i}")
            try:
                await other.commit(begun.lease, turn(memory=remember(f"열쇠 {i}", "값")))
            except LeaseLost:
                continue

    talking = [asyncio.create_task(talk(i)) for i in range(4)]
    await asyncio.sleep(0.1)
    for _ in range(5):
        assert (await store.erase("mina", NOW))["kept"] is None
        await asyncio.sleep(0.02)
    stop.set()
    await asyncio.gather(*talking)
    for session in await store.sessions("mina"):
        rows = await store.session_turns("mina", session.session_id)
        assert [row["turn_number"] for row in rows] == list(range(1, session.turns + 1))
    await store.erase("mina", NOW)
    assert await keys_of(store, "mina") == {}


# -- ledger


async def test_lifts_and_appeals_are_entries(store: Store) -> None:
    entry = block()
    await chat(store, offences=[entry], blocked=True)
    appeal = await store.add_appeal("mina", entry.id, "억울해요", NOW + MINUTE)
    lift = await store.lift("mina", entry.id, "오판", NOW + 2 * MINUTE)
    assert await store.lift("mina", entry.id, "또", NOW + 3 * MINUTE) == lift
    assert await store.ledger("mina") == [entry, appeal, lift]
    assert (appeal.kind, appeal.text, lift.kind, lift.sanction_id) == (Kind.APPEAL, "억울해요", Kind.LIFT, entry.id)
    assert blocked_until(await store.ledger("mina"), NOW) is None
    for wrong in ("unknown", appeal.id):
        for step in (store.lift, store.add_appeal):
            with pytest.raises(NotFound) as missing:
                await step("mina", wrong, "…", NOW)
            assert missing.value.kind == "sanction"


async def test_many_writers_of_one_ledger_lose_no_entry(store: Store, open_store: Open) -> None:
    entry = block()
    await chat(store, offences=[entry], blocked=True)
    replicas = [store, open_store(), open_store()]
    appeals = await asyncio.gather(
        *(replicas[i % 3].add_appeal("mina", entry.id, f"{i}", NOW) for i in range(9)),
    )
    lifts = await asyncio.gather(*(replica.lift("mina", entry.id, "오판", NOW) for replica in replicas))
    assert len({lift.id for lift in lifts}) == 1
    kept = await store.ledger("mina")
    assert {entry.id for entry in kept} == {entry.id, lifts[0].id, *(appeal.id for appeal in appeals)}
    assert len(kept) == 11


async def test_administrators_see_all_users_page_by_page(store: Store) -> None:
    entries = {}
    for i in range(7):
        entries[f"u{i}"] = block(at=NOW + i * MINUTE, until=NOW + dt.timedelta(days=9))
        await chat(store, f"u{i}", now=NOW + i * MINUTE, offences=[entries[f"u{i}"]], blocked=True)
    await chat(store, "good")
    await store.add_appeal("u2", entries["u2"].id, "억울해요", NOW)
    pages = []
    offset: int | None = 0
    while offset is not None:
        page = await store.all_sanctions(limit=3, offset=offset)
        pages.append([row.user_id for row in page.entries])
        offset = page.next_offset
    assert pages == [["u6", "u5", "u4"], ["u3", "u2", "u1"], ["u0"]]
    appeals = await store.all_appeals()
    assert [(row.user_id, row.entry.text) for row in appeals.entries] == [("u2", "억울해요")]
    assert appeals.next_offset is None


async def test_the_list_names_a_user_before_the_entry_and_heals(store: Store) -> None:
    """A crash between the two leaves a name without entries, never an entry without its name."""
    await ledger.remember_user(store._db, ledger.SANCTIONS, "crashed-long-ago", NOW - dt.timedelta(hours=2))
    await ledger.remember_user(
        store._db, ledger.SANCTIONS, "writing-now", dt.datetime.fromtimestamp(time.time(), dt.UTC)
    )
    await chat(store, "mina", offences=[warning()])
    assert [row.user_id for row in (await store.all_sanctions()).entries] == ["mina"]
    names = await store._db.client.zrange("ohlora:index:sanctions", 0, -1)
    assert {name.decode() for name in names} == {"mina", "writing-now"}


async def test_a_lost_commit_leaves_no_name_behind_for_good(store: Store) -> None:
    begun = await begin(store)
    await store.erase("mina", NOW)
    from state.errors import LeaseLost

    with pytest.raises(LeaseLost):
        await store.commit(begun.lease, turn(offences=[warning(at=NOW)], at=NOW - dt.timedelta(hours=2)))
    assert (await store.all_sanctions()).entries == []
    assert await keys_of(store, "mina") == {}
    with pytest.raises(NotFound):
        await turn_ids(store)
