"""Questions in, responses with their text out: the sampler with a tokenizer and a template around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from r1jax.core.records import Completion, Problem
from r1jax.core.types import Rollout
from r1jax.models.config import ModelConfig
from r1jax.sampler import batcher
from r1jax.sampler.sampling import Sampling
from r1jax.text import prompts as templates
from r1jax.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Responses:
    """What came back for Q questions with G samples each; row i answers question i // G.

    Attributes:
      problems: Q questions. prompts: Q token-id lists. rollout: Q * G rows. completions: Q * G.
      report: tokens, seconds and occupancy of the sampler.
    """

    problems: Sequence[Problem]
    prompts: Sequence[list[int]]
    rollout: Rollout
    completions: Sequence[Completion]
    report: batcher.Report

    @property
    def samples(self) -> int:
        """G."""
        return len(self.completions) // len(self.problems)

    def problem_of(self, row: int) -> Problem:
        """The question that a row answers."""
        return self.problems[row // self.samples]


def respond(cfg: ModelConfig, params, tokenizer: Tokenizer, template: str, problems: Sequence[Problem], key, *,
            sampling: Sampling, samples: int, max_new_tokens: int, mesh, slots: int,
            max_prompt_tokens: int | None = None,
            on_group: Callable[[int, list[Completion]], None] | None = None) -> Responses:
    """Samples G responses to each question.

    Args:
      template: name of a template in text/prompts.py. key: see sampler.batcher.rollout.
      on_group: called with (question, its G completions) as soon as the last of them has ended.
    """
    prompts = [templates.prompt_ids(tokenizer, template, problem.question) for problem in problems]
    suffix = templates.template(template).suffix
    completions: list[Completion | None] = [None] * (len(problems) * samples)
    missing = [samples] * len(problems)

    def finished(row: int, ids: np.ndarray, ended: bool) -> None:
        completions[row] = Completion(tokenizer.decode(ids), suffix, ids.tolist(), len(ids), not ended)
        group = row // samples
        missing[group] -= 1
        if on_group is not None and not missing[group]:
            on_group(group, completions[group * samples:(group + 1) * samples])

    rollout, report = batcher.rollout(
        cfg, sampling, params, prompts, key, samples=samples, max_new_tokens=max_new_tokens, mesh=mesh, slots=slots,
        max_prompt_tokens=max_prompt_tokens, on_finished=finished)
    return Responses(problems, prompts, rollout, completions, report)
