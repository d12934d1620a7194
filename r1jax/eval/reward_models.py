"""The examination of a reward model on questions that it was not trained on: does it order, is it sure rightly, does it
like length. Host-side numpy.

DeepSeek-R1 (arXiv 2501.12948v2, section 3.1) trains a helpful model on pairs and a safety model on labels and publishes
no score of either; it keeps chosen and rejected responses of comparable length, lest the model learn to like length. So
each accuracy has beside it that of a rule without a model: the longer response wins, or one label for all.

Accuracies are means over questions of the mean over a question's own pairs or labels, with an interval over questions
(eval/intervals.py), since two pairs of one question are not two independent trials. Reliability and correlations are
over pairs or responses. Lengths are in characters of what the model reads.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from r1jax.eval.intervals import score_interval

BINS = 10


@dataclass(frozen=True)
class Examination:
    """What was found.

    Attributes:
      figures: name -> number; NaN where there was nothing to count.
      reliability: rows of `reliability`.
    """

    figures: dict[str, float]
    reliability: list[dict[str, Any]]

    def figures_of(self, suite: str) -> dict[str, float]:
        """The numbers that there are, named as metrics: ``eval/<suite>/<name>``."""
        return {f"eval/{suite}/{name}": value for name, value in self.figures.items() if not math.isnan(value)}

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; NaN as None."""
        figures = {name: None if math.isnan(value) else value for name, value in self.figures.items()}
        return {"figures": figures, "reliability": self.reliability}


def of_pairs(chosen: ArrayLike, rejected: ArrayLike, chosen_lengths: ArrayLike, rejected_lengths: ArrayLike,
             questions: Sequence[Hashable]) -> Examination:
    """Examines a pairwise model.

    Args:
      chosen, rejected: [P] rewards. chosen_lengths, rejected_lengths: [P]. questions: P names; pairs of one question
        share one.

    Figures: ``accuracy`` (a tie counts half) with ``accuracy_low`` and ``accuracy_high``; ``loss``, the mean of
    ``-log sigmoid(chosen - rejected)``; ``ece`` of the confidence, ``sigmoid(|chosen - rejected|)``, that the response
    with the higher reward is the chosen one; ``accuracy_chosen_longer`` and ``accuracy_chosen_shorter``, of the pairs
    where it is; ``longer_wins``, the accuracy of taking the longer; ``length_correlation`` of reward and length and
    ``pair_length_correlation`` of their differences within pairs, and ``label_length_correlation`` of being chosen and
    length; ``pairs``, ``questions``.

    Raises ValueError for no pairs or rewards that are not finite.
    """
    chosen, rejected = _finite(chosen), _finite(rejected)
    lengths = _finite(chosen_lengths), _finite(rejected_lengths)
    difference, longer = chosen - rejected, lengths[0] - lengths[1]
    right = _won(difference)
    accuracy = question_means(right, questions)
    confidence = sigmoid(np.abs(difference))
    table = reliability(confidence, right, low=0.5)
    rewards, sizes = np.concatenate([chosen, rejected]), np.concatenate(lengths)
    labels = np.repeat([1.0, 0.0], len(chosen))
    return Examination(_accuracy(accuracy) | {
        "loss": float(np.logaddexp(0.0, -difference).mean()),
        "ece": calibration_error(table),
        "accuracy_chosen_longer": mean(right[longer > 0]),
        "accuracy_chosen_shorter": mean(right[longer < 0]),
        "longer_wins": float(question_means(_won(longer), questions).mean()),
        "length_correlation": correlation(rewards, sizes),
        "pair_length_correlation": cosine(difference, longer),
        "label_length_correlation": correlation(labels, sizes),
        "pairs": float(len(chosen)),
        "questions": float(len(accuracy)),
    }, table)


