"""Trajectories rewritten by the chat model into R1's form: a readable thought and a summary with the final answer.

DeepSeek-R1 (arXiv 2501.12948v2, section B.3.2): DeepSeek-V3 refines the reasoning and writes the summary; a thought in
another language than the question's is translated. What it wrote is graded again: it may have lost the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from r1jax.core.tags import THINK_CLOSE, THINK_OPEN
from r1jax.rewards import accuracy
from r1jax.rewards import format as response_form
from r1jax.rewards.chat import Chat
from r1jax.rewards.verdicts import NO_REPLY as SILENT
from r1jax.rewards.wording import heard, request
from r1jax.stages.chat import refuse_nonsense
from r1jax.stages.trajectories import Counts, Sampled, count
from r1jax.text.wording import Wording, Written

MALFORMED, NO_REPLY = "refiner's reply malformed", "refiner did not reply"


def refine(rows: Sequence[Sampled], chat: Chat, wording: Wording, counts: Counts) -> list[tuple[Sampled, str]]:
    """(refined sample, the text before) of each sample that was rewritten whole, in order.

    Raises:
      DataError: most replies cannot be read. What the chat raises.
    """
    parsed = [response_form.parse(row.text) for row in rows]
    answers = [accuracy.answer(row.problem, row.text) or "" for row in rows]
    pieces = [wording.pieces((found.think or "").strip()) for found in parsed]
    asked = [request(wording.refine, row.problem.question, piece, answer, seed=number)
             for number, (row, answer, mine) in enumerate(zip(rows, answers, pieces, strict=True)) for piece in mine]
    replies = [heard(wording.refine, reply) for reply in (chat(asked) if asked else [])]
    refuse_nonsense("a readable thought", sum(said is None and why != SILENT for said, why in replies), len(replies))
    left = iter(replies)
    out = []
    for row, answer, mine in zip(rows, answers, pieces, strict=True):
        given = [next(left) for _ in mine]
        parts = [said for said, _ in given]
        found = None if None in parts else wording.joined(row.problem.question, answer, parts)
        if found is None:
            count(counts, row.problem, NO_REPLY if any(why == SILENT for _, why in given) else MALFORMED)
        else:
            out.append((replace(row, text=whole(found)), row.text))
    return out


def whole(found: Written) -> str:
    """A response in R1's form; without a thought the summary alone."""
    return f"{THINK_OPEN} {found.thought} {THINK_CLOSE} {found.summary}" if found.thought else found.summary
