"""A run folder's checkpoints are gone on from only with the preset and the data that they were made with."""

from pathlib import Path

import pytest

from training import config, runs
from training.runs import Run


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "rows.jsonl").write_text("{}\n")
    monkeypatch.setattr(runs, "DATA", folder)
    return folder


def checkpointed(folder: Path, *, fresh: bool = False) -> bool:
    """Whether a new run sees the checkpoint; leaves one."""
    run = Run(config.load("tiny"), "sbert-rag", folder=folder, fresh=fresh)
    found = run.last_checkpoint() is not None
    (folder / "checkpoints/checkpoint-10").mkdir(parents=True, exist_ok=True)
    return found


def test_the_same_run_goes_on(tmp_path: Path, data: Path) -> None:
    assert not checkpointed(tmp_path / "run")
    assert checkpointed(tmp_path / "run")
    assert not checkpointed(tmp_path / "run", fresh=True)
    assert checkpointed(tmp_path / "run")


def test_changed_data_begin_anew(tmp_path: Path, data: Path) -> None:
    checkpointed(tmp_path / "run")
    (data / "rows.jsonl").write_text('{"more": 1}\n')
    assert not checkpointed(tmp_path / "run")
    assert checkpointed(tmp_path / "run")


def test_a_changed_preset_begins_anew(tmp_path: Path, data: Path) -> None:
    checkpointed(tmp_path / "run")
    run = Run(config.load("tiny", ["seed=8"]), "sbert-rag", folder=tmp_path / "run")
    assert run.last_checkpoint() is None
