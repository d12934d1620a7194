"""The paper's claims held against what was measured: results/*.json in, verdicts and RESULTS.md's table out.

A file holds one claim's measurement, over several seeds:

    {"claim": 1, "command": "...", "date": "2026-11-22", "hardware": "...",
     "seeds": [{"seed": 0, "version": "tiny", "values": {"base/pass@1": 0.19, ...}, "curves": {"pass@1": [[0, 0.19]]}}]}

Further keys are kept and not read. A claim has a number, or a name where the list of thirteen has none for it. What a
claim says is put into contrasts, numbers that are above a stated bound if it holds. Each seed gives one number a
contrast; the mean over seeds has Student's 95 % interval (of n seeds with n - 1 degrees of freedom: for three seeds
2.48 standard deviations to either side). The verdict follows from the intervals:

- "reproduced": of every contrast the whole interval lies above its bound.
- "not reproduced": of some contrast the whole interval lies at or below its bound.
- "not visible at this scale": otherwise; the seeds do not tell.
- "too few seeds": fewer than three were run, so nothing is said.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from etils import epath

from r1jax.core.errors import DataError
from r1jax.eval.intervals import student_quantile

REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"
NOT_VISIBLE, TOO_FEW = "not visible at this scale", "too few seeds"
LEAST_SEEDS = 3
BEGIN, END = "<!-- the claims: made from results/*.json by benchmarks/claims.py -->", "<!-- end of the claims -->"

Number = int | str
Values = Mapping[str, float]


@dataclass(frozen=True)
class Contrast:
    """A number of one seed that is above `least` if the claim holds.

    Attributes:
      text: what it is, in words. of: a seed's values -> the number. scale, unit: for showing it.
    """

    text: str
    of: Callable[[Values], float]
    least: float = 0.0
    scale: float = 100.0
    unit: str = " points"


@dataclass(frozen=True)
class Shown:
    """A measured value that the table names: its name in the files, a label, and how it is shown."""

    name: str
    label: str
    scale: float = 100.0
    unit: str = " %"


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
      paper: its figure, with the source. shown: what of ours stands in the table. contrasts: what decides.
      needs: names of artifacts that it is measured on.
    """

    number: Number
    sentence: str
    paper: str
    shown: tuple[Shown, ...]
    contrasts: tuple[Contrast, ...]
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Seed:
    """One seed's measurement: values by name, curves as (step, value) rows."""

    seed: int
    version: str
    values: Values
    curves: Mapping[str, Sequence[Sequence[float]]]


