"""Learned reward models behind the interface of rules: a transformer with a scalar head reads texts, in few programs.

DeepSeek-R1 (arXiv 2501.12948v2, section 3.1) has two of them, and takes from each general question's own set the reward
(section 3.2.2): the helpful one reads the final summary only, so that it does not meddle with the thought, the harmless
one the whole response with its thought. A learned reward can be hacked, as the paper shows (section B.5): it is for
questions without checkable answers, late and short.

    scorer = make_scorer(cfg, params, tokenizer, "r1")
    helpful = LearnedReward("helpful", scorer, SUMMARY, floor=-8.0)
    general = routed("general", {"helpful": helpful, "harmless": harmless}, by=general_set)

This is the only module of `rewards` that imports jax.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.core.errors import ConfigError, R1JaxError
from r1jax.core.mesh import constrain
from r1jax.core.records import Completion, Problem, Verdict
from r1jax.models import transformer
from r1jax.models.config import ModelConfig
from r1jax.rewards import format as response_form
from r1jax.text import prompts
from r1jax.text.tokenizer import Tokenizer

SUMMARY, RESPONSE = "summary", "response"
SHORTEST_BUCKET = 32

Score = Callable[[Sequence[tuple[str, str]]], np.ndarray]
"""[N] float32 of (question, text) rows; NaN for a text too long to be read."""


class RewardModelError(R1JaxError):
    """A reward model gives no usable numbers."""


@dataclass(frozen=True)
class LearnedReward:
    """A reward model as a reward (`combine.Reward`).

    Attributes:
      score: the model, as `make_scorer` makes it.
      part: SUMMARY (helpful) or RESPONSE (harmless; with what of the prompt belongs to the response).
      floor: the reward of a response whose part cannot be read: no summary (a thought that never ends, nothing after
        it), or too long for the model. It is no None, which would take the sample out of its group: a policy would
        learn to fall silent where it expects little. Take it at or below what the model gives its worst training
        responses.
    """

    name: str
    score: Score
    part: str
    floor: float

    def __post_init__(self):
        if self.part not in (SUMMARY, RESPONSE):
            raise ConfigError(f"The reward {self.name!r} cannot read the part {self.part!r}; use {SUMMARY!r} or "
                              f"{RESPONSE!r}.")
        if not np.isfinite(self.floor):
            raise ConfigError(f"The floor of the reward {self.name!r} is {self.floor}; give a finite number.")

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[float]:
        """One number a completion, in order."""
        parts = [response_form.summary_of(c.full_text) if self.part == SUMMARY else c.full_text for c in completions]
        rows = [(p.question, part) for p, part in zip(problems, parts, strict=True) if part is not None]
        scores = iter(np.asarray(self.score(rows)).tolist() if rows else ())
        values = [self.floor if part is None else next(scores) for part in parts]
        return [self.floor if np.isnan(value) else value for value in values]


@dataclass(frozen=True)
class Routed:
    """Several rewards as one, each for its own problems; see `routed`."""

    name: str
    table: Mapping[str, Any]
    by: Callable[[Problem], str | None]
    otherwise: float

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[float | Verdict | None]:
        """What each problem's own reward says, in order."""
        values: list[float | Verdict | None] = [self.otherwise] * len(completions)
        members: dict[str, list[int]] = {}
        for i, problem in enumerate(problems):
            if (key := self.by(problem)) is not None:
                members.setdefault(key, []).append(i)
        for key, own in members.items():
            if key not in self.table:
                raise ConfigError(f"The reward {self.name!r} has no part for {key!r}, to which the problem "
                                  f"{problems[own[0]].id!r} belongs; it has {', '.join(sorted(self.table))}.")
            given = self.table[key]([problems[i] for i in own], [completions[i] for i in own])
            for i, value in zip(own, given, strict=True):
                values[i] = value
        return values


def routed(
    name: str, table: Mapping[str, Any], *, by: Callable[[Problem], str | None], otherwise: float = 0.0
) -> Routed:
    """A reward that gives each problem to the reward of its key; `otherwise` where the key is None.

    DeepSeek-R1's total (equations 8 to 10) is a sum in which a problem takes part only where it belongs: with `by` a
    key for general problems and None for the rest, this is its R_RM; with `by=by_domain(...)` its R_rule.

    Raises (when called):
      ConfigError: a problem's key is not in the table.
    """
    return Routed(name, dict(table), by, float(otherwise))


