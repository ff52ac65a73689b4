"""A prompt as it is served has the ids that were trained, with the shipped tokenizers."""

import json
from pathlib import Path

import pytest
from tokenizers import processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from trl import SFTTrainer

from ohlora import prompts
from ohlora.prompts import Example, Task
from training import bases, config, data_files, text_bases
from training.config import ConfigError

BASES = {Task.ANSWER: "llama", Task.SUMMARY: "llama", Task.MEMORY: "gpt-neox", Task.POSE: "gpt-neox"}


def tokenizer(project: Path, task: Task) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(project / "models/tiny" / BASES[task])


@pytest.mark.parametrize("task", BASES)
def test_served_ids_begin_the_trained_ids(project: Path, task: Task) -> None:
    found = tokenizer(project, task)
    for row in data_files.dialogue("valid"):
        example = row.example(task)
        ids, prompt = text_bases.encode(found, example)
        served = found(example.prompt)["input_ids"]  # as an engine tokenises: no option given
        assert ids[:prompt] == served
        assert found.decode(ids[prompt:], skip_special_tokens=True).endswith(task.stop_mark)
        assert found.eos_token_id not in served


def test_the_trainer_of_trl_sees_the_same_ids(project: Path) -> None:
    """SFTTrainer tokenises prompt and prompt + completion with plain calls; the first must begin the second."""
    assert SFTTrainer
    found = tokenizer(project, Task.ANSWER)
    example = Example(prompts.answer_prompt("안녕 로라야"), prompts.completion(Task.ANSWER, "안녕!"))
    whole = found(example.prompt + example.completion)["input_ids"]
    assert whole[: len(found(example.prompt)["input_ids"])] == found(example.prompt)["input_ids"]


@pytest.mark.parametrize("text", ["뷁쀍 한글", "emoji 🐈 ok", "ㄴㄱㅁ ㅋㅋㅋㅋㅋ", "漢字", "a\tb"])
def test_no_text_is_unknown(project: Path, text: str) -> None:
    for task in BASES:
        found = tokenizer(project, task)
        assert found.decode(found(text)["input_ids"]).strip() == text


def test_memory_and_pose_outputs_fit_their_token_limits(project: Path) -> None:
    for task, limit in ((Task.MEMORY, 24), (Task.POSE, 36), (Task.SUMMARY, 64)):
        found = tokenizer(project, task)
        for row in data_files.dialogue("valid"):
            assert len(found(row.example(task).completion)["input_ids"]) <= limit


def test_most_prompts_fit_the_served_limit(project: Path) -> None:
    """40 tokens of the answer model are what a prompt may have."""
    found = tokenizer(project, Task.ANSWER)
    lengths = [len(found(row.prompt)["input_ids"]) for row in data_files.dialogue("valid")]
    assert max(lengths) <= 40


def test_a_beginning_that_the_tokenizer_adds_is_trained_too(project: Path) -> None:
    """Hub tokenizers may put a BOS in front; serving does what the tokenizer does, so training must."""
    found = tokenizer(project, Task.ANSWER)
    start = found.bos_token
    found.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, found.bos_token_id)]
    )
    example = Example(prompts.answer_prompt("안녕"), prompts.completion(Task.ANSWER, "안녕!"))
    ids, prompt = text_bases.encode(found, example)
    assert ids[0] == found.bos_token_id
    assert ids[:prompt] == found(example.prompt)["input_ids"]


def test_a_prompt_whose_ids_change_is_refused(project: Path) -> None:
    with pytest.raises(ValueError, match="prompt ids change"):
        text_bases.encode(tokenizer(project, Task.ANSWER), Example("안녕하", "세요"))


def test_a_tokenizer_that_reaches_past_the_embedding_is_refused(project: Path) -> None:
    part = config.load("tiny").sft[Task.ANSWER]
    found = tokenizer(project, Task.ANSWER)
    found.add_tokens([f"<새로운 {n}>" for n in range(3)])
    folder = str(project / "models/tiny/llama")
    model = bases.load(folder, part, bf16=False)
    with pytest.raises(ConfigError, match=r"ids up to \d+, its embedding only \d+ rows.*resize_embeddings"):
        bases.check_vocabulary(model, found, folder)


def test_adapters_name_their_base_by_folder(project: Path) -> None:
    for task, base in BASES.items():
        path = project / "models/tiny/adapters" / task.value / "adapter_config.json"
        assert json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"] == base
