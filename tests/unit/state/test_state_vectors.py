"""Bytes of embeddings: what is read is what was written, for the right day and the right embedder."""

import datetime as dt

import numpy as np
import pytest

from ohlora.memories import MemoryItem, date_of, embedding_texts, item_text
from state.types import texts_to_embed
from state.vectors import matrix, pack

MONDAY = dt.date(2026, 11, 16)
TUESDAY = MONDAY + dt.timedelta(days=1)
TOLD = dt.datetime(2026, 11, 16, 3, tzinfo=dt.UTC)


def item(name: str, key: str, today: dt.date = MONDAY) -> MemoryItem:
    return MemoryItem(id=name, key=key, value="v", date=date_of(key, today), told_at=TOLD)


def embedded(text: str, size: int = 4) -> np.ndarray:
    """A vector that differs from text to text; a stand-in for a model, not for the store."""
    return np.random.default_rng(sum(text.encode())).random(size, dtype=np.float32)


def test_rows_are_the_written_vectors_in_the_order_of_items() -> None:
    written = np.random.default_rng(0).random((5, 256), dtype=np.float32)
    stored = {str(i).encode(): pack(written[i : i + 1], "m1") for i in reversed(range(5))}
    ids, vectors, stale = matrix(stored, {}, "m1", MONDAY)
    assert sorted(ids) == ["0", "1", "2", "3", "4"]
    assert stale == []
    assert vectors.dtype == np.float32
    for name, vector in zip(ids, vectors, strict=True):
        np.testing.assert_array_equal(vector, written[int(name)])


def test_item_about_tomorrow_uses_the_vector_of_how_it_reads_today() -> None:
    told = item("a", "내일 일정")
    texts = embedding_texts(told.key, told.value, told.date, MONDAY)
    stored = {b"a": pack([embedded(text) for text in texts], "m1")}
    days = {b"a": TUESDAY.toordinal()}
    for day, text in ((MONDAY, item_text("내일 일정", "v")), (TUESDAY, item_text("오늘 일정", "v"))):
        np.testing.assert_array_equal(matrix(stored, days, "m1", day)[1][0], embedded(text))


def test_vectors_remade_on_the_day_itself_are_for_today() -> None:
    told = item("a", "내일 일정")
    assert texts_to_embed(told, MONDAY) == ["[내일 일정: v]", "[오늘 일정: v]"]
    assert texts_to_embed(told, TUESDAY) == ["[오늘 일정: v]"]
    stored = {b"a": pack([embedded(text) for text in texts_to_embed(told, TUESDAY)], "m1")}
    days = {b"a": TUESDAY.toordinal()}
    np.testing.assert_array_equal(matrix(stored, days, "m1", TUESDAY)[1][0], embedded("[오늘 일정: v]"))


def test_items_of_a_past_or_far_day_are_left_out() -> None:
    stored = {name: pack([embedded("x")], "m1") for name in (b"past", b"far", b"other", b"now")}
    day = MONDAY.toordinal()
    ids, _, stale = matrix(stored, {b"past": day - 1, b"far": day + 2, b"now": day}, "m1", MONDAY)
    assert (sorted(ids), stale) == (["now", "other"], [])


def test_other_embedder_and_other_width_are_stale() -> None:
    stored = {
        b"b": pack([embedded("b", 8)], "m2"),
        b"a": pack([embedded("a")], "m1"),
        b"d": pack([embedded("d", 8)], "m1"),
    }
    ids, vectors, stale = matrix(stored, {}, "m1", MONDAY)
    assert (ids, stale) == (["a"], ["b", "d"])
    assert vectors.shape == (1, 4)


def test_no_items_is_an_empty_matrix() -> None:
    ids, vectors, stale = matrix({}, {}, "m1", MONDAY)
    assert (ids, stale, len(vectors)) == ([], [], 0)


@pytest.mark.parametrize("shape", [(4,), (0, 4), (3, 4), (1, 0), (1, 1, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        pack(np.zeros(shape, np.float32), "m1")
