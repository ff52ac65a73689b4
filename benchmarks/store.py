"""What the store costs a turn: load (`begin`) and `commit` together, with many sessions at once.

    python -m benchmarks.store [--sessions 50] [--turns 12]

Runs this machine's own redis-server twice: as the embedded one is run (the append-only file is synced at every commit, so that
an acknowledged turn survives a power cut), and with the syncing left to the operating system (it survives the death of any
process, not a power cut). The disk's own time for one sync stands beside them: no commit of the first kind is faster.
"""

import argparse
import asyncio
import datetime as dt
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import redis

from ohlora.memories import best
from state.embedded import EmbeddedRedis
from state.store import Store, StoreSettings
from state.types import MemoryWrite, Turn

VECTOR = np.full((1, 256), 1 / 16, dtype=np.float32)
THINKING_S = 0.5  # between load and commit, and between two turns: about what a turn's models take


async def talk(store: Store, user: str, turns: int, taken: list[float]) -> None:
    await asyncio.sleep(random.random() * THINKING_S)
    for number in range(turns):
        now = dt.datetime.now(dt.UTC)
        began = time.perf_counter()
        begun = await store.begin(user_id=user, session_id="s", now=now, today=now.date(), embedder="e")
        loaded = time.perf_counter()
        await asyncio.sleep(random.random() * THINKING_S)
        assert begun.lease is not None
        turn = Turn(
            turn_id=f"{user}-{number}", at=now, today=now.date(), prompt="오늘 뭐 먹을까?" * 2, answer="떡볶이 어때?" * 4,
            reply={"answer": "떡볶이 어때?" * 60}, summary="떡볶이 추천",
            memory=MemoryWrite(key=f"항목 {number}", value="값", date=None, vectors=VECTOR, embedder="e"),
        )  # fmt: skip
        before = time.perf_counter()
        await store.commit(begun.lease, turn)
        taken.append((loaded - began) + (time.perf_counter() - before))
        await asyncio.sleep(random.random() * THINKING_S)


async def measure(url: str, sessions: int, turns: int, run: str) -> list[float]:
    store = Store.from_url(url, StoreSettings(key_prefix=run))
    taken: list[float] = []
    await asyncio.gather(*(talk(store, f"u{number}", turns, taken) for number in range(sessions)))
    await store.close()
    return sorted(taken)


async def retrieval(url: str, items: int) -> tuple[float, float]:
    """Milliseconds of loading ``items`` remembered items and finding the nearest: the first time in a process, and the median
    later."""
    random_vectors = np.random.default_rng(0).normal(size=(items, 256)).astype(np.float32)
    random_vectors /= np.linalg.norm(random_vectors, axis=1, keepdims=True)
    writer, taken = Store.from_url(url, StoreSettings(key_prefix="many", max_memories=items)), []
    now = dt.datetime.now(dt.UTC)
    for number, vector in enumerate(random_vectors):
        await writer.put_memory(
            "mina", f"항목 {number}번", "값", today=now.date(), now=now, embeddings=[vector], embedder="e"
        )
    await writer.close()
    store = Store.from_url(url, StoreSettings(key_prefix="many", max_memories=items))
    await store.ping()
    for number in range(50):
        began = time.perf_counter()
        begun = await store.begin(user_id="mina", session_id=f"s{number}", now=now, today=now.date(), embedder="e")
        found = best(random_vectors[number], begun.vectors, threshold=0.9)
        taken.append((time.perf_counter() - began) * 1000)
        assert found is not None
        assert begun.lease is not None
        await store.release(begun.lease)
    await store.close()
    return taken[0], statistics.median(taken[1:])


def sync_ms(folder: Path) -> float:
    """Median milliseconds of writing a turn's bytes to a file and syncing it."""
    taken = []
    with (folder / "sync").open("wb") as file:
        for _ in range(50):
            file.write(b"x" * 2000)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=50, help="at once (default: 50)")
    parser.add_argument("--turns", type=int, default=12, help="of each session (default: 12)")
    options = parser.parse_args()
    print(f"| load and commit, {options.sessions} sessions at once | median | 95 % |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedRedis(Path(folder))
        url = server.start()
        try:
            for setting, meaning in (
                ("always", "synced at every commit (the embedded Redis)"),
                ("no", "synced by the system"),
            ):
                with redis.Redis.from_url(url) as client:
                    client.config_set("appendfsync", setting)
                taken = asyncio.run(measure(url, options.sessions, options.turns, setting))
                slow = taken[int(len(taken) * 0.95)]
                print(f"| {meaning} | {statistics.median(taken) * 1000:.2f} ms | {slow * 1000:.2f} ms |")
            first, later = asyncio.run(retrieval(url, 1000))
        finally:
            server.stop()
        print(f"| one sync of this disk | {sync_ms(Path(folder)):.2f} ms | |")
    print(
        f"\n1,000 remembered items loaded and searched: {first:.2f} ms the first time in a process, {later:.2f} ms later"
    )


if __name__ == "__main__":
    main()
