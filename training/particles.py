"""Korean particles that depend on how the word before them ends. Pure functions on text."""

import re

_SLOT = re.compile(r"\{v(?:\|([^|}]*)\|([^|}]*))?\}")


def ending(text: str) -> str:
    """How the last syllable ends, which decides the particle: ``consonant``, ``rieul``, ``vowel`` or ``other``."""
    last = ord(text[-1]) if text else 0
    if not 0xAC00 <= last <= 0xD7A3:
        return "other"
    final = (last - 0xAC00) % 28
    return "vowel" if final == 0 else "rieul" if final == 8 else "consonant"


def fill(pattern: str, value: str) -> str:
    """``pattern`` with its slots filled, each with the particle that fits ``value``."""
    kind = ending(value)

    def slot(match: re.Match[str]) -> str:
        closed, opened = match.group(1), match.group(2)
        if closed is None:
            return value
        vowel_like = kind in ("vowel", "other") or (kind == "rieul" and closed == "으로")
        return value + (opened if vowel_like else closed)

    return _SLOT.sub(slot, pattern)
