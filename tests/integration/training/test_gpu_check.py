"""The trial of the real shapes, with small ones: every distinct training of the presets is tried, and the page says what ran."""

from pathlib import Path

import pytest
import torch
import typer
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import CliRunner

from training import config, gpu_check


def test_the_shapes_are_those_of_the_real_bases() -> None:
    """Parameter counts of system.md §1, of models that hold no memory."""
    counts = {}
    for base, shape in gpu_check.SHAPES.items():
        with torch.device("meta"):
            kind = gpu_check.AutoModel if base == "klue/roberta-base" else AutoModelForCausalLM
            model = kind.from_config(shape)
        counts[base] = sum(parameter.numel() for parameter in model.parameters()) / 1e9
    assert counts["kakaocorp/kanana-1.5-2.1b-instruct-2505"] == pytest.approx(2.32, abs=0.01)
    assert counts["kakaocorp/kanana-1.5-2.1b-base"] == pytest.approx(2.09, abs=0.01)
    assert counts["EleutherAI/polyglot-ko-1.3b"] == pytest.approx(1.33, abs=0.01)
    assert counts["klue/roberta-base"] == pytest.approx(0.11, abs=0.01)


def test_every_base_and_rank_of_the_presets_is_tried() -> None:
    tried = {(part.base, part.lora.rank) for _, _, part in gpu_check.distinct(gpu_check.PRESETS)}
    wanted = {(p.base, p.lora.rank) for name in gpu_check.PRESETS for p in config.load(name).sft.values()}
    assert tried == wanted
    assert {base for base, _ in wanted} < {*gpu_check.SHAPES}


def test_it_trains_and_writes_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    app = typer.Typer()
    app.command()(gpu_check.main)
    done = CliRunner().invoke(app, ["--small", "--steps", "30", "--to", str(page)])
    assert done.exit_code == 0, done.output
    text = page.read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| v") or line.startswith("| tutor")]
    assert len(rows) == len([*gpu_check.distinct(gpu_check.PRESETS)]) + 1
    assert "at small shapes" in text
    assert ("no GPU" in text) != torch.cuda.is_available()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_to_do(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(gpu_check.main)
    done = CliRunner().invoke(app, ["--to", str(tmp_path / "page.md")])
    assert done.exit_code == 2
    assert "--small tries the script without one" in done.output
    assert not (tmp_path / "page.md").exists()
    done = CliRunner().invoke(app, ["--small"])
    assert done.exit_code == 2
    assert "--small wants --to" in done.output


def test_a_made_base_is_small_and_has_a_tokenizer_it_has_rows_for(tmp_path: Path) -> None:
    base = "kakaocorp/kanana-1.5-2.1b-base"
    made = gpu_check.make(base, gpu_check.smaller(gpu_check.SHAPES[base]), tmp_path)
    assert AutoConfig.from_pretrained(made).head_dim == 32
    assert (made / "tokenizer.json").exists()
