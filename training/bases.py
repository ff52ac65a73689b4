"""Finds, loads and checks base models. Knows nothing about training loops."""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from ohlora import head_dim
from training import commands, config
from training.config import ConfigError, Preset, SftPreset

head_dim.accept_own_head_dim()  # before any base is loaded


def place(preset: Preset, *parts: str) -> Path:
    """Where a trained model of the preset belongs."""
    return config.root().joinpath(Path(preset.output).expanduser(), *parts)


def locate(base: str, preset: Preset) -> str:
    """A base's folder or hub id: a base of the preset is the folder of that name in its output."""
    own = place(preset, base)
    if base in preset.bases:
        if not (own / "config.json").exists():
            raise ConfigError(
                f"base {base} is not made yet: python -m training.text_bases --preset {preset.name} --base {base}"
            )
        return str(own)
    relative = config.root() / Path(base).expanduser()
    return str(relative) if relative.is_dir() else base


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def _base_named(folder: str) -> Iterator[None]:
    """A base that is not there, or not reachable, is named with the setting that names it."""
    try:
        yield
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"base {folder} can't be loaded ({reason}); name another with --set base=…") from error


def architecture(folder: str) -> str:
    """``model_type`` of a base, from its configuration alone."""
    with _base_named(folder):
        return AutoConfig.from_pretrained(folder).model_type


def tokenizer(folder: str | Path) -> Any:
    """The tokenizer of a base. Where it has no padding id, as many a Llama's, the end id takes its part."""
    with _base_named(str(folder)):
        found = AutoTokenizer.from_pretrained(folder)
    if found.pad_token is None:
        found.pad_token = found.eos_token
    return found


def for_inference(folder: str | Path, part: SftPreset | None = None) -> Any:
    """A base for reading and writing: bfloat16 on a GPU that has it, else float32; in 4 bits where ``part`` was trained so."""
    if part and part.load_in_4bit:
        return load(str(folder), part, bf16=True).eval()
    dtype = torch.bfloat16 if torch.cuda.is_available() and has_bf16() else torch.float32
    with _base_named(str(folder)):
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device()).eval()


def forget_memory() -> None:
    """Gives back what an earlier training held."""
    gc.collect()  # a trainer refers to itself
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def prepared(part: SftPreset, preset: Preset) -> str:
    """The base to train on and to serve: ``part.base`` itself, or a copy with a grown embedding where that was asked for and needed.

    The copy has the tokenizer beside it and stays in the preset's output, because an adapter trained on it is served on it.
    """
    folder = locate(part.base, preset)
    if not part.resize_embeddings:
        return folder
    grown = place(preset, f"{part.base.strip('/').replace('/', '--')}-resized")
    if not grown.exists():
        with _base_named(folder):
            found = AutoTokenizer.from_pretrained(folder)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
        if missing_rows(model, found) <= 0:
            return folder
        model.resize_token_embeddings(highest_id(found) + 1)
        with commands.whole(grown) as unfinished:
            model.save_pretrained(unfinished)
            found.save_pretrained(unfinished)
    return str(grown)


def highest_id(found: Any) -> int:
    """Of a tokenizer."""
    return max(found.get_vocab().values())


def missing_rows(model: Any, found: Any) -> int:
    """How many rows the embedding lacks for the highest id of the tokenizer ``found``; 0 or less: none."""
    return highest_id(found) + 1 - model.get_input_embeddings().num_embeddings


def has_bf16() -> bool:
    """Whether the device multiplies in bfloat16 by itself."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return "avx512_bf16" in _cpu_flags() or "amx_bf16" in _cpu_flags()


def _cpu_flags() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8") if path.exists() else ""


def load(folder: str, part: SftPreset, *, bf16: bool) -> Any:
    """A base ready for an adapter. Raises ConfigError where 4 bits are asked for without what they need."""
    settings: dict[str, Any] = {"dtype": torch.bfloat16 if bf16 else torch.float32}
    if part.load_in_4bit:
        if not torch.cuda.is_available() or find_spec("bitsandbytes") is None:
            raise ConfigError("load_in_4bit needs a GPU and the package bitsandbytes (pip install bitsandbytes)")
        from transformers import BitsAndBytesConfig

        settings["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    with _base_named(folder):
        return AutoModelForCausalLM.from_pretrained(folder, **settings)


def check_vocabulary(model: Any, found: Any, name: str) -> None:
    """Stops before training where the tokenizer has ids that the embedding has no row for. Raises ConfigError.

    On a GPU such an id ends a training with a device-side assert after some rows, and nothing says why.
    """
    if missing_rows(model, found) > 0:
        raise ConfigError(
            f"base {name}: its tokenizer has ids up to {highest_id(found)}, its embedding only "
            f"{model.get_input_embeddings().num_embeddings} rows. Training would fail at the first such id. Use the tokenizer that "
            f"belongs to the model, or train on a copy with a grown embedding: --set resize_embeddings=true"
        )


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8")
