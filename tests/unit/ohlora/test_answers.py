"""What makes an answer fit to be sent: system.md §7."""

import datetime as dt
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ohlora.answers import LEFT_ON_READ, Refusal, clean, refusal, sendable
from ohlora.prompts import CONTROL_MARKS

SATURDAY = dt.datetime(2026, 6, 6, 14)


def test_the_answer_of_last_resort_is_left_on_read() -> None:
    assert LEFT_ON_READ == "(읽씹)"
    assert refusal(LEFT_ON_READ, SATURDAY) is None


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (" 반가워! (답변 종료)", "반가워!"),
        ("반가워! (답변 종료) 그리고 또", "반가워!"),
        ("반가워! (답변\u00a0종료)", "반가워!"),
        ("(답변 종료)", ""),
        (" \n ", ""),
        ("오늘는 좋아", "오늘은 좋아"),
        ("내일는 좋아", "내일은 좋아"),
        ("오늘\u200b는 좋아", "오늘은 좋아"),
        ("안\u200b녕\ufeff\u2060\u200d", "안녕"),
        ("안녕\u00a0친구", "안녕 친구"),
        ("안녕\u202f\u2007친구", "안녕 친구"),
        ("안녕\n\n친구", "안녕 친구"),
        ("오늘은 내일은", "오늘은 내일은"),
    ],
)
def test_cleaning(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@given(
    st.text() | st.lists(st.sampled_from(["오늘", "내일", "는", "은", "\u200b", "\u00a0", "(답변 종료)"])).map("".join)
)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert not set(cleaned) & set("\u200b\u200c\u200d\u2060\ufeff\u00a0\u202f")
    assert not any(wrong in cleaned for wrong in ("오늘는", "내일는", "(답변 종료)"))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", Refusal.EMPTY),
        ("그래 답변 종료 안녕", Refusal.LEFTOVER_MARK),
        ("그래 (답변종료)", Refusal.LEFTOVER_MARK),
        ("그래 (사용자 질문) 뭐해", Refusal.LEFTOVER_MARK),
        ("그래 (사용자", Refusal.LEFTOVER_MARK),
        ("(오로라 답변 요약) 그래", Refusal.LEFTOVER_MARK),
        ("요약) 그래", Refusal.LEFTOVER_MARK),
        ("답변) 그래", Refusal.LEFTOVER_MARK),
        ("그래 질문 ) 뭐해", Refusal.LEFTOVER_MARK),
        ("여기 봐 http://a.kr", Refusal.LINK),
        ("여기 봐 HTTPS://a.kr", Refusal.LINK),
        ("오늘은 월요일이야", Refusal.CALENDAR),
        ("오늘 불금이네", Refusal.CALENDAR),
    ],
)
def test_an_unfit_answer_is_refused(answer: str, why: Refusal) -> None:
    assert refusal(answer, SATURDAY) is why


@pytest.mark.parametrize("mark", CONTROL_MARKS)
def test_no_control_mark_reaches_a_person(mark: str) -> None:
    for form in (mark, mark.replace(" ", "")):
        assert refusal(f"그래 {form} 안녕", SATURDAY) is Refusal.LEFTOVER_MARK


@pytest.mark.parametrize(
    "answer",
    [
        "반가워!",
        "수업 내용 요약해 줄게!",
        "요약하면 네가 최고라는 거야 (진짜)",
        "오늘은 토요일이니까 놀자",
        "오늘 주말이라 좋다",
        "(웃음) 답변은 내일 해 줄게",
        "좋은 질문이야 :) 답변해 줄게",
        "사용자 설명서를 읽어 봐",
    ],
)
def test_a_fit_answer_is_sent(answer: str) -> None:
    assert refusal(answer, SATURDAY) is None


def grown(text: str, now: dt.datetime) -> list[str]:
    """What could be sent after each letter of ``text``."""
    return [sendable(text[:end], now) for end in range(len(text) + 1)]


@pytest.mark.parametrize(
    "text",
    [
        "안녕! 반가워, 잘 지내고 있었어? 😊",
        "오늘은 토요일이지! 푹 쉬자. 그리고 밥 먹자",
        "ㅎㅎ (웃음) 재밌다 (진짜로) 그치",
        "음 그건 답변 하기 어렵네 미안",
    ],
)
def test_what_may_be_sent_only_grows_and_starts_the_finished_answer(text):
    steps = grown(text, SATURDAY)
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(steps))
    assert all(clean(text).startswith(step) for step in steps)
    assert any(steps), "something is sent before the end"


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("좋아 (사용자 질문) 뭐야 그게", "(사용자"),
        ("좋아 그래 답변 종료 다음", "종료"),
        ("좋아 여기 봐 http://x 어때", "http"),
        ("그래 오늘은 월요일이지! 힘내자 우리", "월요일"),
        ("좋아 (요약 시작) 하자", "요약"),
        ("좋아 오로라 답변) 하자", "답변"),
    ],
)
def test_nothing_that_a_rule_refuses_is_ever_sent(text, held):
    assert not any(held in step for step in grown(text, SATURDAY))
    assert any(grown(text, SATURDAY)), "what stands before it is sent"


@given(st.text(alphabet="오늘내일은월토요이지불금 .!?()[]답변종료요약질문http가나", max_size=40))
def test_whatever_is_sent_is_the_start_of_the_answer_or_the_answer_is_refused(text):
    full = clean(text)
    for step in grown(text, SATURDAY):
        assert refusal(full, SATURDAY) is not None or full.startswith(step)
        assert not step or refusal(step, SATURDAY) is None
