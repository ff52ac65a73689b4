"""EthicsSBERT: how near a prompt is to each category's name. Names are embedded once, prompts once a turn."""

from ray import serve

from deployments.config import EncoderConfig
from deployments.encoder import Encoder, Vectors


@serve.deployment(max_ongoing_requests=256)
class EthicsSBERT(Encoder):
    async def __init__(self, config: EncoderConfig, setting: str) -> None:  # type: ignore[misc]  # Serve awaits it
        await super().__init__(config, setting)
        # By the labels they are of: a changed policy brings other labels, without a restart.
        self._labels: dict[tuple[str, ...], Vectors] = {}

    async def scores(self, prompt: str, labels: tuple[str, ...]) -> dict[str, float]:
        """Cosine of ``prompt`` and each of ``labels``."""
        if labels not in self._labels:
            self._labels[labels] = await self.embed([*labels])
        vector = await self._batched(prompt)
        return {label: round(float(c), 4) for label, c in zip(labels, self._labels[labels] @ vector, strict=True)}
