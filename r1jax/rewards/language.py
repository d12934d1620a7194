"""Which languages a thought is written in, and how often it reflects: metrics now, a reward later.

The language-consistency reward of DeepSeek-R1 (arXiv 2501.12948v2, section 3.2.1, equation 7) is the
number of words of the target language over the number of words in the chain of thought. The paper does not define
a word; here languages are told apart by script, which is enough for its Chinese and English prompts:

- each Han character is a word (no segmenter, so that the count needs no dictionary);
- a run of letters of another script is a word, apostrophes inside included;
- Latin words of a single letter (options, variables, "a", "I") are not counted, nor are digits,
  operators, LaTeX commands and the think and answer tags.

Two languages of one script are not told apart.
"""

from __future__ import annotations

from collections.abc import Mapping

import regex

from r1jax.core.errors import DataError
from r1jax.core.tags import TAGS

REFLECTION_WORDS = (
    *("wait", "mistake", "however", "but", "retry", "error", "verify", "wrong", "evaluate", "check"),
    *("等等", "不对", "检查", "再试"),
)
SCRIPT_OF_LANGUAGE: Mapping[str, str] = {"en": "Latin", "zh": "Han"}

_SKIPPED = regex.compile("|".join(regex.escape(tag) for tag in TAGS) + r"|\\[A-Za-z]+")
_WORD = regex.compile(
    r"(?P<Han>\p{Han})"
    r"|(?P<Latin>\p{Latin}[\p{Latin}\p{Mn}]*+(?:['’]\p{Latin}[\p{Latin}\p{Mn}]*+)*+)"
    r"|(?P<Other>[\p{L}--\p{Han}--\p{Latin}][[\p{L}\p{Mn}]--\p{Han}--\p{Latin}]*+)",
    regex.VERSION1,
)
_ASCII_REFLECTION = "|".join(word for word in REFLECTION_WORDS if word.isascii())
_HAN_REFLECTION = "|".join(word for word in REFLECTION_WORDS if not word.isascii())
_REFLECTION = regex.compile(
    rf"(?<![\p{{Latin}}\p{{N}}_])(?:{_ASCII_REFLECTION})(?![\p{{Latin}}\p{{N}}_])|{_HAN_REFLECTION}", regex.IGNORECASE
)


def scripts(text: str) -> dict[str, int]:
    """Words counted by script: keys among `Han`, `Latin` and `Other`, only those that occur."""
    counts: dict[str, int] = {}
    for match in _WORD.finditer(_SKIPPED.sub(" ", text)):
        script = match.lastgroup
        if script == "Latin" and len(match[0]) == 1:
            continue
        counts[script] = counts.get(script, 0) + 1
    return counts


def mixed(text: str) -> bool:
    """Whether the text holds both Han and Latin words.

    One is enough, so an English abbreviation in a Chinese thought counts as mixing.
    """
    found = scripts(text)
    return "Han" in found and "Latin" in found


def consistency(text: str, language: str) -> float | None:
    """Share of the words that are in the language's script, from 0 to 1; None for a text without words.

    `text` is the thought (`format.parse(...).think`). Raises DataError for a language without an
    entry in `SCRIPT_OF_LANGUAGE`.
    """
    if language not in SCRIPT_OF_LANGUAGE:
        known = ", ".join(SCRIPT_OF_LANGUAGE)
        raise DataError(f"Language {language!r} cannot be told by its script; use problems in one of {known}.")
    found = scripts(text)
    words = sum(found.values())
    return found.get(SCRIPT_OF_LANGUAGE[language], 0) / words if words else None


def reflection_count(text: str) -> int:
    """Occurrences of `REFLECTION_WORDS`, the reflective words that the DeepSeek-R1 paper counts over training.

    English words whole and in any case ("Wait" counts, "waiting" does not); Chinese ones as
    substrings, since nothing separates words there.
    """
    return sum(1 for _ in _REFLECTION.finditer(text))
