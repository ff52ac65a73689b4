"""What training leaves is served: a base whose tokenizer reached past its embedding, a merged model, an adapter with a foreign path."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from deployments import checkpoints
from deployments.config import LanguageModelConfig
from deployments.engines import make_engine
from deployments.engines.base import EngineSpec, GenerationRequest, collect
from ohlora.prompts import Task, summary_prompt
from training import bases, config, generate, merge, sft
from training.config import ConfigError, Preset
from training.runs import Run

PROMPT = summary_prompt("오늘 뭐 했어?", "나는 친구랑 떡볶이 먹고 왔어!")
NEW_WORDS = ["떡볶이", "친구랑", "오로라"]


@pytest.fixture
def mismatched(project: Path, tmp_path: Path) -> Path:
    """A Llama made as KoreanLM-1.5b is: its tokenizer has words past the rows of the embedding, and our prompts hold them."""
    made = tmp_path / "korean-lm"
    shutil.copytree(project / "models/tiny/llama", made)
    tokenizer = AutoTokenizer.from_pretrained(made)
    tokenizer.add_tokens(NEW_WORDS)
    tokenizer.save_pretrained(made)
    return made


def preset_on(base: Path, output: Path, *more: str) -> Preset:
    torch.set_num_threads(2)
    settings = {"base": base, "epochs": 1, "batch": 8, "lora.rank": 8, "rate": 3e-3, "samples": 1}
    return config.load(
        "tiny", [f"output={output}", "bf16=false", *(f"sft.summary.{k}={v}" for k, v in settings.items()), *more]
    )


def generated(kind: str, base: Path, adapter: Path | None) -> str:
    """The greedy text of an engine that serves what ``serve_config.yaml`` would name."""
    named: dict[str, Any] = {"engine": kind, "base": str(base), "adapter": str(adapter) if adapter else None}
    checked = LanguageModelConfig.model_validate(named | {"dtype": "float32", "max_lora_rank": 64})
    folder, own = checkpoints.check_language_model(checked, "cpu.summary")
    spec = EngineSpec(
        base=folder,
        adapters={"summary": own} if own else {},
        dtype="float32",
        max_model_len=256,
        max_num_seqs=4,
        max_lora_rank=64,
    )

    async def run() -> str:
        engine = make_engine(kind, spec)
        await engine.start()
        try:
            asked = GenerationRequest(
                prompt=PROMPT,
                adapter="summary" if own else None,
                temperature=0.0,
                stop=Task.SUMMARY.stop_mark,
                max_tokens=24,
            )
            return (await collect(engine.generate(asked))).strip()
        finally:
            engine.close()

    return asyncio.run(run())


def test_a_base_whose_tokenizer_reaches_past_its_embedding_is_trained_and_served(
    mismatched: Path, tmp_path: Path
) -> None:
    refused = preset_on(mismatched, tmp_path / "models")
    place = bases.place(refused, "adapters", "summary")
    run = Run(refused, "sft-summary", folder=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"ids up to \d+, its embedding only \d+ rows.*resize_embeddings=true"):
        sft.train(refused, Task.SUMMARY, run, place, max_steps=3)
    with pytest.raises(checkpoints.CheckpointError, match=r"cpu\.summary\.base: .* ids up to \d+.* only \d+ rows"):
        checkpoints.check_base(mismatched, "cpu.summary.base")

    grown = preset_on(mismatched, tmp_path / "models", "sft.summary.resize_embeddings=true")
    sft.train(grown, Task.SUMMARY, run, place, max_steps=3)

    base = Path(bases.prepared(grown.sft[Task.SUMMARY], grown))
    assert base.parent == tmp_path / "models"
    assert base.name.endswith("--korean-lm-resized")
    assert json.loads((place / "adapter_config.json").read_text())["base_model_name_or_path"] == base.name
    rows = AutoModelForCausalLM.from_pretrained(base).get_input_embeddings().num_embeddings
    ids = AutoTokenizer.from_pretrained(base)(PROMPT)["input_ids"]
    assert max(ids) >= rows - len(NEW_WORDS)  # the prompt holds words that the old embedding lacked
    of_vllm, of_transformers = (generated(kind, base, place) for kind in ("vllm", "transformers"))
    assert of_vllm == of_transformers
    assert of_vllm


def test_a_fitting_base_is_not_copied(project: Path, tmp_path: Path) -> None:
    preset = preset_on(project / "models/tiny/llama", tmp_path, "sft.summary.resize_embeddings=true")
    assert bases.prepared(preset.sft[Task.SUMMARY], preset) == str(project / "models/tiny/llama")
    assert not [*tmp_path.iterdir()]


def test_a_llama_whose_heads_have_a_size_of_their_own_is_trained_and_served(project: Path, tmp_path: Path) -> None:
    """Kanana is one: width 1792, 24 heads of 128. transformers 5 refuses its config by itself."""
    made = tmp_path / "kanana"
    shutil.copytree(project / "models/tiny/llama", made, ignore=shutil.ignore_patterns("model.safetensors"))
    settings = json.loads((made / "config.json").read_text())
    settings |= {
        "hidden_size": 160,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "head_dim": 64,
        "num_hidden_layers": 2,
    }
    (made / "config.json").write_text(json.dumps(settings))
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(made)).save_pretrained(made)
    assert json.loads((made / "config.json").read_text())["head_dim"] == 64

    preset = preset_on(made, tmp_path / "models")
    place = bases.place(preset, "adapters", "summary")
    sft.train(preset, Task.SUMMARY, Run(preset, "sft-summary", folder=tmp_path / "run"), place, max_steps=3)
    of_vllm, of_transformers = (generated(kind, made, place) for kind in ("vllm", "transformers"))
    assert of_vllm == of_transformers

    (made / "config.json").write_text(json.dumps(settings | {"head_dim": None}))
    with pytest.raises(StrictDataclassClassValidationError, match="160 is no multiple of num_attention_heads 3"):
        AutoConfig.from_pretrained(made)


@pytest.fixture
def foreign(project: Path, tmp_path: Path) -> Path:
    """The shipped adapter as its trainer's disk would have left it."""
    made = tmp_path / "adapter"
    shutil.copytree(project / "models/tiny/adapters/summary", made)
    settings = json.loads((made / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "C:\\Users\\trainer\\models\\kanana_original"
    (made / "adapter_config.json").write_text(json.dumps(settings))
    return made


def test_an_adapter_that_names_a_foreign_path_is_served_and_merged(
    project: Path, tmp_path: Path, foreign: Path
) -> None:
    base = project / "models/tiny/llama"
    to = tmp_path / "merged"
    assert merge.merge(str(base), str(foreign), to) < 0.05  # merged weights are rounded to the base's bfloat16

    apart = generated("vllm", base, foreign)
    assert apart
    assert generated("transformers", base, foreign) == apart
    assert generated("vllm", to, None) == apart
    assert generated("transformers", to, None) == apart
    tokenizer = AutoTokenizer.from_pretrained(base)
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), str(foreign))
    assert generate.outputs(loaded.eval(), tokenizer, [PROMPT], Task.SUMMARY) == [apart]