def of_labels(rewards: ArrayLike, labels: ArrayLike, lengths: ArrayLike, questions: Sequence[Hashable]) -> Examination:
    """Examines a pointwise model.

    Args:
      rewards: [N] logits that a response is good. labels: [N], 1 good, 0 bad. lengths: [N]. questions: N names.

    Figures: as `of_pairs`; ``ece`` is that of the probability ``sigmoid(reward)`` of being good; ``constant`` is the
    accuracy of the commoner label for all; ``accuracy_longer`` and ``accuracy_shorter`` are of responses longer and
    shorter than the median, and ``longer_wins`` the accuracy of calling the former good and the latter bad.

    Raises ValueError for no responses or rewards that are not finite.
    """
    rewards, labels, lengths = _finite(rewards), _finite(labels), _finite(lengths)
    signs = np.sign(2 * labels - 1)
    right = _won(rewards * signs)
    accuracy = question_means(right, questions)
    table = reliability(sigmoid(rewards), labels)
    beyond = lengths - np.median(lengths)
    return Examination(_accuracy(accuracy) | {
        "loss": float(np.mean(labels * np.logaddexp(0, -rewards) + (1 - labels) * np.logaddexp(0, rewards))),
        "ece": calibration_error(table),
        "constant": float(max(np.mean(labels), 1 - np.mean(labels))),
        "accuracy_longer": mean(right[beyond > 0]),
        "accuracy_shorter": mean(right[beyond < 0]),
        "longer_wins": float(question_means(_won(beyond * signs), questions).mean()),
        "length_correlation": correlation(rewards, lengths),
        "label_length_correlation": correlation(labels, lengths),
        "labels": float(len(labels)),
        "questions": float(len(accuracy)),
    }, table)


def question_means(values: ArrayLike, questions: Sequence[Hashable]) -> np.ndarray:
    """[Q] means of [N] values over those of the same question, in order of first appearance."""
    rows: dict[Hashable, list[float]] = {}
    for question, value in zip(questions, np.asarray(values).tolist(), strict=True):
        rows.setdefault(question, []).append(value)
    return np.array([sum(row) / len(row) for row in rows.values()])


def reliability(probability: ArrayLike, outcome: ArrayLike, *, low: float = 0.0,
                bins: int = BINS) -> list[dict[str, Any]]:
    """A reliability table: bins of equal width from `low` to 1, with what was predicted in each and what came.

    Args:
      probability: [N] in [low, 1]. outcome: [N] in [0, 1].

    Returns:
      Rows of ``low``, ``high`` (a probability on an edge belongs to the bin above it, 1 to the last), ``count``, and
      the means ``predicted`` and ``observed``, None in an empty bin.

    Raises ValueError for a probability outside [low, 1].
    """
    probability, outcome = _finite(probability), _finite(outcome)
    if probability.min() < low or probability.max() > 1:
        raise ValueError(f"expected probabilities between {low:g} and 1")
    edges = np.linspace(low, 1.0, bins + 1)
    index = np.clip(np.searchsorted(edges, probability, side="right") - 1, 0, bins - 1)
    rows = []
    for number in range(bins):
        mine = index == number
        rows.append({"low": float(edges[number]), "high": float(edges[number + 1]), "count": int(mine.sum()),
                     "predicted": float(probability[mine].mean()) if mine.any() else None,
                     "observed": float(outcome[mine].mean()) if mine.any() else None})
    return rows


def calibration_error(table: Sequence[dict[str, Any]]) -> float:
    """Expected calibration error of a reliability table: the mean over samples of their bin's |observed - predicted|.

    "On Calibration of Modern Neural Networks" (Guo et al., 2017), eq. 3.
    """
    total = sum(row["count"] for row in table)
    return sum(row["count"] * abs(row["observed"] - row["predicted"]) for row in table if row["count"]) / total


def correlation(x: ArrayLike, y: ArrayLike) -> float:
    """Pearson's correlation of two [N] arrays; NaN where one of them does not vary."""
    x, y = _finite(x), _finite(y)
    return math.nan if np.ptp(x) == 0 or np.ptp(y) == 0 else cosine(x - x.mean(), y - y.mean())


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    """Cosine of two [N] arrays; NaN where one of them is all 0.

    Of differences within pairs it is their correlation, whichever half of a pair is named first.
    """
    size = math.sqrt(float(x @ x)) * math.sqrt(float(y @ y))
    return float(x @ y) / size if size else math.nan


def sigmoid(x: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-x))`` of any x, without overflow."""
    return np.exp(-np.logaddexp(0.0, -x))


def mean(values: np.ndarray) -> float:
    """The mean; NaN of nothing."""
    return float(values.mean()) if values.size else math.nan


def _won(difference: np.ndarray) -> np.ndarray:
    """1 above 0, 1/2 at 0, else 0."""
    return 0.5 * (1 + np.sign(difference))


def _accuracy(values: np.ndarray) -> dict[str, float]:
    low, high = score_interval(values)
    return {"accuracy": float(values.mean()), "accuracy_low": low, "accuracy_high": high}


def _finite(values: ArrayLike) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"expected finite numbers, one for each of at least one sample, got the shape {values.shape}")
    return values
