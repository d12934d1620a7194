"""Which problems of what was loaded are trained on: filters that say what they left out, and parts by share."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from r1jax.core.errors import ConfigError, DataError
from r1jax.core.records import Problem
from r1jax.data import rows

Kept = tuple[list[Problem], dict[str, int]]
"""The problems that stay, in their order, and reason -> how many were left out for it."""

_SPACE = re.compile(r"\s+")


def by(problems: Iterable[Problem], reason: Callable[[Problem], str]) -> Kept:
    """Keeps the problems for which `reason` gives ""."""
    kept, left_out = [], Counter()
    for problem in problems:
        if why := reason(problem):
            left_out[why] += 1
        else:
            kept.append(problem)
    return kept, dict(left_out)


def by_pass_rate(problems: Iterable[Problem], low: float, high: float, rates: Mapping[str, float] | None = None
                 ) -> Kept:
    """Keeps problems of which a model's samples were right at a rate from `low` to `high`, both included.

    Problems that are always or never solved give a group without a signal: 0 < low and high < 1 leave them out.

    Args:
      rates: problem id -> rate, as measured; None takes meta `pass_rate`. Where neither has a rate the problem goes.
    """
    if not 0.0 <= low <= high <= 1.0:
        raise ConfigError(f"The pass rates {low} to {high} are no range within 0 to 1; give the lower one first.")

    def reason(problem: Problem) -> str:
        rate = problem.meta.get("pass_rate") if rates is None else rates.get(problem.id)
        if rate is None:
            return "no pass rate"
        return "too seldom solved" if rate < low else "too often solved" if rate > high else ""

    return by(problems, reason)


def read_pass_rates(path: str | Path) -> dict[str, float]:
    """Problem id -> rate of a file with the columns `problem` and `pass_rate`.

    Raises:
      DataError: a file that cannot be read, or a rate that is no number from 0 to 1.
    """
    rates = {}
    for where, row in rows.read(Path(path), ("problem", "pass_rate")):
        try:
            rate = float(row["pass_rate"])
        except (TypeError, ValueError):
            rate = math.nan
        if not 0.0 <= rate <= 1.0 or not isinstance(row["problem"], str):
            raise DataError(f"{where}: the pass rate {row['pass_rate']!r} of {row['problem']!r} is no number from 0 "
                            "to 1.")
        rates[row["problem"]] = rate
    return rates


def by_length(problems: Iterable[Problem], longest: int, size: Callable[[str], int]) -> Kept:
    """Keeps questions of a size of at most `longest`, in what `size` counts of them."""
    return by(problems, lambda problem: "too long" if size(problem.question) > longest else "")


def by_language(problems: Iterable[Problem], languages: Iterable[str]) -> Kept:
    """Keeps questions in one of the languages (ISO 639-1 codes)."""
    wanted = set(languages)
    return by(problems, lambda problem: "" if problem.language in wanted else f"language {problem.language}")


def without_repeats(problems: Iterable[Problem], seen: set[str] | None = None) -> Kept:
    """Keeps the first of the problems whose questions are the same but for case, white space and Unicode form.

    Args:
      seen: questions met before, as `normal` gives them; those of the kept problems are added.
    """
    seen = set() if seen is None else seen

    def reason(problem: Problem) -> str:
        question = normal(problem.question)
        if question in seen:
            return "repeated"
        seen.add(question)
        return ""

    return by(problems, reason)


def normal(question: str) -> str:
    """A question without what `without_repeats` passes over."""
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", question)).strip().casefold()


def counts(shares: Sequence[float], total: int) -> list[int]:
    """`total` in whole parts by the shares, by largest remainder; of equal remainders the earlier part is rounded up.

    Raises:
      ConfigError: a share that is negative or no number, or none that is positive.
    """
    _check(shares)
    exact = [share / sum(shares) * total for share in shares]
    parts = [math.floor(value) for value in exact]
    largest = sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i))
    for i in largest[: total - sum(parts)]:
        parts[i] += 1
    return parts


def systematic(shares: Sequence[float], total: int, start: float) -> list[int]:
    """`total` in whole parts, each its exact share rounded down or up, so that its mean over `start` is the share.

    Systematic sampling: `total` points at equal distance from `start` (from 0 to 1) over the line that the shares
    divide. A share too small for one draw thus still gets its part in many.
    """
    _check(shares)
    ends = np.cumsum(np.asarray(shares, np.float64)) / math.fsum(shares)
    points = (np.arange(total) + start) / total
    places = np.minimum(np.searchsorted(ends, points, side="right"), len(ends) - 1)
    return np.bincount(places, minlength=len(ends)).tolist()


def check_shares(field: str, rows: Sequence[tuple[str, float]]) -> None:
    """Refuses (name, share) rows of a setting that share nothing out.

    Raises:
      ConfigError: no rows, a name that is there twice, a share that is negative or no number, or none that is positive.
    """
    if not rows:
        raise ConfigError(f"{field} is empty; give (name, share) rows.")
    names = [name for name, _ in rows]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ConfigError(f"{field} names {', '.join(twice)} more than once; add the shares up in one row.")
    if not _are_shares([share for _, share in rows]):
        told = ", ".join(f"{name} the share {share}" for name, share in rows)
        raise ConfigError(f"{field} gives {told}; give numbers of 0 or more, at least one of them positive.")


def _are_shares(shares: Sequence[float]) -> bool:
    return all(share >= 0 for share in shares) and 0 < sum(shares) < math.inf


def _check(shares: Sequence[float]) -> None:
    if not _are_shares(shares):
        raise ConfigError(f"The shares {list(shares)} are no shares; give numbers of 0 or more, one of them positive.")
