"""What more requests than the system admits cost those who are in.

    python -m benchmarks.overload [--admitted 8] [--offered 48]

Runs the shipped fake engine behind the whole system with room for ``admitted`` turns. First that many users talk; then ``offered`` users
do, each of them again and again, so that most are refused. The median turn of those who were answered stands beside each other, and
how long a refusal took.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import httpx
from rich.console import Console

from benchmarks import fakes
from deployments.launch import Run, read_config

console = Console(stderr=True)
SECONDS = 8.0
MESSAGE = " ".join(f"말{number}" for number in range(20))


async def talk(client: httpx.AsyncClient, user: str, until: float, answered: list[float], refused: list[float]) -> None:
    while time.monotonic() < until:
        began = time.perf_counter()
        response = await client.post("/v1/chat", json={"user_id": user, "message": MESSAGE})
        taken = time.perf_counter() - began
        if response.status_code == 200:
            answered.append(taken)
        else:
            assert response.status_code == 429, response.text
            refused.append(taken)
            # A client waits as it is told; here a tenth of that, to keep the pressure up.
            await asyncio.sleep(int(response.headers["retry-after"]) / 10)


async def load(address: str, users: int) -> tuple[list[float], list[float]]:
    answered: list[float] = []
    refused: list[float] = []
    until = time.monotonic() + SECONDS
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=httpx.Limits(max_connections=users)) as client:
        await asyncio.gather(*(talk(client, f"u{number}", until, answered, refused) for number in range(users)))
    return answered, refused


async def measure(address: str, admitted: int, offered: int) -> None:
    await load(address, 2)
    calm, _ = await load(address, admitted)
    pressed, refused = await load(address, offered)
    before, after = statistics.median(calm) * 1000, statistics.median(pressed) * 1000
    print(f"| fake engine, room for {admitted} turns | median turn | turns per second |\n| --- | --- | --- |")
    print(f"| {admitted} users | {before:.0f} ms | {len(calm) / SECONDS:.1f} |")
    print(f"| {offered} users, {len(refused)} requests refused | {after:.0f} ms | {len(pressed) / SECONDS:.1f} |")
    print(f"| ratio | {after / before:.2f} | |")
    print(f"| a refusal, median | {statistics.median(refused) * 1000:.0f} ms | |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--admitted", type=int, default=8, help="turns at once (default: 8)")
    parser.add_argument("--offered", type=int, default=48, help="users at once (default: 48)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        path = fakes.config(data, fakes.free_port(), token_ms=20, max_turns=options.admitted)
        run = Run(path, read_config(path, gpus=0), data)
        try:
            with console.status("Starting …"):
                run.wait_until_ready()
            asyncio.run(measure(run.address, options.admitted, options.offered))
        finally:
            run.stop()


if __name__ == "__main__":
    main()
