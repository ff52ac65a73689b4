"""What a `done` event says, as far as a terminal shows it.

Forgiving: a field that is missing or of another kind counts as empty, so that an older or newer server can be talked with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Item:
    """Something remembered."""

    key: str
    value: str


@dataclass(frozen=True)
class Source:
    """A text that an answer of the tutor rests on."""

    title: str
    text: str
    similarity: float | None


@dataclass(frozen=True)
class Reply:
    session_id: str | None
    answer: str
    warning: str | None
    pose: dict[str, str]
    used: Item | None
    saved: Item | None
    sources: tuple[Source, ...]
    degraded: tuple[str, ...]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Reply":
        """The reply that ``data``, the object of a `done` event, holds."""
        memory = _mapping(data.get("memory"))
        return cls(
            session_id=_text(data.get("session_id")) or None,
            answer=_text(data.get("answer")),
            warning=_text(data.get("system_message")) or None,
            pose={part: _text(word) for part, word in _mapping(data.get("pose")).items() if isinstance(word, str)},
            used=_item(memory.get("used")),
            saved=_item(memory.get("saved")),
            sources=tuple(_source(found) for found in _list(data.get("sources")) if isinstance(found, Mapping)),
            degraded=tuple(part for part in _list(data.get("degraded")) if isinstance(part, str)),
        )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _item(value: Any) -> Item | None:
    found = _mapping(value)
    return Item(_text(found.get("key")), _text(found.get("value"))) if found else None


def _source(found: Mapping[str, Any]) -> Source:
    text = _text(found.get("text"))
    title = _text(found.get("title"))
    if not title and " : " in text:  # documents of the tutor read "term : explanation"
        title, _, text = text.partition(" : ")
    similarity = found.get("similarity")
    return Source(title.strip(), text.strip(), float(similarity) if isinstance(similarity, int | float) else None)
