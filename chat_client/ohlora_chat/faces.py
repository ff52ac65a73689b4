"""Her expression as a small text face: one for each of the 36 poses. Knows the words of a pose, and no terminal."""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple


class Look(NamedTuple):
    """How one word of a pose is drawn, and the name of the text that says it."""

    drawn: str
    said: str


EYES = {
    "작게": Look("–", "eyes_small"),
    "보통": Look("•", "eyes_normal"),
    "크게": Look("◕", "eyes_big"),
    "아주 크게": Look("◉", "eyes_very_big"),
}
MOUTHS = {
    "보통": Look("‿", "mouth_normal"),
    "크게": Look("▽", "mouth_big"),
    "아주 크게": Look("□", "mouth_very_big"),
}
# The further she turns her head, the further the face moves to the side.
HEADS = {
    "없음": Look("(  {}  )", "head_none"),
    "보통": Look("( {}   )", "head_normal"),
    "많이": Look("({}    )", "head_much"),
}
POSES = [{"eyes": eyes, "mouth": mouth, "head": head} for eyes, mouth, head in product(EYES, MOUTHS, HEADS)]


class Face(NamedTuple):
    drawn: str
    said: tuple[str, str, str]  # names of the texts about eyes, mouth and head


def face_of(pose: Mapping[str, str]) -> Face:
    """The face of ``pose``; a word that is missing or unknown counts as the usual one, as on the server."""
    eyes = EYES.get(pose.get("eyes", ""), EYES["보통"])
    mouth = MOUTHS.get(pose.get("mouth", ""), MOUTHS["보통"])
    head = HEADS.get(pose.get("head", ""), HEADS["없음"])
    return Face(head.drawn.format(eyes.drawn + mouth.drawn + eyes.drawn), (eyes.said, mouth.said, head.said))
