"""The application on a real Ray cluster with fake engines: shares are placed, settings change without a restart."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray
from ray import serve

from deployments.app import build
from deployments.config import AppConfig
from tests.support import FAKE_MODELS

SHARES = {"answer": 0.32, "summary": 0.25, "memory": 0.18, "pose": 0.18, "memory_sbert": 0.03, "ethics_sbert": 0.03}
SHARES["rag_sbert"] = 0  # looks documents up on the CPU
PORT = 18231
ADDRESS = f"http://127.0.0.1:{PORT}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster that says it has a GPU: enough to see how shares are placed."""
    ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    yield
    serve.shutdown()
    ray.shutdown()


@pytest.fixture(scope="module")
def app(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    gpu = {name: model | {"num_gpus": SHARES[name]} for name, model in FAKE_MODELS.items()}
    data: Path = tmp_path_factory.mktemp("data")
    args = AppConfig.model_validate({"cpu": FAKE_MODELS, "gpu": gpu, "data_dir": str(data)})
    before = ray.available_resources()["GPU"]
    serve.run(build(args), name="ohlora", route_prefix="/")
    return {"before": before}


def test_auto_runs_the_gpu_profile_where_the_cluster_has_one(app):
    ready = httpx.get(f"{ADDRESS}/readyz", timeout=30).json()
    assert (ready["status"], ready["profile"]) == ("ready", "gpu")
    shares = {name: part["num_gpus"] for name, part in ready["deployments"].items()}
    assert shares["Answer"] == 0.32
    assert (len(shares), shares["RagSBERT"]) == (7, 0)


def test_every_replica_holds_its_share_of_the_card(app):
    deadline = time.monotonic() + 20
    while abs(ray.available_resources().get("GPU", 0) - 0.01) > 0.001:
        assert time.monotonic() < deadline, ray.available_resources()
        time.sleep(0.2)


def test_a_turn_runs_through_every_deployment(app):
    body = {"user_id": "mina", "session_id": "s1", "message": "안녕"}
    reply = httpx.post(f"{ADDRESS}/v1/chat", json=body, timeout=30).json()
    assert reply["answer"] == "🧪 안녕"
    assert reply["degraded"] == []
    assert all(reply["timings_ms"][hop] > 0 for hop in ("ethics", "answer", "memory", "pose", "summary", "commit"))
