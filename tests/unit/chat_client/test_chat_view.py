"""What stands on the screen."""

import io

import pytest
from contract_server import reply
from ohlora_chat.client import Failure, Lost, Memory
from ohlora_chat.delivery import Waiting
from ohlora_chat.reply import Reply
from ohlora_chat.texts import Texts
from ohlora_chat.view import View, clean, one_line, shortened
from rich.console import Console


class Screen:
    """A view on consoles of strings; ``watched``: as if on a terminal."""

    def __init__(self, *, talk: bool = True, watched: bool = True, lang: str = "ko", plain: bool = True) -> None:
        self.out, self.notes = io.StringIO(), io.StringIO()
        # Dumb: no spinner, whose frames would stand between the lines.
        environ = {"TERM": "dumb"} if plain else {"TERM": "xterm-256color"}
        out = Console(file=self.out, force_terminal=watched, _environ=environ, color_system=None if plain else "256")
        notes = out if talk else Console(file=self.notes, force_terminal=watched, _environ=environ, color_system=None)
        self.view = View(out, notes, Texts(lang), "Asia/Seoul", talk=talk)

    def answer(self, data: dict[str, object], *pieces: str) -> str:
        with self.view.answer() as answer:
            for piece in pieces:
                answer.token(piece)
            answer.done(Reply.of(data))
        return self.out.getvalue()


WHOLE = reply(
    "초밥이지!",
    pose={"eyes": "아주 크게", "mouth": "크게", "head": "많이"},
    memory={"used": {"key": "좋아하는 음식", "value": "초밥"}, "saved": {"key": "오늘 기분", "value": "좋음"}},
    system_message="바르고 고운 말을 써 주세요.",
    degraded=["summary", "novelty"],
    sources=[
        {"text": "과적합 : " + "외운다 " * 60, "similarity": 0.8712},
        {"title": "제목", "text": "글", "similarity": None},
    ],
)


def test_under_an_answer_stands_what_belongs_to_it() -> None:
    lines = Screen().answer(WHOLE, "초밥", "이지!").splitlines()
    assert lines[0] == "오로라 ▸ 초밥이지!"
    assert lines[1] == "  (◉▽◉    )  눈 아주 크게 · 입 크게 · 고개 많이 돌림"
    assert lines[2:4] == ["  🔎 좋아하는 음식: 초밥", "  💾 오늘 기분: 좋음"]
    assert lines[4].startswith("  📚 과적합 — 외운다")
    assert lines[4].endswith("… (0.87)")
    assert lines[5] == "  📚 제목 — 글"
    assert lines[6] == "  이번에는 못 했어요: 대화 요약, novelty"
    assert lines[7] == "⚠ 바르고 고운 말을 써 주세요."
    assert len(lines) == 8


def test_colours_of_warnings_and_of_what_was_left_out() -> None:
    shown = Screen(plain=False).answer(WHOLE, "초밥이지!")
    assert "\x1b[33m⚠" in shown
    assert "\x1b[2m  이번에는" in shown


def test_a_pose_that_no_model_gave_is_not_shown() -> None:
    assert Screen().answer(reply("안녕", degraded=["pose"]), "안녕") == "오로라 ▸ 안녕\n  이번에는 못 했어요: 표정\n"


def test_only_her_words_on_the_first_console_when_nobody_talks() -> None:
    screen = Screen(talk=False)
    assert screen.answer(WHOLE, "초밥", "이지!") == "초밥이지!\n"
    assert "🔎 좋아하는 음식: 초밥" in screen.notes.getvalue()


def test_pieces_are_shown_as_they_come_where_somebody_watches() -> None:
    screen = Screen()
    with screen.view.answer() as answer:
        answer.token("안")
        assert screen.out.getvalue() == "오로라 ▸ 안"
        answer.token("녕")
        assert screen.out.getvalue() == "오로라 ▸ 안녕"


def test_a_file_gets_whole_answers_only() -> None:
    screen = Screen(talk=False, watched=False)
    with screen.view.answer() as answer:
        answer.token("안녕! ")
        answer.waiting(Waiting(1, 1, Lost("")))
        answer.waiting(Waiting(0, 1, Lost("")))
        answer.token("반가")
        assert screen.out.getvalue() == ""
        answer.done(Reply.of(reply("반가워", pose={})))
    assert screen.out.getvalue() == "반가워\n"
    assert screen.notes.getvalue().count("서버에 닿지 않아요. 1초 뒤") == 1


