"""A conversation: messages, commands, and what is kept between lines. The server is real, the keyboard is a list."""

import io
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from contract_server import ContractServer, Hangs, Refuses, Says, reply
from ohlora_chat import delivery
from ohlora_chat.app import Chat, Outcome, Who, readable
from ohlora_chat.client import Client
from ohlora_chat.texts import Texts
from ohlora_chat.view import View
from rich.console import Console


class Typed:
    """Lines as if typed; an exception is raised as a key would. ``offered`` is what stood in each line before."""

    def __init__(self, *lines: str | type[BaseException]) -> None:
        self._lines = list(lines)
        self.offered: list[str] = []

    def ask(self, default: str = "") -> str:
        self.offered.append(default)
        line = self._lines.pop(0) if self._lines else EOFError
        if isinstance(line, str):
            return line
        raise line


class Room:
    """A chat with its screen."""

    def __init__(self, server: ContractServer) -> None:
        self.screen = io.StringIO()
        console = Console(
            file=self.screen, width=100, force_terminal=True, _environ={"TERM": "dumb"}, color_system=None
        )
        self.client = Client(server.url)
        self.who = Who("mina", "ohlora", timezone="Asia/Seoul")
        self.chat = Chat(
            self.client, View(console, console, Texts("ko"), "Asia/Seoul", talk=True), self.who, server.url
        )

    def talk(self, *lines: str | type[BaseException]) -> Typed:
        typed = Typed(*lines)
        self.chat.talk(typed)
        return typed

    @property
    def shown(self) -> str:
        return self.screen.getvalue()


