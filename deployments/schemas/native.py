"""Requests and replies of the native API (`/v1/chat`), as in the HTTP contract."""

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:@-]{1,128}$")]


def known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is no IANA time zone, such as Asia/Seoul") from None
    return name


def readable(text: str) -> str:
    """``text`` if it says something and can be written as UTF-8."""
    if not text.strip():
        raise ValueError("the text is empty")
    return encodable(text)


def encodable(text: str) -> str:
    """``text`` if it can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds half a surrogate pair, which is no character") from None
    return text


class ChatRequest(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"user_id": "mina", "session_id": "s1", "message": "로라야 오늘 약속 없는데 뭐하지"}]
        },
    )

    user_id: Id = Field(description="Whose memories and sanctions count")
    session_id: Id | None = Field(None, description="The conversation; left out, a new one is made and returned")
    message: Annotated[str, Field(min_length=1, max_length=100_000), AfterValidator(readable)]
    persona: str = Field("ohlora", min_length=1, max_length=64)
    timezone: Annotated[str, Field(max_length=64), AfterValidator(known_zone)] | None = Field(
        None, description="IANA name; the configured default where it is left out"
    )
    stream: bool = Field(False, description="Server-sent events instead of one reply")


class Sampling(BaseModel):
    """What a client may ask of one answer; what is left out is the persona's."""

    model_config = ConfigDict(frozen=True)

    temperature: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


AS_CONFIGURED = Sampling()


class PoseReply(BaseModel):
    eyes: str
    mouth: str
    head: str
    scores: dict[str, float] = Field(description="Property score of eyes, mouth and head")
    weights: dict[str, float] = Field(description="Negated scores, for a renderer that adds weight times direction")


class UsedMemory(BaseModel):
    id: str
    key: str
    value: str
    similarity: float


class SavedMemory(BaseModel):
    id: str
    key: str
    value: str


class MemoryReply(BaseModel):
    used: UsedMemory | None = None
    saved: SavedMemory | None = None


class EthicsReply(BaseModel):
    verdict: Literal["none", "warning", "block"]
    categories: list[str] = Field(description="Category keys that were met")
    scores: dict[str, float] = Field(description="Cosine by category name")


class Timings(BaseModel):
    """Milliseconds from the hop's start to its end; 0 for a hop that did not run. ``first_token`` counts from the request.

    ``commit`` is 0 in the reply to a request with an Idempotency-Key: a repeat gets the same reply, and that one was stored
    by the commit itself.
    """

    total: float = 0
    ethics: float = 0
    memory_search: float = 0
    answer: float = 0
    first_token: float = 0
    memory: float = 0
    pose: float = 0
    summary: float = 0
    commit: float = 0


class Source(BaseModel):
    id: str
    title: str
    text: str
    similarity: float


class Usage(BaseModel):
    """Tokens of the answer model, over all tries of the answer."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class ChatReply(BaseModel):
    turn_id: str
    session_id: str
    persona: str
    answer: str
    system_message: str | None = Field(None, description="What the system itself says, such as a warning")
    pose: PoseReply
    memory: MemoryReply
    summary: str | None
    ethics: EthicsReply
    sources: list[Source] = Field(default_factory=list)
    degraded: list[str] = Field(default_factory=list, description="Parts left out because their model did not answer")
    timings_ms: Timings


class TurnReply(ChatReply):
    """A reply with what only the OpenAI-compatible form shows."""

    finish_reason: Literal["stop", "length", "content_filter"] = Field(
        "stop", description="stop: she was done; length: a limit ended it; content_filter: it was not answered"
    )
    usage: Usage = Field(default_factory=Usage)


def native(reply: dict[str, Any]) -> dict[str, Any]:
    """A ``TurnReply`` as the native API shows it."""
    return {name: value for name, value in reply.items() if name in ChatReply.model_fields}


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Part(BaseModel):
    ok: bool
    model: str | None = None
    adapter: str | None = None
    engine: str | None = None
    num_gpus: float = 0
    adapters: list[str] | None = Field(None, description="Answer: what personas may use")
    documents: int | None = Field(None, description="RagSBERT: how many it knows")
    reason: str | None = Field(None, description="Why it does not answer")


class Ready(BaseModel):
    status: Literal["ready", "not_ready"]
    profile: Literal["cpu", "gpu"]
    store: Part
    deployments: dict[str, Part]
