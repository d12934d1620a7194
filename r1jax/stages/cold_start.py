"""Cold-start data: a few readable long chains of thought, from R1-Zero's own.

DeepSeek-R1 (arXiv 2501.12948v2, section B.3.2; version 1, section 2.3.1): several trajectories of each prompt from
R1-Zero at temperature 1, and from a model that is shown long chains of thought; kept where the answer is right and the
text can be read (repetition, mixed languages); refined by DeepSeek-V3 into the cold start's form; read and corrected by
people (stages/annotate.py). Simple mathematics ("1+1=?") is answered by DeepSeek-V3 itself, so that it stays short.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from r1jax.core import keys
from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError, DataError
from r1jax.core.records import Problem
from r1jax.core.settings import CollectConfig
from r1jax.data import problems as files
from r1jax.data.world import countdown
from r1jax.rewards.chat import Chat
from r1jax.rewards.wording import request
from r1jax.stages import chat as chats
from r1jax.stages import collecting, refining, trajectories
from r1jax.stages.budget import at_least_one
from r1jax.stages.context import Context
from r1jax.stages.policies import artifact_policy
from r1jax.stages.trajectories import ASKED, Counts, Sampled, count
from r1jax.store import Artifact
from r1jax.text.prompts import Prompter
from r1jax.text.tokenizer import Tokenizer
from r1jax.text.wording import Wording

BROKEN = "wrong after refining"


@dataclass(frozen=True)
class FewShot:
    """A Prompter that shows worked examples before the question.

    Attributes:
      prompt: of one question. examples: (question, response) rows.
    """

    prompt: Prompter
    examples: tuple[tuple[str, str], ...]

    @property
    def suffix(self) -> str:
        """See Prompter."""
        return self.prompt.suffix

    def ids(self, tokenizer: Tokenizer, question: str) -> list[int]:
        """Each example as a whole document, then the question's own prompt; at most one beginning-of-sequence id."""
        ids = self.shown(tokenizer) + self.prompt.ids(tokenizer, question)
        return ids if tokenizer.bos is None else [tokenizer.bos, *(i for i in ids if i != tokenizer.bos)]

    def shown(self, tokenizer: Tokenizer) -> list[int]:
        """What stands before the question."""
        opened = self.suffix.strip()
        return [token for asked, said in self.examples
                for token in [*self.prompt.ids(tokenizer, asked), *tokenizer.encode(said.removeprefix(opened)),
                              tokenizer.eos]]


def examples(source: str, count: int, seed: int) -> tuple[tuple[str, str], ...]:
    """`count` long chains of thought to be shown, from the tiny world or the first ones of a file.

    Raises:
      DataError: the file has too few, or cannot be read.
    """
    if source != "world":
        rows = files.load(source, question_field="question", answer_field="response", domain="math")
        if len(rows) < count:
            raise DataError(f"collect.few_shot={count} examples are to be shown, and {source} has {len(rows)} different"
                            " ones; add some, or lower collect.few_shot.")
        return tuple((row.question, row.answer) for row in rows[:count])
    rng, found = random.Random(f"examples/{seed}"), []
    while len(found) < count:
        question = countdown.problem(rng, "train", "en")
        said = countdown.response(rng, question.meta["numbers"], question.meta["target"], "en")
        if "wait" in said and "yes" in said and len(said.split()) < 90:
            found.append((question.question, said))
    return tuple(found)


def check(experiment: Experiment, context: Context) -> None:
    """Refuses what cannot work before anything is sampled."""
    trajectories.check(experiment, context)
    trajectories.check_graded(experiment)
    chats.check(experiment)
    _check_simple(experiment)
    config, roles = experiment.collect, {role for role, _ in experiment.parents}
    if "policy" not in roles:
        raise ConfigError(f"{experiment.name} needs a parent in the role 'policy', whose trajectories are taken.")
    if config.few_shot and "few_shot" not in roles:
        raise ConfigError(f"collect.few_shot={config.few_shot} needs a parent in the role 'few_shot', the model that "
                          "is shown the examples.")
    if config.few_shot or config.few_shot_samples:
        at_least_one({name: getattr(config, name.partition(".")[2]) for name in (
            "collect.few_shot", "collect.few_shot_samples")})
        examples(config.examples, config.few_shot, experiment.seed)


def _check_simple(experiment: Experiment) -> None:
    """Refuses simple questions where the chat model cannot be asked, or where its answers' form would differ."""
    config, wording = experiment.collect, chats.wording(experiment)
    if not config.simple:
        return
    named = f"collect.simple names {', '.join(config.simple)}"
    if wording.simple is None:
        raise ConfigError(f"{named}, and chat.wording={wording.name} has no request for short answers; leave "
                          "collect.simple empty, or use chat.wording=paper with a chat model that it suits.")
    if not config.refine:
        raise ConfigError(f"{named}, whose answers come in another form than unrefined responses; set "
                          "collect.refine=true, or leave collect.simple empty.")