def test_an_answer_that_broke_off_is_said_to_come_again() -> None:
    screen = Screen()
    with screen.view.answer() as answer:
        answer.token("안녕! 나는")
        answer.waiting(Waiting(1, 1, Lost("")))
        answer.token("안녕! 오늘은")
        answer.done(Reply.of(reply("안녕! 오늘은 뭐해?", pose={})))
    lines = screen.out.getvalue().splitlines()
    assert lines == ["오로라 ▸ 안녕! 나는", "(답이 끊겼어요. 처음부터 다시 받을게요.)", "오로라 ▸ 안녕! 오늘은 뭐해?"]


def test_the_whole_reply_counts_where_it_differs_from_the_pieces() -> None:
    shown = Screen().answer(reply("오늘은 쉬어", pose={}), "오늘는 쉬어")
    assert shown.splitlines() == ["오로라 ▸ 오늘는 쉬어", "오로라 ▸ 오늘은 쉬어"]


def test_the_countdown_is_drawn_each_second_where_there_is_a_line_for_it() -> None:
    screen = Screen(plain=False)
    busy = Failure(429, {"code": "overloaded", "message": "사람이 많아요."})
    with screen.view.answer() as answer:
        for seconds in (3, 2, 1, 0):
            answer.waiting(Waiting(seconds, 3, busy))
            assert answer._status is not None
            assert (f"{seconds}초 뒤에" if seconds else "다시 묻고") in str(answer._status.status)
        answer.done(Reply.of(reply("안녕", pose={})))


def test_what_comes_from_outside_can_not_steer_the_terminal() -> None:
    shown = Screen().answer(
        reply("\x1b]0;t\x07[red]안녕[/red]\x9b2J", memory={"saved": {"key": "a\nb", "value": "\x1b[2J"}})
    )
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert "[red]안녕[/red]" in shown
    assert "💾 a b: [2J" in shown
    assert clean("가\t나\n\x00\x7f\ud800") == "가\t나\n"
    assert one_line(" 가 \r\n 나 ") == "가 나"
    assert shortened("가" * 100, 10) == "가" * 9 + "…"


def test_a_block_shows_until_when_in_the_persons_zone() -> None:
    screen = Screen()
    fields = {
        "code": "user_blocked",
        "message": "쉬어요.",
        "blocked_until": "2026-03-01T15:30:00+00:00",
        "request_id": "r9",
    }
    screen.view.failure(Failure(403, fields))
    assert screen.out.getvalue().splitlines() == [
        "✗ 쉬어요.",
        "  2026년 3월 2일 00:30까지 쉬어 가야 해요.",
        "  요청 번호 r9",
    ]


def test_failures_without_a_word_of_their_own() -> None:
    screen = Screen(lang="en")
    screen.view.failure(Failure(502, {}))
    screen.view.failure(Failure(200, {"code": "not_ohlora"}))
    screen.view.failure(Failure(401, {"message": "The API key is not valid."}))
    lines = screen.out.getvalue().splitlines()
    assert lines[0] == "✗ The server answered 502 and said no reason."
    assert "--url" in lines[1]
    assert lines[2:] == ["✗ The API key is not valid.", "  Give a key of this server by --key or OHLORA_API_KEY."]


def test_giving_up_says_what_to_do_and_hides_a_password() -> None:
    screen = Screen()
    screen.view.gave_up(Lost("refused"), "http://me:secret@127.0.0.1:8000")
    screen.view.gave_up(Failure(503, {"code": "starting", "message": "아직 준비하고 있어요."}), "http://x")
    screen.view.welcome("http://me:secret@127.0.0.1:8000", "mina", "ohlora")
    shown = screen.out.getvalue()
    assert "make serve" in shown
    assert "아직 준비하고 있어요." in shown
    assert "두 번 전해지지는 않아요" in shown
    assert "secret" not in shown


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_lists(lang: str) -> None:
    screen = Screen(lang=lang)
    screen.view.help()
    screen.view.memories("mina", [])
    memory = Memory("m1", "좋아하는 [b]음식[/b]", "초밥", "2026-03-01T01:00:00Z", "언젠가")
    screen.view.memories("mina", [memory])
    shown = screen.out.getvalue()
    for name in ("/도움", "/help", "/기억", "/forget", "/새로", "/persona", "/끝"):
        assert name in shown
    assert "좋아하는 [b]음식[/b]" in shown.replace("\n", "")
    assert "언젠가" in shown


def test_a_reply_of_another_age_is_shown_as_far_as_it_goes() -> None:
    strange = {"answer": 3, "pose": "웃음", "memory": [], "sources": [1], "degraded": None, "system_message": {}}
    assert Reply.of(strange) == Reply(None, "", None, {}, None, None, (), ())
    assert Screen().answer({"answer": "안녕"}) == "오로라 ▸ 안녕\n"
