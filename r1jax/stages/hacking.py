"""What reward models gave the rollouts of a run on general questions, and how good the answers were.

The samples of a run do not hold what the tiny world knows of a question, so its questions are drawn again, from the
seed and the number of the rollout. `quality` is the world's truth, which no reward reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from r1jax.core import keys
from r1jax.core.errors import DataError
from r1jax.core.records import Problem
from r1jax.data.world import general
from r1jax.data.world.corpus import world_problems
from r1jax.rewards.format import summary_of
from r1jax.store import Artifact


def rollouts(artifact: Artifact) -> list[dict[str, Any]]:
    """A row for each rollout that was kept, in order.

    Keys: step (updates before it), accuracy (of questions with a rule; None where none was graded) and, by set
    ("helpful", "harmless"), None or reward (the preference reward, before its weight), quality (0 to 1) and length
    (words of what the reader sees); means over the samples that were kept.

    Raises:
      DataError: the artifact is no reinforcement on the tiny world alone, or its samples are of other questions.
    """
    config = artifact.config()
    if not config.get("rl") or config["data"]["source"] != "world" or config["rl"].get("last_part"):
        raise DataError(f"{artifact.ref} is no reinforcement on one mixture of the tiny world: give the artifact of "
                        "experiments/ablations/reward_hacking.py.")
    accuracy = {row["step"] - 1: row.get("rollout/accuracy") for row in artifact.metrics()}
    rows = []
    for step in artifact.sample_steps("rollouts"):
        asked = _asked(config, step)
        samples = [row for row in artifact.samples(step, "rollouts") if row["domain"] == "general"]
        unknown = next((row["problem"] for row in samples if row["problem"] not in asked), None)
        if unknown is not None:
            raise DataError(f"{artifact.ref} has samples of {unknown} at step {step}, which is not what its seed draws "
                            "there: the world has changed since; make the artifact again.")
        pairs = [(asked[row["problem"]], row) for row in samples]
        rows.append({"step": step, "accuracy": accuracy.get(step)} | {
            name: _of_set([(problem, row) for problem, row in pairs if problem.meta["set"] == name])
            for name in (general.HELPFUL, general.HARMLESS)})
    return rows


def _asked(config: dict[str, Any], step: int) -> dict[str, Problem]:
    """Id -> problem of the rollout before update `step`; as stages/problems.py draws them."""
    rl, data = config["rl"], config["data"]
    first = step // rl["minibatches"] * rl["dynamic_sampling"]
    return {p.id: p for rollout in range(first, first + rl["dynamic_sampling"])
            for p in world_problems(keys.host_seed(config["seed"], rollout, "problems"), rl["questions"], split="train",
                                    shares=dict(data["domains"]), languages=dict(data["languages"]))}


def _of_set(samples: Sequence[tuple[Problem, dict[str, Any]]]) -> dict[str, float] | None:
    said = [summary_of(row["text"]) or "" for _, row in samples]
    return {
        "reward": float(np.mean([row["scores"]["preference"] for _, row in samples])),
        "quality": float(np.mean([general.quality(p, text) for (p, _), text in zip(samples, said, strict=True)])),
        "length": float(np.mean([len(text.split()) for text in said])),
    } if samples else None
