"""Operations that a finished run took, from what it logged, so that two ways of training can be compared.

Counted as in stages/cost.py (models/flops.py), with the mean length of each rollout or update in the place of assumed
ones. Held-out evaluations are left out.
"""

from __future__ import annotations

import numpy as np

from r1jax.core.errors import DataError
from r1jax.stages import cost
from r1jax.stages.embedded import artifact_model
from r1jax.stages.weights_of import adapters_of
from r1jax.store import Artifact


def prompt_tokens(artifact: Artifact) -> int:
    """The mean length of the prompts of the rollouts that a run kept.

    Raises:
      DataError: it kept none.
    """
    found = [len(row["prompt_ids"]) for step in artifact.sample_steps("rollouts")
             for row in artifact.samples(step, "rollouts")]
    if not found:
        raise DataError(f"{artifact.ref} kept no rollouts, so that its operations cannot be counted: run it again with "
                        "rl.keep_rollouts above 0.")
    return round(float(np.mean(found)))


def reinforcement(artifact: Artifact, prompt: int) -> float:
    """Operations of sampling, of the reference's reading where there is one, and of updates.

    Args:
      prompt: tokens of a prompt.

    Raises:
      DataError: the artifact logged no rollouts.
    """
    config = artifact.config()
    rl, model = config["rl"], artifact_model(config["model"])
    samples, passes = rl["questions"] * rl["group_size"], bool(rl["loss"]["beta"]) + (rl["old_logp"] == "trainer")
    lengths = [round(row["rollout/length"]) for row in artifact.metrics() if row.get("rollout/length") is not None]
    if not lengths:
        raise DataError(f"{artifact.ref} logged no rollouts, so that its operations cannot be counted.")
    work = [part for length in lengths for part in (
        cost.sampling(model, prompt, length, rl["questions"], rl["group_size"]),
        cost.reading(model, prompt, length, samples * passes),
        cost.training(model, prompt, length, samples, adapters=adapters_of(config)))]
    return float(sum(part.flops for part in work))


def fine_tuning(artifact: Artifact, prompt: int) -> float:
    """Operations of the updates; an update's responses are those logged, one in `log_every`.

    Args:
      prompt: tokens of a prompt.

    Raises:
      DataError: the artifact logged no updates.
    """
    config = artifact.config()
    model, batch = artifact_model(config["model"]), config["sft"]["batch"]
    logged = [row for row in artifact.metrics() if row.get("train/tokens") is not None]
    if not logged:
        raise DataError(f"{artifact.ref} logged no updates, so that its operations cannot be counted.")
    response = round(float(np.mean([row["train/tokens"] for row in logged])) / batch)
    return float(cost.training(model, prompt, response, logged[-1]["step"] * batch,
                               adapters=adapters_of(config)).flops)
