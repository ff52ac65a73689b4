"""Trains the LoRA adapter of one task on its base: completion-only loss, TRL's SFTTrainer, peft.

If the adapter is already at its place, its inference test runs instead. Knows nothing about how a base was made; any causal LM of
a known architecture is a base, by hub id or folder. The prompt formats are those of ``ohlora.prompts``.
"""

import random
import shutil
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from datasets import Dataset
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from ohlora.prompts import Example, Task
from training import bases, card, commands, config, data_files, generate, text_bases
from training.config import ConfigError, Preset, SftPreset
from training.corpus import Corpus
from training.runs import Run

TARGETS = {
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "gpt_neox": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
}


def examples(preset: SftPreset, task: Task, seed: int) -> tuple[list[Example], list[Example]]:
    """Training examples of all epochs, one epoch behind the other, and validation examples."""
    corpus = corpus_of(preset)
    drawn = []
    for epoch in range(preset.epochs):
        rng = random.Random(f"{seed} {task} {epoch}")
        drawn += corpus.draw(task, rng) if preset.augment else corpus.written(task, rng)
    return drawn, corpus.validation(task)


def corpus_of(preset: SftPreset) -> Corpus:
    """The rows that the preset names. Raises ConfigError where there are none."""
    folder = data_files.DATA / preset.data
    for name in ("train.jsonl", "valid.jsonl"):
        if not (folder / name).exists():
            raise ConfigError(f"data: there is no {folder / name}; name a folder of {data_files.DATA} that has one")
    return Corpus(folder)


def as_dataset(found: list[Example]) -> Dataset:
    return Dataset.from_list([{"prompt": e.prompt, "completion": e.completion} for e in found])


def check_ids(found: list[Example], tokenizer: Any, part: SftPreset) -> None:
    """Raises ConfigError for an example that is longer than ``max_length`` ids, because cutting would cut its completion, or whose
    prompt has other ids alone than in front of its completion: serving would not see what was trained."""
    for example in found:
        try:
            ids, _ = text_bases.encode(tokenizer, example)
        except ValueError as error:
            raise ConfigError(f"base {part.base} can't be trained on these rows: {error}") from error
        if len(ids) > part.max_length:
            whole = example.prompt + example.completion
            raise ConfigError(f"max_length {part.max_length} is less than the {len(ids)} ids of {whole!r}")


def lora_config(preset: SftPreset, architecture: str) -> LoraConfig:
    return LoraConfig(
        r=preset.lora.rank,
        lora_alpha=preset.lora.alpha,
        lora_dropout=preset.lora.dropout,
        target_modules=TARGETS[architecture],
        task_type="CAUSAL_LM",
    )


