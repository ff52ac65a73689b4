"""The n-gram encoder: the same rows for the same letters, whole or obfuscated; saved and loaded without running a folder's code."""

import json
import string
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from ohlora import encoders
from ohlora.encoders import NgramEmbedding


@pytest.fixture(scope="module")
def embedding() -> NgramEmbedding:
    torch.manual_seed(0)
    return NgramEmbedding(4096, 16, dropout=0.3)


def shared(embedding: NgramEmbedding, one: str, other: str) -> float:
    """Jaccard similarity of the rows of two texts."""
    first, second = set(embedding.ids(one).tolist()), set(embedding.ids(other).tolist())
    return len(first & second) / len(first | second)


def test_rows_do_not_depend_on_the_run() -> None:
    """Weights are kept, so a text's rows may never change: FNV-1a of these n-grams by hand."""
    tiny = NgramEmbedding(1 << 16, 2, jamo=(), syllables=(2,), bare=())
    mask = (1 << 64) - 1

    def fnv(gram: str) -> int:
        value = ((14695981039346656037 ^ (2 * 256 + 2)) * 1099511628211) & mask
        for letter in gram:
            value = ((value ^ ord(letter)) * 1099511628211) & mask
        return (value ^ (value >> 29)) % (1 << 16)

    assert tiny.ids("가나").tolist() == sorted(fnv(gram) for gram in (" 가", "가나", "나 "))


def test_spelling_changes_few_rows(embedding: NgramEmbedding) -> None:
    assert shared(embedding, "너 정말 좋아해", "너 정말 조아해") > 0.5
    assert shared(embedding, "HELLO  there", "hello there") == 1
    assert shared(embedding, "너 정말 좋아해", "내일 비 온대?") < 0.2


def test_signs_between_syllables_leave_its_bare_rows() -> None:
    bare = NgramEmbedding(1 << 16, 2, jamo=(), syllables=())
    assert shared(bare, "좋아해요", "좋. 아♡해~요!") == 1


@given(st.text(max_size=80))
def test_any_text_has_rows(text: str) -> None:
    found = NgramEmbedding(512, 2).ids(text)
    assert len(found)
    assert found.min() >= 0
    assert found.max() < 512
    assert len({*found.tolist()}) == len(found)


def test_rows_are_left_out_while_training_only(embedding: NgramEmbedding) -> None:
    text = string.ascii_letters
    embedding.train()
    kept = len(embedding.preprocess([text])["input_ids"])
    embedding.eval()
    everything = len(embedding.preprocess([text])["input_ids"])
    assert 0.5 < kept / everything < 0.9


def test_a_text_has_one_vector_in_any_batch(embedding: NgramEmbedding) -> None:
    model = SentenceTransformer(modules=[embedding.eval()], device="cpu")
    texts = ["안녕", "", "오늘 뭐 해?", "ㅋ"]
    together = model.encode(texts)
    assert np.allclose(together, np.stack([model.encode([text])[0] for text in texts]), atol=1e-5)


def test_it_is_saved_and_loaded(embedding: NgramEmbedding, tmp_path: Path) -> None:
    model = SentenceTransformer(modules=[embedding.eval()], device="cpu")
    model.save(str(tmp_path))
    assert [m["type"] for m in json.loads((tmp_path / "modules.json").read_text())] == [encoders.TYPE]
    assert np.array_equal(encoders.load(tmp_path, "cpu").encode(["안녕"]), model.encode(["안녕"]))
    SentenceTransformer(
        str(tmp_path), device="cpu", trust_remote_code=True
    )  # what a user of the plain library would write


def test_a_folder_can_not_name_other_code(embedding: NgramEmbedding, tmp_path: Path) -> None:
    SentenceTransformer(modules=[embedding], device="cpu").save(str(tmp_path))
    modules = json.loads((tmp_path / "modules.json").read_text())
    modules[0]["type"] = "subprocess.Popen"
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ValueError, match="trust_remote_code"):
        encoders.load(tmp_path, "cpu")
