"""Every error code of the contract, provoked over real HTTP, in both languages. The models are the shipped fakes."""

import concurrent.futures
import hashlib
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from deployments.schemas.errors import _CODES
from tests.e2e.conftest import FakeSystem

SLOW = "하나 둘 셋 넷 다섯 여섯 일곱 여덟 아홉 열 " * 3  # 30 words of 20 ms
_SEEN: set[str] = set()


@pytest.fixture(scope="module")
def calm(fake_system: FakeSystem) -> Iterator[FakeSystem]:
    yield fake_system
    fake_system.deploy()


def until(condition: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def expect(status: int, code: str, response: httpx.Response, **fields: Any) -> httpx.Response:
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code), response.text
    assert error["request_id"] == response.headers["x-request-id"]
    assert {"message", "type", "param"} <= set(error)
    assert fields.items() <= error.items()
    if status in (429, 503):
        assert int(response.headers["retry-after"]) >= 1
    _SEEN.add(code)
    return response


def both(status: int, code: str, send: Any) -> None:
    """``send(headers)`` gives this error, with a Korean and with an English sentence."""
    korean = expect(status, code, send({"accept-language": "ko"})).json()["error"]["message"]
    english = expect(status, code, send({"accept-language": "en-US,en;q=0.9"})).json()["error"]["message"]
    assert any("가" <= letter <= "힣" for letter in korean)
    assert english.isascii() or not any("가" <= letter <= "힣" for letter in english.split(":")[0])


def test_what_is_wrong_with_a_request(calm):
    url = calm.address

    def post(path: str, headers: dict[str, str] | None = None, **given: Any) -> Any:
        more = headers or {}
        return lambda headers: httpx.post(url + path, headers=headers | more, timeout=30, **given)

    asked = {"model": "ohlora", "messages": [{"role": "user", "content": "안녕"}]}
    both(400, "unsupported_parameter", post("/v1/chat/completions", json=asked | {"tools": [{"x": 1}]}))
    both(400, "invalid_json", post("/v1/chat", content=b"{", headers={"content-type": "application/json"}))
    both(422, "validation_error", post("/v1/chat", json={"message": "안녕"}))
    both(422, "prompt_too_long", post("/v1/chat", json={"user_id": "u", "message": "말 " * 100}))
    both(413, "body_too_large", post("/v1/chat", content=b" " * 70_000))
    both(404, "model_not_found", post("/v1/chat", json={"user_id": "u", "message": "안녕", "persona": "nobody"}))
    both(431, "headers_too_large", lambda h: httpx.get(f"{url}/livez", headers=h | {"x-long": "x" * 20_000}))
    both(405, "method_not_allowed", lambda h: httpx.put(f"{url}/v1/chat", headers=h))
    both(404, "not_found", lambda h: httpx.get(f"{url}/v1/nothing", headers=h))


def test_what_is_not_there(calm):
    user = f"{calm.address}/v1/users/nobody"
    both(404, "user_not_found", lambda h: httpx.get(f"{user}/export", headers=h))
    both(404, "session_not_found", lambda h: httpx.get(f"{user}/sessions/none", headers=h))
    both(404, "memory_not_found", lambda h: httpx.delete(f"{user}/memories/none", headers=h))
    appeal = {"sanction_id": "none", "text": "억울해요"}
    both(404, "sanction_not_found", lambda h: httpx.post(f"{user}/appeals", json=appeal, headers=h))


def test_a_blocked_user(calm):
    # The fake encoder finds a category's own name as near as can be.
    calm.say("혐오/기타", user="rude")
    both(
        403,
        "user_blocked",
        lambda h: httpx.post(f"{calm.address}/v1/chat", json={"user_id": "rude", "message": "안녕"}, headers=h),
    )
    error = calm.say("안녕", user="rude").json()["error"]
    assert error["categories"] == ["hate"]
    assert error["blocked_until"].endswith("Z")


def test_a_session_or_a_key_that_is_in_use(calm):
    url = f"{calm.address}/v1/chat"
    with concurrent.futures.ThreadPoolExecutor() as pool:

        def meanwhile(body: dict[str, Any], key: str, **other: str) -> Any:
            def send(headers: dict[str, str]) -> httpx.Response:
                body["user_id"] += "x"
                first = pool.submit(httpx.post, url, json=body, headers={"idempotency-key": key}, timeout=30)
                time.sleep(0.25)
                try:
                    return httpx.post(url, json=body, headers=headers | other, timeout=30)
                finally:
                    assert first.result().status_code == 200

            return send

        both(409, "session_busy", meanwhile({"user_id": "b", "session_id": "s", "message": SLOW}, "k1"))
        same = {"user_id": "i", "session_id": "s", "message": SLOW}
        both(409, "idempotency_in_progress", meanwhile(same, "k2", **{"idempotency-key": "k2"}))
    first = {"user_id": "m", "session_id": "s", "message": "안녕"}
    assert httpx.post(url, json=first, headers={"idempotency-key": "k3"}).status_code == 200
    other = first | {"message": "다른 말"}
    both(422, "idempotency_mismatch", lambda h: httpx.post(url, json=other, headers=h | {"idempotency-key": "k3"}))


