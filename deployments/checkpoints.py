"""From a model reference to a checked local folder: a hub repository or a path, with or without a subfolder.

Knows nothing about engines. Every error is one sentence that starts with the name of the setting to change.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from deployments import documents
from deployments.config import ROOT, EncoderConfig, LanguageModelConfig, ModelRef, ModelsConfig, RagConfig

CHECKSUMS = "checksums.sha256"
SUPPORTED = ("LlamaForCausalLM", "GPTNeoXForCausalLM")
# Linear layers that an adapter may target, by architecture (system.md §1).
TARGETS = {
    "LlamaForCausalLM": {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
    "GPTNeoXForCausalLM": {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"},
}


class CheckpointError(ValueError):
    """A model that can't be served; the message names the setting."""


def _folder(ref: ModelRef) -> Path:
    return ROOT / Path(ref.path).expanduser() / ref.subfolder


def is_local(ref: ModelRef) -> bool:
    """Whether ``ref`` means a folder: it exists, or it does not look like ``owner/name``."""
    return _folder(ref).exists() or ref.path.startswith((".", "/", "~", "models/")) or ref.path.count("/") != 1


def resolve(ref: ModelRef, setting: str) -> Path:
    """The local folder of ``ref``; a hub repository is downloaded (or found in the cache). Raises CheckpointError."""
    if is_local(ref):
        folder = _folder(ref)
        if not folder.is_dir():
            raise CheckpointError(f"{setting}: there is no folder {folder}")
        verify(folder, setting)
        return folder.resolve()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        top = snapshot_download(
            ref.path, revision=ref.revision, allow_patterns=f"{ref.subfolder}/*" if ref.subfolder else None
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{setting}: {ref.path} could not be had from the hub ({reason}); name a local folder instead"
        ) from error
    folder = Path(top) / ref.subfolder
    if not folder.is_dir():
        raise CheckpointError(f"{setting}: the repository {ref.path} has no folder {ref.subfolder}")
    return folder


def verify(folder: Path, setting: str) -> None:
    """Compares the files of ``folder`` with the checksums kept in it or in a folder above it, where there are any."""
    folder = folder.resolve()
    for parent in [folder, *folder.parents][:4]:
        listed = parent / CHECKSUMS
        if not listed.is_file():
            continue
        for line in listed.read_text().splitlines():
            expected, _, name = line.partition("  ")
            file = parent / name.strip()
            if not file.is_relative_to(folder):
                continue
            if not file.is_file():
                raise CheckpointError(f"{setting}: {file} is listed in {listed} but is missing; restore it")
            if _sha256(file, file.stat().st_mtime_ns) != expected:
                raise CheckpointError(
                    f"{setting}: {file} does not match {listed}; restore it, or write the checksums again: "
                    f"python -m training.card {listed.parent}"
                )
        return


@cache
def _sha256(file: Path, modified: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_json(file: Path, setting: str) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text())
    except FileNotFoundError:
        raise CheckpointError(f"{setting}: {file.parent} has no {file.name}, so it is no such model") from None
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{setting}: {file} is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{setting}: {file} holds no JSON object")
    return value


def check_base(base: Path, setting: str) -> dict[str, Any]:
    """The config of a base that can be served; raises CheckpointError."""
    config = read_json(base / "config.json", setting)
    architecture = (config.get("architectures") or ["?"])[0]
    if architecture not in SUPPORTED:
        raise CheckpointError(f"{setting}: {base} is a {architecture}; known are {', '.join(SUPPORTED)}")
    if not (base / "tokenizer.json").is_file():
        raise CheckpointError(f"{setting}: {base} has no tokenizer.json; save its fast tokenizer beside the weights")
    highest, rows = _highest_id(base / "tokenizer.json"), config.get("vocab_size", 0)
    if highest >= rows:
        raise CheckpointError(
            f"{setting}: the tokenizer of {base} has ids up to {highest}, its embedding only {rows} rows; name a copy with a grown "
            "embedding (training.sft makes one with --set resize_embeddings=true)"
        )
    return config


@cache
def _highest_id(tokenizer: Path) -> int:
    return max(Tokenizer.from_file(str(tokenizer)).get_vocab().values())


