"""How a chat model is asked for something and how its reply is read, as a record: one wording for large chat models,
another for one of a few hundred thousand parameters, and whoever asks takes either.

The paper's wording is rewards/wording.py; a small world brings its own. Nothing here assumes system messages, JSON or
long replies: an `Ask` is two functions of texts and how much a reply may take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

Messages = tuple[tuple[str, str], ...]
"""A conversation: (role, content) pairs, roles "system", "user" and "assistant"."""
Content = TypeVar("Content")


class Written(NamedTuple):
    """A response that a chat model wrote, taken apart.

    Attributes:
      thought: without its tags; "" where there is none.
      summary: what the reader sees: after a refined thought the solution, of general data the answer.
    """

    thought: str
    summary: str


@dataclass(frozen=True)
class Ask(Generic[Content]):
    """One kind of request.

    Attributes:
      messages: the texts that it is about -> the conversation.
      read: a whole reply -> what it says; None for a reply that is malformed, which is counted and never guessed.
      temperature, max_tokens: how replies are sampled unless the asker says otherwise.
    """

    messages: Callable[..., Messages]
    read: Callable[[str], Content | None]
    temperature: float = 0.0
    max_tokens: int = 4096


def whole(thought: str) -> list[str]:
    """A thought as one piece."""
    return [thought]


def only_part(question: str, answer: str, parts: Sequence[Written]) -> Written | None:
    """The single part of a thought that was refined as one piece."""
    return parts[0] if len(parts) == 1 else None


@dataclass(frozen=True)
class Wording:
    """What a chat model is asked in a recipe.

    Attributes:
      name: by which records say who asked how.
      correctness: messages(question, reference, answer) -> whether they agree.
      preference: messages(question, answer_a, answer_b) -> a label such as "A>B", a key of rewards/verdicts.LABELS.
      safety: messages(question, response) -> True for a safe response.
      refine: messages(question, piece, answer) -> the piece of a thought, rewritten to be read, and the summary. A
        wording of several pieces may leave either of the two empty in a part.
      general: messages(question, with_thought) -> a response to a question of no reasoning domain; its thought is ""
        unless the reply has one.
      pieces: a thought -> what of it is refined at a time, in order.
      joined: (question, answer, refined pieces in order) -> the refined response; None where they make none.
      needs_thought: messages(question) -> whether a thought helps to answer it; None where the questions tell.
      translate: messages(question, thought) -> the thought in the question's language; None where refining does that.
      simple: messages(question) -> a short response to simple mathematics; None where no question is so simple.
    """

    name: str
    correctness: Ask[bool]
    preference: Ask[str]
    safety: Ask[bool]
    refine: Ask[Written]
    general: Ask[Written]
    pieces: Callable[[str], list[str]] = whole
    joined: Callable[[str, str, Sequence[Written]], Written | None] = only_part
    needs_thought: Ask[bool] | None = None
    translate: Ask[str] | None = None
    simple: Ask[Written] | None = None
