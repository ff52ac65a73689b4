"""Presets hold the settings of the reference, and a mistake in one is named."""

import pytest

from ohlora.prompts import Task
from training import config, sft
from training.config import ConfigError

KANANA_INSTRUCT = "kakaocorp/kanana-1.5-2.1b-instruct-2505"
KANANA = "kakaocorp/kanana-1.5-2.1b-base"
POLYGLOT = "EleutherAI/polyglot-ko-1.3b"
TABLE = {  # system.md §1: base, rank, epochs
    "v2": dict.fromkeys(("output_message", "summary", "memory", "eyes_mouth_pose"), (POLYGLOT, 128, 60)),
    "v3": {
        "output_message": (KANANA, 64, 5),
        "summary": (KANANA, 64, 10),
        "memory": (POLYGLOT, 64, 20),
        "eyes_mouth_pose": (POLYGLOT, 64, 30),
    },
    "v4": {
        "output_message": (KANANA_INSTRUCT, 16, 5),
        "summary": (KANANA, 64, 10),
        "memory": (POLYGLOT, 64, 20),
        "eyes_mouth_pose": (POLYGLOT, 64, 30),
    },
    "tutor": {"tutor": (KANANA_INSTRUCT, 64, 15)},
}


@pytest.mark.parametrize("name", TABLE)
def test_presets_follow_the_table(name: str) -> None:
    preset = config.load(name)
    assert {t.value: (p.base, p.lora.rank, p.epochs) for t, p in preset.sft.items()} == TABLE[name]
    for part in preset.sft.values():
        assert (part.lora.alpha, part.lora.dropout, part.rate, part.batch) == (16, 0.05, 3e-4, 2)


def test_ethics_categories_by_generation() -> None:
    assert "ethics" not in config.load("v2").sbert
    assert len(config.load("v3").sbert["ethics"].categories) == 4
    assert len(config.load("v4").sbert["ethics"].categories) == 5


def test_answers_are_augmented_from_v3_on() -> None:
    assert [config.load(n).sft[Task.ANSWER].augment for n in ("v2", "v3", "v4")] == [False, True, True]


def test_the_tiny_preset_has_every_part() -> None:
    preset = config.load("tiny")
    assert set(preset.sft) == {*Task}
    assert set(preset.sbert) == {"memory", "ethics", "rag"}
    for base in preset.bases.values():
        assert base.width // base.heads in (32, 64)
        assert base.architecture in sft.TARGETS


def test_overrides_reach_any_field() -> None:
    preset = config.load_part("sft", "summary", "v4", ["lora.rank=32", "seed=1"])
    assert preset.sft[Task.SUMMARY].lora.rank == 32
    assert preset.seed == 1


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("sft.summary.lora.rnk=8", "lora.rnk"),
        ("sft.summary.epochs=0", "sft.summary.epochs"),
        ("seed", "field=value"),
        ("name.x=1", "name is a value"),
    ],
)
def test_a_wrong_override_is_named(override: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named.replace(".", r"\.")):
        config.load("v4", [override])


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="tiny, tutor, v2, v3, v4"):
        config.load("v5")
