"""Time context: the prefix that tells a model what day it is, and the check that an answer agrees with it.

Knows nothing about the server's clock or time zone: every function takes the user's local time.
"""

import datetime as dt
import re

WEEKDAYS = "월화수목금토일"
PARTS_OF_DAY = ("오전", "오후", "저녁")
TIME_WORDS = ("오늘", "내일", "지금", "요일", "이따", "휴일")
DAY_STARTS_AT = 4  # o'clock; before it the day before goes on
_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6


def effective_date(now: dt.datetime) -> dt.date:
    """The day that a person awake at ``now`` still calls today: before 04:00 it is the day before (system.md §3)."""
    return (now - dt.timedelta(hours=DAY_STARTS_AT)).date() if now.hour < DAY_STARTS_AT else now.date()


def part_of_day(now: dt.datetime) -> str:
    """오전 from 04:00, 오후 from 12:00, 저녁 from 18:00, on Fridays from 17:00 (system.md §3)."""
    if DAY_STARTS_AT <= now.hour < 12:
        return "오전"
    evening = 17 if effective_date(now).weekday() == _FRIDAY else 18
    return "오후" if 12 <= now.hour < evening else "저녁"


def time_context(now: dt.datetime) -> str:
    return f"(지금은 {WEEKDAYS[effective_date(now).weekday()]}요일 {part_of_day(now)})"


def with_time_context(prompt: str, now: dt.datetime) -> str:
    """``prompt`` with the prefix where it talks about time, else unchanged."""
    return f"{time_context(now)} {prompt}" if any(word in prompt for word in TIME_WORDS) else prompt


# What makes a weekday a statement: a copula (토요일이네, 토요일인데) or the end of what is said (토요일! 토요일ㅋㅋ). These don't:
# another particle (토요일에, 월요일도 아닌데, 월요일이 싫어), a wish or condition (금요일이면, 금요일이었으면), an alternative
# (금요일이나), a feeling (토요일인 줄, 월요일 같아), a noun that it belongs to (토요일 약속).
_STATED = (
    r"(?:\s*(?:새벽|아침|오전|점심|낮|오후|저녁|밤))?"
    r"(?:이(?!\s|아[니닌냐님]|[면랑나든건길]|라면|라도|거나|기를|지\s*않|[었였](?:으면|다면|더라면)|라고\s*(?:생각|착각))"
    r"|인(?!\s*(?:줄|것처럼|것\s*같|듯|척)|지(?!\s*몰라|도))|일(?=\s*(?:거|걸|텐데))|입니|임|예요|\s*맞"
    r"|\s*(?:$|[^\w\s]|[ㄱ-ㅣ]))"
)
_BETWEEN = (
    r"(?:은|이|도|이면|부터)?\s*(?:[,~!]\s*)?"
    r"(?:(?:벌써|드디어|이제|바로|또|다시|아직|겨우|진짜|정말|무려|마침|역시|즐거운|신나는|행복한|기다리던|같은)\s*){0,2}"
)
_CLAIM = re.compile(
    rf"(?P<day>오늘|지금|내일){_BETWEEN}"
    rf"(?:(?:(?P<weekday>[월화수목금토일])(?:요일|욜)|(?P<weekend>주말)){_STATED}"
    rf"|(?P<hot_friday>불금)(?:{_STATED}|에|엔|\s(?!\s*(?:아[니닌냐님]|같|말고|기다))))"
)
_HOT_FRIDAY = re.compile(rf"불금{_STATED}")
# 불금 beside one of these is about another day, or about Fridays.
_ANOTHER_DAY = re.compile(
    r"내일|모레|어제|그제|이틀|사흘|며칠|다음|이번\s*주|지난|매주|항상|언제나|금요일|금욜|기다|곧|남았|[가-힣]면\s"
)
_SENTENCE_END = re.compile(r"[.!?~…\n]+")


def contradicts_calendar(answer: str, now: dt.datetime) -> bool:
    """Whether ``answer`` says that 오늘, 지금 or 내일 is a weekday, weekend or 불금 that it is not."""
    today = effective_date(now).weekday()
    for claim in _CLAIM.finditer(answer):
        day = (today + 1) % 7 if claim["day"] == "내일" else today
        if claim["weekday"] and WEEKDAYS.index(claim["weekday"]) != day:
            return True
        if claim["weekend"] and day not in (_SATURDAY, _SUNDAY):
            return True
        if claim["hot_friday"] and day != _FRIDAY:
            return True
    if today == _FRIDAY:
        return False
    # A 불금 with no day beside it is about now.
    sentences = _SENTENCE_END.split(_CLAIM.sub("", answer))
    return any(_HOT_FRIDAY.search(sentence) and not _ANOTHER_DAY.search(sentence) for sentence in sentences)
