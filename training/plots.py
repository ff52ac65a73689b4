"""Plots of a training or an evaluation, written as PNG without a display. Knows nothing about models."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def losses(records: list[dict[str, Any]], path: Path) -> None:
    """Training and validation loss over steps."""
    figure, axes = plt.subplots(figsize=(6, 4))
    for name in ("loss", "eval_loss"):
        points = [(r["step"], r[name]) for r in records if name in r and "step" in r]
        if points:
            axes.plot(*zip(*points, strict=True), label=name, marker=".")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.legend()
    _save(figure, path)


def confusion(wanted: Any, guessed: Any, names: list[str], path: Path) -> None:
    """Counts of given category (rows) against guessed category (columns)."""
    counts = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(counts, (wanted, guessed), 1)
    figure, axes = plt.subplots(figsize=(5, 4.5))
    axes.imshow(np.sqrt(counts), cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, str(count), ha="center", va="center")
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("guessed")
    axes.set_ylabel("given")
    _save(figure, path)


def distributions(scores: Any, labels: Any, names: list[str], thresholds: dict[str, float], path: Path) -> None:
    """Per category, its scores for prompts of its own and for all others, with the threshold."""
    figure, axes = plt.subplots(len(names), 1, figsize=(6, 2 * len(names)), sharex=True)
    bins = np.linspace(-0.3, 1.0, 53)
    for index, (name, panel) in enumerate(zip(names, axes, strict=True)):
        panel.hist(scores[labels != index, index], bins, label="others", alpha=0.6)
        panel.hist(scores[labels == index, index], bins, label=name, alpha=0.6)
        panel.axvline(thresholds[name], color="black", linestyle="--")
        panel.set_yscale("log")
        panel.legend()
    axes[-1].set_xlabel("cosine")
    _save(figure, path)


def predicted(found: Any, wanted: Any, path: Path) -> None:
    """Found cosines by wanted score."""
    figure, axes = plt.subplots(figsize=(5, 4))
    levels = np.unique(wanted)
    axes.violinplot([found[wanted == level] for level in levels], positions=levels, widths=0.12, showmedians=True)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axes.set_xlabel("wanted score")
    axes.set_ylabel("found cosine")
    _save(figure, path)


def bars(values: dict[str, float], label: str, path: Path) -> None:
    """One bar for each name."""
    figure, axes = plt.subplots(figsize=(5, 3))
    axes.bar_label(axes.bar([*values], [*values.values()]), fmt="%.3f")
    axes.set_ylabel(label)
    axes.margins(y=0.15)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
