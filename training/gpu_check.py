"""Trains models of the real bases' shapes for some steps at every preset's settings: does it fit 24 GB, how fast is it, does it learn?

The weights are random and made here, so that no hub is needed; shapes and vocabulary sizes are the real ones. The tokenizers are
those of models/tiny, which cut our text into more ids than the real ones do: memory is rather over- than underestimated.
"""

import datetime as dt
import math
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import peft
import torch
import transformers
import trl
import typer
from rich.console import Console
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    GPTNeoXConfig,
    LlamaConfig,
    PretrainedConfig,
    RobertaConfig,
)

from ohlora import head_dim
from ohlora.prompts import Task
from training import bases, commands, config, encoder, sbert, sft
from training.config import ConfigError, Preset, SftPreset
from training.corpus import Corpus
from training.runs import Run

head_dim.accept_own_head_dim()
_KANANA = {
    "vocab_size": 128_259,
    "hidden_size": 1792,
    "intermediate_size": 8064,
    "num_hidden_layers": 32,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 4096,
}
# As the config.json of each base says it; 2.32, 2.09 and 1.33 billion parameters, and 0.11.
SHAPES: dict[str, PretrainedConfig] = {
    "kakaocorp/kanana-1.5-2.1b-instruct-2505": LlamaConfig(**_KANANA, tie_word_embeddings=False),
    "kakaocorp/kanana-1.5-2.1b-base": LlamaConfig(**_KANANA, tie_word_embeddings=True),
    "EleutherAI/polyglot-ko-1.3b": GPTNeoXConfig(
        vocab_size=30_080,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=24,
        num_attention_heads=16,
        rotary_pct=0.5,
        max_position_embeddings=2048,
    ),
    "klue/roberta-base": RobertaConfig(
        vocab_size=32_000,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        max_position_embeddings=514,
        type_vocab_size=1,
    ),
}
PRESETS = ("v2", "v3", "v4", "tutor")
TINY = "models/tiny"
PAGE = config.root() / "docs" / "gpu_training.md"


def smaller(shape: PretrainedConfig) -> PretrainedConfig:
    """The same architecture at a size for a CPU."""
    small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    if isinstance(shape, LlamaConfig):
        small |= {"num_key_value_heads": 1, "head_dim": 32}
    return type(shape)(**(shape.to_dict() | small | {"vocab_size": 8192}))


@dataclass
class Result:
    """One training: what of, how much memory, how fast, and its loss over the first and the last fifth of the steps."""

    preset: str
    task: str
    base: str
    settings: str
    peak_gib: float
    per_s: float
    unit: str
    first_loss: float
    last_loss: float
    out_of_memory: bool = False

    def row(self) -> str:
        if self.out_of_memory:
            return f"| {self.preset} | {self.task} | {self.base} | {self.settings} | {self.peak_gib:.1f} | out of memory | |"
        learns = f"{self.first_loss:.3f} → {self.last_loss:.3f}"
        return (
            f"| {self.preset} | {self.task} | {self.base} | {self.settings} | {self.peak_gib:.1f} | "
            f"{self.per_s:,.0f} {self.unit} | {learns} |"
        )


def make(base: str, shape: PretrainedConfig, folder: Path) -> Path:
    """A base of ``shape`` with random weights in bfloat16, and a tokenizer whose ids it has rows for."""
    made = folder / base.replace("/", "--")
    if made.exists():
        return made
    if isinstance(shape, RobertaConfig):
        tokenizer: Any = encoder.jamo_tokenizer(Corpus().plain(), 6000, 64)
        AutoModel.from_config(shape).save_pretrained(made)
    else:
        kind = "llama" if isinstance(shape, LlamaConfig) else "gpt-neox"
        tokenizer = AutoTokenizer.from_pretrained(config.root() / TINY / kind)
        AutoModelForCausalLM.from_config(shape, dtype=torch.bfloat16).save_pretrained(made)
    tokenizer.save_pretrained(made)
    return made


def distinct(names: tuple[str, ...]) -> Iterator[tuple[Preset, Task, SftPreset]]:
    """Adapters of the presets, those of one base and one shape of batch and adapter only once."""
    seen = set()
    for name in names:
        preset = config.load(name)
        for task, part in preset.sft.items():
            key = (part.base, part.lora.rank, part.batch, part.accumulation, part.load_in_4bit, task is Task.TUTOR)
            if key not in seen:
                seen.add(key)
                yield preset, task, part


def try_sft(preset: Preset, task: Task, base: Path, name: str, folder: Path, steps: int) -> Result:
    part = preset.sft[task].model_copy(update={"base": str(base), "samples": 0, "epochs": 1})
    chosen = preset.model_copy(update={"output": str(folder / "out"), "sft": preset.sft | {task: part}})
    run = Run(chosen, f"gpu-check-{task}", folder=folder / "run" / preset.name / task.value)
    _forget_memory()
    started = time.monotonic()
    try:
        sft.train(chosen, task, run, folder / "adapter", resume=False, max_steps=steps)
    except torch.cuda.OutOfMemoryError:
        return _full(preset, task.value, name, _settings(part))
    logged = [record for record in run.records if "loss" in record]
    seconds = next((r["train_runtime"] for r in run.records if "train_runtime" in r), time.monotonic() - started)
    ids = max((r.get("num_tokens", 0) for r in logged), default=0)
    return _result(preset, task.value, name, _settings(part), ids / seconds, "ids/s", logged)


