"""A language model as judge, over any `Chat`: an answer against its reference, which of two answers is better, and
whether a response is safe.

Of correctness and preference a judge sees what the reader of a response sees, `format.summary_of` or the content of the
answer tags: the thought never reaches it. Safety is judged of the whole response, as DeepSeek-R1 does. How a judge is
asked, and how its reply is read, is a `Wording`; the default is the paper's (rewards/wording.py), whose prompts keep
the judged texts from giving orders (rewards/judge_prompts.py).

A reply is read strictly (rewards/verdicts.py), and what cannot be read is counted and never guessed: `MALFORMED` for a
reply without a clear verdict or cut off, `NO_REPLY` for a request that failed. Both leave the sample unscored. The
texts that are judged cannot turn a reply into another verdict by being quoted in it; they could make a weak judge break
the form, so watch the share of `MALFORMED`. What our own side can tell without a judge costs no request: no answer or
one too long is wrong.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from r1jax.core.errors import ConfigError
from r1jax.core.records import NO_ANSWER, UNREADABLE_ANSWER, UNREADABLE_GOLD, Completion, Problem, Verdict
from r1jax.core.tags import ANSWER_CLOSE, ANSWER_OPEN
from r1jax.rewards import format as response_form
from r1jax.rewards import judge_prompts
from r1jax.rewards.chat import Chat, Reply, Request
from r1jax.rewards.verdicts import LABELS, MALFORMED
from r1jax.rewards.verdicts import NO_REPLY as NO_REPLY  # by which callers count, as by the names below
from r1jax.rewards.wording import PAPER, heard, request
from r1jax.text.wording import Ask, Wording

JUDGED_RIGHT, JUDGED_WRONG = "judged right", "judged wrong"
JUDGED_SAFE, JUDGED_UNSAFE = "judged safe", "judged unsafe"
NO_SUMMARY, TOO_LONG = "no summary", "too long"
MOST_CHARACTERS = 32_000  # of one judged text


@dataclass(frozen=True)
class Row:
    """A response to be compared with its reference; `response` is whole, with its thought."""

    question: str
    reference: str
    response: str


@dataclass(frozen=True)
class Pair:
    """Two whole responses to one question."""

    question: str
    first: str
    second: str


@dataclass(frozen=True)
class Exchange:
    """A question and the whole response to it."""

    question: str
    response: str


@dataclass(frozen=True)
class Preference:
    """What the votes say of a pair.

    Attributes:
      score: mean of the votes, from -3 to 3, above 0 where the first response is better; None unless every vote was
        read.
      votes: as `LABELS`, seen from the first response; None where a vote could not be read.
      kinds: of each vote the label as the judge wrote it, or why there is none.
      swapped: whether the first response stood at B.
    """

    score: float | None
    votes: tuple[float | None, ...]
    kinds: tuple[str, ...]
    swapped: tuple[bool, ...]


def correctness(
    chat: Chat,
    rows: Sequence[Row],
    *,
    wording: Wording = PAPER,
    sampling: Request | None = None,
    most_characters: int = MOST_CHARACTERS,
) -> list[Verdict]:
    """A verdict a row, in order: does the final answer agree with the reference (DeepSeek-R1, Listing 4)?

    The answer is the content of the answer tags where there are any, else the summary. Verdicts without a request:
    wrong with NO_ANSWER, wrong with UNREADABLE_ANSWER beyond most_characters, None with UNREADABLE_GOLD for an empty
    reference. sampling: temperature, top_p, max_tokens and seed in place of the wording's. Raises what chat raises.
    """
    verdicts: list[Verdict | None] = [None] * len(rows)
    requests: dict[int, Request] = {}
    for i, row in enumerate(rows):
        answer = _answer(row.response)
        if not row.reference.strip():
            verdicts[i] = Verdict(None, UNREADABLE_GOLD, "the reference is empty")
        elif answer is None:
            verdicts[i] = Verdict(False, NO_ANSWER)
        elif _too_long(answer, most_characters):
            verdicts[i] = Verdict(False, UNREADABLE_ANSWER, f"the answer has more than {most_characters} characters")
        else:
            requests[i] = request(wording.correctness, row.question, row.reference, answer, sampling=sampling)
    for i, reply in zip(requests, chat(list(requests.values())), strict=True):
        verdicts[i] = _verdict(wording.correctness, reply, JUDGED_RIGHT, JUDGED_WRONG)
    return verdicts


def safety(
    chat: Chat,
    rows: Sequence[Exchange],
    wording: Wording = PAPER,
    *,
    sampling: Request | None = None,
    most_characters: int = MOST_CHARACTERS,
) -> list[Verdict]:
    """A verdict a row, in order: is the whole response, its thought included, safe (DeepSeek-R1, section 3.1)?

    `correct` is True for a safe response. None without a request: NO_ANSWER for an empty response, TOO_LONG beyond
    most_characters. Raises what chat raises.
    """
    verdicts: list[Verdict | None] = [None] * len(rows)
    requests: dict[int, Request] = {}
    for i, row in enumerate(rows):
        if not row.response.strip():
            verdicts[i] = Verdict(None, NO_ANSWER)
        elif _too_long(row.response, most_characters):
            verdicts[i] = Verdict(None, TOO_LONG, f"the response has more than {most_characters} characters")
        else:
            requests[i] = request(wording.safety, row.question, row.response, sampling=sampling)
    for i, reply in zip(requests, chat(list(requests.values())), strict=True):
        verdicts[i] = _verdict(wording.safety, reply, JUDGED_SAFE, JUDGED_UNSAFE)
    return verdicts


def grader(chat: Chat, **options) -> Callable[[Sequence[Problem], Sequence[Completion]], list[Verdict]]:
    """`correctness` as rewards take it: `combine.Graded("judge", grader(chat))`. Options are those of `correctness`."""

    def verdicts(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Verdict]:
        pairs = zip(problems, completions, strict=True)
        return correctness(chat, [Row(p.question, p.answer, c.full_text) for p, c in pairs], **options)

    return verdicts


def balanced(generator: random.Random, votes: int) -> list[bool]:
    """Each position as often as the other, in random order; an odd vote falls on either."""
    plan = [True] * (votes // 2) + [False] * (votes // 2)
    plan += [generator.random() < 0.5] * (votes % 2)
    generator.shuffle(plan)
    return plan


def at_random(generator: random.Random, votes: int) -> list[bool]:
    """Each vote's position on its own: of four votes, one time in eight all are the same way round."""
    return [generator.random() < 0.5 for _ in range(votes)]


