"""The command itself, as a process: pipes, exit codes, and a terminal with Ctrl-C."""

import contextlib
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import ohlora_chat
import pytest
from contract_server import Breaks, ContractServer, Hangs, Refuses, Says, reply

SOURCE = Path(ohlora_chat.__file__).parent.parent
COMMAND = [sys.executable, "-m", "ohlora_chat"]


@pytest.fixture
def environ(server: ContractServer, tmp_path: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {
        "PYTHONPATH": str(SOURCE),
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "XDG_STATE_HOME": str(tmp_path),
        "OHLORA_URL": server.url,
        "OHLORA_USER": "mina",
        "OHLORA_API_KEY": "sk-secret",
    }


def run(environ: dict[str, str], *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], input=typed, env=environ, capture_output=True, text=True, timeout=60)


def test_one_message(server: ContractServer, environ: dict[str, str]) -> None:
    server.steps = [Says(reply("안녕!", memory={"used": None, "saved": {"key": "이름", "value": "미나"}}))]
    ended = run(environ, "로라야", "나", "미나야", "--timezone", "Asia/Seoul", "--session", "s5")
    assert (ended.returncode, ended.stdout) == (0, "안녕!\n")
    assert "💾 이름: 미나" in ended.stderr
    assert server.bodies[0] == {
        "user_id": "mina",
        "session_id": "s5",
        "message": "로라야 나 미나야",
        "persona": "ohlora",
        "timezone": "Asia/Seoul",
        "stream": True,
    }
    assert server.headers[0]["authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in ended.stdout + ended.stderr


def test_piped_lines_are_one_message_each(server: ContractServer, environ: dict[str, str]) -> None:
    server.steps = [Says(reply("하나요")), Breaks(), Says(reply("둘이요")), Says(reply("셋이요"))]
    ended = run(environ, typed="하나\n\n둘\n/셋")
    assert (ended.returncode, ended.stdout) == (0, "하나요\n둘이요\n셋이요\n")
    assert [body["message"] for body in server.bodies] == ["하나", "둘", "둘", "/셋"]
    assert "session_id" not in server.bodies[0]
    assert {body["session_id"] for body in server.bodies[1:]} == {"s1"}
    assert "\x1b" not in ended.stdout + ended.stderr


def test_a_refusal_is_an_exit_code(server: ContractServer, environ: dict[str, str]) -> None:
    server.steps = [Refuses(422, "prompt_too_long", "짧게요."), Says(reply("그래"))]
    ended = run(environ, "--lang", "en", typed="긴 말\n짧은 말\n")
    assert (ended.returncode, ended.stdout) == (1, "그래\n")
    assert "✗ 짧게요." in ended.stderr
    assert "request req-7" in ended.stderr
    assert server.headers[0]["accept-language"] == "en"


def test_a_busy_server_is_asked_again_under_the_same_key(server: ContractServer, environ: dict[str, str]) -> None:
    server.steps = [Refuses(429, "overloaded", "사람이 많아요.", {"Retry-After": "1"}), Says(reply("안녕!"))]
    ended = run(environ, "안녕")
    assert (ended.returncode, ended.stdout) == (0, "안녕!\n")
    assert "사람이 많아요. — 1초 뒤에" in ended.stderr
    assert len(server.keys) == 2
    assert len(set(server.keys)) == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--url", "example.com"),
        ("--url", "http://"),
        ("--url", "http://[::1"),
        ("--key", "sk-secret\n"),
        ("--key", "비밀"),
        ("--user", "미나"),
        ("--user", ".."),
        ("--session", "a b"),
        ("--timezone", "Mars/Olympus"),
        ("--persona", "x" * 65),
        ("--lang", "fr"),
    ],
)
def test_wrong_options_are_named_before_anything_is_sent(
    server: ContractServer, environ: dict[str, str], option: str, value: str
) -> None:
    ended = run(environ, option, value, "안녕")
    assert ended.returncode == 2
    assert option in ended.stderr
    assert "Traceback" not in ended.stderr
    assert server.ran == 0
    if option == "--key":
        assert value not in ended.stderr


@pytest.mark.parametrize(("lang", "word"), [("ko", "이야기해요"), ("en", "Talk with")])
def test_help_is_in_the_language_asked_for_and_holds_no_key(environ: dict[str, str], lang: str, word: str) -> None:
    ended = run(environ, "--help", "--lang", lang)
    assert ended.returncode == 0
    assert word in ended.stdout
    assert "sk-secret" not in ended.stdout
    for option in ("URL", "API_KEY", "USER", "SESSION", "PERSONA", "TIMEZONE", "LANG"):
        assert f"OHLORA_{option}" in ended.stdout


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # This terminal does not answer where its cursor stands.
            os.execve(sys.executable, COMMAND, environ | {"PROMPT_TOOLKIT_NO_CPR": "1"})
        self.shown = ""

    def type(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def see(self, text: str, seconds: float = 20) -> None:
        """Waits until ``text`` has been shown, and forgets what stood before its end."""
        raw, end = self.shown.encode(), time.monotonic() + seconds
        while text not in raw.decode(errors="ignore"):
            assert time.monotonic() < end, f"{text!r} is not in {raw.decode(errors='ignore')!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                raw += os.read(self.fd, 65536)
        self.shown = raw.decode(errors="ignore").partition(text)[2]

    def ended(self) -> int:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if select.select([self.fd], [], [], 0.05)[0]:
                with contextlib.suppress(OSError):  # Linux says so when the other end is closed
                    os.read(self.fd, 65536)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        raise AssertionError("still runs")


@pytest.fixture
def terminal(environ: dict[str, str]) -> Iterator[Terminal]:
    terminal = Terminal(environ)
    yield terminal
    os.close(terminal.fd)


def test_a_conversation_on_a_terminal(server: ContractServer, terminal: Terminal, tmp_path: Path) -> None:
    server.steps = [Says(reply("안녕!")), Hangs(), Says(reply("그래"))]
    terminal.see("나: mina")
    terminal.see("나 ▸")
    terminal.type("로라야\r")
    terminal.see("안녕!")
    terminal.see("(  ◕‿◕  )")
    terminal.see("나 ▸")
    terminal.type("길게 말해 줘\r")
    terminal.see("안녕! ")
    terminal.type("\x03")
    terminal.see("멈췄어요.")
    assert server.left.wait(5)
    terminal.see("나 ▸")
    terminal.type("지워질 말\x03뭐해\r")
    terminal.see("그래")
    terminal.see("나 ▸")
    terminal.type("\x04")
    terminal.see("--session s1")
    assert terminal.ended() == 0
    assert [body["message"] for body in server.bodies] == ["로라야", "길게 말해 줘", "뭐해"]
    assert "로라야" in (tmp_path / "ohlora-chat" / "history").read_text(encoding="utf-8")
