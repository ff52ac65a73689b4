"""Answer: what Oh-LoRA says, streamed. The first token leaves at once, later ones are gathered."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from ray import serve

from deployments.config import AnswerSettings
from deployments.engines.base import Chunk
from deployments.language_model import LanguageModel
from ohlora import prompts


@serve.deployment(max_ongoing_requests=64)
class Answer(LanguageModel):
    deployment = "Answer"
    task = prompts.Task.ANSWER
    settings_type = AnswerSettings

    async def generate(self, turn_input: str, warmer: float = 0.0) -> AsyncGenerator[Chunk, None]:
        """Pieces of the answer to INPUT; ``warmer`` is added to the temperature.

        Raises PromptTooLong when INPUT leaves no room for an answer.
        """
        settings: AnswerSettings = self.settings
        request = self.request(
            prompts.answer_prompt(turn_input),
            warmer=warmer,
            max_total_tokens=settings.max_total_tokens,
        )
        async with aclosing(self.engine.generate(request)) as chunks:
            async for chunk in gathered(chunks, settings.gather_ms / 1000):
                yield chunk


async def gathered(chunks: AsyncGenerator[Chunk, None], seconds: float) -> AsyncGenerator[Chunk, None]:
    """The same output in fewer pieces: the first at once, then what came within ``seconds`` since the last piece."""
    text, tokens, sent_at = "", 0, float("-inf")
    async for chunk in chunks:
        text, tokens = text + chunk.text, tokens + chunk.tokens
        now = time.monotonic()
        if chunk.finish_reason or now - sent_at >= seconds:
            yield Chunk(text, tokens, chunk.finish_reason)
            text, tokens, sent_at = "", 0, now
