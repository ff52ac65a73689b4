"""What is read off the machine."""

import stat
from pathlib import Path

import pytest
from ohlora_chat import machine


@pytest.mark.parametrize(
    ("arguments", "environ", "lang"),
    [
        ([], {}, "ko"),
        ([], {"LANG": "C.UTF-8"}, "ko"),
        ([], {"LANG": "POSIX"}, "ko"),
        ([], {"LANG": "ko_KR.UTF-8"}, "ko"),
        ([], {"LANG": "en_US.UTF-8"}, "en"),
        ([], {"LANG": "de_DE@euro"}, "en"),
        ([], {"LC_ALL": "ko_KR.UTF-8", "LANG": "en_US.UTF-8"}, "ko"),
        ([], {"LANG": "en_US.UTF-8", "OHLORA_LANG": "ko"}, "ko"),
        (["--lang", "en"], {"OHLORA_LANG": "ko"}, "en"),
        (["--lang=en", "안녕"], {}, "en"),
        (["--", "--lang", "en"], {}, "ko"),
        (["--lang"], {}, "ko"),
    ],
)
def test_language(arguments: list[str], environ: dict[str, str], lang: str) -> None:
    assert machine.language(arguments, environ) == lang


@pytest.mark.parametrize(
    ("login", "user"),
    [
        ("mina", "mina"),
        ("CORP\\mi na", "CORP-mi-na"),
        ("민아", "user-"),
        ("..", "user-"),
        ("", "guest"),
        ("a" * 200, "a" * 128),
    ],
)
def test_login_names_become_ids(login: str, user: str) -> None:
    found = machine.sane_id(login)
    assert found.startswith(user)
    assert machine.ID.fullmatch(found)


def test_other_korean_names_are_other_ids() -> None:
    assert machine.sane_id("민아") != machine.sane_id("지수")


@pytest.mark.parametrize("name", [".", "..", "", "a b", "a/b", "a\n", "가", "a" * 129])
def test_what_is_no_id(name: str) -> None:
    assert not machine.ID.fullmatch(name)


def test_zone_of_the_variable_the_link_the_file_or_none(tmp_path: Path) -> None:
    assert machine.zone({}, tmp_path) is None
    (tmp_path / "timezone").write_text("Europe/Berlin\n")
    assert machine.zone({}, tmp_path) == "Europe/Berlin"
    (tmp_path / "localtime").symlink_to("/usr/share/zoneinfo/Asia/Seoul")
    assert machine.zone({}, tmp_path) == "Asia/Seoul"
    assert machine.zone({"TZ": ":America/New_York"}, tmp_path) == "America/New_York"
    assert machine.zone({"TZ": "KST-9"}, tmp_path) is None


def test_history_is_for_the_person_alone(tmp_path: Path) -> None:
    file = machine.history_file({"XDG_STATE_HOME": str(tmp_path / "state")}, tmp_path)
    assert file == tmp_path / "state" / "ohlora-chat" / "history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert machine.history_file({}, tmp_path) == tmp_path / ".local" / "state" / "ohlora-chat" / "history"


def test_no_history_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    assert machine.history_file({"XDG_STATE_HOME": str(tmp_path / "taken")}, tmp_path) is None
