"""Reads the training data of ``training/data``; the one place that knows its files.

Knows nothing about tokenizers or models. An error names the file and the line.
"""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ohlora import memories, prompts
from ohlora.ethics import EthicsPolicy
from ohlora.prompts import Example, Task

DATA = Path(__file__).parent / "data"
_TIME = re.compile(r"^\(지금은 [월화수목금토일]요일 (?:오전|오후|저녁)\) ")
_ITEM = re.compile(r"^\[[^\[\]:]+: [^\[\]]+\] ")
_SUMMARY = re.compile(rf"^{re.escape(prompts.OHLORA_SUMMARY)} (.+?) {re.escape(prompts.USER_QUESTION)} ")


class DialogueRow(BaseModel):
    """One turn: what the answer model reads, what she says, what is kept, how it is summed up, and her expression."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: str = Field(min_length=1, description="INPUT of the turn: prompt, memory + prompt, or summary + prompt")
    answer: str = Field(min_length=1, description="Her reply")
    memory: str = Field("", description="[key: value] that the prompt tells, or nothing")
    summary: str = Field(min_length=1, description="The answer in 2 to 7 words")
    pose: str = Field(min_length=1, description="One of the 36 poses")

    def example(self, task: Task) -> Example:
        """The row as the model of ``task`` sees it, in the formats that serving uses."""
        if task is Task.ANSWER:
            return Example(prompts.answer_prompt(self.input), prompts.completion(task, self.answer))
        if task is Task.MEMORY:
            return Example(prompts.memory_prompt(self.input), prompts.completion(task, self.memory))
        if task is Task.SUMMARY:
            return Example(prompts.summary_prompt(self.input, self.answer), prompts.completion(task, self.summary))
        if task is Task.POSE:
            return Example(prompts.pose_prompt(self.answer), prompts.completion(task, self.pose))
        raise ValueError(f"task {task.value} has no dialogue rows")

    @property
    def prompt(self) -> str:
        """What the user wrote, without item, summary and time."""
        return _TIME.sub("", self._behind_context(), count=1)

    @property
    def timed(self) -> bool:
        return bool(_TIME.match(self._behind_context()))

    @property
    def with_item(self) -> bool:
        return bool(_ITEM.match(self.input))

    def _behind_context(self) -> str:
        return _SUMMARY.sub("", _ITEM.sub("", self.input, count=1), count=1)


class EthicsRow(BaseModel):
    """A prompt and the category that a person gave it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str = Field(min_length=1, description="What a user wrote")
    category: str = Field(description="사랑 고백/만남, 정치, 패드립, 혐오/기타 or 일반")

    @field_validator("category")
    @classmethod
    def _known(cls, found: str) -> str:
        if found not in EthicsPolicy().labels:
            raise ValueError(f"{found!r} is no category; known: {', '.join(EthicsPolicy().labels)}")
        return found


class Document(BaseModel):
    """One text of the tutor's store."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9-]+$", description="Name of the document")
    title: str = Field(min_length=1, description="The term it explains")
    text: str = Field(min_length=1, description="용어 : 설명 | 핵심 아이디어: …")


class Question(BaseModel):
    """A question that one document answers, and what five others are worth for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    document: str = Field(description="Id of the document that answers it")
    question: str = Field(min_length=1, description="What a user asks")
    grades: dict[str, Annotated[float, Field(ge=0, lt=1)]] = Field(description="Distractors: document id and its worth")


class TutorRow(BaseModel):
    """A question, the document that was found for it, and the answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    document: str | None = Field(description="Id of the document, or null where nothing fits")
    question: str = Field(min_length=1, description="What a user asks")
    answer: str = Field(min_length=1, description="Her answer")


class Combination(BaseModel):
    """A memory item and a prompt that should bring it back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(min_length=1, description="Key of the item")
    value: str = Field(min_length=1, description="Value of the item")
    prompt: str = Field(min_length=1, description="A prompt that is about the item")

    @property
    def item(self) -> str:
        return memories.item_text(self.key, self.value)


