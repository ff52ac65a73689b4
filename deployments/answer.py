"""Answer: what Oh-LoRA says, streamed. The first token leaves at once, later ones are gathered.

One engine holds an adapter for each persona; `user_config` adds and exchanges adapters while it runs.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from ray import serve

from deployments import checkpoints
from deployments.config import AnswerSettings, ModelRef
from deployments.engines.base import Chunk
from deployments.language_model import LanguageModel, checked, logger
from deployments.models import AnswerCall, UnknownAdapter
from ohlora import prompts


@serve.deployment(max_ongoing_requests=64)
class Answer(LanguageModel):
    deployment = "Answer"
    task = prompts.Task.ANSWER
    settings_type = AnswerSettings
    _served: dict[str, ModelRef]

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:  # type: ignore[override]  # Serve awaits it
        """Takes new settings and adapters, all of them or, when one is wrong, none: then the old ones go on serving."""
        settings: AnswerSettings = checked(
            AnswerSettings, user_config, self.deployment, self.settings if self._configured else None
        )
        profile: Any = self.profile
        wanted = settings.adapters.get(profile, {}) if self.config.engine != "fake" else {}
        served: dict[str, ModelRef] = self._served if self._configured else {}
        try:
            folders = {
                name: await asyncio.to_thread(self._checked, name, ref)
                for name, ref in wanted.items()
                if served.get(name) != ref
            }
            self._refuse_too_many(wanted)
        except checkpoints.CheckpointError as error:
            if not self._configured:
                raise
            logger.error("the adapters were refused and the old ones go on: %s", error)
            return
        loaded = []
        try:
            for name, folder in folders.items():
                await self.engine.load_adapter(name, folder)
                loaded.append(name)
        except Exception as error:  # only loading finds a damaged file, or an engine started for one adapter
            if not self._configured:
                raise
            logger.error("the adapters were refused and the old ones go on: %s could not be loaded: %s", name, error)
            for name in loaded:
                await self._put_back(name, served.get(name))
            return
        for name in served.keys() - wanted.keys():
            await self._put_back(name, None)
        self.settings, self._served, self._configured = settings, dict(wanted), True

    async def _put_back(self, name: str, ref: ModelRef | None) -> None:
        """Serves ``name`` by ``ref`` again; without one, by the adapter in args, or not at all."""
        ref = ref or (self.config.adapter if name == self.task else None)
        if ref:
            await self.engine.load_adapter(name, await asyncio.to_thread(self._checked, name, ref))
        else:
            await self.engine.unload_adapter(name)

    def _checked(self, name: str, ref: ModelRef) -> Any:
        setting = f"deployments.Answer.user_config.adapters.{self.profile}.{name}"
        folder = checkpoints.resolve(ref, setting)
        base = checkpoints.check_base(checkpoints.resolve(self.config.base, f"{self.profile}.answer.base"), setting)
        checkpoints.check_adapter(folder, base, self.config.max_lora_rank, setting)
        return folder

    def _refuse_too_many(self, wanted: Mapping[str, ModelRef]) -> None:
        count = len({*wanted, *([str(self.task)] if self.adapter else [])})
        if count > self.config.max_adapters:
            raise checkpoints.CheckpointError(
                f"deployments.Answer.user_config.adapters: {count} adapters are more than "
                f"{self.profile}.answer.max_adapters {self.config.max_adapters}: raise that setting"
            )

    async def generate(self, call: AnswerCall) -> AsyncGenerator[Chunk, None]:
        """Pieces of the answer to a prompt. Raises PromptTooLong, UnknownAdapter."""
        name: str | None = call.adapter
        if self.config.engine == "fake" or (name == self.task and self.adapter is None):
            name = None  # a base without adapters, as configured
        elif name not in self.adapters():
            raise UnknownAdapter(f"Answer has no adapter {name!r}; it has: {', '.join(self.adapters())}")
        request = self.request(
            call.prompt,
            warmer=call.warmer,
            max_total_tokens=call.max_total_tokens,
            max_tokens=call.max_tokens,
            more_stops=call.stop,
        )
        temperature = request.temperature if call.temperature is None else min(call.temperature + call.warmer, 2.0)
        request = replace(request, adapter=name, temperature=temperature)
        async with aclosing(self.engine.generate(request)) as chunks:
            async for chunk in gathered(chunks, self.settings.gather_ms / 1000):
                yield chunk

    def adapters(self) -> list[str]:
        """Names that a persona may use."""
        return sorted({str(self.task), *(self._served if self._configured else {})})

    async def running(self) -> int:
        """Generations that the engine has not finished."""
        return await self.engine.running()

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"adapters": self.adapters()}


async def gathered(chunks: AsyncGenerator[Chunk, None], seconds: float) -> AsyncGenerator[Chunk, None]:
    """The same output in fewer pieces: the first at once, then what came within ``seconds``, whether or not more comes."""
    pending: asyncio.Future[Chunk] | None = None
    text, tokens, sent_at = "", 0, float("-inf")
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(chunks))
            left = sent_at + seconds - time.monotonic() if text or tokens else None
            done, _ = await asyncio.wait([pending], timeout=left if left is None else max(left, 0))
            if done:
                finished, pending = pending, None
                try:
                    chunk = finished.result()
                except StopAsyncIteration:
                    return
                text, tokens = text + chunk.text, tokens + chunk.tokens
                if not chunk.finish_reason and time.monotonic() - sent_at < seconds:
                    continue
                yield Chunk(text, tokens, chunk.finish_reason)
            else:
                yield Chunk(text, tokens)
            text, tokens, sent_at = "", 0, time.monotonic()
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
