"""Evaluates every trained model of a preset on our own splits, beside the reference's figures (system.md §9).

Language models on the validation rows, S-BERTs on the test rows; thresholds are chosen on what training kept for validation.
Knows nothing about training. Figures and plots go to runs/<preset>/evaluate.
"""

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from peft import PeftModel
from rich.table import Table

from ohlora import answers, clock, encoders, ethics, memories
from ohlora.pose import Pose
from ohlora.prompts import Example, Task
from training import (
    bases,
    card,
    commands,
    config,
    data_files,
    generate,
    measure,
    plots,
    sbert,
    sft,
    text_bases,
    thresholds,
)
from training.config import ConfigError, Preset
from training.runs import Run

REFERENCE = {
    "memory_sbert": {"mse": 0.0355, "mae": 0.1280, "correlation": 0.7449, "right_first": 0.50, "precision": 0.60},
    "ethics_sbert": {"mse": 0.0138, "mae": 0.0261, "correlation": 0.9568, "accuracy": 0.9632},
    "rag_sbert": {"mse": 0.0274, "mae": 0.1192, "correlation": 0.868, "right_first_of_graded": 0.914},
}
FALSE_POSITIVES = 0.005  # half of the 1 % that are allowed: a rate found on some rows is another on others
PRECISION = 0.95
Figures = dict[str, Any]


def _share(found: Sequence[bool] | NDArray[np.bool_]) -> float | None:
    """How many of ``found`` are true; None of nothing, because NaN is no JSON."""
    return float(np.mean(found)) if len(found) else None


def ethics_figures(preset: Preset, folder: Path) -> Figures:
    """Test figures, and thresholds chosen on validation."""
    model = encoders.load(bases.place(preset, "ethics_sbert"))
    names = preset.sbert["ethics"].categories
    keys = {c.label: c.key for c in ethics.EthicsPolicy().categories}
    _, kept = sbert.ethics_split(preset.sbert["ethics"], preset.seed)
    kept_scores = measure.category_matrix(model, [row.prompt for row in kept], names)
    kept_labels = measure.wanted_categories(kept, names).argmax(1)
    chosen = thresholds.ethics(kept_scores, kept_labels, names, keys, rate=FALSE_POSITIVES / 4, least=0.6)
    rows = [row for row in data_files.ethics("test") if row.category in names]
    scores = measure.category_matrix(model, [row.prompt for row in rows], names)
    wanted = measure.wanted_categories(rows, names)
    labels, guessed = wanted.argmax(1), scores.argmax(1)
    fired = measure.shipped_verdict(scores, names, chosen)
    normal = labels == len(names) - 1
    figures: Figures = measure.regression(scores, wanted)
    figures["accuracy"] = float(np.mean(labels == guessed))
    figures["false_positive_rate"] = _share([bool(f) for f, n in zip(fired, normal, strict=True) if n])
    figures["thresholds"] = chosen
    figures["by_category"] = {
        name: {
            "recall": _share(guessed[labels == i] == i),
            "precision": _share(labels[guessed == i] == i),
            "recall_at_threshold": _share(
                [keys[name] in f for f, label in zip(fired, labels, strict=True) if label == i]
            )
            if name in keys
            else None,
        }
        for i, name in enumerate(names)
    }
    short = [keys.get(name, "normal") for name in names]
    plots.confusion(labels, guessed, short, folder / "ethics_confusion.png")
    plots.distributions(scores, labels, short, chosen, folder / "ethics_scores.png")
    plots.predicted(scores, wanted, folder / "ethics_predicted.png")
    return figures


