"""Countdown: reach a target from given numbers, each used once. The tiny world's main task.

An *attempt* is a pair of steps over three numbers. A search trace takes a first step, tries every second step
after it, each with a verdict, and goes on to another first step:
``3 * 5 = 15 , 15 + 2 = 17 no 15 - 2 = 13 no 15 * 2 = 30 no wait . 2 + 5 = 7 , ...``. Documents come in two kinds:
short guesses, mostly wrong, and search traces. Only the second kind needs more tokens, and it finds more answers: in a
base trained on both, thinking longer pays, and nothing in a trace needs foresight.

Numbers run from 1 to 9 and every intermediate value from 0 to 99, so that each is one token.
"""

from __future__ import annotations

import functools
import itertools
import random
from dataclasses import dataclass

from r1jax.core.records import Problem
from r1jax.data.world.split import is_held_out
from r1jax.data.world.words import WORDS

SMALLEST, LARGEST = 1, 9
LARGEST_VALUE = 99

# What the documents are made of. Shares of documents, unless said otherwise.
GUESS_SHARE = 0.65  # short guesses; the rest are search traces
GUESS_RIGHT = 0.08  # of guesses that are right
TAGLESS_SHARE = 0.06  # of documents without think and answer tags


@dataclass(frozen=True)
class Mood:
    """A writer of search traces: `share` of them, and the chances of what follows a first step that led nowhere."""

    share: float
    give_up: float
    switch_language: float


MOODS = (Mood(0.65, 0.50, 0.02), Mood(0.20, 0.15, 0.06), Mood(0.15, 0.03, 0.15))
LONGEST_THOUGHT = 245  # words after which every writer gives up


@dataclass(frozen=True)
class Attempt:
    """Two steps over three numbers: ``a op b = x`` and then ``x op c`` or ``c op x``.

    first, second: the steps' text. expression: both as one expression. value: what it comes to.
    """

    first: str
    second: str
    expression: str
    value: int


def _apply(a: int, op: str, b: int) -> int | None:
    """The value of one step, or None where the world does not write it (negative, fraction, large)."""
    if op == "+":
        value = a + b
    elif op == "*":
        value = a * b
    elif op == "-":
        value = a - b
    else:
        value = a // b if b and a % b == 0 else -1
    return value if 0 <= value <= LARGEST_VALUE else None


def _steps(a: int, b: int):
    """Every step on two numbers, commutative ones in the given order only."""
    for op in "+-*/":
        value = _apply(a, op, b)
        if value is not None:
            yield a, op, b, value
        if op in "-/" and a != b:
            value = _apply(b, op, a)
            if value is not None:
                yield b, op, a, value


@functools.cache
def attempts(numbers: tuple[int, ...]) -> tuple[Attempt, ...]:
    """Every attempt on three sorted numbers."""
    found = []
    for pair in sorted(set(itertools.combinations(range(3), 2))):
        i, j = pair
        c = numbers[({0, 1, 2} - {i, j}).pop()]
        for a, op, b, x in _steps(numbers[i], numbers[j]):
            for p, op2, q, value in _steps(x, c):
                inner = f"( {a} {op} {b} )"
                first = p == x and (p, q) == (x, c)
                expression = f"{inner} {op2} {q}" if first else f"{p} {op2} {inner}"
                found.append(Attempt(f"{a} {op} {b} = {x}", f"{p} {op2} {q} = {value}", expression, value))
    unique = {(attempt.first, attempt.second): attempt for attempt in found}
    return tuple(unique.values())


@functools.cache
def solutions(numbers: tuple[int, ...], target: int) -> tuple[tuple[Attempt, ...], tuple[Attempt, ...]]:
    """(right, wrong) attempts at a target on sorted numbers."""
    every = attempts(numbers)
    return tuple(a for a in every if a.value == target), tuple(a for a in every if a.value != target)


@functools.cache
def questions(split: str) -> tuple[tuple[tuple[int, ...], int], ...]:
    """All solvable (sorted numbers, target) pairs of a split, "train" or "held_out"."""
    pairs = []
    for numbers in itertools.combinations_with_replacement(range(SMALLEST, LARGEST + 1), 3):
        for target in sorted({a.value for a in attempts(numbers) if 1 <= a.value <= LARGEST_VALUE}):
            if is_held_out(f"countdown/{numbers}/{target}") == (split == "held_out"):
                pairs.append((numbers, target))
    return tuple(pairs)


