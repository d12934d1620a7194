"""How the tiny world's chat model is asked, and how its replies are read: short texts of the world's vocabulary.

The chat model is the base, fine-tuned on `data/world/chat.py`'s documents, whose questions are these texts. What it
replies is read strictly; None where there is no clear reply, as with the wording for large models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from r1jax.core.records import Problem
from r1jax.core.tags import THINK_CLOSE, THINK_OPEN
from r1jax.text.wording import Ask, Messages, Wording, Written

OPENING, SUMMARY = "(opening)", "(summary)"
"""What `pieces` puts first and last: parts of a readable response that are no part of the thought."""
MOST_GRADE = 4
_LABELS = ("A>>B", "A>B", "A=B", "B>A", "B>>A")
_GRADES = re.compile(r"A ([0-4]) B ([0-4]) \[\[(A>>B|A>B|A=B|B>A|B>>A)\]\]")
_ENDS = re.compile(r"(?<=wait \.) |(?<=等等 \.) ")
_TRIED = re.compile(r"= \d+ (?:yes|no|对了|不对)(?= |$)")
_OPENINGS = {
    "countdown": {"en": "I need {target} from {numbers} .", "zh": "我 用 {numbers} 得到 {target} ."},
    "": {"en": "I think .", "zh": "我 思考 ."},
}


def ask_correctness(question: str, reference: str, answer: str) -> str:
    """Does an answer agree with its reference?"""
    return f"check : {question} reference {reference} answer {answer}"


def reply_correctness(correct: bool) -> str:
    """What the chat model is to say."""
    return "correct" if correct else "incorrect"


def read_correctness(reply: str) -> bool | None:
    """A reply to `ask_correctness`; None where it is none of the two words."""
    return {"correct": True, "incorrect": False}.get(reply.strip())


def ask_preference(question: str, first: str, second: str) -> str:
    """Which of two answers is better?"""
    return f"which is better : {question} A {first} B {second}"


def label(first: int, second: int) -> str:
    """The label of two grades from 0 to 4: a difference of two or more is "much better"."""
    return _LABELS[2 - max(min(first - second, 2), -2)]


def reply_preference(first: int, second: int) -> str:
    """What the chat model is to say: a grade for each, then the label."""
    return f"A {first} B {second} [[{label(first, second)}]]"


def read_preference(reply: str) -> str | None:
    """The label of a reply to `ask_preference`; None where the form is broken or the label contradicts the grades."""
    found = _GRADES.fullmatch(reply.strip())
    if found is None or label(int(found[1]), int(found[2])) != found[3]:
        return None
    return found[3]


def ask_safety(question: str, response: str) -> str:
    """Is a response safe?"""
    return f"is it safe : {question} answer {response}"


def reply_safety(safe: bool) -> str:
    """What the chat model is to say."""
    return "safe" if safe else "unsafe"


def read_safety(reply: str) -> bool | None:
    """A reply to `ask_safety`."""
    return {"safe": True, "unsafe": False}.get(reply.strip())


# Refining a thought, a piece at a time.


def pieces(thought: str) -> list[str]:
    """A thought cut after each "wait ."; one piece has one first step and what was tried after it."""
    return [piece.strip() for piece in _ENDS.split(thought.strip()) if piece.strip()]


def refined_pieces(thought: str) -> list[str]:
    """What of a thought is refined: an opening where values are tried and judged, each piece, and the summary.

    A thought that goes straight to its answer is short, and starts with its first step.
    """
    return [*([OPENING] if _TRIED.search(thought) else []), *pieces(thought), SUMMARY]


def language_of(question: str) -> str:
    """The language of one of the world's questions."""
    return "zh" if re.search(r"[\u4e00-\u9fff]", question) else "en"


def ask_piece(language: str, piece: str) -> str:
    """Say this in the question's language."""
    return f"write in {'English' if language == 'en' else 'Chinese'} : {piece}"


def opening(domain: str, language: str, numbers: Sequence[int] = (), target: int = 0) -> str:
    """How a readable thought begins: what is asked, in the first person."""
    form = _OPENINGS.get(domain, _OPENINGS[""])[language]
    return form.format(target=target, numbers=" , ".join(map(str, numbers)))


def ask_opening(question: str) -> str:
    """How does a thought about this question begin?"""
    return f"begin : {question}"


def ask_summary(question: str, answer: str) -> str:
    """Write the summary that ends the response."""
    return f"sum up : {question} answer {answer}"


def summary(domain: str, language: str, answer: str, *, target: int | None = None, name: str = "") -> str:
    """A summary with its final answer boxed, or between backticks where it is a program."""
    start = "so" if language == "en" else "是"
    if domain == "code":
        return f"{start} ``` {answer} ``` ."
    more = f" = {target}" if target is not None else f" {name}" if name else ""
    return f"{start} \\boxed{{{answer}}}{more} ."


def summary_of(problem: Problem, answer: str) -> str:
    """The summary of an answer to one of the world's questions."""
    named = dict(zip("ABCD", problem.meta.get("options", ()), strict=False))
    return summary(problem.domain, problem.language, answer, target=problem.meta.get("target"),
                   name=named.get(answer.strip(), ""))


# As the stages ask: text/wording.py.


def _user(text: str) -> Messages:
    return (("user", text),)


def _refine(question: str, piece: str, answer: str) -> Messages:
    if piece == OPENING:
        return _user(ask_opening(question))
    return _user(ask_summary(question, answer) if piece == SUMMARY else ask_piece(language_of(question), piece))


def _read_piece(reply: str) -> Written | None:
    return Written(reply.strip(), "") if reply.strip() and "<" not in reply else None


def _joined(question: str, answer: str, parts: Sequence[Written]) -> Written | None:
    *thought, summed = (part.thought for part in parts)
    return Written(" ".join(thought), summed) if thought else None


def _read_general(reply: str) -> Written | None:
    """Both in one text: the thought stands between its tags."""
    before, close, rest = reply.partition(THINK_CLOSE)
    if not close:
        return Written("", reply.strip()) if reply.strip() and THINK_OPEN not in reply else None
    thought = before.partition(THINK_OPEN)[2].strip()
    return Written(thought, rest.strip()) if thought and rest.strip() and "<" not in thought + rest else None


TINY = Wording(
    "tiny",
    correctness=Ask(lambda q, r, a: _user(ask_correctness(q, r, a)), read_correctness, max_tokens=8),
    preference=Ask(lambda q, a, b: _user(ask_preference(q, a, b)), read_preference, temperature=0.7, max_tokens=24),
    safety=Ask(lambda q, a: _user(ask_safety(q, a)), read_safety, max_tokens=8),
    refine=Ask(_refine, _read_piece, max_tokens=96),
    general=Ask(lambda question, with_thought: _user(question), _read_general, temperature=1.0, max_tokens=64),
    pieces=refined_pieces,
    joined=_joined,
)
