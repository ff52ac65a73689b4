"""Time context and calendar checks of system.md §3. The week of the tests starts on Monday, 2026-06-01."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ohlora import clock

SEOUL = ZoneInfo("Asia/Seoul")
WEEK = "월화수목금토일"
MOMENTS = st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2030, 1, 1), timezones=st.just(SEOUL))


def at(day: str, time: str = "14:00") -> dt.datetime:
    hour, minute = time.split(":")
    return dt.datetime(2026, 6, 1 + WEEK.index(day), int(hour), int(minute), tzinfo=SEOUL)


@pytest.mark.parametrize(
    ("day", "time", "context"),
    [
        ("월", "04:00", "(지금은 월요일 오전)"),
        ("월", "11:59", "(지금은 월요일 오전)"),
        ("월", "12:00", "(지금은 월요일 오후)"),
        ("목", "17:00", "(지금은 목요일 오후)"),
        ("목", "17:59", "(지금은 목요일 오후)"),
        ("목", "18:00", "(지금은 목요일 저녁)"),
        ("목", "23:59", "(지금은 목요일 저녁)"),
        ("금", "00:00", "(지금은 목요일 저녁)"),
        ("금", "03:59", "(지금은 목요일 저녁)"),
        ("금", "04:00", "(지금은 금요일 오전)"),
        ("금", "16:59", "(지금은 금요일 오후)"),
        ("금", "17:00", "(지금은 금요일 저녁)"),
        ("토", "03:59", "(지금은 금요일 저녁)"),
        ("토", "17:59", "(지금은 토요일 오후)"),
        ("월", "03:59", "(지금은 일요일 저녁)"),
    ],
)
def test_time_context_at_the_borders_of_the_day(day: str, time: str, context: str) -> None:
    assert clock.time_context(at(day, time)) == context


@given(MOMENTS)
def test_time_context_follows_the_table_at_every_minute(now: dt.datetime) -> None:
    minutes = now.hour * 60 + now.minute
    day = now.date() if minutes >= 240 else now.date() - dt.timedelta(days=1)
    if 240 <= minutes < 720:
        part = "오전"
    elif 720 <= minutes < (17 * 60 if now.weekday() == 4 else 18 * 60):
        part = "오후"
    else:
        part = "저녁"
    assert clock.effective_date(now) == day
    assert clock.time_context(now) == f"(지금은 {WEEK[day.weekday()]}요일 {part})"


@given(MOMENTS)
def test_a_day_lasts_24_hours_from_four_o_clock(now: dt.datetime) -> None:
    assert clock.effective_date(now + dt.timedelta(days=1)) - clock.effective_date(now) == dt.timedelta(days=1)


def test_the_example_of_the_reference() -> None:
    assert (
        clock.with_time_context("로라야 오늘 약속 없는데 뭐하지", at("토", "14:00"))
        == "(지금은 토요일 오후) 로라야 오늘 약속 없는데 뭐하지"
    )


@pytest.mark.parametrize("word", ["오늘", "내일", "지금", "요일", "이따", "휴일"])
def test_a_prompt_with_a_time_word_gets_the_prefix(word: str) -> None:
    assert clock.with_time_context(f"로라야 {word} 뭐해", at("수")) == f"(지금은 수요일 오후) 로라야 {word} 뭐해"


@pytest.mark.parametrize("prompt", ["로라야 안녕", "어제 뭐했어", "주말 좋다", "", "늘 고마워"])
def test_a_prompt_without_one_stays_as_it_is(prompt: str) -> None:
    assert clock.with_time_context(prompt, at("수")) == prompt


@pytest.mark.parametrize(
    ("day", "answer"),
    [
        ("월", "오늘 토요일이니까 놀자"),
        ("금", "오늘 토요일이니까 놀자"),
        ("월", "내일이 벌써 월요일이네"),
        ("화", "오늘 주말이라 좋다"),
        ("금", "오늘 주말이라 좋다"),
        ("일", "내일은 주말이니까 늦잠 자야지"),
        ("월", "오늘 불금이네"),
        ("화", "오늘 불금에 뭐 해?"),
        ("화", "오늘 같은 불금엔 치킨이지"),
        ("금", "내일은 불금이야"),
        ("월", "불금이네! 뭐 해?"),
        ("화", "오늘 토요일ㅋㅋ"),
        ("화", "오늘은 드디어 금요일!"),
        ("화", "오늘, 토요일이네"),
        ("화", "오늘은 신나는 주말! 뭐 할까?"),
        ("금", "내일 월요일이라 우울해"),
        ("화", "오늘 금요일 저녁이니까 맥주 한잔?"),
        ("화", "지금은 토요일 저녁이야"),
        ("화", "오늘은 월요일입니다"),
        ("화", "오늘 월욜이네"),
        ("월", "오늘은 화요일인데 내일은 화요일이야"),
        ("일", "오늘은 일요일이고 내일은 화요일이야"),
    ],
)
def test_an_answer_with_a_wrong_day_contradicts_the_calendar(day: str, answer: str) -> None:
    assert clock.contradicts_calendar(answer, at(day))


@pytest.mark.parametrize(
    ("day", "answer"),
    [
        ("토", "오늘 토요일이니까 놀자"),
        ("일", "내일이 벌써 월요일이네"),
        ("화", "오늘은 월요일도 아닌데 왜 이렇게 피곤하지"),
        ("화", "오늘은 월요일이 아니야"),
        ("화", "오늘 월요일 아닌데?"),
        ("화", "오늘 월요일 아니잖아"),
        ("토", "오늘 주말이라 좋다"),
        ("일", "오늘 주말이라 좋다"),
        ("수", "금요일엔 불금이지"),
        ("토", "어제 불금이었는데 뭐 했어?"),
        ("목", "내일이면 불금이네!"),
        ("목", "오늘만 지나면 불금이야"),
        ("수", "불금까지 이틀 남았네"),
        ("수", "이번 주 불금이 기다려져"),
        ("금", "오늘 불금이다 ㅎㅎ"),
        ("금", "불금이니까 치킨!"),
        ("목", "오늘 하루만 버티면 주말이야"),
        ("목", "주말 잘 보내!"),
        ("화", "오늘도 월요일처럼 피곤해"),
        ("수", "오늘이 금요일이면 좋겠다"),
        ("수", "오늘이 금요일이었으면 좋겠어"),
        ("수", "오늘이 토요일인 줄 알았어"),
        ("금", "오늘은 토요일 약속 준비해야지"),
        ("금", "오늘 주말 계획 세울까?"),
        ("월", "오늘부터 금요일까지 시험이야"),
        ("수", "오늘 말고 토요일에 보자"),
        ("화", "오늘은 월요일이 싫다는 이야기를 했어"),
        ("수", "내일모레면 벌써 금요일이네"),
        ("월", "오늘 화요일에 만날 친구한테 연락했어"),
        ("화", ""),
    ],
)
def test_what_people_say_about_other_days_does_not(day: str, answer: str) -> None:
    assert not clock.contradicts_calendar(answer, at(day))


@given(MOMENTS, st.sampled_from(WEEK), st.sampled_from(["오늘", "내일"]))
def test_a_claim_is_right_on_one_day_of_the_week(now: dt.datetime, claimed: str, word: str) -> None:
    day = clock.effective_date(now) + dt.timedelta(days=word == "내일")
    answer = f"{word}은 {claimed}요일이야"
    assert clock.contradicts_calendar(answer, now) == (WEEK[day.weekday()] != claimed)


@given(MOMENTS, st.sampled_from(["오늘", "내일"]))
def test_a_weekend_is_saturday_and_sunday(now: dt.datetime, word: str) -> None:
    day = clock.effective_date(now) + dt.timedelta(days=word == "내일")
    assert clock.contradicts_calendar(f"{word}은 주말이야", now) == (WEEK[day.weekday()] not in "토일")


def test_friday_goes_on_until_four_in_the_morning() -> None:
    assert not clock.contradicts_calendar("오늘은 금요일이야! 불금이네!", at("토", "03:59"))
    assert clock.contradicts_calendar("오늘은 금요일이야!", at("토", "04:00"))
