"""The tutor's document store: what can be read, what an error says, and who may read what was written."""

import json
from pathlib import Path

import numpy as np
import pytest

from deployments import checkpoints, documents
from deployments.config import ModelRef, RagConfig
from deployments.documents import Document, DocumentError, DocumentStore
from deployments.rag_sbert import RagSBERT
from ohlora import encoders

FITTING = Document(id="fit", title="과적합", text="훈련 데이터만 외운 상태")
OTHER = Document(id="other", title="정규화", text="가중치를 작게 하는 일")


def made(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def store(*found: Document, embedder: str = "e1") -> DocumentStore:
    return DocumentStore([*found], np.eye(len(found), 4, dtype=np.float32), embedder)


# ---------------------------------------------------------------- reading


def test_a_csv_has_texts_and_may_have_ids_and_titles(tmp_path: Path) -> None:
    file = made(tmp_path, "facts.csv", 'id,title,text\nfit,과적합,"훈련 데이터만, 외운\n상태"\n,,둘째\n')
    assert documents.read(file) == [
        Document(id="fit", title="과적합", text="훈련 데이터만, 외운\n상태"),
        Document(id="doc-2", title="", text="둘째"),
    ]


def test_a_csv_that_a_spreadsheet_saved_is_read(tmp_path: Path) -> None:
    file = made(tmp_path, "facts.csv", "\ufefftext,memo,\r\n하나,무시,x,y\r\n\r\n둘\r\n")
    assert [(d.id, d.text) for d in documents.read(file)] == [("doc-1", "하나"), ("doc-2", "둘")]


@pytest.mark.parametrize("separator", ["\u2028", "\x0b", "\x85"])
def test_what_only_python_takes_for_a_line_end_ends_no_csv_row(tmp_path: Path, separator: str) -> None:
    file = made(tmp_path, "facts.csv", f"text\n하나{separator}둘\n")
    assert [d.text for d in documents.read(file)] == [f"하나{separator}둘"]


def test_a_jsonl_has_one_object_a_line(tmp_path: Path) -> None:
    file = made(tmp_path, "facts.jsonl", '{"id": "a", "text": " 하나 ", "more": 1}\n\n{"text": "둘", "title": null}\n')
    assert documents.read(file) == [Document(id="a", title="", text="하나"), Document(id="doc-2", title="", text="둘")]


def test_a_folder_has_a_document_a_file(tmp_path: Path) -> None:
    made(tmp_path, "b.txt", "둘")
    made(tmp_path, "a/과적합.md", "하나\n")
    made(tmp_path, "a/picture.png", b"\x89PNG")
    assert documents.read(tmp_path) == [
        Document(id="a/과적합.md", title="과적합", text="하나"),
        Document(id="b.txt", title="b", text="둘"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "where", "what"),
    [
        ("a.csv", "text\n하나\n" + "가" * 1001 + "\n", "a.csv line 3", "at most 1000 characters"),
        ("a.csv", "id,text\na,하나\nb,\n", "a.csv line 3", "text"),
        ("a.csv", "name\n하나\n", "a.csv line 2", "text"),
        ("a.csv", "id,text\na,하나\na,둘\n", "a.csv line 3", "'a' is there already"),
        ("a.csv", 'id,text\na,"' + "가" * 140_000 + '"\n', "a.csv line 2", "field larger"),
        ("a.csv", "id,text\ndoc-2,하나\n,둘\n", "a.csv line 3", "'doc-2' is there already"),
        ("a.csv", "text\n", "a.csv", "no documents"),
        ("a.csv", b"text\n\xff\xfe\n", "a.csv", "UTF-8"),
        ("a.jsonl", '{"text": "하나"}\n\n{"text": }\n', "a.jsonl line 3", "not valid JSON"),
        ("a.jsonl", '{"text": "하나"}\n\n["둘"]\n', "a.jsonl line 3", "expected an object"),
        ("a.jsonl", '{"text": "하나"}\n\n{"text": 5}\n', "a.jsonl line 3", "text"),
        ("a.jsonl", '{"text": "   "}\n', "a.jsonl line 1", "text"),
        ("a.jsonl", "", "a.jsonl", "no documents"),
        ("a.xlsx", "", "a.xlsx", "give a .csv"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, name: str, content: str | bytes, where: str, what: str
) -> None:
    file = made(tmp_path, name, content)
    with pytest.raises(DocumentError) as caught:
        documents.read(file)
    assert str(caught.value).startswith(f"{tmp_path / where}")
    assert what in str(caught.value)


@pytest.mark.parametrize(("content", "what"), [("가" * 1001, "at most 1000"), (" ", "text"), (b"\xff", "UTF-8")])
def test_in_a_folder_the_file_that_cannot_be_read_is_named(tmp_path: Path, content: str | bytes, what: str) -> None:
    made(tmp_path, "a.txt", "하나")
    wrong = made(tmp_path, "b.md", content)
    with pytest.raises(DocumentError) as caught:
        documents.read(tmp_path)
    assert str(caught.value).startswith(str(wrong))
    assert what in str(caught.value)


@pytest.mark.parametrize("name", ["none.csv", "none.jsonl", "none"])
def test_a_source_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DocumentError, match=name):
        documents.read(tmp_path / name)


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no documents"):
        documents.read(tmp_path)


# ---------------------------------------------------------------- the store


def test_what_was_written_is_what_is_loaded(tmp_path: Path) -> None:
    awkward = Document(id="줄", title='따옴표 "', text="첫 줄\n둘째\u2028셋째\x85넷째 \\n")
    before = store(FITTING, awkward)
    documents.write(tmp_path / "deep" / "docs", before)
    after = documents.load(tmp_path / "deep" / "docs", "e1", "cpu.rag_sbert.documents")
    assert after.documents == before.documents
    assert after.embedder == "e1"
    np.testing.assert_array_equal(after.vectors, before.vectors)


def test_writing_again_takes_the_place_of_the_old_store_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    documents.write(tmp_path / "docs", store(FITTING, OTHER))
    documents.write(tmp_path / "docs", store(OTHER))
    assert documents.load(tmp_path / "docs", "e1", "s").documents == [OTHER]
    assert [path.name for path in tmp_path.iterdir()] == ["docs"]


def test_a_store_never_takes_the_place_of_other_files(tmp_path: Path) -> None:
    mine = made(tmp_path, "texts/a.txt", "하나")
    with pytest.raises(DocumentError, match="no document store"):
        documents.write(tmp_path / "texts", store(FITTING))
    assert mine.read_text() == "하나"
    assert [path.name for path in tmp_path.iterdir()] == ["texts"]


def test_a_store_may_take_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    documents.write(tmp_path / "docs", store(FITTING))
    assert documents.load(tmp_path / "docs", "e1", "s").documents == [FITTING]


def test_a_store_of_another_model_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    documents.write(tmp_path / "docs", store(FITTING, embedder="e1"))
    with pytest.raises(DocumentError) as caught:
        documents.load(tmp_path / "docs", "e2", "cpu.rag_sbert.documents")
    assert str(caught.value).startswith("cpu.rag_sbert.documents: ")
    command = f"python -m deployments.documents {tmp_path}/docs/documents.jsonl --to {tmp_path}/docs"
    assert command in str(caught.value)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("store.json", b""),
        ("store.json", b"[]"),
        ("store.json", b"{}"),
        ("embeddings.npy", b""),
        ("embeddings.npy", b"\x93NUMPY"),
        ("embeddings.npy", None),
        ("documents.jsonl", None),
        ("documents.jsonl", b'{"id": "a", "text": "a"}\n'),
    ],
)
def test_a_damaged_store_is_one_sentence(tmp_path: Path, file: str, content: bytes | None) -> None:
    documents.write(tmp_path / "docs", store(FITTING, OTHER))
    (tmp_path / "docs" / file).unlink()
    if content is not None:
        (tmp_path / "docs" / file).write_bytes(content)
    with pytest.raises(DocumentError, match="docs"):
        documents.load(tmp_path / "docs", "e1", "cpu.rag_sbert.documents")


