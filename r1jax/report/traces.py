"""Which recorded responses to show: the aha moment, and the same held-out problems at several steps.

Every choice is a function of the records alone, so that a report written twice shows the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r1jax.core.tags import THINK_CLOSE
from r1jax.report.runs import Run
from r1jax.rewards.language import REFLECTION_WORDS, reflection_count

_EQUATION = re.compile(r"[-+*/()\d. ]{0,60}=\s{0,4}(-?\d{1,12}(?:\.\d{1,12})?)")
_REJECTED = re.compile(r"\b(?:no|not|wrong|incorrect|false)\b|不对|不是|错", re.IGNORECASE)
_SHOWN_STEPS = 4


def _word_pattern() -> re.Pattern[str]:
    """Any reflection word, found where `reflection_count` counts one: English words whole, Chinese ones anywhere."""
    english = "|".join(re.escape(word) for word in REFLECTION_WORDS if word.isascii())
    chinese = "|".join(re.escape(word) for word in REFLECTION_WORDS if not word.isascii())
    return re.compile(rf"(?<![^\W\u4e00-\u9fff])(?:{english})(?![^\W\u4e00-\u9fff])|{chinese}", re.IGNORECASE)


_REFLECTION = _word_pattern()


@dataclass(frozen=True)
class Aha:
    """A rollout in which reflection turned a wrong attempt into a right answer.

    spans: (start, end, kind) of the record's text in order, kind ``reflection``, ``failed`` or ``accepted``.
    """

    run: Run
    step: int
    record: Mapping[str, Any]
    spans: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True)
class Story:
    """One held-out problem at several steps.

    moments: (step, record shown, right responses, graded responses) in order of step.
    """

    kind: str
    problem: str
    moments: tuple[tuple[int, Mapping[str, Any], int, int], ...]


def verdict(record: Mapping[str, Any]) -> bool | None:
    """Whether a record's answer is right; None where accuracy was not scored."""
    accuracy = record.get("scores", {}).get("accuracy")
    return None if accuracy is None or accuracy != accuracy else accuracy >= 1


def thought_end(text: str) -> int:
    """Where the thought stops: at its closing tag, or at the end of a text without one."""
    end = text.find(THINK_CLOSE)
    return len(text) if end < 0 else end


def reflection_spans(text: str) -> tuple[tuple[int, int, str], ...]:
    """Spans of (start, end, "reflection") of the thought's reflection words."""
    return tuple((*match.span(), "reflection") for match in _REFLECTION.finditer(text, 0, thought_end(text)))


def corrected(record: Mapping[str, Any]) -> tuple[tuple[int, int, str], ...] | None:
    """Spans to highlight where a right answer follows reflection upon a failed attempt, else None.

    A failed attempt is, before the first reflection word, a result (``= 17``) other than the one that the
    thought ends with, or in thoughts without equations an attempt that is rejected in words.
    """
    text = record["text"]
    words = reflection_spans(text)
    if verdict(record) is not True or not words:
        return None
    first = words[0][0]
    before = list(_EQUATION.finditer(text, 0, first))
    if not before:
        return words if _REJECTED.search(text, 0, first) else None
    last = list(_EQUATION.finditer(text, 0, thought_end(text)))[-1]
    if last[1] == before[-1][1]:
        return None
    marked = [(before[-1], "failed"), (last, "accepted")]
    spans = [*words, *((_trimmed(match), match.end(), kind) for match, kind in marked)]
    return tuple(sorted(spans))


def _trimmed(match: re.Match[str]) -> int:
    """The start of an equation without the spaces and full stops that it was found with."""
    return match.start() + len(match[0]) - len(match[0].lstrip(" ."))


def aha_moment(run: Run) -> Aha | None:
    """The first kept training rollout that corrects itself; at its step, the one with the most reflection words."""
    for step in run.artifact.sample_steps("rollouts"):
        found = [(record, corrected(record)) for record in run.artifact.samples(step, "rollouts")]
        found = [(record, spans) for record, spans in found if spans]
        if found:
            record, spans = max(found, key=lambda pair: reflection_count(pair[0]["text"]))
            return Aha(run, step, record, spans)
    return None


def stories(run: Run) -> list[Story]:
    """Up to three held-out problems: one that was learned, one never solved, one solved throughout.

    Where a kind does not occur, its nearest is taken: the lowest or the highest mean over the steps.
    """
    steps = _spread(run.artifact.sample_steps("eval"))
    by_step = {step: _by_problem(run.artifact.samples(step, "eval")) for step in steps}
    shared = sorted(set.intersection(*(set(records) for records in by_step.values()))) if by_step else []
    rates = {problem: [_rate(by_step[step][problem]) for step in steps] for problem in shared}
    chosen: dict[str, str] = {}

    def take(kind: str, key: Callable[[str], Any], wanted: Callable[[list[float]], bool]) -> None:
        left = [problem for problem in shared if problem not in chosen.values() and wanted(rates[problem])]
        if left:
            chosen[kind] = min(left, key=lambda problem: (key(problem), problem))

    take("learned", lambda p: (rates[p][0], -rates[p][-1]), lambda rate: rate[-1] > rate[0])
    take("never solved", lambda p: sum(rates[p]), lambda rate: not any(rate))
    take("solved throughout", lambda p: -sum(rates[p]), lambda rate: min(rate) > 0)
    if "never solved" not in chosen:
        take("solved least", lambda p: sum(rates[p]), lambda rate: True)
    if "solved throughout" not in chosen:
        take("solved most", lambda p: -sum(rates[p]), lambda rate: True)
    return [_story(kind, problem, by_step) for kind, problem in chosen.items()]


def _story(kind: str, problem: str, by_step: Mapping[int, Mapping[str, Sequence[Mapping[str, Any]]]]) -> Story:
    moments = []
    for step, records in by_step.items():
        graded = [verdict(record) for record in records[problem] if verdict(record) is not None]
        right = sum(graded)
        usual = bool(graded) and 2 * right > len(graded)
        shown = next((r for r in records[problem] if verdict(r) is usual), records[problem][0])
        moments.append((step, shown, right, len(graded)))
    return Story(kind, problem, tuple(moments))


def _spread(steps: Sequence[int]) -> list[int]:
    """At most four of the steps, the first and the last among them, evenly spread."""
    if len(steps) <= _SHOWN_STEPS:
        return list(steps)
    last = len(steps) - 1
    return [steps[round(i * last / (_SHOWN_STEPS - 1))] for i in range(_SHOWN_STEPS)]


def _by_problem(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        found.setdefault(record["problem"], []).append(record)
    return found


def _rate(records: Sequence[Mapping[str, Any]]) -> float:
    graded = [verdict(record) for record in records if verdict(record) is not None]
    return sum(graded) / len(graded) if graded else 0.0
