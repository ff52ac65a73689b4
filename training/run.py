"""Trains a whole preset: bases made from nothing, adapters, S-BERTs, evaluation, thresholds, card, checksums.

Knows nothing about how a part is trained. Parts that are already at their place are tested, not trained, unless ``--force``. With
``workers`` above 1 parts run side by side in processes of their own: on a few cores that is much faster than more threads for each.
"""

import json
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from training import bases, card, commands, config, evaluate, sbert, sft, text_bases
from training.config import ConfigError, Preset
from training.runs import Run


@dataclass(frozen=True)
class Part:
    """One thing to train. ``name`` is that of its run folder; ``after`` is the part that must be there first."""

    name: str
    train: Callable[..., bool]
    after: str | None = None


def parts(preset: Preset) -> list[Part]:
    """All parts in the order in which they start: bases are the longest, and adapters wait for theirs."""
    made = [Part(f"base-{name}", partial(text_bases.run_base, preset, name)) for name in preset.bases]
    encoders = [Part(f"sbert-{kind}", partial(sbert.run_kind, preset, kind)) for kind in preset.sbert]
    adapters = [
        Part(
            f"sft-{task.value}",
            partial(sft.run_task, preset, task),
            f"base-{part.base}" if part.base in preset.bases else None,
        )
        for task, part in preset.sft.items()
    ]
    return made + encoders + adapters


def run(preset: Preset, *, force: bool, fresh: bool = False) -> None:
    """Every part of ``preset``; with ``force`` each is trained although it is there. Then the evaluation; where something was trained,
    thresholds, card and checksums are written again.

    A forced run that was interrupted goes on behind the parts that it has trained, as long as preset and data are the same.
    Raises ValueError where a part fails; those beside it are finished first.
    """
    whole = Run(preset, "all", fresh=fresh)
    done = whole.folder / "checkpoints" / "trained.json"
    options = {"force": force, "fresh": fresh}
    if not force:
        changed = True in [trained for _, trained in _train(preset, parts(preset), **options)]
    else:
        changed = True
        with whole.timed():
            trained: list[str] = json.loads(done.read_text(encoding="utf-8")) if done.exists() else []
            for name, _ in _train(preset, [part for part in parts(preset) if part.name not in trained], **options):
                trained.append(name)
                done.parent.mkdir(exist_ok=True)
                done.write_text(json.dumps(trained), encoding="utf-8")
    if preset.threads:
        torch.set_num_threads(preset.threads * preset.workers)
    found = evaluate.evaluate(preset)
    if changed:
        card.describe(preset, found, evaluate.thresholds_to_serve(found))
    if force:
        whole.finish()


def _train(preset: Preset, waiting: list[Part], **options: bool) -> Iterator[tuple[str, bool]]:
    """Names of the parts, each when it is there, and whether it was trained."""
    if preset.workers > 1:
        yield from _side_by_side(preset, waiting, options)
        return
    for part in waiting:
        yield part.name, part.train(**options)
        bases.forget_memory()


def _side_by_side(preset: Preset, waiting: list[Part], options: dict[str, bool]) -> Iterator[tuple[str, bool]]:
    """Runs parts in ``preset.workers`` processes; what each writes to the screen goes to output.txt of its run folder."""
    context = multiprocessing.get_context("spawn")
    running: dict[Future[bool], Part] = {}
    failed: list[ValueError] = []
    columns = (TextColumn("{task.description:24}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[last]}"))
    with (
        ProcessPoolExecutor(preset.workers, context, max_tasks_per_child=1) as pool,
        Progress(*columns, console=Console(highlight=False)) as progress,
    ):
        bars: dict[str, TaskID] = {}
        while running or (waiting and not failed):
            unmet = {part.name for part in [*waiting, *running.values()]}
            ready = [part for part in waiting if part.after not in unmet and not failed]
            for part in ready[: preset.workers - len(running)]:
                waiting.remove(part)
                running[pool.submit(_in_own_process, part, _folder(preset, part), options)] = part
                bars[part.name] = progress.add_task(part.name, total=1.0, last="")
            finished, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
            for part in running.values():
                last = _last_record(_folder(preset, part))
                progress.update(bars[part.name], completed=last.get("done", 0), last=_shown(last))
            for future in finished:
                part = running.pop(future)
                progress.stop_task(bars[part.name])
                if error := future.exception():
                    failed.append(_explained(error, part, _folder(preset, part)))
                    continue
                progress.update(bars[part.name], completed=1.0)
                progress.console.print(f"{part.name}: {_minutes(progress.tasks[bars[part.name]].elapsed or 0)}")
                yield part.name, future.result()
    if failed:
        raise failed[0]


def _explained(error: BaseException, part: Part, folder: Path) -> ValueError:
    if isinstance(error, ConfigError):  # a sentence for the reader already
        return ConfigError(f"{part.name}: {error}")
    if isinstance(error, BrokenExecutor):
        reason = "its process or the one beside it was killed; where memory is short, --set workers=1 needs less"
    else:
        reason = f"{type(error).__name__}: {error}"
    return ValueError(
        f"{part.name} failed ({reason}); what it wrote is in {folder / 'output.txt'}. "
        "Run the same command again to go on from here."
    )


def _in_own_process(part: Part, folder: Path, options: dict[str, bool]) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.txt").open("w", encoding="utf-8") as file:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            return part.train(**options)
        except Exception:
            traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()


def _folder(preset: Preset, part: Part) -> Path:
    return config.root() / "runs" / preset.name / part.name


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes"


def _last_record(folder: Path) -> dict[str, Any]:
    """What the part has logged last; nothing while it has not."""
    try:
        lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
        found: dict[str, Any] = json.loads(lines[-1])
    except (OSError, IndexError, ValueError):  # not there yet, or a line half written
        return {}
    return found


def _shown(record: dict[str, Any]) -> str:
    return ", ".join(f"{k} {record[k]:.4g}" for k in ("loss", "eval_loss") if isinstance(record.get(k), (int, float)))


def main(
    preset: Annotated[str, typer.Option(help="v2, v3, v4, tutor, tiny, or a YAML file")] = "v4",
    force: Annotated[bool, typer.Option(help="Train every part, also those that are already there")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a field: --set sft.summary.epochs=3 --set workers=1")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Don't go on with an interrupted run")] = False,
) -> None:
    """Train, evaluate and describe every model of a preset.

    An interrupted run goes on where it was when it is started again.

    Example: python -m training.run --preset tiny --force
    """
    started = time.monotonic()
    with commands.errors_told():
        run(config.load(preset, set_), force=force, fresh=fresh)
    typer.echo(f"The whole preset took {_minutes(time.monotonic() - started)}.")


if __name__ == "__main__":
    typer.run(main)
