"""What is drawn: her words as they come, what belongs under them, troubles, lists. Knows no HTTP and decides nothing.

Two consoles: ``out`` for her words, ``notes`` for all else; in a conversation both are the same. Text from outside is only ever
printed as text: no markup, and without the control characters by which it could steer the terminal.
"""

import datetime as dt
import unicodedata
from collections.abc import Sequence
from types import TracebackType
from zoneinfo import ZoneInfo

import httpx
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from ohlora_chat import commands
from ohlora_chat.client import NOT_OHLORA, Failure, Lost, Memory
from ohlora_chat.delivery import Trouble, Waiting
from ohlora_chat.faces import face_of
from ohlora_chat.reply import Reply, Source
from ohlora_chat.texts import TEXTS, Texts

SOURCE_LENGTH = 80


class View:
    """``talk``: a conversation, where speakers are named and both consoles are the screen."""

    def __init__(self, out: Console, notes: Console, texts: Texts, timezone: str | None, *, talk: bool) -> None:
        self.out = out
        self.notes = notes
        self.texts = texts
        self.talk = talk
        self._zone = _zone(timezone)

    def welcome(self, url: str, user: str, persona: str) -> None:
        self.note(self.texts("welcome", url=_without_password(url), user=user, persona=persona), "bold")
        self.note(self.texts("welcome_hint"), "dim")

    def bye(self, session: str | None) -> None:
        self.note(self.texts("bye"))
        if session:
            self.note(self.texts("bye_session", session=session), "dim")

    def note(self, text: str, style: str = "") -> None:
        """One line that is not hers."""
        self.notes.print(Text(clean(text), style), soft_wrap=True)

    def warn(self, text: str) -> None:
        self.note(f"⚠ {text}", "yellow")

    def answer(self) -> "Answer":
        """The drawing of one answer, to be used in a ``with``."""
        return Answer(self)

    def failure(self, failure: Failure) -> None:
        """What the server said against a request, with the request's id."""
        if failure.code == NOT_OHLORA:
            text = self.texts("not_ohlora")
        else:
            text = failure.message or self.texts("no_message", status=failure.status)
        self.note(f"✗ {text}", "red")
        until = failure.fields.get("blocked_until")
        if isinstance(until, str):
            self.note("  " + self.texts("blocked_until", until=self.moment(until)), "yellow")
        if failure.status == 401:
            self.note("  " + self.texts("hint_key"), "yellow")
        if failure.code == "prompt_too_long" and self.talk:
            self.note("  " + self.texts("hint_shorten"), "dim")
        if failure.request_id:
            self.note("  " + self.texts("request_id", id=failure.request_id), "dim")

    def gave_up(self, trouble: Trouble, url: str) -> None:
        """A message that had no answer for too long, and what to do about it."""
        if isinstance(trouble, Failure):
            self.failure(trouble)
            self.note("  " + self.texts("gave_up_busy"))
            return
        self._lost(trouble, self.texts("gave_up_lost", url=_without_password(url)))

    def unreachable(self, trouble: Lost, url: str) -> None:
        """A list that could not be had."""
        self._lost(trouble, self.texts("gave_up_list", url=_without_password(url)))

    def _lost(self, trouble: Lost, text: str) -> None:
        self.note(f"✗ {text}", "red")
        if str(trouble):
            self.note(f"  {trouble}", "dim")

    def help(self) -> None:
        lang = self.texts.lang
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for command in commands.COMMANDS:
            argument = f" <{self.texts(command.argument)}>" if command.argument else ""
            other = command.name("ko" if lang == "en" else "en")
            table.add_row(
                Text(command.name(lang) + argument, "bold"), Text(other, "dim"), Text(self.texts(command.help))
            )
        self.notes.print(table)

    def memories(self, user: str, memories: Sequence[Memory]) -> None:
        """A numbered table, in the given order."""
        if not memories:
            self.note(self.texts("no_memories"))
            return
        table = Table(title=self.texts("memories_title", user=user), title_justify="left")
        table.add_column("#", justify="right", style="bold")
        for column in ("col_key", "col_value", "col_told", "col_expires"):
            table.add_column(
                self.texts(column), overflow="fold", style="dim" if column in ("col_told", "col_expires") else ""
            )
        for number, memory in enumerate(memories, 1):
            cells = (memory.key, memory.value, self.moment(memory.told_at), self.moment(memory.expires_at))
            table.add_row(str(number), *(Text(one_line(cell)) for cell in cells))
        self.notes.print(table)

    def moment(self, stamp: str | None) -> str:
        """A time of the server, in the person's zone."""
        if not stamp:
            return ""
        try:
            at = dt.datetime.fromisoformat(stamp)
        except ValueError:
            return stamp
        if at.tzinfo is None:
            at = at.replace(tzinfo=dt.UTC)
        local = at.astimezone(self._zone)
        time = f"{local:%H:%M}"
        return self.texts("moment", year=local.year, month=local.month, day=local.day, time=time)


