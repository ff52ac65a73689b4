"""RagSBERT: the documents nearest to a question. Their vectors were made when the store was built."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import serve

from deployments import checkpoints, documents
from deployments.config import ROOT, RagConfig, RagSettings
from deployments.encoder import Encoder
from deployments.language_model import checked, logger
from deployments.models import Found


@serve.deployment(max_ongoing_requests=256)
class RagSBERT(Encoder):
    settings_type = RagSettings

    async def __init__(self, config: RagConfig, setting: str) -> None:  # type: ignore[misc]  # Serve awaits it
        await super().__init__(config, setting)
        self._setting = setting
        self._settings = RagSettings()
        self._store = await self._open(config.documents, f"{setting}.documents")
        self._configured = False

    async def _open(self, folder: str, setting: str) -> documents.DocumentStore:
        return await asyncio.to_thread(self._opened, ROOT / folder, setting)

    def _opened(self, folder: Path, setting: str) -> documents.DocumentStore:
        if self.config.engine == "fake":  # the fake embeds any text at once
            found = documents.read(folder.expanduser() / documents.TEXTS)
            return documents.DocumentStore(found, self._encode([d.text for d in found]), "fake")
        checkpoints.verify(folder.expanduser(), setting)
        return documents.load(folder.expanduser(), checkpoints.identity(self.config.model), setting)

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Takes another document store, or keeps the old one when it is none of this model."""
        settings: RagSettings = checked(
            RagSettings, user_config, "RagSBERT", self._settings if self._configured else None
        )
        folder = settings.documents or self.config.documents  # type: ignore[attr-defined]  # a RagConfig
        try:
            self._store = await self._open(folder, "deployments.RagSBERT.user_config.documents")
        except (documents.DocumentError, checkpoints.CheckpointError) as error:
            if not self._configured:
                raise
            logger.error("the documents were refused and the old ones go on: %s", error)
            return
        self._settings, self._configured = settings, True

    async def search(self, question: str) -> list[Found]:
        """The nearest documents, best first, whatever their cosine."""
        vector = await self._batched(question)
        return [
            Found(document.id, document.title, document.text, similarity)
            for document, similarity in self._store.nearest(vector, self._settings.top)
        ]

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"documents": len(self._store.documents)}
