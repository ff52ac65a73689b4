"""What is remembered: one item per thing, with its history, for its day, within the cap, searchable by its embedder."""

import asyncio
import datetime as dt
import unicodedata
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from state_support import NOW, TODAY, begin, chat, embed, keys_of, remember, turn

from ohlora.memories import MemoryItem, date_of, embedding_texts, identity, item_text, least_useful
from state.errors import NotFound
from state.store import Store
from state.types import texts_to_embed

Open = Callable[..., Store]
DAY = dt.timedelta(days=1)


async def put(
    store: Store, key: str, value: str, user: str = "mina", now: dt.datetime = NOW, **more: Any
) -> MemoryItem:
    today = now.date()
    vectors = [embed(text) for text in embedding_texts(key, value, date_of(key, today), today)]
    return await store.put_memory(user, key, value, today=today, now=now, embeddings=vectors, embedder="m1", **more)


async def read(store: Store, user: str = "mina", today: dt.date = TODAY, **more: Any) -> dict[str, np.ndarray]:
    """Text on the day and vector of every item, as a turn gets them."""
    begun = await begin(store, user, session=uuid.uuid4().hex, today=today, **more)
    await store.release(begun.lease)
    found = [await store.memory(user, name, today) for name in begun.ids]
    return {item.text_on(today) or "": vector for item, vector in zip(found, begun.vectors, strict=True) if item}


async def test_the_same_key_replaces_and_keeps_the_history(store: Store) -> None:
    for i, value in enumerate(["딸기", "포도", "포도", "수박"]):
        await chat(store, now=NOW + i * dt.timedelta(seconds=1), memory=remember("좋아하는 과일", value))
    (item,) = await store.memories("mina", TODAY)
    assert (item.key, item.value) == ("좋아하는 과일", "수박")
    assert item.told_at == NOW + dt.timedelta(seconds=3)
    assert [(c.value, c.told_at) for c in item.history] == [
        ("딸기", NOW),
        ("포도", NOW + dt.timedelta(seconds=2)),  # told twice, the second time counts
    ]
    found = await read(store)
    np.testing.assert_array_equal(found["[좋아하는 과일: 수박]"], embed("[좋아하는 과일: 수박]"))


@pytest.mark.parametrize("variant", ["좋아하는과일 ", unicodedata.normalize("NFD", "좋아하는 과일"), "좋아하는 과일은"])
async def test_one_thing_written_differently_is_one_item(store: Store, variant: str) -> None:
    await chat(store, memory=remember("좋아하는 과일", "딸기"))
    await chat(store, memory=remember(variant, "포도"))
    (item,) = await store.memories("mina", TODAY)
    assert item.value == "포도"
    assert [change.value for change in item.history] == ["딸기"]


async def test_history_is_bounded(open_store: Open) -> None:
    store = open_store(max_history=3)
    for i in range(6):
        await put(store, "이름", f"v{i}")
    (item,) = await store.memories("mina", TODAY)
    assert [change.value for change in item.history] == ["v2", "v3", "v4"]


async def test_tomorrow_is_today_the_day_after_and_then_gone(store: Store) -> None:
    await chat(store, memory=remember("내일 일정", "카페"))
    for days, text in ((0, "[내일 일정: 카페]"), (1, "[오늘 일정: 카페]"), (2, None)):
        found = await read(store, today=TODAY + days * DAY)
        assert list(found) == ([text] if text else [])
        if text:
            np.testing.assert_array_equal(found[text], embed(text))
        assert len(await store.memories("mina", TODAY + days * DAY)) == (text is not None)


async def test_today_told_on_the_day_replaces_tomorrow_told_the_day_before(store: Store) -> None:
    first = await put(store, "내일 일정", "카페")
    second = await put(store, "오늘 일정", "영화관", now=NOW + DAY)
    assert first.id == second.id
    assert [change.value for change in second.history] == ["카페"]
    assert list(await read(store, today=TODAY + DAY)) == ["[오늘 일정: 영화관]"]
    assert await read(store, today=TODAY + 2 * DAY) == {}


async def test_past_days_are_removed_for_good(store: Store) -> None:
    await put(store, "오늘 일정", "비밀스러운카페")
    await put(store, "이름", "민아", now=NOW + DAY)
    assert await keys_of(store, "비밀스러운카페")
    await put(store, "이름", "민지", now=NOW + 2 * DAY)
    assert not await keys_of(store, "비밀스러운카페")