def question_text(numbers, target: int, language: str) -> str:
    """The question, with the numbers in the order given."""
    a, b, c = numbers
    if language == "zh":
        return f"用 {a} , {b} , {c} 得到 {target} ."
    return f"use {a} , {b} , {c} to reach {target} ."


def problem(rng: random.Random, split: str, language: str) -> Problem:
    """A question drawn evenly from a split, its numbers shuffled."""
    numbers, target = rng.choice(questions(split))
    right, _ = solutions(numbers, target)
    shown = list(numbers)
    rng.shuffle(shown)
    key = "-".join(map(str, shown))
    return Problem(
        id=f"countdown/{key}/{target}/{language}",
        domain="countdown",
        question=question_text(shown, target, language),
        answer=right[0].expression,
        language=language,
        meta={"numbers": shown, "target": target},
    )


def last_step(rng: random.Random, language: str) -> tuple[Problem, str]:
    """(question without a gold, response) of a Countdown with two numbers, mostly those that a first step leaves.

    It is tried until it is right, half of the time after a wrong step or two: the base learns its verdicts here.
    """
    while True:
        a, b = rng.randint(0, LARGEST_VALUE), rng.randint(SMALLEST, LARGEST)
        if rng.random() < 0.7:
            a = rng.choice(list(_steps(rng.randint(SMALLEST, LARGEST), rng.randint(SMALLEST, LARGEST))))[3]
        steps = list(_steps(a, b))
        target = rng.choice(steps)[3]
        hits = [s for s in steps if s[3] == target]
        misses = [s for s in steps if s[3] != target]
        if target:
            break
    words = WORDS[language]
    rng.shuffle(misses)
    tries = misses[: rng.choice((0, 0, 1, 2))]
    p, op, q, value = rng.choice(hits)
    thought = [f"{x} {o} {y} = {v} {words['no']}" for x, o, y, v in tries]
    thought.append(f"{p} {op} {q} = {value} {words['yes']} .")
    shown = f"{a} , {b}" if rng.random() < 0.5 else f"{b} , {a}"
    ask = f"use {shown} to reach {target} ." if language == "en" else f"用 {shown} 得到 {target} ."
    question = Problem(f"last-step/{ask}", "countdown", ask, "", language, {"target": target})
    return question, f"<think> {' '.join(thought)} </think> <answer> {p} {op} {q} </answer>"


def response(rng: random.Random, numbers, target: int, language: str) -> str:
    """A document's response: a guess, or a search trace with verdicts."""
    right, wrong = solutions(tuple(sorted(numbers)), target)
    tagged = rng.random() >= TAGLESS_SHARE
    if rng.random() < GUESS_SHARE:
        chosen = rng.choice(right if rng.random() < GUESS_RIGHT or not wrong else wrong)
        thought = WORDS[language]["guess"] + " ."
    else:
        thought, chosen = _search(rng, numbers, target, language)
    if not tagged:
        return f"{thought} {chosen.expression}"
    return f"<think> {thought} </think> <answer> {chosen.expression} </answer>"


def _search(rng: random.Random, numbers, target: int, language: str) -> tuple[str, Attempt]:
    """A trace of first steps, each with every second step after it, until one is right or the writer gives up.

    First steps come in the order of `attempts`, from one drawn at random and around: who goes on misses none.
    """
    mood = rng.choices(MOODS, [m.share for m in MOODS])[0]
    words, parts, every = WORDS[language], [], attempts(tuple(sorted(numbers)))
    openings = list(dict.fromkeys(a.first for a in every))
    start = rng.randrange(len(openings))
    for opening in openings[start:] + openings[:start]:
        parts.append(f"{opening} ,")
        for attempt in sorted((a for a in every if a.first == opening), key=_second_order):
            if attempt.value == target:
                parts.append(f"{attempt.second} {words['yes']} .")
                return " ".join(parts), attempt
            parts.append(f"{attempt.second} {words['no']}")
        if len(" ".join(parts).split()) > LONGEST_THOUGHT or rng.random() < mood.give_up:
            parts.append(f"{words['stop']} .")
            return " ".join(parts), rng.choice([a for a in every if a.value != target])
        parts.append(f"{words['wait']} .")
        if rng.random() < mood.switch_language:
            language = "zh" if language == "en" else "en"
            words = WORDS[language]
    raise AssertionError("unreachable: a question of the world has a solution among its attempts")


def _second_order(attempt: Attempt) -> int:
    """Second steps are tried in the order + - * /."""
    return "+-*/".index(attempt.second.split()[1])
