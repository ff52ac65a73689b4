"""The shipped data is fine, and the check finds what it should."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from training import check_data, data_files

GOOD = {
    "input": "[이름: 도윤] (지금은 월요일 오전) 오늘 나 뭐 해?",
    "answer": "도윤아, 오늘은 푹 쉬자!",
    "memory": "[상태: 피곤함]",
    "summary": "쉬자고 제안",
    "pose": "(눈 크게, 입 크게, 고개 돌림 없음)",
}


def errors(**changed: str) -> list[str]:
    return list(check_data.row_errors(data_files.DialogueRow.model_validate(GOOD | changed)))


def test_the_shipped_data_is_fine() -> None:
    assert check_data.check() == []


def test_a_good_row_has_no_error() -> None:
    assert errors() == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"input": "오늘 뭐 해?"}, "time prefix is missing"),
        ({"input": "(지금은 월요일 오전) 뭐 해?"}, "time prefix without a day word"),
        ({"input": "(오로라 답변 요약) 인사 (사용자 질문) 안녕 (답변 종료)"}, "control text"),
        ({"memory": "상태: 피곤함"}, "memory is not"),
        ({"memory": "[상태:피곤함]"}, "spaced otherwise"),
        ({"pose": "(눈 매우 크게, 입 크게, 고개 돌림 없음)"}, "none of the 36"),
        ({"answer": "자세한 건 http://example.org 봐"}, "refused or cleaned"),
        ({"answer": "좋아 (답변 종료)"}, "refused or cleaned"),
    ],
)
def test_a_wrong_row_is_found(changed: dict[str, str], expected: str) -> None:
    assert any(expected in error for error in errors(**changed))


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(data_files.DATA, tmp_path / "data")
    return tmp_path / "data"


def _append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def _copied_test_row(folder: Path) -> None:
    row = data_files.ethics("test", folder)[5]
    _append(folder / "ethics/train.jsonl", json.dumps({"prompt": row.prompt + "!!", "category": row.category}))


def _unknown_key(folder: Path) -> None:
    _append(folder / "memory/combinations_train.txt", "[없는 열쇠: 값] 이런 건 어디에도 없는 문장")


def _repeated_input(folder: Path) -> None:
    """In another file of the same split."""
    first = (folder / "dialogue/train.jsonl").read_text(encoding="utf-8").splitlines()[0]
    _append(folder / "dialogue/train_everyday.jsonl", first)


def _copied_dialogue(folder: Path) -> None:
    """Dialogue prompts are shown to the ethics model as innocent ones."""
    row = next(r for r in data_files.ethics("test", folder) if r.category == "일반" and len(r.prompt) > 8)
    path = folder / "dialogue/train.jsonl"
    said = json.loads(path.read_text(encoding="utf-8").splitlines()[0]) | {"input": row.prompt + "!", "memory": ""}
    _append(path, json.dumps(said, ensure_ascii=False))


def _real_person(folder: Path) -> None:
    _append(
        folder / "ethics/train.jsonl",
        json.dumps({"prompt": "트럼프가 또 이긴다고?", "category": "정치"}, ensure_ascii=False),
    )


def _copied_tutor_question(folder: Path) -> None:
    """The tutor's adapter reads the questions of the documents too."""
    row = data_files.tutor_rows("valid", folder)[3]
    asked = {"document": row.document, "question": row.question + "??", "grades": {}}
    _append(folder / "tutor/questions_train.jsonl", json.dumps(asked, ensure_ascii=False))


def _half_a_pattern(folder: Path) -> None:
    path = folder / "augment/patterns.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["ask"]["이름"].append("내 이름이 뭐야?")
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_copied_tutor_question, "tutor/valid row 4"),
        (_half_a_pattern, "expected 'question => answer'"),
        (_real_person, "names a real person, 트럼프"),
        (_copied_test_row, "like training row"),
        (_copied_dialogue, "like training row"),
        (_unknown_key, "not in keys.csv"),
        (_repeated_input, "same input as dialogue/train row 1"),
    ],
)
def test_spoilt_data_is_found(copied: Path, spoil: Callable[[Path], None], expected: str) -> None:
    spoil(copied)
    found = check_data.check(copied)
    assert found
    assert all(expected in error for error in found)


def test_a_copy_is_found_behind_longer_texts_that_hold_it() -> None:
    longer = [f"바나나 {word} 먹고 싶다" for word in ("하나", "둘", "셋", "넷", "다섯", "여섯")]
    assert list(check_data.near([*longer, "바/나/나"], ["바^나^나"])) == [(0, 6, 1.0)]


def test_a_key_without_a_value_is_named(copied: Path) -> None:
    _append(copied / "memory/key_prompts.txt", "새 열쇠: 그거 기억해? | 그게 뭐였지")
    with pytest.raises(ValueError, match=r"no value is known for 새 열쇠; add one to augment/values\.yaml"):
        check_data.check(copied)


def test_two_lines_of_one_key_are_added_up(copied: Path) -> None:
    before = data_files.key_prompts(folder=copied)["이름"]
    _append(copied / "memory/key_prompts.txt", "이름: 나를 뭐라고 불러야 하게")
    assert data_files.key_prompts(folder=copied)["이름"] == [*before, "나를 뭐라고 불러야 하게"]


def test_a_broken_line_is_named(copied: Path) -> None:
    _append(copied / "ethics/train.jsonl", '{"prompt": "안녕"}')
    count = len((copied / "ethics/train.jsonl").read_text(encoding="utf-8").splitlines())
    with pytest.raises(ValueError, match=rf"ethics/train.jsonl line {count}.*\n*category"):
        data_files.ethics("train", copied)


def test_a_row_that_names_what_is_not_there_is_named(copied: Path) -> None:
    _append(copied / "ethics/train.jsonl", json.dumps({"prompt": "안녕", "category": "일반인"}, ensure_ascii=False))
    with pytest.raises(ValueError, match="'일반인' is no category; known: 사랑 고백/만남, 정치"):
        data_files.ethics("train", copied)
    asked = {"document": "nowhere", "question": "어디에도 없는 거?", "answer": "없어요"}
    _append(copied / "tutor/train.jsonl", json.dumps(asked, ensure_ascii=False))
    with pytest.raises(ValueError, match=r"tutor/train.jsonl row \d+: there is no document 'nowhere'"):
        data_files.tutor_examples("train", copied)
    first = next(iter(data_files.documents()))
    graded = {"document": first, "question": "어디에도 없는 거?", "grades": {"nowhere": 0.1}}
    _append(copied / "tutor/questions_train.jsonl", json.dumps(graded, ensure_ascii=False))
    with pytest.raises(ValueError, match=r"questions_train.jsonl row \d+: there is no document 'nowhere'"):
        data_files.questions("train", copied)
    _append(copied / "memory/keys.csv", "이름만,,")
    with pytest.raises(ValueError, match=r"memory/keys.csv line \d+"):
        data_files.key_groups(copied)
