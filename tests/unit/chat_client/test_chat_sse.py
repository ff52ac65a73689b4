"""Frames of a stream, however its bytes are cut."""

import pytest
from ohlora_chat.sse import Frame, Parser

STREAM = 'event: token\ndata: {"text": "안녕 "}\n\n: ping\n\nevent: done\ndata: {"answer": "안녕"}\n\n'
FRAMES = [Frame("token", '{"text": "안녕 "}'), Frame("done", '{"answer": "안녕"}')]


def parsed(*pieces: bytes) -> list[Frame]:
    parser = Parser()
    return [frame for piece in pieces for frame in parser.feed(piece)]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 16, 1000])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_pieces_of_any_size_and_any_line_end(size: int, end: str) -> None:
    raw = STREAM.replace("\n", end).encode()
    assert parsed(*(raw[at : at + size] for at in range(0, len(raw), size))) == FRAMES


def test_a_carriage_return_and_its_line_feed_in_two_pieces_are_one_line_end() -> None:
    assert parsed(b"data: a\r", b"", b"\ndata: b\r", b"\n\r", b"\n") == [Frame("message", "a\nb")]


def test_line_separators_inside_text_are_text() -> None:
    assert parsed("data: 가\u2028나\x0b다\x85라\n\n".encode()) == [Frame("message", "가\u2028나\x0b다\x85라")]


def test_pings_and_unknown_fields_are_no_events() -> None:
    assert parsed(b": ping\n\n: ping\n\nid: 3\nretry: 10\n\nevent: empty\n\n") == []


def test_an_event_that_was_not_ended_is_none() -> None:
    assert parsed(b"event: token\ndata: {}\n") == []


def test_a_name_holds_for_one_event_and_a_blank_after_the_colon_is_optional() -> None:
    assert parsed(b"event:pose\ndata:1\n\ndata:  2\n\n") == [Frame("pose", "1"), Frame("message", " 2")]


def test_a_byte_order_mark_at_the_start_is_left_out() -> None:
    assert parsed(b"\xef\xbb", b"\xbfdata: 1\n\n") == [Frame("message", "1")]
