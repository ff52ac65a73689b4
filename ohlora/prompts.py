"""Control marks and the five prompt formats; the one definition that training and serving share.

Knows nothing about tokenizers or models: text in, text out. A model reads ``prompt`` and continues with ``completion``; the
completion starts with a space and ends with the task's stop mark.
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

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


def _spaced(mark: str) -> str:
    """A pattern for ``mark`` however it is spaced, with round, full-width or square brackets."""
    words = r"\s*".join(re.escape(letter) for letter in mark.strip("()").replace(" ", ""))
    return rf"[(\[{{<]\s*{words}\s*[)\]}}>]"


_FORGED_MARK = re.compile("|".join(_spaced(mark) for mark in CONTROL_MARKS))
_FORGED_TIME = re.compile(r"\(\s*지금은[^()]*\)")
_BRACKETED = re.compile(r"\[([^\[\]]*:[^\[\]]*)\]")
_INVISIBLE = re.compile(r"[\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\u00ad]")
_FULL_WIDTH = str.maketrans("（）［］｛｝：＜＞【】「」", "()[]{}:<>[][]")


def neutralise(text: str) -> str:
    """User text that can't be mistaken for control text: marks go, ``[key: value]`` loses its brackets.

    The words themselves stay, so that a person who writes about 답변 종료 is still understood. Applying it twice changes
    nothing. Invisible and control characters go too, because they could split a mark; white space becomes single spaces.
    """
    text = unicodedata.normalize("NFC", text)
    text = _INVISIBLE.sub("", text).translate(_FULL_WIDTH)
    text = "".join(" " if unicodedata.category(c) == "Cc" else c for c in text)
    while True:
        cleaned = _FORGED_MARK.sub(" ", text)
        cleaned = _FORGED_TIME.sub(" ", cleaned)
        cleaned = _BRACKETED.sub(r"\1", cleaned)
        if cleaned == text:
            return " ".join(text.split())
        text = cleaned
