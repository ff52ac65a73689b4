"""The sentences that the system says itself, and the facts of system.md §9."""

import re
import string

import pytest

from ohlora import persona
from ohlora.ethics import EthicsPolicy

# One form for two particles, as only forms print them: 을(를), (으)로, 이(가) …
BOTH_PARTICLES = re.compile(r"\([으이]\)|[은는이가을를과와]\([은는이가을를과와]\)")


def fields(text: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field}


@pytest.mark.parametrize(
    "fact",
    [
        "2003-10-11",
        "ENTJ",
        "알파고등학교 (2019–2022)",
        "샘올대학교",
        "3학년",
        "LoRA",
        "사람들의 삶을 밝혀",
        "혜나",
        "Hyena",
    ],
)
def test_she_is_who_the_reference_says(fact: str) -> None:
    assert any(fact in text for text in persona.FACTS.values())


def test_every_category_has_a_name_that_a_person_reads() -> None:
    for category in EthicsPolicy().categories:
        korean, english = persona.CATEGORY_NAMES[category.key]
        assert re.search(r"[가-힣]", korean)
        assert english.isascii()


@pytest.mark.parametrize("code", [*persona.ERRORS])
def test_an_error_says_the_same_in_both_languages(code: str) -> None:
    korean, english = persona.ERRORS[code]
    assert re.search(r"[가-힣]", korean)
    assert not re.search(r"[가-힣]", english)
    assert fields(korean) == fields(english)


@pytest.mark.parametrize("name", [korean for korean, _ in persona.CATEGORY_NAMES.values()])
def test_a_warning_reads_well_with_every_category(name: str) -> None:
    warning = persona.WARNING[0].format(categories=name)
    assert name in warning
    assert not BOTH_PARTICLES.search(warning)


def test_a_warning_names_its_category_in_english_too() -> None:
    assert "politics" in persona.WARNING[1].format(categories="politics")


@pytest.mark.parametrize("code", [*persona.ERRORS])
def test_no_particle_hangs_on_a_value_that_is_not_known(code: str) -> None:
    korean = persona.ERRORS[code][0]
    assert not BOTH_PARTICLES.search(korean)
    assert not re.search(r"\}(?:은|는|이|가|을|를|과|와|으로)(?![가-힣])", korean)


def test_long_questions_go_to_hyena() -> None:
    assert "혜나" in persona.ERRORS["prompt_too_long"][0]
