"""Sentence encoders as training makes and serving loads them: folders of sentence-transformers, one kind of which is our own.

That kind is an embedding of letter n-grams. A mean over BPE pieces sees a text in one cut only; n-grams overlap, so an obfuscated or
misspelt word keeps most of its parts. Knows nothing about what a text means.
"""

import json
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules.input_module import InputModule

_OFFSET, _PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)  # FNV-1a, 64 bits


class NgramEmbedding(InputModule):
    """The sum of learned vectors of a text's n-grams, hashed to ``rows`` (FNV-1a): of jamo and of syllables, with spaces and signs,
    and of syllables without them, which reads 좋.아♡해 as 좋아해.

    ``dropout`` is the share of n-grams left out while training, so that no single one decides. Each counts once in a text.
    """

    config_file_name = "ngrams.json"
    config_keys = ["rows", "width", "jamo", "syllables", "bare", "dropout"]  # noqa: RUF012  # a name of sentence-transformers

    def __init__(
        self,
        rows: int,
        width: int,
        *,
        jamo: Sequence[int] = (2, 3, 4, 5, 6),
        syllables: Sequence[int] = (1, 2, 3),
        bare: Sequence[int] = (2, 3, 4),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.rows, self.width, self.dropout = rows, width, dropout
        self.jamo, self.syllables, self.bare = list(jamo), list(syllables), list(bare)
        self.embedding = torch.nn.EmbeddingBag(rows, width, mode="sum")
        torch.nn.init.normal_(self.embedding.weight, std=0.1)
        self.tokenizer = None  # there are no ids to look up

    def ids(self, text: str) -> NDArray[np.int64]:
        """Rows of the text's n-grams, each once, ascending. An empty text has one, of its two spaces."""
        words = text.lower().replace("\ufe0f", "").split()
        plain = f" {' '.join(words)} "
        hashes = [
            *_hashes(unicodedata.normalize("NFKD", plain), self.jamo, 1),
            *_hashes(plain, self.syllables, 2),
            *_hashes("".join(filter(str.isalnum, plain)), self.bare, 3),
        ]
        return np.unique(np.concatenate(hashes) % np.uint64(self.rows)).astype(np.int64)

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **_: Any) -> dict[str, torch.Tensor]:
        found = [self.ids(text) for text in (self._prepend_prompt(list(inputs), prompt) if prompt else inputs)]
        if self.training and self.dropout:
            found = [ids[torch.rand(len(ids)).numpy() >= self.dropout] for ids in found]
        offsets = np.cumsum([0, *map(len, found[:-1])])
        return {"input_ids": torch.from_numpy(np.concatenate(found)), "offsets": torch.from_numpy(offsets)}

    def forward(self, features: dict[str, torch.Tensor | Any], **_: Any) -> dict[str, torch.Tensor | Any]:
        features["sentence_embedding"] = self.embedding(features["input_ids"], features["offsets"])
        return features

    def get_embedding_dimension(self) -> int:
        return self.width

    def save(self, output_path: str, *_: Any, safe_serialization: bool = True, **__: Any) -> None:
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)

    @classmethod
    def load(cls, model_name_or_path: str, **found: Any) -> Self:
        """Weights are float32 in memory, whatever they are on disk."""
        where = {
            k: v
            for k, v in found.items()
            if k in ("subfolder", "token", "cache_folder", "revision", "local_files_only")
        }
        model = cls(**cls.load_config(model_name_or_path, **where))
        return cls.load_torch_weights(model_name_or_path, model=model, **where)


def _hashes(text: str, sizes: Sequence[int], kind: int) -> Iterator[NDArray[np.uint64]]:
    """FNV-1a over the code points of every n-gram, for each size; ``kind`` and size begin the hash, so that kinds differ."""
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.uint64)
    with np.errstate(over="ignore"):
        for size in sizes:
            count = len(codes) - size + 1
            if count < 1:
                continue
            found = np.full(count, (_OFFSET ^ np.uint64(kind * 256 + size)) * _PRIME)
            for at in range(size):
                found = (found ^ codes[at : count + at]) * _PRIME
            yield found ^ (found >> np.uint64(29))  # the low bits alone mix badly


TYPE = f"{NgramEmbedding.__module__}.{NgramEmbedding.__name__}"


def load(folder: str | Path, device: str | None = None) -> SentenceTransformer:
    """The encoder in ``folder``, or of a hub id. sentence-transformers would ask for ``trust_remote_code`` before it loads a class
    that is not its own; ours is known by its exact name, and no code of a folder is ever run."""
    modules = Path(folder) / "modules.json"
    if modules.is_file() and [m.get("type") for m in json.loads(modules.read_text(encoding="utf-8"))] == [TYPE]:
        return SentenceTransformer(modules=[NgramEmbedding.load(str(folder))], device=device)
    return SentenceTransformer(str(folder), device=device)
