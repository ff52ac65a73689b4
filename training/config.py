"""Presets: what is trained, from which base, with which settings. Read from YAML, checked, and overridable field by field.

Knows nothing about how a training runs.
"""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ohlora.ethics import NORMAL, EthicsPolicy
from ohlora.prompts import Task

PRESETS = Path(__file__).parent / "presets"


class BasePreset(BaseModel):
    """A base of the tiny preset, made from nothing."""

    model_config = ConfigDict(extra="forbid")

    architecture: Literal["llama", "gpt_neox"] = Field(description="Model class of transformers")
    tasks: list[Task] = Field(min_length=1, description="Task formats that the base reads")
    width: int = Field(256, gt=0, description="Hidden size; heads must divide it")
    inner_width: int = Field(704, gt=0, description="Size of the feed-forward part")
    layers: int = Field(6, gt=0, description="Number of layers")
    heads: int = Field(4, gt=0, description="Attention heads; width / heads is 32 or 64 for vLLM")
    max_length: int = Field(512, gt=0, description="Positions")
    epochs: int = Field(30, ge=1, description="Passes over the written rows; drawn rows are new in each")
    rate: float = Field(1.5e-3, gt=0, description="Peak learning rate")
    weight_decay: float = Field(0.05, ge=0, description="AdamW weight decay")
    batch_tokens: int = Field(2048, gt=0, description="Ids in a batch")
    prompt_weight: float = Field(0.25, ge=0, le=1, description="Loss weight of prompt ids beside 1 for the completion")
    plain_share: float = Field(0.3, ge=0, le=1, description="Share of the epochs that also read plain sentences")


class LoraPreset(BaseModel):
    """LoRA settings; the target modules follow from the base's architecture."""

    model_config = ConfigDict(extra="forbid")

    rank: int = Field(64, description="Rank; vLLM serves 1, 8, 16, 32, 64, 128, 256, 320 and 512", gt=0)
    alpha: int = Field(16, gt=0, description="Scale of the update is alpha / rank")
    dropout: float = Field(0.05, ge=0, lt=1, description="Dropout of the adapter's input")


class SftPreset(BaseModel):
    """Supervised fine-tuning of one task's adapter."""

    model_config = ConfigDict(extra="forbid")

    base: str = Field(min_length=1, description="Hub id, folder, or name of a base of this preset")
    lora: LoraPreset = Field(default_factory=LoraPreset, description="Adapter settings")
    epochs: int = Field(ge=1, description="Passes over the written rows")
    rate: float = Field(3e-4, gt=0, description="Peak learning rate")
    batch: int = Field(2, ge=1, description="Examples on the device at once")
    accumulation: int = Field(
        1, ge=1, description="Batches per step; raise it to fit a smaller GPU with a smaller batch"
    )
    augment: bool = Field(
        False,
        description="Draw the inputs anew every epoch: synonyms, exchanged values; of the summary rows two in five, others each time",
    )
    load_in_4bit: bool = Field(False, description="Quantise the frozen base to 4 bits (needs bitsandbytes and a GPU)")
    resize_embeddings: bool = Field(False, description="Grow an embedding that the tokenizer's ids reach past")
    max_length: int = Field(512, gt=0, description="Longest example in ids; a longer one is an error, not cut")
    data: str = Field(
        "dialogue",
        description="Folder of training/data with the dialogue rows; the tutor's are in the folder tutor beside it",
    )
    samples: int = Field(5, ge=0, description="Validation prompts answered after each epoch, for the log")


