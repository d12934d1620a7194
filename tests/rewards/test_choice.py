"""Option letters: one and only one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.rewards.choice import LETTERS, grade, parse


@pytest.mark.parametrize(
    "text",
    [
        "B",
        " b ",
        "(B)",
        "（B）",
        "B)",
        "B.",
        "(B).",
        "B。",
        "Answer: B",
        "ANSWER: B",
        "answer is b",
        "Answer B",
        "The correct answer is: (B).",
        "the final answer is B",
        "Option B",
        "答案：B",
        "答案是 B。",
        "正确答案是B",
        "\\boxed{B}",
        "\\boxed{\\text{B}}",
        "\\boxed{(B)}",
        "$B$",
        "$\\boxed{B}$",
        "Answer: \\boxed{B}",
        "\\boxed{Answer: B}",
    ],
)
def test_one_letter(text):
    assert parse(text) == "B"
    assert grade(text, "B") is True and grade(text, "(b)") is True and grade(text, "C") is False


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A or B",
        "A, B",
        "A B",
        "AB",
        "A/B",
        "B, not A",
        "B: mercury",
        "B mercury",
        "both",
        "K",
        "(B",
        "[B]",
        "7",
        "Answer:",
        "answerB",
        "\\boxed{A} \\boxed{B}",
        "\\boxed{B",
        "Ｂ",
        "В",  # Cyrillic
        "Answer: A\nAnswer: B",
        "B" * 200,
    ],
)
def test_no_single_letter(text):
    assert parse(text) is None
    assert grade(text, "B") is False


@pytest.mark.parametrize("gold", ["", "Paris", "A or B", "12"])
def test_an_unreadable_gold_is_unscorable(gold):
    assert grade("A", gold) is None


def test_ten_letters():
    assert [parse(letter) for letter in "ABCDEFGHIJ"] == list(LETTERS)


@settings(deadline=None)  # the machine may be busy
@given(st.text(alphabet="ABab()（）.:： $\\{}answeriopt答案boxed是\n", max_size=130) | st.text(max_size=130))
def test_no_text_raises(text):
    assert parse(text) in (None, *LETTERS)
    assert grade(text, "A") in (True, False)
