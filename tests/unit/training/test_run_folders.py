"""A run folder's checkpoints are gone on from only with the settings and the data that they were made with."""

import json
from pathlib import Path

import pytest

from ohlora.prompts import Task
from training import commands, config, runs
from training.runs import Run


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "rows.jsonl").write_text("{}\n")
    (folder / "README.md").write_text("a card\n")
    monkeypatch.setattr(runs, "DATA", folder)
    return folder


def seen(folder: Path, *changed: str, fresh: bool = False) -> bool:
    """Whether a run sees the checkpoint of the one before it; it is interrupted and leaves one itself."""
    preset = config.load("tiny", [*changed])
    run = Run(preset, "sbert-rag", part=preset.sbert["rag"], folder=folder, fresh=fresh)
    found: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(run, found)
    return found[0]


def interrupted(run: Run, found: list[bool]) -> None:
    with run.timed():
        found.append(run.last_checkpoint() is not None)
        assert bool(run.records) == found[0]
        checkpoint = run.folder / "checkpoints/checkpoint-10"
        checkpoint.mkdir(parents=True, exist_ok=True)
        (checkpoint / "trainer_state.json").write_text("{}")
        run.log({"step": 10, "loss": 1.0})
        raise KeyboardInterrupt


def test_the_same_run_goes_on(tmp_path: Path, data: Path) -> None:
    assert not seen(tmp_path / "run")
    assert seen(tmp_path / "run")
    (data / "README.md").write_text("another card\n")
    assert seen(tmp_path / "run", "workers=1", "sft.summary.epochs=9")  # nothing that this part is trained with
    assert not seen(tmp_path / "run", fresh=True)
    assert seen(tmp_path / "run")


@pytest.mark.parametrize(
    "changed", ["seed=8", "sbert.rag.epochs=3", "bf16=false", "bases.llama.layers=2", "output=runs/elsewhere"]
)
def test_changed_settings_begin_anew(tmp_path: Path, data: Path, changed: str) -> None:
    seen(tmp_path / "run")
    assert not seen(tmp_path / "run", changed)
    assert "is forgotten" in (tmp_path / "run/log.txt").read_text()


def test_rows_that_lie_elsewhere_count_too(tmp_path: Path, data: Path) -> None:
    rows = tmp_path / "mine/train.jsonl"
    rows.parent.mkdir()
    rows.write_text("{}\n")
    preset = config.load("tiny", [f"sft.summary.data={rows.parent}"])

    def goes_on() -> bool:
        found: list[bool] = []
        run = Run(preset, "sft-summary", part=preset.sft[Task.SUMMARY], folder=tmp_path / "run")
        with pytest.raises(KeyboardInterrupt):
            interrupted(run, found)
        return found[0]

    assert [goes_on(), goes_on()] == [False, True]
    rows.write_text('{"more": 1}\n')
    assert not goes_on()


def test_seconds_of_an_interrupted_run_count(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((0, 30, 100, 112))
    monkeypatch.setattr(runs.time, "monotonic", lambda: next(clock))
    seen(tmp_path / "run")
    preset = config.load("tiny")
    with Run(preset, "sbert-rag", part=preset.sbert["rag"], folder=tmp_path / "run").timed():
        pass
    assert json.loads((tmp_path / "run/seconds.json").read_text()) == {"seconds": 42}


def test_changed_data_begin_anew(tmp_path: Path, data: Path) -> None:
    seen(tmp_path / "run")
    (data / "rows.jsonl").write_text('{"more": 1}\n')
    assert not seen(tmp_path / "run")
    assert seen(tmp_path / "run")


def test_a_checkpoint_half_written_does_not_count(tmp_path: Path, data: Path) -> None:
    seen(tmp_path / "run")
    (tmp_path / "run/checkpoints/checkpoint-20").mkdir()
    run = Run(config.load("tiny"), "sbert-rag", folder=tmp_path / "run")
    assert (run.last_checkpoint() or "").endswith("checkpoint-10")


def test_looking_at_a_model_leaves_the_run_that_made_it_alone(tmp_path: Path, data: Path) -> None:
    with Run(config.load("tiny"), "evaluate", folder=tmp_path / "run").timed():
        pass
    Run(config.load("tiny", ["seed=8"]), "evaluate", folder=tmp_path / "run")
    assert json.loads((tmp_path / "run/config.json").read_text())["seed"] == config.load("tiny").seed


def fill_the_disk(place: Path) -> None:
    with commands.whole(place) as unfinished:
        (unfinished / "second").write_text("2")
        raise OSError("the disk is full")


def test_a_folder_is_whole_or_as_it_was(tmp_path: Path) -> None:
    place = tmp_path / "model"
    with commands.whole(place) as unfinished:
        (unfinished / "first").write_text("1")
    with pytest.raises(OSError, match="disk"):
        fill_the_disk(place)
    assert [p.name for p in place.iterdir()] == ["first"]
    with commands.whole(place) as unfinished:
        (unfinished / "second").write_text("2")
    assert [p.name for p in place.iterdir()] == ["second"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
