"""Server-sent events: bytes in, events out. Knows nothing about HTTP or what the events mean."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Frame:
    """One event of a stream: its name and its data, still as text."""

    name: str
    data: str


class Parser:
    """Takes a stream in pieces of any size; a piece may end inside a line, a line end or a character."""

    def __init__(self) -> None:
        # utf-8-sig: one byte order mark at the start is no text.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line = ""
        self._name = ""
        self._data: list[str] = []
        self._after_return = False

    def feed(self, piece: bytes) -> Iterator[Frame]:
        """The events that ``piece`` completes."""
        for line in self._lines(self._decoder.decode(piece)):
            if line == "":
                if self._data:
                    yield Frame(self._name or "message", "\n".join(self._data))
                self._name, self._data = "", []
            elif not line.startswith(":"):  # a comment, such as ": ping"
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if field == "event":
                    self._name = value
                elif field == "data":
                    self._data.append(value)

    def _lines(self, text: str) -> Iterator[str]:
        # Not str.splitlines: it also splits at characters such as U+2028, which JSON may hold as they are.
        if self._after_return and text:
            text = text.removeprefix("\n")
            self._after_return = False
        text = self._line + text
        if text.endswith("\r"):  # a "\n" at the start of the next piece would belong to it
            self._after_return = True
        *whole, self._line = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        yield from whole
