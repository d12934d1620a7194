"""The paper's wording of what a chat model is asked, and what every asker does with an `Ask`.

The texts are in rewards/judge_prompts.py and rewards/chat_prompts.py; a small model has a wording of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from r1jax.rewards import chat_prompts, judge_prompts, verdicts
from r1jax.rewards.chat import Reply, Request
from r1jax.text.wording import Ask, Wording

Content = TypeVar("Content")


def request(ask: Ask, *texts: str | bool, sampling: Request | None = None, seed: int | None = None) -> Request:
    """The request of an Ask about these texts, sampled as the Ask says or as `sampling` (its messages are not read)."""
    if sampling is not None:
        return replace(sampling, messages=ask.messages(*texts), seed=sampling.seed if seed is None else seed,
                       read=ask.read)
    return Request(ask.messages(*texts), temperature=ask.temperature, max_tokens=ask.max_tokens, seed=seed,
                   read=ask.read)


def heard(ask: Ask[Content], reply: Reply) -> tuple[Content | None, str]:
    """(what a reply says, "") or (None, why nothing can be read: `verdicts.NO_REPLY` or `verdicts.MALFORMED`).

    A reply that was cut off says nothing.
    """
    if reply.error:
        return None, verdicts.NO_REPLY
    said = reply.says(ask.read)
    return said, "" if said is not None else verdicts.MALFORMED


PAPER = Wording(
    "paper",
    correctness=Ask(judge_prompts.correctness_messages, verdicts.read_correctness),
    preference=Ask(judge_prompts.preference_messages, verdicts.read_preference, temperature=0.7, max_tokens=8192),
    safety=Ask(chat_prompts.safety_messages, verdicts.read_safety),
    refine=Ask(chat_prompts.refine_messages, chat_prompts.read_refined, temperature=0.6, max_tokens=32768),
    general=Ask(chat_prompts.general_messages, chat_prompts.read_general, temperature=0.7, max_tokens=16384),
    needs_thought=Ask(chat_prompts.needs_thought_messages, verdicts.read_needs_thought, max_tokens=1024),
    translate=Ask(chat_prompts.translate_messages, chat_prompts.read_translated, temperature=0.6, max_tokens=32768),
    simple=Ask(chat_prompts.simple_messages, chat_prompts.read_refined, temperature=0.6, max_tokens=2048),
)
"""DeepSeek-R1's requests to DeepSeek-V3 (Listings 1, 3 and 4, sections 3.1, B.2 and B.3). The paper does not say how
the replies were sampled: the temperatures and limits are ours."""
