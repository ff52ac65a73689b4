"""A face for every pose."""

from ohlora_chat.faces import POSES, face_of
from ohlora_chat.texts import TEXTS
from rich.cells import cell_len


def test_all_36_poses_look_different_and_are_equally_wide() -> None:
    faces = [face_of(pose) for pose in POSES]
    assert len(faces) == 36
    assert len({face.drawn for face in faces}) == 36
    assert len({face.said for face in faces}) == 36
    assert len({cell_len(face.drawn) for face in faces}) == 1
    assert {text for face in faces for text in face.said} <= TEXTS.keys()


def test_words_that_nobody_knows_are_the_usual_face() -> None:
    usual = face_of({"eyes": "보통", "mouth": "보통", "head": "없음"})
    assert face_of({}) == usual
    assert face_of({"eyes": "?", "mouth": "작게", "head": "아주 많이"}) == usual
