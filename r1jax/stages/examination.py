"""What a model that was trained without rollouts can do at its end: held-out questions of its domains."""

from __future__ import annotations

from r1jax.core import keys
from r1jax.core.config import Experiment
from r1jax.eval import suite
from r1jax.stages.context import Context
from r1jax.stages.problems import held_out
from r1jax.store import Artifact

SLOTS = 64


def examine(experiment: Experiment, artifact: Artifact, context: Context, params, step: int,
            max_new_tokens: int) -> dict[str, float]:
    """Figures on held-out questions of data.domains, or none where evaluation.problems is 0; the samples are kept.

    max_new_tokens: token budget, unless the evaluation's configuration has its own.
    """
    config = experiment.evaluation
    if not config.problems:
        return {}
    questions = held_out(experiment, context)
    name = "+".join(dict.fromkeys(question.domain for question in questions))
    figures, samples = suite.evaluate(
        experiment.model, params, context.tokenizer, experiment.data.prompt, questions, config,
        keys.key_for(experiment.seed, 0, "evaluation"), mesh=context.mesh, slots=SLOTS, max_new_tokens=max_new_tokens,
        suite=name, step=step)
    artifact.write_samples(step, "eval", samples)
    return figures
