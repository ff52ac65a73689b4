"""A text generator without a model, for trying the API and for tests of what stands around an engine.

It is honest about being one: every answer is marked 🧪. Knows the formats' marks only to tell which kind of text is asked for.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from deployments.engines.base import Chunk, EngineSpec, GenerationRequest, before_stop, room
from ohlora.prompts import ANSWER_START, OHLORA_ANSWER, SUMMARY_START, USER_QUESTION


def echo(request: GenerationRequest) -> str:
    """What the fake writes by default: the prompt given back, a summary of its first words, and a memory where the prompt
    says what to remember, as in ``기억해 좋아하는 과일: 딸기``."""
    if request.choices:
        return request.choices[len(request.prompt) % len(request.choices)]
    text = request.prompt.removesuffix(ANSWER_START).removesuffix(SUMMARY_START).strip()
    if request.prompt.endswith(ANSWER_START):
        return f"🧪 {text.split(USER_QUESTION)[-1].strip()}"
    if OHLORA_ANSWER in text:
        return " ".join(text.split(OHLORA_ANSWER)[-1].split()[:4])
    told = re.search(r"기억해 ([^\[\]:]+): ([^\[\]:]+)$", text)
    return f"[{told[1]}: {told[2]}]" if told else ""


class FakeEngine:
    """Writes what ``script`` says, a word at a time, each after the spec's ``token_ms``."""

    def __init__(
        self,
        spec: EngineSpec | None = None,
        *,
        script: Callable[[GenerationRequest], str] = echo,
    ) -> None:
        self._max_model_len = spec.max_model_len if spec else 4096
        self._token_seconds = spec.token_ms / 1000 if spec else 0.0
        self._script = script
        self._running = 0

    async def start(self) -> None:
        return

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Chunk, None]:
        limit = room(request, self.count_tokens(request.prompt), self._max_model_len)
        self._running += 1
        try:
            async for chunk in self._written(request, limit):
                yield chunk
        finally:
            self._running -= 1

    async def _written(self, request: GenerationRequest, limit: int) -> AsyncGenerator[Chunk, None]:
        words = before_stop(self._script(request), request.stops)[0].split()
        for number, word in enumerate(words[:limit], start=1):
            await asyncio.sleep(self._token_seconds)
            last = number == min(len(words), limit)
            yield Chunk(f" {word}", 1, ("stop" if number == len(words) else "length") if last else None)
        if not words:
            yield Chunk("", 1, "stop")

    async def load_adapter(self, name: str, path: Path) -> None:
        return

    async def unload_adapter(self, name: str) -> None:
        return

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def running(self) -> int:
        return self._running

    async def check(self) -> None:
        return

    def close(self) -> None:
        return
