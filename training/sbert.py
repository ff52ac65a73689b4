"""Trains an S-BERT: memory retrieval, ethics, or document retrieval for the tutor (rag).

If the model is already at its place, its inference test runs instead. Knows nothing about language models; the pairs and their
scores come from ``training.pairs``.
"""

import random
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import torch
import typer
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer import losses
from transformers import set_seed

from ohlora import encoders, ethics
from training import (
    bases,
    card,
    commands,
    config,
    data_files,
    encoder,
    ethics_frames,
    measure,
    pairs,
    spelling,
    substitute,
)
from training.config import Preset, SbertPreset
from training.corpus import Corpus
from training.data_files import Combination, EthicsRow, Question
from training.runs import Run
from training.sbert_losses import CategoryLoss, MatrixLoss

Kind = Literal["memory", "ethics", "rag"]


def ethics_split(part: SbertPreset, seed: int) -> tuple[list[EthicsRow], list[EthicsRow]]:
    """The ethics training prompts, split for training and for choosing; the test prompts are never looked at here."""
    rows = [row for row in data_files.ethics("train") if row.category in part.categories]
    random.Random(seed).shuffle(rows)
    kept = round(len(rows) * part.validation)
    return rows[kept:], rows[:kept]


def memory_split(part: SbertPreset, seed: int) -> tuple[list[Combination], list[Combination]]:
    rows = pairs.memory_combinations()
    random.Random(seed).shuffle(rows)
    kept = round(len(rows) * part.validation)
    return rows[kept:], rows[:kept]


def start(preset: Preset, part: SbertPreset, texts: list[str]) -> SentenceTransformer:
    """The model to train: a named base, or an untrained encoder whose tokenizer learns from ``texts``."""
    if part.base == "nothing":
        return encoder.untrained(part.encoder, texts, part.max_length)
    return encoder.wrap(bases.locate(part.base, preset), part.max_length)


def ethics_data(part: SbertPreset, rows: list[EthicsRow], seed: int) -> Dataset:
    """The rows of all epochs, each with newly drawn ones; the trainer mixes them. With the contrastive loss a row is a prompt and
    its category, else a pair and its score."""
    names = part.categories
    written = [(row.prompt, row.category) for row in rows]
    chat = [(prompt, ethics.NORMAL) for prompt in pairs.unrefused_prompts()] if part.chat else []
    records: list[dict[str, Any]] = []
    for epoch in range(part.epochs):
        rng = random.Random(f"{seed} {epoch}")
        found = written + chat + ethics_frames.drawn(part.drawn, rng)
        found = [(spelling.respell(p, rng) if part.augment and rng.random() < 0.4 else p, c) for p, c in found]
        found += [(spelling.respell(p, rng), c) for p, c in written * part.augment]
        rng.shuffle(found)
        found = [(p, c) for p, c in found if p.strip() and c in names]
        if part.loss == "contrastive":
            records += [{"prompt": p, "label": [float(n == c) for n in names]} for p, c in found]
        else:
            records += [{"prompt": p, "name": n, "score": float(n == c)} for p, c in found for n in names]
    return Dataset.from_list(records)


def memory_data(part: SbertPreset, rows: list[Combination], seed: int) -> tuple[Dataset, torch.Tensor]:
    """The pairs of all epochs, which the trainer mixes, and the table of wanted cosines by concept index."""
    concepts = pairs.Concepts(data_files.key_groups())
    nothing = pairs.nothing_prompts()
    found: list[pairs.Pair] = []
    for epoch in range(part.epochs):
        rng = random.Random(f"{seed} {epoch}")
        for row in rng.sample(rows, len(rows)):
            concept = concepts.of(row.key, row.value)
            prompt = spelling.respell(row.prompt, rng) if part.augment and rng.random() < 0.3 else row.prompt
            item = pairs.with_other_value(row, rng) if part.augment and rng.random() < 0.5 else row.item
            found.append(pairs.Pair(item, prompt, concept, concept))
        for prompt in rng.sample(nothing, len(nothing)):
            row = rng.choice(rows)
            found.append(pairs.Pair(row.item, prompt, concepts.of(row.key, row.value), pairs.NOTHING))
    if part.loss != "contrastive":
        return _product(found, concepts, part, seed), torch.empty(0)
    names = [*sorted({p.item_concept for p in found}), pairs.NOTHING]
    index = {name: i for i, name in enumerate(names)}
    table = torch.tensor([[concepts.score(one, other) for other in names] for one in names])
    records = [
        {"item": p.item, "prompt": p.prompt, "label": [index[p.item_concept], index[p.prompt_concept]]} for p in found
    ]
    return Dataset.from_list(records), table


def rag_split(part: SbertPreset, seed: int) -> tuple[list[Question], list[Question]]:
    rows = data_files.questions("train")
    random.Random(seed).shuffle(rows)
    kept = round(len(rows) * part.validation)
    return rows[kept:], rows[:kept]