def try_sbert(preset: Preset, kind: sbert.Kind, base: Path, name: str, folder: Path, steps: int) -> Result:
    """One epoch, or ``steps`` of it."""
    part = preset.sbert[kind].model_copy(update={"base": str(base), "epochs": 1})
    chosen = preset.model_copy(update={"output": str(folder / "out"), "sbert": preset.sbert | {kind: part}})
    run = Run(chosen, f"gpu-check-{kind}", folder=folder / "run" / preset.name / kind)
    _forget_memory()
    settings = f"batch {part.batch}, {part.loss}"
    try:
        sbert.train(chosen, kind, run, folder / "sbert", resume=False, max_steps=steps)
    except torch.cuda.OutOfMemoryError:
        return _full(preset, kind, name, settings)
    logged = [record for record in run.records if "loss" in record]
    pairs = next((r["train_samples_per_second"] for r in run.records if "train_samples_per_second" in r), math.nan)
    return _result(preset, kind, name, settings, pairs, "pairs/s", logged)


def _settings(part: SftPreset) -> str:
    return f"rank {part.lora.rank}, batch {part.batch} × {part.accumulation}{', 4 bits' if part.load_in_4bit else ''}"


def _forget_memory() -> None:
    bases.forget_memory()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _peak() -> float:
    return torch.cuda.max_memory_reserved() / 2**30 if torch.cuda.is_available() else math.nan


def _full(preset: Preset, task: str, base: str, settings: str) -> Result:
    """A training that the GPU had no room for: the others are tried all the same."""
    return Result(preset.name, task, base, settings, _peak(), 0, "", math.nan, math.nan, out_of_memory=True)


def _result(
    preset: Preset, task: str, base: str, settings: str, per_s: float, unit: str, logged: list[dict[str, Any]]
) -> Result:
    losses = [record["loss"] for record in logged]
    fifth = max(1, len(losses) // 5)
    return Result(
        preset.name,
        task,
        base,
        settings,
        _peak(),
        per_s,
        unit,
        sum(losses[:fifth]) / fifth,
        sum(losses[-fifth:]) / fifth,
    )


def document(results: list[Result], steps: int, *, small: bool) -> str:
    """The page that the command writes."""
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else f"no GPU ({platform.machine()})"
    versions = ", ".join(f"{m.__name__} {m.__version__}" for m in (torch, transformers, trl, peft))
    rows = "\n".join(result.row() for result in results)
    return f"""# Training at {"small shapes" if small else "the shapes of the real bases"}

Random weights, {steps} steps of each adapter and {f"{steps} steps" if small else "one epoch"} of the S-BERT. Written on {dt.date.today():%Y-%m-%d} by

    python -m training.gpu_check --steps {steps}{" --small --to …" if small else ""}

on {card}; {versions}. A peak is what torch had reserved at most, GiB; it must stay under 24. A loss is the mean of the first and
of the last fifth of the logged steps.

| preset | task | base | settings | peak GiB | speed | loss |
|---|---|---|---|---|---|---|
{rows}
"""


def check(steps: int, *, small: bool, folder: Path) -> list[Result]:
    """Every distinct training of the presets, and one S-BERT."""
    results = []
    for preset, task, part in distinct(PRESETS):
        shape = smaller(SHAPES[part.base]) if small else SHAPES[part.base]
        results.append(try_sft(preset, task, make(part.base, shape, folder), part.base, folder, steps))
    name = "klue/roberta-base"
    base = make(name, smaller(SHAPES[name]) if small else SHAPES[name], folder)
    # In so few steps a small encoder wants a higher rate to move at all.
    changed = ["sbert.memory.rate=1e-3"] if small else []
    results.append(try_sbert(config.load("v4", changed), "memory", base, name, folder, steps if small else -1))
    return results


def main(
    steps: Annotated[int, typer.Option(help="Steps of each adapter", min=5)] = 50,
    small: Annotated[
        bool, typer.Option("--small", help="Small shapes instead of the real ones: tries the script without a GPU")
    ] = False,
    to: Annotated[Path, typer.Option(help="The page to write")] = PAGE,
) -> None:
    """Try the training of the real shapes on this machine's GPU and write the figures down; some minutes and 12 GB of disk.

    Example: python -m training.gpu_check
    """
    with commands.errors_told():
        if not small and not torch.cuda.is_available():
            raise ConfigError("the real shapes need a GPU, and torch sees none; --small tries the script without one")
        if small and to == PAGE:
            raise ConfigError(f"--small wants --to: {PAGE.name} is the page of the real shapes")
        with tempfile.TemporaryDirectory() as folder:
            results = check(steps, small=small, folder=Path(folder))
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(document(results, steps, small=small), encoding="utf-8")
    Console(highlight=False).print(to.read_text(encoding="utf-8"), markup=False)
    full = [result for result in results if result.peak_gib > 24 or result.out_of_memory]
    flat = [result for result in results if result not in full and not result.last_loss < result.first_loss]
    for result in full + flat:
        why = "needs more than 24 GB" if result in full else "does not learn"
        typer.secho(f"{result.preset} {result.task} {why}: see {to}", fg="red", err=True)
    raise typer.Exit(1 if full or flat else 0)


if __name__ == "__main__":
    typer.run(main)
