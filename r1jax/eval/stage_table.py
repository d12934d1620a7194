"""The stage table in miniature: every artifact of the recipe on every domain of the tiny world, as numbers.

DeepSeek-R1's own is table 3 of arXiv 2501.12948v2. What is here is pure: responses in, figures out; who samples them,
and who judges, is stages/stage_table.py.

The base and R1-Zero write `<think> thought </think> <answer> answer </answer>`, later stages
`<think> thought </think> summary`. So that both are read fairly:

- Rules read either form: the answer tags where there are any, else the box (rewards/accuracy.py).
- What a reader is shown (`shown`) is the content of the answer tags where there are any, else the summary; a judge, the
  world's truth and the reward models get this, never the tags (`in_one_form`); for the truth a box is what is in it.
- Readability takes the form that fits the response: R1-Zero's if it keeps that one, else R1's.
- A response that shows nothing (a thought that never ends, broken tags) has quality 0, and is neither a refusal nor
  safe, since it declines nothing.

A figure is a mean over questions of each question's mean over samples, with a 95 % interval over questions: of shares
`intervals.score_interval`, of lengths and counts Student's.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from etils import epath

from r1jax.core.errors import DataError
from r1jax.core.records import Problem
from r1jax.core.settings import FilterConfig
from r1jax.core.tags import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE
from r1jax.data.world import general
from r1jax.eval.intervals import score_interval, student_quantile
from r1jax.rewards import format as response_form
from r1jax.rewards import language, readability

REASONING = ("countdown", "arithmetic", "logic", "stem", "code")
"""Domains with a rule."""
OPEN, GENERAL = "open", "general"
STAGES = ("base", "r1-zero", "dev1", "dev2", "dev3", "r1")
"""In the order of the paper's table."""
ARTIFACTS = (*STAGES, "chat", "student-qwen", "zero-qwen", "distill-qwen", "student-llama", "zero-llama",
             "distill-llama")
ABLATIONS = ("dev2-no-language", "dev2-small-clip", "dev3-no-judge", "dev3-no-filters", "reward-hacking",
             "distill-qwen-rl")
"""Variants of the recipe's own that the claims are measured on."""
FILTERS = FilterConfig()
_BOX = re.compile(r"\\boxed\s*\{([^{}]*)\}")

# figure -> what it is called, and what it is multiplied with to be shown
MEASURES: Mapping[str, tuple[str, float]] = {
    "countdown/pass@1": ("Countdown", 100.0),
    "arithmetic/pass@1": ("arithmetic", 100.0),
    "logic/pass@1": ("logic", 100.0),
    "stem/pass@1": ("facts with options", 100.0),
    "code/pass@1": ("programs", 100.0),
    "reasoning": ("reasoning, mean of the five", 100.0),
    "open/judged": ("open, right by the judge", 100.0),
    "open/agrees": ("open, right in truth", 100.0),
    "general/quality": ("general, quality in truth", 100.0),
    "general/win_rate": ("general, win rate by the judge", 100.0),
    "general/helpful-rm": ("general, helpful-rm", 100.0),
    "safety/safe": ("harmful requests declined", 100.0),
    "general/safety-rm": ("harmful requests, safety-rm", 100.0),
    "safety/over_refusal": ("harmless requests declined", 100.0),
    "countdown/readable": ("readable", 100.0),
    "countdown/consistency": ("language consistency", 100.0),
    "countdown/mixed": ("mixed languages", 100.0),
    "countdown/length": ("tokens, Countdown", 1.0),
    "general/length": ("tokens, general", 1.0),
}


@dataclass(frozen=True)
class Figure:
    """A mean over questions with its 95 % interval."""

    value: float
    low: float
    high: float
    questions: int


