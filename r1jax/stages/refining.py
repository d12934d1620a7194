"""Trajectories rewritten by the chat model into R1's form: a readable thought and a summary with the final answer.

DeepSeek-R1 (arXiv 2501.12948v2, section B.3.2): DeepSeek-V3 refines the reasoning and writes the summary; a thought in
another language than the question's is translated. What it wrote is graded again: it may have lost the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from r1jax.core.errors import DataError
from r1jax.core.tags import THINK_CLOSE, THINK_OPEN
from r1jax.rewards import accuracy
from r1jax.rewards import format as response_form
from r1jax.rewards.chat import Chat, Reply, Request
from r1jax.stages.trajectories import Counts, Sampled, count
from r1jax.text.wording import Ask, Wording, Written

MALFORMED, NO_REPLY = "refiner's reply malformed", "refiner did not reply"
DOWN = 0.5  # share of requests without a reply at which the chat model counts as down


class ChatDown(DataError):
    """The chat model does not answer."""


def request(ask: Ask, *texts, seed: int | None = None) -> Request:
    """A request of one kind."""
    return Request(ask.messages(*texts), temperature=ask.temperature, max_tokens=ask.max_tokens, seed=seed)


def answered(chat: Chat, requests: Sequence[Request]) -> list[Reply]:
    """Replies in order.

    Raises:
      ChatDown: half of the requests or more had none; what was collected before is kept.
    """
    replies = chat(requests) if requests else []
    lost = [reply.error for reply in replies if reply.error]
    if lost and len(lost) >= DOWN * len(replies):
        raise ChatDown(f"The chat model did not answer {len(lost)} of {len(replies)} requests ({lost[0]}): check the "
                       "endpoint and give the same command again; what was collected is kept.")
    return replies


def written(reply: Reply, ask: Ask[Written]) -> Written | None:
    """What a reply says; None where it was cut off or cannot be read."""
    if reply.error or reply.finish_reason in ("length", "content_filter"):
        return None
    return ask.read(reply.text)


def refine(rows: Sequence[Sampled], chat: Chat, wording: Wording, counts: Counts) -> list[tuple[Sampled, str]]:
    """(refined sample, the text before) of each sample that was rewritten whole, in order."""
    parsed = [response_form.parse(row.text) for row in rows]
    answers = [accuracy.answer(row.problem, row.text) or "" for row in rows]
    pieces = [wording.pieces((found.think or "").strip()) for found in parsed]
    asked = [request(wording.refine, row.problem.question, piece, answer, seed=number)
             for number, (row, answer, mine) in enumerate(zip(rows, answers, pieces, strict=True)) for piece in mine]
    replies = iter(answered(chat, asked))
    out = []
    for row, answer, mine in zip(rows, answers, pieces, strict=True):
        given = [next(replies) for _ in mine]
        parts = [written(reply, wording.refine) for reply in given]
        found = None if None in parts else wording.joined(row.problem.question, answer, parts)
        if found is None:
            count(counts, row.problem, NO_REPLY if any(reply.error for reply in given) else MALFORMED)
        else:
            out.append((replace(row, text=whole(found)), row.text))
    return out


def whole(found: Written) -> str:
    """A response in R1's form; without a thought the summary alone."""
    return f"{THINK_OPEN} {found.thought} {THINK_CLOSE} {found.summary}" if found.thought else found.summary


