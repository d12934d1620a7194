"""The two forms of a response, R1-Zero's and R1's: what is the thought, what follows it, is the form kept.

R1-Zero writes `<think> thought </think> <answer> answer </answer>` (DeepSeek-R1, arXiv 2501.12948v2, Table 1).
From the cold start on, R1 writes `<think> thought </think> summary`: the answer stands in the summary, boxed
or as the prompt asks, without tags.

Two readings on purpose, because format and accuracy are separate rewards of the same weight
(section 2.2). `think_answer` and `think_summary` are strict about the whole text, and no text is in both forms.
`answer_of` and `final_answer` only ask whether there is exactly one final answer, so that a right answer in a
sloppy form earns accuracy and no format; `summary_of` asks the same of the summary.

Every function reads `Completion.full_text`, takes linear time and never raises. Tags are matched
letter by letter: `<Think>` or `< think >` are text, not tags. Inside a thought or an answer pair such text does
no harm, since it cannot end them; a summary has no end of its own, so there `think_summary` refuses whatever
a reader would take for another tag. A tag is written about as `&lt;think&gt;`.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import regex

from r1jax.core.records import Problem
from r1jax.core.tags import ANSWER_CLOSE, ANSWER_OPEN, TAGS, THINK_CLOSE, THINK_OPEN
from r1jax.rewards.lookalikes import plain
from r1jax.rewards.number import last_boxed

_VISIBLE = regex.compile(r"[[\p{L}\p{N}]--\p{Lm}--[ªº]--\p{Default_Ignorable_Code_Point}]", regex.VERSION1)
_INVISIBLE = regex.compile(r"\p{Default_Ignorable_Code_Point}++")
_LOOKS_LIKE_A_TAG = regex.compile(
    r"<\s*+[/\\]?\s*+[|_]?(?:think|thought|reason|answer)[^<>\n]*+>"
    r"|(?:(?<![\w)\]])\[|[【《«])\s*+[/\\]?\s*+[|_]?(?:think(?:ing)?|thoughts?|reasoning|answer)[|_]?\s*+[\]】》»](?!\()",
    regex.IGNORECASE,
)


@dataclass(frozen=True)
class Parsed:
    """A response taken apart.

    Attributes:
      think: the thought: from the first `<think>` (from the start, where only `</think>` is
        there) to the first `</think>` (to the end, where none follows); None without think tags.
      answer: `answer_of` the text.
      ok: `think_answer` of the text.
      reason: "" when ok, else what is wrong with the form, in words.
    """

    think: str | None
    answer: str | None
    ok: bool
    reason: str


@dataclass(frozen=True)
class ParsedSummary:
    """A response in R1's form taken apart.

    Attributes:
      think: as in `Parsed`.
      summary: `summary_of` the text.
      ok: `think_summary` of the text.
      reason: "" when ok, else what is wrong with the form, in words.
    """

    think: str | None
    summary: str | None
    ok: bool
    reason: str


def parse(text: str) -> Parsed:
    """Takes a full response apart; see `Parsed`."""
    reason = _fault(text)
    return Parsed(think=_thought(text), answer=answer_of(text), ok=not reason, reason=reason)


def parse_summary(text: str) -> ParsedSummary:
    """Takes a full response of R1's form apart; see `ParsedSummary`."""
    reason = _summary_fault(text)
    return ParsedSummary(think=_thought(text), summary=summary_of(text), ok=not reason, reason=reason)


def think_answer(text: str) -> bool:
    """Whether the whole text is `<think> thought </think> <answer> answer </answer>`.

    Each tag exactly once and in this order; nothing but white space before, between and after the
    two pairs; neither part empty. A part is empty when it holds no visible letter and no digit, so that
    dots, emoji, zero-width characters or modifier letters such as a lone Arabic tatweel are no thought.
    """
    return not _fault(text)


def think_summary(text: str) -> bool:
    """Whether the whole text is `<think> thought </think> summary`, the form of R1.

    Each think tag exactly once and in this order; nothing but white space before; thought and summary with a letter
    or digit each; no answer tag, and in the summary nothing that a reader would take for a think or answer tag: a name
    that begins with think, thought, reason or answer in angle brackets (in any case, with spaces, attributes, a `|` or
    `_`, letters and brackets of `lookalikes` or of compatibility forms, invisible characters inside), or one of these
    names alone in square or double brackets that index nothing and are no link.
    """
    return not _summary_fault(text)


def summary_of(text: str) -> str | None:
    """What the reader of a response sees, stripped: what follows the thought, or None.

    - The thought ends at the single `</think>`; whether the text opens it does not matter (a template may have).
    - A text without think tags is all summary: a model that answers without a thought, an endpoint that hides it.
    - A thought that is never closed, closed twice or opened again, and a summary of white space: None.
    """
    before, close, rest = text.partition(THINK_CLOSE)
    if not close:
        before, rest = "", text
    if before.count(THINK_OPEN) > 1 or THINK_OPEN in rest or THINK_CLOSE in rest:
        return None
    return rest.strip() or None