def memory_figures(preset: Preset, folder: Path) -> Figures:
    """Test figures, and the threshold chosen on validation."""
    model = encoders.load(bases.place(preset, "memory_sbert"))
    _, kept = sbert.memory_split(preset.sbert["memory"], preset.seed)
    found, wanted = measure.memory_matrices(model, kept)
    talk = measure.talk_matrix(model, sbert.held_smalltalk(), kept)
    threshold = thresholds.memory(found, wanted, talk, precision=PRECISION, least=0.7)
    rows = data_files.combinations("test")
    found, wanted = measure.memory_matrices(model, rows)
    figures: Figures = measure.retrieval(model, rows, [])
    first = found.argmax(1)
    highest = found[np.arange(len(rows)), first]
    right = wanted[np.arange(len(rows)), first] > 0.99
    hits = highest >= threshold
    figures |= {
        "threshold": threshold,
        "fires": int(hits.sum()),
        "right": int((hits & right).sum()),
        "prompts": len(rows),
        "precision": float((hits & right).sum() / max(hits.sum(), 1)),
        "recall": float((hits & right).sum() / len(rows)),
        "validation_smalltalk_fires": float(np.mean(talk.max(1) >= threshold)),
    }
    plots.predicted(found, wanted, folder / "memory_predicted.png")
    return figures


def rag_figures(preset: Preset, folder: Path) -> Figures:
    """Test figures, and the threshold: the lowest from 0.5 (system.md §8) at which 2 % of kept small talk finds a document at most."""
    model = encoders.load(bases.place(preset, "rag_sbert"))
    documents = data_files.documents()
    texts = measure.embed(model, [document.text for document in documents.values()])
    kept = sbert.held_smalltalk() + [row.prompt for row in data_files.dialogue("valid")]
    talk = measure.embed(model, kept) @ texts.T
    threshold = thresholds.lowest(talk.max(1), 0.02, least=0.5)
    rows = data_files.questions("test")
    figures, scores, graded = measure.rag(model, rows, documents)
    best = (measure.embed(model, [row.question for row in rows]) @ texts.T).max(1)
    plots.predicted(scores, graded, folder / "rag_predicted.png")
    return figures | {"threshold": threshold, "answered": float(np.mean(best >= threshold))}


def language_figures(preset: Preset, task: Task, run: Run) -> Figures:
    """Loss and perplexity of the completions, and what their form and content are worth."""
    part = preset.sft[task]
    base = bases.prepared(part, preset)
    tokenizer = bases.tokenizer(base)
    adapter = bases.place(preset, "adapters", task.value)
    model = PeftModel.from_pretrained(bases.for_inference(base, part), str(adapter)).eval()
    rows = sft.corpus_of(part).validation(task)
    encoded = [text_bases.encode(tokenizer, row) for row in rows]
    figures: Figures = {"validation_loss": text_bases.mean_loss(model, encoded, 2048, tokenizer.pad_token_id)}
    figures["perplexity"] = math.exp(figures["validation_loss"])
    written = generate.outputs(model, tokenizer, [row.prompt for row in rows], task)
    for row, text in random.Random(preset.seed).sample(list(zip(rows, written, strict=True)), min(6, len(rows))):
        run.note(f"{row.prompt} => {text}")
    ended = [not text.endswith("…") for text in written]
    figures["ended"] = float(np.mean(ended))
    if task is Task.POSE:
        figures["well_formed"] = float(
            np.mean([Pose.parse(text) is not None and e for text, e in zip(written, ended, strict=True)])
        )
        figures["exact"] = float(np.mean([text == _text(row, task) for row, text in zip(rows, written, strict=True)]))
    if task is Task.MEMORY:
        figures |= memory_scores([_text(row, task) for row in rows], written)
    if task in (Task.ANSWER, Task.TUTOR):
        now = clock.dt.datetime(2026, 1, 1, 12)
        figures["refused_by_rules"] = float(np.mean([answers.refusal(answers.clean(t), now) in _FORM for t in written]))
    return figures


_FORM = (answers.Refusal.EMPTY, answers.Refusal.LEFTOVER_MARK, answers.Refusal.LINK)


def _text(row: Example, task: Task) -> str:
    return row.completion.removesuffix(task.stop_mark).strip()


def memory_scores(wanted: list[str], written: list[str]) -> Figures:
    """Form, F1 of the key and of key and value together, and how often nothing is rightly kept."""
    pairs_ = [
        (memories.parse(w) if w else None, memories.parse(t) if t else None)
        for w, t in zip(wanted, written, strict=True)
    ]
    well_formed = np.mean([not text or memories.parse(text) is not None for text in written])

    def f1(right: int) -> float:
        told, kept = sum(w is not None for w, _ in pairs_), sum(t is not None for _, t in pairs_)
        return 2 * right / max(told + kept, 1)

    return {
        "well_formed": float(well_formed),
        "key_f1": f1(sum(w is not None and t is not None and w[0] == t[0] for w, t in pairs_)),
        "item_f1": f1(sum(w is not None and w == t for w, t in pairs_)),
        "nothing_right": _share([t is None for w, t in pairs_ if w is None]),
    }


