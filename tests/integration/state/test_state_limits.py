"""Rate limits on a real Redis: bursts, refill, replicas that share one limit, and what is left of a count."""

import asyncio
import time
import uuid
from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from state_support import NOW, keys_of

from state.errors import StoreUnavailable
from state.limits import Allowance
from state.store import Store

Open = Callable[..., Store]


async def test_a_burst_passes_up_to_the_limit_and_then_none(store: Store) -> None:
    taken = [await store.take_of_user("mina", 3, 60) for _ in range(5)]
    assert [one.allowed for one in taken] == [True, True, True, False, False]
    assert [one.remaining for one in taken] == [2, 1, 0, 0, 0]
    assert {one.limit for one in taken} == {3}


async def test_who_is_refused_is_told_when_one_more_passes_and_when_all_do(store: Store) -> None:
    for _ in range(3):
        allowed = await store.take_of_user("mina", 3, 60)
    refused = await store.take_of_user("mina", 3, 60)
    assert (allowed.retry_s, allowed.reset_s) == (0, 60)
    assert refused == Allowance(limit=3, remaining=0, reset_s=refused.reset_s, retry_s=refused.retry_s)
    assert 19 <= refused.retry_s <= 20, "a third of the time makes room for one of three"
    assert 59 <= refused.reset_s <= 60


async def test_a_refused_request_does_not_count(store: Store) -> None:
    await store.take_of_user("mina", 1, 1)
    for _ in range(20):
        assert not (await store.take_of_user("mina", 1, 1)).allowed
    await asyncio.sleep(1.01)
    assert (await store.take_of_user("mina", 1, 1)).allowed


async def test_a_limit_fills_up_again_evenly(store: Store) -> None:
    for _ in range(4):
        await store.take_of_user("mina", 4, 2)
    assert not (await store.take_of_user("mina", 4, 2)).allowed
    await asyncio.sleep(1.02)  # two of four
    assert [(await store.take_of_user("mina", 4, 2)).allowed for _ in range(3)] == [True, True, False]
    await asyncio.sleep(2.01)
    assert (await store.take_of_user("mina", 4, 2)).remaining == 3


async def test_two_replicas_share_one_limit(open_store: Open) -> None:
    one, two = open_store(), open_store()
    taken = await asyncio.gather(*(store.take_of_key("web", 10, 60) for _ in range(10) for store in (one, two)))
    assert sum(allowance.allowed for allowance in taken) == 10
    assert sorted(allowance.remaining for allowance in taken if allowance.allowed) == [*range(10)]


async def test_each_user_and_each_key_has_its_own_limit(store: Store) -> None:
    for _ in range(2):
        assert (await store.take_of_user("mina", 1, 60)).allowed == (await store.take_of_key("mina", 1, 60)).allowed
    assert not (await store.take_of_user("mina", 1, 60)).allowed
    assert (await store.take_of_user("jun", 1, 60)).allowed
    assert (await store.take_of_key("other", 1, 60)).allowed


async def test_a_limit_that_is_lowered_holds_at_once(store: Store) -> None:
    for _ in range(6):
        await store.take_of_user("mina", 10, 60)
    assert not (await store.take_of_user("mina", 2, 60)).allowed


async def test_a_count_goes_by_itself_when_it_says_nothing_any_more(store: Store) -> None:
    await store.take_of_user("mina", 5, 2.5)
    assert list(await keys_of(store, "mina")) == ["ohlora:{mina}:rate"]
    await asyncio.sleep(0.55)
    assert await keys_of(store, "mina") == {}


async def test_more_requests_than_milliseconds_are_counted_too(store: Store) -> None:
    taken = [await store.take_of_user("mina", 100_000, 1) for _ in range(20)]
    assert all(one.allowed for one in taken)


async def test_erasure_leaves_no_count(store: Store) -> None:
    await store.take_of_user("mina", 2, 86400)
    await store.erase("mina", NOW)
    assert await keys_of(store, "mina") == {}


async def test_without_redis_a_limit_is_unavailable(open_store: Open) -> None:
    store = open_store("unix:///nowhere/redis.sock", operation_timeout_s=0.2)
    with pytest.raises(StoreUnavailable):
        await store.take_of_user("mina", 2, 60)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requests=st.integers(1, 6),
    per_s=st.sampled_from([0.05, 0.1, 0.2]),
    pauses=st.lists(st.sampled_from([0, 0, 0, 0, 0.005, 0.02, 0.06, 0.25]), min_size=10, max_size=30),
)
async def test_no_stretch_of_time_has_more_than_a_burst_and_what_time_made_room_for(
    store: Store, requests: int, per_s: float, pauses: list[float]
) -> None:
    """Between two that passed lay at most ``requests - 1`` others and one for each share of the time; so in less than
    ``per_s`` never more than ``2 * requests - 1`` pass."""
    name, passed = uuid.uuid4().hex, []
    for pause in pauses:
        await asyncio.sleep(pause)
        begun = time.monotonic()
        taken = await store.take_of_key(name, requests, per_s)
        ended = time.monotonic()
        assert taken.allowed or len(passed) >= requests, "the first burst always passes"
        if taken.allowed:
            passed.append((begun, ended))
    for first, last in combinations(range(len(passed)), 2):
        # Redis decided between begun and ended, by a clock of whole milliseconds.
        seconds = passed[last][1] - passed[first][0] + 0.002
        assert last - first + 1 <= requests + seconds * requests / per_s
        if seconds < per_s:
            assert last - first + 1 <= 2 * requests - 1


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.integers(1, 3), per_s=st.sampled_from([0.3, 0.5]))
async def test_after_a_share_of_the_time_one_more_passes(store: Store, requests: int, per_s: float) -> None:
    name = uuid.uuid4().hex
    while (await store.take_of_key(name, requests, per_s)).allowed:
        pass
    await asyncio.sleep(per_s / requests + 0.002)
    assert (await store.take_of_key(name, requests, per_s)).allowed
