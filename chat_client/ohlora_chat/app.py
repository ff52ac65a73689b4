"""The conversation: lines in, messages out, commands done. Knows neither HTTP nor how anything is drawn or typed."""

import enum
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from ohlora_chat import commands
from ohlora_chat.client import Event, Failure, Lost, Memory
from ohlora_chat.delivery import GaveUp, Waiting, deliver
from ohlora_chat.reply import Reply
from ohlora_chat.view import View


class Server(Protocol):
    """What a conversation needs of the server."""

    def events(self, body: Mapping[str, Any], idempotency_key: str) -> Iterator[Event]: ...
    def memories(self, user: str, timezone: str | None) -> list[Memory]: ...
    def forget(self, user: str, memory_id: str) -> None: ...


class Lines(Protocol):
    """Where typed lines come from; ``EOFError`` ends, ``KeyboardInterrupt`` is Ctrl-C on an empty line."""

    def ask(self, default: str = "") -> str: ...


class Outcome(enum.Enum):
    """How a message ended."""

    ANSWERED = enum.auto()
    REFUSED = enum.auto()  # this message; another may be taken
    SHUT_OUT = enum.auto()  # no other message would fare better: away, blocked, no key
    STOPPED = enum.auto()  # by the person


@dataclass
class Who:
    """Who talks with whom, in which conversation. Without a session the server begins one."""

    user: str
    persona: str
    session: str | None = None
    timezone: str | None = None


@dataclass(frozen=True)
class Pending:
    """A message that may have reached the server although no answer came, and its key."""

    body: Mapping[str, Any]
    key: str


class Chat:
    """One person at one server."""

    def __init__(self, server: Server, view: View, who: Who, url: str) -> None:
        self._server = server
        self._view = view
        self._who = who
        self._url = url
        self._pending: Pending | None = None
        self._keep = ""  # stands in the next line to be typed
        self._listed: list[Memory | None] = []  # as last shown, so that numbers mean what was seen

    # ------------------------------------------------------------ ways to talk

    def talk(self, lines: Lines) -> None:
        """A conversation until the person leaves."""
        self._view.welcome(self._url, self._who.user, self._who.persona)
        while True:
            keep, self._keep = self._keep, ""
            try:
                line = readable(lines.ask(keep)).strip()
            except KeyboardInterrupt:
                self._view.note(self._view.texts("empty_line_hint"), "dim")
                continue
            except EOFError:
                break
            if not line:
                continue
            if commands.is_command(line):
                try:
                    if not self._command(line):
                        break
                except KeyboardInterrupt:
                    continue
            else:
                self.say(line)
        self._view.bye(self._who.session)

    def say_all(self, messages: Iterable[str]) -> bool:
        """Says one message after the other; whether each of them was answered."""
        answered = True
        for message in messages:
            if not (text := readable(message).strip()):
                continue
            outcome = self.say(text)
            answered = answered and outcome is Outcome.ANSWERED
            if outcome in (Outcome.SHUT_OUT, Outcome.STOPPED):
                break
        return answered

    # ------------------------------------------------------------ one message

    def say(self, message: str) -> Outcome:
        """Says one message and shows what comes of it."""
        pending = self._pending = self._as_pending(message)
        try:
            with self._view.answer() as answer:
                tries = deliver(lambda: self._server.events(pending.body, pending.key))
                with closing(tries):
                    for event in tries:
                        if isinstance(event, Waiting):
                            answer.waiting(event)
                        elif event.name == "token":
                            answer.token(str(event.data.get("text") or ""))
                        elif event.name == "done":
                            reply = Reply.of(event.data)
                            answer.done(reply)
                            self._who.session = reply.session_id or self._who.session
        except KeyboardInterrupt:
            self._view.note(self._view.texts("stopped"), "dim")
            return Outcome.STOPPED
        except Failure as failure:
            self._view.failure(failure)
            if failure.code == "prompt_too_long":
                self._keep = message
            return Outcome.SHUT_OUT if failure.status in (401, 403) or _blocked(failure) else Outcome.REFUSED
        except GaveUp as given_up:
            self._view.gave_up(given_up.trouble, self._url)
            self._keep = message
            return Outcome.SHUT_OUT
        self._pending = None
        return Outcome.ANSWERED

    def _as_pending(self, message: str) -> Pending:
        """The message under its key: that of the last one if that had no answer and this is the same again."""
        body: dict[str, Any] = {"user_id": self._who.user, "message": message, "persona": self._who.persona}
        if self._who.session:
            body["session_id"] = self._who.session
        if self._who.timezone:
            body["timezone"] = self._who.timezone
        if self._pending and self._pending.body == body:
            return self._pending
        return Pending(body, uuid.uuid4().hex)

    # ------------------------------------------------------------ commands

    def _command(self, line: str) -> bool:
        """Does a command; whether the conversation goes on."""
        command, argument = commands.read(line)
        texts = self._view.texts
        if command is None:
            known = " ".join(command.name(texts.lang) for command in commands.COMMANDS)
            self._view.note(texts("unknown_command", name=line.split()[0], known=known), "yellow")
        elif command is commands.QUIT:
            return False
        elif command is commands.HELP:
            self._view.help()
        elif command is commands.MEMORIES:
            self._asked(self._list)
        elif command is commands.FORGET:
            self._asked(lambda: self._forget(argument))
        elif command is commands.NEW:
            self._who.session = None
            self._view.note(texts("new_session"))
        elif command is commands.PERSONA:
            self._persona(argument)
        return True

    def _asked(self, do: Callable[[], None]) -> None:
        """Does what asks the server once; a trouble is shown, not tried again."""
        try:
            do()
        except Failure as failure:
            self._view.failure(failure)
        except Lost as lost:
            self._view.unreachable(lost, self._url)

    def _list(self) -> None:
        found = self._server.memories(self._who.user, self._who.timezone)
        self._listed = list(found)
        self._view.memories(self._who.user, found)

    def _forget(self, argument: str) -> None:
        texts = self._view.texts
        if not self._listed:
            # The newest is the first: a number that nobody looked up could be another memory by now.
            self._list()
            if self._listed:
                self._view.note(texts("forget_look"))
            return
        number = int(argument) if argument.isdecimal() else 0
        memory = self._listed[number - 1] if 1 <= number <= len(self._listed) else None
        if memory is None:
            self._view.note(texts("forget_number", command=commands.FORGET.name(texts.lang)), "yellow")
            return
        self._server.forget(self._who.user, memory.id)
        self._listed[number - 1] = None
        self._view.note(texts("forgotten", key=memory.key, value=memory.value))

    def _persona(self, name: str) -> None:
        texts = self._view.texts
        if not name:
            command = commands.PERSONA.name(texts.lang)
            self._view.note(texts("persona_now", persona=self._who.persona, command=command))
        elif len(name) > 64:
            self._view.note(texts("bad_persona"), "yellow")
        else:
            self._who.persona = name
            self._who.session = None  # the other one was not there
            self._view.note(texts("persona_set", persona=name))


def readable(text: str) -> str:
    """``text`` as UTF-8 can hold it. A byte that is no UTF-8 comes from a terminal as half of a surrogate pair, and some
    editors put a mark at the start of a file."""
    return text.removeprefix("\ufeff").encode("utf-8", "replace").decode("utf-8")


def _blocked(failure: Failure) -> bool:
    return failure.code == "user_blocked"  # in a stream it has no status
