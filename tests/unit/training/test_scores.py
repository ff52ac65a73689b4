"""Wanted scores, thresholds and figures."""

from typing import cast

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from training import data_files, evaluate, measure, pairs, thresholds
from training.sbert_losses import MatrixLoss

NAMES = ["사랑 고백/만남", "정치", "패드립", "혐오/기타", "일반"]
KEYS = {"사랑 고백/만남": "love", "정치": "politics", "패드립": "paedrip", "혐오/기타": "hate"}


@pytest.mark.parametrize(("x", "expected"), [(1.0, 1.0), (0.7, 0.22), (0.6, 0.0), (0.0, 0.0)])
def test_pair_score_follows_the_formula(x: float, expected: float) -> None:
    assert pairs.score(x) == pytest.approx(expected)


def test_concepts() -> None:
    concepts = pairs.Concepts(data_files.key_groups())
    idol, singer = concepts.of("좋아하는 아이돌", "하늘"), concepts.of("좋아하는 가수", "구름")
    assert concepts.score(idol, singer) == 1.0
    assert concepts.score(concepts.of("이름", "도윤"), concepts.of("취미", "수영")) == 0.0
    assert 0 < concepts.score(concepts.of("좋아하는 음식", "초밥"), concepts.of("좋아하는 과일", "귤")) < 0.5
    assert concepts.score(concepts.of("상태", "피곤함"), concepts.of("상태", "배고픔")) < 0.5
    assert concepts.score(concepts.of("상태", "피곤함"), concepts.of("상태", "피곤함")) == 1.0
    assert concepts.score(pairs.NOTHING, singer) == 0.0


def test_lowest_threshold_keeps_the_rate() -> None:
    wrong = np.array([0.1] * 98 + [0.705, 0.905], dtype=np.float32)
    assert thresholds.lowest(wrong, 0.01) == pytest.approx(0.71)
    assert thresholds.lowest(wrong, 0.02) == pytest.approx(0.3)
    assert thresholds.lowest(wrong, 0.0) == pytest.approx(0.91)


def test_a_prompt_that_scores_as_normal_counts_as_no_hit() -> None:
    scores = np.array([[0.905, 0, 0, 0, 0.6], [0, 0, 0, 0, 0.9]], dtype=np.float32)
    labels = np.array([4, 4])
    assert thresholds.ethics(scores, labels, NAMES, KEYS, rate=0.0, least=0.5)["love"] == 0.5
    scores[0, 4] = 0.4
    assert thresholds.ethics(scores, labels, NAMES, KEYS, rate=0.0, least=0.5)["love"] > 0.9


def test_shipped_verdict_is_the_rule_of_serving() -> None:
    limits = {"love": 0.8, "politics": 0.8, "paedrip": 0.8, "hate": 0.8, "normal": 0.5}
    scores = np.array([[0.9, 0, 0, 0.9, 0.1], [0.9, 0, 0, 0, 0.5], [0.7, 0, 0, 0, 0]], dtype=np.float32)
    assert measure.shipped_verdict(scores, NAMES, limits) == [["love", "hate"], [], []]


def test_memory_threshold_counts_small_talk_as_wrong() -> None:
    found = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.5]], dtype=np.float32)
    wanted = np.array([[1, 0], [0, 1], [0, 1]], dtype=np.float32)
    asleep, awake = np.full((50, 2), 0.1, np.float32), np.full((50, 2), 0.85, np.float32)
    assert thresholds.memory(found, wanted, asleep, precision=1.0) == pytest.approx(0.61)
    assert thresholds.memory(found, wanted, awake, precision=1.0) == pytest.approx(0.86)


def test_memory_scores() -> None:
    wanted = ["[이름: 도윤]", "", "[취미: 수영]", ""]
    written = ["[이름: 도윤]", "", "[취미: 등산]", "이름: 도윤"]
    found = evaluate.memory_scores(wanted, written)
    assert found["well_formed"] == 0.75
    assert found["key_f1"] == 1.0
    assert found["item_f1"] == 0.5
    assert found["nothing_right"] == 1.0


def test_a_concept_beyond_the_table_is_like_itself_alone() -> None:
    class Given(torch.nn.Module):
        """Sentence vectors as they are put in."""

        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return features

    table = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    loss = MatrixLoss(cast(SentenceTransformer, Given()), table, share=0.0)
    # Two documents of the table with a cosine of 0.5, and a drawn one at right angles to both.
    items = torch.tensor([[1.0, 0, 0], [0.5, 3**0.5 / 2, 0], [0, 0, 1.0]])
    labels = torch.tensor([[0, 0], [1, 1], [7, 7]])
    features = [{"sentence_embedding": items}, {"sentence_embedding": items.clone()}]
    assert float(loss(features, labels)) == pytest.approx(0, abs=1e-6)
    assert float(loss(features, torch.tensor([[0, 0], [1, 1], [7, 8]]))) > 0.1
