"""The models of a turn, as a turn sees them: one method a hop, and one exception for every way not to answer.

Knows nothing about where they run; deployments/handles.py reaches them through Serve.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.engines.base import Chunk

Vectors = NDArray[np.float32]


class ModelUnavailable(Exception):
    """A model did not answer, or not in time."""

    def __init__(self, model: str, reason: str, *, overloaded: bool = False) -> None:
        super().__init__(f"{model}: {reason}")
        self.model, self.overloaded = model, overloaded


class UnknownAdapter(ValueError):
    """A persona names an adapter that Answer doesn't have."""


@dataclass(frozen=True, kw_only=True)
class AnswerCall:
    """What Answer is asked: a whole prompt, the persona's adapter and its limits; the rest is what a client asked for.

    ``temperature`` None is the configured one; ``warmer`` is added to either.
    """

    prompt: str
    adapter: str
    max_total_tokens: int
    warmer: float = 0.0
    temperature: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """A document and its cosine with a question."""

    id: str
    title: str
    text: str
    similarity: float


class Models(Protocol):
    """The models of a turn. Every method raises ModelUnavailable after its deadline or when nothing answers."""

    def answer(self, call: AnswerCall, deadline: float) -> AsyncGenerator[Chunk, None]: ...
    async def documents(self, question: str, deadline: float) -> list[Found]: ...
    async def extract(self, turn_input: str, deadline: float) -> tuple[str, str] | None: ...
    async def summarise(self, turn_input: str, answer: str, deadline: float) -> str | None: ...
    async def express(self, answer: str, deadline: float) -> str: ...
    async def ethics_scores(self, prompt: str, labels: tuple[str, ...], deadline: float) -> dict[str, float]: ...
    async def embed(self, texts: list[str], deadline: float) -> Vectors: ...
    def count_tokens(self, text: str) -> int: ...
