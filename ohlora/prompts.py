"""Control marks and the five prompt formats; the one definition that training and serving share.

Knows nothing about tokenizers or models: text in, text out. A model reads ``prompt`` and continues with ``completion``; the
completion starts with a space and ends with the task's stop mark.
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from ohlora.clock import PARTS_OF_DAY

ANSWER_START = "(답변 시작)"
ANSWER_STOP = "(답변 종료)"
SUMMARY_START = "(요약 시작)"
SUMMARY_STOP = "(요약 종료)"
POSE_START = "(표정 출력 시작)"
POSE_STOP = "(표정 출력 종료)"
OHLORA_SUMMARY = "(오로라 답변 요약)"
OHLORA_ANSWER = "(오로라 답변)"
USER_QUESTION = "(사용자 질문)"
PROVIDED_INFORMATION = "(제공된 정보)"
NOTHING_FOUND = "알맞은 정보를 찾을 수 없음"

CONTROL_MARKS = (
    ANSWER_START,
    ANSWER_STOP,
    SUMMARY_START,
    SUMMARY_STOP,
    POSE_START,
    POSE_STOP,
    OHLORA_SUMMARY,
    OHLORA_ANSWER,
    USER_QUESTION,
    PROVIDED_INFORMATION,
)


class Task(StrEnum):
    """A thing a language model of the system is trained for; the value is its name in presets, data and logs."""

    ANSWER = "output_message"
    TUTOR = "tutor"
    SUMMARY = "summary"
    MEMORY = "memory"
    POSE = "eyes_mouth_pose"

    @property
    def stop_mark(self) -> str:
        return _STOP_MARKS[self]


_STOP_MARKS = {
    Task.ANSWER: ANSWER_STOP,
    Task.TUTOR: ANSWER_STOP,
    Task.SUMMARY: SUMMARY_STOP,
    Task.MEMORY: SUMMARY_STOP,
    Task.POSE: POSE_STOP,
}


@dataclass(frozen=True)
class Example:
    """One training example: the loss is on ``completion`` only."""

    prompt: str
    completion: str


def completion(task: Task, text: str) -> str:
    """What a model is trained to write after a prompt of ``task``; an empty ``text`` is the stop mark alone."""
    return f" {text} {task.stop_mark}" if text else f" {task.stop_mark}"


def answer_input(prompt: str, *, memory: str | None = None, summary: str | None = None) -> str:
    """INPUT of a turn: ``prompt`` with what is known beside it.

    ``memory`` is a whole ``[key: value]`` item and replaces ``summary``: the two never appear together (system.md §2).
    """
    if memory:
        return f"{memory} {prompt}"
    if summary:
        return f"{OHLORA_SUMMARY} {summary} {USER_QUESTION} {prompt}"
    return prompt


def answer_prompt(turn_input: str) -> str:
    return f"{turn_input} {ANSWER_START}"


def memory_prompt(turn_input: str) -> str:
    return f"{turn_input} {SUMMARY_START}"


def summary_prompt(turn_input: str, answer: str) -> str:
    return f"{turn_input} {OHLORA_ANSWER} {answer} {SUMMARY_START}"


def pose_prompt(answer: str) -> str:
    return f"{answer} {POSE_START}"


def tutor_prompt(prompt: str, document: str | None) -> str:
    return f"{PROVIDED_INFORMATION} {document or NOTHING_FOUND} {USER_QUESTION} {prompt} {ANSWER_START}"


def _spaced(text: str) -> str:
    return r"\s?".join(text.replace(" ", ""))


# What can stand between brackets as control text, and the prefix of ohlora.clock; a pattern for single spaces anywhere.
_MARK_WORDS = "|".join(_spaced(mark.strip("()")) for mark in CONTROL_MARKS)
_TIME_WORDS = (
    rf"{_spaced('지금은')}\s?[월화수목금토일]\s?{_spaced('요일')}(?:\s?(?:{'|'.join(map(_spaced, PARTS_OF_DAY))}))?"
)
_OPEN_MARK = re.compile(rf".\s?(?:{_MARK_WORDS}|{_TIME_WORDS})\s?")
_LONGEST_OPEN_MARK = 32  # characters of the longest match of _OPEN_MARK, and some more

# Square brackets and colons in every form that a keyboard or a font offers.
_SQUARES = ("[［【〔〖〘〚⟦⁅﹝「『｢", "]］】〕〗〙〛⟧⁆﹞」』｣")
_PLAIN = {ord(c): plain for plain, forms in zip("[]:", (*_SQUARES, "：﹕︓∶꞉"), strict=True) for c in forms}
_NO_SQUARES = dict.fromkeys(map(ord, "".join(_SQUARES)), " ")
# Default_Ignorable_Code_Point of Unicode.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def neutralise(text: str) -> str:
    """User text that can't be mistaken for control text: marks go, ``[key: value]`` loses its brackets.

    Words without brackets stay, so that a person who writes about 답변 종료 is still understood; text with an item in it
    loses all its square brackets. Applying it twice changes nothing. Invisible and control characters go too, because
    they could split a mark; white space becomes single spaces. Takes time in proportion to the text, whatever is in it.
    """
    # What is invisible goes first: it could keep jamo apart that are one letter without it.
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    text = "".join(" " if unicodedata.category(c) == "Cc" else c for c in text)
    if _has_item(text):
        text = text.translate(_NO_SQUARES)
    return "".join(_without_marks(text)).strip()


def _has_item(text: str) -> bool:
    """Whether a square bracket opens, a colon follows, and one closes."""
    _, _, after = text.translate(_PLAIN).partition("[")
    return ":" in after.rpartition("]")[0]


def _without_marks(text: str) -> list[str]:
    """Characters of ``text`` with single spaces and without marks, those in marks included: what a closing bracket makes
    a mark of is dropped at once, so that what is left around it is seen together."""
    kept: list[str] = []
    for char in text:
        if char.isspace():
            char = " "
            if kept[-1:] == [" "]:
                continue
        elif _closes(char) and (length := _open_mark(kept)):
            del kept[-length:]
            if kept[-1:] != [" "]:
                kept.append(" ")
            continue
        kept.append(char)
    return kept


def _open_mark(kept: list[str]) -> int:
    """Number of the last characters that are a mark but for its closing bracket; 0 when they aren't."""
    tail = "".join(kept[-_LONGEST_OPEN_MARK:])
    at = next((at for at in range(len(tail) - 1, -1, -1) if _opens(tail[at])), None)
    return len(tail) - at if at is not None and _OPEN_MARK.fullmatch(tail, at) else 0


def _opens(char: str) -> bool:
    return char in "<＜" or unicodedata.category(char) == "Ps"


def _closes(char: str) -> bool:
    return char in ">＞" or unicodedata.category(char) == "Pe"
