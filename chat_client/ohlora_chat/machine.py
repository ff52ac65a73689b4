"""What this machine tells about the person: language, user id, time zone, and where the history goes.

Knows no server and no terminal.
"""

import getpass
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

# The server's rule for ids, less what a URL takes for a folder above.
ID = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._:@-]{1,128}")


def language(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """`ko` or `en`: as asked for, else as the locale says; Korean where it says nothing.

    The arguments are read by hand because `--help` itself is written in that language.
    """
    asked = environ.get("OHLORA_LANG", "")
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        if argument == "--":
            break
        if argument == "--lang":
            asked = following
        elif argument.startswith("--lang="):
            asked = argument.removeprefix("--lang=")
    if asked in ("ko", "en"):
        return asked
    locale = environ.get("LC_ALL") or environ.get("LC_MESSAGES") or environ.get("LANG") or ""
    spoken = re.split(r"[_.@]", locale)[0].lower()
    return "ko" if spoken in ("", "c", "posix", "ko") else "en"


def user_id() -> str:
    """An id from the login name. A name without a single usable letter becomes a short hash of it."""
    try:
        login = getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "guest"
    return sane_id(login)


def sane_id(name: str) -> str:
    """``name`` with what an id can't hold replaced by `-`."""
    kept = re.sub(r"[^A-Za-z0-9._:@-]+", "-", name).strip("-.")[:128]
    if kept:
        return kept
    return "user-" + hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8] if name else "guest"


def zone(environ: Mapping[str, str], root: Path = Path("/etc")) -> str | None:
    """The IANA name of the local time zone, or None where it can't be found."""
    named = environ.get("TZ", "").removeprefix(":")
    if named:  # it overrides the machine's; one that is no IANA name, such as KST-9, has none
        return named if is_zone(named) else None
    try:
        _, found, name = os.readlink(root / "localtime").rpartition("zoneinfo/")
        name = name.removeprefix("posix/")
        if found and is_zone(name):
            return name
    except OSError:
        pass  # a copy of the zone's file, not a link
    try:
        written = (root / "timezone").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return written if is_zone(written) else None


def is_zone(name: str) -> bool:
    """Whether ``name`` is an IANA zone. Where this machine has no list of them, any likely name is."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return not available_timezones() and bool(re.fullmatch(r"[A-Za-z]+(/[A-Za-z0-9_+-]+)+", name))
    return True


def history_file(environ: Mapping[str, str], home: Path) -> Path | None:
    """A file for typed lines that only the person can read, or None where none can be made."""
    given = Path(environ.get("XDG_STATE_HOME", ""))
    folder = (given if given.is_absolute() else home / ".local" / "state") / "ohlora-chat"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder / "history"
        file.touch(mode=0o600)
        return file if os.access(file, os.R_OK | os.W_OK) else None
    except OSError:
        return None
