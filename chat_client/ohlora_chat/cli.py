"""The command line: options and environment read, parts put together, an exit code. Does nothing else."""

import io
import os
import re
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn, TextIO

import httpx
import typer
from rich.console import Console

from ohlora_chat import machine
from ohlora_chat.app import Chat, Who
from ohlora_chat.client import Client, is_loopback
from ohlora_chat.texts import Texts
from ohlora_chat.view import View

DEFAULT_URL = "http://127.0.0.1:8000"


def main() -> None:
    """The console script."""
    # Ctrl-C stops an answer also where a script started us in the background, with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that has no face among its characters shows a question mark rather than an error.
            stream.reconfigure(errors="replace")
    command(Texts(machine.language(sys.argv[1:], os.environ)))()


def command(texts: Texts) -> typer.Typer:
    """The command with its help page in the language of ``texts``."""
    # Its own tracebacks would print local variables, the key among them.
    made = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

    @made.command(
        help=texts("about"), epilog=texts("examples"), context_settings={"help_option_names": ["-h", "--help"]}
    )
    def ohlora_chat(
        message: Annotated[list[str] | None, typer.Argument(help=texts("opt_message"), show_default=False)] = None,
        url: Annotated[str, typer.Option(envvar="OHLORA_URL", help=texts("opt_url"))] = DEFAULT_URL,
        key: Annotated[str, typer.Option(envvar="OHLORA_API_KEY", help=texts("opt_key"), show_default=False)] = "",
        user: Annotated[str, typer.Option(envvar="OHLORA_USER", help=texts("opt_user"), show_default=False)] = "",
        session: Annotated[
            str, typer.Option(envvar="OHLORA_SESSION", help=texts("opt_session"), show_default=False)
        ] = "",
        persona: Annotated[str, typer.Option(envvar="OHLORA_PERSONA", help=texts("opt_persona"))] = "ohlora",
        timezone: Annotated[
            str, typer.Option(envvar="OHLORA_TIMEZONE", help=texts("opt_timezone"), show_default=False)
        ] = "",
        lang: Annotated[
            Literal["ko", "en"] | None, typer.Option(envvar="OHLORA_LANG", help=texts("opt_lang"), show_default=False)
        ] = None,
        plain: Annotated[bool, typer.Option("--plain", help=texts("opt_plain"))] = False,
    ) -> None:
        _check(texts, url=url, key=key, user=user, session=session, persona=persona, timezone=timezone)
        who = Who(
            user=user or machine.user_id(),
            persona=persona,
            session=session or None,
            timezone=timezone or machine.zone(os.environ),
        )
        talk = not message and all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
        out = _console(sys.stdout, plain)
        view = View(out, out if talk else _console(sys.stderr, plain), texts, who.timezone, talk=talk)
        if key and url.startswith("http://") and not is_loopback(url):
            view.warn(texts("bare_key"))
        client = Client(url, key or None, texts.lang)
        try:
            chat = Chat(client, view, who, url)
            if talk:
                from ohlora_chat.lines import Prompt  # slow to load, and of no use without a terminal

                history = machine.history_file(os.environ, Path.home())
                chat.talk(Prompt(texts, history, plain=plain or "NO_COLOR" in os.environ))
            else:
                raise typer.Exit(0 if chat.say_all([" ".join(message)] if message else sys.stdin or []) else 1)
        except KeyboardInterrupt:  # while nothing was being answered
            raise typer.Exit(1) from None
        finally:
            client.close()

    return made


def _console(file: TextIO, plain: bool) -> Console:
    return Console(file=file, highlight=False, color_system=None if plain else "auto")


def _check(texts: Texts, *, url: str, key: str, user: str, session: str, persona: str, timezone: str) -> None:
    """Refuses an option that the server, or HTTP itself, would refuse; a key is never repeated."""

    def refuse(option: str, text: str) -> NoReturn:
        raise typer.BadParameter(texts(text), param_hint=f"--{option}")

    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        refuse("url", "bad_url")
    if address.scheme not in ("http", "https") or not address.host:
        refuse("url", "bad_url")
    if not re.fullmatch(r"[\x21-\x7e]*", key):
        refuse("key", "bad_key")
    for option, value in (("user", user), ("session", session)):
        if value and not machine.ID.fullmatch(value):
            refuse(option, "bad_id")
    if not 1 <= len(persona) <= 64:
        refuse("persona", "bad_persona")
    if timezone and not machine.is_zone(timezone):
        refuse("timezone", "bad_zone")