class Answer:
    """One answer on the screen, from waiting for it to what stands under it."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._status: Status | None = None
        self._shown = ""  # what stands on the screen of this try
        # Where nobody is watching, an answer is written when it is whole: a broken try must not stand in a file.
        self._live = view.out.is_terminal

    def __enter__(self) -> "Answer":
        self._say_status(self._view.texts("thinking"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_status()
        self._end_line()

    def token(self, text: str) -> None:
        """The next piece of her words."""
        if self._live:
            self._write(text)

    def waiting(self, waiting: Waiting) -> None:
        """A second of the wait before the next try."""
        texts = self._view.texts
        if self._shown:
            self._end_line()
            self._view.note(texts("broke"), "dim")
        if waiting.seconds == 0:
            self._say_status(texts("trying_again"))
            return
        message = waiting.trouble.message if isinstance(waiting.trouble, Failure) else ""
        if message:
            text = texts("waiting_busy", message=message, seconds=waiting.seconds)
        else:
            text = texts("waiting_lost", seconds=waiting.seconds)
        if self._view.notes.is_terminal:
            self._say_status(text)
        elif waiting.seconds == waiting.total:  # no line to count down in: said once
            self._view.note(text)

    def done(self, reply: Reply) -> None:
        """Her whole words, where they did not come in pieces, and what stands under them."""
        if reply.answer.startswith(self._shown):
            self._write(reply.answer[len(self._shown) :])
        else:
            self._end_line()
            self._write(reply.answer)
        self._end_line()
        self._under(reply)

    def _under(self, reply: Reply) -> None:
        view, texts = self._view, self._view.texts
        face = face_of(reply.pose)
        if reply.pose and "pose" not in reply.degraded:
            line = Text.assemble("  ", (face.drawn, "magenta"), ("  " + " · ".join(map(texts, face.said)), "dim"))
            view.notes.print(line, soft_wrap=True)
        if reply.used:
            view.note(f"  🔎 {one_line(reply.used.key)}: {one_line(reply.used.value)}", "cyan")
        if reply.saved:
            view.note(f"  💾 {one_line(reply.saved.key)}: {one_line(reply.saved.value)}", "green")
        for source in reply.sources:
            view.note(f"  📚 {_source(source)}", "blue")
        if reply.degraded:
            parts = (texts(f"part_{part}") if f"part_{part}" in TEXTS else one_line(part) for part in reply.degraded)
            view.note("  " + texts("degraded", parts=", ".join(parts)), "dim")
        if reply.warning:
            view.warn(reply.warning)

    def _write(self, text: str) -> None:
        if not text:
            return
        self._end_status()
        out = self._view.out
        if not self._shown and self._view.talk:
            out.print(Text(f"{self._view.texts('her')} ▸ ", "bold magenta"), end="", soft_wrap=True)
        self._shown += text
        out.print(Text(clean(text)), end="", soft_wrap=True)

    def _end_line(self) -> None:
        if self._shown:
            self._view.out.print()
            self._shown = ""

    def _say_status(self, text: str) -> None:
        if not self._view.notes.is_terminal or self._view.notes.is_dumb_terminal:
            return
        line = Text(one_line(text), "dim", no_wrap=True, overflow="ellipsis")
        if self._status is None:
            self._status = self._view.notes.status(line, spinner="dots")
            self._status.start()
        else:
            self._status.update(line)

    def _end_status(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


def clean(text: str) -> str:
    """``text`` without control characters but for line ends and tabs."""
    return "".join(sign for sign in text if sign in "\n\t" or unicodedata.category(sign) not in ("Cc", "Cs"))


def one_line(text: str) -> str:
    """``text`` cleaned, its white space single blanks."""
    return " ".join(clean(text).split())


def shortened(text: str, length: int = SOURCE_LENGTH) -> str:
    """``text`` on one line and no longer than ``length``."""
    text = one_line(text)
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _source(source: Source) -> str:
    parts = [shortened(part) for part in (source.title, source.text) if part]
    similarity = f" ({source.similarity:.2f})" if source.similarity is not None else ""
    return " — ".join(parts) + similarity


def _without_password(url: str) -> str:
    return str(httpx.URL(url).copy_with(username=None, password=None))


def _zone(name: str | None) -> dt.tzinfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):
        return None  # this machine does not know it; the machine's own is used