def is_visible(part: str) -> bool:
    """Whether a part of a response has a visible letter or digit; Hangul fillers are letters that nobody sees.

    Letters that only modify others (tatweel, the length mark, ordinal indicators) are none.
    """
    return _VISIBLE.search(part) is not None


def is_direct(problem: Problem, text: str) -> bool:
    """Whether a general question is answered without a thought, as a simple one may be (DeepSeek-R1, section B.3.3).

    A general question's record and its response, of a model or of a person, count as direct by the same rule.
    """
    return problem.domain == "general" and is_plain(text)


def is_plain(text: str) -> bool:
    """Whether a text has a letter or digit, and nothing that a reader would take for a tag."""
    return is_visible(text) and _LOOKS_LIKE_A_TAG.search(_folded(text)) is None


def answer_of(text: str) -> str | None:
    """The stripped content of the single answer pair that follows the thought, or None.

    - The thought ends at the first `</think>`; a pair inside it is a draft and is not read.
    - A text without think tags is all answer side.
    - A thought that is never closed, or opened again, has no final answer.
    - Two answers, a lone tag, an empty pair, or an answer put before the thought: None.
    """
    rest = _after_thought(text)
    if rest is None or rest.count(ANSWER_OPEN) != 1 or rest.count(ANSWER_CLOSE) != 1:
        return None
    answer, closed, _ = rest.partition(ANSWER_OPEN)[2].partition(ANSWER_CLOSE)
    return (answer.strip() or None) if closed else None


def final_answer(text: str) -> str | None:
    """The final answer of a response in either form: answer tags, or the last box.

    Where the answer side has any answer tag, only `answer_of` counts: a box cannot rescue
    repeated or broken tags. Otherwise it is the content of the last `\\boxed{...}` after the
    thought, the form that mathematics prompts ask for (DeepSeek-R1 evaluation prompts). Of
    several boxes the last one is the answer.
    """
    rest = _after_thought(text)
    if rest is None:
        return None
    if ANSWER_OPEN in rest or ANSWER_CLOSE in rest:
        return answer_of(text)
    return last_boxed(rest)


def _after_thought(text: str) -> str | None:
    """What follows the first `</think>`, all of a text without think tags, None where the form has no such part."""
    before, close, rest = text.partition(THINK_CLOSE)
    if not close:
        return None if THINK_OPEN in text else text
    outside = before.partition(THINK_OPEN)[0] if THINK_OPEN in before else ""
    if THINK_OPEN in rest or ANSWER_OPEN in outside:
        return None
    return rest


def _thought(text: str) -> str | None:
    if THINK_OPEN not in text and THINK_CLOSE not in text:
        return None
    before, close, _ = text.partition(THINK_CLOSE)
    opened, tag, inside = before.partition(THINK_OPEN)
    return inside if tag else opened


def _fault(text: str) -> str:
    """What breaks R1-Zero's form, or ""."""
    for tag in TAGS:
        if (count := text.count(tag)) != 1:
            return _miscounted(tag, count)
    before, _, rest = text.partition(THINK_OPEN)
    thought, closed, rest = rest.partition(THINK_CLOSE)
    between, opened, rest = rest.partition(ANSWER_OPEN)
    answer, ended, after = rest.partition(ANSWER_CLOSE)
    if not (closed and opened and ended):
        return "the tags are out of order"
    for place, part in (("before the thought", before), ("between", between), ("after the answer", after)):
        if part.strip():
            return f"there is text {place}" if place != "between" else "there is text between thought and answer"
    return _empty(thought=thought, answer=answer)


def _summary_fault(text: str) -> str:
    """What breaks R1's form, or ""."""
    for tag in TAGS:
        expected = int(tag in (THINK_OPEN, THINK_CLOSE))
        if (count := text.count(tag)) != expected:
            return _miscounted(tag, count) if expected else f"{tag} has no place in this form"
    before, _, rest = text.partition(THINK_OPEN)
    thought, closed, summary = rest.partition(THINK_CLOSE)
    if not closed:
        return "the tags are out of order"
    if before.strip():
        return "there is text before the thought"
    if (alike := _LOOKS_LIKE_A_TAG.search(_folded(summary))) is not None:
        return f"the summary has what looks like a tag: {alike[0][:32]!r}"
    return _empty(thought=thought, summary=summary)


def _folded(text: str) -> str:
    """As a reader sees it: nothing invisible, compatibility forms and look-alikes as plain letters and brackets."""
    return text if text.isascii() else plain(unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)))


def _miscounted(tag: str, count: int) -> str:
    return f"{tag} appears {count} times instead of once"


def _empty(**parts: str) -> str:
    """Names the first part that is not visible, or ""."""
    return next((f"the {name} is empty" for name, part in parts.items() if not is_visible(part)), "")
