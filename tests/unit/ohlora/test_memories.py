"""Form, dates, identity and retrieval of memory items: system.md §4. Monday of the tests is 2026-06-01."""

import datetime as dt
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ohlora.memories import (
    MemoryItem,
    best,
    date_of,
    embedding_texts,
    identity,
    item_id,
    item_text,
    least_useful,
    parse,
)

MONDAY = dt.date(2026, 6, 1)
TUESDAY, WEDNESDAY, SUNDAY = (MONDAY + dt.timedelta(days=n) for n in (1, 2, -1))
NOON = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
DAYS = st.dates(dt.date(2024, 1, 1), dt.date(2030, 1, 1))
SYLLABLES = st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3)
WORDS = st.text(SYLLABLES, min_size=1, max_size=8)


def item(key: str, value: str = "카페", *, told_on: dt.date = MONDAY, **fields: object) -> MemoryItem:
    date = date_of(key, told_on)
    told = {"id": item_id(key, date), "key": key, "value": value, "date": date, "told_at": NOON}
    return MemoryItem.model_validate(told | fields)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("[오늘 일정: 친구랑 카페 방문]", ("오늘 일정", "친구랑 카페 방문")),
        (" [오늘 일정: 친구랑 카페 방문] ", ("오늘 일정", "친구랑 카페 방문")),
        ("[약속 시간: 3:30]", ("약속 시간", "3:30")),
    ],
)
def test_an_item_is_one_key_and_one_value(output: str, expected: tuple[str, str]) -> None:
    assert parse(output) == expected


@pytest.mark.parametrize(
    "output",
    [
        "",
        "오늘 일정: 카페",
        "[오늘 일정 카페]",
        "[: 카페]",
        "[ : 카페]",
        "[오늘 일정:]",
        "[오늘 일정: ]",
        "[오늘 일정: 카페",
        "[오늘 일정: 카페] 응",
        "응 [오늘 일정: 카페]",
        "[오늘 일정: 카페] [이름: 미나]",
        "[[오늘 일정: 카페]]",
        "[오늘 일정: [카페]]",
        "(오늘 일정: 카페)",
        f"[{'가' * 1000}: 카페]",
        f"[이름: {'가' * 1000}]",
    ],
)
def test_anything_else_is_no_item(output: str) -> None:
    assert parse(output) is None


@given(WORDS, WORDS)
def test_an_item_is_read_as_it_was_written(key: str, value: str) -> None:
    assert parse(item_text(key, value)) == (key, value)


@given(st.text(alphabet="[]: 가나\n", max_size=20))
def test_what_is_read_can_be_written_as_an_item_again(output: str) -> None:
    found = parse(output)
    assert found is None or (all(found) and parse(item_text(*found)) == found)


@pytest.mark.parametrize(
    ("key", "date"),
    [
        ("오늘 일정", MONDAY),
        ("지금 기분", MONDAY),
        ("내일 일정", TUESDAY),
        ("좋아하는 가수", None),
        ("모레 일정", None),
        ("내일모레 일정", None),
        ("내일 모레 일정", None),
    ],
)
def test_a_key_with_a_day_word_has_a_date(key: str, date: dt.date | None) -> None:
    assert date_of(key, MONDAY) == date


@pytest.mark.parametrize(
    ("key", "today", "shown"),
    [
        ("내일 일정", MONDAY, "[내일 일정: 카페]"),
        ("내일 일정", TUESDAY, "[오늘 일정: 카페]"),
        ("내일 일정", WEDNESDAY, None),
        ("내일 일정", SUNDAY, None),
        ("오늘 일정", MONDAY, "[오늘 일정: 카페]"),
        ("오늘 일정", TUESDAY, None),
        ("오늘 일정", SUNDAY, "[내일 일정: 카페]"),
        ("지금 기분", MONDAY, "[지금 기분: 카페]"),
        ("지금 기분", TUESDAY, None),
        ("취미", dt.date(2030, 1, 1), "[취미: 카페]"),
        ("내일모레 일정", TUESDAY, "[내일모레 일정: 카페]"),
    ],
)
def test_an_item_told_on_monday_reads_by_the_day(key: str, today: dt.date, shown: str | None) -> None:
    assert item(key).text_on(today) == shown


@given(WORDS, DAYS, st.integers(-400, 400))
def test_a_day_word_shifts_once_and_then_expires(rest: str, told_on: dt.date, later: int) -> None:
    told = item(f"내일 {rest}일정", told_on=told_on)
    expected = {0: f"내일 {rest}일정", 1: f"오늘 {rest}일정"}.get(later)
    assert told.key_on(told_on + dt.timedelta(days=later)) == expected


@given(DAYS, st.integers(1, 400))
def test_today_is_gone_tomorrow(told_on: dt.date, later: int) -> None:
    assert item("오늘 일정", told_on=told_on).key_on(told_on + dt.timedelta(days=later)) is None


