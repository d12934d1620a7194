"""Which questions a run trains on and which it keeps for evaluation, as functions of (seed, rollout)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from r1jax.core import keys
from r1jax.core.config import Experiment
from r1jax.core.errors import DataError
from r1jax.core.records import Problem
from r1jax.data import problems as files
from r1jax.data.world.corpus import world_problems
from r1jax.stages.context import Context
from r1jax.text.prompts import prompt_ids

HELD_OUT_SHARE = 0.1
HELD_OUT_SEED = 20250122  # the same held-out questions for every seed, so that runs compare


def _from_files(experiment: Experiment) -> tuple[list[Problem], list[Problem]]:
    data = experiment.data
    domain = data.domains[0][0]
    loaded = files.load(data.source, question_field=data.question_field, answer_field=data.answer_field, domain=domain)
    training, kept = files.split(loaded, HELD_OUT_SHARE, salt="r1jax")
    if not training or not kept:
        raise DataError(f"{data.source} has {len(loaded)} problems, too few to train on and to hold some out.")
    return training, kept


def digests(experiment: Experiment) -> dict[str, str]:
    """The digest of a file's or hub set's problems, part of the fingerprint; the tiny world needs none."""
    if experiment.data.source == "world":
        return {}
    marks = sorted(problem.id for part in _from_files(experiment) for problem in part)
    return {"data": hashlib.sha256("\n".join(marks).encode()).hexdigest()[:16]}


def held_out(experiment: Experiment, context: Context) -> list[Problem]:
    """The evaluation's questions, the same at every step and for every seed."""
    count = experiment.evaluation.problems
    if experiment.data.source == "world":
        return world_problems(HELD_OUT_SEED, count, split="held_out", shares=dict(experiment.data.domains),
                              languages=dict(experiment.data.languages))
    _, kept = _from_files(experiment)
    return _fitting(experiment, context, kept)[:count]


def training(experiment: Experiment, context: Context) -> Callable[[int], list[Problem]]:
    """(rollout number) -> its questions. A file's questions come in a new order each epoch, none twice in one."""
    count = experiment.rl.questions
    if experiment.data.source == "world":
        return lambda rollout: world_problems(
            keys.host_seed(experiment.seed, rollout, "problems"), count, split="train",
            shares=dict(experiment.data.domains), languages=dict(experiment.data.languages))
    pool = _fitting(experiment, context, _from_files(experiment)[0])

    def draw(rollout: int) -> list[Problem]:
        chosen = []
        for at in range(rollout * count, (rollout + 1) * count):
            epoch, inside = divmod(at, len(pool))
            order = keys.host_rng(experiment.seed, epoch, "problems").permutation(len(pool))
            chosen.append(pool[order[inside]])
        return chosen

    return draw


def _fitting(experiment: Experiment, context: Context, found: list[Problem]) -> list[Problem]:
    """Questions whose prompts fit the token budget for prompts.

    Raises:
      DataError: none does, or the first that does not is named when every one is too long.
    """
    limit = experiment.rl.max_prompt_tokens if experiment.rl else experiment.model.max_length
    sizes = [len(prompt_ids(context.tokenizer, experiment.data.prompt, p.question)) for p in found]
    kept = [p for p, size in zip(found, sizes, strict=True) if size <= limit]
    if not kept:
        raise DataError(f"Every prompt of {experiment.data.source} is longer than rl.max_prompt_tokens={limit} "
                        f"(the shortest has {min(sizes)} tokens); raise it.")
    if len(kept) < len(found):
        from r1jax.core.log import warn
        warn(f"{len(found) - len(kept)} of {len(found)} questions have prompts of more than {limit} tokens "
             "(rl.max_prompt_tokens) and are left out.")
    return kept
