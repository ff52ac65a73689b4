"""Trains one S-BERT with each loss on the same data and sets their figures side by side, for choosing a preset's loss.

Figures are those of the rows that training kept for validation; the test split is not looked at. Knows nothing about losses
beyond their names.
"""

from pathlib import Path
from typing import Annotated, cast, get_args

import torch
import typer
from rich.table import Table

from ohlora import encoders
from training import bases, commands, config, data_files, measure, plots, sbert
from training.config import ConfigError, Preset, SbertPreset
from training.runs import Run

LOSSES = get_args(SbertPreset.model_fields["loss"].annotation)
SHOWN = {
    "ethics": ("accuracy", "mse", "mae", "correlation"),
    "memory": ("right_first", "mse", "mae", "correlation"),
    "rag": ("right_first", "mse", "mae", "correlation"),
}


def validation(preset: Preset, kind: sbert.Kind, place: Path) -> dict[str, float]:
    """The model's figures on the rows kept from training."""
    part, model = preset.sbert[kind], encoders.load(place)
    if kind == "ethics":
        return measure.EthicsEvaluator(sbert.ethics_split(part, preset.seed)[1], part.categories)(model)
    if kind == "rag":
        return measure.RagEvaluator(sbert.rag_split(part, preset.seed)[1], data_files.documents())(model)
    return measure.MemoryEvaluator(sbert.memory_split(part, preset.seed)[1], sbert.held_smalltalk())(model)


def compare(
    preset: Preset, kind: sbert.Kind, losses: list[str], *, fresh: bool = False, max_steps: int = -1
) -> dict[str, dict[str, float]]:
    """Figures by loss. Each training has a run folder of its own below that of the comparison; an interrupted one goes on there."""
    run = Run(preset, f"compare-{kind}", part=preset.sbert[kind], fresh=fresh)
    done = run.folder / "checkpoints" / "figures.json"
    with run.timed():
        found: dict[str, dict[str, float]] = bases.read_json(done) if done.exists() else {}
        done.parent.mkdir(exist_ok=True)
        for loss in losses:
            if loss not in found:
                found[loss] = _trained(preset, kind, loss, fresh=fresh, max_steps=max_steps)
                bases.write_json(done, found)
    found = {loss: found[loss] for loss in losses}
    run.figures(found)
    report(found, kind, preset, run)
    run.finish()
    return found


def _trained(preset: Preset, kind: sbert.Kind, loss: str, *, fresh: bool, max_steps: int) -> dict[str, float]:
    """Validation figures of one training, and its seconds."""
    part = preset.sbert[kind].model_copy(update={"loss": loss})
    chosen = preset.model_copy(update={"sbert": preset.sbert | {kind: part}})
    run = Run(chosen, f"compare-{kind}/{loss}", part=part, fresh=fresh)
    with run.timed():
        sbert.train(chosen, kind, run, run.folder / "model", max_steps=max_steps)
    run.plot_losses()
    run.finish()
    return validation(chosen, kind, run.folder / "model") | bases.read_json(run.folder / "seconds.json")


def report(found: dict[str, dict[str, float]], kind: sbert.Kind, preset: Preset, run: Run) -> None:
    """A table for the screen and for report.md, and a plot."""
    names = (*SHOWN[kind], "seconds")
    table = Table("loss", *names)
    lines = [f"| loss | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for loss, figures in found.items():
        cells = [f"{figures[name]:.4g}" for name in names]
        table.add_row(loss, *cells)
        lines.append(f"| {loss} | {' | '.join(cells)} |")
    heading = f"Losses of the {kind} S-BERT, preset {preset.name}, on validation rows:"
    (run.folder / "report.md").write_text("\n".join([heading, "", *lines, ""]), encoding="utf-8")
    plots.bars({loss: figures[names[0]] for loss, figures in found.items()}, names[0], run.folder / "losses.png")
    run.console.print(table)
    run.note(f"written to {run.folder}")


def main(
    task: Annotated[str, typer.Option(help="Which S-BERT: memory, ethics or rag")],
    preset: Annotated[str, typer.Option(help="v2, v3, v4, tutor, tiny, or a YAML file")] = "tiny",
    loss: Annotated[list[str] | None, typer.Option(help="A loss to try; repeat for several. Default: all")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override a field: --set epochs=2")] = None,
    fresh: Annotated[bool, typer.Option(help="Don't resume an interrupted run")] = False,
) -> None:
    """Compare losses: train the S-BERT of a task with each on the same data; write report.md, figures and a plot.

    Example: python -m training.compare --preset tiny --task ethics --set epochs=2
    """
    with commands.errors_told():
        if strange := set(loss or ()) - set(LOSSES):
            raise ConfigError(f"there is no loss {', '.join(sorted(strange))}; known: {', '.join(LOSSES)}")
        chosen = config.load_part("sbert", task, preset, set_)
        if chosen.threads:
            torch.set_num_threads(chosen.threads)
        compare(chosen, cast(sbert.Kind, task), list(loss or LOSSES), fresh=fresh)


if __name__ == "__main__":
    typer.run(main)
