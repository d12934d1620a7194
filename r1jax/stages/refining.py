"""Trajectories rewritten by the chat model into R1's form: a readable thought and a summary with the final answer.

DeepSeek-R1 (arXiv 2501.12948v2, section B.3.2): DeepSeek-V3 refines the reasoning and writes the summary; a thought in
another language than the question's is translated first. What it wrote is graded again: it may have lost the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from r1jax.core.settings import FilterConfig
from r1jax.core.tags import THINK_CLOSE, THINK_OPEN
from r1jax.rewards import accuracy, readability
from r1jax.rewards import format as response_form
from r1jax.rewards.chat import Chat
from r1jax.rewards.language import target_of
from r1jax.rewards.wording import request
from r1jax.stages.chat import told
from r1jax.stages.trajectories import Counts, Sampled, count
from r1jax.text.wording import Wording, Written

MALFORMED, NO_REPLY = "refiner's reply malformed", "refiner did not reply"
MISTRANSLATED, UNTRANSLATED = "translator's reply malformed", "translator did not reply"


def refine(rows: Sequence[Sampled], chat: Chat, wording: Wording, counts: Counts,
           language: float = FilterConfig.language) -> list[tuple[Sampled, str]]:
    """(refined sample, the text before) of each sample that was rewritten whole, in order.

    Args:
      language: as in `translated`, which comes first.

    Raises:
      DataError: most replies cannot be read. What the chat raises.
    """
    thoughts = translated(rows, chat, wording, counts, language)
    answers = [accuracy.answer(row.problem, row.text) or "" for row in rows]
    pieces = [[] if thought is None else wording.pieces(thought) for thought in thoughts]
    asked = [request(wording.refine, row.problem.question, piece, answer, seed=number)
             for number, (row, answer, mine) in enumerate(zip(rows, answers, pieces, strict=True)) for piece in mine]
    left = iter(told(wording.refine, chat(asked) if asked else [], "a readable thought", MALFORMED, NO_REPLY))
    out = []
    for row, thought, answer, mine in zip(rows, thoughts, answers, pieces, strict=True):
        if thought is None:
            continue
        given = [next(left) for _ in mine]
        parts = [said for said, _ in given]
        found = None if None in parts else wording.joined(row.problem.question, answer, parts)
        if found is None:
            count(counts, row.problem, NO_REPLY if any(why == NO_REPLY for _, why in given) else MALFORMED)
        else:
            out.append((replace(row, text=whole(found)), row.text))
    return out


def translated(rows: Sequence[Sampled], chat: Chat, wording: Wording, counts: Counts, language: float
               ) -> list[str | None]:
    """Each sample's thought in its question's language; None, and counted, where its translation cannot be read.

    Where the wording has no request for that, the thoughts as they are.

    Args:
      language: least share of a thought's words in its question's language (`readability.language_share`); a thought
        with less is translated. 0: none is.

    Raises:
      DataError: most replies cannot be read. What the chat raises.
    """
    thoughts: list[str | None] = [(response_form.parse(row.text).think or "").strip() for row in rows]
    if wording.translate is None:
        return thoughts
    foreign = [number for number, (row, thought) in enumerate(zip(rows, thoughts, strict=True))
               if readability.language_share(target_of(row.problem), thought, row.problem.question) < language]
    asked = [request(wording.translate, rows[number].problem.question, thoughts[number], seed=number)
             for number in foreign]
    replies = told(wording.translate, chat(asked) if asked else [], "a translated thought", MISTRANSLATED, UNTRANSLATED)
    for number, (said, reason) in zip(foreign, replies, strict=True):
        thoughts[number] = said
        if said is None:
            count(counts, rows[number].problem, reason)
    return thoughts


def whole(found: Written) -> str:
    """A response in R1's form; without a thought the summary alone."""
    return f"{THINK_OPEN} {found.thought} {THINK_CLOSE} {found.summary}" if found.thought else found.summary