def test_too_many_and_too_slow(calm):
    url = f"{calm.address}/v1/chat"
    calm.deploy(Ingress={"access": {"user_limit": {"requests": 1, "per_s": 60}}})
    until(lambda: "ratelimit-limit" in calm.say("안녕", user=f"r{time.time()}").headers)
    calm.say("안녕", user="eager")
    both(429, "rate_limited", lambda h: httpx.post(url, json={"user_id": "eager", "message": "안녕"}, headers=h))

    calm.deploy(Ingress={"max_turns": 1})
    with concurrent.futures.ThreadPoolExecutor() as pool:

        def while_full(headers: dict[str, str]) -> httpx.Response:
            body = {"user_id": f"o{time.time()}", "message": SLOW}
            first = pool.submit(httpx.post, url, json=body, timeout=30)
            time.sleep(0.25)
            began = time.monotonic()
            refused = httpx.post(url, json=body | {"user_id": "o"}, headers=headers, timeout=30)
            assert refused.status_code != 429 or time.monotonic() - began < 0.3, "refused at once"
            assert first.result().status_code == 200
            return refused

        until(lambda: while_full({}).status_code == 429)
        both(429, "overloaded", while_full)

    calm.deploy(Ingress={"deadlines_s": {"turn": 0.2}})
    slow = {"user_id": "slow", "message": SLOW}
    until(lambda: httpx.post(url, json=slow, timeout=30).status_code == 504)
    both(504, "deadline_exceeded", lambda h: httpx.post(url, json=slow, headers=h, timeout=30))
    assert httpx.get(f"{calm.address}/v1/users/slow/sessions").json() == {"sessions": []}
    calm.deploy()


def test_keys(calm):
    keys = {name: f"ohlora-{name}-{'k' * 32}" for name in ("own", "front", "boss")}
    hashed = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in keys.items()}
    listed = [
        {"name": "own", "kind": "user", "user_id": "mina", "sha256": hashed["own"]},
        {"name": "front", "kind": "service", "sha256": hashed["front"]},
        {"name": "boss", "kind": "admin", "sha256": hashed["boss"]},
    ]
    calm.deploy(Ingress={"access": {"keys": listed}})
    url = f"{calm.address}/v1/users/mina/memories"
    until(lambda: httpx.get(url).status_code == 401)
    both(401, "invalid_api_key", lambda h: httpx.get(url, headers=h))
    bearer = {name: {"authorization": f"Bearer {key}"} for name, key in keys.items()}
    assert httpx.get(url, headers=bearer["own"]).status_code == 200
    assert httpx.get(url, headers=bearer["front"]).status_code == 200
    other = f"{calm.address}/v1/users/jisu/memories"
    both(403, "not_permitted", lambda h: httpx.get(other, headers=h | bearer["own"]))
    admin = f"{calm.address}/v1/admin/sanctions"
    assert httpx.get(admin, headers=bearer["boss"]).status_code == 200
    both(403, "not_permitted", lambda h: httpx.get(admin, headers=h | bearer["front"]))
    calm.deploy()
    until(lambda: httpx.get(url).status_code == 200)


def test_what_is_away(calm):
    url = f"{calm.address}/v1/chat"
    body = {"user_id": "away", "message": "안녕"}
    replica = calm.replica("EthicsSBERT")
    calm.deploy(Ingress={"deadlines_s": {"ethics": 0.5}})
    replica.suspend()
    try:
        until(lambda: httpx.post(url, json=body, timeout=30).status_code == 503)
        both(503, "model_unavailable", lambda h: httpx.post(url, json=body, headers=h, timeout=30))
        # A replica that begins while a model that every turn needs does not answer.
        calm.replica("Ingress").kill()

        def starting() -> bool:
            response = httpx.post(url, json=body, timeout=30)
            return (
                response.headers["content-type"] == "application/json"
                and response.json()["error"]["code"] == "starting"
            )

        calm.until(starting)
        both(503, "starting", lambda h: httpx.post(url, json=body, headers=h, timeout=30))
    finally:
        replica.resume()
    calm.deploy()
    calm.until(calm.ready)
    server = calm.redis()
    server.suspend()
    try:
        both(503, "store_unavailable", lambda h: httpx.post(url, json=body, headers=h, timeout=30))
    finally:
        server.resume()
    calm.until(lambda: calm.say("안녕", user="away").status_code == 200)


def test_no_code_of_the_table_was_left_out():
    # Nobody can provoke internal_error: it is what nobody thought of.
    assert set(_CODES) - {"internal_error"} == _SEEN
