"""The 36 poses of system.md §6 and their scores."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ohlora.pose import EYES, HEAD, MOUTH, Pose

POSES = st.builds(Pose, eyes=st.sampled_from(EYES), mouth=st.sampled_from(MOUTH), head=st.sampled_from(HEAD))
RANGES = {
    ("eyes", "작게"): (-0.2, 0.1),
    ("eyes", "보통"): (0.3, 0.6),
    ("eyes", "크게"): (0.8, 1.1),
    ("eyes", "아주 크게"): (1.1, 1.2),
    ("mouth", "보통"): (0.4, 0.8),
    ("mouth", "크게"): (1.0, 1.4),
    ("mouth", "아주 크게"): (1.4, 1.6),
    ("head", "없음"): (-0.6, 0.3),
    ("head", "보통"): (0.8, 1.5),
    ("head", "많이"): (1.5, 1.8),
}


def test_the_vocabulary_is_that_of_the_reference() -> None:
    assert EYES == ("작게", "보통", "크게", "아주 크게")
    assert MOUTH == ("보통", "크게", "아주 크게")
    assert HEAD == ("없음", "보통", "많이")


def test_there_are_36_different_outputs() -> None:
    assert len(set(Pose.CHOICES)) == len(Pose.CHOICES) == 36


def test_the_default_is_a_calm_face() -> None:
    assert str(Pose()) == "(눈 보통, 입 보통, 고개 돌림 없음)"


@given(POSES)
def test_a_pose_is_read_as_it_was_written(pose: Pose) -> None:
    assert str(pose) in Pose.CHOICES
    assert Pose.parse(str(pose)) == pose


@given(POSES)
def test_the_stop_mark_after_a_pose_is_no_obstacle(pose: Pose) -> None:
    assert Pose.parse(f" {pose} (표정 출력 종료)") == pose


@pytest.mark.parametrize(
    "output",
    [
        "",
        "눈 보통, 입 보통, 고개 돌림 없음",
        "(눈 보통, 입 작게, 고개 돌림 없음)",
        "(눈 보통, 입 보통, 고개 돌림 크게)",
        "(눈 많이, 입 보통, 고개 돌림 없음)",
        "(눈 보통, 입 보통)",
        "(입 보통, 눈 보통, 고개 돌림 없음)",
        "반가워 (눈 보통, 입 보통, 고개 돌림 없음)",
    ],
)
def test_an_unreadable_output_is_no_pose(output: str) -> None:
    assert Pose.parse(output) is None


@given(st.text(max_size=40))
def test_no_text_is_read_as_a_pose_outside_the_36(text: str) -> None:
    pose = Pose.parse(text)
    assert pose is None or str(pose) in Pose.CHOICES


@given(POSES)
def test_a_score_is_in_the_range_of_its_word(pose: Pose) -> None:
    for part in ("eyes", "mouth", "head"):
        low, high = RANGES[part, getattr(pose, part)]
        assert low <= pose.scores[part] <= high


@given(POSES)
def test_a_weight_is_the_negated_score(pose: Pose) -> None:
    assert set(pose.weights) == {"eyes", "mouth", "head"}
    assert all(pose.weights[part] == -pose.scores[part] for part in pose.scores)


def test_the_head_is_scored_by_its_own_word() -> None:
    turned = Pose(mouth="크게", head="보통")
    assert 0.8 <= turned.scores["head"] <= 1.5
    assert turned.scores["head"] != Pose(mouth="크게", head="없음").scores["head"]


@given(st.sampled_from([EYES, MOUTH]))
def test_a_bigger_word_has_a_higher_score(words: tuple[str, ...]) -> None:
    part = "eyes" if words is EYES else "mouth"
    scores = [Pose(**{part: word}).scores[part] for word in words]
    assert scores == sorted(set(scores))
