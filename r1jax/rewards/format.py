"""The think/answer form of a response: what is the thought, what is the answer, is the form kept.

Two readings on purpose, because format and accuracy are separate rewards of the same weight
(DeepSeek-R1, section 2.2). `think_answer` is strict about the whole text. `answer_of` and
`final_answer` only ask whether there is exactly one final answer, so that a right answer in a
sloppy form earns accuracy and no format.

Every function reads `Completion.full_text`, takes linear time and never raises. Tags are matched
letter by letter: `<Think>` or `< think >` are text, not tags.
"""

from __future__ import annotations

from dataclasses import dataclass

from r1jax.core.tags import ANSWER_CLOSE, ANSWER_OPEN, TAGS, THINK_CLOSE, THINK_OPEN
from r1jax.rewards.number import last_boxed


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


def parse(text: str) -> Parsed:
    """Takes a full response apart; see `Parsed`."""
    reason = _fault(text)
    return Parsed(think=_thought(text), answer=answer_of(text), ok=not reason, reason=reason)


def think_answer(text: str) -> bool:
    """Whether the whole text is `<think> thought </think> <answer> answer </answer>`.

    Each tag exactly once and in this order; nothing but white space before, between and after the
    two pairs; neither part empty. A part is empty when it holds no letter and no digit, so that
    dots or zero-width characters are no thought.
    """
    return not _fault(text)


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
    """What breaks the strict form, or ""."""
    for tag in TAGS:
        if (count := text.count(tag)) != 1:
            return f"{tag} appears {count} times instead of once"
    before, _, rest = text.partition(THINK_OPEN)
    thought, closed, rest = rest.partition(THINK_CLOSE)
    between, opened, rest = rest.partition(ANSWER_OPEN)
    answer, ended, after = rest.partition(ANSWER_CLOSE)
    if not (closed and opened and ended):
        return "the tags are out of order"
    for place, part in (("before the thought", before), ("between", between), ("after the answer", after)):
        if part.strip():
            return f"there is text {place}" if place != "between" else "there is text between thought and answer"
    for name, part in (("thought", thought), ("answer", answer)):
        if not any(character.isalnum() for character in part):
            return f"the {name} is empty"
    return ""
