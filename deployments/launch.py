"""`make serve`: checks the file, runs `serve run`, shows the start-up, and ends all that it started.

A convenience around `serve run serve_config.yaml`, which works alone too. What it adds: a wrong file stops before anything
starts; one line says what is still loading; Ctrl-C leaves no process behind; the next start clears what a crash left.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml
from pydantic import BaseModel, ValidationError
from ray.serve.schema import ServeDeploySchema
from rich.console import Console
from rich.table import Table

from deployments import processes
from deployments.access import refuse_open_address
from deployments.app import DEPLOYMENTS, chosen_profile
from deployments.checkpoints import CheckpointError, check_local
from deployments.config import ROOT, AppConfig, IngressSettings
from deployments.schemas.native import Ready

RUN = (
    "OHLORA_RUN"  # in the environment of everything that a run starts: its data folder, which one run may use at a time
)
STOP_S = 18.0
_FAILED = re.compile(r"(?:CheckpointError|DocumentError|EmbeddedRedisError|ValueError|ValidationError)[^:\n]*: (.+)")
console = Console()


class ConfigError(ValueError):
    """A file that can't be run; the message is one sentence that names the field."""


def read_config(path: Path, gpus: int) -> ServeDeploySchema:
    """The checked file. Raises ConfigError."""
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"There is no file {path}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    schema = _validated(ServeDeploySchema, raw, str(path))
    if not schema.applications:
        raise ConfigError(f"{path}: applications is empty, so there is nothing to run.")
    for app in schema.applications:
        args = _validated(AppConfig, app.args, "args")
        profile = chosen_profile(args, gpus)
        try:
            check_local(args.models(profile), profile)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        for deployment in app.deployments:
            _check_deployment(deployment)
        _check_address(schema, app)
    return schema


def _check_address(schema: ServeDeploySchema, app: Any) -> None:
    configured = [d.user_config for d in app.deployments if d.name == "Ingress" and isinstance(d.user_config, dict)]
    settings = IngressSettings.model_validate(configured[0] if configured else {})
    try:
        refuse_open_address(schema.http_options.host, settings.access)
    except ValueError as error:
        raise ConfigError(f"{error}.") from None


def _check_deployment(deployment: Any) -> None:
    known = {"Ingress": IngressSettings} | {
        each.name: getattr(each.func_or_class, "settings_type", None) for each in DEPLOYMENTS.values()
    }
    if deployment.name not in known:
        raise ConfigError(f"deployments: there is no deployment {deployment.name}; known: {', '.join(known)}.")
    settings = known[deployment.name]
    user_config = deployment.user_config
    if not isinstance(user_config, dict):
        return
    if settings is None:
        raise ConfigError(f"deployments.{deployment.name}.user_config: it has no settings; remove it.")
    _validated(settings, user_config, f"deployments.{deployment.name}.user_config")


def _validated(model: type[BaseModel], value: Any, name: str) -> Any:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([name, *(str(part) for part in first["loc"])])
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{where} is no known field: remove it or mend its spelling.") from None
        raise ConfigError(f"{where}: {first['msg'].removeprefix('Value error, ')}.") from None


def visible_gpus() -> int:
    """GPUs whose driver answers."""
    if not shutil.which("nvidia-smi"):
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return listed.stdout.count("GPU ") if listed.returncode == 0 else 0


def redis_server(data: Path) -> list[psutil.Process]:
    """The embedded Redis of this data folder, if it runs; it renames itself, which hides its environment."""
    try:
        process = psutil.Process(int((data / "redis" / "redis.pid").read_text()))
        return [process] if "redis-server" in process.name() else []
    except (OSError, ValueError, psutil.Error):
        return []


def clear_leftovers(data: Path) -> None:
    """Ends what a crashed run on this data folder left. Raises ConfigError while another run on it lives."""
    record = data / "run.json"
    left = [process for process, owner in processes.with_variable(RUN) if owner == str(data)]
    left += redis_server(data)
    if record.is_file():
        known = json.loads(record.read_text())
        if processes.lives(known["launcher"]):
            pid = known["launcher"].split(":")[0]
            raise ConfigError(f"data_dir: {data} is in use by a run that lives (process {pid}): stop it first.")
        left += processes.of_session(known["serve"])
        record.unlink()
    if left:
        console.print(f"[yellow]Clearing {len(set(left))} processes that an earlier run left behind.[/]")
        processes.end(list(set(left)), grace_s=8)


def data_folder(schema: ServeDeploySchema) -> Path:
    """The data folder that the file names, made if it is not there."""
    folder = (ROOT / Path(schema.applications[0].args.get("data_dir", "data")).expanduser()).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"http_options.port: {host}:{port} can't be used ({error.strerror}); choose another."
            ) from None