def preferences(
    chat: Chat,
    pairs: Sequence[Pair],
    *,
    votes: int = 4,
    seed: int = 0,
    wording: Wording = PAPER,
    sampling: Request | None = None,
    positions: Callable[[random.Random, int], list[bool]] = balanced,
    most_characters: int = MOST_CHARACTERS,
) -> list[Preference]:
    """Votes on which response of each pair is better, by an Arena-Hard prompt (DeepSeek-R1, sections 3.1 and B.2).

    Args:
      votes: requests a pair, four in the paper. seed: of positions and of the requests' own seeds; both are functions
        of the seed and the pair, so that neither its place nor its company changes what is asked about a pair.
      sampling: temperature, top_p and max_tokens in place of the wording's.
      positions: (generator, votes) -> for each vote whether the first response stands at B: `balanced` (the default,
        and our choice) or `at_random` (the paper's words).

    A pair with a response that has no summary, or one too long, is not put to the judge.
    """
    if votes < 1:
        raise ConfigError(f"A pair needs at least one vote, not {votes}.")
    plans: list[list[bool]] = []
    asked: list[list[Request]] = []
    faults = [_fault(pair, most_characters) for pair in pairs]
    for pair, fault in zip(pairs, faults, strict=True):
        generator = _generator(seed, pair)
        plans.append(positions(generator, votes))
        seeds = [generator.getrandbits(31) for _ in range(votes)]
        asked.append([] if fault else [
            replace(_request(pair, swapped, wording, sampling), seed=own)
            for swapped, own in zip(plans[-1], seeds, strict=True)])
    replies = iter(chat([request for requests in asked for request in requests]))
    found = []
    for plan, requests, fault in zip(plans, asked, faults, strict=True):
        labels = [_label(wording.preference, next(replies)) for _ in requests] or [fault] * votes
        numbers = [None if label not in LABELS else (-1 if swapped else 1) * LABELS[label] + 0.0
                   for label, swapped in zip(labels, plan, strict=True)]
        score = None if None in numbers else sum(numbers) / votes
        found.append(Preference(score, tuple(numbers), tuple(labels), tuple(plan)))
    return found


def _answer(response: str) -> str | None:
    """What of a response is compared with the reference."""
    summary = response_form.summary_of(response)
    if summary is None or not (ANSWER_OPEN in summary or ANSWER_CLOSE in summary):
        return summary
    return response_form.answer_of(response)


def _verdict(ask: Ask[bool], reply: Reply, good: str, bad: str) -> Verdict:
    said, fault = heard(ask, reply)
    if fault:
        return Verdict(None, fault, reply.error or " ".join(reply.text[-200:].split()))
    return Verdict(said, good if said else bad, " ".join(reply.text[:300].split()))


def _label(ask: Ask[str], reply: Reply) -> str:
    """A label, or why there is none."""
    said, fault = heard(ask, reply)
    return said if said in LABELS else fault or MALFORMED


def _fault(pair: Pair, most_characters: int) -> str:
    """Why a pair cannot be put to the judge, or ""."""
    summaries = [response_form.summary_of(response) for response in (pair.first, pair.second)]
    if None in summaries:
        return NO_SUMMARY
    return TOO_LONG if any(_too_long(summary, most_characters) for summary in summaries) else ""


def _too_long(text: str, most_characters: int) -> bool:
    """As it would be shown: naming hidden characters makes a text longer."""
    return len(text) > most_characters or len(judge_prompts.neutral(text)) > most_characters


def _request(pair: Pair, swapped: bool, wording: Wording, sampling: Request | None) -> Request:
    a, b = (response_form.summary_of(response) for response in (pair.first, pair.second))
    return request(wording.preference, pair.question, *((b, a) if swapped else (a, b)), sampling=sampling)


def _generator(seed: int, pair: Pair) -> random.Random:
    digest = hashlib.sha256(json.dumps([seed, pair.question, pair.first, pair.second]).encode()).digest()
    return random.Random(int.from_bytes(digest, "big"))
