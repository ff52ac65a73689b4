"""What the commands of training share: how an error is told, and how a folder is written. Knows nothing about models."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import typer


@contextmanager
def errors_told() -> Iterator[None]:
    """Ends the command with 2 and one sentence for what its user can mend: a setting, a data row, a file, a missing package."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        sentence = (
            "the GPU has no memory left. For an adapter halve batch and double accumulation, for an S-BERT halve batch "
            "(the command of one part takes --set batch=…, training.run --set sft.summary.batch=…); or free the GPU of other programs"
        )
        typer.secho(f"error: {sentence}", fg="red", err=True)
        raise typer.Exit(2) from error
    except (ValueError, OSError, ImportError) as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(2) from error


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A new folder to write into, which takes the place of ``folder`` once everything is in it: never half a model."""
    unfinished = folder.parent / f".{folder.name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    yield unfinished
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
