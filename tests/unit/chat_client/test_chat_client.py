"""One try over a real socket: events, errors and broken connections."""

import email.utils
import time
from collections.abc import Iterator

import httpx
import pytest
from contract_server import Breaks, ContractServer, Hangs, Page, Refuses, Says, reply
from ohlora_chat.client import NOT_OHLORA, Client, Failure, Lost, is_loopback

BODY = {"user_id": "mina", "message": "안녕", "persona": "ohlora"}


@pytest.fixture
def client(server: ContractServer) -> Iterator[Client]:
    client = Client(server.url, "sk-secret", "en")
    yield client
    client.close()


def test_events_come_in_order(server: ContractServer, client: Client) -> None:
    events = list(client.events(BODY, "k1"))
    assert [event.name for event in events] == ["token", "token", "pose", "done"]
    assert "".join(event.data["text"] for event in events[:2]) == events[-1].data["answer"]
    assert server.bodies == [BODY | {"stream": True}]
    assert server.paths == ["/v1/chat"]
    sent = server.headers[0]
    assert (sent["authorization"], sent["accept-language"], sent["idempotency-key"]) == ("Bearer sk-secret", "en", "k1")


def test_a_refusal_brings_all_that_the_server_said(server: ContractServer, client: Client) -> None:
    server.steps = [Refuses(429, "rate_limited", "천천히요.", {"Retry-After": "7"}, {"limit": 3})]
    with pytest.raises(Failure) as caught:
        list(client.events(BODY, "k1"))
    failure = caught.value
    assert (failure.status, failure.code, failure.message) == (429, "rate_limited", "천천히요.")
    assert (failure.request_id, failure.retry_after, failure.fields["limit"]) == ("req-7", 7.0, 3)
    assert failure.passing


def test_retry_after_may_be_a_date_or_nonsense(server: ContractServer, client: Client) -> None:
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    server.steps = [Refuses(503, "starting", headers={"Retry-After": after}) for after in (date, "soon", "-3")]
    found = []
    for _ in range(3):
        with pytest.raises(Failure) as caught:
            list(client.events(BODY, "k1"))
        found.append(caught.value.retry_after)
    assert 25 < found[0] <= 30
    assert found[1:] == [None, None]


@pytest.mark.parametrize(
    ("status", "code", "passing"),
    [
        (409, "session_busy", True),
        (409, "idempotency_in_progress", True),
        (503, "model_unavailable", True),
        (403, "user_blocked", False),
        (422, "prompt_too_long", False),
        (500, "internal_error", False),
        (504, "deadline_exceeded", False),
    ],
)
def test_which_troubles_pass(status: int, code: str, passing: bool) -> None:
    assert Failure(status, {"code": code}).passing is passing


def test_an_error_in_the_stream_is_a_failure(server: ContractServer, client: Client) -> None:
    server.steps = [Refuses(0, "user_blocked", "쉬어요.", in_stream=True)]
    events = client.events(BODY, "k1")
    assert next(events).name == "token"
    with pytest.raises(Failure) as caught:
        next(events)
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (0, "user_blocked", "req-7")


@pytest.mark.parametrize("tidily", [False, True])
def test_a_stream_without_an_end_is_lost(server: ContractServer, client: Client, tidily: bool) -> None:
    server.steps = [Breaks(tidily)]
    events = client.events(BODY, "k1")
    assert next(events).name == "token"
    with pytest.raises(Lost):
        next(events)


def test_nobody_there_is_lost() -> None:
    with ContractServer() as server:
        url = server.url
    client = Client(url)
    with pytest.raises(Lost, match="refused"):
        list(client.events(BODY, "k1"))
    with pytest.raises(Lost):
        client.memories("mina", None)


@pytest.mark.parametrize(("status", "code", "passing"), [(200, NOT_OHLORA, False), (404, "", False), (502, "", True)])
def test_another_kind_of_server(server: ContractServer, client: Client, status: int, code: str, passing: bool) -> None:
    server.steps = [Page(status)]
    with pytest.raises(Failure) as caught:
        list(client.events(BODY, "k1"))
    assert (caught.value.code, caught.value.passing) == (code, passing)


def test_closing_the_events_closes_the_connection(server: ContractServer, client: Client) -> None:
    server.steps = [Hangs()]
    events = client.events(BODY, "k1")
    assert next(events).data == {"text": "안녕! "}
    events.close()  # type: ignore[attr-defined]
    assert server.left.wait(5)


def test_memories_are_listed_and_forgotten(server: ContractServer, client: Client) -> None:
    server.memories = [
        {"id": "m/1", "key": "좋아하는 음식", "value": "초밥", "told_at": "2026-03-01T01:00:00Z", "expires_at": None}
    ]
    (memory,) = client.memories("mi@na", "Asia/Seoul")
    assert (memory.id, memory.key, memory.value, memory.expires_at) == ("m/1", "좋아하는 음식", "초밥", None)
    client.forget("mi@na", memory.id)
    assert server.memories == []
    with pytest.raises(Failure, match="memory_not_found"):
        client.forget("mi@na", memory.id)
    assert server.paths[0] == "/v1/users/mi%40na/memories?timezone=Asia%2FSeoul"
    assert server.paths[1] == "/v1/users/mi%40na/memories/m%2F1"


def test_an_address_with_a_folder_is_kept(server: ContractServer) -> None:
    client = Client(server.url + "/lora/")
    client.memories("mina", None)
    server.steps = [Says(reply())]
    list(client.events(BODY, "k1"))
    client.close()
    assert server.paths == ["/lora/v1/users/mina/memories", "/lora/v1/chat"]


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: ContractServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    client = Client(server.url)
    assert list(client.events(BODY, "k1"))
    client.close()
    assert is_loopback("http://[::1]:8000")
    assert not is_loopback("http://example.com")
    assert httpx.URL(server.url).host == "127.0.0.1"
