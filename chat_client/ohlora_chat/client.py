"""The server over HTTP: one try of a message as a stream of events, and a person's memories.

Knows no terminal and waits for nothing: what may be tried again is said by the errors, and tried by delivery.py.
"""

import email.utils
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from ohlora_chat.sse import Parser

# Nothing is sent before the first event is there, so the longest silence is that of a whole slow turn.
TIMEOUT = httpx.Timeout(10.0, read=120.0)
# Troubles that pass. 409: an earlier try of this message, or the message before it, is still running.
PASSING_STATUS = {429, 502, 503}
PASSING_CODES = {
    "rate_limited",
    "overloaded",
    "store_unavailable",
    "model_unavailable",
    "starting",
    "session_busy",
    "idempotency_in_progress",
}
NOT_OHLORA = "not_ohlora"


class Lost(Exception):
    """The server can't be reached, or the connection broke before the answer was whole."""


class Failure(Exception):
    """The server said no: its status (0 for an `error` event of a stream), its error object and its headers."""

    def __init__(
        self, status: int, error: Mapping[str, Any], request_id: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(str(error.get("code") or status))
        self.status = status
        self.fields = error
        self.code = str(error.get("code") or "")
        self.message = str(error.get("message") or "")
        self.request_id = str(error.get("request_id") or request_id or "")
        self.retry_after = retry_after

    @property
    def passing(self) -> bool:
        """Whether the same message may be taken a little later."""
        return self.status in PASSING_STATUS or self.code in PASSING_CODES


@dataclass(frozen=True)
class Event:
    """One event of a turn: `token`, `pose` or `done`, and its object."""

    name: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Memory:
    """One remembered thing. The times are ISO 8601 as they came."""

    id: str
    key: str
    value: str
    told_at: str | None
    expires_at: str | None


class Client:
    """One server, one key, one language. Close it at the end."""

    def __init__(self, url: str, key: str | None = None, lang: str = "ko") -> None:
        headers = {"Accept-Language": lang, "User-Agent": "ohlora-chat"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        address = httpx.URL(url)
        # A proxy of the environment can't reach this machine's own loopback.
        self._http = httpx.Client(base_url=address, headers=headers, timeout=TIMEOUT, trust_env=not is_loopback(url))

    def close(self) -> None:
        """Ends all connections."""
        self._http.close()

    def events(self, body: Mapping[str, Any], idempotency_key: str) -> Iterator[Event]:
        """Sends a message once and gives its events up to `done`. Closing the iterator closes the connection, and the
        server then ends the turn. Raises ``Failure`` or ``Lost``."""
        headers = {"Idempotency-Key": idempotency_key, "Accept": "text/event-stream"}
        try:
            with self._http.stream("POST", "v1/chat", json={**body, "stream": True}, headers=headers) as response:
                if not response.is_success:
                    response.read()
                    raise _failure(response)
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    raise Failure(response.status_code, {"code": NOT_OHLORA}, response.headers.get("x-request-id"))
                yield from _events(response)
        except httpx.RequestError as error:
            raise Lost(str(error)) from error

    def memories(self, user: str, timezone: str | None) -> list[Memory]:
        """What she remembers of ``user``, newest first."""
        found = self._json(
            "GET", f"v1/users/{quote(user, safe='')}/memories", {"timezone": timezone} if timezone else {}
        )
        items = found.get("memories") if isinstance(found, dict) else None
        return [_memory(item) for item in items or [] if isinstance(item, dict) and item.get("id")]

    def forget(self, user: str, memory_id: str) -> None:
        """Makes her forget one memory of ``user``."""
        self._json("DELETE", f"v1/users/{quote(user, safe='')}/memories/{quote(memory_id, safe='')}", {})

    def _json(self, method: str, path: str, params: dict[str, str]) -> Any:
        try:
            response = self._http.request(method, path, params=params)
        except httpx.RequestError as error:
            raise Lost(str(error)) from error
        if not response.is_success:
            raise _failure(response)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError:
            raise Failure(response.status_code, {"code": NOT_OHLORA}, response.headers.get("x-request-id")) from None


def is_loopback(url: str) -> bool:
    """Whether ``url`` is on this machine."""
    host = httpx.URL(url).host
    return host in ("localhost", "::1") or host.startswith("127.")


def _events(response: httpx.Response) -> Iterator[Event]:
    parser = Parser()
    for piece in response.iter_bytes():
        for frame in parser.feed(piece):
            try:
                data = json.loads(frame.data)
            except ValueError as error:
                raise Lost(str(error)) from error
            if not isinstance(data, dict):
                continue
            if frame.name == "error":
                raise Failure(0, _error_of(data), response.headers.get("x-request-id"))
            yield Event(frame.name, data)
            if frame.name == "done":
                return
    raise Lost("")  # the stream ended before `done`


def _failure(response: httpx.Response) -> Failure:
    try:
        error = _error_of(response.json())
    except ValueError:  # a proxy's page, say
        error = {}
    after = _seconds(response.headers.get("Retry-After", ""))
    return Failure(response.status_code, error, response.headers.get("x-request-id"), after)


def _error_of(body: Any) -> Mapping[str, Any]:
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}


def _seconds(retry_after: str) -> float | None:
    """A `Retry-After` in seconds: it is a number or a date."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _memory(item: Mapping[str, Any]) -> Memory:
    told, expires = item.get("told_at"), item.get("expires_at")
    return Memory(
        id=str(item["id"]),
        key=str(item.get("key") or ""),
        value=str(item.get("value") or ""),
        told_at=str(told) if told else None,
        expires_at=str(expires) if expires else None,
    )
