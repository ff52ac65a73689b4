"""Tries of a message: when, how often, and under which key."""

from collections.abc import Callable, Iterator

import pytest
from contract_server import Breaks, ContractServer, Refuses, Says, reply
from ohlora_chat.client import Client, Event, Failure, Lost
from ohlora_chat.delivery import GaveUp, Waiting, deliver

DONE = Event("done", {})
Step = Exception | Event


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def sender(*steps: Exception | None) -> Callable[[], Iterator[Event]]:
    """Raises the steps one after the other, then answers."""
    left = list(steps)

    def send() -> Iterator[Event]:
        step = left.pop(0) if left else None
        if step:
            raise step
        yield DONE

    return send


def run(*steps: Exception | None) -> tuple[list[Event | Waiting], float]:
    time = Time()
    return list(deliver(sender(*steps), clock=time.clock, sleep=time.sleep)), time.now


def pauses(events: list[Event | Waiting]) -> list[int]:
    return [event.total for event in events if isinstance(event, Waiting) and event.seconds == event.total]


def test_an_answer_at_once_waits_for_nothing() -> None:
    assert run() == ([DONE], 0.0)


def test_pauses_double_up_to_eight_seconds() -> None:
    events, seconds = run(*(Lost("") for _ in range(6)))
    assert pauses(events) == [1, 2, 4, 8, 8, 8]
    assert seconds == 31


def test_a_named_time_is_kept() -> None:
    events, seconds = run(Failure(429, {"code": "overloaded"}, retry_after=5.2), Failure(503, {}, retry_after=0))
    assert pauses(events) == [6, 1]
    assert seconds == 7


def test_each_second_of_a_wait_is_told() -> None:
    lost = Lost("away")
    events, _ = run(Failure(503, {}, retry_after=3))
    assert [event.seconds for event in events if isinstance(event, Waiting)] == [3, 2, 1, 0]
    assert run(lost)[0][0] == Waiting(1, 1, lost)


def test_gives_up_after_a_minute() -> None:
    time = Time()
    with pytest.raises(GaveUp) as caught:
        list(deliver(sender(*(Lost("away") for _ in range(99))), clock=time.clock, sleep=time.sleep))
    assert str(caught.value.trouble) == "away"
    assert 50 <= time.now <= 60


def test_does_not_wait_for_what_lies_beyond_the_minute() -> None:
    time = Time()
    with pytest.raises(GaveUp):
        list(deliver(sender(Failure(429, {}, retry_after=3600)), clock=time.clock, sleep=time.sleep))
    assert time.now == 0


def test_a_trouble_that_does_not_pass_is_raised_at_once() -> None:
    with pytest.raises(Failure, match="user_blocked"):
        run(Failure(403, {"code": "user_blocked"}))


def test_one_key_for_all_tries_and_nothing_is_said_twice(server: ContractServer) -> None:
    """Refused, broken off, kept by the server but broken off, then replayed: two answers began, one turn was kept."""
    server.steps = [
        Refuses(503, "starting", headers={"Retry-After": "2"}),
        Refuses(409, "session_busy"),
        Breaks(),
        Says(reply("안녕! 나 오로라야"), kept_then_broken=True),
    ]
    client, time = Client(server.url), Time()
    body = {"user_id": "mina", "message": "안녕"}
    events = list(deliver(lambda: client.events(body, "k1"), clock=time.clock, sleep=time.sleep))
    client.close()
    assert set(server.keys) == {"k1"}
    assert all(sent == server.bodies[0] for sent in server.bodies)
    assert (len(server.bodies), server.ran) == (5, 4)
    assert list(server.kept) == ["k1"]
    assert isinstance(events[-1], Event)
    assert events[-1].data["answer"] == "안녕! 나 오로라야"


def test_a_server_that_comes_back_is_found() -> None:
    with ContractServer() as server:
        port, url = server.port, server.url
    client = Client(url)
    revived: list[ContractServer] = []
    time = Time()

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        if time.now > 5 and not revived:
            revived.append(ContractServer(port).__enter__())

    try:
        events = list(deliver(lambda: client.events({"message": "안녕"}, "k1"), clock=time.clock, sleep=sleep))
    finally:
        client.close()
        for running in revived:
            running.__exit__()
    assert pauses(events) == [1, 2, 4]
    assert isinstance(events[-1], Event)
    assert events[-1].name == "done"