def run(experiment: Experiment, artifact: Artifact, context: Context) -> dict[str, float]:
    """Collects, refines and writes the records; returns how many there are and of what length."""
    make = maker(experiment, context, chats.stage_chat(experiment, context))
    collecting.gather(artifact, context, trajectories.parts(experiment), make, title=f"cold start {artifact.ref}")
    return trajectories.conclude(experiment, artifact)


def maker(experiment: Experiment, context: Context, chat: Chat) -> Callable[[int], collecting.Part]:
    """(part) -> its records and what was left out of them."""
    config, wording = experiment.collect, chats.wording(experiment)
    draw = trajectories.draw(experiment, context)
    policy = artifact_policy(context.parents["policy"], context.mesh, config.slots)
    shown, length = None, 0
    if config.few_shot:
        base = artifact_policy(context.parents["few_shot"], context.mesh, config.slots)
        shown = FewShot(base.prompt, examples(config.examples, config.few_shot, experiment.seed))
        length = len(shown.shown(base.tokenizer))

    def sampled(questions: Sequence[Problem], part: int) -> list[Sampled]:
        rows = trajectories.sample(policy, context.mesh, questions, config.samples,
                                   keys.key_for(experiment.seed, 2 * part, "rollout"), config,
                                   context.parents["policy"].ref)
        if shown is not None:
            rows += trajectories.sample(base, context.mesh, questions, config.few_shot_samples,
                                        keys.key_for(experiment.seed, 2 * part + 1, "rollout"), config,
                                        f"{context.parents['few_shot'].ref} with examples", shown, length)
        return rows

    def make(part: int) -> collecting.Part:
        counts: Counts = {}
        questions = draw(part)
        hard = [problem for problem in questions if problem.domain not in config.simple]
        rows = trajectories.right(sampled(hard, part) if hard else [], config, chat, wording, counts)
        rows = trajectories.readable(rows, replace(config.filters, language=0.0) if config.refine else config.filters,
                                     "answer", counts)
        if simple := [problem for problem in questions if problem.domain in config.simple]:
            rows += short_answers(experiment, context, chat, simple, part, counts)
        rows = trajectories.chosen(rows, config.keep, trajectories.rng_of(experiment, part), counts)
        if not config.refine:
            return trajectories.part_of(rows, "reasoning", counts)
        short = [row for row in rows if row.problem.domain in config.simple]
        long = [row for row in rows if row.problem.domain not in config.simple]
        refined = refining.refine(long, chat, wording, counts, config.filters.language)
        before = {id(row): text for row, text in refined}
        rows = still_right([row for row, _ in refined], config, chat, wording, counts)
        rows = trajectories.readable(rows, config.filters, "summary", counts)
        made = trajectories.part_of(rows, "reasoning", counts, [before[id(row)] for row in rows])
        return collecting.Part([*made.rows, *trajectories.part_of(short, "reasoning", counts).rows], counts)

    return make


def short_answers(experiment: Experiment, context: Context, chat: Chat, questions: Sequence[Problem], part: int,
                  counts: Counts) -> list[Sampled]:
    """The chat model's own responses to simple questions, of which the right and readable ones stay.

    Raises:
      DataError: most replies cannot be read. What the chat raises.
    """
    config, wording = experiment.collect, chats.wording(experiment)
    source = chats.source_of(experiment, context)
    first = keys.host_seed(experiment.seed, part, "sample") % 2**30
    asked = [problem for problem in questions for _ in range(config.samples)]
    replies = chat([request(wording.simple, problem.question, seed=first + number)
                    for number, problem in enumerate(asked)])
    rows = []
    for problem, (said, reason) in zip(asked, chats.told(wording.simple, replies, "a short answer"), strict=True):
        if said is None:
            count(counts, problem, ASKED)
            count(counts, problem, reason)
        else:
            rows.append(Sampled(problem, refining.whole(said), source))
    return trajectories.readable(trajectories.right(rows, config, chat, wording, counts), config.filters, "summary",
                                 counts)


def still_right(rows: Sequence[Sampled], config: CollectConfig, chat: Chat, wording: Wording,
                counts: Counts) -> list[Sampled]:
    """The refined samples whose final answer is still right."""
    kept = []
    for row, verdict in zip(rows, trajectories.verdicts(rows, config, chat, wording), strict=True):
        if verdict.correct:
            kept.append(row)
        else:
            count(counts, row.problem, BROKEN if verdict.correct is not None else verdict.kind)
    return kept
