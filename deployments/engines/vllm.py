"""Text generation by vLLM's AsyncLLM: one base, several LoRA adapters, requests batched by the engine.

Knows nothing about tasks or Ray. On a GPU the memory it may use follows from its share (deployments/gpu.py); on a CPU it is
`cpu_kv_cache_gib`.
"""

import logging
import os
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from deployments import gpu, processes
from deployments.engines.base import Chunk, EngineSpec, GenerationRequest, room

logger = logging.getLogger(__name__)
GIB = 1024**3


class VLLMEngine:
    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self._tokenizer = Tokenizer.from_file(str(spec.base / "tokenizer.json"))
        self._adapters: dict[str, Any] = {}
        self._loaded = 0
        self._slots = max(spec.max_adapters, len(spec.adapters)) if spec.adapters or spec.max_adapters > 1 else 0
        self._engine: Any = None

    async def start(self) -> None:
        # An EngineCore outlives a killed replica and keeps its memory: clear those whose replica is gone, and mark ours.
        processes.kill_orphans()
        processes.mark_children()
        with gpu.starting(self._spec.gpu_share):
            self._engine = self._load()
        for name, path in self._spec.adapters.items():
            await self.load_adapter(name, path)
        await self._warm_up()

    async def load_adapter(self, name: str, path: Path) -> None:
        from vllm.lora.request import LoRARequest

        # A new number for each: requests that run keep the adapter they began with, which the engine drops when it needs room.
        self._loaded += 1
        request = LoRARequest(f"{name}-{self._loaded}", self._loaded, str(path))
        await self._engine.add_lora(request)
        self._adapters[name] = request

    async def unload_adapter(self, name: str) -> None:
        self._adapters.pop(name, None)

    def _load(self) -> Any:
        spec = self._spec
        memory: dict[str, Any]
        if spec.gpu_share:
            weights = gpu.weight_bytes(spec.base, spec.dtype)
            if self._slots:
                weights += gpu.adapter_bytes(spec.base, spec.max_lora_rank, self._slots, spec.dtype)
            limits = gpu.vllm_memory(spec.gpu_share, gpu.total_memory(), weights)
            memory = {
                "gpu_memory_utilization": limits.gpu_memory_utilization,
                "kv_cache_memory_bytes": limits.kv_cache_memory_bytes,
            }
        else:
            os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, round(spec.cpu_kv_cache_gib)))
            # Other replicas share these cores: binding the engine's threads to some of them makes both wait.
            os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
            # Prompts are short: room for a step of vLLM's default size would only be buffers.
            tokens = max(spec.max_model_len, 1024)
            memory = {"kv_cache_memory_bytes": int(spec.cpu_kv_cache_gib * GIB), "max_num_batched_tokens": tokens}
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        args = AsyncEngineArgs(
            model=str(spec.base),
            dtype=spec.dtype,
            max_model_len=spec.max_model_len,
            max_num_seqs=spec.max_num_seqs,
            enable_lora=bool(self._slots),
            max_loras=max(self._slots, 1),
            max_lora_rank=spec.max_lora_rank,
            enforce_eager=not spec.gpu_share,
            enable_prefix_caching=True,
            disable_log_stats=True,
            **memory,
        )
        return AsyncLLM.from_engine_args(args)

    async def _warm_up(self) -> None:
        """Generates a few tokens with each adapter: a fresh engine takes its first request many times slower."""
        adapters: list[str | None] = [*self._adapters]
        for adapter in adapters or [None]:
            request = GenerationRequest(prompt="안녕", adapter=adapter, temperature=0.0, stop="\0", max_tokens=4)
            async with aclosing(self.generate(request)) as chunks:
                async for _ in chunks:
                    pass

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Chunk, None]:
        adapter = self._adapters[request.adapter] if request.adapter else None
        from vllm.inputs import TokensPrompt
        from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

        ids = self._tokenizer.encode(
            request.prompt
        ).ids  # with the start token of tokenizers that have one, as in training
        choices = [f" {choice}" for choice in request.choices]
        params = SamplingParams(
            temperature=request.temperature,
            max_tokens=room(request, len(ids), self._spec.max_model_len),
            stop=[*request.stops],
            seed=request.seed,
            output_kind=RequestOutputKind.DELTA,
            structured_outputs=StructuredOutputsParams(choice=choices) if choices else None,
        )
        outputs = self._engine.generate(
            TokensPrompt(prompt_token_ids=ids),
            params,
            request_id=uuid.uuid4().hex,
            lora_request=adapter,
        )
        # Closing the generator is what aborts the request in the engine.
        async with aclosing(outputs):
            async for output in outputs:
                piece = output.outputs[0]
                yield Chunk(piece.text, len(piece.token_ids), piece.finish_reason)

    def count_tokens(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    async def running(self) -> int:
        """Requests that the engine has not finished."""
        return int(self._engine.get_num_unfinished_requests())

    async def check(self) -> None:
        await self._engine.check_health()

    def close(self) -> None:
        if self._engine is not None:
            self._engine.shutdown()
