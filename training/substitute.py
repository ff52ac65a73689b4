"""Training rows with other values: what teaches a small model to copy instead of recalling.

For training only: patterns with a slot (``data/augment/patterns.yaml``), our own rows in which the value of the memory item is
exchanged for another value of the same key, and documents on made-up subjects. An exchanged value ends as the old one does (final
consonant, vowel or ㄹ), so that the particle after it stays right. Knows nothing about models.
"""

import random
import re
from collections.abc import Sequence
from functools import cache

from ohlora import memories, prompts
from ohlora.prompts import Example, Task
from training import data_files, ethics_frames
from training.data_files import DialogueRow
from training.particles import ending, fill

_LEADING_ITEM = re.compile(r"^(\[[^\[\]]+\]) ")
_DAY_PROMPT = re.compile(r"오늘|내일|지금|요일|이따|휴일")
_DAYS, _HALVES = "월화수목금토일", ("오전", "오후", "저녁")


@cache
def values() -> dict[str, list[str]]:
    return {key: [str(value) for value in found] for key, found in data_files.augment_file("values").items()}


@cache
def patterns() -> dict[str, dict[str, list[str]]]:
    return data_files.augment_file("patterns")


def with_time(prompt: str, rng: random.Random) -> str:
    """``prompt`` with the time prefix that serving gives it when it has a day word; the moment is drawn."""
    if _DAY_PROMPT.search(prompt):
        return f"(지금은 {rng.choice(_DAYS)}요일 {rng.choice(_HALVES)}) {prompt}"
    return prompt


