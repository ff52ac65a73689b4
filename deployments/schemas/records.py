"""Requests and replies about what is kept of a person: memories, sessions, sanctions, export and erasure."""

import datetime as dt
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from deployments.schemas.native import Id, readable
from ohlora.ethics import Kind
from ohlora.memories import MAX_KEY, MAX_VALUE

MAX_TEXT = 2000


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


Key = Annotated[str, Field(min_length=1, max_length=MAX_KEY, pattern=r"^[^\[\]:]+$"), AfterValidator(readable)]
Value = Annotated[str, Field(min_length=1, max_length=MAX_VALUE, pattern=r"^[^\[\]]+$"), AfterValidator(readable)]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(readable)]


class NewMemory(Body):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"key": "좋아하는 과일", "value": "딸기"}]}
    )

    key: Key = Field(description="What it is about; a key about 오늘, 내일 or 지금 is about that day")
    value: Value


class ChangedMemory(Body):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"value": "포도"}]})

    value: Value


class NewAppeal(Body):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"sanction_id": "5f0c-hate", "text": "친구랑 장난친 거예요"}]}
    )

    sanction_id: Id
    text: Text = Field(description="Why the sanction is wrong")


class LiftRequest(Body):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "오해였음"}]})

    reason: Text


class OldValue(BaseModel):
    value: str
    told_at: dt.datetime


class Memory(BaseModel):
    """One remembered thing. ``key`` is as it reads today; a key about a day is gone at ``expires_at``."""

    id: str
    key: str
    value: str
    told_at: dt.datetime
    used_at: dt.datetime | None
    expires_at: dt.datetime | None
    history: list[OldValue]


class Memories(BaseModel):
    memories: list[Memory] = Field(description="Newest first")


class Session(BaseModel):
    session_id: str
    turns: int
    started_at: dt.datetime
    last_at: dt.datetime


class Sessions(BaseModel):
    sessions: list[Session] = Field(description="Last used first")


class SessionTurns(BaseModel):
    session_id: str
    turns: list[dict[str, Any]] = Field(
        description="In order: turn_number, turn_id, at, prompt, answer, summary, reply"
    )


class Entry(BaseModel):
    """One line of the ledger."""

    id: str
    kind: Kind
    at: dt.datetime
    category: str | None
    level: int | None
    until: dt.datetime | None
    sanction_id: str | None
    text: str | None


class Sanctions(BaseModel):
    ledger: list[Entry] = Field(description="Oldest first; entries are only ever added")
    blocked_until: dt.datetime | None
    sanction_ids: list[str] = Field(description="The entries of the block in force")


class UserEntry(BaseModel):
    user_id: str
    entry: Entry


class Page(BaseModel):
    entries: list[UserEntry]
    next_offset: int | None = Field(description="Offset of the next page, null on the last one")


class Erasure(BaseModel):
    erased: dict[str, int] = Field(description="How many of each kind were erased")
    kept: dict[str, Any] | None = Field(description="The ledger of an active block and until when it stays, or null")
