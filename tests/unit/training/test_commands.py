"""What a mistake on a command line of training says: one sentence that names the setting, and no traceback."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from typer.testing import CliRunner

from training import bases, check_data, compare, config, evaluate, merge, run, sbert, sft, text_bases


def told(command: Callable[..., Any], *arguments: str) -> str:
    """What the command prints when it ends with 2."""
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, [*arguments])
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    return " ".join(done.output.split())


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize(
    "command", [sft.main, sbert.main, evaluate.main, run.main, merge.main, compare.main, text_bases.main]
)
def test_help_shows_an_example(command: Callable[..., Any]) -> None:
    app = typer.Typer()
    app.command()(command)
    assert "Example: python -m training." in " ".join(CliRunner().invoke(app, ["--help"]).output.split())


def test_a_part_that_the_preset_lacks_is_named_before_its_fields() -> None:
    said = told(sft.main, "--preset", "tutor", "--task", "summary", "--set", "epochs=1")
    assert "preset tutor trains no adapter 'summary'; it has: tutor" in said
    assert "trains no S-BERT 'ethics'; it has: memory" in told(sbert.main, "--preset", "v2", "--task", "ethics")
    assert "trains no S-BERT 'pose'" in told(compare.main, "--preset", "tiny", "--task", "pose")
    assert "makes no base 'x'; it has: none" in told(text_bases.main, "--preset", "v4", "--base", "x")


def test_a_value_that_is_no_value_is_named() -> None:
    assert "--set sbert.memory.rate=[1: '[1' is not a YAML value" in told(
        sbert.main, "--task", "memory", "--set", "rate=[1"
    )
    assert "sft.summary.lora.rank" in told(sft.main, "--task", "summary", "--set", "lora.rank=0")
    said = told(sbert.main, "--task", "ethics", "--set", "categories=[일반, 정치]")
    assert "categories: Value error, each name once, 일반 last" in said
    assert "unknown: 연애" in told(sbert.main, "--task", "ethics", "--set", "categories=[연애, 일반]")


def test_data_that_are_not_there_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "root", lambda: tmp_path)
    said = told(
        sft.main, "--preset", "tiny", "--task", "summary", "--set", "data=nope", "--set", f"base={tiny(tmp_path)}"
    )
    assert "data: there is no" in said
    assert "nope/train.jsonl" in said


def test_a_base_that_cannot_be_trained_is_refused_before_its_weights_are_read(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "root", lambda: tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    other = told(sft.main, "--preset", "tiny", "--task", "summary", "--set", f"base={tmp_path}")
    assert "is a gpt2; known architectures: llama, gpt_neox" in other
    base = project / "models/tiny/llama"
    short = told(sft.main, "--preset", "tiny", "--task", "summary", "--set", f"base={base}", "--set", "max_length=12")
    assert "max_length 12 is less than the" in short
    assert not (tmp_path / "models").exists()


def tiny(folder: Path) -> Path:
    """A Llama without a padding id, as small as it gets."""
    made = folder / "bare-llama"
    words = {letter: number for number, letter in enumerate(["<s>", "</s>", *map(chr, range(32, 127))])}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocab=words, merges=[])), bos_token="<s>", eos_token="</s>"
    )
    tokenizer.save_pretrained(made)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **shape)).save_pretrained(made)
    return made


def test_a_base_without_a_padding_id_can_be_padded(tmp_path: Path) -> None:
    folder = tiny(tmp_path)
    found = bases.tokenizer(folder)
    assert found(["a", "abc"], padding=True)["attention_mask"] == [[1, 0, 0], [1, 1, 1]]
    assert bases.for_inference(folder).dtype is (torch.bfloat16 if torch.cuda.is_available() else torch.float32)


def test_a_base_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: None) -> None:
    monkeypatch.setattr(config, "root", lambda: tmp_path)
    said = told(sft.main, "--preset", "v4", "--task", "summary", "--set", "base=nobody/nothing")
    assert "base nobody/nothing can't be loaded" in said
    assert "--set base=" in said


def test_nothing_to_evaluate_is_said(tmp_path: Path) -> None:
    said = told(evaluate.main, "--preset", "tiny", "--set", f"output={tmp_path}")
    assert "nothing is trained yet in" in said
    assert "python -m training.run --preset tiny" in said


def test_a_home_folder_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert bases.place(config.load("tiny", ["output=~/models"]), "llama") == tmp_path / "models/llama"


def test_the_data_check_ends_with_what_it_found(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(check_data.main)
    assert CliRunner().invoke(app, []).exit_code == 0
