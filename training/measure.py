"""Figures of the S-BERTs: evaluators for training and the functions that evaluation prints.

Knows nothing about training.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator

from ohlora import ethics
from training import data_files, pairs
from training.data_files import Combination, Document, EthicsRow, Question

Matrix = NDArray[np.float32]


def embed(model: SentenceTransformer, texts: Sequence[str]) -> Matrix:
    """Unit vectors, shape (n, d)."""
    return model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False, batch_size=64)


def category_matrix(
    model: SentenceTransformer, prompts: Sequence[str], names: Sequence[str] = ethics.EthicsPolicy().labels
) -> Matrix:
    """Cosine of each prompt with each category name."""
    return embed(model, prompts) @ embed(model, names).T


def category_scores(model: SentenceTransformer, prompts: Sequence[str]) -> list[dict[str, float]]:
    matrix = category_matrix(model, prompts)
    return [
        {name: round(float(s), 3) for name, s in zip(ethics.EthicsPolicy().labels, row, strict=True)} for row in matrix
    ]


def regression(found: Matrix, wanted: Matrix) -> dict[str, float]:
    """MSE, MAE and correlation of two matrices of scores."""
    difference = found.ravel() - wanted.ravel()
    return {
        "mse": float(np.mean(difference**2)),
        "mae": float(np.mean(np.abs(difference))),
        "correlation": float(np.corrcoef(found.ravel(), wanted.ravel())[0, 1]),
    }


class EthicsEvaluator(SentenceEvaluator):
    """Accuracy on prompts kept from training, less the squared error: of two equally right models the surer one."""

    def __init__(self, rows: list[EthicsRow], names: list[str]) -> None:
        super().__init__()
        self.primary_metric = "quality"
        self.rows, self.names = rows, names
        self.wanted = wanted_categories(rows, names)

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        found = category_matrix(model, [row.prompt for row in self.rows], self.names)
        figures = regression(found, self.wanted)
        figures["accuracy"] = float(np.mean(found.argmax(1) == self.wanted.argmax(1)))
        figures["quality"] = figures["accuracy"] - figures["mse"]
        return figures


def wanted_categories(rows: Sequence[EthicsRow], names: Sequence[str] = ethics.EthicsPolicy().labels) -> Matrix:
    names = list(names)
    return np.eye(len(names), dtype=np.float32)[[names.index(row.category) for row in rows]]


def shipped_verdict(scores: Matrix, names: Sequence[str], thresholds: dict[str, float]) -> list[list[str]]:
    """Keys of the categories that each row of scores meets, by the rule of serving."""
    known = [c for c in ethics.EthicsPolicy().categories if c.label in names]
    fired = []
    for row in scores:
        by_label = dict(zip(names, map(float, row), strict=True))
        normal = by_label[ethics.NORMAL] >= thresholds["normal"]
        fired.append([c.key for c in known if not normal and by_label[c.label] >= thresholds[c.key]])
    return fired


class MemoryEvaluator(SentenceEvaluator):
    """Right key first on combinations kept from training, less the squared error; what small talk wakes up is shown beside it."""

    def __init__(self, rows: list[Combination], smalltalk: list[str]) -> None:
        super().__init__()
        self.primary_metric = "quality"
        self.rows, self.smalltalk = rows, smalltalk

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        figures = retrieval(model, self.rows, self.smalltalk)
        figures["quality"] = figures["right_first"] - figures["mse"]
        return figures


class RagEvaluator(SentenceEvaluator):
    """Right document first among all, on questions kept from training."""

    def __init__(self, rows: list[Question], documents: dict[str, Document]) -> None:
        super().__init__()
        self.primary_metric = "quality"
        self.rows, self.documents = rows, documents

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        figures, _, _ = rag(model, self.rows, self.documents)
        figures["quality"] = figures["right_first"] - figures["mse"]
        return figures


def rag(
    model: SentenceTransformer, rows: Sequence[Question], documents: dict[str, Document]
) -> tuple[dict[str, float], Matrix, Matrix]:
    """Figures of retrieval among all documents, and found and wanted cosines of the graded pairs.

    ``right_first_of_graded`` is among a question's own document and its graded distractors.
    """
    names = list(documents)
    found = embed(model, [row.question for row in rows]) @ embed(model, [d.text for d in documents.values()]).T
    right = np.array([names.index(row.document) for row in rows])
    graded = [{row.document: 1.0} | dict(row.grades) for row in rows]
    pairs_found = [float(line[names.index(d)]) for line, of in zip(found, graded, strict=True) for d in of]
    pairs_wanted = [score for of in graded for score in of.values()]
    scores, wanted = np.array(pairs_found, dtype=np.float32), np.array(pairs_wanted, dtype=np.float32)
    figures = regression(scores, wanted)
    figures["right_first"] = float(np.mean(found.argmax(1) == right))
    among = [[names.index(name) for name in of] for of in graded]  # the own document comes first
    firsts = [int(line[columns].argmax()) == 0 for line, columns in zip(found, among, strict=True)]
    figures["right_first_of_graded"] = float(np.mean(firsts))
    figures["questions"] = len(rows)
    return figures, scores, wanted


def memory_matrices(model: SentenceTransformer, rows: Sequence[Combination]) -> tuple[Matrix, Matrix]:
    """Found and wanted cosines of every prompt (rows) with every item (columns)."""
    concepts = pairs.Concepts(data_files.key_groups())
    of = [concepts.of(row.key, row.value) for row in rows]
    wanted = np.array([[concepts.score(p, i) for i in of] for p in of], dtype=np.float32)
    found = embed(model, [row.prompt for row in rows]) @ embed(model, [row.item for row in rows]).T
    return found, wanted


def retrieval(model: SentenceTransformer, rows: Sequence[Combination], smalltalk: Sequence[str]) -> dict[str, float]:
    found, wanted = memory_matrices(model, rows)
    first = found.argmax(1)
    figures = regression(found, wanted)
    figures["right_first"] = float(np.mean(wanted[np.arange(len(rows)), first] > 0.99))
    if smalltalk:
        talk = embed(model, smalltalk) @ embed(model, [row.item for row in rows]).T
        figures["smalltalk_highest"] = float(talk.max())
        figures["smalltalk_mean_best"] = float(talk.max(1).mean())
    return figures


def talk_matrix(model: SentenceTransformer, smalltalk: Sequence[str], rows: Sequence[Combination]) -> Matrix:
    """Cosine of each small-talk prompt with each item."""
    return embed(model, smalltalk) @ embed(model, [row.item for row in rows]).T
