"""A whole preset, its parts side by side: an interrupted run goes on behind what it has trained, and a failed part says where to look."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PRESET = """
name: {name}
description: Two chains of parts, as small as they get
seed: 7
threads: 1
workers: 2
output: {output}
tokenizer_size: 600
bases:
  llama:
    {{architecture: llama, tasks: [summary], layers: 1, inner_width: 64, width: 64, heads: 2, epochs: 1, plain_share: 0}}
sft:
  summary: {{base: llama, lora: {{rank: 8}}, epochs: 1, rate: 1.0e-3, batch: 32, samples: 0}}
sbert:
  rag: {{base: nothing, encoder: {{vocabulary: 1000}}, loss: contrastive, epochs: 1, rate: 0.05, batch: 64}}
"""


@pytest.fixture
def preset(project: Path, tmp_path: Path) -> Iterator[Path]:
    name = f"test-{tmp_path.name}"
    path = tmp_path / f"{name}.yaml"
    path.write_text(PRESET.format(name=name, output=tmp_path / "models"))
    yield path
    shutil.rmtree(project / "runs" / name, ignore_errors=True)


def start(project: Path, preset: Path, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "training.run", "--preset", str(preset), *more],
        cwd=project,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_heed_interrupts,
    )


def _heed_interrupts() -> None:
    """A shell that starts the tests in the background lets them, and what they start, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupted_run_goes_on_and_a_changed_preset_begins_anew(project: Path, preset: Path) -> None:
    runs = project / "runs" / preset.stem
    trained = runs / "all/checkpoints/trained.json"
    first = start(project, preset, "--force")
    deadline = time.monotonic() + 300
    while not trained.exists() and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    first.send_signal(signal.SIGINT)
    subprocess.run(["pkill", "-INT", "-g", str(first.pid)], check=False)  # as a terminal's Ctrl-C reaches all of them
    first.communicate(timeout=60)
    assert first.returncode != 0
    done = json.loads(trained.read_text())
    assert done
    assert set(done) < {"base-llama", "sbert-rag", "sft-summary"}
    made = (runs / done[0] / "seconds.json").stat().st_mtime_ns

    told = start(project, preset, "--force").communicate(timeout=600)[0]
    assert (runs / done[0] / "seconds.json").stat().st_mtime_ns == made, told
    output = preset.parent / "models"
    assert (output / "adapters/summary/adapter_model.safetensors").exists(), told
    assert (output / "rag_sbert/modules.json").exists()
    assert (output / "checksums.sha256").exists()
    assert "right_first" in (runs / "evaluate/figures.json").read_text()
    assert "The whole preset took" in told
    assert not trained.exists()

    card = (output / "checksums.sha256").stat().st_mtime_ns
    tested = start(project, preset).communicate(timeout=600)[0]  # everything is at its place
    assert (output / "checksums.sha256").stat().st_mtime_ns == card, (
        tested
    )  # of what was there nothing is written again
    assert (runs / done[0] / "seconds.json").stat().st_mtime_ns == made, tested
    assert "inference test" in (runs / "sft-summary/log.txt").read_text()


def test_a_failed_part_is_named_with_the_file_of_what_it_wrote(project: Path, preset: Path) -> None:
    (preset.parent / "models").write_text("a file where a folder is wanted")
    failed = start(project, preset, "--force")
    told = re.sub(r"\s+", " ", failed.communicate(timeout=600)[0])
    assert failed.returncode == 2
    assert re.search(r"error: (base-llama|sbert-rag) failed .*output\.txt\. Run the same command again", told), told
