"""Time context: the prefix that tells a model what day it is, and the check that an answer agrees with it.

Knows nothing about the server's clock or time zone: every function takes the user's local time.
"""

import datetime as dt
import re

WEEKDAYS = "월화수목금토일"
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


# "오늘은 벌써 금요일", "내일 주말", "오늘이 불금": the day word, its particle, at most one filler word, the claim. A claim that is
# denied ("오늘은 월요일 아니야") or that only uses the weekday as a time ("오늘 말고 금요일에") does not match.
_CLAIM = re.compile(
    r"(?P<day>오늘|내일)(?:은|이|도|이면|부터)?\s*"
    r"(?:(?:벌써|드디어|이제|바로|또|즐거운|신나는|행복한|무려)\s*)?"
    r"(?:(?P<weekday>[월화수목금토일])요일|(?P<weekend>주말)|(?P<hot_friday>불금))"
    r"(?!\s*(?:에|까지|부터|이?\s*아니|은\s*아니|아니))"
)
_BARE_HOT_FRIDAY = re.compile(r"불금(?!\s*(?:이|은)?\s*아니)")


def contradicts_calendar(answer: str, now: dt.datetime) -> bool:
    """Whether ``answer`` says that 오늘 or 내일 is a weekday, weekend or 불금 that it is not."""
    today = effective_date(now).weekday()
    for claim in _CLAIM.finditer(answer):
        day = today if claim["day"] == "오늘" else (today + 1) % 7
        if claim["weekday"] and WEEKDAYS.index(claim["weekday"]) != day:
            return True
        if claim["weekend"] and day not in (_SATURDAY, _SUNDAY):
            return True
        if claim["hot_friday"] and day != _FRIDAY:
            return True
    # A 불금 with no day word beside it is about now.
    about_now = _BARE_HOT_FRIDAY.search(_CLAIM.sub("", answer))
    return bool(about_now) and today != _FRIDAY and not re.search(r"(?:내일|다음|이번 주|금요일|기다)", answer)
