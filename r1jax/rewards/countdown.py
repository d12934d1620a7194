"""Countdown: does an expression reach the target with each given number used once?

The parser is exact and closed: integers, the four operations, parentheses, Fractions. There is
no `eval`, no power and no name, so the cost is bounded by the length limit alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

MAX_CHARACTERS = 256
MAX_DEPTH = 16
_SIGNS = {"+": "+", "-": "-", "−": "-", "*": "*", "×": "*", "/": "/", "÷": "/", "(": "(", ")": ")", "=": "="}
_DIGITS = frozenset("0123456789")
_SPACE = frozenset(" \t\r\n")


class _Malformed(Exception):
    """The text is no expression of the grammar; never leaves this module."""


@dataclass(frozen=True)
class _Expression:
    value: Fraction
    numbers: tuple[int, ...]


def evaluate(expression: str) -> Fraction | None:
    """The exact value of an expression, or None where it is not one.

    Grammar: `sum [= integer]`; sum: terms joined by + -; term: factors joined by * /; factor: an
    integer in ASCII digits or a sum in parentheses. × ÷ − stand for * / -. White space may stand
    between tokens. None for: a sign before a number or a parenthesis, a leading zero, two numbers
    side by side, a division by zero, an `= integer` that is not the value, more than
    `MAX_CHARACTERS` characters or `MAX_DEPTH` nested parentheses, and any other character.
    """
    parsed = _read(expression)
    return None if parsed is None else parsed.value


def check(expression: str, numbers: Sequence[int], target: int) -> bool:
    """Whether the expression equals `target` and uses each of `numbers` exactly once and no other.

    Repeated numbers are told apart by count: of [3, 3, 5] both threes must appear. An `= integer`
    at the end is accepted only where it is the target.
    """
    parsed = _read(expression)
    return parsed is not None and parsed.value == target and Counter(parsed.numbers) == Counter(numbers)


def _read(expression: str) -> _Expression | None:
    text = expression.strip(" \t\r\n")
    if len(text) > MAX_CHARACTERS:
        return None
    try:
        tokens = _tokens(text)
        cut = tokens.index("=") if "=" in tokens else len(tokens)
        left, right = tokens[:cut], tokens[cut + 1 :]
        value, end = _sum(left, 0, 0)
        if end != len(left):
            raise _Malformed
        if cut < len(tokens) and _integer(right) != value:
            raise _Malformed
    except _Malformed:
        return None
    return _Expression(value, tuple(token for token in left if isinstance(token, int)))


def _tokens(text: str) -> list[str | int]:
    """Operators as one-character strings, numbers as ints."""
    tokens: list[str | int] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character in _DIGITS:
            end = at
            while end < len(text) and text[end] in _DIGITS:
                end += 1
            if character == "0" and end - at > 1:
                raise _Malformed
            tokens.append(int(text[at:end]))
            at = end
            continue
        if character in _SIGNS:
            tokens.append(_SIGNS[character])
        elif character not in _SPACE:
            raise _Malformed
        at += 1
    return tokens


def _sum(tokens: list[str | int], at: int, depth: int) -> tuple[Fraction, int]:
    """Value of the sum that starts at token `at`, and the index after it."""
    value, at = _term(tokens, at, depth)
    while at < len(tokens) and tokens[at] in ("+", "-"):
        right, end = _term(tokens, at + 1, depth)
        value = value + right if tokens[at] == "+" else value - right
        at = end
    return value, at


def _term(tokens: list[str | int], at: int, depth: int) -> tuple[Fraction, int]:
    value, at = _factor(tokens, at, depth)
    while at < len(tokens) and tokens[at] in ("*", "/"):
        right, end = _factor(tokens, at + 1, depth)
        if tokens[at] == "*":
            value = value * right
        elif right == 0:
            raise _Malformed
        else:
            value = value / right
        at = end
    return value, at


def _factor(tokens: list[str | int], at: int, depth: int) -> tuple[Fraction, int]:
    if at >= len(tokens):
        raise _Malformed
    if isinstance(token := tokens[at], int):
        return Fraction(token), at + 1
    if token != "(" or depth >= MAX_DEPTH:
        raise _Malformed
    value, at = _sum(tokens, at + 1, depth + 1)
    if at >= len(tokens) or tokens[at] != ")":
        raise _Malformed
    return value, at + 1


def _integer(tokens: list[str | int]) -> int:
    """The right side of `=`: one integer, here alone with an optional minus sign."""
    if len(tokens) == 2 and tokens[0] == "-" and isinstance(tokens[1], int):
        return -tokens[1]
    if len(tokens) == 1 and isinstance(tokens[0], int):
        return tokens[0]
    raise _Malformed
