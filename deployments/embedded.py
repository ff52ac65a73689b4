"""The embedded Redis as a Ray actor, so that it outlives any replica and ends with the cluster or after the last client.

Knows nothing about what is kept in it: state.embedded runs the server, this says whose child it is.
"""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import ray
import redis

from deployments.config import ROOT
from state.embedded import EmbeddedRedis

NAMESPACE = "ohlora"
IDLE_S = 30.0  # without any client for this long, the app is gone and the server ends
START_S = 60.0


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class RedisKeeper:
    """Owns the redis-server of one data folder."""

    def __init__(self, data_dir: str) -> None:
        self._server = EmbeddedRedis(Path(data_dir))
        self._server.start()
        self._me = ray.get_runtime_context().current_actor
        threading.Thread(target=self._end_when_idle, daemon=True).start()

    def url(self) -> str:
        return self._server.start()

    def _end_when_idle(self) -> None:
        idle_since = time.monotonic()
        with redis.Redis.from_url(self._server.url) as client:
            while time.monotonic() - idle_since < IDLE_S:
                time.sleep(IDLE_S / 10)
                try:
                    others = client.info("clients")["connected_clients"] - 1
                except redis.RedisError:
                    others = 1  # it is being restarted
                if others > 0:
                    idle_since = time.monotonic()
        self._server.stop()
        ray.kill(self._me, no_restart=True)


def keeper(data_dir: str) -> Any:
    """The one keeper of ``data_dir`` in this cluster, started if there is none."""
    folder = str((ROOT / Path(data_dir).expanduser() / "redis").resolve())
    name = f"redis:{folder}"
    return RedisKeeper.options(  # type: ignore[attr-defined]
        name=name, namespace=NAMESPACE, lifetime="detached", get_if_exists=True
    ).remote(folder)


async def url(actor: Any) -> str:
    """Address of the keeper's server, once it answers."""
    return await asyncio.wait_for(actor.url.remote(), START_S)
