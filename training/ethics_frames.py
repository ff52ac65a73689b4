"""Draws ethics prompts from frames (``data/augment/ethics_frames.yaml``), for training only.

They give a small model words that the written rows lack. A category's first words are written rows; drawn ones stand beside them.
Knows nothing about models.
"""

import random
import re
from functools import cache

from training import data_files, particles

_SLOT = re.compile(r"\{(\w+)(\|[^|}]*\|[^|}]*)?\}")


@cache
def _grammar() -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    content = data_files.augment_file("ethics_frames")
    return content["slots"], content["frames"]


def draw(category: str, rng: random.Random) -> str:
    """One prompt of ``category``."""
    slots, frames = _grammar()
    text = rng.choice(frames[category])
    while match := _SLOT.search(text):
        word = rng.choice(slots[match.group(1)])
        if match.group(2):
            word = particles.fill("{v" + match.group(2) + "}", word)
        text = text[: match.start()] + word + text[match.end() :]
    return " ".join(text.split())


def categories() -> tuple[str, ...]:
    return tuple(_grammar()[1])


def drawn(count: int, rng: random.Random, *, normal: float = 0.5) -> list[tuple[str, str]]:
    """``count`` prompts with their categories, a share of ``normal`` of them innocent."""
    *abusive, innocent = categories()
    return [
        (draw(c, rng), c) for c in (innocent if rng.random() < normal else rng.choice(abusive) for _ in range(count))
    ]