async def test_used_items_say_when(store: Store) -> None:
    item = await put(store, "이름", "민아")
    later = NOW + dt.timedelta(minutes=1)
    await chat(store, now=later, used_memory_id=item.id)
    await chat(store, used_memory_id="no-such-item")
    (used,) = await store.memories("mina", TODAY)
    assert used.used_at == later
    assert used.value == "민아"


async def test_a_memory_deleted_during_a_turn_is_not_brought_back_by_its_use(store: Store) -> None:
    item = await put(store, "이름", "민아")
    begun = await begin(store)
    await store.delete_memory("mina", item.id)
    await store.commit(begun.lease, turn(used_memory_id=item.id))
    assert await store.memories("mina", TODAY) == []


SLOTS = st.integers(0, 7)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(["tell", "use"]), SLOTS), max_size=20))
async def test_the_least_useful_go_first(open_store: Open, steps: list[tuple[str, int]]) -> None:
    """Against ohlora.memories.least_useful on a plain dict."""
    store = open_store(max_memories=4)
    user = uuid.uuid4().hex
    model: dict[str, MemoryItem] = {}
    for i, (step, slot) in enumerate(steps):
        now = NOW + i * dt.timedelta(seconds=1)
        write = remember(f"열쇠 {slot}", f"v{i}")
        if step == "tell":
            await chat(store, user, now=now, today=TODAY, memory=write)
            old = model.get(write.id)
            used_at = old.used_at if old else None
            model[write.id] = MemoryItem(id=write.id, key=write.key, value=write.value, told_at=now, used_at=used_at)
            for item in least_useful(list(model.values()), 4):
                del model[item.id]
        else:
            await chat(store, user, now=now, today=TODAY, used_memory_id=write.id)
            if write.id in model:
                model[write.id] = model[write.id].model_copy(update={"used_at": now})
    kept = await store.memories(user, TODAY)
    assert {i.id: (i.value, i.used_at) for i in kept} == {i.id: (i.value, i.used_at) for i in model.values()}
    assert len(await read(store, user)) == len(model)
    await store.close()


async def test_items_of_past_days_make_room_before_useful_ones(open_store: Open) -> None:
    store = open_store(max_memories=3)
    await put(store, "이름", "민아", now=NOW - 30 * DAY)
    await put(store, "오늘 일정", "카페")
    await put(store, "나이", "20", now=NOW + DAY)
    await put(store, "직업", "학생", now=NOW + DAY)
    assert {item.key for item in await store.memories("mina", TODAY + DAY)} == {"이름", "나이", "직업"}
    assert await store._db.client.hlen(store._db.keys("mina").one("vectors")) == 3


KEYS = ["좋아하는 과일", "좋아하는과일", "오늘 일정", "내일 일정", "지금 기분", "이름"]
ACTIONS = st.tuples(st.sampled_from(KEYS), st.sampled_from("가나다"), st.integers(0, 2), st.booleans())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(ACTIONS, max_size=12))
async def test_any_writes_and_deletions_agree_with_a_dict(
    open_store: Open, actions: list[tuple[str, str, int, bool]]
) -> None:
    """Two replicas with caches: each sees what the other wrote, on every day, with the vector of how it reads."""
    replicas = [open_store(), open_store()]
    user = uuid.uuid4().hex
    model: dict[str, tuple[str, str, dt.date | None]] = {}
    day = 0
    for i, (key, value, step, delete) in enumerate(actions):
        day += step == 2
        today, now = TODAY + day * DAY, NOW + day * DAY
        item = await put(replicas[i % 2], key, value, user, now)
        model[identity(key, date_of(key, today))] = (key, value, date_of(key, today))
        if delete:
            await replicas[i % 2].delete_memory(user, item.id)
            del model[identity(key, date_of(key, today))]
        expected = {}
        for k, v, date in model.values():
            text = MemoryItem(id="x", key=k, value=v, date=date, told_at=now).text_on(today)
            if text:
                expected[text] = embed(text)
        found = await read(replicas[(i + 1) % 2], user, today)
        assert found.keys() == expected.keys()
        for text, vector in found.items():
            np.testing.assert_array_equal(vector, expected[text])
    for replica in replicas:
        await replica.close()


# -- embedders


