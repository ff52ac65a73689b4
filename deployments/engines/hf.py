"""Text generation by transformers and peft: requests that wait together are generated together.

Knows nothing about tasks or Ray. Where there can be one adapter only it is merged into the base, which saves its extra products at
every token; several are switched per batch. Output comes in one piece.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessor, StoppingCriteria

from deployments import gpu
from deployments.engines.base import Chunk, EngineSpec, GenerationRequest, before_stop, room
from ohlora import head_dim


@dataclass
class _Waiting:
    request: GenerationRequest
    ids: list[int]
    room: int
    done: asyncio.Future[Chunk]

    @property
    def group(self) -> tuple[object, ...]:
        """Requests of one group can share a call of `generate`."""
        request = self.request
        return (request.adapter, request.temperature, request.stops, request.choices, request.seed)


class HFEngine:
    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self._fast = Tokenizer.from_file(str(spec.base / "tokenizer.json"))
        self._waiting: list[_Waiting] = []
        self._worker: asyncio.Task[None] | None = None
        self._tries: dict[tuple[tuple[str, ...], str], _Trie] = {}
        self._model: Any = None
        self._adapters: dict[str, str] = {}  # served name -> name inside of peft
        self._loaded = 0
        self._in_batch = 0
        self._using = asyncio.Lock()  # an adapter can't be added while a batch runs

    async def start(self) -> None:
        with gpu.starting(self._spec.gpu_share):
            await asyncio.to_thread(self._load)
        adapters: list[str | None] = [*self._spec.adapters]
        for adapter in adapters or [None]:
            request = GenerationRequest(prompt="안녕", adapter=adapter, temperature=0.0, stop="\0", max_tokens=4)
            async for _ in self.generate(request):
                pass

    def _load(self) -> None:
        spec = self._spec
        device = "cuda" if spec.gpu_share else "cpu"
        if spec.gpu_share:
            gpu.limit_torch(spec.gpu_share)
        head_dim.accept_own_head_dim()
        self._tokenizer = AutoTokenizer.from_pretrained(spec.base)
        model: Any = AutoModelForCausalLM.from_pretrained(spec.base, dtype=getattr(torch, spec.dtype)).to(device)
        if spec.adapters:
            from peft import PeftModel

            first, *others = spec.adapters
            model = PeftModel.from_pretrained(model, str(spec.adapters[first]), adapter_name=self._name(first))
            for name in others:
                model.load_adapter(str(spec.adapters[name]), adapter_name=self._name(name))
            if not others and spec.max_adapters == 1:
                model = model.merge_and_unload()
        self._model = model.eval()
        self._eos = self._tokenizer.eos_token_id
        self._pad = self._tokenizer.pad_token_id if self._tokenizer.pad_token_id is not None else self._eos

    def _name(self, name: str) -> str:
        self._loaded += 1
        self._adapters[name] = f"{name}-{self._loaded}"
        return self._adapters[name]

    async def load_adapter(self, name: str, path: Path) -> None:
        if not hasattr(self._model, "load_adapter") or not hasattr(self._model, "peft_config"):
            raise RuntimeError("this engine was started for one adapter: raise max_adapters")
        async with self._using:
            before = self._adapters.get(name)
            own = f"{name}-{self._loaded + 1}"
            await asyncio.to_thread(self._model.load_adapter, str(path), adapter_name=own)
            self._loaded += 1
            self._adapters[name] = own
            if before:
                self._model.set_adapter(own)
                self._model.delete_adapter(before)
            self._model.eval()

    async def unload_adapter(self, name: str) -> None:
        own = self._adapters.pop(name, None)
        if own and len(self._model.peft_config) > 1:
            async with self._using:
                self._model.delete_adapter(own)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Chunk, None]:
        if request.adapter is not None and request.adapter not in self._adapters:
            raise KeyError(request.adapter)
        ids = self._fast.encode(request.prompt).ids  # with the start token of tokenizers that have one, as in training
        done: asyncio.Future[Chunk] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(request, ids, room(request, len(ids), self._spec.max_model_len), done))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        yield await done

    async def _work(self) -> None:
        """Takes what waits, a batch at a time; what arrives meanwhile is the next batch."""
        while self._waiting:
            # One turn of the event loop, so that requests which arrived together are taken together.
            await asyncio.sleep(0)
            group = self._waiting[0].group
            batch = [waiting for waiting in self._waiting if waiting.group == group][: self._spec.max_num_seqs]
            self._waiting = [waiting for waiting in self._waiting if waiting not in batch]
            batch = [waiting for waiting in batch if not waiting.done.cancelled()]
            if not batch:
                continue
            try:
                async with self._using:
                    self._in_batch = len(batch)
                    chunks = await asyncio.to_thread(self._run, batch)
            except Exception as error:
                for waiting in batch:
                    if not waiting.done.done():
                        waiting.done.set_exception(error)
                continue
            finally:
                self._in_batch = 0
            for waiting, chunk in zip(batch, chunks, strict=True):
                if not waiting.done.done():
                    waiting.done.set_result(chunk)

    @torch.inference_mode()
    def _run(self, batch: list[_Waiting]) -> list[Chunk]:
        request = batch[0].request
        longest = max(len(waiting.ids) for waiting in batch)
        rows = [[self._pad] * (longest - len(w.ids)) + w.ids for w in batch]
        mask = [[0] * (longest - len(w.ids)) + [1] * len(w.ids) for w in batch]
        device = self._model.device
        if request.adapter and hasattr(self._model, "set_adapter") and hasattr(self._model, "peft_config"):
            self._model.set_adapter(self._adapters[request.adapter])
        if request.seed is not None:
            torch.manual_seed(request.seed)
        constraint = self._constraint(request, longest) if request.choices else None
        output = self._model.generate(
            input_ids=torch.tensor(rows, device=device),
            attention_mask=torch.tensor(mask, device=device),
            max_new_tokens=max(waiting.room for waiting in batch),
            do_sample=request.temperature > 0,
            # top_k and top_p off: plain sampling, as vLLM does by default.
            **({"temperature": request.temperature, "top_k": 0, "top_p": 1.0} if request.temperature > 0 else {}),
            logits_processor=[constraint] if constraint else [],
            stopping_criteria=[_StopText(self._fast, request.stops, longest)],
            pad_token_id=self._pad,
            eos_token_id=self._eos,
        )
        return [self._chunk(w, row[longest:].tolist()) for w, row in zip(batch, output, strict=True)]

    def _constraint(self, request: GenerationRequest, start: int) -> "_OnlyChoices":
        key = (request.choices, request.stop)
        if key not in self._tries:
            encoded = [self._fast.encode(f" {choice}", add_special_tokens=False).ids for choice in request.choices]
            self._tries[key] = _Trie(encoded, self._eos)
        return _OnlyChoices(self._tries[key], start)

    def _chunk(self, waiting: _Waiting, ids: list[int]) -> Chunk:
        ids = ids[: waiting.room]
        if self._eos in ids:
            ids = ids[: ids.index(self._eos)]
            text, finish = self._fast.decode(ids), "stop"
        else:
            text, finish = self._fast.decode(ids), "length"
        before, stopped = before_stop(text, waiting.request.stops)
        return Chunk(before, len(ids), "stop" if stopped else finish)

    def count_tokens(self, text: str) -> int:
        return len(self._fast.encode(text, add_special_tokens=False).ids)

    async def running(self) -> int:
        return len(self._waiting) + self._in_batch

    async def check(self) -> None:
        if self._model is None:
            raise RuntimeError("the model is not loaded")

    def close(self) -> None:
        self._model = None


class _StopText(StoppingCriteria):
    """Ends a row when its stop mark has been written, however it was split into tokens."""

    def __init__(self, tokenizer: Tokenizer, stops: tuple[str, ...], start: int) -> None:
        self._tokenizer, self._stops, self._start = tokenizer, stops, start
        # Byte-level tokens hold at least a byte, so a mark and the half-characters around it fit into this many.
        self._window = max(len(stop.encode()) for stop in stops) + 4

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
        tails = input_ids[:, max(self._start, input_ids.shape[1] - self._window) :].tolist()
        found = [any(stop in text for stop in self._stops) for text in self._tokenizer.decode_batch(tails)]
        return torch.tensor(found, device=input_ids.device)


class _Trie:
    """The token sequences that may be written, as a tree; the end of a sequence is ``end``."""

    def __init__(self, sequences: Iterable[list[int]], end: int) -> None:
        self.root: dict[int, Any] = {}
        self.end = end
        for sequence in sequences:
            node = self.root
            for token in [*sequence, end]:
                node = node.setdefault(token, {})

    def allowed(self, written: list[int]) -> list[int]:
        node = self.root
        for token in written:
            node = node.get(token, {})
        return [*node] or [self.end]


class _OnlyChoices(LogitsProcessor):
    """Leaves only the tokens that continue one of the choices (system.md §6: decode under the constraint, never retry)."""

    def __init__(self, trie: _Trie, start: int) -> None:
        self._trie, self._start = trie, start

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        mask = torch.full_like(scores, float("-inf"))
        for row, written in enumerate(input_ids[:, self._start :].tolist()):
            mask[row, self._trie.allowed(written)] = 0.0
        return scores + mask
