"""Requests and replies of the OpenAI-compatible API, as far as they can be honoured.

A persona is a model here. What is not named below is refused unless its value asks for nothing.
"""

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from deployments.schemas.native import Id, Sampling, Usage, encodable

# Parameters that clients send by habit, with the values that ask for nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "top_p": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "store": (False,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "reasoning_effort": ("none",),
}


Text = Annotated[str, Field(max_length=100_000), AfterValidator(encodable)]
Stop = Annotated[Text, Field(min_length=1, max_length=100)]  # white space is one too


class TextPart(BaseModel):
    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """One message. Those of the system are read by nobody: a persona is not told who she is."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | list[TextPart] | None = Field(None, description="Text, or parts of type text")

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")

    include_usage: bool = Field(False, description="One more chunk at the end holds the usage")


class CompletionRequest(BaseModel):
    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {"model": "ohlora", "messages": [{"role": "user", "content": "로라야 안녕"}], "user": "mina"},
                {"model": "tutor", "messages": [{"role": "user", "content": "과적합이 뭐야?"}], "stream": True},
            ]
        },
    )

    model: str = Field(min_length=1, max_length=64, description="A persona; GET /v1/models lists them")
    messages: list[Message] = Field(min_length=1, max_length=1000, description="The last user message is the prompt")
    user: Id | None = Field(None, description="Whose memories and sanctions count; needed with a session")
    metadata: dict[str, str] | None = Field(None, description="session_id: the conversation that is kept")
    stream: bool | None = Field(False, description="Chunks instead of one reply")
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None

    def unsupported(self) -> list[str]:
        """Names of parameters that ask for what can't be done."""
        extra = self.model_extra or {}
        return sorted(k for k, v in extra.items() if v is not None and v not in _NEUTRAL.get(k, ()))

    @property
    def sampling(self) -> Sampling:
        limits = [limit for limit in (self.max_tokens, self.max_completion_tokens) if limit is not None]
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Sampling(temperature=self.temperature, max_tokens=min(limits, default=None), stop=tuple(stops))

    @property
    def prompt(self) -> str | None:
        """The last user message."""
        return next((m.text for m in reversed(self.messages) if m.role == "user"), None)

    @property
    def previous(self) -> tuple[str, str] | None:
        """The exchange before the last user message: what was asked, what was answered."""
        spoken = [m for m in self.messages if m.role in ("user", "assistant") and m.text.strip()]
        last = max((i for i, m in enumerate(spoken) if m.role == "user"), default=0)
        pairs = reversed([*pairwise(spoken[:last])])
        return next(((a.text, b.text) for a, b in pairs if (a.role, b.role) == ("user", "assistant")), None)


class AssistantMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: str | None = None


class Choice(BaseModel):
    index: int = 0
    message: AssistantMessage
    logprobs: None = None
    finish_reason: Literal["stop", "length", "content_filter"]


class CompletionUsage(Usage):
    total_tokens: int = 0


class Completion(BaseModel):
    """The reply; ``ohlora`` holds what the native reply has beside the answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int = Field(description="Seconds since 1970, UTC")
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    ohlora: dict[str, Any] = Field(description="Pose, memory, ethics, sources and the rest of the native reply")


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "ohlora"


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


_OWN = ("answer", "finish_reason", "usage")


def extension(reply: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in reply.items() if name not in _OWN}


def usage(reply: dict[str, Any]) -> dict[str, int]:
    counted: dict[str, int] = reply.get("usage") or Usage().model_dump()
    return counted | {"total_tokens": sum(counted.values())}


def completion(reply: dict[str, Any], created: int) -> dict[str, Any]:
    """The native ``reply`` as a completion."""
    message = {"role": "assistant", "content": reply["answer"], "refusal": None}
    finish = reply.get("finish_reason", "stop")
    return {
        "id": f"chatcmpl-{reply['turn_id']}",
        "object": "chat.completion",
        "created": created,
        "model": reply["persona"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": usage(reply),
        "ohlora": extension(reply),
    }


class Chunks:
    """Events of a turn as chunks of one completion. The last chunk holds the extension."""

    def __init__(self, request_id: str, persona: str, created: int, include_usage: bool) -> None:
        self._head = {"id": f"chatcmpl-{request_id}", "object": "chat.completion.chunk", "created": created, "model": persona}  # fmt: skip
        self._include_usage, self._begun = include_usage, False

    def of(self, name: str, data: dict[str, Any]) -> list[dict[str, Any]]:
        """Chunks for one event; none for an event that chunks have no place for."""
        made = []
        if not self._begun and name in ("token", "done"):
            self._begun = True
            made.append(self._chunk({"role": "assistant", "content": ""}))
        if name == "token":
            made.append(self._chunk({"content": data["text"]}))
        if name == "done":
            made.append(self._chunk({}, finish_reason=data.get("finish_reason", "stop")))
            if self._include_usage:
                made.append(self._head | {"choices": [], "usage": usage(data)})
            made[-1]["ohlora"] = extension(data)
        return made

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._head | {"choices": [choice]} | ({"usage": None} if self._include_usage else {})
