"""Checks training/data: schema, formats, the time prefix rule, duplicates, test rows that are too near to training rows, and real
persons' names.

Knows nothing about models. A finding names the file and the row; the command ends with 1 when there is one.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ohlora import answers, memories, prompts
from ohlora.pose import Pose
from ohlora.prompts import OHLORA_SUMMARY
from training import data_files, ethics_frames, pairs
from training.data_files import DialogueRow

NEAR = 0.75  # Jaccard similarity of letter trigrams from which a test row counts as a copy of a training row
_DAY_WORDS = re.compile("오늘|내일|지금|요일|이따|휴일")
_NAMES = Path(__file__).parent / "public_figures.txt"  # well-known persons; ordinary names are everybody's
_TEXTS = ("*.jsonl", "*.txt", "*.csv", "*.yaml")
_REPEATED = 60  # one answer may stand in this many rows at most
_DRAWN = 20_000  # prompts of each category that are drawn for the comparison with the test rows


def row_errors(row: DialogueRow) -> Iterator[str]:
    """What is wrong with one dialogue row."""
    prompt = row.prompt
    if bool(_DAY_WORDS.search(prompt)) != row.timed:
        yield "time prefix is missing" if not row.timed else "time prefix without a day word"
    if prompts.neutralise(prompt) != " ".join(prompt.split()):
        yield f"prompt holds control text: {prompt!r}"
    if row.with_item and OHLORA_SUMMARY in row.input:
        yield "a memory and a summary together"
    if row.memory and memories.parse(row.memory) is None:
        yield f"memory is not [key: value]: {row.memory!r}"
    if row.memory and row.memory != memories.item_text(*(memories.parse(row.memory) or ("", ""))):
        yield f"memory is spaced otherwise than [key: value]: {row.memory!r}"
    if Pose.parse(row.pose) is None or str(Pose.parse(row.pose)) != row.pose:
        yield f"pose is none of the 36: {row.pose!r}"
    if (
        any(word in row.answer for word in ("http", "(사용자", "요약", "답변 종료"))
        or answers.clean(row.answer) != row.answer
    ):
        yield f"answer would be refused or cleaned: {row.answer!r}"
    if any(mark in text for mark in prompts.CONTROL_MARKS for text in (row.answer, row.summary)):
        yield "answer or summary holds control text"


def dialogue_errors(folder: Path, split: str) -> Iterator[str]:
    seen: dict[str, str] = {}
    repeated: Counter[str] = Counter()
    for path in data_files.dialogue_files(folder / "dialogue", split):
        for number, row in enumerate(data_files.read_jsonl(path, DialogueRow), start=1):
            place = f"dialogue/{path.stem} row {number}"
            for error in row_errors(row):
                yield f"{place}: {error}"
            if row.input in seen:
                yield f"{place}: same input as {seen[row.input]}"
            seen[row.input] = place
            repeated[row.answer] += 1
    for answer, count in repeated.items():
        if count > _REPEATED:
            yield f"dialogue/{split}: {count} rows have the answer {answer!r}"


def trigrams(text: str) -> frozenset[str]:
    """Letter trigrams without spaces and signs."""
    plain = "".join(c for c in text.casefold() if c.isalnum())
    return frozenset(plain[i : i + 3] for i in range(max(len(plain) - 2, 1)))


def near(training: list[str], held: list[str], limit: float = NEAR) -> Iterator[tuple[int, int, float]]:
    """Index of held text, index of the nearest training text, and their similarity, where it reaches ``limit``."""
    sets = [trigrams(text) for text in training]
    where: dict[str, list[int]] = {}
    for index, grams in enumerate(sets):
        for gram in grams:
            where.setdefault(gram, []).append(index)
    for index, text in enumerate(held):
        grams = trigrams(text)
        shared = Counter(other for gram in grams for other in where.get(gram, ()))
        likeness = {other: count / (len(grams) + len(sets[other]) - count) for other, count in shared.items()}
        other = max(likeness, key=likeness.__getitem__, default=-1)
        if other >= 0 and likeness[other] >= limit:
            yield index, other, likeness[other]


def split_errors(name: str, training: list[str], held: list[str]) -> Iterator[str]:
    for index, other, similarity in near(training, held):
        yield f"{name} row {index + 1}: {held[index]!r} is {similarity:.2f} like training row {other + 1}: {training[other]!r}"


def ethics_errors(folder: Path) -> Iterator[str]:
    seen: set[str] = set()
    for split in ("train", "test"):
        for number, row in enumerate(data_files.ethics(split, folder), start=1):
            if row.prompt in seen:
                yield f"ethics/{split} row {number}: prompt is there already: {row.prompt!r}"
            seen.add(row.prompt)


def memory_errors(folder: Path) -> Iterator[str]:
    known = data_files.key_groups(folder)
    seen: set[str] = set()
    for split in ("train", "test"):
        for number, row in enumerate(data_files.combinations(split, folder), start=1):
            if row.key not in known:
                yield f"memory/combinations_{split} row {number}: key {row.key!r} is not in keys.csv"
            if row.prompt in seen:
                yield f"memory/combinations_{split} row {number}: prompt is there already: {row.prompt!r}"
            seen.add(row.prompt)


def tutor_errors(folder: Path) -> Iterator[str]:
    for split in ("train", "test"):
        for number, question in enumerate(data_files.questions(split, folder), start=1):
            if question.document in question.grades:
                yield f"tutor/questions_{split} row {number}: the document is its own distractor"
    for split in ("train", "valid"):
        for number, row in enumerate(data_files.tutor_rows(split, folder), start=1):
            if answers.clean(row.answer) != row.answer or any(m in row.answer for m in prompts.CONTROL_MARKS):
                yield f"tutor/{split} row {number}: answer would be refused or cleaned: {row.answer!r}"


def augment_errors(folder: Path) -> Iterator[str]:
    """Patterns and frames that could not be filled."""
    known = data_files.augment_file("values", folder)
    patterns = data_files.augment_file("patterns", folder)
    for section in ("tell", "ask", "ask_today"):
        for key, found in patterns[section].items():
            if key not in known:
                yield f"augment/patterns.yaml {section}: no value is known for {key}; add some to values.yaml"
            for pattern in found:
                if section != "tell" and pattern.count(" => ") != 1:
                    yield f"augment/patterns.yaml {section} {key}: expected 'question => answer', found {pattern!r}"
                if {"{", "}"} & {*re.sub(r"\{v(\|[^|{}]*\|[^|{}]*)?\}", "", pattern)}:
                    yield f"augment/patterns.yaml {section} {key}: a slot is {{v}} or {{v|이|가}}, found {pattern!r}"
    frames = data_files.augment_file("ethics_frames", folder)
    for category, found in frames["frames"].items():
        for frame in found:
            if strange := {*re.findall(r"\{(\w+)", frame)} - frames["slots"].keys():
                yield f"augment/ethics_frames.yaml {category}: no slot {', '.join(sorted(strange))} for {frame!r}"


def name_errors(folder: Path) -> Iterator[str]:
    """Lines that name a real person, in any file of the data. Names that are parts of ordinary words are not in the list."""
    known = re.compile("|".join(map(re.escape, _NAMES.read_text(encoding="utf-8").split("\n")[:-1])))
    for path in sorted(path for kind in _TEXTS for path in folder.rglob(kind)):
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            if found := known.search(line):
                yield f"{path.relative_to(folder)} line {number}: names a real person, {found.group()}; write it without the name"


def check(folder: Path = data_files.DATA) -> list[str]:
    """Every finding in ``folder``."""
    rows = {split: data_files.dialogue(split, folder) for split in ("train", "valid")}
    found = [error for split in rows for error in dialogue_errors(folder, split)]
    found += split_errors("dialogue/valid", *([row.input for row in rows[split]] for split in ("train", "valid")))
    found += [
        *ethics_errors(folder),
        *memory_errors(folder),
        *tutor_errors(folder),
        *augment_errors(folder),
        *name_errors(folder),
    ]
    pairs.written_prompts(folder)  # every key has a value
    judged = {s: [r.prompt for r in data_files.ethics(s, folder)] for s in ("train", "test")}
    found += split_errors("dialogue/valid prompts", judged["train"], [row.prompt for row in rows["valid"]])
    rng = random.Random(0)
    drawn = [ethics_frames.draw(name, rng) for name in ethics_frames.categories() for _ in range(_DRAWN)]
    judged["train"] += pairs.unrefused_prompts(folder) + drawn
    found += split_errors("ethics/test", judged["train"], judged["test"])
    combos = {s: [r.prompt for r in data_files.combinations(s, folder)] for s in ("train", "test")}
    combos["train"] += [r.prompt for r in pairs.told_combinations(folder)]
    for name in ("key_prompts", "state_prompts"):
        combos["train"] += [p for prompts_ in data_files.key_prompts(name, folder).values() for p in prompts_]
    found += split_errors("memory/combinations_test", combos["train"], combos["test"])
    asked = {split: [row.question for row in data_files.questions(split, folder)] for split in ("train", "test")}
    found += split_errors("tutor/questions_test", asked["train"], asked["test"])
    told = {s: [r.question for r in data_files.tutor_rows(s, folder)] for s in ("train", "valid")}
    found += split_errors("tutor/valid", told["train"] + asked["train"], told["valid"])
    return found


def main(folder: Annotated[Path, typer.Option(help="Folder with the data")] = data_files.DATA) -> None:
    """Check the training data; print what is wrong and end with 1 when something is.

    Example: python -m training.check_data
    """
    console = Console()
    try:
        found = check(folder)
    except (ValueError, OSError) as error:
        found = [str(error)]
    for finding in found:
        console.print(finding, markup=False, highlight=False)
    console.print(f"{len(found)} findings" if found else "the data is fine")
    raise typer.Exit(1 if found else 0)


if __name__ == "__main__":
    typer.run(main)