def rag_data(part: SbertPreset, rows: list[Question], plain: list[str], seed: int) -> tuple[Dataset, torch.Tensor]:
    """Questions with their documents over all epochs, and the wanted cosine of two documents by their indices. Drawn documents,
    made of ``plain`` sentences, stand beside them, new in each epoch; their indices go on behind those of the table.

    Other losses than the contrastive one see each question with its own document (1) and its graded distractors.
    """
    texts = {name: document.text for name, document in data_files.documents().items()}
    names = list(texts)
    records: list[dict[str, Any]] = []
    for epoch in range(part.epochs):
        rng = random.Random(f"{seed} {epoch}")
        for row in rng.sample(rows, len(rows)):
            question = spelling.respell(row.question, rng) if part.augment and rng.random() < 0.3 else row.question
            if part.loss == "contrastive":
                label = [names.index(row.document)] * 2
                records.append({"item": texts[row.document], "prompt": question, "label": label})
            else:
                graded = {row.document: 1.0} | dict(row.grades)
                records += [{"item": texts[d], "prompt": question, "score": score} for d, score in graded.items()]
        for index in range(part.drawn):
            text, question = substitute.document(plain, rng)
            if part.loss == "contrastive":
                label = [len(names) + epoch * part.drawn + index] * 2
                records.append({"item": text, "prompt": question, "label": label})
            else:
                other = texts[rng.choice(names)]
                records += [{"item": t, "prompt": question, "score": float(t is text)} for t in (text, other)]
    table = torch.eye(len(names))
    for row in rows:
        for other, grade in row.grades.items():
            table[names.index(row.document), names.index(other)] = grade
    return Dataset.from_list(records), table


def _product(found: list[pairs.Pair], concepts: pairs.Concepts, part: SbertPreset, seed: int) -> Dataset:
    """Every prompt with its own item, one of its topic where there is one, and drawn ones; with ``items`` 0 the whole cartesian
    product of the reference, whose 80 lines were few enough for it."""
    size = len(found) // part.epochs
    records = []
    for epoch in range(part.epochs):
        rng = random.Random(f"{seed} {epoch}")
        once = found[epoch * size : (epoch + 1) * size]
        for pair in rng.sample(once, size):
            items = once
            if part.items:
                score = partial(concepts.score, pair.prompt_concept)
                near = [other for other in rng.sample(once, min(40, size)) if 0 < score(other.item_concept) < 1]
                items = [pair, *near[:1], *rng.sample(once, min(part.items, size))][: part.items]
            records += [
                {
                    "item": other.item,
                    "prompt": pair.prompt,
                    "score": concepts.score(other.item_concept, pair.prompt_concept),
                }
                for other in items
            ]
    return Dataset.from_list(records)


def loss_for(kind: Kind, part: SbertPreset, model: SentenceTransformer, table: torch.Tensor) -> torch.nn.Module:
    if part.loss == "contrastive":
        return CategoryLoss(model, tuple(part.categories)) if kind == "ethics" else MatrixLoss(model, table)
    return {"cosine": losses.CosineSimilarityLoss, "cosent": losses.CoSENTLoss, "angle": losses.AnglELoss}[part.loss](
        model
    )


def train(preset: Preset, kind: Kind, run: Run, place: Path, *, resume: bool = True, max_steps: int = -1) -> None:
    """Trains and puts the model of the best epoch at ``place``."""
    part = preset.sbert[kind]
    set_seed(preset.seed)
    held = held_smalltalk()
    plain = [text for text in Corpus().plain() if text not in held]
    table = torch.empty(0)
    if kind == "ethics":
        rows, kept = ethics_split(part, preset.seed)
        data = ethics_data(part, rows, preset.seed)
        texts = data["prompt"]
        evaluator = measure.EthicsEvaluator(kept, part.categories)
    elif kind == "rag":
        questions, kept_questions = rag_split(part, preset.seed)
        data, table = rag_data(part, questions, plain, preset.seed)
        texts = list(data["prompt"]) + list(data["item"])
        evaluator = measure.RagEvaluator(kept_questions, data_files.documents())
    else:
        combos, kept_combos = memory_split(part, preset.seed)
        data, table = memory_data(part, combos, preset.seed)
        texts = list(data["prompt"]) + list(data["item"])
        evaluator = measure.MemoryEvaluator(kept_combos, held)
    # Each text once, and plain sentences beside them: pieces should be those of written Korean, not of what was respelt.
    model = start(preset, part, sorted({*texts}) + plain)
    nothing = part.base == "nothing"
    steps = max(1, len(data) // (part.batch * part.epochs))
    trial = max_steps > 0  # every step is logged, nothing is evaluated or kept on the way
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(run.folder / "checkpoints"),
            num_train_epochs=1,
            max_steps=max_steps,
            per_device_train_batch_size=part.batch,
            learning_rate=part.rate,
            weight_decay=part.weight_decay,
            warmup_steps=round((max_steps if trial else steps * part.epochs) * part.warmup),
            lr_scheduler_type="cosine",
            # The cosines of a mean or sum are all there is to learn from; in bfloat16 near ones can't be told apart.
            bf16=preset.bf16 and bases.has_bf16() and not (nothing and part.encoder.kind != "bert"),
            use_cpu=not torch.cuda.is_available(),
            eval_strategy="no" if trial else "steps",
            eval_steps=steps,
            save_strategy="no" if trial else "steps",
            save_steps=steps,
            save_total_limit=1,
            load_best_model_at_end=not trial,
            metric_for_best_model=evaluator.primary_metric,
            greater_is_better=True,
            logging_steps=1 if trial else max(1, steps // 10),
            report_to="none",
            seed=preset.seed,
            dataloader_pin_memory=False,
        ),
        train_dataset=data,
        loss=loss_for(kind, part, model, table),
        evaluator=evaluator,
        callbacks=[run.callback()],
    )
    with encoder.pieces_dropped(model, part.encoder.piece_dropout if nothing else 0):
        trainer.train(resume_from_checkpoint=resume and run.last_checkpoint())
    publish(trainer.model, place)


