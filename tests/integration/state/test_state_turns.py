"""A turn is kept once, in order, or not at all."""

import asyncio
import contextlib
import datetime as dt
import random
import time
from collections.abc import Callable

import pytest
from state_support import NOW, TODAY, begin, block, chat, keys_of, remember, turn, turn_ids, warning

from ohlora.ethics import blocked_until
from state import turns
from state.errors import IdempotencyInProgress, IdempotencyMismatch, LeaseLost, LedgerChanged, NotFound, SessionBusy
from state.store import Store

Open = Callable[..., Store]


async def test_a_turn_is_read_back_as_it_was_kept(store: Store) -> None:
    begun = await begin(store)
    assert (begun.turn_number, begun.summary, begun.ids, begun.ledger, begun.replay) == (1, None, [], [], None)
    kept = turn("t1", summary="요약", reply={"answer": '안녕 / "로라" \u200b😀', "n": [1, 0.5, None, [], {}]})
    await store.commit(begun.lease, kept)
    (row,) = await store.session_turns("mina", "s1")
    assert row["turn_number"] == 1
    assert (row["prompt"], row["answer"], row["summary"], row["reply"]) == (
        kept.prompt,
        kept.answer,
        "요약",
        kept.reply,
    )
    assert dt.datetime.fromisoformat(row["at"]) == NOW
    again = await begin(store)
    assert (again.turn_number, again.summary) == (2, "요약")


async def test_begin_and_commit_are_one_round_trip_each(store: Store) -> None:
    await chat(store, offences=[warning()])
    sent = []
    async with store._db.client.monitor() as monitor:
        begun = await begin(store, idempotency_key="k", body_digest="d")
        await store.commit(begun.lease, turn(memory=remember("좋아하는 과일", "딸기")))
        await store._db.client.echo("end")
        async for command in monitor.listen():
            if command["command"] == "ECHO end":
                break
            if command["client_type"] != "lua":
                sent.append(command["command"].split()[0])
    assert sent == ["EVALSHA", "EVALSHA"]


async def test_summary_ends_after_idle_time_and_with_a_turn_that_has_none(store: Store) -> None:
    await chat(store, summary="처음")
    for seconds, summary in ((0, "처음"), (179.9, "처음"), (180, None), (100_000, None)):
        begun = await begin(store, now=NOW + dt.timedelta(seconds=seconds))
        assert begun.summary == summary
        await store.release(begun.lease)
    await chat(store, summary=None)
    assert (await begin(store)).summary is None


async def test_a_session_that_stays_busy_is_said_to_be(open_store: Open) -> None:
    store = open_store(session_wait_s=0.3)
    held = await begin(store)
    started = time.monotonic()
    with pytest.raises(SessionBusy):
        await begin(store, session="s1")
    assert 0.3 <= time.monotonic() - started < 1.5
    assert (await begin(store, session="s2")).lease
    await store.release(held.lease)
    assert (await begin(store)).lease


async def test_waiting_turns_are_taken_in_the_order_they_came_in(store: Store, open_store: Open) -> None:
    replicas = [store, open_store(), open_store()]
    held = await begin(store)
    order: list[int] = []

    async def wait(i: int) -> None:
        begun = await begin(replicas[i % 3])
        order.append(i)
        await asyncio.sleep(random.random() * 0.01)
        await store.commit(begun.lease, turn(f"t{i}"))

    waiting = []
    for i in range(12):
        waiting.append(asyncio.create_task(wait(i)))
        while await store._db.client.zcard(store._db.keys("mina").one("queue", "s1")) <= i:  # noqa: ASYNC110 - Redis has none
            await asyncio.sleep(0.002)
    await store.commit(held.lease, turn("t"))
    # Newcomers must not overtake those who wait.
    late = asyncio.create_task(wait(12))
    await asyncio.gather(*waiting, late)
    assert order == list(range(13))
    assert await turn_ids(store) == ["t", *(f"t{i}" for i in range(13))]