@dataclass(frozen=True)
class Result:
    """One file of results/."""

    claim: Number
    command: str
    date: str
    seeds: tuple[Seed, ...]
    file: str = ""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with Student's 95 % interval; of one seed low and high are infinite."""

    mean: float
    low: float
    high: float
    seeds: int


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean of one number a seed, with its interval.

    Raises:
      ValueError: no values.
    """
    n = len(values)
    if not n:
        raise ValueError("an interval over seeds needs at least one seed")
    mean = sum(values) / n
    if n == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    reach = student_quantile(0.975, n - 1) * deviation / math.sqrt(n)
    return Interval(mean, mean - reach, mean + reach, n)


def contrasts(claim: Claim, result: Result) -> list[Interval]:
    """Each contrast of a claim over the result's seeds.

    Raises:
      DataError: a seed lacks a value.
    """
    return [over_seeds([_number(contrast.of, seed, result) for seed in result.seeds]) for contrast in claim.contrasts]


def verdict(claim: Claim, result: Result) -> str:
    """What the result says of the claim; see the module."""
    if len(result.seeds) < LEAST_SEEDS:
        return TOO_FEW
    found = list(zip(claim.contrasts, contrasts(claim, result), strict=True))
    if any(interval.high <= contrast.least for contrast, interval in found):
        return NOT_REPRODUCED
    return REPRODUCED if all(interval.low > contrast.least for contrast, interval in found) else NOT_VISIBLE


def verdict_and_parts(claim: Claim, result: Result) -> str:
    """The verdict; where only some of several contrasts hold over the whole interval, with how many."""
    said = verdict(claim, result)
    holds = [interval.low > contrast.least for contrast, interval in zip(
        claim.contrasts, contrasts(claim, result), strict=True)]
    return said if said in (TOO_FEW, REPRODUCED) or len(holds) == 1 else f"{said} ({sum(holds)} of {len(holds)} hold)"


def _number(of: Callable[[Values], float], seed: Seed, result: Result) -> float:
    try:
        return float(of(seed.values))
    except KeyError as error:
        raise DataError(f"{result.file or 'The result'} of claim {result.claim} has no value {error} for seed "
                        f"{seed.seed}: make it again with `{result.command}`.") from error


# Files.


def load_results(folder: str | os.PathLike[str], known: Mapping[Number, Claim]) -> dict[Number, Result]:
    """Claim -> its result, from every JSON file of a folder that has a claim.

    Raises:
      DataError: a file that cannot be read, an unknown claim, one that two files are of, or one without seeds.
    """
    found: dict[Number, Result] = {}
    for path in sorted(epath.Path(folder).glob("*.json"), key=lambda path: path.name):
        result = _read(path)
        if result is None:
            continue
        if result.claim not in known:
            raise DataError(f"{path.name} is of claim {result.claim}, which is not known; known are "
                            f"{', '.join(map(str, known))}.")
        if result.claim in found:
            raise DataError(f"{found[result.claim].file} and {path.name} are both of claim {result.claim}; keep one.")
        found[result.claim] = result
    return {number: found[number] for number in known if number in found}


def _read(path: epath.Path) -> Result | None:
    """The result in a file; None for a JSON object of something else."""
    try:
        row = json.loads(path.read_bytes())
        if not isinstance(row, dict) or "claim" not in row:
            return None
        seeds = tuple(Seed(int(seed["seed"]), str(seed.get("version", "")),
                           {name: float(value) for name, value in seed["values"].items()}, seed.get("curves", {}))
                      for seed in row["seeds"])
        claim = row["claim"] if isinstance(row["claim"], str) else int(row["claim"])
        result = Result(claim, str(row["command"]), str(row["date"]), seeds, path.name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path.name} is no result of a claim ({error!r}): make it again with benchmarks/claims.py."
                        ) from error
    if not seeds or len({seed.seed for seed in seeds}) < len(seeds):
        raise DataError(f"{path.name} has {'a seed twice' if seeds else 'no seeds'}: make it again with "
                        f"`{result.command}`.")
    return result


# The table.


def titled(claim: Claim) -> str:
    """The claim with its number in front, where it has one."""
    return claim.sentence if isinstance(claim.number, str) else f"{claim.number}. {claim.sentence}"


def not_measured(results: Mapping[Number, Result], known: Mapping[Number, Claim]) -> str:
    """The claims without a file, in a line; "" where there are none."""
    missing = [titled(claim) for number, claim in known.items() if number not in results]
    return f"Not measured yet: {' '.join(missing)}" if missing else ""


def table(results: Mapping[Number, Result], known: Mapping[Number, Claim]) -> str:
    """The claims as a Markdown table, between its markers, and a list of those that have no file."""
    lines = [BEGIN, "", "| claim | the paper's figure | ours, mean over seeds (95 % interval) | verdict | command |",
             "|---|---|---|---|---|"]
    for number, claim in known.items():
        if number in results:
            result = results[number]
            lines.append("| " + " | ".join((
                titled(claim), claim.paper, ". ".join(ours(claim, result)), verdict_and_parts(claim, result),
                f"`{result.command}` ({result.date})")) + " |")
    missing = not_measured(results, known)
    more = ["", missing] if missing else []
    return "\n".join([*lines, *more, "", END]) + "\n"


def ours(claim: Claim, result: Result) -> tuple[str, str]:
    """(the values, the contrasts and the number of seeds) in words, means with intervals.

    Raises:
      DataError: a seed lacks a value.
    """
    shown = [f"{one.label} {_text(over_seeds([_number(_get(one.name), seed, result) for seed in result.seeds]), one)}"
             for one in claim.shown]
    decided = [f"{contrast.text}: {_text(interval, contrast, signed=True)}" + _bound(contrast)
               for contrast, interval in zip(claim.contrasts, contrasts(claim, result), strict=True)]
    count = len(result.seeds)
    return "; ".join(shown), "; ".join(decided) + f". {count} seed{'s' if count > 1 else ''}"


def _get(name: str) -> Callable[[Values], float]:
    return lambda values: values[name]


def _bound(contrast: Contrast) -> str:
    """Where a bound is not 0 it is named."""
    return f", needed above {contrast.scale * contrast.least:+.3g}" if contrast.least else ""


def _text(interval: Interval, how: Shown | Contrast, signed: bool = False) -> str:
    """"+71.2 points (68.9 to 73.5)"."""
    mean, low, high = (how.scale * value for value in (interval.mean, interval.low, interval.high))
    largest = max(abs(value) for value in (mean, low, high) if math.isfinite(value))
    form = ".1f" if largest >= 10 or how.scale == 100.0 else ".2f"
    sign = "+" if signed else ""
    between = f" ({low:{sign}{form}} to {high:{sign}{form}})" if interval.seeds > 1 else ""
    return f"{mean:{sign}{form}}{how.unit}{between}"


def in_page(page: str, made: str) -> str:
    """A page with the table put in the place of the one between the markers, or at its end.

    Raises:
      DataError: only one of the markers is there.
    """
    if (BEGIN in page) != (END in page):
        raise DataError("RESULTS.md has one of the two markers of the claims' table; put the other back.")
    if BEGIN not in page:
        return page.rstrip("\n") + "\n\n" + made
    before, _, rest = page.partition(BEGIN)
    return before + made.rstrip("\n") + rest.partition(END)[2]
