"""Cold-start data: a few readable long chains of thought, from R1-Zero's own.

DeepSeek-R1 (arXiv 2501.12948v2, section B.3.2; version 1, section 2.3.1): several trajectories of each prompt from
R1-Zero at temperature 1, and from a model that is shown long chains of thought; kept where the answer is right and the
text can be read (repetition, mixed languages); refined by DeepSeek-V3 into the cold start's form; read and corrected by
people (stages/annotate.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from r1jax.core import keys
from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError
from r1jax.core.records import Problem
from r1jax.data import problems as files
from r1jax.data.world import countdown
from r1jax.stages import chat as chats
from r1jax.stages import collecting, problems, refining, trajectories
from r1jax.stages.context import Context
from r1jax.stages.policies import artifact_policy
from r1jax.stages.trajectories import Counts, Sampled
from r1jax.store import Artifact
from r1jax.text.prompts import Prompter
from r1jax.text.tokenizer import Tokenizer

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
        """Each example as a whole document, then the question's own prompt."""
        shown = [token for asked, said in self.examples
                 for token in [*self.prompt.ids(tokenizer, asked), *tokenizer.encode(said), tokenizer.eos]]
        return shown + self.prompt.ids(tokenizer, question)


def examples(source: str, count: int, seed: int) -> tuple[tuple[str, str], ...]:
    """`count` long chains of thought to be shown, from the tiny world or from a file.

    Raises:
      DataError: the file has too few, or cannot be read.
    """
    if source != "world":
        return tuple((p.question, p.answer) for p in files.load(source, question_field="question",
                                                                answer_field="response", domain="math")[:count])
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
    chats.check(experiment)
    config, roles = experiment.collect, {role for role, _ in experiment.parents}
    if "policy" not in roles:
        raise ConfigError(f"{experiment.name} needs a parent in the role 'policy', whose trajectories are taken.")
    if config.few_shot and "few_shot" not in roles:
        raise ConfigError(f"collect.few_shot={config.few_shot} needs a parent in the role 'few_shot', the model that "
                          "is shown the examples.")


def run(experiment: Experiment, artifact: Artifact, context: Context) -> dict[str, float]:
    """Collects, refines and writes the records; returns how many there are and of what length."""
    chat, _ = chats.open_chat(experiment, context)
    make = maker(experiment, context, chat)
    collecting.gather(artifact, context, trajectories.parts(experiment), make, title=f"cold start {artifact.ref}")
    return trajectories.conclude(experiment, artifact)


def maker(experiment: Experiment, context: Context, chat) -> Callable[[int], collecting.Part]:
    """(part) -> its records and what was left out of them."""
    config, wording = experiment.collect, chats.wording(experiment)
    draw = problems.training(experiment, context, config.questions_per_file)
    policy = artifact_policy(context.parents["policy"], context.mesh, config.slots)
    shown = None
    if config.few_shot:
        base = artifact_policy(context.parents["few_shot"], context.mesh, config.slots)
        shown = FewShot(base.prompt, examples(config.examples, config.few_shot, experiment.seed))

    def sampled(questions: Sequence[Problem], part: int) -> list[Sampled]:
        rows = trajectories.sample(policy, context.mesh, questions, config.samples,
                                   keys.key_for(experiment.seed, 2 * part, "rollout"), config,
                                   context.parents["policy"].ref)
        if shown is not None:
            rows += trajectories.sample(base, context.mesh, questions, config.few_shot_samples,
                                        keys.key_for(experiment.seed, 2 * part + 1, "rollout"), config,
                                        f"{context.parents['few_shot'].ref} with examples", shown)
        return rows

    def make(part: int) -> collecting.Part:
        counts: Counts = {}
        rows = trajectories.right(sampled(draw(part), part), config, chat, wording, counts)
        rows = trajectories.readable(rows, config.filters, "answer", counts)
        rows = trajectories.chosen(rows, config.keep, trajectories.rng_of(experiment, part), counts)
        refined = refining.refine(rows, chat, wording, counts) if config.refine else [(row, row.text) for row in rows]
        before = {id(row): text for row, text in refined}
        still = [row for row, _ in refined]
        verdicts = trajectories.verdicts(still, config.judged, chat, wording)
        for row, verdict in zip(still, verdicts, strict=True):
            if not verdict.correct:
                trajectories.count(counts, row.problem, BROKEN)
        still = [row for row, verdict in zip(still, verdicts, strict=True) if verdict.correct]
        still = trajectories.readable(still, config.filters, "summary" if config.refine else "answer", counts)
        return collecting.Part([trajectories.record(row, "reasoning", before=before[id(row)]) for row in still], counts)

    return make
