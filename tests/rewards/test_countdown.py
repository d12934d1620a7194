"""The Countdown grader: exact values by hand, every trick refused, no input that hangs."""

import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.rewards.countdown import MAX_CHARACTERS, MAX_DEPTH, check, evaluate


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("( 3 * 5 ) + 2", 17),
        ("3*5+2", 17),
        ("2 + 3 * 5", 17),
        ("( 2 + 3 ) * 5", 25),
        ("9 - 4 - 3", 2),
        ("9 - ( 4 - 3 )", 8),
        ("8 / 4 / 2", 1),
        ("8 / ( 4 / 2 )", 4),
        ("1 / 3", Fraction(1, 3)),
        ("8 / ( 3 - 8 / 3 )", 24),
        ("6 × 4 ÷ 3 − 1", 7),
        ("((7))", 7),
        ("0 * 5", 0),
        ("3 - 5", -2),
        ("\n3 *\t5 ", 15),
        ("3 * 5 = 15", 15),
        ("3 - 5 = -2", -2),
        ("3 - 5 = − 2", -2),
    ],
)
def test_values(expression, value):
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "",
        " ",
        "()",
        "3 +",
        "* 3",
        "( 3 * 5",
        "3 * 5 )",
        "3 5",
        "3 ( 5 )",
        "( 3 ) ( 5 )",
        "-3",
        "+3",
        "3 * -5",
        "3 - - 5",
        "- ( 3 + 5 )",
        "3 ** 5",
        "9 ** 9 ** 9",
        "3 // 5",
        "3 ^ 5",
        "3 % 5",
        "3 / 0",
        "3 / ( 5 - 5 )",
        "0 / 0",
        "3.0 + 5",
        "3e2",
        "1_0",
        "0x10",
        "03 + 5",
        "３ + 5",
        "٣ + 5",
        "3² + 5",
        "三 + 5",
        "x + 5",
        "__import__('os')",
        "3 * 5 = 16",
        "3 * 5 = 3 * 5",
        "3 * 5 = ( 15 )",
        "3 * 5 = 15 = 15",
        "3 * 5 =",
        "= 15",
        "3 * 5 = 15 . I am sure",
        "3 * 5 , 15 + 2",
        "3 * 5; 17",
        "3 +\u00a05",
        "3 +\u200b5",
        "$3 + 5$",
    ],
)
def test_what_is_no_expression(expression):
    assert evaluate(expression) is None
    assert not check(expression, [3, 5], 15)


@pytest.mark.parametrize(
    ("expression", "numbers", "target", "right"),
    [
        ("( 3 * 5 ) + 2", [2, 3, 5], 17, True),
        ("( 3 * 5 ) + 2 = 17", [5, 3, 2], 17, True),
        ("( 3 * 5 ) + 2 = 18", [2, 3, 5], 17, False),
        ("( 3 * 5 ) + 2 = 17", [2, 3, 5], 18, False),
        ("( 3 * 5 ) + 2", [2, 3, 5], 16, False),
        ("17", [2, 3, 5], 17, False),
        ("3 * 5", [2, 3, 5], 15, False),
        ("3 * 5 + 2 + 2 - 2", [2, 3, 5], 17, False),
        ("3 * 5 + 1 + 1", [2, 3, 5], 17, False),
        ("35 + 2", [2, 3, 5], 37, False),
        ("3 + 3 + 5", [3, 3, 5], 11, True),
        ("3 + 5", [3, 3, 5], 8, False),
        ("3 + 3 + 5", [3, 5], 11, False),
        ("8 / ( 3 - 8 / 3 )", [8, 8, 3, 3], 24, True),
        ("7 / 2", [7, 2], 3, False),
        ("3 * 5 + 2 = 17", [2, 3, 5, 17], 17, False),
        ("12 - 10", [10, 12], 2, True),
        ("3 - 5", [3, 5], -2, True),
    ],
)
def test_each_number_once_and_the_target(expression, numbers, target, right):
    assert check(expression, numbers, target) is right


def test_limits_on_length_and_depth():
    assert evaluate("(" * MAX_DEPTH + "7" + ")" * MAX_DEPTH) == 7
    assert evaluate("(" * (MAX_DEPTH + 1) + "7" + ")" * (MAX_DEPTH + 1)) is None
    assert evaluate("9" * MAX_CHARACTERS) == 10**MAX_CHARACTERS - 1
    assert evaluate("9" * (MAX_CHARACTERS + 1)) is None
    assert evaluate("1+" * 127 + "1") == 128
    assert evaluate("(" * 1_000_000) is None and evaluate("1+" * 500_000 + "1") is None


@settings(deadline=None)  # the machine may be busy
@given(st.text(alphabet="0123456789+-*/()= ×÷−.٣\n", max_size=300) | st.text(max_size=300))
def test_no_text_raises(text):
    value = evaluate(text)
    assert value is None or isinstance(value, Fraction)
    assert check(text, [3, 5], 15) in (True, False)


def random_tree(rng: random.Random, depth: int) -> tuple[str, list[int], Fraction]:
    """An expression in full parentheses with its numbers and its value, built together."""
    if depth == 0 or rng.random() < 0.3:
        n = rng.randint(0, 99)
        return str(n), [n], Fraction(n)
    (left, a, x), (right, b, y) = random_tree(rng, depth - 1), random_tree(rng, depth - 1)
    sign = rng.choice("+-*/" if y else "+-*")
    value = {"+": x + y, "-": x - y, "*": x * y, "/": x / y if y else None}[sign]
    return f"( {left} {sign} {right} )", a + b, value


@settings(deadline=None)  # the machine may be busy
@given(st.integers(0, 2**32))
def test_random_expressions_have_the_value_they_were_built_with(seed):
    text, numbers, value = random_tree(random.Random(seed), 4)
    if len(text) <= MAX_CHARACTERS:
        assert evaluate(text) == value
        assert check(text, numbers[::-1], value)
        assert not check(text, [*numbers, numbers[0]], value)
        assert not check(text, numbers, value + 1)