def test_a_folder_that_is_no_store_is_said(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"^here: .* is no document store; make one with python -m"):
        documents.load(tmp_path, "e1", "here")


def test_the_nearest_come_first_and_never_more_than_there_are() -> None:
    held = DocumentStore(
        [FITTING, OTHER, Document(id="third", title="", text="셋")],
        np.array([[0, 1], [1, 0], [0.6, 0.8]], dtype=np.float32),
        "e1",
    )
    question = np.array([1, 0], dtype=np.float32)
    assert [(d.id, cosine) for d, cosine in held.nearest(question, 2)] == [("other", 1.0), ("third", 0.6)]
    assert [d.id for d, _ in held.nearest(question, 9)] == ["other", "third", "fit"]


def test_a_store_is_built_by_the_encoder_that_serves(tmp_path: Path, project: Path) -> None:
    folder = project / "models/tiny/rag_sbert"
    identity = checkpoints.identity(ModelRef(path=str(folder)))
    made(tmp_path, "facts.csv", f"id,text\nfit,{FITTING.text}\nother,{OTHER.text}\n")
    model = encoders.load(folder, "cpu")
    documents.build(tmp_path / "facts.csv", tmp_path / "docs", model, identity)
    held = documents.load(tmp_path / "docs", identity, "s")
    np.testing.assert_allclose(np.linalg.norm(held.vectors, axis=1), 1, atol=0.01)
    question = model.encode(OTHER.text, normalize_embeddings=True)
    ((nearest, cosine),) = held.nearest(question, 1)
    assert (nearest.id, cosine) == ("other", pytest.approx(1, abs=0.01))


