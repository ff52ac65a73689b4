"""What the tiny language models read: our rows in the task formats, drawn anew for every epoch.

Knows nothing about tokenizers or models. Only training splits are read. A document is a prompt and its completion; plain text
is a document with an empty prompt.
"""

import random
from pathlib import Path

from ohlora import ethics
from ohlora.prompts import Example, Task
from training import data_files, substitute
from training.augment import vary_example
from training.data_files import DialogueRow

_SHARES: dict[Task, dict[str, float]] = {  # drawn examples per written row
    Task.ANSWER: {"asked": 0.35, "refused": 0.22, "exchanged": 0.6},
    Task.MEMORY: {"told": 1.2, "asked": 0.2, "exchanged": 0.6, "smalltalk": 0.1, "abusive": 0.1},
    Task.SUMMARY: {"exchanged": 0.3},
    Task.POSE: {},
}


class Corpus:
    """Training examples by task. ``draw`` gives one epoch of a task: every written row once, and drawn ones beside them."""

    def __init__(self, folder: Path = data_files.DATA / "dialogue", *, varied: float = 0.5) -> None:
        self.folder = folder
        self.rows = data_files.read_jsonl(folder / "train.jsonl", DialogueRow)
        self.smalltalk = data_files.smalltalk()
        self.combinations = data_files.combinations("train")
        self.ethics = data_files.ethics("train")
        self.abusive = [(row.prompt, row.category) for row in self.ethics if row.category != ethics.NORMAL]
        self.varied = varied

    def draw(self, task: Task, rng: random.Random) -> list[Example]:
        shares = _SHARES[task]
        found = [row.example(task) for row in self.rows]
        exchangeable = [row for row in self.rows if "[" in row.input or row.memory]
        for row in rng.choices(exchangeable, k=self._count(shares.get("exchanged", 0))):
            other = substitute.exchange(row, rng)
            if other is not row:
                found.append(other.example(task))
        found += [substitute.told(rng) for _ in range(self._count(shares.get("told", 0)))]
        found += [substitute.asked(rng, task) for _ in range(self._count(shares.get("asked", 0)))]
        found += [substitute.refused(rng, self.abusive) for _ in range(self._count(shares.get("refused", 0)))]
        nothing = rng.choices(self.smalltalk, k=self._count(shares.get("smalltalk", 0)))
        nothing += [prompt for prompt, _ in rng.choices(self.abusive, k=self._count(shares.get("abusive", 0)))]
        found += [substitute.untold(substitute.with_time(prompt, rng)) for prompt in nothing]
        found = [vary_example(example, rng, self.varied) for example in found]
        rng.shuffle(found)
        return found

    def written(self, task: Task, rng: random.Random) -> list[Example]:
        """One epoch of the rows as they are written."""
        return [row.example(task) for row in rng.sample(self.rows, len(self.rows))]

    def validation(self, task: Task) -> list[Example]:
        return [row.example(task) for row in data_files.read_jsonl(self.folder / "valid.jsonl", DialogueRow)]

    def _count(self, share: float) -> int:
        return round(share * len(self.rows))

    def plain(self) -> list[str]:
        """Sentences without a format, for language modelling."""
        found = [row.prompt for row in self.ethics] + [c.prompt for c in self.combinations] + self.smalltalk
        return found

    def tokenizer_text(self, seed: int) -> list[str]:
        """Text from which a tokenizer learns its pieces."""
        rng = random.Random(seed)
        written = [example.prompt + example.completion for task in _SHARES for example in self.draw(task, rng)]
        lists = [f" {value}" for found in substitute.values().values() for value in found]
        return written + self.plain() + lists * 3