async def test_items_of_another_embedder_are_stale_until_refreshed(store: Store) -> None:
    await put(store, "이름", "민아")
    await put(store, "내일 일정", "카페")
    begun = await begin(store, embedder="m2")
    assert begun.ids == []
    assert {item.key for item in begun.stale} == {"이름", "내일 일정"}
    fresh = [(i.id, [embed("m2" + text) for text in texts_to_embed(i, TODAY)], "m2") for i in begun.stale]
    await store.commit(begun.lease, turn(refreshed=fresh))
    for today, text in ((TODAY, "[내일 일정: 카페]"), (TODAY + DAY, "[오늘 일정: 카페]")):
        found = await read(store, today=today, embedder="m2")
        np.testing.assert_array_equal(found[text], embed("m2" + text))
    old = await begin(store, embedder="m1")
    assert (old.ids, len(old.stale)) == ([], 2)


async def test_a_refreshed_vector_is_not_put_on_a_newer_value(store: Store) -> None:
    item = await put(store, "이름", "민아")
    begun = await begin(store, embedder="m2")
    await put(store, "이름", "민지")
    await store.commit(begun.lease, turn(refreshed=[(item.id, [embed("m2 민아")], "m2")]))
    found = await read(store, embedder="m1")
    np.testing.assert_array_equal(found["[이름: 민지]"], embed("[이름: 민지]"))


# -- endpoints


async def test_listing_is_newest_first(store: Store) -> None:
    for i, key in enumerate(["이름", "나이", "직업"]):
        await put(store, key, "v", now=NOW + i * dt.timedelta(seconds=1))
    await put(store, "이름", "w", now=NOW + dt.timedelta(seconds=9))
    assert [item.key for item in await store.memories("mina", TODAY)] == ["이름", "직업", "나이"]
    assert await store.memories("nobody", TODAY) == []


async def test_a_value_can_be_changed(store: Store) -> None:
    item = await put(store, "내일 일정", "카페")
    tomorrow = NOW + DAY
    vectors = [embed(item_text("오늘 일정", "영화관"))]
    changed = await store.set_memory_value(
        "mina", item.id, "영화관", today=tomorrow.date(), now=tomorrow, embeddings=vectors, embedder="m1"
    )
    assert (changed.id, changed.key, changed.value) == (item.id, "오늘 일정", "영화관")
    assert [change.value for change in changed.history] == ["카페"]
    found = await read(store, today=TODAY + DAY)
    np.testing.assert_array_equal(found["[오늘 일정: 영화관]"], vectors[0])
    for memory_id, today in (("nothing", TODAY), (item.id, TODAY + 2 * DAY)):
        with pytest.raises(NotFound) as missing:
            await store.set_memory_value(
                "mina", memory_id, "v", today=today, now=NOW, embeddings=vectors, embedder="m1"
            )
        assert missing.value.kind == "memory"


async def test_deleting_leaves_no_trace(store: Store) -> None:
    item = await put(store, "좋아하는 과일", "비밀딸기")
    await put(store, "좋아하는 과일", "포도")
    await store.delete_memory("mina", item.id)
    assert await store.memories("mina", TODAY) == []
    assert await read(store) == {}
    assert not await keys_of(store, "비밀딸기")
    assert not await keys_of(store, item.id)
    with pytest.raises(NotFound):
        await store.delete_memory("mina", item.id)


@pytest.mark.parametrize(
    ("key", "value"),
    [("", "v"), ("k", " "), ("k]", "v"), ("a: b", "v"), ("k", "x] [이름: 악당"), ("k" * 41, "v"), ("k", "v" * 201)],
)
async def test_what_no_prompt_could_show_as_one_item_is_refused(store: Store, key: str, value: str) -> None:
    with pytest.raises(ValueError, match="key and value"):
        await store.put_memory("mina", key, value, today=TODAY, now=NOW, embeddings=[embed("x")], embedder="m1")
    assert await store.memories("mina", TODAY) == []


async def test_a_thousand_items_are_loaded_within_milliseconds(open_store: Open) -> None:
    """Generous bounds: this machine is shared, and the point is that nothing is parsed float by float."""
    import time

    store, other = open_store(), open_store(cached_items=0)
    vector = [np.ones(256, np.float32)]
    writes = [
        store.put_memory("mina", f"열쇠 {i}", "값", today=TODAY, now=NOW, embeddings=vector, embedder="m1")
        for i in range(1000)
    ]
    for start in range(0, 1000, 50):
        await asyncio.gather(*writes[start : start + 50])
    for replica, limit in ((store, 0.005), (other, 0.05)):
        times = []
        for _ in range(9):
            started = time.perf_counter()
            begun = await begin(replica)
            times.append(time.perf_counter() - started)
            assert begun.vectors.shape == (1000, 256)
            await replica.release(begun.lease)
        assert sorted(times)[4] < limit
