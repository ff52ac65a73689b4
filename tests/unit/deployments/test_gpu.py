"""The arithmetic of shares, without a card."""

import json
import multiprocessing
import time
from pathlib import Path

import pytest

from deployments import gpu

GIB = 1024**3


def test_weights_cache_and_overhead_stay_within_the_share():
    memory = gpu.vllm_memory(0.32, 24 * GIB, 4 * GIB)
    assert 4 * GIB + gpu.OVERHEAD_BYTES + memory.kv_cache_memory_bytes <= 0.32 * 24 * GIB
    assert memory.gpu_memory_utilization <= 0.32


def test_a_share_too_small_for_the_weights_says_which_would_do():
    with pytest.raises(ValueError, match=r"num_gpus 0\.1 is .* give it at least 0\.2\d"):
        gpu.vllm_memory(0.1, 24 * GIB, 4 * GIB)
    assert gpu.vllm_memory(0.24, 24 * GIB, 4 * GIB).kv_cache_memory_bytes > 0


def test_the_four_engines_of_the_shipped_file_fit_24_gib_with_their_weights():
    for share, parameters in ((0.32, 2.32e9), (0.25, 2.09e9), (0.18, 1.43e9), (0.18, 1.43e9)):
        assert gpu.vllm_memory(share, 24 * GIB, int(parameters * 2)).kv_cache_memory_bytes >= 64 * 1024**2


def test_weights_are_counted_as_they_will_be_loaded(tmp_path: Path):
    header = json.dumps(
        {
            "a": {"dtype": "F32", "shape": [10, 10], "data_offsets": [0, 400]},
            "__metadata__": {"format": "pt"},
            "b": {"dtype": "I64", "shape": [3], "data_offsets": [400, 424]},
        }
    ).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 424)
    assert gpu.weight_bytes(tmp_path, "bfloat16") == 224
    assert gpu.weight_bytes(tmp_path, "float32") == 424


def _hold(entered: float) -> None:
    with gpu.starting(0.5):
        time.sleep(entered)


def test_engines_of_one_card_start_one_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    context = multiprocessing.get_context("fork")
    other = context.Process(target=_hold, args=(0.5,))
    other.start()
    lock = tmp_path / "ohlora-gpu-0.lock"
    while not lock.exists():
        time.sleep(0.01)
    time.sleep(0.05)
    with gpu.starting(0.5):
        other.join(0.2)
        assert other.exitcode == 0, "the other one still holds the card"
    with gpu.starting(0.0):
        pass  # a model without a share waits for nobody