def check_adapter(adapter: Path, base: dict[str, Any], max_rank: int, setting: str) -> None:
    """Raises CheckpointError unless ``adapter`` is a LoRA of the base's architecture and size, of a rank that may be served.

    The base that the adapter's own config names is not looked at: it is often a path of the trainer's disk.
    """
    config = read_json(adapter / "adapter_config.json", setting)
    if config.get("peft_type") != "LORA":
        raise CheckpointError(f"{setting}: {adapter} is a {config.get('peft_type')} adapter; only LORA can be served")
    rank = config.get("r")
    if not isinstance(rank, int) or rank < 1:
        raise CheckpointError(f"{setting}: {adapter} has rank {rank!r}; a rank is a whole number from 1")
    if rank > max_rank:
        raise CheckpointError(
            f"{setting}: {adapter} has rank {rank}, above max_lora_rank {max_rank}: raise that setting"
        )
    architecture = base["architectures"][0]
    targets = config.get("target_modules") or []
    strange = set(targets) - TARGETS[architecture] if isinstance(targets, list) else set()
    if strange:
        raise CheckpointError(
            f"{setting}: {adapter} targets {', '.join(sorted(strange))}, which a {architecture} does not have: "
            "it was trained on another architecture"
        )
    weights = adapter / "adapter_model.safetensors"
    if not weights.is_file():
        raise CheckpointError(f"{setting}: {adapter} has no adapter_model.safetensors")
    _check_shapes(weights, base, rank, setting)


def _check_shapes(weights: Path, base: dict[str, Any], rank: int, setting: str) -> None:
    """Compares the adapter's tensors with the base's width, depth and the stated rank, from the file's header alone."""
    with weights.open("rb") as stream:
        try:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        except (ValueError, MemoryError) as error:
            raise CheckpointError(f"{setting}: {weights} is no safetensors file ({error})") from None
    reads_hidden = ("q_proj", "gate_proj", "query_key_value", "dense_h_to_4h")
    depth = base["num_hidden_layers"]
    for name, tensor in header.items():
        if name == "__metadata__" or "lora_" not in name:
            continue
        shape = tensor["shape"]
        held = shape[0] if "lora_A" in name else shape[1]
        if held != rank:
            raise CheckpointError(f"{setting}: {weights} holds rank {held} where its config says {rank}")
        if (
            "lora_A" in name
            and any(f".{target}." in name for target in reads_hidden)
            and shape[1] != base["hidden_size"]
        ):
            raise CheckpointError(
                f"{setting}: {weights} is for a base of width {shape[1]}, but the configured base has {base['hidden_size']}"
            )
        layer = next((int(part) for part in name.split(".") if part.isdigit()), 0)
        if layer >= depth:
            raise CheckpointError(
                f"{setting}: {weights} is for a base of more layers than the {depth} of the configured one"
            )


def check_language_model(config: LanguageModelConfig, setting: str) -> tuple[Path, Path | None]:
    """Folders of base and adapter of one language model, checked. Raises CheckpointError."""
    base = resolve(config.base, f"{setting}.base")
    base_config = check_base(base, f"{setting}.base")
    if config.adapter is None:
        return base, None
    adapter = resolve(config.adapter, f"{setting}.adapter")
    check_adapter(adapter, base_config, config.max_lora_rank, f"{setting}.adapter")
    return base, adapter


def check_encoder(config: EncoderConfig, setting: str) -> Path:
    """Folder of one sentence encoder, checked. Raises CheckpointError."""
    folder = resolve(config.model, f"{setting}.model")
    if not (folder / "modules.json").is_file():
        raise CheckpointError(f"{setting}.model: {folder} has no modules.json, so it is no sentence-transformers model")
    return folder


def identity(ref: ModelRef) -> str:
    """A name that changes when the weights do: what kept embeddings are marked with."""
    if not is_local(ref):
        return f"{ref}@{ref.revision or 'main'}"
    folder = _folder(ref)
    files = sorted(folder.rglob("*.safetensors"))
    digests = "".join(_sha256(file.resolve(), file.stat().st_mtime_ns) for file in files)
    return hashlib.sha256(f"{ref}{digests}".encode()).hexdigest()[:16]


def check_local(models: ModelsConfig, profile: str) -> None:
    """Checks what can be checked without a download, before anything starts. Raises CheckpointError."""
    for name, model in models.items():
        if model.engine == "fake":
            continue
        setting = f"{profile}.{name}"
        if isinstance(model, EncoderConfig):
            if is_local(model.model):
                check_encoder(model, setting)
            if isinstance(model, RagConfig) and is_local(model.model):
                documents.load(ROOT / Path(model.documents).expanduser(), identity(model.model), f"{setting}.documents")
        elif is_local(model.base):
            if model.adapter is None or is_local(model.adapter):
                check_language_model(model, setting)
            else:
                check_base(resolve(model.base, f"{setting}.base"), f"{setting}.base")
