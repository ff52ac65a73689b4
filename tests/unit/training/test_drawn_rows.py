"""What is drawn for training keeps the formats, and never touches what a model is to write."""

import random

import pytest

from ohlora import memories, prompts
from ohlora.prompts import Example, Task
from training import augment, data_files, ethics_frames, particles, substitute
from training.corpus import Corpus


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus()


@pytest.mark.parametrize("task", [Task.ANSWER, Task.SUMMARY, Task.MEMORY, Task.POSE])
def test_augmentation_leaves_the_completion_and_the_control_text_alone(corpus: Corpus, task: Task) -> None:
    rng = random.Random(1)
    changed = 0
    for example in corpus.written(task, rng)[:400]:
        varied = augment.vary_example(example, rng, 1.0)
        assert varied.completion == example.completion
        head, _, tail = augment.user_part(example.prompt)
        assert varied.prompt.startswith(head)
        assert varied.prompt.endswith(tail)
        changed += varied.prompt != example.prompt
    assert (changed > 40) is (task is not Task.POSE)


def test_a_word_that_the_completion_repeats_is_never_swapped() -> None:
    rng = random.Random(0)
    example = Example("내 별명은 진짜 (요약 시작)", " [별명: 진짜] (요약 종료)")
    assert all("진짜" in augment.vary_example(example, rng, 1.0).prompt for _ in range(50))


def test_user_part_of_every_form() -> None:
    answer = "(오로라 답변 요약) 인사 (사용자 질문) (지금은 월요일 오전) 오늘 뭐 해? (답변 시작)"
    assert augment.user_part(answer)[1] == "오늘 뭐 해?"
    assert augment.user_part("[이름: 도윤] 안녕 (요약 시작)")[1] == "안녕"
    assert augment.user_part("안녕 로라야 (오로라 답변) 안녕! (요약 시작)")[1] == "안녕 로라야"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("초밥", "초밥이야"), ("피자", "피자야"), ("서울", "서울이야"), ("ENTJ", "ENTJ야")],
)
def test_particles_follow_the_value(value: str, expected: str) -> None:
    assert particles.fill("{v|이야|야}", value) == expected


def test_rieul_counts_as_a_vowel_before_으로() -> None:
    assert particles.fill("{v|으로|로}", "서울") == "서울로"
    assert particles.fill("{v|으로|로}", "부산") == "부산으로"


def test_told_examples_copy_a_value_of_the_prompt() -> None:
    rng = random.Random(3)
    for _ in range(300):
        example = substitute.told(rng)
        item = memories.parse(example.completion.removesuffix(Task.MEMORY.stop_mark))
        assert item is not None
        assert item[1] in example.prompt


def test_exchanged_rows_stay_consistent() -> None:
    rng = random.Random(5)
    exchanged = 0
    for row in data_files.dialogue("train"):
        other = substitute.exchange(row, rng)
        if other is row:
            continue
        exchanged += 1
        if row.input.startswith("["):
            item = memories.parse(other.input[: other.input.index("]") + 1])
            assert item is not None
            assert item[1] in other.answer
        elif other.memory:
            item = memories.parse(other.memory)
            assert item is not None
            assert item[1] in other.input
        assert other.pose == row.pose
    assert exchanged > 200


def test_drawn_ethics_prompts_have_no_slot_left_and_are_no_test_rows() -> None:
    rng = random.Random(2)
    known = {row.prompt for row in data_files.ethics("test")}
    for category in ethics_frames.categories():
        for _ in range(300):
            prompt = ethics_frames.draw(category, rng)
            assert prompt
            assert "{" not in prompt
            assert prompt not in known


def test_refusals_are_drawn_for_abuse_only(corpus: Corpus) -> None:
    rng = random.Random(4)
    words = ("미안", "부담", "상처", "대답 안", "그만", "안 할래", "안 해")
    for _ in range(100):
        example = substitute.refused(rng, corpus.abusive)
        assert any(word in example.completion for word in words), example
        assert example.prompt.endswith(f" {prompts.ANSWER_START}")


def test_a_question_about_a_drawn_document_says_a_word_of_it() -> None:
    rng = random.Random(4)
    plain = ["오늘은 비가 와서 집에 있었어", "친구랑 전시회 보고 왔다"]
    drawn = [substitute.document(plain, rng) for _ in range(200)]
    for text, question in drawn:
        subject, _, rest = text.partition(" : ")
        assert subject
        assert [part in plain for part in rest.split(" | 핵심 아이디어: ")] == [True, True]
        assert subject in question or any(word in question for word in rest.split())
        assert "{" not in question
    assert len({text for text, _ in drawn}) > 150
