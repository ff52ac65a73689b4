"""The process's cache: bounded, and silent about anything but what was asked for."""

import datetime as dt

import numpy as np

from ohlora.memories import MemoryItem
from state.cache import Loaded, MemoryCache

DAY = dt.date(2026, 11, 20)


def loaded(count: int, version: str = "v") -> Loaded:
    told = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
    items = [MemoryItem(id=str(i), key="k", value="v", told_at=told) for i in range(count)]
    return Loaded(version, "m1", DAY, items, np.zeros((count, 2), np.float32), [])


def test_only_the_same_user_embedder_and_day() -> None:
    cache = MemoryCache(10)
    cache.put("mina", loaded(3))
    assert cache.get("mina", "m1", DAY) is not None
    assert cache.get("mina", "m2", DAY) is None
    assert cache.get("mina", "m1", DAY + dt.timedelta(days=1)) is None
    assert cache.get("jun", "m1", DAY) is None
    cache.drop("mina")
    assert cache.get("mina", "m1", DAY) is None


def test_least_recently_used_users_go_first() -> None:
    cache = MemoryCache(10)
    for user in "abc":
        cache.put(user, loaded(3))
    cache.get("a", "m1", DAY)
    cache.put("d", loaded(4))
    assert [user for user in "abcd" if cache.get(user, "m1", DAY)] == ["a", "c", "d"]


def test_replacing_a_user_frees_its_room_and_too_much_is_not_kept() -> None:
    cache = MemoryCache(10)
    for _ in range(10):
        cache.put("a", loaded(5))
    cache.put("b", loaded(5))
    assert cache.get("a", "m1", DAY)
    assert cache.get("b", "m1", DAY)
    cache.put("b", loaded(11))
    assert cache.get("b", "m1", DAY) is None
    assert MemoryCache(0).get("a", "m1", DAY) is None
