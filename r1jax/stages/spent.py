"""Operations that a finished run took, from what it logged: two ways of training are compared where these are equal.

Counted as in stages/cost.py (models/flops.py), with the mean length of each rollout or update in the place of assumed
ones, and prompts of half their limit. Held-out evaluations are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from r1jax.core.errors import DataError
from r1jax.stages import cost
from r1jax.stages.embedded import artifact_model
from r1jax.store import Artifact


def reinforcement(artifact: Artifact) -> list[tuple[float, float]]:
    """(step, operations up to it) at the end of each rollout's updates, from (0, 0).

    Sampling, the reference's reading where there is one, and updates.

    Raises:
      DataError: the artifact logged no rollouts.
    """
    config = artifact.config()
    rl, model = config["rl"], artifact_model(config["model"])
    samples, prompt = rl["questions"] * rl["group_size"], (rl["max_prompt_tokens"] or 0) // 2
    passes = bool(rl["loss"]["beta"]) + (rl["old_logp"] == "trainer")
    found = [(0.0, 0.0)]
    for row in artifact.metrics():
        if row.get("rollout/length") is None:
            continue
        length = round(row["rollout/length"])
        work = (cost.sampling(model, prompt, length, rl["questions"], rl["group_size"]),
                cost.reading(model, prompt, length, samples * passes), cost.training(model, prompt, length, samples))
        found.append((row["step"] - 1.0 + rl["minibatches"], found[-1][1] + sum(part.flops for part in work)))
    if len(found) == 1:
        raise DataError(f"{artifact.ref} logged no rollouts, so that its operations cannot be counted.")
    return found


def fine_tuning(artifact: Artifact) -> float:
    """Operations of the updates; an update's responses are those logged, one in `log_every`.

    Raises:
      DataError: the artifact logged no updates.
    """
    config = artifact.config()
    sft, model = config["sft"], artifact_model(config["model"])
    logged = [row for row in artifact.metrics() if row.get("train/tokens") is not None]
    if not logged:
        raise DataError(f"{artifact.ref} logged no updates, so that its operations cannot be counted.")
    prompt = min(sft["row_length"] // 8, cost.PROMPT)
    response = round(float(np.mean([row["train/tokens"] for row in logged])) / sft["batch"])
    return float(cost.training(model, prompt, response, logged[-1]["step"] * sft["batch"]).flops)


def at_equal_operations(curve: Sequence[tuple[float, float]], spent: Sequence[tuple[float, float]],
                        operations: float) -> float:
    """A figure's value where a run had taken so many operations, on the line between its evaluations.

    Args:
      curve: (step, value) of evaluations.
      spent: (step, operations) of the run; between two rows on the line between them.
      operations: past the run's own, the last value.
    """
    step = np.interp(operations, [row[1] for row in spent], [row[0] for row in spent])
    return float(np.interp(step, [row[0] for row in curve], [row[1] for row in curve]))