@pytest.mark.parametrize(
    ("adapter", "layers", "reason"),
    [("memory", 6, "arget modules"), ("summary", 4, "depth"), ("summary", 8, "adapter keys")],
)
def test_an_adapter_of_another_base_is_not_merged(
    project: Path, tmp_path: Path, adapter: str, layers: int, reason: str
) -> None:
    base = tmp_path / "base"
    shutil.copytree(project / "models/tiny/llama", base)
    model = AutoModelForCausalLM.from_pretrained(base)
    settings = model.config.to_dict() | {"num_hidden_layers": layers}
    AutoModelForCausalLM.from_config(type(model.config)(**settings)).save_pretrained(base)
    with pytest.raises(ConfigError, match=rf"does not fit the base .*{reason}|another {reason}"):
        merge.merge(str(base), str(project / "models/tiny/adapters" / adapter), tmp_path / "to")


def test_the_command_writes_where_it_says_and_never_over_something(project: Path, tmp_path: Path) -> None:
    asked = ["--base", str(project / "models/tiny/gpt-neox"), "--adapter", str(project / "models/tiny/adapters/memory")]
    import typer

    app = typer.Typer()
    app.command()(merge.main)
    done = CliRunner().invoke(app, [*asked, "--to", str(tmp_path / "merged")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "merged/model.safetensors").exists()
    again = CliRunner().invoke(app, [*asked, "--to", str(tmp_path / "merged")])
    assert again.exit_code == 2
    assert "is not empty" in again.output
    elsewhere = ["--preset", "tiny", "--task", "summary", "--set", f"output={tmp_path}", "--set", "sft.summary.base=x"]
    missing = CliRunner().invoke(app, elsewhere)
    assert missing.exit_code == 2
    assert "there is no adapter in" in missing.output
    assert "--set output=" in missing.output
