"""The tiny world's chat model: its records, its fine-tuning, and how often its judgement agrees with the truth.

It plays DeepSeek-V3's part. At other scales that is an endpoint or an artifact of the store, and its agreement with
labels of one's own is measured by `agreement` in the same way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from r1jax.core import keys, log
from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError
from r1jax.data import record_files
from r1jax.data.world import chat as world
from r1jax.data.world.wording import TINY
from r1jax.rewards.chat import Chat, Request
from r1jax.rewards.wording import heard
from r1jax.stages import sft
from r1jax.stages.budget import at_least_one
from r1jax.stages.context import Context
from r1jax.stages.judging import policy_chat
from r1jax.stages.policies import artifact_policy
from r1jax.store import Artifact
from r1jax.store.hosts import on_primary
from r1jax.text.wording import Ask

JUDGEMENTS = ("correctness", "preference", "safety")
HELD_OUT_SEED = 20250120


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
    found, rows = agreement(chat, list(world.documents(HELD_OUT_SEED, 1500, split="held_out", tasks=_ASKED)))
    artifact.write_samples(artifact.latest_step(), "agreement", rows)
    for task in JUDGEMENTS:
        log.say(f"{artifact.ref} as a judge of {task} agrees with the truth in {found[f'agreement/{task}']:.1%}")
    return figures | found


_ASKED = {"correctness": 0.3, "preference": 0.5, "safety": 0.2}


def agreement(chat: Chat, documents: Sequence[world.Document]) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """How often the chat model's judgement is the truth, once asked, sampled as judges are.

    Returns:
      (of each task that is asked ``agreement/<task>``: share of right verdicts, of preferences that of right labels;
      ``agreement/<task>/unread``: of replies that could not be read; ``agreement/direction``: of pairs that differ,
      share whose better answer was named; and the rows).
    """
    asks: dict[str, Ask] = {task: getattr(TINY, task) for task in JUDGEMENTS}
    requests = [Request((("user", d.question),), asks[d.task].temperature, max_tokens=asks[d.task].max_tokens, seed=i)
                for i, d in enumerate(documents)]
    rows = []
    for document, reply in zip(documents, chat(requests), strict=True):
        ask = asks[document.task]
        rows.append({"task": document.task, "question": document.question, "reply": reply.text,
                     "truth": document.truth, "said": heard(ask, reply)[0], "is": ask.read(document.truth)})
    found = {}
    for task in JUDGEMENTS:
        if mine := [row for row in rows if row["task"] == task]:
            found[f"agreement/{task}"] = float(np.mean([row["said"] == row["is"] for row in mine]))
            found[f"agreement/{task}/unread"] = float(np.mean([row["said"] is None for row in mine]))
    if pairs := [row for row in rows if row["task"] == "preference" and row["is"] != "A=B"]:
        found["agreement/direction"] = float(np.mean([_side(row["said"]) == _side(row["is"]) for row in pairs]))
    return found, rows


def _side(label: str | None) -> str:
    return "" if label is None or label == "A=B" else label[0]
