"""What HTTP, Serve's proxy and the ingress add to a stream, beside the engine itself.

    python -m benchmarks.streaming [--streams 32] [--token-ms 30]

Runs the shipped fake engine, whose token time is fixed, alone in this process and then behind the whole system: the time to the
first token with one user, and the longest pause inside a stream with many at once. Pieces are gathered for at most 30 ms, and the
first piece of text goes out as soon as no rule can refuse it.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path

import httpx
from rich.console import Console

from benchmarks import fakes
from deployments.engines.base import EngineSpec, GenerationRequest
from deployments.engines.fake import FakeEngine
from deployments.launch import Run, read_config
from ohlora.prompts import ANSWER_STOP, answer_prompt

console = Console(stderr=True)
TEXT = " ".join(f"말{number}" for number in range(38))


async def of_engine(token_ms: float) -> list[float]:
    """Seconds from the request to each token of the bare engine."""
    spec = EngineSpec(
        base=Path(),
        adapters={},
        dtype="float32",
        max_model_len=512,
        max_num_seqs=1,
        max_lora_rank=16,
        token_ms=token_ms,
    )
    began, found = time.perf_counter(), []
    request = GenerationRequest(prompt=answer_prompt(TEXT), temperature=0, stop=ANSWER_STOP)
    async with aclosing(FakeEngine(spec).generate(request)) as chunks:
        async for _ in chunks:
            found.append(time.perf_counter() - began)
    return found


async def of_system(client: httpx.AsyncClient, user: str) -> list[float]:
    """Seconds from the request to each piece of the answer over HTTP."""
    body = {"user_id": user, "message": TEXT, "stream": True}
    began, found, name = time.perf_counter(), [], ""
    async with client.stream("POST", "/v1/chat", json=body) as response:
        response.raise_for_status()
        lines: AsyncIterator[str] = response.aiter_lines()
        async for line in lines:
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: ") and name == "token":
                found.append(time.perf_counter() - began)
    return found


def pauses(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


async def measure(address: str, streams: int, token_ms: float) -> None:
    alone = [await of_engine(token_ms) for _ in range(5)]
    together = await asyncio.gather(*(of_engine(token_ms) for _ in range(streams)))
    limits = httpx.Limits(max_connections=streams)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
        await asyncio.gather(*(of_system(client, f"warm{n}") for n in range(4)))
        one = [await of_system(client, f"one{n}") for n in range(15)]
        many = await asyncio.gather(*(of_system(client, f"many{n}") for n in range(streams)))
    engine_first = statistics.median(times[0] for times in alone) * 1000
    first = statistics.median(times[0] for times in one) * 1000
    engine_pause = max(max(pauses(times)) for times in together) * 1000
    longest = [max(pauses(times)) * 1000 for times in many]
    print(f"| fake engine, {token_ms:g} ms a token | engine alone | over HTTP | added |\n| --- | --- | --- | --- |")
    print(
        f"| first token, one user (median of 15) | {engine_first:.1f} ms | {first:.1f} ms | {first - engine_first:.1f} ms |"
    )
    print(
        f"| longest pause in a stream, {streams} at once (worst of all) | {engine_pause:.1f} ms | {max(longest):.1f} ms "
        f"| {max(longest) - token_ms:.1f} ms over the token time |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=32, help="at once (default: 32)")
    parser.add_argument("--token-ms", type=float, default=30, help="of the fake engine (default: 30)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, port = Path(folder), fakes.free_port()
        path = fakes.config(data, port, token_ms=options.token_ms, cpu={"max_prompt_tokens": 64})
        run = Run(path, read_config(path, gpus=0), data)
        try:
            with console.status("Starting …"):
                run.wait_until_ready()
            asyncio.run(measure(run.address, options.streams, options.token_ms))
        finally:
            run.stop()


if __name__ == "__main__":
    main()