@dataclass(frozen=True)
class Row:
    """One artifact.

    Attributes:
      identity: what tells its weights from any other's. figures: name -> figure; what was not measured is absent.
      faults: fault of a reasoning response -> share of all of them, those without one under "".
    """

    name: str
    version: str
    identity: Mapping[str, Any]
    figures: Mapping[str, Figure]
    faults: Mapping[str, float] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class StageTable:
    """Rows of one version of the graph.

    Attributes:
      settings: what was asked how, and by whom judged. rows: in the order of ARTIFACTS, then of ABLATIONS.
      notes: what is absent, and why.
    """

    version: str
    settings: Mapping[str, Any]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def row(self, name: str) -> Row | None:
        """The first row of an artifact's name; None where there is none."""
        return next((row for row in self.rows if row.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def from_dict(found: Mapping[str, Any]) -> StageTable:
    """The table of `StageTable.to_dict`."""
    rows = tuple(Row(row["name"], row["version"], row["identity"],
                     {name: Figure(**figure) for name, figure in row["figures"].items()}, row["faults"])
                 for row in found["rows"])
    return StageTable(found["version"], found["settings"], rows, tuple(found["notes"]))


def load(path: str | os.PathLike[str]) -> StageTable:
    """The table in a file.

    Raises:
      DataError: it is not there, or is none.
    """
    file = epath.Path(path)
    if not file.exists():
        raise DataError(f"There is no stage table {file}: make it with r1jax stage-table.")
    try:
        return from_dict(json.loads(file.read_bytes()))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is no stage table ({error!r}): delete it and run r1jax stage-table again.") from error


# How a response is read.


def shown(text: str) -> str | None:
    """What a reader sees of a response as its answer, or None; see the module."""
    summary = response_form.summary_of(text)
    if summary is not None and (ANSWER_OPEN in summary or ANSWER_CLOSE in summary):
        return response_form.answer_of(text)
    return summary


def in_one_form(text: str) -> str:
    """A response with what it shows as its summary: R1's form, whatever form it was in. One that shows nothing stays.

    A judge and reward models know no answer tags.
    """
    said = shown(text)
    if said is None:
        return text
    thought, close, _ = text.partition(THINK_CLOSE)
    return f"{thought}{close} {said}" if close else said


def told(text: str) -> str:
    """What is shown, as it is measured: a box is what stands in it, and nothing shown is ""."""
    return _BOX.sub(r" \1 ", shown(text) or "").strip()


def final(text: str) -> str | None:
    """The answer to an open question: the box of what is shown where there is one, else all of it."""
    boxed = response_form.final_answer(text)
    return shown(text) if boxed is None else boxed


def fault(problem: Problem, text: str) -> str:
    """What makes a response hard to read in the form that fits it, or ""; `readability.fault` at default filters."""
    form = "answer" if response_form.think_answer(text) else "summary"
    return readability.fault(problem.language, text, FILTERS, form=form, question=problem.question)


# Figures.


def share(values: Iterable[Sequence[float]], samples: int | None = None) -> Figure:
    """Of rows of values in [0, 1], one a question."""
    means = np.asarray([float(np.mean(row)) for row in values])
    low, high = score_interval(means, samples=samples)
    return Figure(float(means.mean()), low, high, len(means))


def number(values: Iterable[Sequence[float]]) -> Figure:
    """Of rows of any values, one a question; Student's interval."""
    means = np.asarray([float(np.mean(row)) for row in values])
    mean, count = float(means.mean()), len(means)
    if count < 2:
        return Figure(mean, mean, mean, count)
    reach = student_quantile(0.975, count - 1) * float(means.std(ddof=1)) / math.sqrt(count)
    return Figure(mean, mean - reach, mean + reach, count)


def average(parts: Sequence[Figure]) -> Figure:
    """The mean of independent figures, each with the same weight.

    Its interval recovers the parts' variances from their own (MOVER: Zou and Donner, "Construction of confidence limits
    about effect measures", Statistics in Medicine 2008).
    """
    mean = sum(part.value for part in parts) / len(parts)
    below, above = (math.sqrt(sum(reach**2 for reach in reaches)) / len(parts) for reaches in (
        [part.value - part.low for part in parts], [part.high - part.value for part in parts]))
    return Figure(mean, mean - below, mean + above, sum(part.questions for part in parts))


Samples = Sequence[tuple[Problem, Sequence[Mapping[str, Any]]]]
"""Questions, each with its samples as rows of an evaluation (eval/results.py)."""


def reasoning_figures(domain: str, samples: Samples) -> tuple[dict[str, Figure], Counter[str]]:
    """Accuracy, readability and length on a domain with a rule; and how many responses have which fault."""
    per = len(samples[0][1])
    graded = [[float(row["correct"]) for row in rows if row["correct"] is not None] for _, rows in samples]
    faults = [[fault(problem, row["text"]) for row in rows] for problem, rows in samples]

    def over(measure) -> list[list[float]]:
        return [[float(measure(problem, row)) for row in rows] for problem, rows in samples]

    found = {
        "readable": share([[float(not name) for name in names] for names in faults], per),
        "consistency": share(over(_consistency), per),
        "mixed": share(over(lambda _, row: language.mixed(row["text"])), per),
        "truncated": share(over(lambda _, row: row["truncated"]), per),
        "length": number(over(lambda _, row: row["length"])),
        "reflection": number(over(lambda _, row: language.reflection_count(row["text"]))),
    }
    if any(graded):
        found["pass@1"] = share([row for row in graded if row], per)
    return {f"{domain}/{name}": figure for name, figure in found.items()}, Counter(sum(faults, []))


def _consistency(problem: Problem, row: Mapping[str, Any]) -> float:
    return readability.measures(problem.language, row["text"], question=problem.question)["language_consistency"]


def open_figures(samples: Samples, judged: Sequence[Sequence[bool | None]] | None) -> dict[str, Figure]:
    """Open questions: right in truth, and by a judge; verdicts that the judge did not give readably are left out."""
    per = len(samples[0][1])
    found = {"open/agrees": share([[float(general.agrees(problem, final(row["text"]) or "")) for row in rows]
                                   for problem, rows in samples], per),
             "open/length": number([[row["length"] for row in rows] for _, rows in samples])}
    read = [[float(said) for said in row if said is not None] for row in judged or ()]
    if any(read):
        found["open/judged"] = share([row for row in read if row], per)
    return found


def general_figures(samples: Samples) -> dict[str, Figure]:
    """General questions by the world's truth: quality of helpful ones and of each kind, safety, over-refusal."""
    per = len(samples[0][1])
    texts = [(problem, [told(row["text"]) for row in rows]) for problem, rows in samples]
    quality = {problem.id: [general.quality(problem, text) for text in said] for problem, said in texts}
    kinds = {kind: [problem.id for problem, _ in texts if problem.meta["kind"] == kind] for kind in general.KINDS}
    helpful = [problem.id for problem, _ in texts if problem.meta["set"] == general.HELPFUL]
    found = {f"general/quality/{kind}": share([quality[name] for name in names], per)
             for kind, names in kinds.items() if names}
    if helpful:
        found["general/quality"] = share([quality[name] for name in helpful], per)
    for name, kind, holds in (("safety/safe", "decline", lambda problem, text: general.safe(problem, text)),
                              ("safety/over_refusal", "how", lambda problem, text: general.refuses(text))):
        rows = [[float(holds(problem, text)) for text in said] for problem, said in texts
                if problem.meta["kind"] == kind]
        if rows:
            found[name] = share(rows, per)
    return found | {"general/length": number([[row["length"] for row in rows] for _, rows in samples])}


# As text.


def cell(figure: Figure | None, scale: float) -> str:
    """A figure and half of its interval's width: "92.9 ±3"."""
    if figure is None:
        return "–"
    half = scale * (figure.high - figure.low) / 2
    return f"{scale * figure.value:.1f} ±{half:.0f}"


def measured(table: StageTable) -> list[str]:
    """The measures of MEASURES that any row has, in order."""
    return [name for name in MEASURES if any(name in row.figures for row in table.rows)]


def blocks(table: StageTable) -> list[tuple[str, tuple[Row, ...]]]:
    """(title, rows): the recipe's own under "", then the ablations; none is empty."""
    parts = {"": tuple(row for row in table.rows if row.name not in ABLATIONS),
             "ablations": tuple(row for row in table.rows if row.name in ABLATIONS)}
    return [(title, rows) for title, rows in parts.items() if rows]


def text(table: StageTable) -> str:
    """The table for a terminal: measures down, artifacts across, in percent (tokens as they are)."""
    return "\n\n".join(_block(title, rows, measured(table)) for title, rows in blocks(table))


def _block(title: str, rows: Sequence[Row], names: Sequence[str]) -> str:
    head = [title, *(row.name for row in rows)]
    lines = [[MEASURES[name][0], *(cell(row.figures.get(name), MEASURES[name][1]) for row in rows)] for name in names]
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    return "\n".join("  ".join(part.ljust(width) if i == 0 else part.rjust(width)
                               for i, (part, width) in enumerate(zip(line, widths, strict=True))).rstrip()
                     for line in [head, *lines])
