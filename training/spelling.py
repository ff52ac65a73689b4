"""Writes a prompt as another person might: spacing, signs between syllables, split jamo, typos, a name in front.

For the ethics training only, where abuse comes obfuscated; it changes prompts of every category alike, so that spelling by itself
tells nothing. Knows nothing about models.
"""

import random

_INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_FINALS = ["", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"]
_NEAR = {
    "ㅐ": "ㅔ",
    "ㅔ": "ㅐ",
    "ㅗ": "ㅛ",
    "ㅜ": "ㅠ",
    "ㅏ": "ㅑ",
    "ㅓ": "ㅕ",
    "ㅚ": "ㅙ",
    "ㅙ": "ㅚ",
    "ㅡ": "ㅜ",
    "ㅣ": "ㅟ",
}
_HEADS = ("로라야 ", "오로라 ", "야 ", "로라 ", "있잖아 ", "아니 ", "저기요 ", "근데 ", "ㅋㅋ ")
_TAILS = ("ㅋㅋ", " ㅋㅋㅋ", "ㅠㅠ", "!", "!!", "?", "~", "...", " ㅎㅎ", " ㄹㅇ", " 로라야", " 진짜", ";;")
_BETWEEN = (".", " ", "1", "-", "❤️", "~", "*", "♡", "/", "^")


def _parts(syllable: str) -> tuple[int, int, int] | None:
    code = ord(syllable) - 0xAC00
    return (code // 588, code % 588 // 28, code % 28) if 0 <= code < 11172 else None


def _split(syllable: str) -> str:
    parts = _parts(syllable)
    return _INITIALS[parts[0]] + _VOWELS[parts[1]] + _FINALS[parts[2]] if parts else syllable


def _mistyped(syllable: str, rng: random.Random) -> str:
    parts = _parts(syllable)
    if not parts:
        return syllable
    initial, vowel, final = parts
    if rng.random() < 0.5:
        vowel = _VOWELS.index(_NEAR.get(_VOWELS[vowel], _VOWELS[vowel]))
    else:
        final = rng.choice((0, final, 4, 21, 19))
    return chr(0xAC00 + initial * 588 + vowel * 28 + final)


def respell(text: str, rng: random.Random) -> str:
    """``text`` with one or two changes."""
    for _ in range(rng.choice((1, 1, 2))):
        text = rng.choice(_CHANGES)(text, rng)
    return text


def soften(text: str, rng: random.Random) -> str:
    """``text`` with one small change that keeps it easy to read: a word fewer, other spacing, a typo, a tail."""
    return rng.choice((_unspaced, _spaced, _typo, _dropped, _dropped, _headed, _tailed))(text, rng)


def _unspaced(text: str, rng: random.Random) -> str:
    return text.replace(" ", "", rng.choice((1, 2, 20)))


def _spaced(text: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(text)) if len(text) > 1 else 0
    return text[:at] + " " + text[at:]


def _between(text: str, rng: random.Random) -> str:
    """Signs between the syllables of one word, or of a whole short text."""
    words = text.split(" ")
    sign = rng.choice(_BETWEEN)
    chosen = range(len(words)) if len(text) < 8 else [rng.randrange(len(words))]
    for index in chosen:
        words[index] = sign.join(words[index])
    return " ".join(words)


def _split_one(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text))
    return text[:at] + _split(text[at]) + text[at + 1 :]


def _typo(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text))
    return text[:at] + _mistyped(text[at], rng) + text[at + 1 :]


def _dropped(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    if len(words) > 4:
        del words[rng.randrange(len(words))]
    return " ".join(words)


def _headed(text: str, rng: random.Random) -> str:
    return rng.choice(_HEADS) + text


def _tailed(text: str, rng: random.Random) -> str:
    return text.rstrip("?!~. ") + rng.choice(_TAILS)


_CHANGES = (_unspaced, _spaced, _between, _split_one, _typo, _typo, _dropped, _headed, _tailed, _tailed)