def arguments(preset: Preset, part: SftPreset, folder: Path, steps_per_epoch: int) -> SFTConfig:
    """Trainer settings. All epochs lie in one data set, in order, so that the trainer sees one pass."""
    bf16 = preset.bf16 and bases.has_bf16()
    return SFTConfig(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=1,
        per_device_train_batch_size=part.batch,
        per_device_eval_batch_size=max(part.batch, 8),
        gradient_accumulation_steps=part.accumulation,
        learning_rate=part.rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, steps_per_epoch * part.epochs // 30),
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=False,
        max_length=part.max_length,
        completion_only_loss=True,
        train_sampling_strategy="sequential",
        eval_strategy="steps",
        eval_steps=steps_per_epoch,
        save_strategy="steps",
        save_steps=steps_per_epoch,
        save_total_limit=2,
        logging_steps=max(1, steps_per_epoch // 10),
        report_to="none",
        seed=preset.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


class Samples(TrainerCallback):
    """Answers a few validation prompts after each epoch, so that over-training is seen in the log."""

    def __init__(self, run: Run, tokenizer: Any, task: Task, prompts: list[Example]) -> None:
        self.run, self.tokenizer, self.task, self.prompts = run, tokenizer, task, prompts

    def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **_: Any) -> None:
        self.run.log({"step": state.global_step, "done": state.global_step / state.max_steps, **(logs or {})})

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        outputs = generate.outputs(model, self.tokenizer, [e.prompt for e in self.prompts], self.task)
        for example, output in zip(self.prompts, outputs, strict=True):
            self.run.note(f"step {state.global_step} | {example.prompt} => {output} (written:{example.completion})")


def train(preset: Preset, task: Task, run: Run, place: Path, *, resume: bool = True, max_steps: int = -1) -> None:
    """Trains the adapter of ``task`` and puts it at ``place``. Raises ConfigError for a base that does not fit."""
    part = preset.sft[task]
    set_seed(preset.seed)
    # What can be refused is refused before gigabytes of weights are fetched.
    training, validation = examples(part, task, preset.seed)
    architecture = bases.architecture(bases.locate(part.base, preset))
    if architecture not in TARGETS:
        raise ConfigError(f"base {part.base} is a {architecture}; known architectures: {', '.join(TARGETS)}")
    folder = bases.prepared(part, preset)
    tokenizer = bases.tokenizer(folder)
    check_ids(training + validation, tokenizer, part)
    model = bases.load(folder, part, bf16=preset.bf16 and torch.cuda.is_available() and bases.has_bf16())
    bases.check_vocabulary(model, tokenizer, part.base)
    steps = max(1, len(training) // (part.batch * part.accumulation * part.epochs))
    settings = arguments(preset, part, run.folder, steps)
    if max_steps > 0:  # a trial: every step is logged, nothing is evaluated or kept on the way
        settings.max_steps, settings.logging_steps, settings.warmup_steps = max_steps, 1, max(1, max_steps // 30)
        settings.eval_strategy = settings.save_strategy = "no"
    shown = random.Random(preset.seed).sample(validation, min(part.samples, len(validation)))
    trainer = SFTTrainer(
        model=model,
        args=settings,
        train_dataset=as_dataset(training),
        eval_dataset=as_dataset(validation),
        processing_class=tokenizer,
        peft_config=lora_config(part, architecture),
        callbacks=[Samples(run, tokenizer, task, shown)],
    )
    trainer.train(resume_from_checkpoint=resume and run.last_checkpoint())
    trainer.model.save_pretrained(run.folder / "adapter")
    own = folder == bases.locate(part.base, preset)
    _publish(run.folder / "adapter", place, part.base if own else Path(folder).name)


def _publish(made: Path, place: Path, base: str) -> None:
    """Copies an adapter to its place: bfloat16 weights, the base by its plain name, nothing that only a run needs."""
    weights = load_file(made / "adapter_model.safetensors")
    settings = bases.read_json(made / "adapter_config.json")
    settings["base_model_name_or_path"] = base
    settings["target_modules"] = sorted(settings["target_modules"])  # a set, in another order each time
    with commands.whole(place) as unfinished:
        save_file(
            {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in weights.items()},
            unfinished / "adapter_model.safetensors",
            metadata={"format": "pt"},
        )
        bases.write_json(unfinished / "adapter_config.json", settings)
    shutil.rmtree(made)


def inference_test(preset: Preset, task: Task, place: Path, run: Run) -> None:
    """Loads what is at ``place`` and answers some validation prompts."""
    part = preset.sft[task]
    folder = bases.prepared(part, preset)
    tokenizer = bases.tokenizer(folder)
    model = PeftModel.from_pretrained(bases.for_inference(folder, part), str(place)).eval()
    _, validation = examples(part.model_copy(update={"epochs": 1}), task, preset.seed)
    shown = random.Random(preset.seed).sample(validation, min(8, len(validation)))
    for example, output in zip(shown, generate.outputs(model, tokenizer, [e.prompt for e in shown], task), strict=True):
        run.note(f"{example.prompt} => {output}")


def main(
    task: Annotated[Task, typer.Option(help="Which adapter: output_message, tutor, summary, memory, eyes_mouth_pose")],
    preset: Annotated[str, typer.Option(help="v2, v3, v4, tutor, tiny, or a YAML file")] = "v4",
    force: Annotated[bool, typer.Option(help="Train even if the adapter is already there")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a field: --set lora.rank=32 --set seed=1")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Don't resume an interrupted run")] = False,
) -> None:
    """Train one LoRA adapter, or test it when it is already at its place.

    Example: python -m training.sft --preset v4 --task output_message --set lora.rank=32
    """
    with commands.errors_told():
        chosen = config.load_part("sft", task.value, preset, set_)
        if run_task(chosen, task, force=force, fresh=fresh):
            card.renew(chosen)


def run_task(preset: Preset, task: Task, *, force: bool, fresh: bool = False) -> bool:
    """Training, or the inference test where the adapter is already there. Whether it was trained."""
    if preset.threads:
        torch.set_num_threads(preset.threads)
    place = bases.place(preset, "adapters", task.value)
    run = Run(preset, f"sft-{task.value}", part=preset.sft[task], fresh=fresh)
    if (place / "adapter_config.json").exists() and not force:
        run.note(f"{place} is there: inference test (train again with --force)")
        inference_test(preset, task, place, run)
        return False
    with run.timed():
        train(preset, task, run, place)
    run.plot_losses()
    run.finish()
    return True


if __name__ == "__main__":
    typer.run(main)
