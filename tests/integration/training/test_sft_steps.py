"""A few steps of SFT on a copy of the small Llama: only the completion counts, the loss falls, the adapter loads everywhere."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from ohlora.prompts import Task
from training import bases, config, generate, sft
from training.config import ConfigError, Preset
from training.runs import Run


@pytest.fixture
def preset(project: Path, tmp_path: Path) -> Preset:
    """The tiny preset with its models in a folder of the test's own."""
    shutil.copytree(project / "models/tiny/llama", tmp_path / "models/llama")
    chosen = config.load(
        "tiny",
        [
            f"output={tmp_path / 'models'}",
            "bf16=false",
            "sft.summary.epochs=1",
            "sft.summary.batch=8",
            "sft.summary.lora.rank=8",
            "sft.summary.rate=3e-3",
            "sft.summary.samples=1",
        ],
    )
    torch.set_num_threads(2)
    return chosen


def test_a_few_steps_make_an_adapter_that_loads(preset: Preset, tmp_path: Path) -> None:
    place = bases.place(preset, "adapters", "summary")
    run = Run(preset, "sft-summary", folder=tmp_path / "run")
    with run.timed():
        sft.train(preset, Task.SUMMARY, run, place, max_steps=6)

    settings = json.loads((place / "adapter_config.json").read_text(encoding="utf-8"))
    assert settings["base_model_name_or_path"] == "llama"
    assert settings["r"] == 8
    assert set(settings["target_modules"]) == set(sft.TARGETS["llama"])
    weights = load_file(place / "adapter_model.safetensors")
    assert all(tensor.dtype is torch.bfloat16 for tensor in weights.values())
    assert any(tensor.abs().sum() > 0 for name, tensor in weights.items() if "lora_B" in name)

    base = AutoModelForCausalLM.from_pretrained(bases.place(preset, "llama"), dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(bases.place(preset, "llama"))
    model = PeftModel.from_pretrained(base, str(place)).eval()
    assert len(generate.outputs(model, tokenizer, ["안녕 (오로라 답변) 안녕! (요약 시작)"], Task.SUMMARY)) == 1
    assert (tmp_path / "run/config.json").exists()
    assert any("train_loss" in record for record in run.records)


def test_only_the_completion_is_learnt(preset: Preset, tmp_path: Path) -> None:
    """The batch that the trainer makes masks the prompt ids, which are the served ones."""
    part = preset.sft[Task.SUMMARY]
    folder = bases.locate(part.base, preset)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    training, _ = sft.examples(part, Task.SUMMARY, preset.seed)
    trainer = sft.SFTTrainer(
        model=bases.load(folder, part, bf16=False),
        args=sft.arguments(preset, part, tmp_path, 1),
        train_dataset=sft.as_dataset(training[:8]),
        eval_dataset=sft.as_dataset(training[:8]),
        processing_class=tokenizer,
        peft_config=sft.lora_config(part, "llama"),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    for example, ids, labels in zip(training[:8], batch["input_ids"], batch["labels"], strict=True):
        served = tokenizer(example.prompt)["input_ids"]
        assert ids.tolist()[: len(served)] == served
        assert set(labels.tolist()[: len(served)]) == {-100}
        learnt = [i for i in labels.tolist() if i != -100]
        assert tokenizer.decode(learnt, skip_special_tokens=True) == example.completion


def test_a_base_of_the_preset_that_is_not_made_is_named(preset: Preset) -> None:
    shutil.rmtree(bases.place(preset, "llama"))
    with pytest.raises(ConfigError, match="base llama is not made yet"):
        bases.locate("llama", preset)
