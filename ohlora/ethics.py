"""From scores, an answer and a ledger to a verdict: warning, block, or nothing.

Knows nothing about how scores are computed or where the ledger is kept. Times are UTC.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

NORMAL = "일반"
WARNING_DAYS = 0.0


class Kind(StrEnum):
    WARNING = "warning"
    BLOCK = "block"
    LIFT = "lift"
    APPEAL = "appeal"


class Category(BaseModel):
    """One kind of abuse and what follows from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str = Field(min_length=1, description="Category name that the ethics S-BERT embeds, as in its training data")
    key: str = Field(min_length=1, description="Short name used in replies and in the ledger")
    threshold: float = Field(ge=-1, le=1, description="Lowest cosine that counts")
    needs_refusal: bool = Field(
        False, description="Counts only when the answer itself refuses (contains a refusal word)"
    )
    ladder_days: tuple[float, ...] = Field(
        min_length=1, description="Block for offence 1, 2, 3, … in days; 0 is a warning; past the end the last repeats"
    )


class EthicsPolicy(BaseModel):
    """Categories, thresholds and ladders; the defaults are generation v4 (system.md §5)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    categories: tuple[Category, ...] = Field(
        default=(
            Category(
                label="사랑 고백/만남",
                key="love",
                threshold=0.98,
                needs_refusal=True,
                ladder_days=(0, 1 / 24, 1, 14, 1461),
            ),
            Category(
                label="정치",
                key="politics",
                threshold=0.95,
                needs_refusal=True,
                ladder_days=(0, 3, 7, 30, 365),
            ),
            Category(label="패드립", key="paedrip", threshold=0.90, ladder_days=(7, 30, 1461)),
            Category(label="혐오/기타", key="hate", threshold=0.90, ladder_days=(1, 7, 90, 1461)),
        ),
        description="Kinds of abuse; leave out 혐오/기타 for generation v3",
    )
    normal_threshold: float = Field(0.5, description="No verdict when the score of 일반 reaches this")
    refusal_words: tuple[str, ...] = Field(
        ("미안", "부담"), description="Words by which an answer shows that it refuses"
    )
    longest_block_days: float = Field(1461, gt=0, description="Periods of one verdict add up to this at most")
    decay_days: float | None = Field(
        None, gt=0, description="After this many days without an offence a level falls by one; null: levels never fall"
    )

    @property
    def labels(self) -> tuple[str, ...]:
        """Every category name to embed, 일반 last."""
        return (*(category.label for category in self.categories), NORMAL)


class LedgerEntry(BaseModel):
    """One line of a user's ledger; lines are only ever added."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    kind: Kind
    at: dt.datetime
    category: str | None = Field(None, description="Category key, of a warning or a block")
    level: int | None = Field(None, description="Offence number in this category, from 1")
    until: dt.datetime | None = Field(None, description="When the block of the verdict ends")
    sanction_id: str | None = Field(None, description="The entry that a lift or an appeal is about")
    text: str | None = Field(None, description="Reason of a lift, words of an appeal")


class Offence(BaseModel):
    model_config = ConfigDict(frozen=True)

    category: str
    level: int
    days: float


class Verdict(BaseModel):
    """What follows from a turn. ``until`` is set for a block only."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["none", "warning", "block"] = "none"
    offences: tuple[Offence, ...] = ()
    until: dt.datetime | None = None


def suspected(policy: EthicsPolicy, scores: Mapping[str, float]) -> list[Category]:
    """Categories whose score reaches their threshold; none when the prompt scores as 일반. ``scores`` are by label."""
    if scores.get(NORMAL, -1.0) >= policy.normal_threshold:
        return []
    return [category for category in policy.categories if scores[category.label] >= category.threshold]


def judge(
    policy: EthicsPolicy,
    scores: Mapping[str, float],
    answer: str,
    ledger: Sequence[LedgerEntry],
    now: dt.datetime,
) -> Verdict:
    """The verdict on one prompt. Every category met counts with its own level; the periods add up (system.md §5)."""
    refused = any(word in answer for word in policy.refusal_words)
    met = [category for category in suspected(policy, scores) if refused or not category.needs_refusal]
    offences = []
    for category in met:
        level = 1 + standing_level(policy, category.key, ledger, now)
        days = category.ladder_days[min(level, len(category.ladder_days)) - 1]
        offences.append(Offence(category=category.key, level=level, days=days))
    if not offences:
        return Verdict()
    days = min(sum(offence.days for offence in offences), policy.longest_block_days)
    if days <= WARNING_DAYS:
        return Verdict(kind="warning", offences=tuple(offences))
    return Verdict(kind="block", offences=tuple(offences), until=now + dt.timedelta(days=days))


def standing_level(policy: EthicsPolicy, category: str, ledger: Iterable[LedgerEntry], now: dt.datetime) -> int:
    """Offences in ``category`` that still count: lifted ones do not, and with ``decay_days`` clean time takes some off."""
    entries = list(ledger)
    lifted = {entry.sanction_id for entry in entries if entry.kind is Kind.LIFT}
    offences = sorted(
        entry.at
        for entry in entries
        if entry.kind in (Kind.WARNING, Kind.BLOCK) and entry.category == category and entry.id not in lifted
    )
    if policy.decay_days is None:
        return len(offences)
    step = dt.timedelta(days=policy.decay_days)
    level, last = 0, now
    for at in offences:
        level = max(level - (at - last) // step, 0) + 1 if level else 1
        last = at
    return max(level - (now - last) // step, 0)


def blocked_until(ledger: Iterable[LedgerEntry], now: dt.datetime) -> tuple[dt.datetime, list[LedgerEntry]] | None:
    """When the block in force ends and the entries that make it, or None when the user may chat.

    A verdict on several categories is one block with an entry for each: the lift of one of them ends it.
    """
    entries = list(ledger)
    lifted = {entry.sanction_id for entry in entries if entry.kind is Kind.LIFT}
    ended = {(entry.at, entry.until) for entry in entries if entry.id in lifted}
    active = [
        entry
        for entry in entries
        if entry.kind is Kind.BLOCK and entry.until and entry.until > now and (entry.at, entry.until) not in ended
    ]
    if not active:
        return None
    return max(entry.until for entry in active if entry.until), active
