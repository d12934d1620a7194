"""What a Countdown trace did: its attempts, their verdicts, its arithmetic. Read from the text alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from r1jax.data.world.words import WORDS

_YES = {words["yes"] for words in WORDS.values()}
_VERDICT = "|".join(re.escape(words[name]) for words in WORDS.values() for name in ("yes", "no"))
_ATTEMPT = re.compile(rf"= (\d+) ({_VERDICT})")
_STEP = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")


@dataclass(frozen=True)
class Trace:
    """Counts of one response.

    attempts: with a verdict. failed: of them, whose value is not the target. retried: failed ones
    followed by another. accepted_wrong, rejected_right: verdicts that are wrong. steps, steps_right:
    equations written, and those that hold.
    """

    attempts: int
    failed: int
    retried: int
    accepted_wrong: int
    rejected_right: int
    steps: int
    steps_right: int


def _holds(a: int, op: str, b: int, value: int) -> bool:
    if op == "/":
        return b != 0 and a == value * b
    return {"+": a + b, "-": a - b, "*": a * b}[op] == value


def read(text: str, target: int) -> Trace:
    """The counts of a response to a Countdown question. Numbers of more than 9 digits are not read."""
    found = [(int(value) == target, verdict in _YES) for value, verdict in _ATTEMPT.findall(text) if len(value) < 10]
    equations = [row for row in _STEP.findall(text) if max(map(len, (row[0], row[2], row[3]))) < 10]
    right = sum(_holds(int(a), op, int(b), int(value)) for a, op, b, value in equations)
    return Trace(
        attempts=len(found), failed=sum(not hit for hit, _ in found), retried=sum(not hit for hit, _ in found[:-1]),
        accepted_wrong=sum(not hit and yes for hit, yes in found),
        rejected_right=sum(hit and not yes for hit, yes in found),
        steps=len(equations), steps_right=right)


def summary(traces: Iterable[Trace]) -> Mapping[str, float]:
    """Means over responses and shares over attempts; a share of nothing is left out."""
    rows = list(traces)
    total = {name: sum(getattr(row, name) for row in rows) for name in Trace.__dataclass_fields__}
    out = {"attempts": total["attempts"] / max(len(rows), 1)}
    right = total["attempts"] - total["failed"]
    for name, part, whole in (("retry_after_failure", total["retried"], total["failed"]),
                              ("attempt_right", right, total["attempts"]),
                              ("wrong_accepted", total["accepted_wrong"], total["failed"]),
                              ("right_rejected", total["rejected_right"], right),
                              ("arithmetic", total["steps_right"], total["steps"])):
        if whole:
            out[name] = part / whole
    return out
