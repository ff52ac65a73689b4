"""Gives an untrained encoder a first sense of likeness: two wordings of one text are near, other texts are far.

Pairs of a text and a part or a misspelling of it, in-batch negatives. A base from the hub has this from its own pre-training; one made
from nothing would learn it from the few rows of the task. Knows nothing about tasks.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer import losses

from training import spelling


def reworded(text: str, rng: random.Random) -> str:
    """A part of ``text``, respelt, or with its words in another order."""
    words = text.split()
    if len(words) > 2 and rng.random() < 0.7:
        size = rng.randint(max(1, len(words) // 2), len(words))
        at = rng.randint(0, len(words) - size)
        words = words[at : at + size]
    if len(words) > 1 and rng.random() < 0.3:
        rng.shuffle(words)
    found = " ".join(words)
    return spelling.respell(found, rng) if rng.random() < 0.5 else found


def pretrain(
    model: SentenceTransformer, texts: Sequence[str], *, epochs: int, rate: float, seed: int, folder: Path
) -> None:
    """Trains ``model`` in place."""
    records = []
    for epoch in range(epochs):
        rng = random.Random(f"{seed} {epoch}")
        for text in rng.sample(texts, len(texts)):
            pair = {"one": reworded(text, rng), "other": reworded(text, rng)}
            if all(part.strip() for part in pair.values()):
                records.append(pair)
    SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(folder / "pretraining"),
            num_train_epochs=1,
            per_device_train_batch_size=64,
            learning_rate=rate,
            warmup_steps=50,
            lr_scheduler_type="cosine",
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            logging_steps=100,
            report_to="none",
            seed=seed,
            dataloader_pin_memory=False,
        ),
        train_dataset=Dataset.from_list(records),
        loss=losses.MultipleNegativesRankingLoss(model),
    ).train()