def held_smalltalk() -> list[str]:
    """Small talk kept from the S-BERTs for choosing their thresholds."""
    found = data_files.smalltalk()
    return found[: len(found) // 5]


def publish(model: SentenceTransformer, place: Path) -> None:
    """Saves with bfloat16 weights; config.json says float32, so that they are loaded and used as such."""
    model.float().cpu()
    with commands.whole(place) as unfinished:
        model.to(torch.bfloat16).save(str(unfinished), create_model_card=False)
        if (unfinished / "config.json").exists():  # a transformer; the others are loaded as they are
            settings = bases.read_json(unfinished / "config.json")
            settings["dtype"] = "float32"
            bases.write_json(unfinished / "config.json", settings)


def inference_test(kind: Kind, place: Path, run: Run) -> None:
    """Loads what is at ``place`` and scores a few prompts."""
    model = encoders.load(place)
    if kind == "ethics":
        for prompt in ("안녕 로라야", "나랑 사귀자", "느금마", "이번 선거 누구 뽑아?", "짱깨들 다 꺼져"):
            run.note(f"{prompt}: {measure.category_scores(model, [prompt])[0]}")
        return
    if kind == "rag":
        texts = [document.text for document in data_files.documents().values()]
        for question in ("과적합이 뭐야?", "어텐션이 왜 필요해?", "LoRA는 뭘 줄여주는 거야?"):
            scores = model.similarity(model.encode([question]), model.encode(texts))[0]
            best = int(scores.argmax())
            run.note(f"{question}: {float(scores[best]):.2f} {texts[best]}")
        return
    items = ["[이름: 도윤]", "[좋아하는 음식: 초밥]", "[내일 일정: 치과]", "[취미: 수영]"]
    for prompt in ("내 이름 기억해?", "내가 좋아하는 음식이 뭐였지?", "나 내일 뭐 하지?", "안녕"):
        scores = model.similarity(model.encode([prompt]), model.encode(items))[0]
        run.note(f"{prompt}: " + ", ".join(f"{i} {float(s):.2f}" for i, s in zip(items, scores, strict=True)))


def main(
    task: Annotated[str, typer.Option(help="Which S-BERT: memory, ethics or rag")],
    preset: Annotated[str, typer.Option(help="v2, v3, v4, tutor, tiny, or a YAML file")] = "v4",
    force: Annotated[bool, typer.Option(help="Train even if the model is already there")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a field: --set loss=cosent --set seed=1")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Don't resume an interrupted run")] = False,
) -> None:
    """Train one S-BERT, or test it when it is already at its place.

    Example: python -m training.sbert --preset tiny --task ethics --force
    """
    with commands.errors_told():
        chosen = config.load_part("sbert", task, preset, set_)
        if run_kind(chosen, cast(Kind, task), force=force, fresh=fresh):
            card.renew(chosen)


def run_kind(preset: Preset, kind: Kind, *, force: bool, fresh: bool = False) -> bool:
    """Training, or the inference test where the model is already there. Whether it was trained."""
    if preset.threads:
        torch.set_num_threads(preset.threads)
    place = bases.place(preset, f"{kind}_sbert")
    run = Run(preset, f"sbert-{kind}", part=preset.sbert[kind], fresh=fresh)
    wanted = force or not (place / "modules.json").exists()
    if wanted:
        with run.timed():
            train(preset, kind, run, place)
        run.plot_losses()
        run.finish()
    else:
        run.note(f"{place} is there: inference test (train again with --force)")
    inference_test(kind, place, run)
    return wanted


if __name__ == "__main__":
    typer.run(main)
