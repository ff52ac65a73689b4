"""The flow that this project replaces: one process, one user, one model after the other, everything embedded at every turn.

The same tiny models and prompts as the served system, so that only the composition differs. Knows nothing about Serve or Redis.
"""

import asyncio
import time
from pathlib import Path

import numpy as np

from deployments.engines.base import EngineSpec, GenerationRequest, TextEngine, collect
from deployments.engines.hf import HFEngine
from ohlora import encoders, ethics, memories, prompts
from ohlora.pose import Pose
from ohlora.prompts import Task

TINY = Path(__file__).resolve().parent.parent / "models" / "tiny"


class Sequential:
    async def load(self) -> None:
        self._engines: dict[Task, TextEngine] = {}
        for task, base in (
            (Task.ANSWER, "llama"), (Task.SUMMARY, "llama"), (Task.MEMORY, "gpt-neox"), (Task.POSE, "gpt-neox"),
        ):  # fmt: skip
            spec = EngineSpec(
                base=TINY / base, adapters={str(task): TINY / "adapters" / str(task)}, dtype="float32",
                max_model_len=256, max_num_seqs=1, max_lora_rank=64,
            )  # fmt: skip
            self._engines[task] = HFEngine(spec)
            await self._engines[task].start()
        self._memory_sbert = encoders.load(TINY / "memory_sbert", "cpu")
        self._ethics_sbert = encoders.load(TINY / "ethics_sbert", "cpu")
        self._summary: str | None = None

    async def turn(self, message: str, remembered: list[str]) -> float:
        """Seconds of one turn with these remembered items."""
        began = time.perf_counter()
        labels = ethics.EthicsPolicy().labels
        self._ethics_sbert.encode([message, *labels], show_progress_bar=False)
        memory = None
        if remembered:
            vectors = self._memory_sbert.encode(
                [message, *remembered], normalize_embeddings=True, show_progress_bar=False
            )
            found = memories.best(vectors[0], np.asarray(vectors[1:]), threshold=0.6)
            memory = remembered[found[0]] if found else None
        turn_input = prompts.answer_input(message, memory=memory, summary=self._summary)
        answer = await self._write(Task.ANSWER, prompts.answer_prompt(turn_input), max_total_tokens=128)
        await self._write(Task.MEMORY, prompts.memory_prompt(turn_input), max_tokens=24)
        self._summary = await self._write(Task.SUMMARY, prompts.summary_prompt(turn_input, answer), max_tokens=64)
        await self._write(Task.POSE, prompts.pose_prompt(answer), max_tokens=36, choices=Pose.CHOICES)
        return time.perf_counter() - began

    async def _write(self, task: Task, prompt: str, **limits: object) -> str:
        request = GenerationRequest(
            prompt=prompt, adapter=str(task), temperature=0.6, stop=task.stop_mark, **limits  # type: ignore[arg-type]
        )  # fmt: skip
        return (await collect(self._engines[task].generate(request))).strip()


def measure(messages: list[str], remembered: list[str]) -> list[float]:
    """Seconds of each turn, after a few to warm up."""

    async def run() -> list[float]:
        flow = Sequential()
        await flow.load()
        for message in messages[:3]:
            await flow.turn(message, remembered)
        return [await flow.turn(message, remembered) for message in messages]

    return asyncio.run(run())