async def test_a_waiter_that_died_does_not_hold_up_the_others(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_WAITER_S", 0.4)
    store = open_store(session_wait_s=5)
    held = await begin(store)
    dead = asyncio.create_task(begin(store))
    await asyncio.sleep(0.05)
    queue = store._db.keys("mina").one("queue", "s1")
    assert await store._db.client.zcard(queue) == 1
    await store._db.client.zadd(queue, {"ticket-of-a-dead-process": 0})
    waiting = store._db.keys("mina").one("waiting", "s1")
    await store._db.client.zadd(waiting, {"ticket-of-a-dead-process": int(time.time() * 1000) + 400})
    await store.release(held.lease)
    await asyncio.sleep(0.1)
    assert not dead.done()  # the dead one is first in the queue until its time is over
    begun = await asyncio.wait_for(dead, 3)
    assert begun.lease


async def test_a_cancelled_begin_leaves_nothing_behind(store: Store) -> None:
    """Cancelled at random moments: before, within and after the script that takes the lease."""
    for i in range(60):
        task = asyncio.create_task(begin(store, idempotency_key="k", body_digest="d"))
        await asyncio.sleep(random.random() * 0.003)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await store.release((await task).lease)
        deadline = time.monotonic() + 2
        while True:  # the release goes out in the background
            try:
                begun = await begin(store, idempotency_key="k", body_digest="d")
                break
            except IdempotencyInProgress:
                assert time.monotonic() < deadline, f"round {i}: still marked as running"
                await asyncio.sleep(0.005)
        await store.release(begun.lease)
    assert time.monotonic() < deadline + 2


async def test_a_cancelled_waiter_leaves_the_queue(store: Store) -> None:
    held = await begin(store)
    waiter = asyncio.create_task(begin(store))
    await asyncio.sleep(0.05)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    await asyncio.sleep(0.05)
    await store.release(held.lease)
    started = time.monotonic()
    assert (await begin(store)).lease
    assert time.monotonic() - started < 0.5


# -- fencing


async def test_a_holder_that_slept_past_its_lease_writes_nothing(open_store: Open) -> None:
    store = open_store(lease_s=0.15)
    paused = await begin(store)
    await asyncio.sleep(0.2)
    taken = await begin(store)
    assert taken.lease
    with pytest.raises(LeaseLost):
        await store.commit(
            paused.lease,
            turn("zombie", memory=remember("좋아하는 과일", "딸기"), offences=[warning()], summary="좀비"),
        )
    with pytest.raises(LeaseLost):
        await store.renew(paused.lease)
    await store.release(paused.lease)  # must not free the other's lease
    await store.commit(taken.lease, turn("alive"))
    with pytest.raises(LeaseLost):
        await store.commit(paused.lease, turn("zombie"))
    assert await turn_ids(store) == ["alive"]
    assert await store.memories("mina", TODAY) == []
    assert await store.ledger("mina") == []


async def test_a_lease_that_ran_out_still_counts_while_nobody_took_over(open_store: Open) -> None:
    store = open_store(lease_s=0.1)
    begun = await begin(store)
    await asyncio.sleep(0.15)
    await store.renew(begun.lease)
    await asyncio.sleep(0.15)
    await store.commit(begun.lease, turn("t1"))
    assert await turn_ids(store) == ["t1"]


async def test_a_renewed_lease_keeps_others_out(open_store: Open) -> None:
    store = open_store(lease_s=0.4, session_wait_s=0)
    begun = await begin(store)
    for _ in range(4):
        await asyncio.sleep(0.2)
        await store.renew(begun.lease)
        with pytest.raises(SessionBusy):
            await begin(store)


@pytest.mark.parametrize("how", ["delete_session", "erase"])
async def test_what_was_deleted_meanwhile_is_not_written_again(store: Store, how: str) -> None:
    await chat(store)
    begun = await begin(store)
    if how == "erase":
        await store.erase("mina", NOW)
    else:
        await store.delete_session("mina", "s1")
    with pytest.raises(LeaseLost):
        await store.commit(begun.lease, turn(memory=remember("이름", "민아")))
    with pytest.raises(NotFound):
        await store.session_turns("mina", "s1")
    assert await store.memories("mina", TODAY) == []


# -- at most once


async def test_the_same_commit_again_changes_nothing(store: Store) -> None:
    begun = await begin(store, idempotency_key="k", body_digest="d")
    first = turn("t1", offences=[warning()], memory=remember("이름", "민아"), summary="하나")
    await store.commit(begun.lease, first)
    await store.commit(begun.lease, first)
    second = await begin(store)
    await store.commit(second.lease, turn("t2", summary="둘", memory=remember("이름", "민지")))
    await store.commit(begun.lease, first)  # its answer was lost, and another turn came in between
    assert await turn_ids(store) == ["t1", "t2"]
    assert len(await store.ledger("mina")) == 1
    last = await begin(store)
    assert (last.summary, last.turn_number) == ("둘", 3)
    assert [item.value for item in await store.memories("mina", TODAY)] == ["민지"]
    assert len(last.ids) == 1


async def test_a_turn_id_under_a_new_lease_is_kept_once_and_gives_the_lease_back(open_store: Open) -> None:
    store = open_store(session_wait_s=0)
    for _ in range(3):
        begun = await begin(store)
        await store.commit(begun.lease, turn("t1"))
    assert await turn_ids(store) == ["t1"]


async def test_an_idempotency_key_runs_once(store: Store) -> None:
    key = {"idempotency_key": "k", "body_digest": "d"}
    begun = await begin(store, **key)
    with pytest.raises(IdempotencyInProgress):
        await begin(store, session="another", **key)
    with pytest.raises(IdempotencyMismatch):
        await begin(store, idempotency_key="k", body_digest="other")
    kept = turn(reply={"answer": "첫 답"})
    await store.commit(begun.lease, kept)
    replay = await begin(store, session="another", **key)
    assert (replay.replay, replay.lease) == ({"answer": "첫 답"}, None)
    with pytest.raises(IdempotencyMismatch):
        await begin(store, idempotency_key="k", body_digest="other")
    assert (await begin(store, user="jun", **key)).replay is None
    name = store._db.keys("mina").one("idem", "k")
    assert 86_000 < await store._db.client.ttl(name) <= 86_400


async def test_a_waiting_request_counts_as_running(store: Store) -> None:
    held = await begin(store)
    waiting = asyncio.create_task(begin(store, idempotency_key="k", body_digest="d"))
    await asyncio.sleep(0.05)
    with pytest.raises(IdempotencyInProgress):
        await begin(store, idempotency_key="k", body_digest="d")
    await store.release(held.lease)
    assert (await waiting).lease


async def test_a_released_or_dead_request_may_run_again_but_only_one_is_kept(open_store: Open) -> None:
    store = open_store(lease_s=0.15)
    key = {"idempotency_key": "k", "body_digest": "d"}
    begun = await begin(store, **key)
    await store.release(begun.lease)
    await store.release(begun.lease)
    dead = await begin(store, session="s1", **key)
    await asyncio.sleep(0.2)
    # The client comes again without a session id, so another session is made for the same request.
    again = await begin(store, session="s2", **key)
    await store.commit(again.lease, turn("t2"))
    with pytest.raises(LeaseLost):
        await store.commit(dead.lease, turn("t1"))
    assert [s.session_id for s in await store.sessions("mina")] == ["s2"]


# -- the ledger in a turn


async def test_several_offences_of_one_turn_are_all_recorded(store: Store) -> None:
    offences = [block("hate"), block("paedrip"), warning("love")]
    begun = await begin(store, idempotency_key="k", body_digest="d")
    await store.commit(
        begun.lease,
        turn(offences=offences, blocked=True, memory=remember("이름", "민아"), summary="요약", reply={"blocked": True}),
    )
    assert await store.ledger("mina") == offences
    assert await store.memories("mina", TODAY) == []
    assert await store.sessions("mina") == []
    assert (await begin(store, idempotency_key="k", body_digest="d")).replay == {"blocked": True}


async def test_a_blocked_user_gets_no_lease_and_holds_nobody_up(store: Store) -> None:
    begun = await begin(store)
    entry = block(until=NOW + dt.timedelta(hours=1))
    await store.commit(begun.lease, turn(offences=[entry], blocked=True))
    blocked = await begin(store, idempotency_key="k", body_digest="d")
    assert blocked.lease is None
    assert blocked.replay is None
    assert blocked_until(blocked.ledger, NOW) == (entry.until, [entry])
    later = await begin(store, now=NOW + dt.timedelta(hours=1), idempotency_key="k", body_digest="d")
    assert later.lease
    waiting = await begin(store)  # held by `later`, but a blocked user need not wait to hear it
    assert waiting.lease is None


async def test_the_lift_of_a_block_lets_the_user_in(store: Store) -> None:
    entry = block()
    await chat(store, offences=[entry], blocked=True)
    assert (await begin(store)).lease is None
    await store.lift("mina", entry.id, "오판", NOW)
    assert (await begin(store)).lease


async def test_a_verdict_on_an_old_ledger_is_not_written(store: Store) -> None:
    one, other = await begin(store, session="s1"), await begin(store, session="s2")
    first = warning()
    await store.commit(one.lease, turn("t1", offences=[first]))
    second = block()
    with pytest.raises(LedgerChanged) as changed:
        await store.commit(other.lease, turn("t2", offences=[warning()], memory=remember("이름", "민아")))
    assert changed.value.ledger == [first]
    assert await store.ledger("mina") == [first]
    assert await store.memories("mina", TODAY) == []
    with pytest.raises(NotFound):
        await store.session_turns("mina", "s2")
    await store.commit(other.lease, turn("t2", offences=[second], blocked=True))
    assert await store.ledger("mina") == [first, second]


async def test_a_turn_without_offence_does_not_mind_a_changed_ledger(store: Store) -> None:
    one, other = await begin(store, session="s1"), await begin(store, session="s2")
    await store.commit(one.lease, turn(offences=[warning()]))
    await store.commit(other.lease, turn("t2"))
    assert await turn_ids(store, session="s2") == ["t2"]


# -- retention


async def test_turns_expire(open_store: Open) -> None:
    store = open_store(retention_days=30)
    for days in (40, 31, 29):
        await chat(store, now=NOW - dt.timedelta(days=days), turn_id=f"t{days}")
    assert await turn_ids(store) == ["t40", "t31", "t29"]
    await chat(store, turn_id="t0")
    assert await turn_ids(store) == ["t29", "t0"]
    for name in store._db.keys("mina").session("s1")[:2]:
        assert 29 * 86_400 < await store._db.client.ttl(name) <= 30 * 86_400


async def test_every_key_of_a_turn_that_was_never_kept_expires(store: Store) -> None:
    held = await begin(store, idempotency_key="k", body_digest="d")
    waiter = asyncio.create_task(begin(store))
    await asyncio.sleep(0.05)
    names = await keys_of(store, "mina")
    assert len(names) >= 5
    ttls = {name: await store._db.client.ttl(name) for name in names}
    waiter.cancel()
    assert held.lease
    assert min(ttls.values()) > 0, ttls
