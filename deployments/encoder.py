"""What the sentence-encoder deployments share: a model, batches, and unit vectors.

Knows nothing about what the texts mean.
"""

import asyncio
import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray import serve

from deployments import checkpoints, gpu
from deployments.config import EncoderConfig

Vectors = NDArray[np.float32]


class Encoder:
    """A replica of one sentence encoder, ready only after its warm-up."""

    async def __init__(self, config: EncoderConfig, setting: str) -> None:  # type: ignore[misc]  # Serve awaits it
        self.config = config
        self.share = gpu.assigned_share(config.num_gpus)
        self._model: Any = None
        if config.engine != "fake":
            with gpu.starting(self.share):
                await asyncio.to_thread(self._load, setting)
        await asyncio.to_thread(self._encode, ["안녕"])

    def _load(self, setting: str) -> None:
        from ohlora import encoders

        folder = checkpoints.check_encoder(self.config, setting)
        if self.share:
            gpu.limit_torch(self.share)
        self._model = encoders.load(folder, "cuda" if self.share else "cpu")

    def _encode(self, texts: list[str]) -> Vectors:
        """Unit vectors, shape (len(texts), d)."""
        if self._model is None:
            return np.stack([_hashed(text) for text in texts])
        vectors: Vectors = self._model.encode(
            texts, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return vectors.astype(np.float32)

    # Texts of requests that wait together are one batch. No waiting for more: while one batch runs the next one gathers.
    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.0)
    async def _batched(self, texts: list[str]) -> list[Vectors]:
        return [*await asyncio.to_thread(self._encode, texts)]

    async def embed(self, texts: list[str]) -> Vectors:
        """Unit vectors of ``texts``, shape (len(texts), d)."""
        return np.stack(await asyncio.gather(*(self._batched(text) for text in texts)))

    async def check_health(self) -> None:
        await asyncio.to_thread(
            self._encode, ["안녕"]
        )  # a broken device keeps failing: Serve then replaces the replica

    def describe(self) -> dict[str, Any]:
        return {
            "model": str(self.config.model),
            "adapter": None,
            "engine": self.config.engine,
            "num_gpus": self.share,
        }


def _hashed(text: str, width: int = 256) -> Vectors:
    """The fake's unit vector: letter pairs counted by hash, so that like texts are near each other."""
    vector = np.zeros(width, dtype=np.float32)
    for pair in zip(f" {text}", f"{text} ", strict=True):
        vector[int.from_bytes(hashlib.blake2b("".join(pair).encode(), digest_size=4).digest()) % width] += 1
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
