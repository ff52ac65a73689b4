"""A few steps of each S-BERT with each kind of encoder and each loss: it learns, and what it leaves is loaded by serving's loader."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ohlora import encoders
from training import compare, config, measure, sbert
from training.config import Preset
from training.runs import Run


def preset_with(kind: str, *more: str) -> Preset:
    torch.set_num_threads(2)
    return config.load("tiny", ["sbert.memory.epochs=1", "sbert.ethics.epochs=1", "sbert.rag.epochs=1", *more])


@pytest.mark.parametrize("kind", ["ngrams", "static", "bert"])
def test_every_kind_of_encoder_learns_and_is_loaded_again(tmp_path: Path, kind: str) -> None:
    preset = preset_with(
        "ethics", f"sbert.ethics.encoder={{kind: {kind}, vocabulary: 3000, width: 64, layers: 1, heads: 2}}"
    )
    run = Run(preset, "sbert-ethics", folder=tmp_path / "run")
    sbert.train(preset, "ethics", run, tmp_path / "model", max_steps=30)

    logged = [record["loss"] for record in run.records if "loss" in record]
    assert len(logged) == 30
    assert sum(logged[-10:]) < sum(logged[:10])
    model = encoders.load(tmp_path / "model", "cpu")
    assert next(model.parameters()).device.type == "cpu"
    vectors = measure.embed(model, ["안녕", "오늘 뭐 해?", ""])
    assert np.isfinite(vectors).all()
    assert np.allclose(np.linalg.norm(vectors[:2], axis=1), 1, atol=1e-2)  # the mean over no piece is zero
    assert np.array_equal(vectors, measure.embed(encoders.load(tmp_path / "model", "cpu"), ["안녕", "오늘 뭐 해?", ""]))


@pytest.mark.parametrize("kind", ["memory", "ethics", "rag"])
def test_losses_are_compared_in_a_report(tmp_path: Path, kind: sbert.Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "root", lambda: tmp_path)
    preset = preset_with(kind)
    found = compare.compare(preset, kind, list(compare.LOSSES), max_steps=8)
    assert set(found) == {"cosine", "cosent", "angle", "contrastive"}
    folder = tmp_path / "runs/tiny" / f"compare-{kind}"
    assert json.loads((folder / "figures.json").read_text()) == found
    table = (folder / "report.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in table if line.startswith("|")][2:] == [*found]
    assert (folder / "losses.png").stat().st_size > 1000
    first = compare.SHOWN[kind][0]
    assert all(0 <= figures[first] <= 1 for figures in found.values())


def test_an_interrupted_comparison_goes_on_behind_what_was_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "root", lambda: tmp_path)
    train, tried = sbert.train, 0

    def interrupted_once(*given: Any, **options: Any) -> None:
        nonlocal tried
        tried += 1
        if tried == 2:
            raise KeyboardInterrupt
        train(*given, **options)

    monkeypatch.setattr(sbert, "train", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        compare.compare(preset_with("memory"), "memory", ["cosent", "contrastive"], max_steps=4)
    found = compare.compare(preset_with("memory"), "memory", ["cosent", "contrastive"], max_steps=4)
    assert list(found) == ["cosent", "contrastive"]
    assert tried == 3
    compare.compare(preset_with("memory"), "memory", ["contrastive"], max_steps=4)  # a finished one begins anew
    assert tried == 4


class Interrupted(Run):
    """A run that is stopped, as by Ctrl-C, at its second evaluation."""

    def log(self, record: dict[str, Any]) -> None:
        super().log(record)
        if sum("eval_right_first" in r or "right_first" in str(r) for r in self.records) == 2:
            raise KeyboardInterrupt


def test_an_interrupted_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    torch.set_num_threads(2)
    preset = config.load("tiny", ["sbert.rag.epochs=3", "sbert.rag.encoder.vocabulary=1000", "sbert.rag.augment=0"])
    part, folder = preset.sbert["rag"], tmp_path / "run"
    first = Interrupted(preset, "sbert-rag", part=part, folder=folder)
    with pytest.raises(KeyboardInterrupt):
        timed_training(preset, first, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    reached = first.records[-1]["step"]

    again = Run(preset, "sbert-rag", part=part, folder=folder)
    before = len(first.records)
    timed_training(preset, again, tmp_path / "model")
    steps = [record["step"] for record in again.records[before:] if "loss" in record]
    assert min(steps) > reached // 2 > 1  # the checkpoint of the first third, not the beginning
    assert [record["step"] for record in again.records[:before]] == [record["step"] for record in first.records]
    assert (tmp_path / "model/modules.json").exists()


def timed_training(preset: Preset, run: Run, place: Path) -> None:
    with run.timed():
        sbert.train(preset, "rag", run, place)
