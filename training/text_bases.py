"""Makes the bases of the tiny preset from nothing: a Llama and a GPT-NeoX that have read our own training text.

Language modelling over the task formats, the completion weighted more than the prompt. Weights are kept and updated in float32;
with ``bf16`` the matrix products run in bfloat16. Knows nothing about adapters: those come from ``training.sft``.
"""

import math
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from tqdm import tqdm
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from ohlora.prompts import Example
from training import bases, card, commands, config, generate, text_tokenizer
from training.config import BasePreset, Preset
from training.corpus import Corpus
from training.runs import Run

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def untrained(preset: BasePreset, tokenizer: PreTrainedTokenizerFast) -> torch.nn.Module:
    """A model of the preset's shape with random weights; embeddings are tied."""
    shared = {
        "vocab_size": len(tokenizer),
        "hidden_size": preset.width,
        "intermediate_size": preset.inner_width,
        "num_hidden_layers": preset.layers,
        "num_attention_heads": preset.heads,
        "max_position_embeddings": preset.max_length,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "attn_implementation": "eager",  # on a CPU the fused kernel's backward pass in bfloat16 is slower for short texts
    }
    if preset.architecture == "llama":
        return LlamaForCausalLM(LlamaConfig(num_key_value_heads=preset.heads, **shared))
    return GPTNeoXForCausalLM(GPTNeoXConfig(rotary_pct=0.5, use_parallel_residual=True, **shared))


def encode(tokenizer: PreTrainedTokenizerFast, example: Example) -> tuple[list[int], int]:
    """Ids of prompt and completion with the end mark behind them, and how many of them are the prompt.

    A prompt begins as its tokenizer begins it (with a BOS for some hub models; the tiny ones add none), as in serving.
    Raises ValueError where the prompt alone has other ids than inside the whole: then serving would not see what was trained.
    """
    prompt = tokenizer.encode(example.prompt) if example.prompt else []
    whole = tokenizer.encode(example.prompt + example.completion)
    if whole[: len(prompt)] != prompt:
        raise ValueError(f"prompt ids change when the completion follows: {example.prompt!r}")
    return [*whole, tokenizer.eos_token_id], len(prompt)


def batches(
    encoded: list[tuple[list[int], int]], tokens: int, prompt_weight: float, pad: int, rng: random.Random
) -> Iterator[Batch]:
    """Batches of about ``tokens`` ids, of sequences of like length: ids, attention mask, loss weight of each id."""
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i][0]) + rng.random() * 4)
    groups: list[list[int]] = [[]]
    for index in order:
        if groups[-1] and (len(groups[-1]) + 1) * len(encoded[index][0]) > tokens:
            groups.append([])
        groups[-1].append(index)
    rng.shuffle(groups)
    for group in groups:
        longest = max(len(encoded[i][0]) for i in group)
        ids = torch.full((len(group), longest), pad)
        mask = torch.zeros((len(group), longest), dtype=torch.long)
        weight = torch.zeros((len(group), longest))
        for row, index in enumerate(group):
            found, prompt = encoded[index]
            ids[row, : len(found)] = torch.tensor(found)
            mask[row, : len(found)] = 1
            weight[row, : len(found)] = 1.0
            weight[row, :prompt] = prompt_weight
        yield ids, mask, weight