class Run:
    """One `serve run` and everything below it."""

    def __init__(self, config: Path, schema: ServeDeploySchema, data: Path) -> None:
        self.address = f"http://{schema.http_options.host}:{schema.http_options.port}"
        self._data, self.log, self._record = data, data / "serve.log", data / "run.json"
        environment = os.environ | {RUN: str(data), "RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
        environment.setdefault("RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", "deployments.edge:proxy_middlewares")
        serve = Path(sys.executable).parent / "serve"
        with self.log.open("wb") as output:
            # A session of its own: Ctrl-C reaches this process only, which then ends the run in order.
            self.process = subprocess.Popen(
                [str(serve), "run", str(config)],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._serve = processes.identity(psutil.Process(self.process.pid))
        launcher = processes.identity(psutil.Process())
        self._record.write_text(json.dumps({"launcher": launcher, "serve": self._serve}))

    def wait_until_ready(self) -> Ready:
        """What runs, once it does. Raises ConfigError with the reason when it can't start."""
        started = time.monotonic()
        with console.status("Starting Ray …") as status, httpx.Client(timeout=5) as client:
            while True:
                if self.process.poll() is not None or self._failed():
                    raise ConfigError(self._reason())
                with contextlib.suppress(httpx.HTTPError, ValueError):
                    ready = Ready.model_validate(client.get(f"{self.address}/readyz").json())
                    if ready.status == "ready":
                        return ready
                    waiting = [name for name, part in ready.deployments.items() if not part.ok]
                    waiting += [] if ready.store.ok else ["Redis"]
                    status.update(f"{time.monotonic() - started:.0f} s: waiting for {', '.join(waiting)} …")
                time.sleep(0.5)

    def _failed(self) -> bool:
        return "DEPLOY_FAILED" in self._text()

    def _text(self) -> str:
        return self.log.read_text(errors="replace")

    def _reason(self) -> str:
        found = _FAILED.findall(self._text())
        if found:
            return re.sub(r"\x1b\[[0-9;]*m", "", found[-1]).strip()
        last = self._text().strip().splitlines()[-3:]
        return f"It did not start; the end of {self.log}: " + " / ".join(last)

    def stop(self) -> None:
        """Ends everything within STOP_S: first as `serve run` does, then what is still there."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S / 2)
        # Ray's workers rename themselves, which hides their environment, but not their session; Redis has a session of its
        # own and is known by its pid file.
        left = {
            *processes.of_session(self._serve),
            *(p for p, owner in processes.with_variable(RUN) if owner == str(self._data)),
            *redis_server(self._data),
        }
        processes.end(list(left), grace_s=STOP_S / 3)
        self._record.unlink(missing_ok=True)


def show(ready: Ready, address: str, log: Path, seconds: float) -> None:
    table = Table(title=f"Oh-LoRA is ready: {address}   profile {ready.profile}   ({seconds:.0f} s)")
    for column in ("deployment", "engine", "model", "adapter", "GPU share"):
        table.add_column(column, overflow="fold")
    for name, part in ready.deployments.items():
        share = f"{part.num_gpus:g}" if part.num_gpus else "–"
        adapters = f"{part.adapter} ({', '.join(part.adapters)})" if part.adapters else part.adapter
        table.add_row(name, part.engine, part.model, adapters or "–", share)
    console.print(table)
    body = json.dumps({"user_id": "mina", "session_id": "s1", "message": "로라야 안녕! 오늘 뭐해?"}, ensure_ascii=False)
    console.print("Try it:")
    console.print(
        f"  curl {address}/v1/chat -H 'content-type: application/json' -d '{body}'", soft_wrap=True, highlight=False
    )
    console.print(
        f"Chat page: {address}/   API page: {address}/docs   log: {log}   stop: Ctrl-C", soft_wrap=True, highlight=False
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m deployments.launch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "config",
        nargs="?",
        type=Path,
        default=ROOT / "serve_config.yaml",
        help="the file to run (default: %(default)s)",
    )
    parser.add_argument("--check", action="store_true", help="only check the file, then stop")
    options = parser.parse_args()
    began = time.monotonic()
    run = None
    stopped = False

    def on_term(*_: object) -> None:
        _on_end(signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
        raise KeyboardInterrupt

    _on_end(on_term)  # also where a shell started us with SIGINT ignored
    try:
        config = options.config.resolve()
        schema = read_config(config, visible_gpus())
        if options.check:
            console.print(f"{options.config} is fine.")
            return 0
        data = data_folder(schema)
        clear_leftovers(data)
        check_port(schema.http_options.host, schema.http_options.port)
        run = Run(config, schema, data)
        ready = run.wait_until_ready()
        show(ready, run.address, run.log, time.monotonic() - began)
        run.process.wait()
        console.print(f"[red]serve run ended by itself; see {run.log}[/]")
        return 1
    except (ConfigError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        stopped = True
        return 0
    finally:
        if run is not None:
            _on_end(signal.SIG_IGN)
            try:
                if stopped:
                    console.print("Stopping …")
            finally:  # also where the terminal is gone and can't be written to
                run.stop()


def _on_end(handler: Any) -> None:
    """``handler`` for whatever asks this process to end: Ctrl-C, kill, a closed terminal."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
