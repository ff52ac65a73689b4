"""Summary: a few words on what she answered, for the next turn."""

from ray import serve

from deployments.config import GenerationSettings
from deployments.engines.base import collect
from deployments.language_model import LanguageModel
from ohlora import prompts


@serve.deployment(max_ongoing_requests=64)
class Summary(LanguageModel):
    deployment = "Summary"
    task = prompts.Task.SUMMARY
    settings_type = GenerationSettings

    async def summarise(self, turn_input: str, answer: str) -> str | None:
        """The summary of a turn, or None when the model wrote none."""
        settings: GenerationSettings = self.settings
        request = self.request(prompts.summary_prompt(turn_input, answer), max_tokens=settings.max_new_tokens)
        # What a model writes comes back as a part of the next prompt, so it may hold no control text either.
        return prompts.neutralise(await collect(self.engine.generate(request))) or None
