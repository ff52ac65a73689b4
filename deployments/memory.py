"""Memory: what a prompt tells about the person, as one key and one value. Needs no answer, so it runs beside it."""

from ray import serve

from deployments.config import MemorySettings
from deployments.engines.base import collect
from deployments.language_model import LanguageModel
from ohlora import memories, prompts


@serve.deployment(max_ongoing_requests=64)
class Memory(LanguageModel):
    deployment = "Memory"
    task = prompts.Task.MEMORY
    settings_type = MemorySettings

    async def extract(self, turn_input: str) -> tuple[str, str] | None:
        """Key and value, or None when there is nothing to remember or no try had the exact format."""
        settings: MemorySettings = self.settings
        request = self.request(prompts.memory_prompt(turn_input), max_tokens=settings.max_new_tokens)
        for _ in range(settings.tries):
            output = (await collect(self.engine.generate(request))).strip()
            if not output:
                return None
            item = memories.parse(output)
            if item:
                return item
        return None
