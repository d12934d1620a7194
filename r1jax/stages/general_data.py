"""General data: what a model is to say where nothing is to be proved, written by the chat model.

DeepSeek-R1 (arXiv 2501.12948v2, section B.3.3): writing, facts, questions about itself, translation, about 200k
samples by DeepSeek-V3's pipeline; a chain of thought for some, none for simple questions such as a greeting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from r1jax.core import keys
from r1jax.core.config import Experiment
from r1jax.core.records import Problem
from r1jax.rewards.chat import Chat
from r1jax.rewards.wording import request
from r1jax.stages import chat as chats
from r1jax.stages import collecting, refining, trajectories
from r1jax.stages.context import Context
from r1jax.stages.trajectories import ASKED, Counts, Sampled, chosen, count, part_of, rng_of
from r1jax.store import Artifact
from r1jax.text.wording import Wording, Written


def check(experiment: Experiment, context: Context) -> None:
    """Refuses what cannot work before anything is asked."""
    trajectories.check(experiment, context)
    chats.check(experiment)


def run(experiment: Experiment, artifact: Artifact, context: Context) -> dict[str, float]:
    """Asks, filters and writes the records; returns how many there are, and what was left out."""
    make = maker(experiment, context, chats.stage_chat(experiment, context))
    collecting.gather(artifact, context, trajectories.parts(experiment), make, title=f"general data {artifact.ref}")
    return trajectories.conclude(experiment, artifact)


def maker(experiment: Experiment, context: Context, chat: Chat) -> Callable[[int], collecting.Part]:
    """(part) -> its records and what was left out of them."""
    config, wording = experiment.collect, chats.wording(experiment)
    draw = trajectories.draw(experiment, context)
    source = chats.source_of(experiment, context)

    def make(part: int) -> collecting.Part:
        counts: Counts = {}
        asked = [problem for problem in draw(part) for _ in range(config.samples)]
        rows = []
        for problem, (found, reason) in zip(asked, ask(chat, wording, asked, experiment.seed, part), strict=True):
            count(counts, problem, ASKED)
            if found is None:
                count(counts, problem, reason)
            else:
                rows.append(Sampled(problem, refining.whole(found), source))
        direct = {problem.domain for problem in asked}
        rows = trajectories.readable(rows, config.filters, "summary", counts, direct)
        rows = chosen(rows, config.keep, rng_of(experiment, part), counts)
        return part_of(rows, "general", counts)

    return make


def ask(chat: Chat, wording: Wording, asked: Sequence[Problem], seed: int, part: int
        ) -> list[tuple[Written | None, str]]:
    """(the chat model's response, "") or (None, why there is none) to each.

    It is written with a thought where the chat model says that one helps, or where the wording leaves it to it.

    Raises:
      DataError: most replies cannot be read. What the chat raises.
    """
    first = keys.host_seed(seed, part, "sample") % 2**30
    found = _thoughts(chat, wording, asked)
    open_ones = [number for number, (thought, _) in enumerate(found) if thought is not None]
    replies = chat([request(wording.general, asked[number].question, found[number][0], seed=first + number)
                    for number in open_ones])
    said = chats.told(wording.general, replies, "a response")
    answers = dict(zip(open_ones, said, strict=True))
    return [answers.get(number, (None, reason)) for number, (_, reason) in enumerate(found)]


def _thoughts(chat: Chat, wording: Wording, asked: Sequence[Problem]) -> list[tuple[bool | None, str]]:
    """Whether a thought helps with each question; a question that comes several times is asked about once."""
    if wording.needs_thought is None:
        return [(True, "")] * len(asked)
    questions = list(dict.fromkeys(problem.question for problem in asked))
    replies = chat([request(wording.needs_thought, question) for question in questions])
    said = dict(zip(questions, chats.told(wording.needs_thought, replies, "whether a thought helps"), strict=True))
    return [said[problem.question] for problem in asked]
