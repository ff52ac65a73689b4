"""A whole system for the end-to-end tests: `serve run` on the shipped file, on a port and a data folder of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from benchmarks import fakes
from deployments.launch import redis_server

ROOT = Path(__file__).resolve().parents[2]


class System:
    """`make serve` without the set-up, and what a person at the machine can do with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.config = folder / "serve_config.yaml"
        self.config.write_text(yaml.safe_dump(self._file(), allow_unicode=True, sort_keys=False))
        self.process: subprocess.Popen[str] | None = None

    def _file(self) -> dict[str, Any]:
        """The shipped file, greedy, so that a run says the same thing every time."""
        file = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
        file["http_options"]["port"] = self.port
        app = file["applications"][0]
        app["args"]["data_dir"] = str(self.folder / "data")
        for deployment in app["deployments"]:
            if "temperature" in deployment.get("user_config", {}):
                deployment["user_config"] |= {"temperature": 0.0, "cpu_temperature": 0.0}
        return file

    def start(self) -> str:
        """What the start-up printed, once the system is ready."""
        log = self.folder / "launch.log"
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deployments.launch", str(self.config)],
                cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, text=True, env=os.environ | {"COLUMNS": "200"},
            )  # fmt: skip
        deadline = time.monotonic() + 300
        while "stop: Ctrl-C" not in log.read_text():
            assert self.process.poll() is None, self._logs()
            assert time.monotonic() < deadline, self._logs()
            time.sleep(0.2)
        return log.read_text()

    def _logs(self) -> str:
        served = self.folder / "data" / "serve.log"
        tail = served.read_text(errors="replace")[-3000:] if served.exists() else ""
        return (self.folder / "launch.log").read_text() + tail

    def stop(self) -> float:
        """Seconds from Ctrl-C to the end."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        return time.monotonic() - began

    def descendants(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def replica(self, deployment: str) -> psutil.Process:
        """The process of a deployment's replica."""
        for process in self.descendants():
            with contextlib.suppress(psutil.Error):
                if f"ServeReplica:ohlora:{deployment}" in " ".join(process.cmdline()):
                    return process
        raise AssertionError(f"no replica of {deployment}")

    def deploy(self, **user_configs: dict[str, Any]) -> None:
        """Takes changes of ``user_config`` by deployment into what runs; nothing restarts. What an earlier call changed is as before."""
        file = yaml.safe_load(self.config.read_text())
        for deployment in file["applications"][0]["deployments"]:
            deployment["user_config"] = deployment.get("user_config") or {}
            deployment["user_config"] |= user_configs.get(deployment["name"], {})
            if not deployment["user_config"]:
                del deployment["user_config"]
        changed = self.folder / "changed.yaml"
        changed.write_text(yaml.safe_dump(file, allow_unicode=True))
        serve = [str(Path(sys.executable).parent / "serve"), "deploy", str(changed)]
        subprocess.run(serve, env=os.environ | {"RAY_AUTH_MODE": "token"}, check=True, timeout=60, capture_output=True)

    def logged(self, deployment: str) -> str:
        """What the replicas of a deployment wrote into their logs."""
        folder = Path("/tmp/ray/session_latest/logs/serve")
        return "".join(file.read_text() for file in folder.glob(f"replica_ohlora_{deployment}_*.log"))

    def redis(self) -> psutil.Process:
        """The embedded redis-server."""
        return redis_server(self.folder / "data")[0]

    def say(self, message: str, session: str = "s1", user: str = "mina", **fields: Any) -> httpx.Response:
        body = {"user_id": user, "session_id": session, "message": message} | fields
        return httpx.post(f"{self.address}/v1/chat", json=body, timeout=60)

    def until(self, condition: Any, seconds: float = 90) -> None:
        """Waits for ``condition()`` to hold."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if condition():
                    return
            assert time.monotonic() < deadline, self._logs()
            time.sleep(0.5)

    def ready(self) -> bool:
        return httpx.get(f"{self.address}/readyz", timeout=10).status_code == 200


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class FakeSystem(System):
    """The same on the shipped fakes: what stands around the models is tested without them."""

    def _file(self) -> dict[str, Any]:
        path = fakes.config(self.folder, self.port, token_ms=20)
        file = yaml.safe_load(path.read_text())
        file["applications"][0]["args"] |= {"data_dir": str(self.folder / "data"), "store": {"session_wait_s": 0.3}}
        return file


# Of one module: `serve deploy` and the logs are of the one system that runs.
@pytest.fixture(scope="module")
def fake_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeSystem]:
    system = FakeSystem(tmp_path_factory.mktemp("fakes"))
    try:
        system.start()
        yield system
    finally:
        system.stop()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that serves for all tests of a module."""
    system = System(tmp_path_factory.mktemp("system"))
    try:
        system.banner = system.start()  # type: ignore[attr-defined]
        yield system
    finally:
        if system.process and system.process.poll() is None:
            system.stop()
