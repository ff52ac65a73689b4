"""Thresholds and ladders of system.md §5, and what a ledger means."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ohlora.ethics import EthicsPolicy, Kind, LedgerEntry, Verdict, blocked_until, judge, standing_level, suspected

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
NONE = dt.timedelta(0)  # a warning
POLICY = EthicsPolicy()
LABELS = {"love": "사랑 고백/만남", "politics": "정치", "paedrip": "패드립", "hate": "혐오/기타"}
THRESHOLDS = {"love": 0.98, "politics": 0.95, "paedrip": 0.90, "hate": 0.90}
LADDERS = {
    "love": [NONE, HOUR, DAY, 14 * DAY, 1461 * DAY],
    "politics": [NONE, 3 * DAY, 7 * DAY, 30 * DAY, 365 * DAY],
    "paedrip": [7 * DAY, 30 * DAY, 1461 * DAY],
    "hate": [DAY, 7 * DAY, 90 * DAY, 1461 * DAY],
}
SORRY = "미안, 그런 이야기는 못 해"
KEYS = st.sampled_from([*LABELS])


def scores(normal: float = 0.0, **by_key: float) -> dict[str, float]:
    return {label: by_key.get(key, 0.0) for key, label in LABELS.items()} | {"일반": normal}


def offences(key: str, count: int, *, until: dt.datetime | None = None) -> list[LedgerEntry]:
    kind = Kind.BLOCK if until else Kind.WARNING
    return [
        LedgerEntry(id=f"{key}-{n}", kind=kind, at=NOW - DAY * (count - n), category=key, level=n + 1, until=until)
        for n in range(count)
    ]


def lift(sanction_id: str) -> LedgerEntry:
    return LedgerEntry(id=f"lift-{sanction_id}", kind=Kind.LIFT, at=NOW, sanction_id=sanction_id, text="오판")


def period(verdict: Verdict) -> dt.timedelta:
    return verdict.until - NOW if verdict.until else NONE


def test_the_names_to_embed_are_those_of_the_reference() -> None:
    assert sorted(POLICY.labels) == sorted([*LABELS.values(), "일반"])


@pytest.mark.parametrize("key", LABELS)
def test_a_category_counts_from_its_threshold_on(key: str) -> None:
    threshold = THRESHOLDS[key]
    assert [c.key for c in suspected(POLICY, scores(**{key: threshold}))] == [key]
    assert suspected(POLICY, scores(**{key: threshold - 0.0001})) == []


@pytest.mark.parametrize(("normal", "kind"), [(0.4999, "block"), (0.5, "none"), (1.0, "none")])
def test_a_normal_prompt_has_no_verdict(normal: float, kind: str) -> None:
    assert judge(POLICY, scores(normal, hate=1.0), SORRY, [], NOW).kind == kind


@pytest.mark.parametrize(
    ("key", "answer", "kind"),
    [
        ("love", "나도 좋아!", "none"),
        ("love", "미안, 그건 어려워", "warning"),
        ("love", "그건 좀 부담스러워", "warning"),
        ("politics", "글쎄", "none"),
        ("politics", "그 얘긴 부담이야", "warning"),
        ("paedrip", "글쎄", "block"),
        ("hate", "글쎄", "block"),
    ],
)
def test_love_and_politics_need_an_answer_that_refuses(key: str, answer: str, kind: str) -> None:
    assert judge(POLICY, scores(**{key: 1.0}), answer, [], NOW).kind == kind


@pytest.mark.parametrize("key", LADDERS)
@pytest.mark.parametrize("before", range(7))
def test_the_ladder_of_a_category(key: str, before: int) -> None:
    verdict = judge(POLICY, scores(**{key: 1.0}), SORRY, offences(key, before), NOW)
    step = LADDERS[key][min(before, len(LADDERS[key]) - 1)]
    assert period(verdict) == step
    assert verdict.kind == ("block" if step else "warning")
    assert [(o.category, o.level) for o in verdict.offences] == [(key, before + 1)]


@given(KEYS, st.integers(0, 60))
def test_an_offence_more_never_shortens_a_block(key: str, before: int) -> None:
    less, more = (judge(POLICY, scores(**{key: 1.0}), SORRY, offences(key, n), NOW) for n in (before, before + 1))
    assert period(less) <= period(more) <= 1461 * DAY


@given(st.dictionaries(KEYS, st.integers(0, 8), min_size=1))
def test_every_category_counts_with_its_own_level_and_the_periods_add_up(before: dict[str, int]) -> None:
    ledger = [entry for key, count in before.items() for entry in offences(key, count)]
    verdict = judge(POLICY, scores(**dict.fromkeys(before, 1.0)), SORRY, ledger, NOW)
    steps = [LADDERS[key][min(count, len(LADDERS[key]) - 1)] for key, count in before.items()]
    assert {o.category: o.level for o in verdict.offences} == {key: count + 1 for key, count in before.items()}
    assert abs(period(verdict) - min(sum(steps, NONE), 1461 * DAY)) <= dt.timedelta(milliseconds=1)


def test_a_warning_beside_a_block_is_recorded_with_it() -> None:
    verdict = judge(POLICY, scores(love=1.0, hate=1.0), SORRY, [], NOW)
    assert (verdict.kind, period(verdict)) == ("block", DAY)
    assert [o.category for o in verdict.offences] == ["love", "hate"]


def test_two_warnings_are_a_warning() -> None:
    assert judge(POLICY, scores(love=1.0, politics=1.0), SORRY, [], NOW).kind == "warning"


@given(KEYS, KEYS, st.integers(0, 5))
def test_offences_of_one_category_leave_the_others_alone(key: str, other: str, count: int) -> None:
    level = standing_level(POLICY, key, offences(other, count), NOW)
    assert level == (count if key == other else 0)


@given(st.integers(1, 6), st.data())
def test_a_lifted_offence_does_not_count(count: int, data: st.DataObject) -> None:
    ledger = offences("hate", count)
    lifted = data.draw(st.sets(st.sampled_from([entry.id for entry in ledger])))
    assert standing_level(POLICY, "hate", [*ledger, *map(lift, lifted)], NOW) == count - len(lifted)


def test_levels_never_fall_by_default() -> None:
    assert standing_level(POLICY, "hate", offences("hate", 2), NOW + 3650 * DAY) == 2


@pytest.mark.parametrize(("days", "level"), [(29, 3), (31, 2), (61, 1), (91, 0), (900, 0)])
def test_where_levels_decay_clean_time_takes_them_off_one_by_one(days: int, level: int) -> None:
    policy = EthicsPolicy(decay_days=30)
    ledger = offences("hate", 3)
    assert standing_level(policy, "hate", ledger, ledger[-1].at + dt.timedelta(days=days)) == level


def test_nobody_is_blocked_by_an_empty_ledger_or_by_warnings() -> None:
    assert blocked_until([], NOW) is None
    assert blocked_until(offences("love", 1), NOW) is None


def test_a_block_holds_until_its_end() -> None:
    ledger = offences("hate", 1, until=NOW + DAY)
    assert blocked_until(ledger, NOW + DAY - dt.timedelta(seconds=1)) == (NOW + DAY, ledger)
    assert blocked_until(ledger, NOW + DAY) is None


def test_the_longest_of_several_blocks_counts() -> None:
    ledger = offences("hate", 1, until=NOW + DAY) + offences("paedrip", 1, until=NOW + 7 * DAY)
    blocked = blocked_until(ledger, NOW)
    assert blocked is not None
    assert blocked[0] == NOW + 7 * DAY


def test_a_lift_ends_its_block_and_no_other() -> None:
    ledger = offences("hate", 1, until=NOW + DAY) + offences("paedrip", 1, until=NOW + 7 * DAY)
    blocked = blocked_until([*ledger, lift("paedrip-0")], NOW)
    assert blocked is not None
    assert blocked[0] == NOW + DAY
    assert blocked_until([*ledger, lift("paedrip-0"), lift("hate-0")], NOW) is None


@pytest.mark.parametrize("lifted", ["love-0", "hate-0"])
def test_the_lift_of_a_block_for_several_categories_ends_it_whichever_entry_it_names(lifted: str) -> None:
    ledger = offences("love", 1, until=NOW + DAY) + offences("hate", 1, until=NOW + DAY)
    assert blocked_until(ledger, NOW) is not None
    assert blocked_until([*ledger, lift(lifted)], NOW) is None


def test_an_appeal_lifts_nothing() -> None:
    appeal = LedgerEntry(id="appeal", kind=Kind.APPEAL, at=NOW, sanction_id="hate-0", text="억울해요")
    assert blocked_until([*offences("hate", 1, until=NOW + DAY), appeal], NOW) is not None
