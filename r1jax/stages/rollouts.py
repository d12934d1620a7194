"""A rollout with its scores: what the policy did, what it earned, and what of it teaches something.

Metrics of a rollout (keys ``rollout/...``): reward and ``reward/<part>`` (means over scored samples), accuracy,
length in tokens, truncated, reflection (words a response), language_mix (share of responses), attempts,
retry_after_failure, zero_variance and dropped_groups (shares of groups), unscorable, tokens_per_second, occupancy,
budget, seconds, wait (share of the time that scoring added after the last token).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.core import keys
from r1jax.core.config import Experiment
from r1jax.core.records import Problem, Scores
from r1jax.eval import suite
from r1jax.losses.advantages import group_statistics, kept_samples
from r1jax.rewards import combine
from r1jax.sampler.responses import Responses, respond
from r1jax.sampler.sampling import Sampling
from r1jax.stages.context import Context


@dataclass(frozen=True)
class Experience:
    """A scored rollout of N = Q * G samples.

    Attributes:
      responses: prompts, tokens, texts. scores: rewards. advantage: [N] float32. kept: [N] bool, samples
      with a reward whose group has a baseline. step: updates before it. metrics: see above.
    """

    responses: Responses
    scores: Scores
    advantage: np.ndarray
    kept: np.ndarray
    step: int
    metrics: dict[str, float]

    def records(self, most: int) -> list[dict[str, Any]]:
        """Up to `most` samples as records, whole groups first, the same choice every time."""
        return suite.records(self.responses, self.scores, self.step, range(min(most, len(self.responses.completions))))

    @property
    def line(self) -> str:
        """One line for a person who watches."""
        m = self.metrics
        return (f"accuracy {m['rollout/accuracy']:.2f}  reward {m['rollout/reward']:.2f}  length "
                f"{m['rollout/length']:.0f}  {m['rollout/tokens_per_second']:,.0f} tokens/s")


def collect(experiment: Experiment, context: Context, params, questions: Sequence[Problem], step: int,
            budget: int) -> Experience:
    """Samples a group for each question and scores it; scoring a group overlaps with decoding the others."""
    rl = experiment.rl
    rewards = combine.resolve(rl.rewards)
    futures: dict[int, Any] = {}

    def submit(group: int, completions) -> None:
        futures[group] = combine.submit(rewards, [questions[group]] * len(completions), completions)

    began = time.perf_counter()
    responses = respond(
        experiment.model, params, context.tokenizer, experiment.data.prompt, questions,
        keys.key_for(experiment.seed, step, "rollout"), sampling=Sampling(context.tokenizer.eos, rl.temperature),
        samples=rl.group_size, max_new_tokens=budget, mesh=context.mesh, slots=rl.slots,
        max_prompt_tokens=rl.max_prompt_tokens, on_group=submit)
    decoded = time.perf_counter()
    scores = _join([futures[group].result() for group in range(len(questions))])
    seconds = time.perf_counter() - began
    Q, G = len(questions), rl.group_size
    valid = jnp.asarray(~scores.unscorable.reshape(Q, G))
    earned = jnp.asarray(scores.total.reshape(Q, G))
    advantage = np.asarray(rl.loss.advantage(earned, valid)).reshape(-1)
    kept = np.asarray(kept_samples(valid)).reshape(-1)
    metrics = _metrics(responses, scores) | jax.device_get(group_statistics(earned, valid))
    metrics |= {"rollout/budget": budget, "rollout/seconds": seconds,
                "rollout/wait": (time.perf_counter() - decoded) / seconds}
    return Experience(responses, scores, advantage, kept, step, {name: float(v) for name, v in metrics.items()})


def _join(parts: Sequence[Scores]) -> Scores:
    return Scores(total=np.concatenate([p.total for p in parts]),
                  parts={name: np.concatenate([p.parts[name] for p in parts]) for name in parts[0].parts},
                  unscorable=np.concatenate([p.unscorable for p in parts]))


def _metrics(responses: Responses, scores: Scores) -> dict[str, float]:
    scored = ~scores.unscorable
    out = {"reward": float(scores.total[scored].mean()) if scored.any() else 0.0,
           "tokens_per_second": responses.report.tokens / responses.report.seconds,
           "occupancy": responses.report.occupancy}
    for name, values in scores.parts.items():
        known = values[~np.isnan(values)]
        if len(known):
            out[f"reward/{name}"] = float(known.mean())
    out["accuracy"] = out.get("reward/accuracy", 0.0)
    return {f"rollout/{name}": value for name, value in (out | suite.response_metrics(responses)).items()}
