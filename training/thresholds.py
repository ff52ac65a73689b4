"""Chooses served thresholds on validation data: the lowest one that keeps wrong hits rare.

Knows nothing about models; gets scores. Never run it on test data.
"""

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
STEPS = np.round(np.arange(0.30, 0.991, 0.01), 2)


def lowest(wrong: Scores, rate: float, *, least: float = 0.3) -> float:
    """The lowest threshold (steps of 0.01, from ``least``) that at most ``rate`` of the ``wrong`` scores reach."""
    for step in STEPS:
        if step >= least and float(np.mean(wrong >= step)) <= rate:
            return float(step)
    return float(STEPS[-1])


def ethics(
    scores: Scores,
    labels: NDArray[np.int64],
    names: list[str],
    keys: dict[str, str],
    *,
    rate: float,
    least: float = 0.5,
) -> dict[str, float]:
    """Per category key, the lowest threshold that at most ``rate`` of the normal prompts reach; 일반 stays at 0.5.

    A prompt that already scores as normal counts as no hit, as in serving. ``least`` is a floor: a prompt about which the model is
    undecided should not block anybody.
    """
    normal_column = len(names) - 1
    normal = labels == normal_column
    spared = scores[:, normal_column] >= 0.5
    chosen = {}
    for column, name in enumerate(names[:-1]):
        wrong = np.where(spared, -1.0, scores[:, column])[normal]
        chosen[keys[name]] = lowest(wrong, rate, least=least)
    return {**chosen, "normal": 0.5}


def memory(found: Scores, wanted: Scores, talk: Scores, *, precision: float, least: float = 0.3) -> float:
    """The lowest threshold at which hits (the best item of a prompt) are right as often as ``precision``, small talk included.

    ``found`` and ``wanted`` have a row for each prompt, a column for each item; ``talk`` is the same for prompts about nothing.
    """
    best = found.argmax(1)
    right = wanted[np.arange(len(found)), best] > 0.99
    highest = found[np.arange(len(found)), best]
    asleep = talk.max(1)
    for step in STEPS:
        if step < least:
            continue
        hits = highest >= step
        disturbed = int(np.sum(asleep >= step))
        total = int(hits.sum()) + disturbed
        if total and float(np.sum(right & hits)) / total >= precision and disturbed <= 0.02 * len(talk):
            return float(step)
    return float(STEPS[-1])
