"""What she remembers about a person: the form of an item, its dates, its identity, and which one a prompt is about.

Knows nothing about where items are kept or which model embeds them. An item has one key and one value. A key about 오늘,
내일 or 지금 is kept with the date that it means, so that it shifts and expires (system.md §4).
"""

import datetime as dt
import hashlib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

MAX_KEY, MAX_VALUE = 40, 200
_ITEM = re.compile(r"\[([^\[\]:]+):([^\[\]]+)\]")
_DAY_OFFSETS = {"오늘": 0, "지금": 0, "내일": 1}
_DAY_WORD = re.compile(r"오늘|지금|내일(?!\s*모레)")  # 내일모레 is a day later
_PARTICLE = re.compile(r"(?<=[가-힣]{2})(?P<particle>[은는이가을를])$")


class Change(BaseModel):
    """A value that an item had before."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: str
    told_at: dt.datetime


class MemoryItem(BaseModel):
    """One remembered thing. ``key`` is as it was told; what it is called today is ``key_on(today)``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    key: str
    value: str
    date: dt.date | None = Field(
        None, description="The day a key about 오늘/내일/지금 is about, in the user's time zone"
    )
    told_at: dt.datetime
    used_at: dt.datetime | None = None
    history: tuple[Change, ...] = ()

    def key_on(self, today: dt.date) -> str | None:
        """The key as it reads on ``today``: 내일 일정 told on Monday is 오늘 일정 on Tuesday and None on Wednesday."""
        if self.date is None:
            return self.key
        days = (self.date - today).days
        if days not in (0, 1):
            return None
        told_for_tomorrow = _DAY_OFFSETS[_day_word(self.key)] == 1
        if (days == 1) == told_for_tomorrow:
            return self.key
        return _DAY_WORD.sub("내일" if days == 1 else "오늘", self.key, count=1)

    def text_on(self, today: dt.date) -> str | None:
        """``[key: value]`` as a prompt shows it on ``today``, or None when its day is not 오늘 or 내일."""
        key = self.key_on(today)
        return item_text(key, self.value) if key else None


def item_text(key: str, value: str) -> str:
    return f"[{key}: {value}]"


def parse(output: str) -> tuple[str, str] | None:
    """Key and value of a memory model's output, which counts only as exactly one ``[key: value]``; None otherwise."""
    found = _ITEM.fullmatch(output.strip())
    if not found:
        return None
    key, value = (" ".join(part.split()) for part in found.groups())
    if not key or not value or len(key) > MAX_KEY or len(value) > MAX_VALUE:
        return None
    return key, value


def date_of(key: str, today: dt.date) -> dt.date | None:
    """The day that a key told on ``today`` is about, or None for a key without a day word."""
    word = _DAY_WORD.search(key)
    return today + dt.timedelta(days=_DAY_OFFSETS[word.group()]) if word else None


def _day_word(key: str) -> str:
    word = _DAY_WORD.search(key)
    assert word, key  # only items with a date come here, and a date comes from a day word
    return word.group()


def identity(key: str, date: dt.date | None) -> str:
    """What makes two items the same one: the key without spacing, case, Unicode form and trailing particle; a day word
    counts as its date, so that 내일 일정 told on Monday and 오늘 일정 told on Tuesday are one.

    NFKC also composes jamo: 과일 typed as separate jamo is 과일.
    """
    folded = unicodedata.normalize("NFKC", key).casefold()
    if date is not None:
        folded = _DAY_WORD.sub(f"{date.isoformat()}|", folded, count=1)
    letters = "".join(c for c in folded if c.isalnum() or c in "|-")
    return _without_particle(letters) or folded


def _without_particle(word: str) -> str:
    """취미는 is 취미 and 이름은 is 이름, while 나이 and 직업가 stay: a particle follows two syllables and suits the last one."""
    found = _PARTICLE.search(word)
    if not found:
        return word
    ends_in_consonant = (ord(word[-2]) - ord("가")) % 28 != 0
    return word[:-1] if (found["particle"] in "은이을") == ends_in_consonant else word


def item_id(key: str, date: dt.date | None) -> str:
    """The id of an item, which follows from its identity: known before it is written, whoever else writes it meanwhile."""
    return hashlib.blake2b(identity(key, date).encode(), digest_size=12).hexdigest()


def embedding_texts(key: str, value: str, date: dt.date | None, today: dt.date) -> list[str]:
    """The texts to embed when an item is written: one, or for an item about tomorrow also how it reads the day after."""
    texts = [item_text(key, value)]
    if date is not None and date > today:
        texts.append(item_text(_DAY_WORD.sub("오늘", key, count=1), value))
    return texts


def best(prompt: NDArray[np.float32], items: NDArray[np.float32], *, threshold: float) -> tuple[int, float] | None:
    """Index and cosine of the item nearest to the prompt, or None when none reaches ``threshold``.

    ``prompt`` has shape (d,), ``items`` shape (n, d); both are unit vectors, so that a product is the cosine.
    """
    if len(items) == 0:
        return None
    similarities = items @ prompt
    index = int(np.argmax(similarities))
    similarity = float(similarities[index])
    return (index, similarity) if similarity >= threshold else None


def least_useful(items: Sequence[MemoryItem], keep: int) -> list[MemoryItem]:
    """The items to drop so that ``keep`` stay: those neither used nor told for the longest time."""
    by_use = sorted(items, key=lambda item: max(item.used_at or item.told_at, item.told_at))
    return by_use[: max(len(items) - keep, 0)]
