"""How fast and how large the served system is on this machine, beside the sequential flow on the same models.

    python -m benchmarks.serving [--users 1 4 16] [--turns 60]

Starts `serve run` on the shipped file (own port, own data folder), measures, stops it, then runs the sequential flow. Prints
a Markdown table; the figures are of this machine and this run, so look at the ratios.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import socket
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import psutil
import yaml
from rich.console import Console

from deployments.config import ROOT
from deployments.launch import Run, read_config

console = Console(stderr=True)


def messages(count: int) -> list[str]:
    """Prompts of the validation data, in a fixed order."""
    with (ROOT / "training/data/dialogue/valid.jsonl").open() as file:
        inputs = [json.loads(line)["input"] for line in file]
    plain = [text for text in inputs if not text.startswith(("[", "(")) and len(text) <= 25]
    random.Random(0).shuffle(plain)
    return (plain * (count // len(plain) + 1))[:count]


def resident(root: int) -> tuple[float, float]:
    """GiB of all processes below ``root``: resident (shared pages counted in each) and proportional."""
    rss = pss = 0
    for process in [psutil.Process(root), *psutil.Process(root).children(recursive=True)]:
        try:
            info = process.memory_full_info()
        except psutil.Error:
            continue
        rss, pss = rss + info.rss, pss + info.pss
    return rss / 1024**3, pss / 1024**3


async def load(address: str, users: int, texts: list[str]) -> tuple[list[float], float, dict[str, float]]:
    """Seconds of each turn, turns per second, and the median milliseconds of each hop, with ``users`` at once."""
    taken: list[float] = []
    hops: dict[str, list[float]] = {}
    waiting = iter(enumerate(texts))

    async def user(client: httpx.AsyncClient, name: str) -> None:
        for _, text in waiting:
            began = time.perf_counter()
            response = await client.post("/v1/chat", json={"user_id": name, "session_id": name, "message": text})
            if response.status_code == 403:
                continue  # a prompt that the ethics model takes for abuse is answered without a model
            response.raise_for_status()
            taken.append(time.perf_counter() - began)
            for hop, value in response.json()["timings_ms"].items():
                hops.setdefault(hop, []).append(value)

    async with httpx.AsyncClient(base_url=address, timeout=120) as client:
        began = time.perf_counter()
        await asyncio.gather(*(user(client, f"bench-{users}-{i}-{os.getpid()}") for i in range(users)))
        seconds = time.perf_counter() - began
    return taken, len(taken) / seconds, {hop: statistics.median(values) for hop, values in hops.items()}


def served(users: list[int], turns: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        file = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
        file["http_options"]["port"] = port
        file["applications"][0]["args"] |= {"data_dir": folder, "profile": "cpu"}
        config = Path(folder) / "serve_config.yaml"
        config.write_text(yaml.safe_dump(file, allow_unicode=True))
        began = time.monotonic()
        run = Run(config, read_config(config, gpus=0), Path(folder))
        try:
            run.wait_until_ready()
            ready = time.monotonic() - began
            asyncio.run(load(run.address, 1, messages(5)))
            result: dict[str, object] = {"ready": ready}
            for count in users:
                console.print(f"{count} user(s), {turns * (1 if count == 1 else 2)} turns …")
                texts = messages(turns * (1 if count == 1 else 2))
                result[f"users-{count}"] = asyncio.run(load(run.address, count, texts))
            result["memory"] = resident(run.process.pid)
            return result
        finally:
            run.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, nargs="+", default=[1, 4, 16], help="how many at once (default: 1 4 16)")
    parser.add_argument("--turns", type=int, default=60, help="turns at one user; twice as many at more (default: 60)")
    options = parser.parse_args()

    console.print("Starting the system …")
    result = served(options.users, options.turns)
    console.print("The sequential flow …")
    from benchmarks import sequential

    remembered = [f"[항목 {i}: 값 {i}]" for i in range(20)]
    texts = messages(options.turns)
    alone = statistics.median(sequential.measure(texts, []))
    with_memories = statistics.median(sequential.measure(texts, remembered))

    rss, pss = result["memory"]  # type: ignore[misc]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print("| figure | value |\n| --- | --- |")
    print(f"| ready after `serve run` | {result['ready']:.0f} s |")
    print(f"| resident, all processes (shared pages counted once) | {rss:.1f} GiB ({pss:.1f} GiB) |")
    for count in options.users:
        taken, rate, hops = result[f"users-{count}"]  # type: ignore[misc]
        slowest = sorted(taken)[int(len(taken) * 0.95)]
        print(
            f"| {count} user(s): median / 95 % turn, turns per second | {statistics.median(taken) * 1000:.0f} / {slowest * 1000:.0f} ms, {rate:.1f} |"
        )
        parts = ", ".join(f"{hop} {value:.0f}" for hop, value in hops.items() if hop != "total")
        print(f"| {count} user(s): median ms by hop | {parts} |")
    taken, rate, _ = result[f"users-{options.users[0]}"]  # type: ignore[misc]
    print(
        f"| sequential flow, one user: median turn without / with 20 memories | {alone * 1000:.0f} / {with_memories * 1000:.0f} ms |"
    )
    print(
        f"| sequential turn with 20 memories ÷ served turn, one user | {with_memories / statistics.median(taken):.2f} |"
    )
    _, most, _ = result[f"users-{options.users[-1]}"]  # type: ignore[misc]
    print(f"| turns per second, {options.users[-1]} users served ÷ sequential | {most * with_memories:.2f} |")


if __name__ == "__main__":
    main()
