"""A letter n-gram classifier that teaches the ethics S-BERT: it labels prompts that nobody wrote.

On a few thousand prompts n-grams with a linear classifier do better than an encoder made from nothing; the encoder takes over what
they know from spliced prompts, of which there is no end. Sees the rows kept for training only. Knows nothing about S-BERTs.
"""

import random
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline, make_union  # type: ignore[import-untyped]

from training import spelling


def _jamo(text: str) -> str:
    return unicodedata.normalize("NFKD", text.lower())


class Teacher:
    """Syllable and jamo n-grams with logistic regression; ``teach`` gives the probability of each category."""

    def __init__(self, labelled: Sequence[tuple[str, str]], names: Sequence[str], *, seed: int) -> None:
        grams = make_union(
            TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 7), sublinear_tf=True, preprocessor=_jamo),
        )
        self.model = make_pipeline(grams, LogisticRegression(C=30.0, max_iter=300, random_state=seed))
        self.names = list(names)
        self.model.fit([text for text, _ in labelled], [self.names.index(name) for _, name in labelled])

    def teach(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (n, categories)."""
        return np.asarray(self.model.predict_proba(list(prompts)), dtype=np.float32)


def spliced(prompts: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """``count`` prompts nobody wrote: the beginning of one and the end of another, or a part of one; some are respelt."""
    found = []
    for _ in range(count):
        words = rng.choice(prompts).split()
        if rng.random() < 0.6:
            other = rng.choice(prompts).split()
            words = words[: rng.randint(1, len(words))] + other[rng.randrange(len(other)) :]
        else:
            start = rng.randrange(len(words))
            words = words[start : start + rng.randint(1, len(words))]
        text = " ".join(words)
        found.append(spelling.respell(text, rng) if rng.random() < 0.3 else text)
    return [text for text in found if text.strip()]
