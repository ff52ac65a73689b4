"""Sentences: in both languages, all used, and none elsewhere."""

import ast
import re
from pathlib import Path
from string import Formatter

import ohlora_chat
import pytest
from ohlora_chat.texts import TEXTS, Texts

PACKAGE = Path(ohlora_chat.__file__).parent
HANGUL = re.compile(r"[가-힣]")
# The words of a pose are the contract's; names of commands are the same in both languages.
VOCABULARY = {"texts.py", "faces.py", "commands.py"}


def strings(file: Path) -> list[str]:
    """String constants of a module, less docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    described = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, described)}
    found = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [text for text in found if text not in docs]


@pytest.mark.parametrize("name", TEXTS)
def test_both_languages_say_the_same(name: str) -> None:
    korean, english = TEXTS[name]
    assert korean.strip()
    assert english.strip()
    words = [{field for _, field, _, _ in Formatter().parse(text) if field is not None} for text in (korean, english)]
    assert words[0] == words[1]


@pytest.mark.parametrize("name", [name for name in TEXTS if name != "examples"])
def test_english_holds_no_korean_but_in_examples(name: str) -> None:
    assert not HANGUL.search(TEXTS[name][1])


def test_every_text_is_used_and_every_used_text_is_there() -> None:
    files = [file for file in PACKAGE.glob("*.py") if file.name != "texts.py"]
    used = {text for file in files for text in strings(file)}
    assert {name for name in TEXTS if not name.startswith("part_")} <= used
    asked = {
        name for file in files for name in re.findall(r"""texts\(\s*["'](\w+)["']""", file.read_text(encoding="utf-8"))
    }
    assert asked
    assert asked <= TEXTS.keys()


@pytest.mark.parametrize("file", sorted(PACKAGE.glob("*.py")), ids=lambda file: file.name)
def test_sentences_stand_in_one_file(file: Path) -> None:
    if file.name not in VOCABULARY:
        assert [text for text in strings(file) if HANGUL.search(text)] == []


def test_words_are_put_in() -> None:
    assert Texts("en")("request_id", id="r1") == "request r1"
    assert Texts("ko")("moment", year=2026, month=3, day=1, time="09:05") == "2026년 3월 1일 09:05"
    assert Texts("en")("moment", year=2026, month=3, day=1, time="09:05") == "2026-03-01 09:05"