def syllables(rng: random.Random) -> str:
    """A made-up word: copying has to work for words that no list knows."""
    return "".join(
        chr(0xAC00 + rng.randrange(11172 // 28) * 28 + rng.choice((0, 0, 0, 1, 4, 8, 16, 17, 21)))
        for _ in range(rng.randint(2, 4))
    )


def draw_value(key: str, rng: random.Random, made_up: float = 0.25) -> str:
    return syllables(rng) if rng.random() < made_up else rng.choice(values()[key])


def told(rng: random.Random, summary: str | None = None) -> Example:
    """A memory example: the prompt tells a value, the completion copies it."""
    keys = list(patterns()["tell"])
    # A name is what people tell first, and the value that is least like any other.
    key = rng.choice([*keys, *["이름"] * (len(keys) // 8)])
    value = draw_value(key, rng, 0.4 if key == "이름" else 0.25)
    prompt = with_time(_called(fill(rng.choice(patterns()["tell"][key]), value), rng), rng)
    if rng.random() < 0.15:
        key2 = rng.choice([k for k in values() if k != key])
        prompt = prompts.answer_input(prompt, memory=memories.item_text(key2, draw_value(key2, rng)))
    else:
        prompt = prompts.answer_input(prompt, summary=summary)
    completion = prompts.completion(Task.MEMORY, memories.item_text(key, value))
    return Example(prompts.memory_prompt(prompt), completion)


def asked(rng: random.Random, task: Task) -> Example:
    """A prompt that asks for an item in front of it: the answer uses the value, memory keeps nothing."""
    today = rng.random() < 0.15
    table = patterns()["ask_today" if today else "ask"]
    key = rng.choice(list(table))
    value = draw_value(key, rng)
    question, answer = rng.choice(table[key]).split(" => ")
    prompt = with_time(_called(fill(question, value), rng), rng)
    if task is Task.ANSWER:
        turn = prompts.answer_input(prompt, memory=memories.item_text(key, value))
        return Example(prompts.answer_prompt(turn), prompts.completion(task, fill(answer, value)))
    turn = prompts.answer_input(prompt, memory=memories.item_text(key, value) if rng.random() < 0.7 else None)
    return Example(prompts.memory_prompt(turn), prompts.completion(Task.MEMORY, ""))


def refused(rng: random.Random, abusive: list[tuple[str, str]], summary: str | None = None) -> Example:
    """An abusive prompt of the ethics training data with a written refusal of its category."""
    prompt, category = rng.choice(abusive)
    if rng.random() < 0.3:
        prompt = ethics_frames.draw(category, rng)
    answer = rng.choice(patterns()["refusal"][category])
    turn = prompts.answer_input(with_time(prompt, rng), summary=summary)
    return Example(prompts.answer_prompt(turn), prompts.completion(Task.ANSWER, answer))


@cache
def _asked() -> tuple[list[data_files.Question], dict[str, data_files.Document]]:
    return data_files.questions("train"), data_files.documents()


def quoted(rng: random.Random) -> Example:
    """A tutor example that answers in the document's own words: what teaches a small model to read it out, not to recall."""
    questions, documents = _asked()
    row = rng.choice(questions)
    text = documents[row.document].text
    meaning, _, idea = text.partition(" : ")[2].partition(" | 핵심 아이디어: ")
    said = f"{meaning}는 거야." if meaning.endswith("다") else fill("{v|이야|야}.", meaning)
    if idea.endswith("다") and rng.random() < 0.3:
        said = f"{idea[:-1]}라는 게 핵심이야." if idea.endswith(("이다", "아니다")) else f"{idea}는 게 핵심이야."
    return Example(prompts.tutor_prompt(row.question, text), prompts.completion(Task.TUTOR, said))


def document(plain: Sequence[str], rng: random.Random) -> tuple[str, str]:
    """A document on a made-up subject, of ``plain`` sentences, and a question about it: the encoder of documents has to find by
    their words also those that it was not trained on."""
    word = syllables(rng) if rng.random() < 0.3 else rng.choice(rng.choice([*values().values()]))
    subject = f"{word} {rng.choice(rng.choice([*values().values()]))}" if rng.random() < 0.4 else word
    meaning, idea = rng.choice(plain), rng.choice(plain)
    asked = rng.choice(idea.split()) if rng.random() < 0.3 else subject
    question = fill(rng.choice(patterns()["document"]["asked"]), asked)
    return f"{subject} : {meaning} | 핵심 아이디어: {idea}", question


def _called(prompt: str, rng: random.Random) -> str:
    """Sometimes with her name in front and a tail behind, as people write."""
    head = rng.choice(("", "", "", "", "로라야 ", "오로라 ", "있잖아 ", "야 ")) if not prompt.startswith("로라") else ""
    tail = rng.choice(("", "", "", "", "", "!", "~", " ㅎㅎ", "ㅋㅋ", " ㅠㅠ", "..")) if prompt[-1].isalnum() else ""
    return head + prompt + tail


def exchange(row: DialogueRow, rng: random.Random, made_up: float = 0.25) -> DialogueRow:
    """``row`` with the value of its item exchanged, or ``row`` itself where that can't be done safely.

    The item in front of the prompt is exchanged where the answer says its value; else the item that the prompt tells, where the
    prompt says its value word for word.
    """
    front = _LEADING_ITEM.match(row.input)
    item = memories.parse(front.group(1)) if front else memories.parse(row.memory) if row.memory else None
    if not item:
        return row
    key, old = item
    where = row.answer if front else row.input
    if key not in values() or old not in where or len(old) < 2:
        return row
    if rng.random() < made_up and ending(old) != "other":
        new = syllables(rng)
        while ending(new) != ending(old):
            new = syllables(rng)
    else:
        fitting = [v for v in values()[key] if ending(v) == ending(old)]
        if not fitting:
            return row
        new = rng.choice(fitting)
    return row.model_copy(
        update={field: getattr(row, field).replace(old, new) for field in ("input", "answer", "memory", "summary")}
    )


def untold(prompt: str) -> Example:
    """A memory example of a prompt that tells nothing to keep."""
    return Example(prompts.memory_prompt(prompt), prompts.completion(Task.MEMORY, ""))