def weighted_loss(logits: torch.Tensor, ids: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of the next id, weighted by ``weight`` of the id that is predicted."""
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1), reduction="none"
    )
    weights = weight[:, 1:].reshape(-1)
    return (losses * weights).sum() / weights.sum()


@torch.no_grad()
def mean_loss(model: Any, encoded: list[tuple[list[int], int]], tokens: int, pad: int) -> float:
    """Mean cross entropy of all completion ids."""
    total = count = 0.0
    for batch in batches(encoded, tokens, 0.0, pad, random.Random(0)):
        ids, mask, weight = (tensor.to(model.device) for tensor in batch)
        size = float(weight[:, 1:].sum())
        total += size * float(weighted_loss(model(input_ids=ids, attention_mask=mask).logits, ids, weight))
        count += size
    return total / count


class Training:
    """Model and optimizer of one base, and how far they are; ``checkpoint`` is written every five epochs and resumed from."""

    def __init__(
        self, preset: BasePreset, tokenizer: PreTrainedTokenizerFast, *, seed: int, bf16: bool, checkpoint: Path | None
    ) -> None:
        torch.manual_seed(seed)
        self.preset, self.tokenizer, self.seed, self.bf16, self.checkpoint = preset, tokenizer, seed, bf16, checkpoint
        self.device = bases.device()
        self.model = untrained(preset, tokenizer).to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=preset.rate, weight_decay=preset.weight_decay, betas=(0.9, 0.95)
        )
        self.epoch = 0
        if checkpoint and checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True, map_location=self.device)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.epoch = state["epoch"]

    def run_epoch(self, corpus: Corpus) -> float:
        """One pass over newly drawn examples; the mean loss."""
        preset, rng = self.preset, random.Random(f"{self.seed} {self.epoch}")
        examples = [example for task in preset.tasks for example in corpus.draw(task, rng)]
        if self.epoch < preset.epochs * preset.plain_share:
            examples += [Example("", text) for text in corpus.plain()]
        encoded = [encode(self.tokenizer, example) for example in examples]
        found = list(batches(encoded, preset.batch_tokens, preset.prompt_weight, self.tokenizer.pad_token_id, rng))
        self.model.train()
        title = f"epoch {self.epoch + 1}/{preset.epochs}"
        losses = [
            self._step(batch, (self.epoch + (n + 1) / len(found)) / preset.epochs)
            for n, batch in enumerate(tqdm(found, title, leave=False))
        ]
        self.epoch += 1
        if self.checkpoint and self.epoch % 5 == 0:
            self._save(self.checkpoint)
        return sum(losses) / len(losses)

    def _step(self, batch: Batch, done: float) -> float:
        ids, mask, weight = (tensor.to(self.device) for tensor in batch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.preset.rate * _schedule(done)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.model(input_ids=ids, attention_mask=mask).logits
        loss = weighted_loss(logits, ids, weight)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    @torch.no_grad()
    def validation_loss(self, examples: list[Example]) -> float:
        """Mean cross entropy of the completions."""
        self.model.eval()
        encoded = [encode(self.tokenizer, example) for example in examples]
        return mean_loss(self.model, encoded, self.preset.batch_tokens, self.tokenizer.pad_token_id)

    def _save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "epoch": self.epoch}
        written = path.with_suffix(".unfinished")
        torch.save(state, written)
        written.replace(path)


def train(training: Training, corpus: Corpus, log: Callable[[dict], None]) -> torch.nn.Module:
    """The base after all its epochs. A validation loss that rises shows that rows are learnt by heart."""
    preset, started = training.preset, time.time()
    validation = [example for task in preset.tasks for example in corpus.validation(task)]
    while training.epoch < preset.epochs:
        loss = training.run_epoch(corpus)
        log(
            {
                "step": training.epoch,
                "done": training.epoch / preset.epochs,
                "loss": round(loss, 4),
                "eval_loss": round(training.validation_loss(validation), 4),
                "seconds": round(time.time() - started),
            }
        )
    training.model.eval()
    return training.model


def _schedule(done: float) -> float:
    """Warm-up over 3 % of the way, then a cosine down to 2 %."""
    return min(done / 0.03, 1.0) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def save(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """bfloat16 weights, configuration, tokenizer."""
    with commands.whole(folder) as unfinished:
        model.to(torch.bfloat16).save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        generation = unfinished / "generation_config.json"
        if generation.exists():
            settings = bases.read_json(generation)
            settings.pop("bos_token_id", None)
            bases.write_json(generation, settings)


def run_base(preset: Preset, name: str, *, force: bool, fresh: bool = False) -> bool:
    """Makes base ``name`` of the preset, or shows what it writes where it is already there. Whether it was made."""
    if preset.threads:
        torch.set_num_threads(preset.threads)
    part = preset.bases[name]
    place = bases.place(preset, name)
    run = Run(preset, f"base-{name}", part=part, fresh=fresh)
    if (place / "config.json").exists() and not force:
        run.note(f"{place} is there: inference test (make it again with --force)")
        inference_test(preset, name, run)
        return False
    checkpoint = run.folder / "checkpoints" / "base.pt"
    with run.timed():
        corpus = Corpus()
        tokenizer = text_tokenizer.make(corpus.tokenizer_text(preset.seed), preset.tokenizer_size, part.max_length)
        bf16 = preset.bf16 and bases.has_bf16()
        training = Training(part, tokenizer, seed=preset.seed, bf16=bf16, checkpoint=checkpoint)
        model = train(training, corpus, run.log)
    save(model, tokenizer, place)
    inference_test(preset, name, run)
    run.plot_losses()
    run.finish()
    return True


def inference_test(preset: Preset, name: str, run: Run) -> None:
    """Loads the base and continues a few validation prompts."""
    tokenizer = bases.tokenizer(bases.place(preset, name))
    model = bases.for_inference(bases.place(preset, name))
    for task in preset.bases[name].tasks:
        shown = Corpus().validation(task)[:4]
        for example, text in zip(
            shown, generate.outputs(model, tokenizer, [e.prompt for e in shown], task), strict=True
        ):
            run.note(f"{example.prompt} => {text}")


def main(
    base: Annotated[str, typer.Option(help="Folder name of the base: llama or gpt-neox")],
    preset: Annotated[str, typer.Option(help="A preset that makes bases: tiny, or a YAML file")] = "tiny",
    force: Annotated[bool, typer.Option(help="Make it again although it is there")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override a field: --set layers=4")] = None,
    fresh: Annotated[bool, typer.Option(help="Don't resume an interrupted run")] = False,
) -> None:
    """Make a small base model from nothing, or test it when it is already there.

    Example: python -m training.text_bases --preset tiny --base llama --force
    """
    with commands.errors_told():
        chosen = config.load_part("bases", base, preset, set_)
        if run_base(chosen, base, force=force, fresh=fresh):
            card.renew(chosen)


if __name__ == "__main__":
    typer.run(main)
