"""What the tiny language models read: our rows in the task formats, drawn anew for every epoch.

Knows nothing about tokenizers or models. Only training splits are read. A document is a prompt and its completion; plain text
is a document with an empty prompt.
"""

import random
from pathlib import Path

from ohlora import ethics, prompts
from ohlora.prompts import Example, Task
from training import data_files, substitute
from training.augment import vary_example
from training.data_files import DialogueRow

_SHARES: dict[Task, dict[str, float]] = {  # examples per written row; of the rows as written all, where nothing is said
    Task.ANSWER: {"asked": 0.2, "refused": 0.12, "exchanged": 0.3},
    Task.MEMORY: {"told": 0.85, "asked": 0.14, "exchanged": 0.4, "smalltalk": 0.07, "abusive": 0.07},
    Task.SUMMARY: {"written": 0.4, "exchanged": 0.1},  # the answer task reads the same prompts and answers
    Task.POSE: {},
    Task.TUTOR: {},
}
_OTHER_SUMMARY = 0.4  # of the rows without context get the summary of another row, which says nothing about them
_PLAIN = 9000  # ethics prompts among plain sentences, about
_QUOTED = 600  # tutor answers in the document's own words, in every epoch
_SELF_CONTAINED = 6  # letters from which a prompt is understood by itself: 왜? is about the turn before


class Corpus:
    """Training examples by task. ``draw`` gives one epoch of a task: the written rows, and drawn ones beside them."""

    def __init__(self, folder: Path = data_files.DATA / "dialogue", *, varied: float = 0.5) -> None:
        self.folder, self.data = folder, folder.parent
        self.rows = data_files.dialogue_rows(folder, "train")
        self.smalltalk = data_files.smalltalk()
        self.combinations = data_files.combinations("train")
        self.ethics = data_files.ethics("train")
        self.abusive = [(row.prompt, row.category) for row in self.ethics if row.category != ethics.NORMAL]
        self.varied = varied

    def draw(self, task: Task, rng: random.Random) -> list[Example]:
        if task is Task.TUTOR:
            found = self._tutor(rng) + [substitute.quoted(rng) for _ in range(_QUOTED)]
            rng.shuffle(found)
            return [vary_example(example, rng, self.varied) for example in found]
        shares = _SHARES[task]
        rows = rng.sample(self.rows, self._count(shares.get("written", 1)))
        if task is not Task.POSE:
            rows = [self._continued(row, rng) for row in rows]
        found = [row.example(task) for row in rows]
        exchangeable = [row for row in self.rows if "[" in row.input or row.memory]
        for row in rng.choices(exchangeable, k=self._count(shares.get("exchanged", 0))):
            other = substitute.exchange(row, rng)
            if other is not row:
                found.append(other.example(task))
        found += [substitute.told(rng, self._summary(rng)) for _ in range(self._count(shares.get("told", 0)))]
        found += [substitute.asked(rng, task) for _ in range(self._count(shares.get("asked", 0)))]
        for _ in range(self._count(shares.get("refused", 0))):
            found.append(substitute.refused(rng, self.abusive, self._summary(rng)))
        nothing = rng.choices(self.smalltalk, k=self._count(shares.get("smalltalk", 0)))
        nothing += [prompt for prompt, _ in rng.choices(self.abusive, k=self._count(shares.get("abusive", 0)))]
        found += [substitute.untold(substitute.with_time(prompt, rng)) for prompt in nothing]
        found = [vary_example(example, rng, self.varied) for example in found]
        rng.shuffle(found)
        return found

    def _continued(self, row: DialogueRow, rng: random.Random) -> DialogueRow:
        """``row``, sometimes behind a turn about something else: the topic of a session changes at any time."""
        prompt = row.input
        alone = not prompt.startswith(("[", prompts.OHLORA_SUMMARY))
        if not alone or sum(c.isalnum() for c in prompt) < _SELF_CONTAINED:
            return row
        return row.model_copy(update={"input": prompts.answer_input(prompt, summary=self._summary(rng))})

    def _summary(self, rng: random.Random) -> str | None:
        return rng.choice(self.rows).summary if rng.random() < _OTHER_SUMMARY else None

    def _tutor(self, rng: random.Random) -> list[Example]:
        found = data_files.tutor_examples("train", self.data)
        return rng.sample(found, len(found))

    def written(self, task: Task, rng: random.Random) -> list[Example]:
        """One epoch of the rows as they are written."""
        if task is Task.TUTOR:
            return self._tutor(rng)
        return [row.example(task) for row in rng.sample(self.rows, len(self.rows))]

    def validation(self, task: Task) -> list[Example]:
        if task is Task.TUTOR:
            return data_files.tutor_examples("valid", self.data)
        return [row.example(task) for row in data_files.dialogue_rows(self.folder, "valid")]

    def _count(self, share: float) -> int:
        return round(share * len(self.rows))

    def plain(self) -> list[str]:
        """Sentences without a format, for language modelling; of the ethics prompts some, so that abuse does not prevail."""
        spread = self.ethics[:: max(1, len(self.ethics) // _PLAIN)]
        return [row.prompt for row in spread] + [c.prompt for c in self.combinations] + self.smalltalk

    def tokenizer_text(self, seed: int) -> list[str]:
        """Text from which a tokenizer learns its pieces."""
        rng = random.Random(seed)
        written = [example.prompt + example.completion for task in _SHARES for example in self.draw(task, rng)]
        lists = [f" {value}" for found in substitute.values().values() for value in found]
        return written + self.plain() + lists * 3
