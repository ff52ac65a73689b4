"""GPU shares: what a replica may take of the card that Ray gave it, and who may start on it now.

Ray's fractions are bookkeeping that nothing enforces, so a replica turns its share into limits of its own. Knows nothing
about which model belongs where. Functions that touch a card import torch; the arithmetic does not.
"""

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

GIB = 1024**3
# What an engine needs beside weights, adapters and KV cache: CUDA context, kernels' workspaces, activations of one batch.
OVERHEAD_BYTES = int(1.0 * GIB)
# Left free of a share, because allocators round up.
SAFETY = 0.96
BYTES_PER_WEIGHT = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class VLLMMemory:
    """vLLM's two settings: the first is what it checks at its start, the second is what it really allots to the KV cache.

    With the second set vLLM skips its profiling, which charges the whole device's use to the engine that is starting (vLLM
    issue 55827): two that start together would starve each other.
    """

    gpu_memory_utilization: float
    kv_cache_memory_bytes: int


def vllm_memory(share: float, total_bytes: int, weights_bytes: int) -> VLLMMemory:
    """Memory settings for ``share`` of a card with ``total_bytes``; raises ValueError where the weights do not fit."""
    budget = int(share * total_bytes * SAFETY) if share < 1 else int(total_bytes * 0.9)
    kv_cache = budget - weights_bytes - OVERHEAD_BYTES
    if kv_cache < 64 * 1024**2:
        needed = (weights_bytes + OVERHEAD_BYTES + 64 * 1024**2) / (total_bytes * SAFETY)
        raise ValueError(
            f"num_gpus {share:g} is {budget / GIB:.1f} GiB of this card, but the weights take {weights_bytes / GIB:.1f} GiB and "
            f"the engine {OVERHEAD_BYTES / GIB:.1f} GiB beside them: give it at least {needed:.2f}"
        )
    return VLLMMemory(round(budget / total_bytes, 4), kv_cache)


def weight_bytes(base: Path, dtype: str) -> int:
    """Size of the weights in ``base`` once they are loaded as ``dtype``, from the headers of its safetensors files."""
    sizes = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1}
    weights = other = 0
    for file in sorted(base.glob("*.safetensors")):
        with file.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        for name, tensor in header.items():
            if name == "__metadata__":
                continue
            count = 1
            for size in tensor["shape"]:
                count *= size
            if tensor["dtype"] in ("F64", "F32", "BF16", "F16"):
                weights += count * BYTES_PER_WEIGHT[dtype]
            else:
                other += count * sizes.get(tensor["dtype"], 1)
    if not weights:  # .bin checkpoints: their size on disk, taken as two bytes a weight
        weights = sum(file.stat().st_size for file in base.glob("*.bin")) // 2 * BYTES_PER_WEIGHT[dtype]
    return weights + other


def adapter_bytes(base: Path, max_rank: int, slots: int, dtype: str) -> int:
    """What vLLM allots to ``slots`` adapters of rank ``max_rank`` at its start: A and B of every linear layer of ``base``."""
    config = json.loads((base / "config.json").read_text())
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    if config.get("model_type") == "gpt_neox":
        sizes = [(hidden, 3 * hidden), (hidden, hidden), (hidden, inner), (inner, hidden)]
    else:
        heads = config["num_attention_heads"]
        head = config.get("head_dim") or hidden // heads
        q, kv = heads * head, (config.get("num_key_value_heads") or heads) * head
        sizes = [
            (hidden, q),
            (hidden, kv),
            (hidden, kv),
            (q, hidden),
            (hidden, inner),
            (hidden, inner),
            (inner, hidden),
        ]
    numbers = max_rank * sum(read + written for read, written in sizes) * config["num_hidden_layers"]
    return slots * numbers * BYTES_PER_WEIGHT[dtype]


def assigned_share(configured: float) -> float:
    """The share that Ray gave this replica, which Serve's own `deployments:` list may have changed; outside of a replica
    the configured one."""
    import ray

    if not ray.is_initialized():
        return configured
    return float(ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0))


def total_memory() -> int:
    """Bytes of the first GPU that this process may see."""
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory)


def limit_torch(share: float) -> None:
    """Holds torch's allocator in this process to ``share`` of the card; without it a model could take its neighbours' part."""
    import torch

    if share < 1:
        torch.cuda.set_per_process_memory_fraction(share * SAFETY, 0)


@contextmanager
def starting(share: float) -> Iterator[None]:
    """Holds the lock of this process's GPU while an engine starts on it: memory is measured by one at a time."""
    if not share:
        yield
        return
    card = os.environ.get("CUDA_VISIBLE_DEVICES", "0").replace(",", "_")
    path = Path(tempfile.gettempdir()) / f"ohlora-gpu-{card}.lock"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)