class EncoderPreset(BaseModel):
    """An untrained encoder, for S-BERTs that have no base to start from."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["ngrams", "static", "bert"] = Field(
        "static",
        description="ngrams: the sum of vectors of letter n-grams, which takes many rows and endures typos; static: the mean of "
        "vectors of BPE pieces, for fewer rows; bert: a small BERT, which wants far more rows; "
        "layers, heads and inner_width are of the last",
    )
    width: int = Field(256, gt=0, description="Hidden size")
    layers: int = Field(3, gt=0, description="Number of layers")
    heads: int = Field(4, gt=0, description="Attention heads")
    inner_width: int = Field(768, gt=0, description="Size of the feed-forward part")
    vocabulary: int = Field(
        6000, gt=100, description="Pieces of the jamo tokenizer; ngrams: rows that they are hashed to"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="bert: inside the encoder; ngrams: share of them left out")
    piece_dropout: float = Field(0.1, ge=0, lt=1, description="Share of BPE merges left out in training")


class SbertPreset(BaseModel):
    """Training of one S-BERT."""

    model_config = ConfigDict(extra="forbid")

    base: str = Field(min_length=1, description="Hub id or folder, or 'nothing' for an untrained encoder")
    encoder: EncoderPreset = Field(default_factory=EncoderPreset, description="Used where base is 'nothing'")
    loss: Literal["cosine", "cosent", "angle", "contrastive"] = Field(
        "cosine", description="cosine: as the reference; contrastive: cosine with in-batch negatives beside it"
    )
    epochs: int = Field(10, ge=1, description="Passes over the pairs")
    rate: float = Field(2e-5, gt=0, description="Peak learning rate")
    batch: int = Field(16, ge=1, description="Pairs in a batch")
    weight_decay: float = Field(
        0.01, ge=0, description="AdamW weight decay; 0 for static vectors, of which few move in a step"
    )
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of the steps with a rising rate")
    validation: float = Field(0.1, gt=0, lt=1, description="Share of the training data kept for choosing")
    max_length: int = Field(64, gt=0, description="Longest text in ids")
    categories: list[str] = Field(
        default_factory=lambda: list(EthicsPolicy().labels),
        min_length=2,
        description="Category names of ethics, 일반 last",
    )
    augment: int = Field(
        0, ge=0, description="Respelt copies of each prompt (typos, spacing, signs), new in every epoch"
    )
    items: int = Field(
        16,
        ge=0,
        description="Memory, without the contrastive loss: items beside each prompt, its own among them; 0: all",
    )
    drawn: int = Field(
        0,
        ge=0,
        description="Ethics: prompts drawn from frames; rag: documents on made-up subjects with a question each, so that documents "
        "are found which were not trained on; new in every epoch",
    )
    chat: bool = Field(False, description="Ethics: dialogue prompts that were not refused stand beside the normal ones")

    @field_validator("categories")
    @classmethod
    def _known_categories(cls, found: list[str]) -> list[str]:
        known = EthicsPolicy().labels
        if strange := [name for name in found if name not in known]:
            raise ValueError(f"unknown: {', '.join(strange)}; known: {', '.join(known)}")
        if found[-1] != NORMAL or len({*found}) < len(found):
            raise ValueError(f"each name once, {NORMAL} last")
        return found


class Preset(BaseModel):
    """Everything a generation of the product trains."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, description="Name of the preset, as its file")
    description: str = Field(description="What it is for")
    seed: int = Field(42, description="Seed of everything that is drawn")
    threads: int = Field(0, ge=0, description="CPU threads of each part; 0: as torch likes")
    workers: int = Field(
        1, ge=1, description="Parts trained side by side by training.run; 1 on a GPU, which a part has to itself"
    )
    output: str = Field(description="Folder of the trained models, relative to the repository or absolute")
    bf16: bool = Field(True, description="bfloat16 matrix products where the hardware has them")
    tokenizer_size: int = Field(4096, ge=300, le=6000, description="Ids of the tokenizer of bases made from nothing")
    bases: dict[str, BasePreset] = Field(default_factory=dict, description="Bases made from nothing, by folder name")
    sft: dict[Task, SftPreset] = Field(default_factory=dict, description="Adapters by task")
    sbert: dict[Literal["memory", "ethics", "rag"], SbertPreset] = Field(default_factory=dict, description="S-BERTs")


class ConfigError(ValueError):
    """A preset that can't be used; the message says which field and why."""


def load(name: str, overrides: list[str] | None = None) -> Preset:
    """The preset ``name`` (a file of training/presets, or a path) with ``field.path=value`` overrides applied."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else PRESETS / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in PRESETS.glob("*.yaml")))
        raise ConfigError(f"there is no preset {name!r}; known: {known}")
    try:
        content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    for override in overrides or []:
        _apply(content, override)
    try:
        return Preset.model_validate(content)
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"preset {name}: " + "; ".join(lines)) from error


def _apply(content: dict[str, Any], override: str) -> None:
    field, found, text = override.partition("=")
    if not found:
        raise ConfigError(f"--set wants field=value, for example lora.rank=32; found {override!r}")
    *parents, last = field.split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise ConfigError(f"--set {override}: {parent} is a value, not a group of fields")
    try:
        content[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: {text!r} is not a YAML value") from error


def load_part(kind: Literal["bases", "sft", "sbert"], part: str, name: str, overrides: list[str] | None) -> Preset:
    """The preset for a command that trains one part, whose overrides may leave out its path: ``lora.rank=32`` is
    ``sft.output_message.lora.rank=32``. Raises ConfigError where the preset has no such part."""
    known = [str(known) for known in getattr(load(name), kind)]
    if part not in known:
        what = {"bases": "makes no base", "sft": "trains no adapter", "sbert": "trains no S-BERT"}[kind]
        raise ConfigError(f"preset {name} {what} {part!r}; it has: {', '.join(known) or 'none'}")
    own = Preset.model_fields
    return load(
        name,
        [o if o.split(".")[0].split("=")[0] in own else f"{kind}.{part}.{o}" for o in overrides or []],
    )


def root() -> Path:
    """The repository, which relative paths of a preset start at."""
    return Path(__file__).resolve().parent.parent
