"""Facial expression: the 36 poses, how a model writes one, and the numbers an avatar needs.

Knows nothing about how a model is held to the 36; it only lists them.
"""

import itertools
import re
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

EYES = ("작게", "보통", "크게", "아주 크게")
MOUTH = ("보통", "크게", "아주 크게")
HEAD = ("없음", "보통", "많이")

# Ranges of the property score of each word (system.md §6); the score reported is the middle of the range.
_RANGES = {
    "eyes": {"작게": (-0.2, 0.1), "보통": (0.3, 0.6), "크게": (0.8, 1.1), "아주 크게": (1.1, 1.2)},
    "mouth": {"보통": (0.4, 0.8), "크게": (1.0, 1.4), "아주 크게": (1.4, 1.6)},
    "head": {"없음": (-0.6, 0.3), "보통": (0.8, 1.5), "많이": (1.5, 1.8)},
}
_FORMAT = re.compile(r"\(눈 (?P<eyes>[^,()]+), 입 (?P<mouth>[^,()]+), 고개 돌림 (?P<head>[^,()]+)\)")


@dataclass(frozen=True)
class Pose:
    """How she looks while she says an answer; the default is the one used when a model's output is unreadable."""

    eyes: str = "보통"
    mouth: str = "보통"
    head: str = "없음"

    CHOICES: ClassVar[tuple[str, ...]]

    def __str__(self) -> str:
        return f"(눈 {self.eyes}, 입 {self.mouth}, 고개 돌림 {self.head})"

    @classmethod
    def parse(cls, text: str) -> "Pose | None":
        """The pose at the start of a model's output, or None when it is not one of the 36."""
        found = _FORMAT.match(text.strip())
        if not found:
            return None
        known = found["eyes"] in EYES and found["mouth"] in MOUTH and found["head"] in HEAD
        return cls(found["eyes"], found["mouth"], found["head"]) if known else None

    @cached_property
    def scores(self) -> dict[str, float]:
        """Property score of each part: the middle of the word's range, rounded to 4 places."""
        words = {"eyes": self.eyes, "mouth": self.mouth, "head": self.head}
        return {part: round(sum(_RANGES[part][word]) / 2, 4) for part, word in words.items()}

    @property
    def weights(self) -> dict[str, float]:
        """What a StyleGAN renderer multiplies its direction vectors by: the negated scores."""
        return {part: -score for part, score in self.scores.items()}


Pose.CHOICES = tuple(str(Pose(*words)) for words in itertools.product(EYES, MOUTH, HEAD))
