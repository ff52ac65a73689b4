"""What makes an answer fit to be sent: how it is cleaned, and why one is refused and generated again.

Knows nothing about how answers are generated or how often it is tried.
"""

import datetime as dt
import re
from enum import StrEnum

from ohlora.clock import contradicts_calendar
from ohlora.prompts import ANSWER_STOP, CONTROL_MARKS

LEFT_ON_READ = "(읽씹)"

# Without spaces, as they are looked for in an answer without spaces.
_LEFTOVERS = tuple(
    mark.replace(" ", "") for mark in ("답변 종료", "(사용자", "요약)", "답변)", "질문)", *CONTROL_MARKS)
)
_INVISIBLE = re.compile(r"[\u200b-\u200f\u2060\ufeff]")
_SPACES = re.compile(r"[\u00a0\u202f\u3000\s]+")
_PARTICLES = (("오늘는", "오늘은"), ("내일는", "내일은"))


class Refusal(StrEnum):
    """Why an answer is generated again."""

    EMPTY = "empty"
    LEFTOVER_MARK = "leftover_mark"
    LINK = "link"
    CALENDAR = "calendar"


def clean(text: str) -> str:
    """``text`` up to its stop mark, without invisible or no-break spaces, with the two wrong particles mended."""
    text = _SPACES.sub(" ", _INVISIBLE.sub("", text))
    text = text.split(ANSWER_STOP)[0].strip()
    for wrong, right in _PARTICLES:
        text = text.replace(wrong, right)
    return text


def refusal(answer: str, now: dt.datetime) -> Refusal | None:
    """Why a cleaned ``answer`` may not be sent at the user's local time ``now``, or None when it may (system.md §7)."""
    if not answer:
        return Refusal.EMPTY
    if any(mark in answer.replace(" ", "") for mark in _LEFTOVERS):
        return Refusal.LEFTOVER_MARK
    if "http" in answer.lower():
        return Refusal.LINK
    if contradicts_calendar(answer, now):
        return Refusal.CALENDAR
    return None


_DAY_WORD = re.compile("오늘|지금|내일|불금")
_SETTLED = re.compile(r"[.!?…]\s+\S+\s")
# What a rule looks for, without spaces and in lower case: an end of text that may be the beginning of one is held back.
_HAZARDS = tuple(hazard.casefold() for hazard in (*_LEFTOVERS, "http", "오늘", "지금", "내일", "불금"))
_NEVER = re.compile("|".join(r"\s*".join(map(re.escape, hazard)) for hazard in (*_LEFTOVERS, "http")), re.IGNORECASE)
_LONGEST_HAZARD = 24  # characters of the longest one, spaces between its letters included


def sendable(text: str, now: dt.datetime) -> str:
    """The part of an unfinished answer that may be sent already, cleaned; it only ever grows while ``text`` does.

    Held back is what a rule may still refuse: an end that may become a mark, a link or a day word, an open bracket, and a
    sentence about 오늘, 지금, 내일 or 불금 until the next one has begun, because only its end tells what it claims. Empty when what is
    there may not be sent at all.
    """
    head = text if ANSWER_STOP in text else text[: _safe_length(text)]
    for opened, closed in ("()", "[]"):
        at = head.rfind(opened)
        if at >= 0 and closed not in head[at:]:
            head = head[:at]
    day = None
    for found in _DAY_WORD.finditer(head):
        if not _SETTLED.search(head, found.end() + 1):
            day = found.start()
            break
    head = head[:day].rstrip()
    if ANSWER_STOP not in text:
        never = _NEVER.search(head)
        head = head[: never.start()] if never else head
    cleaned = clean(head[: _safe_length(head)])
    return cleaned if refusal(cleaned, now) is None else ""


def _safe_length(text: str) -> int:
    """Length of ``text`` without an end that may be the beginning of something a rule looks for."""
    for start in range(max(len(text) - _LONGEST_HAZARD, 0), len(text)):
        end = "".join(text[start:].split()).casefold()
        if end and not text[start].isspace() and any(hazard.startswith(end) for hazard in _HAZARDS):
            return start
    return len(text)