class KeyGroup(BaseModel):
    """Where a key belongs: keys of one group mean the same, keys of one topic are neighbours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(min_length=1, description="Key as items write it")
    group: str = Field(min_length=1, description="Keys of one group count as one key")
    topic: str = Field(min_length=1, description="Wider topic")


Row = TypeVar("Row", bound=BaseModel)


def read_jsonl(path: Path, model: type[Row]) -> list[Row]:
    """Every row of a JSON Lines file. Raises ValueError naming file, line and field."""
    return [_checked(path, number, model, line) for number, line in _lines(path)]


def _named(path: Path) -> str:
    """A file as the data card writes it: several folders have a train.jsonl."""
    return f"{path.parent.name}/{path.name}"


def _checked(path: Path, number: int, model: type[Row], line: str) -> Row:
    try:
        return model.model_validate(json.loads(line))
    except (json.JSONDecodeError, ValidationError) as error:
        raise ValueError(f"{_named(path)} line {number}: {error}") from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    lines = path.read_text(encoding="utf-8").split("\n")  # splitlines would cut at U+2028 too
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, line.strip()


def dialogue(split: str, folder: Path = DATA) -> list[DialogueRow]:
    return dialogue_rows(folder / "dialogue", split)


def dialogue_rows(folder: Path, split: str) -> list[DialogueRow]:
    """Rows of ``split``.jsonl in ``folder`` and, behind them, of the files beside it whose names begin with ``split``_."""
    return [row for path in dialogue_files(folder, split) for row in read_jsonl(path, DialogueRow)]


def dialogue_files(folder: Path, split: str) -> list[Path]:
    """The one that has to be there, then the others by name."""
    return [folder / f"{split}.jsonl", *sorted(folder.glob(f"{split}_*.jsonl"))]


def ethics(split: str, folder: Path = DATA) -> list[EthicsRow]:
    return read_jsonl(folder / "ethics" / f"{split}.jsonl", EthicsRow)


def documents(folder: Path = DATA) -> dict[str, Document]:
    """The tutor's documents by id."""
    return {row.id: row for row in read_jsonl(folder / "tutor" / "documents.jsonl", Document)}


def questions(split: str, folder: Path = DATA) -> list[Question]:
    """Raises ValueError for a question or a distractor of a document that is not there."""
    path, known = folder / "tutor" / f"questions_{split}.jsonl", documents(folder)
    rows = read_jsonl(path, Question)
    for number, row in enumerate(rows, start=1):
        _known_documents(path, number, known, row.document, *row.grades)
    return rows


def tutor_rows(split: str, folder: Path = DATA) -> list[TutorRow]:
    """Raises ValueError for a row of a document that is not there."""
    path, known = folder / "tutor" / f"{split}.jsonl", documents(folder)
    rows = read_jsonl(path, TutorRow)
    for number, row in enumerate(rows, start=1):
        _known_documents(path, number, known, row.document)
    return rows


def tutor_examples(split: str, folder: Path = DATA) -> list[Example]:
    """Tutor rows in the format of serving."""
    known, found = documents(folder), []
    for row in tutor_rows(split, folder):
        text = known[row.document].text if row.document else None
        found.append(Example(prompts.tutor_prompt(row.question, text), prompts.completion(Task.TUTOR, row.answer)))
    return found


def _known_documents(path: Path, number: int, known: dict[str, Document], *names: str | None) -> None:
    for name in names:
        if name is not None and name not in known:
            raise ValueError(f"{_named(path)} row {number}: there is no document {name!r}")


def combinations(split: str, folder: Path = DATA) -> list[Combination]:
    """Lines ``[key: value] prompt``."""
    path = folder / "memory" / f"combinations_{split}.txt"
    return [_combination(path, number, line) for number, line in _lines(path)]


def _combination(path: Path, number: int, line: str) -> Combination:
    item, _, prompt = line.partition("] ")
    parsed = memories.parse(item + "]")
    if not parsed or not prompt.strip():
        raise ValueError(f"{_named(path)} line {number}: expected '[key: value] prompt', found {line!r}")
    return Combination(key=parsed[0], value=parsed[1], prompt=prompt.strip())


def key_prompts(name: str = "key_prompts", folder: Path = DATA) -> dict[str, list[str]]:
    """Prompts by key (``key_prompts``), or by value of the key 상태 (``state_prompts``): lines ``key: prompt | prompt``."""
    path = folder / "memory" / f"{name}.txt"
    found: dict[str, list[str]] = {}
    for number, line in _lines(path):
        key, colon, rest = line.partition(": ")
        if not colon:
            raise ValueError(f"{_named(path)} line {number}: expected 'key: prompt | prompt', found {line!r}")
        found.setdefault(key, []).extend(prompt.strip() for prompt in rest.split(" | "))
    return found


def smalltalk(folder: Path = DATA) -> list[str]:
    """Prompts that are about no memory."""
    return [line for _, line in _lines(folder / "memory" / "smalltalk.txt")]


def key_groups(folder: Path = DATA) -> dict[str, KeyGroup]:
    path, found = folder / "memory" / "keys.csv", {}
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                found[row["key"]] = KeyGroup.model_validate(row)
            except (KeyError, ValidationError) as error:
                raise ValueError(f"{_named(path)} line {number}: {error}") from error
    return found


def augment_file(name: str, folder: Path = DATA) -> dict:
    """A YAML file of ``data/augment``: values, patterns or synonyms."""
    return yaml.safe_load((folder / "augment" / f"{name}.yaml").read_text(encoding="utf-8"))