@pytest.fixture
def room(server: ContractServer) -> Iterator[Room]:
    room = Room(server)
    yield room
    room.client.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits pass at once, and a trouble that passes is given up."""
    defaults: dict[str, Any] = dict(delivery.deliver.__kwdefaults__)
    monkeypatch.setattr(delivery.deliver, "__kwdefaults__", defaults | {"patience_s": 0.5, "sleep": lambda _: None})


def test_a_conversation_goes_on_in_the_session_that_the_server_began(server: ContractServer, room: Room) -> None:
    server.steps = [Says(reply("안녕!", session_id="s9")), Says(reply("그래", session_id="s9"))]
    room.talk("안녕", "", "  뭐해? ", "/끝", "안 보내져요")
    assert server.bodies == [
        {"user_id": "mina", "message": "안녕", "persona": "ohlora", "timezone": "Asia/Seoul", "stream": True},
        {"user_id": "mina", "message": "뭐해?", "persona": "ohlora", "timezone": "Asia/Seoul", "stream": True}
        | {"session_id": "s9"},
    ]
    assert len(set(server.keys)) == 2
    assert "오로라 ▸ 안녕!" in room.shown
    assert "--session s9" in room.shown


def test_the_same_words_after_an_answer_are_a_new_message(server: ContractServer, room: Room) -> None:
    room.who.session = "s1"
    room.talk("안녕", "안녕")
    assert len(set(server.keys)) == 2


@pytest.mark.usefixtures("impatient")
def test_the_same_words_after_giving_up_are_the_same_message(server: ContractServer, room: Room) -> None:
    server.steps = [Refuses(503, "starting", "준비 중"), Says(reply("안녕!"))]
    typed = room.talk("안녕", "안녕", "안녕")
    assert typed.offered == ["", "안녕", "", ""]
    assert server.keys[0] == server.keys[1] != server.keys[2]
    assert "준비 중" in room.shown
    assert "요청 번호 req-7" in room.shown


def test_a_prompt_that_is_too_long_stays_for_editing(server: ContractServer, room: Room) -> None:
    server.steps = [Refuses(422, "prompt_too_long", "짧게요.", fields={"tokens": 90, "limit": 40})]
    typed = room.talk("아주 긴 이야기", "짧은 이야기")
    assert typed.offered == ["", "아주 긴 이야기", ""]
    assert "✗ 짧게요." in room.shown
    assert server.keys[0] != server.keys[1]


def test_a_block_shows_until_when(server: ContractServer, room: Room) -> None:
    fields = {"blocked_until": "2026-03-01T00:00:00+00:00", "categories": ["hate"], "sanction_id": "x"}
    server.steps = [Refuses(403, "user_blocked", "쉬어요.", fields=fields)]
    assert room.chat.say("안녕") is Outcome.SHUT_OUT
    assert "2026년 3월 1일 09:00까지" in room.shown


def test_a_block_in_the_stream_ends_the_line_that_was_begun(server: ContractServer, room: Room) -> None:
    server.steps = [Refuses(0, "user_blocked", "쉬어요.", in_stream=True)]
    assert room.chat.say("안녕") is Outcome.SHUT_OUT
    assert room.shown.splitlines()[:2] == ["오로라 ▸ 안녕! ", "✗ 쉬어요."]


def test_ctrl_c_stops_an_answer_and_closes_the_connection(
    server: ContractServer, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.steps = [Hangs()]
    spoken = Client.events

    def interrupted(self: Client, body: Any, key: str) -> Any:
        events = spoken(self, body, key)
        try:
            yield next(events)  # type: ignore[call-overload]
            raise KeyboardInterrupt
        finally:
            events.close()  # type: ignore[attr-defined]

    monkeypatch.setattr(Client, "events", interrupted)
    assert room.chat.say("안녕") is Outcome.STOPPED
    assert server.left.wait(5)
    assert room.shown.splitlines() == ["오로라 ▸ 안녕! ", "멈췄어요. 끝까지 못 들은 이야기는 남지 않아요."]


def test_ctrl_c_on_an_empty_line_does_not_leave(server: ContractServer, room: Room) -> None:
    room.talk(KeyboardInterrupt, "안녕")
    assert "Ctrl-D" in room.shown
    assert server.ran == 1


def memory(number: int) -> dict[str, Any]:
    return {"id": f"m{number}", "key": f"무엇{number}", "value": f"값{number}", "told_at": "2026-03-01T00:00:00Z"}


def test_memories_are_forgotten_by_the_number_that_was_seen(server: ContractServer, room: Room) -> None:
    server.memories = [memory(1), memory(2), memory(3)]
    room.talk("/잊어 1", "/잊어 1", "/forget 2", "/forget 2", "/잊어 9", "/잊어 둘")
    assert [kept["id"] for kept in server.memories] == ["m3"]
    assert "먼저 목록에서" in room.shown
    assert "잊었어요: 무엇1: 값1" in room.shown
    assert "잊었어요: 무엇2: 값2" in room.shown
    assert room.shown.count("목록에 있는 번호를 주세요: /잊어 1") == 3
    assert [path for path in server.paths if path.startswith("/v1/users/mina/memories?")]


def test_lists_of_a_server_that_is_away_are_not_waited_for(room: Room, server: ContractServer) -> None:
    server.__exit__()
    room.talk("/기억", "/잊어 1")
    assert room.shown.count("닿지 않아요") == 2


def test_new_session_and_persona(server: ContractServer, room: Room) -> None:
    room.talk("안녕", "/새로", "안녕", "/페르소나", "/persona tutor", "과적합이 뭐야?", "/persona " + "x" * 65)
    assert ["session_id" in body for body in server.bodies] == [False, False, False]
    assert [body["persona"] for body in server.bodies] == ["ohlora", "ohlora", "tutor"]
    assert "지금은 ohlora 와" in room.shown
    assert "64자까지" in room.shown


def test_an_unknown_command_is_not_said_to_her(server: ContractServer, room: Room) -> None:
    room.talk("/노래 불러", "/도움", "/끝")
    assert server.ran == 0
    assert "/노래 명령은 없어요. 있는 것: /도움 /기억 /잊어 /새로 /페르소나 /끝" in room.shown


@pytest.mark.parametrize("quit_line", ["/끝", "/quit", "/QUIT", unicodedata.normalize("NFD", "/끝")])
def test_leaving(room: Room, server: ContractServer, quit_line: str) -> None:
    room.talk(quit_line, "안녕")
    assert server.ran == 0


def test_lines_that_one_after_another_are_said(server: ContractServer, room: Room) -> None:
    server.steps = [Says(), Refuses(422, "validation_error"), Says()]
    assert not room.chat.say_all(["\ufeff하나\n", "\n", "둘\n", "셋"])
    assert [body["message"] for body in server.bodies] == ["하나", "둘", "셋"]
    server.steps = [Refuses(401, "invalid_api_key")]
    assert not room.chat.say_all(["넷", "다섯"])
    assert server.bodies[-1]["message"] == "넷"
    assert room.chat.say_all(["여섯"])


def test_text_that_utf8_can_not_hold_is_made_readable() -> None:
    assert readable("가\udcff\ud800나") == "가??나"
