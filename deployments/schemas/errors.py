"""Typed errors: a code, its status, and a sentence in Korean and English. The one place that maps codes to HTTP."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ohlora.persona import ERRORS

# code -> (status, type)
_CODES = {
    "unsupported_parameter": (400, "invalid_request_error"),
    "invalid_json": (400, "invalid_request_error"),
    "invalid_api_key": (401, "authentication_error"),
    "not_permitted": (403, "permission_error"),
    "user_blocked": (403, "permission_error"),
    "user_not_found": (404, "not_found_error"),
    "memory_not_found": (404, "not_found_error"),
    "session_not_found": (404, "not_found_error"),
    "sanction_not_found": (404, "not_found_error"),
    "model_not_found": (404, "not_found_error"),
    "not_found": (404, "not_found_error"),
    "method_not_allowed": (405, "invalid_request_error"),
    "session_busy": (409, "conflict_error"),
    "idempotency_in_progress": (409, "conflict_error"),
    "body_too_large": (413, "invalid_request_error"),
    "headers_too_large": (431, "invalid_request_error"),
    "prompt_too_long": (422, "invalid_request_error"),
    "validation_error": (422, "invalid_request_error"),
    "idempotency_mismatch": (422, "invalid_request_error"),
    "rate_limited": (429, "rate_limit_error"),
    "overloaded": (429, "rate_limit_error"),
    "internal_error": (500, "server_error"),
    "store_unavailable": (503, "server_error"),
    "model_unavailable": (503, "server_error"),
    "starting": (503, "server_error"),
    "deadline_exceeded": (504, "server_error"),
}
KOREAN, ENGLISH = 0, 1


class ErrorBody(BaseModel):
    """What went wrong and what to do. Further fields stand beside these for some codes (tokens, blocked_until, …)."""

    model_config = ConfigDict(extra="allow")

    message: str = Field(examples=["The store can't be reached. Send it again after 1 seconds."])
    type: str = Field(examples=["server_error"])
    code: str = Field(examples=["store_unavailable"])
    param: str | None = Field(None, description="The field that is wrong, where there is one")
    request_id: str | None = Field(None, description="The request's x-request-id")


class ErrorReply(BaseModel):
    error: ErrorBody


class ApiError(Exception):
    """An error for the client. ``fields`` go into the body beside the message; ``words`` only into the sentence."""

    def __init__(
        self,
        code: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        fields: dict[str, Any] | None = None,
        **words: Any,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.status, self.type = _CODES[code]
        self.param = param
        self.retry_after = retry_after if retry_after is not None else (1 if self.status in (429, 503) else None)
        self.fields = fields or {}
        self.words = words

    def body(self, language: int, request_id: str) -> dict[str, Any]:
        words = {key: value[language] if isinstance(value, tuple) else value for key, value in self.words.items()}
        words |= {"param": self.param, "retry_after": self.retry_after, "request_id": request_id}
        message = ERRORS[self.code][language].format(**(self.fields | words))
        body = {"message": message, "type": self.type, "code": self.code, "param": self.param}
        return {"error": body | self.fields | {"request_id": request_id}}


def language_of(accept_language: str) -> int:
    """Korean unless the client prefers English: the first of the two that ``Accept-Language`` names."""
    ranked = []
    for position, part in enumerate(accept_language.split(",")):
        tag, _, quality = part.strip().partition(";q=")
        try:
            ranked.append((-float(quality or 1), position, tag.lower()[:2]))
        except ValueError:
            continue
    for _, _, tag in sorted(ranked):
        if tag in ("ko", "en"):
            return ENGLISH if tag == "en" else KOREAN
    return KOREAN


# Codes that any call under /v1 can give.
COMMON = (
    "invalid_api_key",
    "not_permitted",
    "validation_error",
    "rate_limited",
    "headers_too_large",
    "internal_error",
    "store_unavailable",
)
# Codes of a turn, whichever form asks for it.
OF_TURN = (
    "invalid_json",
    "user_blocked",
    "model_not_found",
    "session_busy",
    "idempotency_in_progress",
    "body_too_large",
    "prompt_too_long",
    "idempotency_mismatch",
    "overloaded",
    "model_unavailable",
    "starting",
    "deadline_exceeded",
)
_EXAMPLE_FIELDS: dict[str, dict[str, Any]] = {
    "prompt_too_long": {"tokens": 57, "limit": 40},
    "user_blocked": {"blocked_until": "2026-11-28T05:00:00Z", "sanction_id": "5f0c…-hate", "categories": ["hate"]},
}


class _Anything(dict[str, str]):
    """Words of an example sentence."""

    def __missing__(self, key: str) -> str:
        return "…"


def responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """What FastAPI's schema says of the errors ``codes`` and of those that every call has: by status, each with an example."""
    found: dict[int | str, dict[str, Any]] = {}
    for code in dict.fromkeys((*codes, *COMMON)):
        status, kind = _CODES[code]
        one = found.setdefault(status, {"model": ErrorReply, "description": "", "content": {"application/json": {}}})
        one["description"] += f"{', ' if one['description'] else ''}{code}"
        if status in (429, 503):
            one["headers"] = {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds"}}
        words = _Anything(retry_after="1", param="message", limit="40", tokens="57")
        fields = _EXAMPLE_FIELDS.get(code, {})
        value = {"message": ERRORS[code][ENGLISH].format_map(words), "type": kind, "code": code, "param": None}
        example = {"value": {"error": value | fields | {"request_id": "9c1d…"}}}
        one["content"]["application/json"].setdefault("examples", {})[code] = example
    return found
