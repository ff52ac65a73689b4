"""The contract of text generation: what an engine is given, what it gives back.

Knows nothing about tasks, prompts or Ray. An engine continues a text with one base model and any number of LoRA adapters.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """What an engine loads. ``base`` and ``adapters`` are local folders that were checked before."""

    base: Path
    adapters: Mapping[str, Path]
    dtype: str
    max_model_len: int
    max_num_seqs: int
    max_lora_rank: int
    max_adapters: int = 1
    gpu_share: float = 0.0
    cpu_kv_cache_gib: float = 0.25
    token_ms: float = 0.0


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """One text to continue.

    ``max_total_tokens`` counts prompt and output together, ``max_tokens`` the output alone; the smaller limit holds.
    With ``choices`` the output is exactly one of them, followed by ``stop``. Output ends before ``stop`` or one of ``more_stops``.
    """

    prompt: str
    temperature: float
    stop: str
    adapter: str | None = None
    max_tokens: int | None = None
    max_total_tokens: int | None = None
    choices: tuple[str, ...] = ()
    more_stops: tuple[str, ...] = ()
    seed: int | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop, *self.more_stops)


@dataclass(frozen=True)
class Chunk:
    """A piece of output. The last one has a ``finish_reason``: ``stop`` or ``length``."""

    text: str
    tokens: int
    finish_reason: str | None = None


class PromptTooLong(ValueError):
    """The prompt leaves no room for output."""


class TextEngine(Protocol):
    async def start(self) -> None:
        """Loads everything and generates once, so that the first request is as fast as the next."""

    def generate(self, request: GenerationRequest) -> AsyncGenerator[Chunk, None]:
        """Pieces of output as they come. Closing the generator stops the generation. Raises PromptTooLong, KeyError (adapter)."""

    async def load_adapter(self, name: str, path: Path) -> None:
        """Serves ``name`` by the adapter at ``path``, which was checked before; running requests keep what they began with."""

    async def unload_adapter(self, name: str) -> None: ...

    def count_tokens(self, text: str) -> int: ...

    async def running(self) -> int:
        """Requests that have not finished."""

    async def check(self) -> None:
        """Raises when the engine can't generate any more."""

    def close(self) -> None: ...


def before_stop(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    """``text`` up to the first of ``stops``, and whether there was one."""
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    return (text[: min(found)], True) if found else (text, False)


def room(request: GenerationRequest, prompt_tokens: int, max_model_len: int) -> int:
    """Output tokens that ``request`` may have after a prompt of ``prompt_tokens``; raises PromptTooLong when none."""
    limits = [max_model_len - prompt_tokens]
    if request.max_tokens is not None:
        limits.append(request.max_tokens)
    if request.max_total_tokens is not None:
        limits.append(request.max_total_tokens - prompt_tokens)
    if min(limits) < 1:
        raise PromptTooLong(f"the prompt has {prompt_tokens} tokens and leaves no room for an answer")
    return min(limits)


async def collect(chunks: AsyncGenerator[Chunk, None]) -> str:
    """The whole output of a generation."""
    return "".join([chunk.text async for chunk in chunks])