# ---------------------------------------------------------------- the deployment


def lines(folder: Path, *found: Document) -> Path:
    """A folder of texts as the fake encoder reads it."""
    content = "".join(json.dumps(d.model_dump()) + "\n" for d in found)
    return made(folder, documents.TEXTS, content).parent


async def serving(folder: Path) -> object:
    kind = RagSBERT.func_or_class
    replica = kind.__new__(kind)
    await replica.__init__(
        RagConfig.model_validate({"engine": "fake", "model": "none", "documents": str(folder)}), "cpu.rag_sbert"
    )
    return replica


async def test_another_store_is_taken_in_while_it_serves(tmp_path: Path) -> None:
    replica = await serving(lines(tmp_path / "one", FITTING))
    await replica.reconfigure({})
    assert replica.describe()["documents"] == 1
    await replica.reconfigure({"documents": str(lines(tmp_path / "two", FITTING, OTHER))})
    assert replica.describe()["documents"] == 2


async def test_a_store_that_cannot_be_had_is_refused_and_the_old_one_goes_on(tmp_path: Path, caplog) -> None:
    replica = await serving(lines(tmp_path / "one", FITTING))
    await replica.reconfigure({"top": 5})
    await replica.reconfigure({"documents": str(tmp_path / "none"), "top": 1})
    assert replica.describe()["documents"] == 1
    assert replica._settings.top == 5
    assert "the old ones go on" in caplog.text


async def test_a_store_whose_files_changed_is_refused_and_the_old_one_goes_on(tmp_path: Path, project: Path) -> None:
    folder = project / "models/tiny/rag_sbert"
    identity = checkpoints.identity(ModelRef(path=str(folder)))
    documents.write(tmp_path / "one", DocumentStore([FITTING], np.ones((1, 4), np.float32), identity))
    documents.write(tmp_path / "two", DocumentStore([OTHER, FITTING], np.ones((2, 4), np.float32), identity))
    made(tmp_path, "two/checksums.sha256", f"{'0' * 64}  {documents.TEXTS}\n")
    kind = RagSBERT.func_or_class
    replica = kind.__new__(kind)
    config = {"model": str(folder), "documents": str(tmp_path / "one")}
    await replica.__init__(RagConfig.model_validate(config), "cpu.rag_sbert")
    await replica.reconfigure({})
    await replica.reconfigure({"documents": str(tmp_path / "two")})
    assert replica.describe()["documents"] == 1


async def test_a_wrong_store_at_the_start_ends_the_start(tmp_path: Path) -> None:
    replica = await serving(lines(tmp_path / "one", FITTING))
    with pytest.raises(DocumentError, match="none"):
        await replica.reconfigure({"documents": str(tmp_path / "none")})
