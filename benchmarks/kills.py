"""Kills whatever is there, at random, under load, and then looks whether a turn was lost, doubled or half kept.

    python -m benchmarks.kills [--kills 200] [--users 12] [--seed 0]

Runs the whole system (two ingress replicas, an embedded Redis) with the fake engine, so that a replica is back in seconds
and two hundred kills take minutes. Each user tells one thing after the other under an idempotency key and repeats a request
until it is answered, or now and then gives it up. Afterwards every acknowledged turn must be there once, in its order; one
that was given up must be there whole or not at all; and what is remembered must be what the last kept turn told.
"""

import argparse
import asyncio
import collections
import contextlib
import random
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.progress import Progress

from benchmarks import fakes
from deployments.launch import Run, read_config, redis_server

console = Console(stderr=True)
TARGETS = ("Ingress", "Answer", "Summary", "Memory", "Pose", "MemorySBERT", "EthicsSBERT", "Redis")
GIVE_UP = 0.1  # of the requests that failed once: never repeated, so nobody knows whether their turn was kept


@dataclass
class Told:
    """What one user sent, in order."""

    acknowledged: dict[str, str] = field(default_factory=dict)  # message -> turn id
    given_up: list[str] = field(default_factory=list)
    order: list[str] = field(default_factory=list)


def config(folder: Path, port: int) -> Path:
    """Fakes and two ingress replicas. A turn that waits for a dead replica ends soon; no fake memory is near enough to be used."""
    deadlines = dict.fromkeys(("answer", "ethics", "memory", "pose", "summary"), 3)
    return fakes.config(folder, port, token_ms=5, replicas=2, deadlines_s=deadlines, cpu={"memory_threshold": 1.0})


async def talk(client: httpx.AsyncClient, user: str, told: Told, stop: asyncio.Event, rng: random.Random) -> None:
    """One thing after the other, until ``stop``; the last one is seen through."""
    number = 0
    while not stop.is_set():
        number += 1
        message = f"기억해 번호: {number}"
        body = {"user_id": user, "session_id": "s", "message": message}
        told.order.append(message)
        while True:
            with contextlib.suppress(httpx.HTTPError):
                response = await client.post("/v1/chat", json=body, headers={"idempotency-key": f"{user}-{number}"})
                if response.status_code == 200:
                    told.acknowledged[message] = response.json()["turn_id"]
                    break
                if response.status_code not in (409, 429, 500, 503, 504):
                    raise RuntimeError(f"{response.status_code}: {response.text}")
            if rng.random() < GIVE_UP:
                told.given_up.append(message)
                break
            await asyncio.sleep(rng.random() * 0.3)


def victims(run: Run, data: Path, target: str) -> list[psutil.Process]:
    if target == "Redis":
        return redis_server(data)
    found = []
    for process in psutil.Process(run.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if f"ServeReplica:ohlora:{target}" in " ".join(process.cmdline()):
                found.append(process)
    return found


async def kill(run: Run, data: Path, count: int, rng: random.Random) -> collections.Counter[str]:
    killed: collections.Counter[str] = collections.Counter()
    with Progress(console=console) as progress:
        task = progress.add_task("kills", total=count)
        while killed.total() < count:
            await asyncio.sleep(rng.uniform(0.2, 1.5))
            target = rng.choice(TARGETS)
            found = await asyncio.to_thread(victims, run, data, target)
            if not found:
                continue
            with contextlib.suppress(psutil.Error):
                rng.choice(found).send_signal(signal.SIGKILL)
                killed[target] += 1
                progress.advance(task)
    return killed


async def check(client: httpx.AsyncClient, user: str, told: Told) -> dict[str, int]:
    """What is wrong with what was kept of one user: lost, doubled, half kept, out of order, memory."""
    turns: list[dict[str, Any]] = (await client.get(f"/v1/users/{user}/sessions/s")).raise_for_status().json()["turns"]
    kept = [turn["prompt"] for turn in turns]
    numbers = [turn["turn_number"] for turn in turns]
    position = {message: at for at, message in enumerate(told.order)}
    ids = {turn["prompt"]: turn["turn_id"] for turn in turns}
    memories = (await client.get(f"/v1/users/{user}/memories")).raise_for_status().json()["memories"]
    # A turn whose memory model was dead was kept without a memory, and its reply said so.
    remembering = [turn for turn in turns if "memory" not in turn["reply"]["degraded"]]
    last = remembering[-1]["prompt"].rpartition(": ")[2] if remembering else None
    whole = [bool(turn["answer"]) and turn["reply"]["turn_id"] == turn["turn_id"] for turn in turns]
    return {
        "lost": sum(ids.get(message) != turn for message, turn in told.acknowledged.items()),
        "doubled": len(kept) - len(set(kept)),
        "half": whole.count(False) + sum(m not in told.acknowledged and m not in told.given_up for m in kept),
        "out of order": int([position[m] for m in kept] != sorted(position[m] for m in kept))
        + int(numbers != list(range(1, len(turns) + 1))),
        "memory not that of the last kept turn": int([m["value"] for m in memories] != ([last] if last else [])),
    }


async def run_all(run: Run, data: Path, kills: int, users: int, seed: int) -> tuple[Any, list[Told], dict[str, int]]:
    rng = random.Random(seed)
    told = {f"user-{number}": Told() for number in range(users)}
    stop = asyncio.Event()
    limits = httpx.Limits(max_connections=users * 2)
    async with httpx.AsyncClient(base_url=run.address, timeout=30, limits=limits) as client:
        talking = [asyncio.create_task(talk(client, u, t, stop, random.Random(f"{seed}{u}"))) for u, t in told.items()]
        killed = await kill(run, data, kills, rng)
        stop.set()
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get("/readyz")).status_code == 200:
                    break
            await asyncio.sleep(1)
        await asyncio.wait_for(asyncio.gather(*talking), 180)
        await asyncio.sleep(1)
        wrong: collections.Counter[str] = collections.Counter()
        for user, one in told.items():
            wrong.update(await check(client, user, one))
    return killed, [*told.values()], dict(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="how many in all (default: 200)")
    parser.add_argument("--users", type=int, default=12, help="users who talk meanwhile (default: 12)")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed when (default: 0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        data = Path(folder).resolve()
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        path = config(data, port)
        run = Run(path, read_config(path, gpus=0), data)
        try:
            run.wait_until_ready()
            began = time.monotonic()
            killed, told, wrong = asyncio.run(run_all(run, data, options.kills, options.users, options.seed))
        finally:
            run.stop()
    acknowledged = sum(len(one.acknowledged) for one in told)
    given_up = sum(len(one.given_up) for one in told)
    print(
        f"{killed.total()} kills in {time.monotonic() - began:.0f} s: "
        + ", ".join(f"{k} {n}" for k, n in killed.most_common())
    )
    print(f"{acknowledged} turns acknowledged, {given_up} given up by their client")
    print(", ".join(f"{count} {name}" for name, count in wrong.items()))
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
