"""The tiny world's chat model: its records, its fine-tuning, and how often its judgement agrees with the truth.

It plays DeepSeek-V3's part. At other scales that is an endpoint or an artifact of the store, whose judgement
stages/agreement.py measures in the same way, in its own wording, on the world's judgements or on labels of one's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from r1jax.core import keys, log
from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError
from r1jax.data import record_files
from r1jax.data.world import chat as world
from r1jax.stages import sft
from r1jax.stages.agreement import TASKS, agreement, of_world
from r1jax.stages.budget import at_least_one
from r1jax.stages.context import Context
from r1jax.stages.judging import policy_chat
from r1jax.stages.policies import artifact_policy
from r1jax.store import Artifact
from r1jax.store.hosts import on_primary


def check_records(experiment: Experiment, context: Context) -> None:
    """Refuses an empty set."""
    if experiment.collect is None:
        raise ConfigError(f"{experiment.name} writes records: give the experiment file collect=CollectConfig(...).")
    at_least_one({"collect.questions": experiment.collect.questions})


def write(experiment: Experiment, artifact: Artifact, context: Context) -> dict[str, float]:
    """Writes the chat model's training records; returns how many there are of each task."""
    return on_primary(lambda: _write(experiment, artifact))


def _write(experiment: Experiment, artifact: Artifact) -> dict[str, float]:
    found: Counter[str] = Counter()

    def rows() -> Iterator[dict[str, Any]]:
        seed = keys.host_seed(experiment.seed, 0, "problems")
        for number, document in enumerate(world.documents(seed, experiment.collect.questions)):
            found[document.task] += 1
            yield {"problem": f"chat/{number}", "domain": document.task, "language": document.language,
                   "question": document.question, "response": document.reply, "answer": document.truth,
                   "source": "world", "kind": "general", "meta": {}}

    record_files.write_all(artifact.path / "records", rows())
    return {f"records/{task}": float(count) for task, count in sorted(found.items())}


def train(experiment: Experiment, artifact: Artifact, context: Context) -> dict[str, float]:
    """Fine-tunes the chat model and measures its agreement with the truth on held-out questions."""
    figures = sft.run(experiment, artifact, context)
    artifact.wait()
    chat = policy_chat(artifact_policy(artifact, context.mesh))
    found, rows = agreement(chat, of_world())
    artifact.write_samples(artifact.latest_step(), "agreement", rows)
    for task in TASKS:
        log.say(f"{artifact.ref} as a judge of {task} agrees with the truth in {found[f'agreement/{task}']:.1%}")
    return figures | found
