"""Writes what stands beside shipped models: MODEL_CARD.md and checksums.sha256. Knows nothing about training."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from training import bases, config, data_files
from training.config import Preset

CHECKSUMS = "checksums.sha256"
_ENCODERS = {
    "static": "a sentence-transformers folder: the mean of learned vectors of jamo pieces",
    "ngrams": "the sum of learned vectors of letter n-grams (`ohlora.encoders`)",
    "bert": "a sentence-transformers folder: a small BERT over jamo pieces",
}


def checksums(folder: Path) -> None:
    """``sha256sum -c`` lines for every file of ``folder`` but the list itself, sorted by relative path."""
    found = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    files = sorted(p for p in found if p.name != CHECKSUMS and not any(part.startswith(".") for part in p.parts))
    lines = [f"{hashlib.sha256((folder / p).read_bytes()).hexdigest()}  {p.as_posix()}" for p in files]
    (folder / CHECKSUMS).write_text("\n".join(lines) + "\n", encoding="utf-8")


def renew(preset: Preset) -> None:
    """Writes the checksums of the preset's models again, where there are any: a part was trained anew, and serving compares them."""
    folder = bases.place(preset)
    if (folder / CHECKSUMS).exists():
        checksums(folder)


def main(folder: Annotated[Path, typer.Argument(help="Folder of shipped models")]) -> None:
    """Write the checksums of a folder again, after a file in it was made anew.

    Example: python -m training.card models/tiny
    """
    checksums(folder)


def size(folder: Path) -> float:
    """Megabytes of all files."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


def _seconds(preset: Preset) -> dict[str, int]:
    runs = config.root() / "runs" / preset.name
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))["seconds"]
        for path in sorted(runs.glob("*/seconds.json"))
        if path.parent.name.startswith(("base-", "sft-", "sbert-", "all"))
    }


def _rows(figures: dict[str, Any]) -> str:
    lines = ["| model | figure | value |", "|---|---|---|"]
    for model, found in figures.items():
        lines += [
            f"| {model} | {name} | {value:.4g} |" for name, value in found.items() if isinstance(value, (int, float))
        ]
    return "\n".join(lines)


def describe(preset: Preset, figures: dict[str, Any], thresholds: dict[str, Any]) -> None:
    """Writes what stands beside a preset's models: thresholds to serve, the card of models made from nothing, checksums."""
    folder = bases.place(preset)
    if thresholds:
        bases.write_json(folder / "thresholds.json", thresholds)
    if preset.bases and {"ethics", "memory"} <= thresholds.keys() and _seconds(preset):
        write(preset, figures, thresholds)
    checksums(folder)


def write(preset: Preset, figures: dict[str, Any], thresholds: dict[str, Any]) -> None:
    """The card of models made from nothing, with the seconds that their runs took."""
    folder = bases.place(preset)
    seconds = _seconds(preset)
    whole = seconds.pop("all", None) or sum(seconds.values())
    steps = "\n".join(f"| {name} | {value} |" for name, value in seconds.items())
    encoders = "\n".join(f"| `{kind}_sbert` | {_ENCODERS[part.encoder.kind]} |" for kind, part in preset.sbert.items())
    text = f"""# Small models of Oh-LoRA Serve

Made from nothing, from this project's own data (`training/data`, see its card), on two CPU cores, so that a clone answers at once.
They show that everything works; they know little beyond their data. Each is of the same architecture as the real one.

| folder | what it is |
|---|---|
| `llama` | LlamaForCausalLM, base of `output_message`, `tutor` and `summary` |
| `gpt-neox` | GPTNeoXForCausalLM, base of `memory` and `eyes_mouth_pose` |
| `adapters/*` | LoRA adapters (peft), one per task |
{encoders}
| `documents` | the tutor's documents with their embeddings by `rag_sbert` |
| `thresholds.json` | thresholds to serve, chosen on validation data |

Weights are bfloat16; all together {size(folder):.1f} MB. The encoders are means and sums because our rows teach those more
than a transformer made from nothing (compare with `--set encoder.kind=bert`).

## Made by

    make models

| step | seconds |
|---|---|
{steps}
| all of them, {preset.workers} at once | {whole} |

## Data

Dialogue: {len(data_files.dialogue("train"))} training and {len(data_files.dialogue("valid"))} validation rows; ethics:
{len(data_files.ethics("train"))} and {len(data_files.ethics("test"))} test prompts; memory combinations:
{len(data_files.combinations("train"))} and {len(data_files.combinations("test"))}, and {sum(map(len, data_files.key_prompts().values()))} prompts by key; tutor:
{len(data_files.documents())} documents, {len(data_files.questions("train"))} and {len(data_files.questions("test"))} questions. The bases read the training rows in the task formats
with values exchanged and inputs varied; no test or validation row was trained on.

## Figures

Language models on the validation rows (greedy), S-BERTs on the test rows, at the thresholds below.

{_rows(figures)}

Thresholds: `{json.dumps({k: v for k, v in thresholds.items() if k != "reason"}, ensure_ascii=False)}`; {thresholds["reason"]}.

## Limits

Korean small talk in the manner of the data only. Facts, arithmetic, long texts and anything unusual come out wrong. The tutor reads
its document out at best, and mixes words of others in now and then. A document that was not trained on is found by the words that
a question shares with it, not by what it means. The ethics model is no safeguard by itself. The names and
values in the data are made up.
"""
    (folder / "MODEL_CARD.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