def evaluate(preset: Preset) -> Figures:
    """Every model of the preset that is at its place."""
    run = Run(preset, "evaluate")
    run.describe()
    found: Figures = {}
    if "ethics" in preset.sbert and bases.place(preset, "ethics_sbert").exists():
        found["ethics_sbert"] = ethics_figures(preset, run.folder)
    if "memory" in preset.sbert and bases.place(preset, "memory_sbert").exists():
        found["memory_sbert"] = memory_figures(preset, run.folder)
    if "rag" in preset.sbert and bases.place(preset, "rag_sbert").exists():
        found["rag_sbert"] = rag_figures(preset, run.folder)
    for task in preset.sft:
        if bases.place(preset, "adapters", task.value).exists():
            found[task.value] = language_figures(preset, task, run)
    if not found:
        raise ConfigError(
            f"nothing is trained yet in {bases.place(preset)}: python -m training.run --preset {preset.name}, or name the folder "
            "with --set output=…"
        )
    run.figures(found)
    show(found, run)
    return found


def show(found: Figures, run: Run) -> None:
    """On the screen and in report.md."""
    table = Table("model", "figure", "ours", "reference")
    lines = ["| model | figure | ours | reference |", "|---|---|---|---|"]
    for model, figures in found.items():
        for name, value in figures.items():
            if isinstance(value, (int, float)):
                reference = REFERENCE.get(model, {}).get(name)
                cells = (model, name, f"{value:.4f}", "" if reference is None else f"{reference:.4f}")
                table.add_row(*cells)
                lines.append(f"| {' | '.join(cells)} |")
    run.console.print(table)
    (run.folder / "report.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    if "ethics_sbert" in found:
        run.console.print(json.dumps(found["ethics_sbert"]["by_category"], ensure_ascii=False, indent=1))
    if served := thresholds_to_serve(found):
        run.console.print("thresholds to serve:", json.dumps(served, ensure_ascii=False, indent=1))


def thresholds_to_serve(found: Figures) -> Figures:
    """What thresholds.json beside the models says; nothing where no S-BERT was evaluated."""
    chosen = {
        "ethics": found.get("ethics_sbert", {}).get("thresholds"),
        "memory": found.get("memory_sbert", {}).get("threshold"),
        "rag": found.get("rag_sbert", {}).get("threshold"),
    }
    reasons = {
        "ethics": f"per category the lowest (from 0.6) that at most {FALSE_POSITIVES / 4:.3%} of normal prompts reach, "
        f"{FALSE_POSITIVES:.1%} for the four together",
        "memory": f"the lowest (from 0.7: a wrong memory is worse than none) at which {PRECISION:.0%} of the hits are right and at "
        "most 2 % of small talk is one",
        "rag": "the lowest (from 0.5) that 2 % of kept small talk reach",
    }
    known: Figures = {name: value for name, value in chosen.items() if value is not None}
    if known:
        known["reason"] = "chosen on validation data. " + "; ".join(f"{name}: {reasons[name]}" for name in known)
    return known


def main(
    preset: Annotated[str, typer.Option(help="v2, v3, v4, tutor, tiny, or a YAML file")] = "v4",
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override a field: --set output=runs/mine")] = None,
    write: Annotated[
        bool, typer.Option(help="Put thresholds.json, the card and checksums beside the models, as training.run does")
    ] = False,
) -> None:
    """Evaluate the trained models of a preset; print and save figures and plots.

    Thresholds are chosen on the rows that training kept, which seed and data decide: both must be those of the training.

    Example: python -m training.evaluate --preset tiny
    """
    with commands.errors_told():
        chosen = config.load(preset, set_)
        if chosen.threads:
            torch.set_num_threads(chosen.threads * chosen.workers)
        found = evaluate(chosen)
        if write:
            card.describe(chosen, found, thresholds_to_serve(found))


if __name__ == "__main__":
    typer.run(main)
