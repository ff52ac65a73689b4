"""Merges an adapter into its base, for serving without LoRA, and writes a model folder that loads like any other.

Knows nothing about training. The base is the one that is named here; what the adapter's own config names is not looked at.
"""

import warnings
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from peft import PeftModel, get_peft_model_state_dict, load_peft_weights
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from ohlora.prompts import Task
from training import bases, commands, config
from training.config import ConfigError

_PROMPT = "안녕 로라야"


def merge(base: str, adapter: str, to: Path, *, subfolder: str = "") -> float:
    """Writes base and adapter as one model to ``to``; the largest difference of a logit from base and adapter side by side.

    Products are summed in float32 and kept in the base's own type. Raises ConfigError for an adapter that does not fit the base.
    """
    if to.exists() and any(to.iterdir()):
        raise ConfigError(f"{to} is not empty; name another folder with --to")
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    kept = model.dtype
    apart = _joined(model.float(), base, adapter, subfolder)
    before = _logits(apart, tokenizer)
    with commands.whole(to) as unfinished:
        apart.merge_and_unload().to(kept).save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        written = AutoModelForCausalLM.from_pretrained(unfinished, dtype=torch.float32).eval()
        return float((_logits(written, tokenizer) - before).abs().max())


def _joined(model: Any, base: str, adapter: str, subfolder: str) -> PeftModel:
    """The base with the adapter on it. An adapter of another architecture, width or depth raises ConfigError."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Found missing adapter keys")  # the adapter is of fewer layers
        try:
            joined = PeftModel.from_pretrained(model, adapter, subfolder=subfolder or None)
        except (ValueError, RuntimeError, UserWarning) as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"adapter {adapter} does not fit the base {base}: {reason}") from error
    held, taken = (
        load_peft_weights(adapter, subfolder=subfolder or None),
        get_peft_model_state_dict(joined, save_embedding_layers=False),
    )
    if len(held) != len(taken):  # layers that the base lacks are left out without a word
        raise ConfigError(
            f"adapter {adapter} has {len(held)} tensors, the base {base} takes {len(taken)} of them: it is of another depth"
        )
    return joined.eval()


@torch.no_grad()
def _logits(model: Any, tokenizer: Any) -> torch.Tensor:
    return model(**tokenizer(_PROMPT, return_tensors="pt", return_token_type_ids=False)).logits[0]


def main(
    task: Annotated[Task | None, typer.Option(help="Merge this adapter of the preset")] = None,
    preset: Annotated[str, typer.Option(help="v2, v3, v4, tutor, tiny, or a YAML file")] = "v4",
    base: Annotated[str | None, typer.Option(help="Folder or hub id, instead of the task's")] = None,
    adapter: Annotated[str | None, typer.Option(help="Folder or hub id, instead of the task's")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="What the adapter was trained with: --set output=runs/mine --set resize_embeddings=true"
        ),
    ] = None,
    subfolder: Annotated[str, typer.Option(help="Folder of the adapter inside of its repository")] = "",
    to: Annotated[
        Path | None, typer.Option(help="Folder of the merged model; else merged/TASK in the preset's output")
    ] = None,
) -> None:
    """Merge an adapter into its base, so that it is served without LoRA: name the folder as `base` in serve_config.yaml, and no
    `adapter`.

    Example: python -m training.merge --preset v4 --task summary

    Example: python -m training.merge --base EleutherAI/polyglot-ko-1.3b --adapter runs/v4/models/adapters/memory --to merged-memory
    """
    with commands.errors_told():
        if task is not None:
            chosen = config.load_part("sft", task.value, preset, set_)
            own = bases.place(chosen, "adapters", task.value)
            if not adapter and not own.exists():
                raise ConfigError(
                    f"there is no adapter in {own}: python -m training.sft --preset {preset} --task {task.value}, or name the "
                    "folder that it was trained into with --set output=…"
                )
            base, adapter = base or bases.prepared(chosen.sft[task], chosen), adapter or str(own)
            to = to or bases.place(chosen, "merged", task.value)
        if not (base and adapter and to):
            raise ConfigError("name --task (of a --preset), or --base, --adapter and --to")
        difference = merge(base, adapter, to, subfolder=subfolder)
    Console(highlight=False).print(
        f"{to}: logits differ by {difference:.2g} at most from base and adapter apart", markup=False
    )


if __name__ == "__main__":
    typer.run(main)
