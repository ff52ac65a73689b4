"""The shipped file with the shipped fake engine instead of models, for what is measured around the models."""

import socket
from pathlib import Path
from typing import Any

import yaml

from deployments.config import ROOT


def config(folder: Path, port: int, *, token_ms: float, replicas: int = 1, **ingress: Any) -> Path:
    """Writes the file into ``folder``; ``ingress`` goes into the ingress's user_config. No user is limited."""
    file = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    file["http_options"]["port"] = port
    app = file["applications"][0]
    models: dict[str, Any] = {
        name: {"engine": "fake", "base": "none", "token_ms": token_ms, "max_model_len": 512}
        for name in ("answer", "summary", "memory", "pose")
    }
    models |= {name: {"engine": "fake", "model": "none"} for name in ("memory_sbert", "ethics_sbert")}
    models["rag_sbert"] = {"engine": "fake", "model": "none", "documents": "models/tiny/documents"}
    app["args"] = {"profile": "cpu", "data_dir": str(folder), "cpu": models}
    for deployment in app["deployments"]:
        deployment["health_check_period_s"] = 1
        if deployment["name"] == "Ingress":
            deployment["num_replicas"] = replicas
            deployment["user_config"] |= {"access": {"user_limit": None}} | ingress
    path = folder / "serve_config.yaml"
    path.write_text(yaml.safe_dump(file, allow_unicode=True))
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