def general_set(problem: Problem) -> str | None:
    """The set of a general problem (``meta["set"]``: helpful, harmless, ...), None for problems of other domains."""
    if problem.domain != "general":
        return None
    return str(problem.meta.get("set", "(no meta['set'])"))


def by_domain(*domains: str) -> Callable[[Problem], str | None]:
    """A key for `routed`: the problem's domain where it is one of these, else None."""
    return lambda problem: problem.domain if problem.domain in domains else None


def make_scorer(
    cfg: ModelConfig, params, tokenizer: Tokenizer, template: str, *, max_tokens: int | None = None,
    tokens_per_batch: int = 16384
) -> Score:
    """Scores of texts by a model with a reward head, read at the end-of-sequence token as in its training.

    A row's document is `prompts.document_ids`: the template's prompt, the text, the end-of-sequence token. Documents
    are sorted by length into right-padded batches whose length is a power of two, and whose rows are what
    ``tokens_per_batch`` holds of that length: one program for each length, a dozen up to 128k tokens. What a text gets
    does not depend on its neighbours, but for the kernel's rounding.

    Args:
      cfg: with "reward" among `heads_out`. params: its parameters, on the devices they are to run on.
      template: name of the template that the model was trained with; one that opens a thought would double it.
      max_tokens: of a document; longer ones are not cut, since what is cut off is not judged: they score NaN. None is
        `cfg.max_length`.

    Where several processes serve one mesh, call the scorer from the main thread of each, at the same point: it launches
    programs.

    Raises:
      ConfigError: no reward head, a template with a suffix, max_tokens beyond the model's.
      RewardModelError (from the scorer): the model gives NaN or infinity.
    """
    longest = cfg.max_length if max_tokens is None else max_tokens
    if "reward" not in cfg.heads_out:
        raise ConfigError("A reward model needs a reward head; set model.heads_out=('reward',).")
    if prompts.opened(template, tokenizer):
        raise ConfigError(f"The template {template!r} opens the thought, which a reward model's texts bring along; "
                          "give the reward model a template without.")
    if not 1 <= longest <= cfg.max_length:
        raise ConfigError(f"max_tokens={longest} is not between 1 and the reward model's max_length={cfg.max_length}.")

    def score(rows: Sequence[tuple[str, str]]) -> np.ndarray:
        documents = [prompts.document_ids(tokenizer, template, question, text) for question, text in rows]
        scores = np.full(len(rows), np.nan, np.float32)
        readable = [i for i, ids in enumerate(documents) if len(ids) <= longest]
        for members, length, places in _batches([len(documents[i]) for i in readable], tokens_per_batch):
            chosen = [readable[m] for m in members]
            tokens, lengths = np.zeros((places, length), np.int32), np.zeros(places, np.int32)
            for row, i in enumerate(chosen):
                tokens[row, : len(documents[i])] = documents[i]
                lengths[row] = len(documents[i])
            scores[chosen] = np.asarray(_rewards(cfg, params, tokens, lengths))[: len(chosen)]
            if not np.isfinite(scores[chosen]).all():
                raise RewardModelError("The reward model gives numbers that are not finite; its weights are damaged, "
                                       "or its training diverged: score with an earlier checkpoint.")
        return scores

    return score


@partial(jax.jit, static_argnums=0)
def _rewards(cfg: ModelConfig, params, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
    """[B] float32 on every device: the reward head at the last of the `lengths` [B] tokens of each row of [B, T]."""
    B, T = tokens.shape
    tokens, lengths = constrain(tokens, "batch", None), constrain(lengths, "batch")
    steps = jnp.broadcast_to(jnp.arange(T, dtype=jnp.int32)[None, :], (B, T))
    segments = (steps < lengths[:, None]).astype(jnp.int32)
    hidden, _ = transformer.forward(cfg, params, tokens, positions=steps, segments=segments)
    last = jnp.maximum(lengths - 1, 0)
    ends = jnp.take_along_axis(hidden, last[:, None, None], axis=1)
    return constrain(transformer.scalar(params, ends, "reward")[:, 0], None)


def _batches(lengths: Sequence[int], tokens_per_batch: int) -> list[tuple[list[int], int, int]]:
    """(members, length, places) of batches: members are sorted by length, and places is one number for each length."""
    buckets: dict[int, list[int]] = {}
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        buckets.setdefault(max(SHORTEST_BUCKET, 1 << (lengths[i] - 1).bit_length()), []).append(i)
    batches = []
    for length, members in buckets.items():
        places = max(1, tokens_per_batch // length)
        batches += [(members[at: at + places], length, places) for at in range(0, len(members), places)]
    return batches
