"""General data: what a model is to say where nothing is to be proved, written by the chat model.

DeepSeek-R1 (arXiv 2501.12948v2, section B.3.3): writing, facts, questions about itself, translation, about 200k
samples by DeepSeek-V3's pipeline; a chain of thought for some, none for simple questions such as a greeting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from r1jax.core import keys
from r1jax.core.config import Experiment
from r1jax.core.records import Problem
from r1jax.rewards.chat import Chat, Reply
from r1jax.stages import chat as chats
from r1jax.stages import collecting, problems, refining, trajectories
from r1jax.stages.context import Context
from r1jax.stages.trajectories import ASKED, Counts, Sampled, count
from r1jax.store import Artifact
from r1jax.text.wording import Wording

MALFORMED, NO_REPLY = "chat model's reply malformed", "chat model did not reply"


def check(experiment: Experiment, context: Context) -> None:
    """Refuses what cannot work before anything is asked."""
    trajectories.check(experiment, context)
    chats.check(experiment)


def run(experiment: Experiment, artifact: Artifact, context: Context) -> dict[str, float]:
    """Asks, filters and writes the records; returns how many there are, and what was left out."""
    chat, _ = chats.open_chat(experiment, context)
    collecting.gather(artifact, context, trajectories.parts(experiment), maker(experiment, context, chat),
                      title=f"general data {artifact.ref}")
    return trajectories.conclude(experiment, artifact)


def maker(experiment: Experiment, context: Context, chat: Chat) -> Callable[[int], collecting.Part]:
    """(part) -> its records and what was left out of them."""
    config, wording = experiment.collect, chats.wording(experiment)
    draw = problems.training(experiment, context, config.questions_per_file)
    source = experiment.chat.endpoint or context.parents["chat"].ref

    def make(part: int) -> collecting.Part:
        counts: Counts = {}
        asked = [problem for problem in draw(part) for _ in range(config.samples)]
        rows = []
        for problem, reply in zip(asked, ask(chat, wording, asked, experiment.seed, part), strict=True):
            count(counts, problem, ASKED)
            found = refining.written(reply, wording.general)
            if found is None:
                count(counts, problem, NO_REPLY if reply.error else MALFORMED)
            else:
                rows.append(Sampled(problem, refining.whole(found), source))
        thoughtful = trajectories.readable([row for row in rows if row.text.startswith("<think>")], config.filters,
                                           "summary", counts)
        kept = {id(row) for row in thoughtful}
        rows = [row for row in rows if id(row) in kept or not row.text.startswith("<think>")]
        rows = trajectories.chosen(rows, config.keep, trajectories.rng_of(experiment, part), counts)
        return collecting.Part([trajectories.record(row, "general") for row in rows], counts)

    return make


def ask(chat: Chat, wording: Wording, asked: Sequence[Problem], seed: int, part: int) -> list[Reply]:
    """The chat model's responses; with a thought where it says that one helps, or where the wording leaves it to it."""
    first = keys.host_seed(seed, part, "sample") % 2**30
    thoughts: list[bool] = [True] * len(asked)
    if wording.needs_thought is not None:
        replies = refining.answered(chat, [refining.request(wording.needs_thought, problem.question)
                                           for problem in asked])
        thoughts = [bool(wording.needs_thought.read(reply.text)) for reply in replies]
    return refining.answered(chat, [
        replace(refining.request(wording.general, problem.question, thought), seed=first + number)
        for number, (problem, thought) in enumerate(zip(asked, thoughts, strict=True))])


