"""What evaluation reports: pass@k, majority vote, and how sure the numbers are.

Host-side numpy. A benchmark's number is the mean over its problems; its uncertainty comes from
the problems, which are the independent draws (samples of one problem are not).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> np.ndarray:
    """Probability that k samples drawn from n without replacement hold a correct one of the c.

    The unbiased estimator of "Evaluating Large Language Models Trained on Code" (Chen et al.
    2021, equation 1), 1 - C(n-c, k) / C(n, k), as a product of ratios so that no binomial
    overflows. For k = 1 it is c / n. n, c and k broadcast; the result has their shape, float64.
    Raises ValueError unless 1 <= k <= n and 0 <= c <= n everywhere.
    """
    n, c, k = np.broadcast_arrays(*(np.asarray(x, dtype=np.int64) for x in (n, c, k)))
    if np.any(k < 1) or np.any(k > n):
        raise ValueError("pass@k needs 1 <= k <= n: draw at least k samples for each problem")
    if np.any(c < 0) or np.any(c > n):
        raise ValueError("pass@k needs 0 <= c <= n: there cannot be more correct samples than samples")
    none_correct = np.ones(n.shape, np.float64)
    for drawn in range(int(k.max(initial=0))):
        ratio = np.maximum(n - c - drawn, 0) / np.maximum(n - drawn, 1)
        none_correct *= np.where(drawn < k, ratio, 1.0)
    return 1.0 - none_correct


def cons_at_k(
    answers: Sequence[Any], correct: Sequence[bool], *, group: Callable[[Any], Hashable | None] | None = None
) -> float:
    """Expected correctness of the majority answer of one problem's k samples (cons@k of DeepSeek-R1).

    Args:
      answers: the k final answers, normalised; None where a sample gave none.
      correct: their k grades.
      group: key under which answers count as the same, by default the answer itself. For Countdown
        the value of the expression, since different right expressions agree. None is no vote.

    Samples without an answer or a key do not vote; without any vote the result is 0. Of tied
    answers one is taken at random, and so is one sample of the winning answer (its samples may be
    graded differently, as when two expressions of one value do not both keep the rules): the
    result is the expectation over both draws.
    """
    if len(answers) != len(correct):
        raise ValueError(f"{len(answers)} answers for {len(correct)} grades; give one grade for each answer")
    votes: dict[Hashable, list[bool]] = {}
    for answer, right in zip(answers, correct, strict=True):
        key = answer if group is None or answer is None else group(answer)
        if key is not None:
            votes.setdefault(key, []).append(bool(right))
    if not votes:
        return 0.0
    most = max(map(len, votes.values()))
    return float(np.mean([np.mean(grades) for grades in votes.values() if len(grades) == most]))


def standard_error(values: ArrayLike) -> float:
    """Standard error of the mean of [P] per-problem values, with the sample standard deviation (ddof 1).

    NaN for a single problem, whose spread is unknown. Raises ValueError for none.
    """
    values = _per_problem(values)
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else float("nan")


def bootstrap_interval(
    values: ArrayLike, *, seed: int, confidence: float = 0.95, resamples: int = 2000
) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of the mean of [P] per-problem values.

    Problems are resampled with replacement; the same seed gives the same interval. Raises
    ValueError for no values, no resamples or a confidence outside (0, 1).
    """
    values = _per_problem(values)
    if not 0.0 < confidence < 1.0 or resamples < 1:
        raise ValueError("the bootstrap needs a confidence between 0 and 1 and at least one resample")
    generator = np.random.default_rng(seed)
    means = [generator.choice(values, values.size).mean() for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _per_problem(values: ArrayLike) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"expected one value for each of at least one problem, got the shape {values.shape}")
    return values
