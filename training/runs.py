"""A run's folder: its configuration, log, figures and plots. Runs are kept in runs/, which git ignores.

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

from pydantic import BaseModel
from rich.console import Console

from training import config, plots
from training.config import Preset
from training.data_files import DATA


class Run:
    """One run. The folder is ``runs/<preset>/<name>``; ``part`` is what of the preset it trains, where not all.

    ``fresh`` forgets the checkpoints of an interrupted run; else ``timed`` goes on from them where they are of the same settings.
    """

    def __init__(
        self,
        preset: Preset,
        name: str,
        *,
        part: BaseModel | None = None,
        fresh: bool = False,
        folder: Path | None = None,
    ) -> None:
        self.preset, self.part, self.fresh = preset, part, fresh
        self.folder = folder or config.root() / "runs" / preset.name / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.console = Console(highlight=False)
        self.records: list[dict[str, Any]] = []

    def describe(self) -> None:
        """Writes the preset down: config.json is that of the figures and weights that lie beside it."""
        (self.folder / "config.json").write_text(self.preset.model_dump_json(indent=2), encoding="utf-8")

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
        """Around a training: what was interrupted with the same settings and data is gone on from, anything else forgotten."""
        started, before = time.monotonic(), 0
        took = self.folder / "seconds.json"
        noted, digest = self.folder / "made_from.txt", self._digest()
        same = noted.exists() and noted.read_text(encoding="utf-8") == digest
        unfinished = (self.folder / "checkpoints").exists()
        if unfinished and same and not self.fresh:
            self.records = self._logged()
            before = json.loads(took.read_text(encoding="utf-8"))["seconds"] if took.exists() else 0
            self.note(f"an interrupted run is gone on from: {self.folder} (--fresh begins anew)")
        else:
            if unfinished:
                self.note("an interrupted run of other settings or data is forgotten" if not same else "begun anew")
            self.forget_checkpoints()
            (self.folder / "log.jsonl").unlink(missing_ok=True)
            noted.write_text(digest, encoding="utf-8")
        self.describe()
        try:
            yield
        finally:  # an interrupted run's seconds count in the one that goes on
            seconds = before + round(time.monotonic() - started)
            took.write_text(json.dumps({"seconds": seconds}) + "\n", encoding="utf-8")
        self.note(f"took {seconds} s")

    def _digest(self) -> str:
        """Of everything that decides what is trained: the preset less other parts' settings and the number of cores, and the data."""
        preset = self.preset
        of_all = preset.model_dump_json(exclude={"threads", "workers", *(("sft", "sbert") if self.part else ())})
        digest = hashlib.sha256(f"{of_all} {self.part.model_dump_json() if self.part else ''}".encode())
        own = DATA / getattr(self.part, "data", "")  # the folder of an adapter's rows, which may lie elsewhere
        for path in sorted(p for folder in {DATA, own} for p in folder.rglob("*") if p.is_file() and p.suffix != ".md"):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def _logged(self) -> list[dict[str, Any]]:
        path = self.folder / "log.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def last_checkpoint(self) -> str | None:
        """The newest whole checkpoint of an interrupted run; a trainer writes its state last."""
        found = [p for p in (self.folder / "checkpoints").glob("checkpoint-*") if (p / "trainer_state.json").exists()]
        return str(max(found, key=lambda p: int(p.name.split("-")[1]))) if found else None

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
