"""Which responses are read with ease: the filters of cold start and of rejection sampling, and what they measure.

DeepSeek-R1 keeps R1-Zero's thoughts for its cold start where the answer is right and the text readable, with
"repetition detection and language-mixing filtering" (arXiv 2501.12948v2, appendix B.3.2), and drops chains of thought
with mixed languages, long paragraphs and code blocks from the reasoning data (appendix B.3.3). It says no more: what
the words mean here is stated below, and the thresholds are `FilterConfig`'s.

- Language: `language.consistency` of the thought. A thought of bare mathematics is in no wrong language, and neither
  is one with fewer than five different Latin words ("no ... no ... wait"), where letters alone decide.
- Repetition: the share of the thought's n-grams that came before in it, and loops: a piece of any length that comes
  two and a half times in a row or more, with at least `LOOP` words after its first time. Loops are looked for in the
  summary too, if there is no code in it.
- A paragraph ends at a line break, unless the next line goes on in small letters, as hard-wrapped text does.
- Code blocks are fenced ones (`fences.blocks`). Code without a fence is not told from text.

Words are counted here with everything that repeats: words of letters (of Chinese, what the segmenter of
`rewards.words` gives), numbers, LaTeX commands and single symbols, since a search trace is made of little else. A
paragraph's and a thought's length leaves symbols out.

Everything takes linear time, and no text raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import regex

from r1jax.core.errors import ConfigError
from r1jax.core.settings import FilterConfig
from r1jax.rewards import fences, language, words
from r1jax.rewards import format as response_form

UNREADABLE_FORM = "unreadable form"
EMPTY_THOUGHT = "empty thought"
CODE_BLOCK = "code block in the thought"
WRONG_LANGUAGE = "wrong language"
MIXED_LANGUAGES = "mixed languages"
REPETITION = "repetition"
ENDLESS_LOOP = "endless loop"
LONG_PARAGRAPH = "long paragraph"
WRONG_EQUATION = "wrong equation"
FAULTS = (UNREADABLE_FORM, EMPTY_THOUGHT, CODE_BLOCK, ENDLESS_LOOP, REPETITION, WRONG_LANGUAGE, MIXED_LANGUAGES,
          LONG_PARAGRAPH, WRONG_EQUATION)
"""What can be wrong with a response, in the order in which it is looked for: the first is said. Repetition comes before
language, since one word over and over is in whatever language it is taken for."""

FORMS = ("summary", "answer")
LOOP, COPIES, PERIODS = 32, 2.5, 16
"""Words of a loop after its first time; times in a row; periods that are tried, the most frequent distances."""

_CUT = 24  # letters or like symbols of one word; longer runs are several
_UNSPACED = r"\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTERS = rf"[[\p{{L}}\p{{M}}]--\p{{Han}}--[{_UNSPACED}]]++"
_PIECE = regex.compile(
    rf"(?P<han>\p{{Han}}++)|(?P<letter>[{_UNSPACED}])|(?P<word>{_LETTERS}(?:['’]{_LETTERS})*+)"
    rf"|(?P<number>\d++(?:[.,]\d++)*+)|(?P<symbol>\\[A-Za-z]++|([^\w\s])\6{{0,{_CUT - 1}}}+|\s{{{_CUT}}}|[_\p{{N}}])",
    regex.VERSION1,
)
_END = r"\r\n\v\f\x85\u2028\u2029"
_BREAK = regex.compile(rf"(?:\r\n?|[{_END}])(?![^\S{_END}]*+\p{{Ll}}{{2}})")


_EQUATION = regex.compile(r"(?<![\w.])(\d{1,12}) ?([-+*/]) ?(\d{1,12}) ?= ?(\d{1,12})(?![\w%])")
_DECIMAL = regex.compile(r"[.,]\d")
_JOINING = tuple("+-*/^=(){}\\×÷")


@dataclass(frozen=True)
class Repeats:
    """share: of the n-grams that came before, from 0 to 1. loop: words of the longest loop, 0 where there is none."""

    share: float
    loop: int


def check(filters: FilterConfig) -> None:
    """Refuses filters that mean nothing: shares outside of 0 to 1, n-grams of less than a word, negative lengths.

    Raises:
      ConfigError: names the value and what it may be.
    """
    for name in ("language", "repetition"):
        if not 0.0 <= (value := getattr(filters, name)) <= 1.0:
            raise ConfigError(f"filters.{name} is {value}, which is no share; use a number from 0 to 1.")
    if filters.ngram < 1:
        raise ConfigError(f"filters.ngram is {filters.ngram}; n-grams have at least 1 word.")
    if filters.paragraph < 0:
        raise ConfigError(f"filters.paragraph is {filters.paragraph}; use 0 for paragraphs of any length, or the most "
                          "words of one.")


def fault(problem_language: str, response: str, filters: FilterConfig, *, form: str = "summary",
          question: str = "") -> str:
    """What makes a response hard to read, one of `FAULTS`, or "" for a readable one.

    The language is wrong where the share of the thought's words in other languages is as large as the share in the
    right one must be, and mixed between the two. A ``filters.language`` of 0 allows any language, and a
    ``filters.repetition`` of 1 allows any repetition, loops too.

    Args:
      problem_language: the language that the thought is to be in, a key of ``language.SCRIPT_OF_LANGUAGE``; "": the
        question's.
      response: the whole text, thought included (`Completion.full_text`).
      form: "summary" is R1's, ``<think> thought </think> summary``; "answer" R1-Zero's, with an answer pair.
      question: names in it count for no language (`language.consistency`).

    Raises:
      ConfigError: filters that `check` refuses, or another form.
      DataError: a language that is not told apart.
    """
    check(filters)
    if form not in FORMS:
        raise ConfigError(f"There is no form {form!r} of a response; use one of {', '.join(FORMS)}.")
    parsed = response_form.parse_summary(response) if form == "summary" else response_form.parse(response)
    thought = parsed.think
    if thought is None or (not parsed.ok and response_form.is_visible(thought)):
        return UNREADABLE_FORM
    if not response_form.is_visible(thought):
        return EMPTY_THOUGHT
    if not filters.code_blocks and fences.blocks(thought):
        return CODE_BLOCK
    if filters.repetition < 1.0:
        found = repeats(pieces(thought), filters.ngram)
        shown = (parsed.summary if form == "summary" else parsed.answer) or ""
        if found.loop or (not fences.blocks(shown) and repeats(pieces(shown), filters.ngram).loop):
            return ENDLESS_LOOP
        if found.share > filters.repetition:
            return REPETITION
    share = language_share(problem_language or language.detect(question), thought, question)
    if share < filters.language:
        return WRONG_LANGUAGE if share <= 1.0 - filters.language else MIXED_LANGUAGES
    if filters.paragraph and longest_paragraph(thought) > filters.paragraph:
        return LONG_PARAGRAPH
    if filters.equations and wrong_equation(thought):
        return WRONG_EQUATION
    return ""


def wrong_equation(text: str) -> str:
    """The first plain equation of two whole numbers that does not hold, such as "3 * 5 = 16"; "" where there is none.

    What is part of a longer expression ("2 + 3 * 5 = 17", "3 * 5 = 15 + 2") or has decimals is not read.
    """
    for found in _EQUATION.finditer(text):
        before = text[max(found.start() - 3, 0):found.start()].rstrip()
        after = text[found.end():found.end() + 3].lstrip()
        if before[-1:] in _JOINING or after[:1] in _JOINING or _DECIMAL.match(after):
            continue
        a, op, b, value = int(found[1]), found[2], int(found[3]), int(found[4])
        if not {"+": a + b == value, "-": a - b == value, "*": a * b == value, "/": b != 0 and a == b * value}[op]:
            return found[0]
    return ""


def measures(problem_language: str, response: str, *, question: str = "", ngram: int = FilterConfig.ngram
             ) -> dict[str, float]:
    """Figures of one response, whose means over responses belong in a table; of a response without a thought all 0.

    Returns:
      ``language_consistency`` (`language_share`), ``repetition`` (share of n-grams), ``loop_words``,
      ``longest_paragraph`` and ``thought_words`` (words and numbers), ``code_blocks`` (in the thought).
    """
    thought = response_form.parse(response).think
    if thought is None or not response_form.is_visible(thought):
        names = ("language_consistency", "repetition", "loop_words", "longest_paragraph", "thought_words",
                 "code_blocks")
        return dict.fromkeys(names, 0.0)
    found = repeats(pieces(thought), ngram)
    return {
        "language_consistency": language_share(problem_language or language.detect(question), thought, question),
        "repetition": found.share,
        "loop_words": float(found.loop),
        "longest_paragraph": float(longest_paragraph(thought)),
        "thought_words": float(length(thought)),
        "code_blocks": float(len(fences.blocks(thought))),
    }


def language_share(target: str, thought: str, question: str = "") -> float:
    """Share of a thought's words that are in the target language; 1 where there are none.

    `language.consistency`, except that a few Latin words over and over are taken for the target's if its letters are
    Latin: "no no no wait" is as good Spanish as English.

    Raises:
      DataError: a language that is not told apart.
    """
    share = language.consistency(thought, target, question)
    if share is None:
        return 1.0
    if target in language.LATIN:
        said = list(words.read(thought).words())
        latin = [word.lower() for script, word in said if script == "Latin"]
        if latin and len(set(latin)) < language.ENOUGH:
            return len(latin) / len(said)
    return share


def pieces(text: str) -> list[str]:
    """The words by which repetition is counted, in small letters; see the module.

    A run of like symbols or of letters is one word up to 24 of them, and several beyond; so is white space from there.
    """
    found = [(match.lastgroup, match[0]) for match in _PIECE.finditer(text.lower())]
    runs = [run for kind, run in found if kind == "han"]
    # Each run on a line of its own is a segment of its own.
    cut = iter(words.read("\n".join(runs)).segments if runs else ())
    said: list[str] = []
    for kind, piece in found:
        if kind == "han":
            said.extend(word for _, word in next(cut))
        elif len(piece) <= _CUT:
            said.append(piece)
        else:
            said.extend(piece[i : i + _CUT] for i in range(0, len(piece), _CUT))
    return said


def repeats(said: Sequence[str], ngram: int) -> Repeats:
    """How much of a text comes again: of n-grams that overlap, and in loops; see the module.

    A text of at most ``ngram`` words repeats nothing. A loop is found by the distances from n-grams to where they came
    last, which in a loop are its period: so periods of any length are found in linear time.
    """
    total = len(said) - ngram + 1
    if total < 2:
        return Repeats(0.0, 0)
    last: dict[tuple[str, ...], int] = {}
    distances: Counter[int] = Counter()
    for place, gram in enumerate(zip(*(said[i : total + i] for i in range(ngram)), strict=True)):
        if (before := last.get(gram)) is not None:
            distances[place - before] += 1
        last[gram] = place
    known: dict[str, int] = {}
    ids = np.array([known.setdefault(word, len(known)) for word in said])
    loop = max((_loop(ids, period) for period, _ in distances.most_common(PERIODS)), default=0)
    return Repeats((total - len(last)) / total, loop)


def length(text: str) -> int:
    """Words and numbers of a text, without its symbols."""
    return sum(map(_is_word, pieces(text)))


def longest_paragraph(text: str) -> int:
    """Words and numbers of a text's longest paragraph; see the module."""
    return max(map(length, _BREAK.split(text)))


def _loop(ids: np.ndarray, period: int) -> int:
    """Words of the longest stretch of ids [T] that repeats with a period, its first time too; 0 if it is no loop."""
    breaks = np.flatnonzero(ids[period:] != ids[:-period])
    again = int(np.diff(breaks, prepend=-1, append=len(ids) - period).max()) - 1
    return again + period if again >= max(LOOP, (COPIES - 1.0) * period) else 0


def _is_word(piece: str) -> bool:
    return piece[0] != "\\" and any(map(str.isalnum, piece))
