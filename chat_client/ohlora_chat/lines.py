"""Where the lines of a conversation come from: an edited line at a terminal. Knows the commands' names, not what they do."""

from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.shortcuts import CompleteStyle

from ohlora_chat.commands import COMMANDS, is_command
from ohlora_chat.texts import Texts


class Prompt:
    """A line to type on, with history. Ctrl-C clears it; on an empty one it raises ``KeyboardInterrupt``; Ctrl-D ``EOFError``."""

    def __init__(
        self,
        texts: Texts,
        history: Path | None,
        *,
        plain: bool = False,
        keyboard: Input | None = None,
        screen: Output | None = None,
    ) -> None:
        kept: History = FileHistory(history) if history else InMemoryHistory()
        self._text = FormattedText([("bold", f"{texts('me')} ▸ ")])
        self._session: PromptSession[str] = PromptSession(
            history=kept,
            completer=_Commands(texts),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,  # a menu would need room that a chat at the foot of a screen has not
            key_bindings=_keys(),
            color_depth=ColorDepth.DEPTH_1_BIT if plain else None,
            input=keyboard,
            output=screen,
        )

    def ask(self, default: str = "") -> str:
        """The next line; ``default`` stands in it already."""
        return self._session.prompt(self._text, default=default)


class _Commands(Completer):
    """Names of commands, by Tab, once a line begins as one."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        typed = document.text_before_cursor
        if not is_command(typed) or " " in typed:
            return
        for command in COMMANDS:
            for name in (command.korean, command.english):
                if name.startswith(typed):
                    yield Completion(name, start_position=-len(typed), display_meta=self._texts(command.help))


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("c-c")
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt())

    return keys
