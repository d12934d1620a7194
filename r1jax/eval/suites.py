"""Suites: named sets of questions with the paper's way of asking and sampling them.

Prompts are those of DeepSeek-R1's appendix J (arXiv 2501.12948v2) in substance: a directive to box the answer for
mathematics, the last line "Answer: LETTER" for multiple choice, a fenced Python program for code. Sampling: temperature
0.6, top-p 0.95, 32,768 tokens, 64 samples for AIME and GPQA, 16 for MATH, 8 for LiveCodeBench (appendix D.1). For sets
that the paper does not sample several times, k is ours. Suites of the tiny world are sampled as they are trained.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from r1jax.core.errors import ConfigError
from r1jax.core.records import Problem
from r1jax.rewards.choice import LETTERS

PAPER_TOKENS = 32_768


def ask_plain(problem: Problem) -> str:
    """The question alone."""
    return problem.question


def ask_boxed(problem: Problem) -> str:
    """Mathematics: table 32 of the appendix."""
    return f"{problem.question} Please reason step by step, and put your final answer within \\boxed{{}}."


def ask_letter(problem: Problem, word: str = "Answer") -> str:
    """Multiple choice: the directive of simple-evals, as in table 18 of the appendix (MMLU)."""
    letters = LETTERS[:len(problem.meta.get("options", ())) or 4]
    return ("Answer the following multiple choice question. The last line of your response should be of the following "
            f"format: '{word}: $LETTER' (without quotes) where LETTER is one of {letters}. Think step by step before "
            f"answering.\n\n{problem.question}")


def ask_capitals(problem: Problem) -> str:
    """GPQA: the same with ANSWER in capitals, table 29."""
    return ask_letter(problem, "ANSWER")


def ask_program(problem: Problem) -> str:
    """Code: table 20 of the appendix; a question about a function asks for that function."""
    function = problem.meta.get("function")
    if function is None:
        return (f"{problem.question}\n\nPlease write a python code to solve the above problem. Your code must read the "
                "inputs from stdin and output the results to stdout.")
    return (f"{problem.question}\n\nPlease write a python code to solve the above problem. Your code must define "
            f"{function}, which takes the inputs as arguments and returns the result.")


@dataclass(frozen=True)
class Suite:
    """One suite.

    Attributes:
      source: a named set of data/sources.py, or "world" for the tiny world's domain of the suite's name.
      samples: k. max_new_tokens: None takes the budget of the model's own training.
      own_file: whether a file of questions without checkable answers may take the source's place.
    """

    name: str
    title: str
    source: str
    ask: Callable[[Problem], str]
    samples: int
    temperature: float = 0.6
    top_p: float = 0.95
    max_new_tokens: int | None = PAPER_TOKENS
    own_file: bool = False


def _tiny(domain: str, title: str) -> Suite:
    return Suite(domain, title, "world", ask_plain, samples=16, temperature=1.0, top_p=1.0, max_new_tokens=None)


SUITES: Mapping[str, Suite] = MappingProxyType({suite.name: suite for suite in (
    Suite("aime_2024", "AIME 2024", "aime_2024", ask_boxed, samples=64),
    Suite("aime_2025", "AIME 2025", "aime_2025", ask_boxed, samples=64),
    Suite("math_500", "MATH-500", "math_500", ask_boxed, samples=16),
    Suite("gpqa_diamond", "GPQA Diamond", "gpqa_diamond", ask_capitals, samples=64),
    Suite("livecodebench", "LiveCodeBench", "livecodebench", ask_program, samples=8),
    Suite("gsm8k", "GSM8K", "gsm8k:test", ask_boxed, samples=4),
    Suite("mmlu_pro", "MMLU-Pro", "mmlu_pro", ask_letter, samples=1),
    _tiny("countdown", "Countdown"), _tiny("arithmetic", "Chain arithmetic"), _tiny("logic", "Logic"),
    _tiny("stem", "Facts with options"), _tiny("code", "One-line programs"),
    _tiny("open", "Questions with a reference"),
    Suite("general", "General questions", "world", ask_plain, samples=1, max_new_tokens=None, own_file=True),
)})


def parse(text: str) -> list[tuple[Suite, str]]:
    """(suite, source) rows of a command line's list, "aime_2024,gsm8k=FILE": a file stands in for the public set.

    NAME:PART is a part of the set, such as livecodebench:2024-08..2025-01 (its default window).

    Raises:
      ConfigError: an unknown or repeated suite, or an empty list; the sentence names those there are.
    """
    rows: dict[str, tuple[Suite, str]] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        head, equals, path = part.partition("=")
        name, _, wanted = head.partition(":")
        if name not in SUITES:
            near = difflib.get_close_matches(name, SUITES, 1)
            hint = f" did you mean {near[0]}?" if near else ""
            raise ConfigError(f"The suite {name!r} is unknown;{hint} the suites are {', '.join(SUITES)}.")
        if name in rows:
            raise ConfigError(f"The suite {name!r} is listed twice.")
        suite = SUITES[name]
        if suite.source == "world" and (wanted or equals and not suite.own_file):
            raise ConfigError(f"The suite {name!r} is drawn, not read: leave out {wanted or path!r}.")
        source = f"{suite.source.partition(':')[0]}:{wanted}" if wanted else suite.source
        read = path if suite.own_file else f"{source}={path}"
        rows[name] = (suite, read if equals else source)
    if not rows:
        raise ConfigError(f"Name at least one suite; the suites are {', '.join(SUITES)}.")
    return list(rows.values())


def asked(suite: Suite, problem: Problem, template: str = "") -> Problem:
    """The problem with its question as the suite puts it; a template that asks for the box is not asked twice."""
    if template == "math" and suite.ask is ask_boxed:
        return problem
    return replace(problem, question=suite.ask(problem))
