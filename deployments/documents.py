"""The tutor's document store: texts with their embeddings in a folder, and the command that makes one.

    python -m deployments.documents facts.csv [--to data/documents] [--profile cpu]

Takes a CSV with the columns text and, if there are any, id and title; a JSONL file with the same fields; or a folder of .txt
and .md files. Knows nothing about Ray or turns. A store belongs to the model that made its embeddings.
"""

import csv
import io
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

TEXTS, VECTORS, ABOUT = "documents.jsonl", "embeddings.npy", "store.json"
LONGEST = 1000


class DocumentError(ValueError):
    """Documents that can't be used; the message names the file, the row and what to do."""


class Document(BaseModel):
    """One text that may be looked up."""

    model_config = ConfigDict(extra="ignore", frozen=True, str_strip_whitespace=True)

    id: str = Field(min_length=1, max_length=128, description="Name of the document, unique in its store")
    title: str = Field("", max_length=200, description="What it is about")
    text: str = Field(min_length=1, max_length=LONGEST, description="The text that the tutor is given")


@dataclass(frozen=True)
class DocumentStore:
    """Documents and their unit vectors, shape (n, d), in the same order."""

    documents: list[Document]
    vectors: NDArray[np.float32]
    embedder: str

    def nearest(self, question: NDArray[np.float32], top: int) -> list[tuple[Document, float]]:
        """The ``top`` documents of the highest cosine with a unit vector of shape (d,), best first."""
        cosines = self.vectors @ question
        best = np.argsort(-cosines)[:top]
        return [(self.documents[i], round(float(cosines[i]), 4)) for i in best]


def read(source: Path) -> list[Document]:
    """Documents of a CSV, a JSONL file or a folder. Raises DocumentError."""
    found: dict[str, Document] = {}
    for number, (where, row) in enumerate(_rows(source), start=1):
        try:
            document = Document.model_validate({"id": f"doc-{number}"} | {k: v for k, v in row.items() if k and v})
        except ValidationError as error:
            first = error.errors()[0]
            raise DocumentError(f"{where}: {first['loc'][0]}: {first['msg']}") from None
        if document.id in found:
            raise DocumentError(f"{where}: the id {document.id!r} is there already")
        found[document.id] = document
    if not found:
        raise DocumentError(f"{source} holds no documents")
    return [*found.values()]


def _rows(source: Path) -> list[tuple[str, dict[str, Any]]]:
    """What each document says, and where it stands."""
    if source.is_dir():
        files = sorted(p for p in source.rglob("*") if p.suffix in (".txt", ".md") and p.is_file())
        return [(str(f), {"id": str(f.relative_to(source)), "title": f.stem, "text": _text(f)}) for f in files]
    if source.suffix == ".csv":
        reader = csv.DictReader(io.StringIO(_text(source), newline=""))
        try:
            return [(f"{source} line {reader.line_num}", row) for row in reader]
        except csv.Error as error:
            raise DocumentError(f"{source} line {reader.reader.line_num}: not valid CSV ({error})") from None
    if source.suffix in (".jsonl", ".ndjson"):
        lines = enumerate(_text(source).split("\n"), start=1)  # not splitlines: a text may hold U+2028
        return [(f"{source} line {n}", _object(source, n, line)) for n, line in lines if line.strip()]
    raise DocumentError(f"{source}: give a .csv, a .jsonl or a folder of .txt and .md files")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DocumentError(f"there is no file {file}") from None
    except UnicodeDecodeError:
        raise DocumentError(f"{file} is not UTF-8: save it as UTF-8") from None


def _object(source: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DocumentError(f"{source} line {number}: not valid JSON ({error})") from None
    if not isinstance(row, dict):
        raise DocumentError(f"{source} line {number}: expected an object")
    return row


def write(folder: Path, store: DocumentStore) -> None:
    """Puts a store at ``folder``, whole or not at all. Raises DocumentError rather than take the place of other files."""
    _refuse_to_replace(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent))
    lines = (json.dumps(d.model_dump(), ensure_ascii=False) for d in store.documents)
    (made / TEXTS).write_text("\n".join(lines) + "\n", encoding="utf-8")
    np.save(made / VECTORS, store.vectors.astype(np.float32))
    (made / ABOUT).write_text(json.dumps({"embedder": store.embedder, "documents": len(store.documents)}) + "\n")
    made.chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)
    made.rename(folder)


def _refuse_to_replace(folder: Path) -> None:
    if folder.exists() and not (folder / ABOUT).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DocumentError(f"{folder} is there and is no document store: name another folder")


def load(folder: Path, embedder: str, setting: str) -> DocumentStore:
    """The store at ``folder``. Raises DocumentError where it is none, or was made by another model than ``embedder``."""
    if not (folder / ABOUT).is_file():
        raise DocumentError(f"{setting}: {folder} is no document store; make one with python -m deployments.documents")
    try:
        made_by = json.loads((folder / ABOUT).read_text())["embedder"]
        vectors = np.load(folder / VECTORS, allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise DocumentError(f"{setting}: {folder} can't be read ({error}); make it again") from error
    if made_by != embedder:
        raise DocumentError(
            f"{setting}: the embeddings of {folder} are of another model than the one that serves; make the store "
            f"again with python -m deployments.documents {folder / TEXTS} --to {folder}"
        )
    documents = read(folder / TEXTS)
    if len(documents) != len(vectors):
        raise DocumentError(
            f"{setting}: {folder} has {len(documents)} texts and {len(vectors)} embeddings; make it again"
        )
    return DocumentStore(documents, vectors, embedder)


def build(source: Path, to: Path, model: Any, embedder: str) -> DocumentStore:
    """Embeds the documents of ``source`` and puts the store at ``to``. Shows a progress bar."""
    documents = read(source)
    _refuse_to_replace(to)  # before the work, not after it
    vectors = model.encode(
        [d.text for d in documents], normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=True
    )
    store = DocumentStore(documents, vectors.astype(np.float32), embedder)
    write(to, store)
    return store


def _main() -> None:
    import typer
    import yaml

    from deployments import checkpoints
    from deployments.config import ROOT, AppConfig

    def main(
        source: Annotated[Path, typer.Argument(help="CSV (text, id, title), JSONL, or a folder of .txt and .md files")],
        to: Annotated[Path, typer.Option(help="Folder of the store")] = ROOT / "data" / "documents",
        config: Annotated[Path, typer.Option(help="The file that names the encoder")] = ROOT / "serve_config.yaml",
        profile: Annotated[str, typer.Option(help="cpu or gpu: whose RagSBERT embeds them")] = "cpu",
    ) -> None:
        """Make a document store for the tutor: read texts, embed each, write the folder.

        Then name the folder in deployments.RagSBERT.user_config.documents and run `make deploy`; nothing restarts.
        Example: python -m deployments.documents facts.csv --to data/documents
        """
        try:
            args = AppConfig.model_validate(yaml.safe_load(config.read_text())["applications"][0]["args"])
            rag = args.models("gpu" if profile == "gpu" else "cpu").rag_sbert
            if rag is None:
                raise DocumentError(f"{profile}.rag_sbert is not set in {config}: name the encoder there first")
            folder = checkpoints.check_encoder(rag, f"{profile}.rag_sbert")
            from ohlora import encoders

            store = build(source, to, encoders.load(folder), checkpoints.identity(rag.model))
        except ValueError as error:
            typer.secho(f"error: {error}", fg="red", err=True)
            raise typer.Exit(2) from None
        typer.echo(f"{len(store.documents)} documents are in {to}")

    typer.run(main)


if __name__ == "__main__":
    _main()
