"""The models of a turn, as a turn sees them: one method a hop, and one exception for every way not to answer.

Knows nothing about where they run; deployments/handles.py reaches them through Serve.
"""

from collections.abc import AsyncGenerator
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


class Models(Protocol):
    """The models of a turn. Every method raises ModelUnavailable after its deadline or when nothing answers."""

    def answer(self, turn_input: str, warmer: float, deadline: float) -> AsyncGenerator[Chunk, None]: ...
    async def extract(self, turn_input: str, deadline: float) -> tuple[str, str] | None: ...
    async def summarise(self, turn_input: str, answer: str, deadline: float) -> str | None: ...
    async def express(self, answer: str, deadline: float) -> str: ...
    async def ethics_scores(self, prompt: str, labels: tuple[str, ...], deadline: float) -> dict[str, float]: ...
    async def embed(self, texts: list[str], deadline: float) -> Vectors: ...
    def count_tokens(self, text: str) -> int: ...
