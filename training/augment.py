"""Swaps words of an input inside groups of synonyms and makes small slips, as people write the same thing in several ways.

Only the text left of the completion changes, and of that only what the user wrote: marks, memory items, the time prefix and her
own answer or summary stay. Knows nothing about models.
"""

import random
import re
from functools import cache

from ohlora.prompts import OHLORA_ANSWER, USER_QUESTION, Example
from training import data_files, spelling

_HEAD = re.compile(r"^(?:\[[^\[\]]+\] )?(?:\(지금은[^()]*\) )?")


@cache
def _groups() -> tuple[dict[str, list[str]], re.Pattern[str]]:
    groups: dict[str, list[str]] = {}
    for group in data_files.augment_file("synonyms"):
        for word in group:
            groups.setdefault(word, group)
    words = sorted((word for word in groups if word), key=len, reverse=True)
    return groups, re.compile("|".join(re.escape(word) for word in words))


def vary(text: str, rng: random.Random, rate: float) -> str:
    """``text`` with each word that has synonyms exchanged with probability ``rate``; whole words and endings only."""
    groups, pattern = _groups()

    def swap(match: re.Match[str]) -> str:
        word = match.group()
        before = text[match.start() - 1] if match.start() else " "
        after = text[match.end()] if match.end() < len(text) else " "
        whole = word[0] in "!?ㅋㅎㅠㅜ" or (not before.isalnum() and not after.isalnum())
        same_run = before == word[0] or after == word[-1]
        return rng.choice(groups[word]) if whole and not same_run and rng.random() < rate else word

    return pattern.sub(swap, text)


def user_part(prompt: str) -> tuple[str, str, str]:
    """A task's prompt as (control text, what the user wrote, control text)."""
    start = prompt.rfind(USER_QUESTION)
    start = start + len(USER_QUESTION) + 1 if start >= 0 else 0
    head = _HEAD.match(prompt[start:])
    start += head.end() if head else 0
    stop = prompt.find(f" {OHLORA_ANSWER}", start)
    stop = stop if stop >= 0 else prompt.rfind(" (")
    return prompt[:start], prompt[start:stop], prompt[stop:]


def vary_example(example: Example, rng: random.Random, rate: float) -> Example:
    """``example`` with a varied user part where that is safe: a value that the completion copies is never touched."""
    if "표정" in example.prompt:
        return example
    head, user, tail = user_part(example.prompt)
    varied = vary(user, rng, rate)
    if varied.strip() and rng.random() < rate / 2:
        varied = spelling.soften(varied, rng)
    lost = [
        word for word in re.findall(r"[가-힣A-Za-z0-9]+", user) if word in example.completion and word not in varied
    ]
    if lost or not varied.strip():
        return example
    return Example(head + varied + tail, example.completion)
