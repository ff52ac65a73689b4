"""Two losses that look at a whole batch at once, beside those of sentence-transformers.

Both keep the meaning of the reference's cosine loss (a cosine should equal a score) and add a cross entropy inside the batch, which
orders what the squared error only places. Know nothing about data.
"""

from collections.abc import Iterable
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch.nn import functional


class CategoryLoss(nn.Module):
    """Every prompt of a batch against every category name, which are embedded anew in each step."""

    def __init__(
        self, model: SentenceTransformer, names: tuple[str, ...], *, temperature: float = 0.1, share: float = 0.2
    ) -> None:
        super().__init__()
        self.model, self.names, self.temperature, self.share = model, list(names), temperature, share

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """``labels``: wanted cosine of each prompt with each name, shape (n, names); rows add up to 1."""
        prompts = self.model(next(iter(sentence_features)))["sentence_embedding"]
        features = {
            k: v.to(prompts.device) for k, v in self.model.preprocess(self.names).items() if isinstance(v, Tensor)
        }
        names = self.model(features)["sentence_embedding"]
        cosines = functional.normalize(prompts, dim=1) @ functional.normalize(names, dim=1).T
        wanted = labels.to(cosines.dtype)
        squared = ((cosines - wanted) ** 2).sum(1).mean() / 2
        entropy = functional.cross_entropy(cosines / self.temperature, wanted, label_smoothing=0.02)
        return squared + self.share * entropy

    def get_config_dict(self) -> dict[str, Any]:
        return {"names": self.names, "temperature": self.temperature, "share": self.share}


class MatrixLoss(nn.Module):
    """Every item of a batch against every prompt of it, with the wanted cosine of each pair from a table of concepts. A concept
    that the table does not reach is like itself alone."""

    def __init__(
        self, model: SentenceTransformer, table: Tensor, *, temperature: float = 0.07, share: float = 0.2
    ) -> None:
        super().__init__()
        self.model, self.temperature, self.share = model, temperature, share
        self.register_buffer("table", table)
        self.table: Tensor

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """``labels``: concept of the item and of the prompt, shape (n, 2)."""
        items, prompts = (self.model(features)["sentence_embedding"] for features in sentence_features)
        cosines = functional.normalize(prompts, dim=1) @ functional.normalize(items, dim=1).T
        item, prompt = labels.long().T
        last = len(self.table) - 1
        wanted = self.table[prompt.clamp(max=last)][:, item.clamp(max=last)]
        beyond = (prompt[:, None] > last) | (item[None, :] > last)
        wanted = torch.where(beyond, (prompt[:, None] == item[None, :]).to(wanted.dtype), wanted)
        same = wanted > 0.99
        weight = torch.where(same, same.numel() / same.sum().clamp(min=1) * 0.3, 1.0)
        squared = (weight * (cosines - wanted) ** 2).mean()
        answered = same.any(1)
        logs = functional.log_softmax(cosines / self.temperature, dim=1)
        entropy = -torch.where(same, logs, 0).sum(1)[answered] / same.sum(1)[answered]
        return squared + self.share * entropy.mean()

    def get_config_dict(self) -> dict[str, Any]:
        return {"temperature": self.temperature, "share": self.share}
