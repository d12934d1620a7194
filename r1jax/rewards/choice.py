"""Multiple choice: one option letter, strictly one.

DeepSeek-R1 rewards STEM questions for matching the option, one of four to eight (arXiv 2501.12948v2,
Table 4). Letters up to J are read, for sets with ten.
"""

from __future__ import annotations

import re

from r1jax.rewards.number import unwrap

LETTERS = "ABCDEFGHIJ"
MAX_CHARACTERS = 128
_ENGLISH_LEAD = r"(?:the\s+)?(?:(?:final|correct)\s+)?(?:answer|option|choice)(?:\s+is\s*:?\s*|\s*[:：]\s*|\s+)"
_CHINESE_LEAD = r"(?:正确)?(?:答案|选项)(?:是|为)?\s*[:：]?\s*"
_LEAD = rf"(?:{_ENGLISH_LEAD}|{_CHINESE_LEAD})"
_LETTER = re.compile(rf"{_LEAD}?(?:\(([A-J])\)|（([A-J])）|([A-J])\)?)\s*[.。]?", re.IGNORECASE | re.ASCII)


def parse(text: str) -> str | None:
    """The option letter, in upper case, that the whole text is; None otherwise.

    Accepts `B`, `b`, `(B)`, `B)`, `B.`, `Answer: B`, `the correct option is (B)`, `答案：B`, and any
    of these inside `\\boxed{...}`, `\\text{...}` or `$...$`. A text that names two letters, or a
    letter with its option's words, is not one letter.
    """
    if len(text) > MAX_CHARACTERS:
        return None
    match = _LETTER.fullmatch(_unwrapped(text))
    return None if match is None else next(letter for letter in match.groups() if letter).upper()


def grade(answer: str, gold: str) -> bool | None:
    """Whether the answer is the gold option; None where the gold is no option letter."""
    expected = parse(gold)
    if expected is None:
        return None
    return parse(answer) == expected


def _unwrapped(text: str) -> str:
    """`Answer: \\boxed{B}` and `\\boxed{Answer: B}` read alike."""
    text = unwrap(text)
    lead = re.match(_LEAD, text, re.IGNORECASE | re.ASCII)
    return text if lead is None else lead[0] + unwrap(text[lead.end() :])
