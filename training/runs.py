"""A run's folder: its configuration, log, figures and plots. Runs are kept in runs/, outside the repository.

Knows nothing about what is trained.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from training import config, plots
from training.config import Preset
from training.data_files import DATA


class Run:
    """One run. The folder is ``runs/<preset>/<name>``; ``fresh`` empties it of checkpoints first."""

    def __init__(self, preset: Preset, name: str, *, fresh: bool = False, folder: Path | None = None) -> None:
        self.folder = folder or config.root() / "runs" / preset.name / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.console = Console(highlight=False)
        self.records: list[dict[str, Any]] = []
        same = self._same_as_before(preset)
        if fresh or not same:
            self.forget_checkpoints()
        (self.folder / "config.json").write_text(preset.model_dump_json(indent=2), encoding="utf-8")

    def log(self, record: dict[str, Any]) -> None:
        """A line of figures: to the screen and to log.jsonl."""
        self.records.append(record)
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
        shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in record.items()}
        self.console.print(shown)

    def note(self, text: str) -> None:
        with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(text + "\n")
        self.console.print(text, markup=False)

    def figures(self, found: dict[str, Any]) -> None:
        (self.folder / "figures.json").write_text(
            json.dumps(found, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
        )

    @contextmanager
    def timed(self) -> Iterator[None]:
        started = time.monotonic()
        yield
        seconds = round(time.monotonic() - started)
        (self.folder / "seconds.json").write_text(json.dumps({"seconds": seconds}) + "\n", encoding="utf-8")
        self.note(f"took {seconds} s")

    def last_checkpoint(self) -> str | None:
        """The newest checkpoint of an interrupted run."""
        found = sorted((self.folder / "checkpoints").glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
        return str(found[-1]) if found else None

    def _same_as_before(self, preset: Preset) -> bool:
        """Whether preset and data are those of the run that left checkpoints here; others must not be gone on from."""
        digest = hashlib.sha256(preset.model_dump_json().encode())
        for path in sorted(p for p in DATA.rglob("*") if p.is_file()):
            digest.update(path.read_bytes())
        noted = self.folder / "made_from.txt"
        same = noted.exists() and noted.read_text(encoding="utf-8") == digest.hexdigest()
        noted.write_text(digest.hexdigest(), encoding="utf-8")
        return same

    def forget_checkpoints(self) -> None:
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)

    def plot_losses(self) -> None:
        plots.losses(self.records, self.folder / "losses.png")

    def finish(self) -> None:
        """A finished run has nothing to resume."""
        self.forget_checkpoints()

    def callback(self) -> Any:
        """A trainer callback that sends what the trainer logs to this run."""
        from transformers import TrainerCallback

        run = self

        class Logs(TrainerCallback):
            def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **_: Any) -> None:
                run.log({"step": state.global_step, "done": state.global_step / state.max_steps, **(logs or {})})

        return Logs()
