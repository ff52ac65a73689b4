"""The edited line, on a keyboard of bytes."""

from pathlib import Path

import pytest
from ohlora_chat.lines import Prompt
from ohlora_chat.texts import Texts
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput


def typed(keys: str, default: str = "", history: Path | None = None) -> str:
    with create_pipe_input() as keyboard:
        keyboard.send_text(keys)
        return Prompt(Texts("ko"), history, keyboard=keyboard, screen=DummyOutput()).ask(default)


def test_wide_characters_are_edited_one_by_one() -> None:
    assert typed("안녕하세\x7f\x7f!\x1b[D~\r") == "안녕~!"


def test_ctrl_c_clears_the_line_and_only_then_asks_to_leave() -> None:
    assert typed("안녕\x03반가워\r") == "반가워"
    with pytest.raises(KeyboardInterrupt):
        typed("\x03")


def test_ctrl_d_leaves() -> None:
    with pytest.raises(EOFError):
        typed("\x04")


def test_a_kept_line_stands_there_for_editing() -> None:
    assert typed("\x7f\x7f짧게\r", default="아주 길게") == "아주 짧게"


def test_history_comes_back_with_the_arrow(tmp_path: Path) -> None:
    file = tmp_path / "history"
    assert typed("처음 한 말\r", history=file) == "처음 한 말"
    assert typed("\x1b[A 또\r", history=file) == "처음 한 말 또"


def test_commands_are_completed_by_tab_and_words_are_not() -> None:
    assert typed("/기\t\r") == "/기억"
    assert typed("/mem\t\r") == "/memories"
    assert typed("기\t억\r") == "기억"
