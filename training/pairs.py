"""What the S-BERTs are trained on: texts and how similar they are meant to be.

Memory: every item with every prompt (cartesian product); the score of a pair is ``max(2.6 x - 1.6, 0)`` of the similarity x of
the two items' keys (system.md §9), x from the written table of key groups. Ethics: every prompt with every category name, 1 or 0.
Knows nothing about models.
"""

import random
import re
from dataclasses import dataclass
from pathlib import Path

from ohlora import ethics, memories
from training import data_files, substitute
from training.data_files import Combination, DialogueRow, KeyGroup

SAME_TOPIC = 0.7  # similarity x of two keys of one topic: a score of 0.22
STATE = "상태"  # for this key the value is compared instead
NOTHING = "-"  # concept of a prompt that is about no item
_GREETING = re.compile(
    r"안녕|안뇽|하이|굿모닝|반가|고마워|미안|잘 자|잘 있어|나 왔|나 갈|이따 봐|바이|ㅋㅋㅋ$|^응|^아니|^왜|^진짜"
)
_HER = re.compile(r"(?:^|\s)(?:너|넌|너는|너도|네|니|로라는|오로라는)(?:\s|$)")
_OWN = re.compile(r"(?:^|\s)(?:나|내|난|나는|우리|제|저|내가|나랑|나한테)(?:\s|$)")
_FRONT = re.compile(r"^(\[[^\[\]]+\]) (?:\(지금은[^()]*\) )?(.+)$")


@dataclass(frozen=True)
class Pair:
    """An item and a prompt, each with its concept: what it is about."""

    item: str
    prompt: str
    item_concept: str
    prompt_concept: str


def score(x: float) -> float:
    """The reference's score of a pair whose keys have similarity ``x``, rounded to 4 places."""
    return round(max(2.6 * x - 1.6, 0.0), 4)


class Concepts:
    """Concepts of keys and how similar two concepts are meant to be."""

    def __init__(self, groups: dict[str, KeyGroup]) -> None:
        self.groups = groups

    def of(self, key: str, value: str) -> str:
        group = self.groups[key].group if key in self.groups else key
        return f"{group}:{value}" if group == STATE else group

    def score(self, one: str, other: str) -> float:
        if NOTHING in (one, other):
            return 0.0
        if one == other:
            return 1.0
        return score(SAME_TOPIC) if self._topic(one) == self._topic(other) else 0.0

    def _topic(self, concept: str) -> str:
        group = concept.split(":")[0]
        return next((g.topic for g in self.groups.values() if g.group == group), concept)


def memory_combinations() -> list[Combination]:
    """Combinations for training: the written ones, prompts by key, and dialogue rows with an item in front of the prompt."""
    return data_files.combinations("train") + written_prompts() + told_combinations()


def told_combinations(folder: Path = data_files.DATA) -> list[Combination]:
    """Dialogue rows with an item in front of the prompt."""
    found, known = [], data_files.key_groups(folder)
    for row in _dialogue(folder):
        match = _FRONT.match(row.input)
        item = memories.parse(match.group(1)) if match else None
        if match and item and item[0] in known and item[1] != "없음":
            found.append(Combination(key=item[0], value=item[1], prompt=match.group(2)))
    return found


def unrefused_prompts(folder: Path = data_files.DATA) -> list[str]:
    """What users say in dialogue rows that she does not refuse."""
    words = ethics.EthicsPolicy().refusal_words
    return [row.prompt for row in _dialogue(folder) if not any(word in row.answer for word in words)]


def _dialogue(folder: Path = data_files.DATA) -> list[DialogueRow]:
    """The rows of dialogue/train.jsonl. Those of train_everyday.jsonl teach the language models only: an item that helps with 심심하다 may
    be any, and 35,000 normal prompts gain nothing from more (right of the kept ethics rows: 0.904 with them, 0.907 without)."""
    return data_files.read_jsonl(folder / "dialogue" / "train.jsonl", DialogueRow)


def written_prompts(folder: Path = data_files.DATA) -> list[Combination]:
    """Prompts that fit any value of their key, each with one value of it. Raises ValueError for a key without a value."""
    known: dict[str, list[str]] = {key: list(found) for key, found in substitute.values().items()}
    for row in data_files.combinations("train", folder):
        known.setdefault(row.key, []).append(row.value)
    if missing := data_files.key_prompts(folder=folder).keys() - known.keys():
        raise ValueError(
            f"memory/key_prompts.txt: no value is known for {', '.join(sorted(missing))}; add one to augment/values.yaml, or a line to "
            "memory/combinations_train.txt"
        )
    rows = [
        Combination(key=key, value=known[key][index % len(known[key])], prompt=prompt)
        for key, found in data_files.key_prompts(folder=folder).items()
        for index, prompt in enumerate(found)
    ]
    states = data_files.key_prompts("state_prompts", folder).items()
    return rows + [Combination(key=STATE, value=value, prompt=prompt) for value, found in states for prompt in found]


def nothing_prompts() -> list[str]:
    """Prompts that are about no item: small talk for training, what users ask about her or greet her with, and abuse."""
    talk = data_files.smalltalk()
    found = talk[len(talk) // 5 :]
    for row in _dialogue():
        prompt = row.prompt
        plain = prompt in row.input[-len(prompt) :] and not row.input.startswith(("[", "(오로라")) and not row.memory
        if plain and (_GREETING.search(prompt) or (_HER.search(prompt) and not _OWN.search(prompt))):
            found.append(prompt)
    abusive = [row.prompt for row in data_files.ethics("train") if row.category != ethics.NORMAL]
    return found + abusive[::10]


def with_other_value(row: Combination, rng: random.Random) -> str:
    """The item of ``row`` with another value of its key, where the prompt does not hang on the value."""
    if row.key not in substitute.values() or row.key in (STATE, "고민", "기분") or row.value in row.prompt:
        return row.item
    return memories.item_text(row.key, substitute.draw_value(row.key, rng, 0.0))
