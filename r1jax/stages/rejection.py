"""Rejection sampling: the reasoning data of the second fine-tuning, from the reasoning policy itself.

DeepSeek-R1 (arXiv 2501.12948v2, section B.3.3): several samples of each prompt; only right ones stay, by rules where
there are rules and by DeepSeek-V3's reading of the reference elsewhere; chains of thought with mixed languages, long
paragraphs or code blocks are left out.
"""

from __future__ import annotations

from collections.abc import Callable

from r1jax.core import keys
from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError
from r1jax.stages import chat as chats
from r1jax.stages import collecting, trajectories
from r1jax.stages.context import Context
from r1jax.stages.policies import artifact_policy
from r1jax.stages.trajectories import Counts
from r1jax.store import Artifact


def check(experiment: Experiment, context: Context) -> None:
    """Refuses what cannot work before anything is sampled."""
    trajectories.check(experiment, context)
    trajectories.check_graded(experiment)
    if experiment.collect.judged:
        chats.check(experiment)
    if not any(role == "policy" for role, _ in experiment.parents):
        raise ConfigError(f"{experiment.name} needs a parent in the role 'policy', whose responses are taken.")


def run(experiment: Experiment, artifact: Artifact, context: Context) -> dict[str, float]:
    """Samples, grades, filters and writes the records; returns how many there are, and what was left out."""
    collecting.gather(artifact, context, trajectories.parts(experiment), maker(experiment, context),
                      title=f"rejection sampling {artifact.ref}")
    return trajectories.conclude(experiment, artifact)


def maker(experiment: Experiment, context: Context) -> Callable[[int], collecting.Part]:
    """(part) -> its records and what was left out of them."""
    config = experiment.collect
    chat, wording = None, None
    if config.judged:
        chat, wording = chats.stage_chat(experiment, context), chats.wording(experiment)
    draw = trajectories.draw(experiment, context)
    parent = context.parents["policy"]
    policy = artifact_policy(parent, context.mesh, config.slots)

    def make(part: int) -> collecting.Part:
        counts: Counts = {}
        rows = trajectories.sample(policy, context.mesh, draw(part), config.samples,
                                   keys.key_for(experiment.seed, part, "rollout"), config, parent.ref)
        rows = trajectories.right(rows, config, chat, wording, counts)
        rows = trajectories.readable(rows, config.filters, "summary", counts, config.direct)
        rows = trajectories.chosen(rows, config.keep, trajectories.rng_of(experiment, part), counts)
        return trajectories.part_of(rows, "reasoning", counts)

    return make
