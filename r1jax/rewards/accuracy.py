"""Is the final answer right? One verdict a completion, by its problem's domain.

countdown: an expression of the given numbers, tagged or boxed, that has the target's value. stem: an option's letter.
logic: an option's letter, a number, or the puzzle's own check. arithmetic: an exact number. math: math-verify in
processes that can be killed. code: the problem's tests in a sandbox. Truncated completions are graded like others:
without a closed answer they are wrong. DeepSeek-R1 (arXiv 2501.12948v2, section 2.2) names these rules.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from numbers import Integral
from types import MappingProxyType

from r1jax.core.records import (
    NO_ANSWER,
    RIGHT,
    UNREADABLE_ANSWER,
    UNREADABLE_GOLD,
    WRONG,
    Completion,
    Problem,
    Verdict,
)
from r1jax.rewards import choice, code, countdown, math_answer, number, puzzle
from r1jax.rewards import format as response_form

NO_RULE = "no rule"
WITHOUT_RULE = frozenset(("general", "open"))
"""Domains whose questions no rule can grade: general requests, and questions that have a reference for a judge."""

Rows = Sequence[tuple[Problem, str]]
"""Problems with the whole responses to them."""


def verdicts(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Verdict]:
    """A verdict for each completion, in order; a domain without a rule gives Verdict(None, NO_RULE)."""
    found: list[Verdict | None] = [None] * len(completions)
    by_domain: dict[str, list[int]] = {}
    for i, problem in enumerate(problems):
        by_domain.setdefault(problem.domain, []).append(i)
    for domain, members in by_domain.items():
        grade = GRADERS.get(domain, _no_rule)
        graded = grade([(problems[i], completions[i].full_text) for i in members])
        for i, verdict in zip(members, graded, strict=True):
            found[i] = verdict
    return found


def answer(problem: Problem, text: str) -> str | None:
    """The final answer that a response is graded by, as text; None where it has none."""
    if problem.domain == "code":
        return code.extract(text)
    return _option(problem, text) if problem.domain == "stem" else response_form.final_answer(text)


def classes(problem: Problem, completions: Sequence[Completion]) -> list[int | None]:
    """For a majority vote: equal numbers for equivalent answers of one problem's samples, None for no vote.

    Answers are equivalent as they are graded: expressions by their value, mathematics by math-verify. Programs do not
    vote: two right programs are seldom the same text.
    """
    if problem.domain == "math":
        return math_answer.groups([completion.full_text for completion in completions], whole=True)
    answers = [answer(problem, completion.full_text) for completion in completions]
    keys = [None if a is None or problem.domain == "code" else _key(problem, a) for a in answers]
    numbers = {key: n for n, key in enumerate(dict.fromkeys(key for key in keys if key is not None))}
    return [None if key is None else numbers[key] for key in keys]


def _key(problem: Problem, text: str) -> Hashable | None:
    if problem.domain == "countdown":
        return countdown.evaluate(text)
    value = number.parse(text)
    if problem.domain == "arithmetic":
        return text.strip() if value is None else value
    letter = choice.parse(text, problem.meta.get("options"))
    return letter if letter is not None else text.strip() if value is None else value


def _each(grade: Callable[[Problem, str], Verdict]) -> Callable[[Rows], list[Verdict]]:
    return lambda rows: [grade(problem, text) for problem, text in rows]


def _no_rule(rows: Rows) -> list[Verdict]:
    return [Verdict(None, NO_RULE, f"there is no rule for the domain {problem.domain!r}") for problem, _ in rows]


def _countdown(problem: Problem, text: str) -> Verdict:
    numbers, target = problem.meta.get("numbers"), problem.meta.get("target")
    if not isinstance(numbers, Sequence) or not numbers or not all(map(_is_integer, (*numbers, target))):
        return Verdict(None, UNREADABLE_GOLD, "the problem has no whole numbers and target")
    said = response_form.final_answer(text)
    if not said:
        return Verdict(False, NO_ANSWER)
    if countdown.check(said, numbers, target):
        return Verdict(True, RIGHT)
    value = countdown.evaluate(said)
    if value is None:
        return Verdict(False, UNREADABLE_ANSWER)
    return Verdict(False, WRONG, f"it is {value}" if value != target else "the numbers are not each used once")


def _is_integer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _stem(problem: Problem, text: str) -> Verdict:
    return choice.verdict(_option(problem, text) or "", problem.answer, problem.meta.get("options"))


def _option(problem: Problem, text: str) -> str | None:
    """The one final option: `choice.final_option`."""
    return choice.final_option(text, problem.meta.get("options"))


def _logic(problem: Problem, text: str) -> Verdict:
    said = response_form.final_answer(text) or ""
    if "task" in problem.meta:
        return puzzle.verdict(problem, said) if said else Verdict(False, NO_ANSWER)
    if choice.parse(problem.answer) is None:
        return number.verdict(said, problem.answer)
    return choice.verdict(said, problem.answer, problem.meta.get("options"))


def _arithmetic(problem: Problem, text: str) -> Verdict:
    return number.verdict(response_form.final_answer(text) or "", problem.answer)


def _math(rows: Rows) -> list[Verdict]:
    """Only what is tagged or boxed is an answer: a bare response has none."""
    return math_answer.verdicts([(text, problem.answer) for problem, text in rows], whole=True)


GRADERS: Mapping[str, Callable[[Rows], list[Verdict]]] = MappingProxyType({
    "countdown": _each(_countdown), "stem": _each(_stem), "logic": _each(_logic), "arithmetic": _each(_arithmetic),
    "math": _math, "code": code.verdicts,
})
"""Domain -> a grader of many responses at once."""
