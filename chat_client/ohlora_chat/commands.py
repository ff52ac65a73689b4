"""The commands of a conversation: what they are called and how a line is read as one. Does none of them."""

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command: its Korean and English name, the text that explains it and the text that names its argument."""

    korean: str
    english: str
    help: str
    argument: str | None = None

    def name(self, lang: str) -> str:
        """The name in ``lang``; both are understood in either language."""
        return self.english if lang == "en" else self.korean


HELP = Command("/도움", "/help", "help_help")
MEMORIES = Command("/기억", "/memories", "help_memories")
FORGET = Command("/잊어", "/forget", "help_forget", "arg_number")
NEW = Command("/새로", "/new", "help_new")
PERSONA = Command("/페르소나", "/persona", "help_persona", "arg_name")
QUIT = Command("/끝", "/quit", "help_quit")
COMMANDS = (HELP, MEMORIES, FORGET, NEW, PERSONA, QUIT)


def is_command(line: str) -> bool:
    """Whether ``line`` is meant as a command, an unknown one included."""
    return line.startswith("/")


def read(line: str) -> tuple[Command | None, str]:
    """The command that ``line`` names, None if there is no such, and its argument."""
    # Some input methods and file names give Hangul in parts; the names here are whole syllables.
    name, _, argument = unicodedata.normalize("NFC", line).strip().partition(" ")
    found = [command for command in COMMANDS if name.lower() in (command.korean, command.english)]
    return (found[0] if found else None), argument.strip()
