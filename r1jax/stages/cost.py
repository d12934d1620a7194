"""What a stage takes, by calculation from its experiment: sequences, tokens and operations, before anything is run.

How long responses will be is not known before: `Lengths` states it, by default half of what the experiment allows.
Operations are those of models/flops.py, of mean lengths: lengths that spread need somewhat more, since attention grows
with their square. Not counted: recomputation (remat), which adds a third to training, padding, and what a chat model
behind an endpoint does.

    python -c "from r1jax.core.config import load; from r1jax.stages.cost import Lengths, cost
    print(cost(load('experiments/r1_zero.py:paper'), Lengths(prompt=122, response=8000)))"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from r1jax.core.config import Experiment
from r1jax.core.settings import LoRA
from r1jax.models import flops, lora, spec
from r1jax.stages.budget import budget_at
from r1jax.stages.problems import domains_of, last_part_data, last_part_from

PROMPT = 256  # tokens of a prompt where no limit says; an eighth of the row or budget where that is less
REPLY = 128  # tokens of a chat model's reply to a judge's question


@dataclass(frozen=True)
class Lengths:
    """Assumed mean tokens of a prompt and of a response; None: half of what the experiment allows."""

    prompt: int | None = None
    response: int | None = None
    reply: int = REPLY


class Work(NamedTuple):
    """Sequences, their tokens (of sampled ones the response's, else prompt and response), and operations."""

    sequences: int = 0
    tokens: int = 0
    flops: int = 0

    def plus(self, other: Work) -> Work:
        """Both together."""
        return Work(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


@dataclass(frozen=True)
class Cost:
    """What one stage takes.

    Attributes:
      parameters: of the stage's model.
      sampled: by the policy or, of general data, the chat model. evaluated: sampled by the stage's own evaluations.
      asked: of the chat model (judgements, refinements); of an endpoint without its operations.
      scored: read forward only: reference, old log-probabilities, critic, teacher, reward models.
      trained: all epochs. updates: of the weights.
      records: that a data stage keeps at most. unknown: parents whose number of records is not known.
      prompt, response: mean tokens that were assumed.
    """

    parameters: int
    prompt: int
    response: int
    sampled: Work = Work()
    evaluated: Work = Work()
    asked: Work = Work()
    scored: Work = Work()
    trained: Work = Work()
    updates: int = 0
    records: int = 0
    unknown: tuple[str, ...] = field(default=())

    @property
    def flops(self) -> int:
        """All operations together."""
        return sum(work.flops for work in (self.sampled, self.evaluated, self.asked, self.scored, self.trained))

    @property
    def tokens(self) -> int:
        """Tokens sampled and tokens trained on."""
        return sum(work.tokens for work in (self.sampled, self.evaluated, self.asked, self.trained))


def cost(experiment: Experiment, lengths: Lengths | None = None, records: Mapping[str, int] | None = None) -> Cost:
    """The cost of a stage of any kind; of several records in the experiment each adds its part.

    Args:
      records: of a stage that learns from data, name of the parent -> its number of records.
    """
    lengths = lengths or Lengths()
    prompt, response = _assumed(experiment, lengths)
    found = Cost(spec.count(experiment.model), prompt, response)
    if experiment.pretrain:
        found = _pretraining(experiment, found)
    if experiment.rl:
        found = _reinforcement(experiment, found, lengths)
    if experiment.collect:
        found = _collecting(experiment, found, lengths)
    if experiment.sft or experiment.reward_model:
        found = _learning_from_records(experiment, found, records or {})
    return found


def _assumed(experiment: Experiment, lengths: Lengths) -> tuple[int, int]:
    """(prompt, response): as given, or half of the limits of the stage's kind."""
    stage = experiment.rl or experiment.collect
    if stage is not None:
        budget = budget_at(stage.max_new_tokens, 0) if experiment.rl else stage.max_new_tokens
        limit = stage.max_prompt_tokens
        prompt = lengths.prompt or (limit // 2 if limit else min(budget // 8, PROMPT))
        return prompt, lengths.response or budget // 2
    row = (experiment.sft or experiment.reward_model or experiment.pretrain)
    if row is None:
        return lengths.prompt or 0, lengths.response or 0
    prompt = lengths.prompt or min(row.row_length // 8, PROMPT)
    return prompt, lengths.response or (row.row_length - prompt) // 2


def sampling(model, prompt: int, response: int, questions: int, samples: int) -> Work:
    """`samples` responses to each of `questions` prompts, each encoded once."""
    each = flops.generation(model, prompt, (response,) * samples, samples) if samples else 0
    return Work(questions * samples, questions * samples * response, questions * each)


def reading(model, prompt: int, response: int, sequences: int, *, scored: bool = True) -> Work:
    """Forward passes of prompts with responses; `scored`: with the log-probability of every response token."""
    each = flops.forward(model, 0, prompt + response, response if scored else 0)
    return Work(sequences, sequences * (prompt + response), sequences * each)


def training(model, prompt: int, response: int, sequences: int, *, scored: bool = True,
             adapters: LoRA | None = None) -> Work:
    """Forward and backward passes, three times the forward's operations.

    With adapters the gradients of frozen matrices and head are left out, and the adapters' own three passes come in.
    """
    once = reading(model, prompt, response, sequences, scored=scored)
    if adapters is None:
        return once._replace(flops=3 * once.flops)
    thin = spec.tree_count(lora.specs(replace(model, heads_out=()), adapters))
    frozen = 2 * once.tokens * flops.matrix_parameters(model)
    frozen += 2 * sequences * response * model.vocab * model.width if scored else 0
    return once._replace(flops=3 * once.flops - frozen + 3 * 2 * once.tokens * thin)


def _pretraining(experiment: Experiment, found: Cost) -> Cost:
    """Rows are full, and counted as one document each."""
    config, evaluation = experiment.pretrain, experiment.evaluation
    rows = config.steps * config.rows
    work = Work(rows, rows * config.row_length,
                3 * rows * flops.forward(experiment.model, 0, config.row_length, config.row_length))
    gate = sampling(experiment.model, found.prompt, found.response, evaluation.problems, evaluation.samples)
    return replace(found, trained=work, evaluated=gate, updates=config.steps)


def _reinforcement(experiment: Experiment, found: Cost, lengths: Lengths) -> Cost:
    """Rollouts as if one try were enough (dynamic sampling).

    One reward model reads each response to a general question, the whole of it: the helpful one, which reads the
    summary, whose length is not known, takes less.
    """
    rl, model = experiment.rl, experiment.model
    passes = bool(rl.loss.beta) + (rl.old_logp == "trainer")
    samples = rl.questions * rl.group_size
    sampled, scored, trained = Work(), Work(), Work()
    for step in range(0, rl.steps, rl.minibatches):
        response = lengths.response or budget_at(rl.max_new_tokens, step) // 2
        sampled = sampled.plus(sampling(model, found.prompt, response, rl.questions, rl.group_size))
        scored = scored.plus(reading(model, found.prompt, response, samples * passes))
        unscored = samples * (rl.loss.critic is not None) + round(samples * _rewarded(experiment, step))
        scored = scored.plus(reading(model, found.prompt, response, unscored, scored=False))
        trained = trained.plus(training(model, found.prompt, response, samples, adapters=experiment.lora))
    return replace(found, sampled=sampled, scored=scored, trained=trained, updates=rl.steps,
                   evaluated=_evaluations(experiment, found, lengths))


def _rewarded(experiment: Experiment, step: int) -> float:
    """The share of a rollout's questions whose responses a reward model reads (stages/rewards.py)."""
    rl, last = experiment.rl, step >= last_part_from(experiment.rl)
    rewards, data = (rl.last_part.rewards, last_part_data(experiment)) if last else (rl.rewards, experiment.data)
    if "preference" not in dict(rewards):
        return 0.0
    shares = dict(data.domains)
    if data.mixture or data.source != "world":
        shares = {}
        for source, share in data.mixture or ((data.source, 1.0),):
            domain, = domains_of(replace(data, mixture=((source, 1.0),)))
            shares[domain] = shares.get(domain, 0.0) + share
    return shares.get("general", 0.0) / sum(shares.values())


def _evaluations(experiment: Experiment, found: Cost, lengths: Lengths) -> Work:
    """Those that are due (stages/evaluation.py), as if none were left out for its time."""
    rl, config, work = experiment.rl, experiment.evaluation, Work()
    for step in range(0, rl.steps + 1, rl.minibatches):
        if step // config.every > (step - rl.minibatches) // config.every or step == rl.steps:
            budget = config.max_new_tokens or budget_at(rl.max_new_tokens, max(step - 1, 0))
            work = work.plus(sampling(experiment.model, found.prompt, lengths.response or budget // 2,
                                      config.problems, config.samples))
    return work


def _collecting(experiment: Experiment, found: Cost, lengths: Lengths) -> Cost:
    """Samples of the policy or the chat model, what the chat model is asked about them, and the most that is kept.

    Of pairs, two samples are one; a label is one question to the chat model.
    """
    config, model = experiment.collect, experiment.model
    prompt, response = found.prompt, found.response
    roles = {role for role, _ in experiment.parents}
    own = "chat" in roles and not (experiment.chat and experiment.chat.endpoint)  # else an endpoint, named or not yet
    sampled = Work()
    if "policy" in roles or "chat" in roles or experiment.chat:
        sampled = sampling(model, prompt, response, config.questions, config.samples)
        if "policy" not in roles and not own:
            sampled = sampled._replace(flops=0)
    shown = config.few_shot * (prompt + response) + prompt
    sampled = sampled.plus(sampling(model, shown, response, config.questions, config.few_shot_samples))
    each = config.samples + config.few_shot_samples
    asked = sampling(model, prompt + response, lengths.reply, round(config.questions * each * _judged(experiment)), 1)
    if experiment.pairs:
        pairs = experiment.pairs.labels == "preferences"
        each, votes, read = (each // 2, experiment.pairs.votes, 2) if pairs else (min(each, config.keep), 1, 1)
        asked = asked.plus(sampling(model, prompt + read * response, lengths.reply, config.questions * each, votes))
    kept = min(config.questions * min(each, config.keep), sum(n for _, n in config.targets) or float("inf"))
    if config.refine:
        asked = asked.plus(sampling(model, prompt + response, response, kept, 1))
    return replace(found, sampled=sampled, asked=asked if own else asked._replace(flops=0), records=kept)


def _judged(experiment: Experiment) -> float:
    """The share of the questions that the chat model judges; 1 where the shares of domains are not known."""
    judged, data = experiment.collect.judged, experiment.data
    if not judged:
        return 0.0
    if data.mixture or data.source != "world":
        return 1.0
    shares = dict(data.domains)
    return sum(share for name, share in shares.items() if name in judged) / sum(shares.values())


def _learning_from_records(experiment: Experiment, found: Cost, records: Mapping[str, int]) -> Cost:
    """Supervised fine-tuning and reward models: each record once an epoch, and the examination at the end."""
    config, model = experiment.sft or experiment.reward_model, experiment.model
    names = [ref.partition("@")[0] for role, ref in experiment.parents if role == "data"]
    asked = sum(number for _, number in experiment.sft.samples) if experiment.sft else 0
    unknown = () if asked else tuple(name for name in names if name not in records)
    an_epoch = asked or sum(records.get(name, 0) for name in names)
    prompt, response = found.prompt, found.response
    if experiment.reward_model:
        texts = 2 if config.kind == "pairs" else 1
        an_epoch = round(an_epoch * (1 - config.held_out))
        trained = training(model, prompt, response, texts * an_epoch * config.epochs, scored=False,
                           adapters=experiment.lora)
        return replace(found, trained=trained, updates=-(-an_epoch // config.batch) * config.epochs, unknown=unknown)
    sequences = an_epoch * config.epochs
    evaluated = sampling(model, prompt, response, experiment.evaluation.problems, experiment.evaluation.samples)
    teacher = reading(model, prompt, response, sequences) if config.teacher else Work()
    trained = training(model, prompt, response, sequences, adapters=experiment.lora)
    return replace(found, trained=trained, scored=teacher, evaluated=evaluated,
                   updates=-(-an_epoch // config.batch) * config.epochs, unknown=unknown)
