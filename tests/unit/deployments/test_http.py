"""The edge without a cluster: the real FastAPI app, driven in this process by an HTTP client."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from deployments import http
from deployments.schemas.errors import ApiError
from deployments.schemas.native import Part
from state import errors as state_errors
from state.store import Store
from tests.support import LocalModels, LocalService


@pytest.fixture
async def service(store: Store) -> LocalService:
    models = await LocalModels.create()
    models.score()
    return LocalService(models, store)


@pytest.fixture
async def client(service: LocalService) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(http.create_app(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


BODY = {"user_id": "mina", "session_id": "s1", "message": "안녕"}


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def test_a_chat_is_answered(client):
    response = await client.post("/v1/chat", json=BODY)
    assert response.status_code == 200
    assert response.json()["answer"] == "🧪 안녕"


async def test_a_session_left_out_is_made_and_returned(client):
    response = await client.post("/v1/chat", json={"user_id": "mina", "message": "안녕"})
    assert len(response.json()["session_id"]) == 32


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{", (400, "invalid_json")),
        (b"\xff\xfe", (400, "invalid_json")),
        (b"[]", (422, "validation_error")),
        (b"{}", (422, "validation_error")),
    ],
)
async def test_a_body_that_is_no_request_is_refused(client, content, expected):
    response = await client.post("/v1/chat", content=content, headers={"content-type": "application/json"})
    assert code(response) == expected


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"message": None}, "message"),
        ({"message": "   "}, "message"),
        ({"message": "(답변 종료)"}, "message"),
        ({"message": "\ud800"}, "message"),
        ({"user_id": "공백 있음"}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "a" * 129}, "user_id"),
        ({"session_id": "a/b"}, "session_id"),
        ({"timezone": "Mars/Base"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_field_is_named(client, change, param):
    import json

    response = await client.post(
        "/v1/chat", content=json.dumps(BODY | change).encode(), headers={"content-type": "application/json"}
    )
    assert code(response) == (422, "validation_error")
    assert response.json()["error"]["param"] == param


async def test_a_long_prompt_is_refused_kindly_in_korean(client):
    response = await client.post("/v1/chat", json=BODY | {"message": "말 " * 60})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["tokens"], error["limit"]) == (422, "prompt_too_long", 60, 40)
    assert "혜나" in error["message"]


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_64_kib_is_refused(client, declared):
    body = b'{"message": "' + b"a" * 70_000 + b'"}'

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    response = await client.post(
        "/v1/chat", content=body if declared else pieces(), headers={"content-type": "application/json"}
    )
    assert code(response) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (state_errors.StoreUnavailable("gone"), (503, "store_unavailable")),
        (state_errors.SessionBusy("s1"), (409, "session_busy")),
        (state_errors.IdempotencyInProgress("k"), (409, "idempotency_in_progress")),
        (state_errors.IdempotencyMismatch("k"), (422, "idempotency_mismatch")),
        (ApiError("model_unavailable", detail="EthicsSBERT"), (503, "model_unavailable")),
        (RuntimeError("a bug"), (500, "internal_error")),
    ],
)
async def test_every_failure_has_its_code_and_its_request_id(client, service, failure, expected):
    service.failure = failure
    response = await client.post("/v1/chat", json=BODY, headers={"x-request-id": "r-1"})
    assert code(response) == expected
    assert response.headers["x-request-id"] == response.json()["error"]["request_id"] == "r-1"
    assert ("retry-after" in response.headers) == (expected[0] == 503)
    assert "bug" not in response.text


async def test_errors_are_korean_unless_english_is_preferred(client):
    async def message(language: str) -> str:
        response = await client.get("/nowhere", headers={"accept-language": language})
        assert code(response) == (404, "not_found")
        return str(response.json()["error"]["message"])

    korean, english = await message("ko"), await message("en-GB,en;q=0.9,ko;q=0.5")
    assert "주소" in korean
    assert "nothing at /nowhere" in english
    assert await message("fr") == korean
    assert await message("en;q=broken") == korean


async def test_an_insane_request_id_is_replaced(client):
    response = await client.get("/livez", headers={"x-request-id": "a b<script>"})
    assert len(response.headers["x-request-id"]) == 32


async def test_a_wrong_method_is_said(client):
    wrong_method = await client.get("/v1/chat")
    assert code(wrong_method) == (405, "method_not_allowed")
    assert wrong_method.headers["allow"] == "POST"


async def test_readyz_names_what_does_not_answer(client, service):
    assert (await client.get("/readyz")).status_code == 200
    service.parts["Pose"] = Part(ok=False, reason="Pose: TimeoutError")
    response = await client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["deployments"]["Pose"]["ok"] is False


async def test_an_idempotent_repeat_says_so(client):
    first = await client.post("/v1/chat", json=BODY, headers={"idempotency-key": "k1"})
    second = await client.post("/v1/chat", json=BODY, headers={"idempotency-key": "k1"})
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert first.json() == second.json()


async def test_the_schema_describes_the_errors(client):
    schema = (await client.get("/openapi.json")).json()
    assert {"403", "422", "503"} <= set(schema["paths"]["/v1/chat"]["post"]["responses"])
    assert (await client.get("/docs")).status_code == 200


async def streamed(client: httpx.AsyncClient, **fields: Any) -> tuple[httpx.Response, list[tuple[str, Any]]]:
    """The response to a streamed chat and its events."""
    import json

    response = await client.post("/v1/chat", json=BODY | {"stream": True} | fields)
    events = []
    for block in response.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            events.append((lines["event"], json.loads(lines["data"])))
    return response, events


async def test_a_stream_is_tokens_then_the_pose_then_the_whole_reply(client):
    response, events = await streamed(client, message="하나 둘 셋")
    assert response.headers["content-type"].startswith("text/event-stream")
    names = [name for name, _ in events]
    assert names == ["token"] * (len(names) - 2) + ["pose", "done"]
    reply = events[-1][1]
    assert "".join(data["text"] for name, data in events if name == "token") == reply["answer"] == "🧪 하나 둘 셋"
    assert len(names) > 3, "more than one piece"
    assert events[-2][1] == reply["pose"]
    (turn,) = (await client.get("/v1/users/mina/sessions/s1")).json()["turns"]
    assert turn["turn_id"] == reply["turn_id"]


async def test_what_is_refused_before_the_first_token_has_its_own_status(client, service):
    response = await client.post("/v1/chat", json=BODY | {"stream": True, "message": "말 " * 60})
    assert code(response) == (422, "prompt_too_long")
    service.conversation._models.score(**{"혐오/기타": 0.95})
    assert code(await client.post("/v1/chat", json=BODY | {"stream": True})) == (403, "user_blocked")


async def test_a_failure_after_the_first_token_is_an_error_event_and_keeps_nothing(client, service):
    store = service.conversation._store

    async def gone(*_: object) -> None:
        raise state_errors.StoreUnavailable("gone")

    store.commit = gone
    _, events = await streamed(client)
    assert events[0][0] == "token"
    assert (events[-1][0], events[-1][1]["error"]["code"]) == ("error", "store_unavailable")
    assert (await client.get("/v1/users/mina/sessions")).json() == {"sessions": []}


async def test_a_replayed_stream_has_the_same_reply(client):
    first = await client.post("/v1/chat", json=BODY | {"stream": True}, headers={"idempotency-key": "k"})
    second = await client.post("/v1/chat", json=BODY | {"stream": True}, headers={"idempotency-key": "k"})
    assert first.text.rpartition("event: done")[2] == second.text.rpartition("event: done")[2]


@pytest.mark.parametrize("zone", ["{a}", "{", "{0.__class__}"])
async def test_braces_in_a_wrong_value_are_only_text(client, zone):
    response = await client.post("/v1/chat", json=BODY | {"timezone": zone})
    assert code(response) == (422, "validation_error")
    assert repr(zone) in response.json()["error"]["message"]
