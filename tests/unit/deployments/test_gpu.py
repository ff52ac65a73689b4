"""The arithmetic of shares, without a card."""

import json
import multiprocessing
import time
from pathlib import Path

import pytest

from deployments import gpu
from deployments.config import ROOT

KANANA = {
    "model_type": "llama", "hidden_size": 1792, "intermediate_size": 8064, "num_hidden_layers": 32,
    "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 128,
}  # fmt: skip
GIB = 1024**3


def test_weights_cache_and_overhead_stay_within_the_share():
    memory = gpu.vllm_memory(0.32, 24 * GIB, 4 * GIB)
    assert 4 * GIB + gpu.OVERHEAD_BYTES + memory.kv_cache_memory_bytes <= 0.32 * 24 * GIB
    assert memory.gpu_memory_utilization <= 0.32


def test_a_share_too_small_for_the_weights_says_which_would_do():
    with pytest.raises(ValueError, match=r"num_gpus 0\.1 is .* give it at least 0\.2\d"):
        gpu.vllm_memory(0.1, 24 * GIB, 4 * GIB)
    assert gpu.vllm_memory(0.24, 24 * GIB, 4 * GIB).kv_cache_memory_bytes > 0


def test_the_four_engines_of_the_shipped_file_fit_24_gib_with_their_weights_and_adapters(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(KANANA))
    one = gpu.adapter_bytes(tmp_path, 64, 1, "bfloat16")
    for share, parameters, adapters in ((0.32, 2.32e9, 3), (0.25, 2.09e9, 1), (0.18, 1.43e9, 1), (0.18, 1.43e9, 1)):
        memory = gpu.vllm_memory(share, 24 * GIB, int(parameters * 2) + adapters * one)
        assert memory.kv_cache_memory_bytes >= 64 * 1024**2


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


def test_adapters_take_room_for_every_layer_they_may_change(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(KANANA))
    one = gpu.adapter_bytes(tmp_path, 16, 1, "bfloat16")
    reads = 1792 + 1792 + 1792 + 24 * 128 + 1792 + 1792 + 8064
    writes = 24 * 128 + 2 * 8 * 128 + 1792 + 2 * 8064 + 1792
    assert one == 16 * (reads + writes) * 32 * 2
    assert gpu.adapter_bytes(tmp_path, 64, 3, "bfloat16") == 12 * one


def test_adapters_of_the_tiny_models_are_as_large_as_they_say():
    for base, adapter in (("llama", "summary"), ("gpt-neox", "memory")):
        weights = (ROOT / "models/tiny/adapters" / adapter / "adapter_model.safetensors").stat().st_size
        told = gpu.adapter_bytes(ROOT / "models/tiny" / base, 16, 1, "bfloat16")
        assert told <= weights <= told * 1.1, "the file has a header beside the numbers"