@given(WORDS, DAYS)
def test_tomorrow_told_today_and_today_told_tomorrow_are_one_item(rest: str, monday: dt.date) -> None:
    tuesday = monday + dt.timedelta(days=1)
    told, again = f"내일 {rest}", f"오늘 {rest}"
    assert item_id(told, date_of(told, monday)) == item_id(again, date_of(again, tuesday))


@given(WORDS, DAYS)
def test_the_same_words_on_another_day_are_another_item(rest: str, day: dt.date) -> None:
    key = f"오늘 {rest}"
    assert item_id(key, day) != item_id(key, day + dt.timedelta(days=1))
    assert item_id(key, day) != item_id(rest, None)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("좋아하는 가수", "좋아하는가수"),
        ("좋아하는 가수", "좋아하는  가수 "),
        ("mbti", "MBTI"),
        ("MBTI", "ＭＢＴＩ"),
        ("과일", unicodedata.normalize("NFD", "과일")),
        ("이름", "이름은"),
        ("취미", "취미는"),
        ("취미", "취미가"),
        ("생일", "생일이"),
        ("좋아하는 과일", "좋아하는 과일을"),
        ("가족 여행지", "가족 여행지를"),
    ],
)
def test_ways_to_write_one_key_are_one_item(one: str, same: str) -> None:
    assert item_id(one, None) == item_id(same, None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("나이", "나"),
        ("나이", "나는"),
        ("아이", "아가"),
        ("회의", "회"),
        ("주의", "주가"),
        ("평가", "평"),
        ("휴가", "휴"),
        ("좋아하는 가수", "좋아하는 과일"),
        ("❤️", "★"),
        ("+", "!"),
    ],
)
def test_different_keys_are_different_items(one: str, other: str) -> None:
    assert item_id(one, None) != item_id(other, None)


@given(WORDS, st.sampled_from(["NFC", "NFD"]), st.sampled_from(["", " ", "  "]))
def test_identity_ignores_spacing_and_unicode_form(key: str, form: str, space: str) -> None:
    written = unicodedata.normalize(form, space.join(key))  # type: ignore[arg-type]
    assert identity(written, None) == identity(key, None)


@given(st.text(min_size=1, max_size=10))
def test_every_key_has_an_identity(key: str) -> None:
    assert identity(key, None)


@given(st.lists(st.sampled_from(["취미", "취미는", " 취미", "이름", "나이", "나이는"]), max_size=12))
def test_telling_a_key_again_replaces_the_item(keys: list[str]) -> None:
    meant = {"취미": "취미", "취미는": "취미", " 취미": "취미", "이름": "이름", "나이": "나이", "나이는": "나이"}
    assert len({item_id(key, None) for key in keys}) == len({meant[key] for key in keys})


@pytest.mark.parametrize(
    ("key", "texts"),
    [
        ("취미", ["[취미: 카페]"]),
        ("오늘 일정", ["[오늘 일정: 카페]"]),
        ("내일 일정", ["[내일 일정: 카페]", "[오늘 일정: 카페]"]),
    ],
)
def test_an_item_is_embedded_as_it_reads_now_and_the_day_after(key: str, texts: list[str]) -> None:
    assert embedding_texts(key, "카페", date_of(key, MONDAY), MONDAY) == texts


def unit(*vector: float) -> NDArray[np.float32]:
    array = np.asarray(vector, np.float32)
    return array / np.float32(np.linalg.norm(array))


def test_the_nearest_item_is_found() -> None:
    items = np.stack([unit(0, 1), unit(1, 0.1), unit(1, 1)])
    found = best(unit(1, 0), items, threshold=0.6)
    assert found is not None
    assert found == (1, pytest.approx(1 / np.sqrt(1.01), abs=1e-5))


@pytest.mark.parametrize(("threshold", "found"), [(0.6, True), (0.79, True), (0.81, False), (0.95, False)])
def test_an_item_below_the_threshold_is_not(threshold: float, found: bool) -> None:
    assert (best(unit(1, 0), np.stack([unit(0.8, 0.6)]), threshold=threshold) is not None) == found


def test_without_items_nothing_is_found() -> None:
    assert best(unit(1, 0), np.empty((0, 2), np.float32), threshold=-1.0) is None


def test_the_items_used_or_told_longest_ago_go_first() -> None:
    hour = dt.timedelta(hours=1)
    old, used, new = (
        item("옛날", told_at=NOON - 3 * hour),
        item("쓰임", told_at=NOON - 4 * hour, used_at=NOON),
        item("새것", told_at=NOON - hour),
    )
    assert least_useful([new, used, old], keep=1) == [old, new]
    assert least_useful([new, used, old], keep=3) == []
    assert least_useful([new, used, old], keep=5) == []
