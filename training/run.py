"""Trains a whole preset in order: bases made from nothing, adapters, S-BERTs, evaluation, thresholds, card, checksums.

Knows nothing about how a part is trained. Parts that are already at their place are tested, not trained, unless ``--force``.
"""

from typing import Annotated

import torch
import typer

from training import bases, card, config, evaluate, sbert, sft, text_bases
from training.config import ConfigError, Preset


def run(preset: Preset, *, force: bool, fresh: bool = False) -> None:
    """Every part of ``preset``; with ``force`` each is trained although it is there."""
    if preset.threads:
        torch.set_num_threads(preset.threads)
    for name in preset.bases:
        text_bases.run_base(preset, name, force=force, fresh=fresh)
    for kind in ("ethics", "memory", "rag"):
        if kind in preset.sbert:
            sbert.run_kind(preset, kind, force=force, fresh=fresh)
    for task in preset.sft:
        sft.run_task(preset, task, force=force, fresh=fresh)
    found = evaluate.evaluate(preset)
    if "ethics_sbert" in found and "memory_sbert" in found:
        evaluate.write_thresholds(preset, found)
        card.write(preset, found)
    else:
        card.checksums(bases.place(preset))


def main(
    preset: Annotated[str, typer.Option(help="v2, v3, v4, tutor, tiny, or a YAML file")] = "v4",
    force: Annotated[bool, typer.Option(help="Train every part, also those that are already there")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a field: --set sft.summary.epochs=3")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Don't resume interrupted parts")] = False,
) -> None:
    """Train, evaluate and describe every model of a preset.

    Example: python -m training.run --preset tiny --force
    """
    try:
        run(config.load(preset, set_), force=force, fresh=fresh)
    except (ConfigError, ValueError) as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
