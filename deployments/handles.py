"""The models of a turn as Serve handles: one call a hop, with a deadline, and every failure as ModelUnavailable.

Knows nothing about what a turn does with the results.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray import exceptions as ray_errors
from ray.serve import exceptions as serve_errors
from ray.serve.handle import DeploymentHandle

from deployments.engines.base import Chunk, PromptTooLong
from deployments.models import AnswerCall, Found, ModelUnavailable, UnknownAdapter

_NO_ANSWER = (
    ray_errors.RayError,
    serve_errors.RayServeException,
    asyncio.TimeoutError,
    ConnectionError,
)


class ServeModels:
    """Implements models.Models. ``handles`` are by deployment name."""

    def __init__(self, handles: dict[str, DeploymentHandle], count_tokens: Callable[[str], int]) -> None:
        self._handles = handles
        self._count_tokens = count_tokens
        self._answer = handles["Answer"].options(stream=True)

    async def answer(self, call: AnswerCall, deadline: float) -> AsyncGenerator[Chunk, None]:
        try:
            async with asyncio.timeout(deadline):
                response = self._answer.generate.remote(call)
                try:
                    async for chunk in response:
                        yield chunk
                except BaseException:
                    response.cancel()
                    raise
        except _NO_ANSWER as error:
            for known in (PromptTooLong, UnknownAdapter):
                if isinstance(error, known):  # Serve raises a replica's error as a RayError of its own type too
                    raise known(str(error)) from None
            raise _unavailable("Answer", error) from error

    async def extract(self, turn_input: str, deadline: float) -> tuple[str, str] | None:
        return await self._call("Memory", "extract", deadline, turn_input)

    async def summarise(self, turn_input: str, answer: str, deadline: float) -> str | None:
        return await self._call("Summary", "summarise", deadline, turn_input, answer)

    async def express(self, answer: str, deadline: float) -> str:
        return await self._call("Pose", "express", deadline, answer)

    async def ethics_scores(self, prompt: str, labels: tuple[str, ...], deadline: float) -> dict[str, float]:
        return await self._call("EthicsSBERT", "scores", deadline, prompt, labels)

    async def embed(self, texts: list[str], deadline: float) -> NDArray[np.float32]:
        return await self._call("MemorySBERT", "embed", deadline, texts)

    async def documents(self, question: str, deadline: float) -> list[Found]:
        if "RagSBERT" not in self._handles:
            raise ModelUnavailable("RagSBERT", "it is not configured")
        return await self._call("RagSBERT", "search", deadline, question)

    def count_tokens(self, text: str) -> int:
        return self._count_tokens(text)

    @property
    def looks_up(self) -> bool:
        """Whether there are documents at all."""
        return "RagSBERT" in self._handles

    async def adapters(self, deadline: float) -> list[str] | None:
        """Adapters that Answer has, or None when it does not say, or takes any (the fake)."""
        try:
            described = await self._call("Answer", "describe", deadline)
        except ModelUnavailable:
            return None
        return None if described["engine"] == "fake" else described["adapters"]

    async def describe(self, deadline: float) -> dict[str, dict[str, Any] | ModelUnavailable]:
        """What each deployment says it is, or why it does not answer."""

        async def one(name: str) -> dict[str, Any] | ModelUnavailable:
            try:
                return await self._call(name, "describe", deadline)
            except ModelUnavailable as error:
                return error

        found = await asyncio.gather(*(one(name) for name in self._handles))
        return dict(zip(self._handles, found, strict=True))

    async def _call(self, name: str, method: str, deadline: float, *args: Any) -> Any:
        try:
            async with asyncio.timeout(deadline):
                response = getattr(self._handles[name], method).remote(*args)
                try:
                    return await response
                except asyncio.CancelledError:
                    response.cancel()
                    raise
        except _NO_ANSWER as error:
            raise _unavailable(name, error) from error


def _unavailable(name: str, error: BaseException) -> ModelUnavailable:
    """With the kind of error and the last line of its message: a remote traceback ends with what happened."""
    lines = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__
    return ModelUnavailable(name, reason, overloaded=isinstance(error, serve_errors.BackPressureError))
